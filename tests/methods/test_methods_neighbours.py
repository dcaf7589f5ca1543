"""Neighbours: where blocks and their rings lie, the loss place by place, and that nothing but a block is seen."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from tokenwise import MEASURED, batch, encoders
from torch import Tensor

from twinlens import random
from twinlens.encoders.clip import clip
from twinlens.encoders.sequence import waves, words
from twinlens.encoders.tokens import Tokens
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.method import Shows
from twinlens.methods.neighbours import Neighbours

SIZE: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2}
ENCODERS = encoders(size=12, film=(6, 3, 10, 10))
SETTINGS: list[dict[str, Any]] = [{}, {"seen": 1}, {"seen": 1, "reach": 2}, {"normalise": False, "blocks": 1}]


def neighbours(name: str = "pictures", **settings: Any) -> Neighbours:
    torch.manual_seed(0)
    return Neighbours(ENCODERS[name](), **{"hidden": 12} | settings).double()


def windows(grid: tuple[int, ...], seen: int, reach: int) -> list[tuple[list[int], list[int]]]:
    """Every block and its ring, from distances: tokens in the order they are read."""
    places = list(product(*map(range, grid)))
    flat = {place: token for token, place in enumerate(places)}
    found = []
    for corner in places:
        near: dict[int, list[int]] = {}
        for place in product(*(range(-reach, side + reach) for side in grid)):
            in_frame = len(grid) < 3 or place[0] == corner[0]
            pairs = list(zip(place, corner, strict=True))[-2:]
            away = max(max(c - p, p - (c + seen - 1), 0) for p, c in pairs)
            if in_frame and away <= reach:
                near.setdefault(int(away > 0), []).append(flat.get(place, -1))
        if -1 not in near[0] + near[1]:
            found.append((near[0], near[1]))
    return found


def layer(x: Tensor, module: Any) -> Tensor:
    return module.weight @ x + module.bias  # type: ignore[no-any-return]


def off(prediction: list[float], patch: list[float], method: Neighbours) -> float:
    if method.encoder.vocabulary:
        return math.log(sum(map(math.exp, prediction))) - prediction[int(patch[0])]
    if method.content.normalise:
        mean = sum(patch) / len(patch)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in patch) / (len(patch) - 1) + 1e-6)
        patch = [(v - mean) / deviation for v in patch]
    return sum((a - b) ** 2 for a, b in zip(prediction, patch, strict=True)) / len(patch)


def said(method: Neighbours, under: Tensor, block: list[int]) -> list[list[float]]:
    """What is predicted from a block of one view's tokens, of each place around it."""
    encoder: Any = method.encoder
    embedded = encoder.embed(under[block, 0] if encoder.vocabulary else under[block]) + encoder.positions[block]
    embedded = embedded if encoder.embed_norm is None else encoder.embed_norm(embedded)
    mean = sum(encoder.body(embedded[None])[0]) / len(block)
    found = []
    for place in method.places:
        h = layer(mean, method.embed) + place
        h = h * (1 + torch.erf(h / math.sqrt(2))) / 2
        found.append(layer(h, method.content.predict).tolist())
    return found


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_loss_is_the_mean_over_blocks_and_places_around_them(name: str, settings: dict[str, Any]) -> None:
    method = neighbours(name, **settings)
    given = batch(method)
    known = windows(method.encoder.grid, settings.get("seen", 2), settings.get("reach", 1))
    blocks, rings = (each.unflatten(0, (4, -1)).tolist() for each in method.pick(given.key))
    assert all(len(each) == min(settings.get("blocks", 4), len(known)) for each in blocks)
    losses = []
    for n, under in enumerate(method.encoder.patchify(given.views[0])):
        each = []
        for block, ring in zip(blocks[n], rings[n], strict=True):
            assert (block, ring) in known
            for prediction, token in zip(said(method, under, block), ring, strict=True):
                each.append(off(prediction, under[token].tolist(), method))
        losses.append(sum(each) / len(each))
    (found,) = method.encode(given)
    assert found.tolist() == pytest.approx(losses)
    assert method.compare(found).item() == pytest.approx(sum(losses) / 4)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("seen", "reach"), [(1, 1), (2, 1), (1, 2)])
def test_blocks_are_where_their_ring_fits_each_place_as_likely_and_none_twice(name: str, seen: int, reach: int) -> None:
    method = neighbours(name, seen=seen, reach=reach)
    known = [tuple(block + ring) for block, ring in windows(method.encoder.grid, seen, reach)]
    assert sorted(map(tuple, method.windows.tolist())) == sorted(known)
    samples = 50 * len(known)
    drawn = torch.cat(method.pick(random.keys(0, 0, torch.arange(samples))), dim=1).unflatten(0, (samples, -1))
    times = dict.fromkeys(known, 0)
    for sample in drawn.tolist():
        assert len({tuple(each) for each in sample}) == len(sample) == min(4, len(known))
        for each in sample:
            times[tuple(each)] += 1
    expected = 50 * min(4, len(known))
    assert all(abs(count - expected) < 6 * math.sqrt(expected) for count in times.values())


def test_blocks_are_drawn_anew_in_each_epoch() -> None:
    method = neighbours()
    one, two = (method.pick(random.keys(0, epoch, torch.arange(4)))[0] for epoch in (0, 1))
    assert not torch.equal(one, two) and len(set(one[:, 0].tolist())) > 4
    assert torch.equal(one[4:8], method.pick(random.keys(0, 0, torch.arange(4))[1:2])[0])


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("seen", [1, 2])
def test_a_prediction_sees_its_block_and_nothing_else(name: str, seen: int) -> None:
    method = neighbours(name, seen=seen, blocks=1)
    given = batch(method)
    view = given.views[0].requires_grad_()
    keep, _ = method.pick(given.key)
    prediction = method.around(view, keep)
    block = torch.zeros(4, len(method.encoder.positions), dtype=torch.bool).scatter(1, keep, True)  # type: ignore[attr-defined]
    for place in range(prediction.shape[1]):
        (grad,) = torch.autograd.grad(prediction[:, place].square().sum(), view, retain_graph=True)
        assert torch.equal(method.encoder.patchify(grad).abs().sum(dim=2) > 0, block)


