"""I-JEPA: its blocks on grids of every kind, the loss target by target, who sees what, and the slow copy."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenwise import MEASURED, batch, encoders
from torch import Tensor

from twinlens import random
from twinlens.batch import Batch
from twinlens.encoders.clip import clip
from twinlens.encoders.sequence import words
from twinlens.encoders.tokens import Tokens
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.method import Shows
from twinlens.methods import ijepa as ijepa_module
from twinlens.methods.ijepa import IJEPA

SIZE: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2}
ENCODERS = encoders(size=10, length=20, moments=30, film=(4, 3, 8, 8))
SMALL: dict[str, Any] = {"predictor_width": 8, "predictor_depth": 2, "predictor_heads": 2}


def ijepa(name: str = "pictures", **settings: Any) -> IJEPA:
    """Float64, with a slow copy that is not the encoder."""
    torch.manual_seed(0)
    method = IJEPA(ENCODERS[name](), **SMALL | settings).double()
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in method.target.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return method


def keys(count: int, epoch: int = 0) -> Tensor:
    return random.keys(0, epoch, torch.arange(count))


def blocks(grid: tuple[int, ...], count: int, **settings: Any) -> tuple[Tensor, Tensor]:
    """The context (N, T) and targets (N, M, T) on a grid, of a picture, a sequence or a clip."""
    if len(grid) == 1:
        encoder = words(3, *grid, dropout=0.0, **SIZE)
    elif len(grid) == 3:
        encoder = clip((grid[0], 1, *grid[1:]), frames=1, patch=1, **SIZE)
    else:
        encoder = vit(1, grid[0], patch=1, **SIZE)
    return IJEPA(encoder, **SMALL | settings).masks(keys(count))


def sides(mask: Tensor) -> tuple[int, int]:
    """Height and width of what must be a full rectangle of (rows, columns)."""
    rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
    height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    assert mask.sum() == height * width
    return height, width


# A plain reference, from the paper: one target of one sample at a time, without anything that fills rows up.


def embedded(encoder: Any, view: Tensor) -> Tensor:
    under = encoder.patchify(view[None])[0]
    placed = encoder.embed(under[:, 0] if encoder.vocabulary else under) + encoder.positions
    return placed if encoder.embed_norm is None else encoder.embed_norm(placed)  # type: ignore[no-any-return]


def normed(x: list[float]) -> list[float]:
    mean = sum(x) / len(x)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    return [(v - mean) / deviation for v in x]


def smooth(error: float) -> float:
    return error**2 / 2 if abs(error) < 1 else abs(error) - 0.5


def plain(method: IJEPA, view: Tensor, context: Tensor, targets: Tensor) -> float:
    seen = method.encoder.body(embedded(method.encoder, view)[context][None])[0]  # type: ignore[attr-defined]
    s = method.target.body(embedded(method.target, view)[None])[0].tolist()  # type: ignore[attr-defined]
    losses = []
    for target in targets:
        z = method.embed(seen) + method.positions[context]
        asked = torch.stack([method.mask_token + method.positions[t] for t in target.nonzero()[:, 0]])
        said = method.project(method.predictor(torch.cat((z, asked))[None])[0, len(z) :]).tolist()
        wanted = [normed(s[t]) for t in target.nonzero()[:, 0]]
        each = [smooth(a - b) for one, other in zip(said, wanted, strict=True) for a, b in zip(one, other, strict=True)]
        losses.append(sum(each) / len(each))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_loss_is_the_mean_over_targets_each_predicted_by_itself(name: str) -> None:
    method = ijepa(name)
    given = batch(method, 5)
    context, targets = method.masks(given.key)
    assert len({int(each.sum()) for each in context}) > 1  # rows of several lengths,
    assert len({int(each.sum()) for each in targets.flatten(0, 1)}) > 1 or name in ("waves", "clips")
    losses = [plain(method, *each) for each in zip(given.views[0], context, targets, strict=True)]
    (found,) = method.encode(given)
    assert found.tolist() == pytest.approx(losses)
    assert method.compare(found).item() == pytest.approx(sum(losses) / len(losses))


def test_gradients_are_those_of_the_mean_over_samples_by_themselves() -> None:
    method = ijepa()
    given = batch(method, 5)
    learn = [parameter for parameter in method.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(method.compare(*method.encode(given)), learn)
    alone = [method.encode(Batch((given.views[0][n : n + 1],), given.index, given.key[n : n + 1]))[0] for n in range(5)]
    for one, other in zip(found, torch.autograd.grad(torch.cat(alone).mean(), learn), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-10)


def test_an_answer_of_nothing_to_targets_of_one_is_off_by_a_half() -> None:
    method = ijepa()
    with torch.no_grad():
        method.project.weight.zero_()
        method.project.bias.zero_()
        method.target.body.norm.weight.zero_()
        method.target.body.norm.bias.copy_(torch.tensor([3.0, -3.0] * 8))  # 1 and -1 once normalised
    torch.testing.assert_close(method.encode(batch(method, 5))[0], torch.full((5,), 0.5).double(), rtol=1e-5, atol=0)


def test_shift_and_scale_of_what_the_slow_copy_says_do_not_matter() -> None:
    method = ijepa()
    before = method.encode(batch(method, 5))[0]
    with torch.no_grad():
        method.target.body.norm.weight.mul_(300)
        method.target.body.norm.bias.mul_(300).add_(2)
    torch.testing.assert_close(method.encode(batch(method, 5))[0], before, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_sample_is_by_itself_however_long_the_rows_of_others(name: str) -> None:
    method = ijepa(name)
    given = batch(method, 12)
    (loss,) = method.encode(given)
    assert len(set(loss.tolist())) == 12
    for n in range(12):
        alone = Batch((given.views[0][n : n + 1],), given.index[n : n + 1], given.key[n : n + 1])
        torch.testing.assert_close(method.encode(alone)[0], loss[n : n + 1])


@pytest.mark.parametrize("name", MEASURED)
def test_predictions_see_the_context_and_nothing_else(name: str) -> None:
    method = ijepa(name)
    given = batch(method, 5)
    context, targets = method.masks(given.key)
    assert not (context[:, None] & targets).any()
    view = given.views[0].requires_grad_()
    (grad,) = torch.autograd.grad(method.encode(given)[0].sum(), view)  # targets, which see it all, give none
    assert torch.equal(method.encoder.patchify(grad).abs().sum(dim=2) > 0, context)


def test_the_slow_copy_sees_all_and_takes_no_gradient() -> None:
    method = ijepa(context_scale=(0.3, 0.3))
    given = batch(method, 5)
    context, targets = method.masks(given.key)
    before, patches = method.encode(given)[0], method.encoder.patchify(given.views[0])
    neither = ~context & ~targets.any(dim=1)
    assert neither.any(dim=1).any()
    for changed in (targets.any(dim=1), neither):
        other = method.encoder.unpatchify(torch.where(changed[..., None], -patches, patches))
        assert torch.equal(method.encode(given._replace(views=(other,)))[0] != before, changed.any(dim=1))
    method.compare(*method.encode(given)).backward()
    assert not any(p.requires_grad or p.grad is not None for p in method.target.parameters())


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.25, 0.925), (0.5, 0.95), (1.0, 1.0)])
def test_the_slow_copy_follows_with_a_momentum_that_rises_along_a_line(progress: float, momentum: float) -> None:
    method = ijepa(momentum=0.9)
    before = [parameter.clone() for parameter in method.target.parameters()]
    method.update(progress)
    for old, new, fast in zip(before, method.target.parameters(), method.encoder.parameters(), strict=True):
        torch.testing.assert_close(new, momentum * old + (1 - momentum) * fast)


def test_the_slow_copy_starts_as_the_encoder() -> None:
    method = IJEPA(ENCODERS["pictures"](), **SMALL)
    for one, other in zip(method.encoder.parameters(), method.target.parameters(), strict=True):
        assert torch.equal(one, other) and one is not other


def test_blocks_are_those_of_the_paper_on_its_grid() -> None:
    context, targets = blocks((16, 16), 400)
    areas, ratios = [], []
    for target in targets.flatten(0, 1):
        height, width = sides(target.view(16, 16))
        areas.append(height * width / 256)
        ratios.append(height / width)
    assert 0.13 < min(areas) < 0.15 and 0.2 < max(areas) < 0.22 and abs(sum(areas) / len(areas) - 0.175) < 0.003
    assert 0.65 < min(ratios) < 0.8 and 1.4 < max(ratios) < 1.65
    assert abs(sum(map(math.log, ratios)) / len(ratios) - (math.log(0.75) + math.log(1.5)) / 2) < 0.03
    size, shape = torch.tensor(areas), torch.tensor(ratios).log()
    assert torch.corrcoef(torch.stack((size, shape)))[0, 1].abs() < 0.2  # the authors' code draws both by one number
    assert targets.any(dim=0).all() and len({tuple(each.flatten().tolist()) for each in targets}) == 400
    assert abs(targets.double().mean(dim=(0, 2)) - 0.175).max() < 0.003  # the first target is as any other
    left = context.sum(dim=1)
    assert left.min() >= 10 and 0.35 < left.double().mean() / 256 < 0.55  # with the mean of the paper's figure 4
    assert not (context[:, None] & targets).any()


def test_the_context_is_a_square_less_the_targets() -> None:
    context, targets = blocks((16, 16), 300, target_scale=(0.001, 0.001), blocks=1)
    assert (targets.sum(dim=2) == 1).all()
    found = []
    for one, target in zip(context, targets[:, 0], strict=True):
        whole = one | target  # the target lies in the square or outside of it
        try:
            height, width = sides(whole.view(16, 16))
        except AssertionError:
            height, width = sides(one.view(16, 16))
        assert height == width
        found.append(height)
    assert set(found) == {15, 16}  # 0.85 of 256 is 14.75 squared
    moved, _ = blocks((16, 16), 300, context_scale=(0.25, 0.25), target_scale=(0.001, 0.001), blocks=1)
    assert moved.any(dim=0).all() and moved.sum(dim=1).max() == 64


def test_in_a_sequence_blocks_are_runs() -> None:
    context, targets = blocks((40,), 200)
    for target in targets.flatten(0, 1):
        assert sides(target[:, None])[0] in (6, 7, 8)
    assert {int(each.sum()) for each in targets.flatten(0, 1)} == {6, 7, 8}
    assert not (context[:, None] & targets).any() and (context.sum(dim=1) >= 2).all()


def test_in_a_clip_blocks_are_the_same_in_every_frame() -> None:
    context, targets = blocks((3, 8, 8), 50)
    assert torch.equal(targets.unflatten(2, (3, 64))[:, :, :1].expand(-1, -1, 3, -1), targets.unflatten(2, (3, 64)))
    assert torch.equal(context.unflatten(1, (3, 64))[:, :1].expand(-1, 3, -1), context.unflatten(1, (3, 64)))
    for target in targets.flatten(0, 1):
        sides(target[:64].view(8, 8))


GRIDS = [(2,), (3,), (4,), (7,), (2, 2), (3, 3), (4, 4), (5, 5), (7, 7), (2, 2, 2), (2, 1, 2), (2, 3, 1), (4, 2, 3)]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("scale", [(0.15, 0.2), (0.5, 0.5), (0.01, 0.01)])
def test_on_any_grid_every_target_and_the_context_hold_a_token(
    grid: tuple[int, ...], scale: tuple[float, float]
) -> None:
    context, targets = blocks(grid, 300, target_scale=scale)
    assert targets.any(dim=2).all() and context.any(dim=1).all()
    assert not (context[:, None] & targets).any()


def test_a_target_that_leaves_too_little_is_the_first_one_again_and_no_other_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ijepa_module.LEAST * 256 == 10
    monkeypatch.setattr(ijepa_module, "LEAST", 20 / 64)
    drawn = IJEPA(vit(1, 8, patch=1, **SIZE), **SMALL, target_scale=(0.4, 0.5))
    context, targets = drawn.masks(keys(60))
    again = 0
    for n, sample in enumerate(targets):
        hidden = sample[0].clone()
        for m in range(1, 4):
            key = random.fold(keys(60)[n : n + 1], m + 1)
            target = drawn.block(key, (0.4, 0.5), (0.75, 1.5))[0]
            if 64 - (hidden | target).sum() < 20:
                target, again = sample[0], again + 1
            assert torch.equal(target, sample[m])
            hidden |= target
        assert 64 - hidden.sum() >= 20 and context[n].sum() >= 20
    assert 20 < again < 160


def test_a_context_that_is_left_too_little_is_all_that_no_target_holds() -> None:
    method = IJEPA(words(3, 60, dropout=0.0, **SIZE), **SMALL, context_scale=(0.05, 0.05), target_scale=(0.3, 0.3))
    context, targets = method.masks(keys(100))
    seen = {0: 0, 1: 0}
    for n in range(100):
        square = method.block(random.fold(keys(100)[n : n + 1], 0), (0.05, 0.05), (1.0, 1.0))[0]
        free = ~targets[n].any(dim=0)
        enough = (square & free).sum() >= 2
        assert torch.equal(context[n], square & free if enough else free)
        seen[int(enough)] += 1
    assert min(seen.values()) > 10


def test_blocks_are_drawn_anew_in_each_epoch_and_for_each_sample() -> None:
    method = ijepa()
    one, two = method.masks(keys(6))[1], method.masks(keys(6, epoch=1))[1]
    assert not torch.equal(one, two) and torch.equal(one, method.masks(keys(6))[1])
    assert torch.equal(one[2:4], method.masks(keys(6)[2:4])[1])
    assert not torch.equal(one[:, 0], one[:, 1])


def test_it_predicts_no_pixels_and_shows_none() -> None:
    assert not isinstance(ijepa(), Shows)


@pytest.mark.parametrize(
    "settings", [{"blocks": 0}, {"target_scale": (0.2, 0.1)}, {"target_scale": (0.3, 0.6)}, {"target_scale": (0, 0.1)},
                 {"context_scale": (0.9, 1.1)}, {"context_scale": (0.9, 0.8)}, {"context_scale": (0, 0.5)}],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"of a grid \(5, 5\): expected 1 or more, shares up to 0.5 of targets"):
        ijepa(**settings)


@pytest.mark.parametrize("encoder", [lambda: vit(3, 8, patch=8, **SIZE), lambda: clip((4, 3, 4, 4), patch=4, **SIZE)])
def test_a_single_token_is_refused(encoder: Callable[[], Tokens]) -> None:
    with pytest.raises(InputError, match=r"1, 1\): expected .* and 2 tokens or more\."):
        IJEPA(encoder(), **SMALL)
