"""iBOT: its two losses, what is hidden from whom, two centres, one head, schedules, KoLeo, saving."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support import SIZE, build, feed, small_settings
from torch import Tensor

from twinlens import checkpoint, distributed, losses, random
from twinlens.batch import Batch
from twinlens.encoders.vit import vit
from twinlens.gradients import gradients
from twinlens.methods.ibot import IBOT
from twinlens.views.masks import some_blocks

SAMPLES, VIEWS, TOKENS = 6, 12, 16


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ibot(pool: bool = True, **settings: Any) -> IBOT:
    """Float64, at toy size, with centres and a teacher that is not the student; `settings` are set afterwards."""
    torch.manual_seed(0)
    encoder = vit(3, SIZE, patch=2, width=16, depth=1, heads=2, pool=pool)
    method = IBOT(encoder, **small_settings(IBOT)).double()
    method.center.copy_(0.1 * normal(2, 16, seed=3))
    with torch.no_grad():
        for number, parameter in enumerate(method.teacher.parameters()):
            parameter.add_(0.2 * normal(*parameter.shape, seed=100 + number))
    for name, value in settings.items():
        setattr(method, name, value)
    return method


def batch(samples: int = SAMPLES, epoch: int = 0) -> Batch:
    views = normal(VIEWS, samples, 3, SIZE, SIZE, seed=7)
    return Batch(tuple(views), torch.arange(samples), random.keys(0, epoch, torch.arange(samples)))


def masks(method: IBOT, given: Batch) -> Tensor:
    """(2, N, T), view by view as the method draws them."""
    keys = [random.fold(given.key, v) for v in (0, 1)]
    return torch.stack([some_blocks(key, (4, 4), method.masked) for key in keys])


# A plain reference, from the paper: one view of one sample at a time.


def layer(x: Tensor, module: Any) -> Tensor:
    return module.weight @ x + module.bias


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def projected(network: Any, x: Tensor) -> Tensor:
    """The head: (16,) -> what it says of the K prototypes, (K,)."""
    x = layer(gelu(layer(gelu(layer(x, network.head[0])), network.head[2])), network.head[4])
    w = network.prototypes.weight
    return torch.stack([x @ row / (x.norm() * row.norm()) for row in w])


def seen(network: Any, view: Tensor, hidden: Tensor | None = None, mask_token: Tensor | None = None) -> Tensor:
    """The tokens (T, D) of one view (C, H, W)."""
    embedded = network.encoder.embed(network.encoder.patchify(view[None]))[0]
    for t in range(TOKENS):
        if hidden is not None and hidden[t]:
            embedded = torch.cat((embedded[:t], mask_token[None], embedded[t + 1 :]))
    return network.encoder.body((embedded + network.encoder.positions)[None])[0]


def entropy(p_t: Tensor, logits: Tensor) -> Tensor:
    p_s = logits.exp() / logits.exp().sum()
    return -(p_t * p_s.log()).sum()


def sharpened(logits: Tensor, center: Tensor, tau: float) -> Tensor:
    exps = ((logits - center) / tau).exp()
    return exps / exps.sum()


def losses_by_loop(method: IBOT, given: Batch, tau_t: float = 0.04) -> tuple[Tensor, Tensor]:
    """The loss between views and the loss of hidden tokens."""
    cls, mim = [], []
    hidden = masks(method, given)
    for n in range(len(given.index)):
        tokens_t = [seen(method.teacher, given.views[i][n]) for i in (0, 1)]
        tokens_s = [
            seen(method.student, given.views[v][n], hidden[v, n] if v < 2 else None, method.mask_token)
            for v in range(VIEWS)
        ]
        said = [projected(method.student, tokens.mean(dim=0)) / 0.1 for tokens in tokens_s]
        for i in (0, 1):
            p_t = sharpened(projected(method.teacher, tokens_t[i].mean(dim=0)), method.center[0], tau_t)
            cls += [entropy(p_t, said[v]) for v in range(VIEWS) if v != i]
            each = []
            for t in range(TOKENS):
                if hidden[i, n, t]:
                    p_t = sharpened(projected(method.teacher, tokens_t[i][t]), method.center[1], tau_t)
                    each.append(entropy(p_t, projected(method.student, tokens_s[i][t]) / 0.1))
            mim.append(sum(each) / max(1, len(each)) + torch.zeros(()).double())
    assert len(cls) == SAMPLES * 2 * (VIEWS - 1) and len(mim) == SAMPLES * 2
    return torch.stack(cls).mean(), torch.stack(mim).mean()


@pytest.mark.parametrize(("progress", "tau"), [(0.0, 0.04), (0.01875, 0.055), (0.5, 0.07)])
def test_the_loss_is_the_sum_of_both_losses_of_the_paper(progress: float, tau: float) -> None:
    method, given = ibot(), batch()
    method.progress.fill_(progress)
    parts = method.encode(given)
    cls, mim = losses_by_loop(method, given, tau)
    torch.testing.assert_close(parts[2].mean(), mim, rtol=1e-5, atol=0)  # progress is float32
    torch.testing.assert_close(method.compare(*parts), cls + mim, rtol=1e-5, atol=0)


def test_gradients_are_those_of_the_plain_computation() -> None:
    method, given = ibot(freeze=0.0), batch()
    learn = [parameter for parameter in method.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(method.compare(*method.encode(given)), learn)
    plain = torch.autograd.grad(sum(losses_by_loop(method, given)), learn)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_both_losses_are_log_k_for_a_student_without_preference() -> None:
    method, given = ibot(), batch()
    with torch.no_grad():
        method.student.prototypes.weight.fill_(1.0)  # all prototypes are the same
    hides = masks(method, given).any(dim=2).double().mean().item()
    assert 0 < hides < 1
    assert method.compare(*method.encode(given)).item() == pytest.approx(math.log(16) * (1 + hides))


def test_the_order_of_samples_and_of_small_views_does_not_matter() -> None:
    method, given = ibot(), batch()
    parts = method.encode(given)
    loss = method.compare(*parts)
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(0))
    turned = Batch(tuple(view[order] for view in given.views), given.index[order], given.key[order])
    for part, other in zip(parts, method.encode(turned), strict=True):
        torch.testing.assert_close(part[order], other)
    small = given._replace(views=(*given.views[:2], *given.views[:1:-1]))
    torch.testing.assert_close(method.compare(*method.encode(small)), loss)
    s, t, *rest = parts
    assert not torch.allclose(method.compare(s, t.flip(1), *rest), loss)  # a large view does not predict itself


def test_the_tokens_loss_is_of_one_view_of_one_sample() -> None:
    method, given = ibot(masked=(0.5, 0.5)), batch()
    before = method.encode(given)[2]
    hides = masks(method, given).any(dim=2).T
    assert torch.equal(before > 0, hides)
    views = list(given.views)
    views[0] = torch.cat((views[0][:2] + 1, views[0][2:]))
    changed = method.encode(given._replace(views=(*views[:2], *(view + 1 for view in views[2:]))))[2] != before
    assert torch.equal(changed, hides & torch.tensor([[n < 2, False] for n in range(SAMPLES)]))


def test_the_student_does_not_see_what_is_hidden() -> None:
    method, given = ibot(koleo=0.1), batch()
    views = [view.requires_grad_() for view in given.views]
    grads = torch.autograd.grad(method.compare(*method.encode(given)), views)  # the teacher, who sees it, gives none
    for grad, hidden in zip(grads[:2], masks(method, given), strict=True):
        assert torch.equal(method.student.encoder.patchify(grad).abs().sum(dim=-1) > 0, ~hidden)
    assert all(grad.flatten(1).any(dim=1).all() for grad in grads[2:])


def test_the_teacher_sees_what_is_hidden() -> None:
    method, given = ibot(), batch()
    hidden = masks(method, given)[0]
    patches = method.student.encoder.patchify(given.views[0])
    other = method.student.encoder.unpatchify(torch.where(hidden[..., None], -patches, patches))
    before, after = method.encode(given), method.encode(given._replace(views=(other, *given.views[1:])))
    assert torch.equal(before[0], after[0])  # the student says the same,
    assert not torch.equal(before[1], after[1])  # the teacher does not, of the view,
    assert torch.equal(before[2][:, 0] != after[2][:, 0], hidden.any(dim=1))  # nor of the tokens


def test_masks_differ_between_views_and_epochs_and_follow_the_settings() -> None:
    method = build(IBOT)
    one, two = masks(method, batch(300))
    assert not torch.equal(one, two) and not torch.equal(one, masks(method, batch(300, epoch=1))[0])
    for mask in (one, two):
        shown = (mask.sum(dim=1) == 0).double().mean()
        assert abs(shown - 0.5) < 0.1
        assert set(mask.sum(dim=1).tolist()) == {0, *range(2, 9)}  # a tenth to a half of 16
    assert ((one.any(dim=1) & two.any(dim=1)).double().mean() - 0.25).abs() < 0.08  # one knows nothing of the other


def test_without_hidden_tokens_it_still_learns() -> None:
    method = ibot(masked=(0.0, 0.0))
    parts = method.encode(batch())
    assert not parts[2].any()
    method.compare(*parts).backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())
    assert method.mask_token.grad is not None and not method.mask_token.grad.any()


def test_the_teacher_takes_no_gradient_and_its_targets_none() -> None:
    method = ibot(koleo=0.1)
    s, t, mim, u_t, h = method.encode(batch())
    assert s.requires_grad and mim.requires_grad and h.requires_grad and not t.requires_grad and not u_t.requires_grad
    t.requires_grad_()
    method.compare(s, t, mim, u_t, h).backward()
    assert t.grad is None
    slow = list(method.teacher.parameters())
    assert slow and not any(parameter.requires_grad or parameter.grad is not None for parameter in slow)


def test_both_centres_are_moving_averages_of_the_teachers_outputs() -> None:
    method, given = ibot(), batch()
    tokens = [seen(method.teacher, given.views[i][n]) for i in (0, 1) for n in range(SAMPLES)]
    views = torch.stack([projected(method.teacher, x.mean(dim=0)) for x in tokens]).mean(dim=0)
    patches = torch.stack([projected(method.teacher, x) for rows in tokens for x in rows]).mean(dim=0)  # hidden or not
    expected = 0.9 * method.center + 0.1 * torch.stack((views, patches)).detach()
    method.update(0.5, *(part.detach() for part in method.encode(given)))
    torch.testing.assert_close(method.center, expected)


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_the_teacher_follows_with_the_scheduled_momentum(progress: float, momentum: float) -> None:
    method = ibot(momentum=0.9)
    before = [parameter.clone() for parameter in method.teacher.parameters()]
    method.update(progress, *(part.detach() for part in method.encode(batch())))
    for old, new, fast in zip(before, method.teacher.parameters(), method.student.parameters(), strict=True):
        torch.testing.assert_close(new, momentum * old + (1 - momentum) * fast)


def test_the_last_layer_stands_still_at_first_and_learns_afterwards() -> None:
    method, given = ibot(freeze=0.25), batch()
    optimizer = torch.optim.SGD(method.parameters(), lr=1.0, momentum=0.9)
    start, head = method.student.prototypes.weight.detach().clone(), method.student.head[0].weight.detach().clone()
    for step in range(4):
        optimizer.zero_grad()
        parts = method.encode(given)
        method.compare(*parts).backward()
        assert method.student.prototypes.weight.grad is not None  # also while frozen: several processes wait for it
        optimizer.step()
        method.update((step + 1) / 8, *(part.detach() for part in parts))
        assert torch.equal(method.student.prototypes.weight, start) == (
            step < 2
        )  # progress before the step: 0, 1/8, then 2/8
    assert not torch.equal(method.student.head[0].weight, head)


def test_the_tokens_loss_alone_does_not_move_a_frozen_last_layer_either() -> None:
    for freeze, moves in ((0.1, False), (0.0, True)):
        method = ibot(freeze=freeze)
        (grad,) = torch.autograd.grad(method.encode(batch())[2].sum(), [method.student.prototypes.weight])
        assert bool(grad.any()) == moves


def test_views_and_tokens_share_one_head() -> None:
    method = ibot()
    assert not list(method.student.narrow.parameters())
    for part in (0, 2):  # of views, of tokens
        grads = torch.autograd.grad(method.encode(batch())[part].sum(), list(method.student.head.parameters()))
        assert all(grad.any() for grad in grads)


def test_an_embedding_wider_than_a_token_is_narrowed_for_the_shared_head() -> None:
    method, given = ibot(pool=False, koleo=0.1), batch()
    assert method.student.narrow.weight.shape == (16, TOKENS * 16)
    s, t, mim, u_t, h = method.encode(given)
    assert s.shape == (SAMPLES, VIEWS, 16) and h.shape == (SAMPLES, 2, TOKENS * 16)
    side_by_side = seen(method.teacher, given.views[1][3]).flatten()
    x = projected(method.teacher, layer(side_by_side, method.teacher.narrow))
    w = method.teacher.prototypes.weight / method.teacher.prototypes.weight.norm(dim=1, keepdim=True)
    torch.testing.assert_close(t[3, 1] @ w.T, x)
    method.compare(s, t, mim, u_t, h).backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())


def test_views_of_one_size_run_in_one_forward_and_the_teacher_sees_large_ones_alone() -> None:
    method = build(IBOT)
    seen: dict[str, list[tuple[int, ...]]] = {"student": [], "teacher": []}
    for name, shapes in seen.items():
        body = getattr(method, name).encoder.body
        body.register_forward_hook(lambda module, given, out, shapes=shapes: shapes.append(tuple(given[0].shape)))
    large, small = torch.randn(2, 3, 3, 8, 8), torch.randn(10, 3, 3, 4, 4)
    method.encode(Batch((*large, *small), torch.arange(3), random.keys(0, 0, torch.arange(3))))
    assert seen == {"student": [(6, 16, 16), (30, 4, 16)], "teacher": [(6, 16, 16)]}


def test_what_is_gathered_is_small() -> None:
    method, plain = ibot(koleo=0.1), ibot()
    assert [part.shape[1:] for part in method.encode(batch())] == [(12, 16), (2, 16), (2,), (2, 16), (2, 16)]
    assert len(plain.encode(batch())) == 4  # embeddings only where KoLeo asks for them


def test_koleo_is_added_for_each_large_view() -> None:
    method, given = ibot(koleo=0.25), batch()
    *parts, h = method.encode(given)
    hidden = masks(method, given)
    for i in (0, 1):
        for n in range(SAMPLES):
            tokens = seen(method.student, given.views[i][n], hidden[i, n], method.mask_token)
            torch.testing.assert_close(h[n, i], tokens.mean(dim=0))
    added = 0.25 * (losses.koleo(h[:, 0]) + losses.koleo(h[:, 1]))
    torch.testing.assert_close(method.compare(*parts, h), method.compare(*parts) + added)


def test_micro_batches_change_nothing_with_koleo_either() -> None:
    found = []
    for micro_batches in (1, 5):
        fabric = distributed.launch(1, "64-true")
        model = fabric.setup_module(ibot(koleo=0.1))
        (chunks,) = feed(IBOT, micro_batches=micro_batches).run(0, 1)
        loss, parts = gradients(fabric, model, chunks, 12)
        found.append((loss, *parts, *(p.grad for p in model.module.parameters() if p.grad is not None)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    method, fresh = ibot(pool=False), ibot(pool=False)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (method, fresh)]
    for step in range(2):
        parts = method.encode(batch(epoch=step))
        method.compare(*parts).backward()
        optimizers[0].step()
        method.update((step + 1) / 100, *(part.detach() for part in parts))
    checkpoint.save(tmp_path, 2, method, optimizers[0])
    path = checkpoint.newest(tmp_path)
    assert path is not None and checkpoint.restore(path, fresh, optimizers[1]) == 2
    given = batch(epoch=2)
    assert torch.equal(method.compare(*method.encode(given)), fresh.compare(*fresh.encode(given)))
    assert not torch.equal(ibot(pool=False).center, fresh.center) and fresh.progress.item() == pytest.approx(0.02)


def test_it_does_without_small_views() -> None:
    method, (large, *_) = build(IBOT), torch.randn(2, 3, 3, 8, 8).unsqueeze(0)
    s, *_ = method.encode(Batch((large[0], large[1]), torch.arange(3), torch.arange(3)))
    assert s.shape[:2] == (3, 2)