def test_words_outside_the_block_change_no_prediction() -> None:
    method = neighbours("words", blocks=1)
    given = batch(method)
    keep, _ = method.pick(given.key)
    before = method.around(given.views[0], keep)
    for place in range(10):
        view = given.views[0].clone()
        view[:, place] = (view[:, place] + 1) % 7
        same = (method.around(view, keep) == before).all(dim=2).all(dim=1)
        assert torch.equal(same, ~(keep == place).any(dim=1))


@pytest.mark.parametrize(("name", "chance"), [("words", math.log(7)), ("pictures", 11 / 12), ("waves", 5 / 6)])
def test_who_says_nothing_is_at_chance(name: str, chance: float) -> None:
    method = neighbours(name)
    torch.nn.init.zeros_(method.content.predict.weight)
    torch.nn.init.zeros_(method.content.predict.bias)
    loss = method.encode(batch(method))[0]
    torch.testing.assert_close(loss, torch.full((4,), chance, dtype=torch.float64), rtol=1e-3, atol=0)


def test_a_brighter_neighbour_with_more_contrast_is_the_same_normalised_one() -> None:
    method = neighbours(blocks=1)
    given = batch(method)
    patches, (_, ring) = method.encoder.patchify(given.views[0]), method.pick(given.key)
    hidden = torch.zeros(4, 36, 1, dtype=torch.bool).scatter(1, ring[..., None], True)
    other = method.encoder.unpatchify(torch.where(hidden, 3 * patches + 1, patches))
    for normalise in (True, False):
        method.content.normalise = normalise
        one, two = method.encode(given)[0], method.encode(given._replace(views=(other,)))[0]
        assert torch.allclose(one, two, rtol=1e-5) == normalise


def test_an_encoder_that_does_not_pool_serves_as_well() -> None:
    torch.manual_seed(0)
    method = Neighbours(vit(3, 12, patch=2, pool=False, **SIZE), hidden=12).double()
    torch.testing.assert_close(method.encode(batch(method))[0], neighbours().encode(batch(method))[0])


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("normalise", [True, False])
def test_it_shows_the_first_block_and_what_is_predicted_around_it(name: str, normalise: bool) -> None:
    method = neighbours(name, normalise=normalise)
    given = batch(method)
    assert isinstance(method, Shows)
    shown = method.show(given)
    assert list(shown) == ["sample", "seen", "around"] and torch.equal(shown["sample"], given.views[0])
    sample, seen, around = (method.encoder.patchify(view) for view in shown.values())
    keep, ring = (each.unflatten(0, (4, -1))[:, 0] for each in method.pick(given.key))
    for n in range(4):
        values = method.content.values(method.around(given.views[0], keep), at(sample, ring))[n]
        for token in range(sample.shape[1]):
            place = (ring[n] == token).nonzero()[:, 0].tolist()
            zero = torch.zeros_like(sample[n, token])
            kept = sample[n, token] if token in keep[n] else zero
            assert torch.equal(seen[n, token], kept)
            assert torch.equal(around[n, token], values[place[0]] if place else kept)


def at(patches: Tensor, tokens: Tensor) -> Tensor:
    return torch.stack([patches[n, tokens[n]] for n in range(len(patches))])


def test_it_fits_a_grid_of_four_by_four_where_a_block_has_one_place() -> None:
    method = Neighbours(vit(3, 8, patch=2, **SIZE))
    assert method.blocks == 1 and method.windows[0, :4].tolist() == [5, 6, 9, 10]
    assert sorted(method.windows[0].tolist()) == list(range(16))


@pytest.mark.parametrize(
    ("encoder", "settings", "fix"),
    [
        (lambda: vit(3, 6, patch=2, **SIZE), {}, {"seen": 1, "reach": 1}),
        (lambda: vit(3, 8, patch=2, **SIZE), {"seen": 3}, {"seen": 2, "reach": 1}),
        (lambda: words(7, 8, **SIZE), {"seen": 1, "reach": 5}, {"seen": 1, "reach": 3}),
        (lambda: words(7, 8, **SIZE), {"seen": 9, "reach": 9}, {"seen": 2, "reach": 3}),
        (lambda: clip((20, 3, 6, 8), patch=2, **SIZE), {}, {"seen": 1, "reach": 1}),
    ],
)
def test_too_small_a_grid_is_refused_with_a_way_out(
    encoder: Callable[[], Tokens], settings: dict[str, int], fix: dict[str, int]
) -> None:
    side = settings.get("seen", 2) + 2 * settings.get("reach", 1)
    advice = rf"need a grid of {side} tokens a side, not \(.*\): choose --seen {fix['seen']} --reach {fix['reach']}\."
    with pytest.raises(InputError, match=advice):
        Neighbours(encoder(), **settings)
    Neighbours(encoder(), **fix)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(InputError, match=r"not \(2, 2\): cut views into more tokens\."):
        Neighbours(vit(3, 4, patch=2, **SIZE))
    for settings in ({"seen": 0}, {"reach": 0}, {"blocks": 0}):
        with pytest.raises(InputError, match="expected 1 or more of each"):
            neighbours(**settings)
    with pytest.raises(InputError, match="no variance to normalise"):
        Neighbours(waves(1, 8, window=1, **SIZE))
    Neighbours(waves(1, 8, window=1, **SIZE), normalise=False)
