"""CPC: which token predicts which, the loss over all pairs of a step, and who sees what."""

import math
from typing import Any

import pytest
import torch
from support import Largest
from tokenwise import MEASURED, batch, encoders
from torch import Tensor

from twinlens import build, random
from twinlens.batch import Batch
from twinlens.encoders.clip import clip
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.method import Shows
from twinlens.methods.cpc import CPC, info_nce

SIZE: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2, "causal": True}
ENCODERS = encoders(length=9, film=(6, 3, 4, 4), causal=True)
AHEAD = {"pictures": 4, "words": 1, "waves": 1, "clips": 4}  # how many tokens a step is, in the order they are read
STEPS = {"pictures": 3, "words": 5, "waves": 5, "clips": 2}  # of the default, what the grid allows


def cpc(name: str = "pictures", **settings: Any) -> CPC:
    torch.manual_seed(0)
    return CPC(ENCODERS[name](), **{"hidden": 12, "dim": 6} | settings).double()


def layer(x: Tensor, module: Any) -> Tensor:
    return module.weight @ x + module.bias  # type: ignore[no-any-return]


def plain(method: CPC, view: Tensor) -> tuple[Tensor, Tensor]:
    """z (T, dim) and c (T, D') of one view, token by token."""
    encoder: Any = method.encoder
    under = encoder.patchify(view[None])[0]
    z = []
    for x in under:
        x = method.g_enc[0].weight[int(x)] if encoder.vocabulary else x
        h = layer(x, method.g_enc[1][0])
        z.append(layer(h * (1 + torch.erf(h / math.sqrt(2))) / 2, method.g_enc[1][2]))
    seen = encoder.embed(under[:, 0] if encoder.vocabulary else under) + encoder.positions
    seen = seen if encoder.embed_norm is None else encoder.embed_norm(seen)
    c = [encoder.body(seen[None, : t + 1], True)[0, -1] for t in range(len(under))]
    return torch.stack(z), torch.stack(c)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_loss_is_a_cross_entropy_over_all_answers_to_the_same_step(name: str) -> None:
    method = cpc(name)
    given = batch(method)
    both = [plain(method, view) for view in given.views[0]]
    losses = []
    for k in range(1, STEPS[name] + 1):
        ahead, w = k * AHEAD[name], method.W[k - 1].weight
        places = [(n, t) for n in range(4) for t in range(len(both[n][0]) - ahead)]
        answers = [both[n][0][t + ahead] for n, t in places]
        step = []
        for place, (n, t) in enumerate(places):
            scores = [math.exp((z @ (w @ both[n][1][t])).item()) for z in answers]
            step.append(-math.log(scores[place] / sum(scores)))
        losses.append(sum(step) / len(step))
    parts = method.encode(given)
    assert len(parts) == (3 if name == "words" else 2) * STEPS[name] and len(method.W) == STEPS[name]
    assert method.compare(*parts).item() == pytest.approx(sum(losses) / len(losses))


def test_gradients_are_those_of_the_plain_cross_entropy() -> None:
    draw = torch.Generator().manual_seed(0)
    p, z = (torch.randn(50, 6, generator=draw, dtype=torch.float64, requires_grad=True) for _ in range(2))
    found = torch.autograd.grad(info_nce(p, z), (p, z))
    loss = torch.nn.functional.cross_entropy(p @ z.T, torch.arange(50))
    assert info_nce(p, z).item() == pytest.approx(loss.item())
    for one, other in zip(found, torch.autograd.grad(loss, (p, z)), strict=True):
        torch.testing.assert_close(one, other)


def test_who_says_nothing_is_at_chance_and_who_knows_is_at_nothing() -> None:
    method = cpc()
    for w in method.W:
        torch.nn.init.zeros_(w.weight)
    chance = [math.log(4 * count) for count in (12, 8, 4)]  # places of 4 x 4 with one, two and three rows below
    assert method.compare(*method.encode(batch(method))).item() == pytest.approx(sum(chance) / 3)
    z = torch.eye(6)
    assert info_nce(40 * z, z).item() < 1e-6
    assert info_nce(2 * z, z).item() == pytest.approx(math.log(1 + 5 * math.exp(-2)))  # products, not cosines


def test_turning_predictions_and_answers_alike_changes_nothing() -> None:
    draw = torch.Generator().manual_seed(0)
    p, z = torch.randn(2, 20, 6, generator=draw, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=draw, dtype=torch.float64))[0]
    torch.testing.assert_close(info_nce(p @ turn, z @ turn), info_nce(p, z))
    assert not torch.isclose(info_nce(p @ turn, z), info_nce(p, z))
    order = torch.randperm(20, generator=draw)
    torch.testing.assert_close(info_nce(p[order], z[order]), info_nce(p, z))


@pytest.mark.parametrize("name", ENCODERS)
def test_some_places_are_drawn_of_each_sample_and_step(name: str) -> None:
    every, method = cpc(name, places=100), cpc(name, places=3)
    given = batch(method, 6)
    found: dict[tuple[int, int], list[int]] = {}
    for k, (some, parts) in enumerate(zip(pairs(method.encode(given)), pairs(every.encode(given)), strict=True), 1):
        for n in range(6):
            c, z = plain(method, given.views[0][n])[::-1]
            predicted = torch.stack([method.W[k - 1].weight @ each for each in c])
            places = [int((predicted - one).abs().sum(dim=1).argmin()) for one in some[0][n]]
            assert len(set(places)) == len(places) == min(3, parts[0].shape[1])
            torch.testing.assert_close(some[0][n], predicted[places])
            torch.testing.assert_close(some[1][n], z[[t + k * AHEAD[name] for t in places]])
            found[n, k] = sorted(places)
    assert len({tuple(found[n, 1]) for n in range(6)}) > 1  # not the same for all samples,
    assert any(found[n, 1] != found[n, 2] for n in range(6))  # nor for all steps


def pairs(parts: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
    parts = tuple(part for part in parts if part.is_floating_point())  # of words it is also told which are there
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("name", MEASURED)
def test_a_prediction_sees_its_token_and_those_before_and_an_answer_its_own_alone(name: str) -> None:
    method = cpc(name, places=100)
    given = batch(method, 2)
    view = given.views[0].requires_grad_()
    count = method.encoder.patchify(view).shape[1]
    for k, (predicted, z) in enumerate(pairs(method.encode(given)), 1):
        order = random.choose(random.fold(given.key, k), predicted.shape[1], predicted.shape[1])
        for place in range(predicted.shape[1]):
            for part, sees in (
                (predicted, lambda t: torch.arange(count) <= t),
                (z, lambda t, k=k: torch.arange(count) == t + k * AHEAD[name]),
            ):
                (grad,) = torch.autograd.grad(part[:, place].square().sum(), view, retain_graph=True)
                seen = method.encoder.patchify(grad).abs().sum(dim=2) > 0
                assert torch.equal(seen, torch.stack([sees(order[n, place]) for n in range(2)]))


def test_later_words_change_no_prediction() -> None:
    method = cpc("words", places=100)
    given = batch(method)
    before = method.encode(given)
    for t in range(9):
        view = given.views[0].clone()
        view[:, t] = (view[:, t] + 1) % 7
        after = method.encode(given._replace(views=(view,)))
        for k in range(1, 6):
            order = random.choose(random.fold(given.key, k), 9 - k, 9 - k)
            same, same_z = (
                (one == other).all(dim=2) for one, other in zip(*(x[2 * k - 2 : 2 * k] for x in (before, after)))
            )
            assert torch.equal(same, order < t) and torch.equal(same_z, order + k != t)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_order_of_samples_does_not_matter(name: str) -> None:
    method = cpc(name, places=3)
    given = batch(method)
    turned = Batch((given.views[0].flip(0),), given.index.flip(0), given.key.flip(0))
    torch.testing.assert_close(method.compare(*method.encode(turned)), method.compare(*method.encode(given)))


def test_a_single_sample_has_other_places_for_negatives() -> None:
    method = cpc()
    loss = method.compare(*method.encode(batch(method, 1)))
    assert 0 < loss.item() < 5
    only = cpc(places=1)
    nothing = only.compare(*only.encode(batch(only, 1)))  # nothing to tell apart
    nothing.backward()
    assert nothing.item() == 0 and all(p.grad is None or p.grad.isfinite().all() for p in only.parameters())


def test_all_pairs_are_never_held_at_once() -> None:
    p = torch.randn(2000, 4, requires_grad=True)
    with Largest() as largest:
        info_nce(p, torch.randn(2000, 4)).backward()
    assert largest.size < 2000**2 / 10


def test_sixteen_bit_parts_are_compared_at_full_precision() -> None:
    p, z = torch.randn(2, 30, 6).bfloat16()
    assert torch.equal(info_nce(p, z), info_nce(p.float(), z.float()))


def test_steps_are_as_many_as_the_grid_allows() -> None:
    assert [len(cpc(name, steps=100).W) for name in ENCODERS] == [3, 8, 7, 2]
    assert [len(cpc(name, steps=1).W) for name in ENCODERS] == [1] * 4
    assert not isinstance(cpc(), Shows)


def test_what_cannot_be_is_said() -> None:
    for settings in ({"steps": 0}, {"places": 0}):
        with pytest.raises(InputError, match=r"of a grid \(4, 4\): expected 1 or more of each"):
            cpc(**settings)
    with pytest.raises(InputError, match=r"of a grid \(1, 1\): .*, and 2 or more along the first side"):
        CPC(vit(3, 8, patch=8, **SIZE))
    with pytest.raises(InputError, match=r"of a grid \(1, 2, 2\): .* smaller patches give more"):
        CPC(clip((2, 3, 4, 4), patch=2, **SIZE))
    with pytest.raises(InputError, match="cpc predicts what its encoder has not seen yet: set --causal true"):
        build.method("cpc", vit(3, 8, patch=2, width=16, depth=1, heads=2), {}, architecture="vit", samples=9, seed=0)
