"""MLM: which tokens are chosen, what becomes of them, and the loss of all of them, over every kind of tokens."""

import math
from typing import Any

import pytest
import torch
from tokenwise import MEASURED, batch, encoders
from torch import Tensor

from twinlens import random
from twinlens.batch import Batch
from twinlens.errors import InputError
from twinlens.method import Shows
from twinlens.methods.mlm import MLM

SIZE: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2}
ENCODERS = encoders(vocabulary=50, length=20, moments=60, film=(4, 3, 6, 6))


def mlm(name: str = "pictures", **settings: Any) -> MLM:
    torch.manual_seed(0)
    return MLM(ENCODERS[name](), **settings).double()


def corrupted(method: MLM, given: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    patches = method.encoder.patchify(given.views[0])
    return patches, *method.corrupt(patches, given.key)


def said(method: MLM, under: Tensor, hidden: Tensor) -> list[list[float]]:
    """What is predicted of every token of one sample, computed token by token."""
    encoder, rows = method.encoder, []
    for t in range(len(under)):
        own = encoder.embed(under[t, 0] if encoder.vocabulary else under[t])
        placed = (method.mask_token if hidden[t] else own) + encoder.positions[t]
        rows.append(placed if encoder.embed_norm is None else encoder.embed_norm(placed))
    tokens = method.head(encoder.body(torch.stack(rows)[None]))[0]
    found: list[list[float]] = (tokens @ method.content.predict.weight.T + method.content.predict.bias).tolist()
    return found


def nats(scores: list[float], answer: int) -> float:
    return math.log(sum(map(math.exp, scores))) - scores[answer]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("masked", "blocks"), [(0.15, 0), (0.6, 2)])
def test_the_loss_is_the_mean_over_all_that_is_chosen(name: str, masked: float, blocks: int) -> None:
    method = mlm(name, masked=masked, replaced=(0.5, 0.3), head_depth=blocks, head_heads=2)
    given = batch(method)
    patches, chosen, hidden, changed = corrupted(method, given)
    losses = []
    for n in range(4):
        prediction, truth, each = said(method, changed[n], hidden[n]), patches[n].tolist(), []
        for t in range(len(truth)):
            if chosen[n, t] and name == "words":
                each.append(nats(prediction[t], truth[t][0]))
            elif chosen[n, t]:
                levels = [min(max(int((v + 2) * 2), 0), 7) for v in truth[t]]
                each += [nats(prediction[t][8 * p : 8 * p + 8], level) for p, level in enumerate(levels)]
        losses.append(sum(each) / len(each))
    (found,) = method.encode(given)
    assert found.tolist() == pytest.approx(losses)
    assert method.compare(found).item() == pytest.approx(sum(losses) / 4)


@pytest.mark.parametrize(("name", "answers"), [("pictures", 8), ("waves", 8), ("clips", 8), ("words", 50)])
def test_who_says_nothing_is_at_chance(name: str, answers: int) -> None:
    method = mlm(name)
    torch.nn.init.zeros_(method.content.predict.weight)
    torch.nn.init.zeros_(method.content.predict.bias)
    loss = method.encode(batch(method))[0]
    torch.testing.assert_close(loss, torch.full((4,), math.log(answers), dtype=torch.float64))


def test_levels_are_of_values_alone_and_can_be_done_without() -> None:
    assert mlm("words", levels=3).content.predict.out_features == 50
    assert mlm("waves", levels=3).content.predict.out_features == 3 * 6
    method = mlm("waves", levels=0)
    torch.nn.init.zeros_(method.content.predict.weight)
    torch.nn.init.constant_(method.content.predict.bias, 1.0)
    given = batch(method)
    flat = given._replace(views=(torch.full_like(given.views[0], -2.0),))
    torch.testing.assert_close(method.encode(flat)[0], torch.full((4,), 9.0, dtype=torch.float64))


@pytest.mark.parametrize("name", ENCODERS)
def test_eight_in_ten_of_the_chosen_are_hidden_one_is_exchanged_one_stays(name: str) -> None:
    method = mlm(name)
    shape, samples = method.encoder.grid, 3000
    count = math.prod(shape)
    patches = torch.arange(samples * count).view(samples, count, 1)  # no content twice
    chosen, hidden, changed = method.corrupt(patches, random.keys(0, 0, torch.arange(samples)))
    exchanged = (changed != patches)[..., 0]
    assert set(chosen.sum(dim=1).tolist()) == {round(0.15 * count)}
    assert not (hidden & ~chosen).any() and not (exchanged & ~chosen).any() and not (exchanged & hidden).any()
    assert hidden.sum() / chosen.sum() == pytest.approx(0.8, abs=0.02)
    assert exchanged.sum() / chosen.sum() == pytest.approx(0.1, abs=0.02)
    per_place = [part.double().mean(dim=0) * count for part in (chosen, hidden, exchanged)]
    assert all((part / part.mean() - 1).abs().max() < bound for part, bound in zip(per_place, (0.3, 0.3, 1.0)))


def test_a_random_token_comes_from_any_place_of_the_sample_that_is_not_asked_for() -> None:
    method = mlm("words", replaced=(0.0, 1.0))
    patches = torch.arange(3000 * 20).view(3000, 20, 1)
    chosen, hidden, changed = method.corrupt(patches, random.keys(0, 0, torch.arange(3000)))
    assert not hidden.any() and torch.equal((changed != patches)[..., 0], chosen)
    samples, places = changed[..., 0][chosen] // 20, changed[..., 0][chosen] % 20
    assert torch.equal(samples, torch.arange(3000).repeat_interleave(3))
    assert not chosen[samples, places].any()
    assert (places.bincount(minlength=20) / len(places) * 20 - 1).abs().max() < 0.2  # every place as likely
    offsets = (places - chosen.nonzero()[:, 1]) % 20
    assert (offsets.bincount(minlength=20)[1:] / len(places) * 19 - 1).abs().max() < 0.2
    first, second, third = places.view(3000, 3).unbind(1)
    for one, other in ((first, second), (first, third), (second, third)):
        assert (one == other).double().mean() == pytest.approx(1 / 17, abs=0.02)  # each is drawn by itself


def test_where_a_random_token_comes_from_has_nothing_to_do_with_which_is_exchanged() -> None:
    method = mlm("words", masked=0.5, replaced=(0.5, 0.2))
    patches = torch.arange(3000 * 20).view(3000, 20, 1)
    _, _, changed = method.corrupt(patches, random.keys(0, 0, torch.arange(3000)))
    places = changed[changed != patches] % 20
    assert (places.bincount(minlength=20) / len(places) * 20 - 1).abs().max() < 0.25


@pytest.mark.parametrize(("replaced", "shares"), [((0.0, 0.0), (0, 0)), ((1.0, 0.0), (1, 0)), ((0.0, 1.0), (0, 1))])
def test_the_shares_are_settings(replaced: tuple[float, float], shares: tuple[int, int]) -> None:
    method = mlm("waves", replaced=replaced)
    patches, chosen, hidden, changed = corrupted(method, batch(method, 50))
    assert torch.equal(hidden, chosen & bool(shares[0]))
    assert torch.equal((changed != patches).any(dim=2), chosen & bool(shares[1]))


@pytest.mark.parametrize("name", MEASURED)
def test_of_what_is_asked_for_only_what_stays_is_seen(name: str) -> None:
    method = mlm(name, masked=0.5, replaced=(0.4, 0.3))
    given = batch(method)
    view = given.views[0].requires_grad_()
    patches, chosen, hidden, changed = corrupted(method, given)
    exchanged = (changed != patches).any(dim=2)
    assert exchanged.any() and (chosen & ~hidden & ~exchanged).any()
    prediction = method.predict(changed, hidden, chosen)
    (grad,) = torch.autograd.grad(prediction.square().sum(), view)
    seen = method.encoder.patchify(grad).abs().sum(dim=2) > 0
    assert torch.equal(seen, ~(hidden | exchanged))


def test_other_words_under_what_is_hidden_change_no_prediction() -> None:
    method = mlm("words", masked=0.5, replaced=(0.4, 0.3))
    given = batch(method)
    patches, chosen, hidden, changed = corrupted(method, given)
    prediction = method.predict(changed, hidden, chosen)
    gone = hidden | (changed != patches)[..., 0]
    for where, same in ((gone, True), (chosen & ~gone, False)):
        other = torch.where(where[..., None], (patches + 1) % 50, patches)
        assert torch.equal(method.predict(method.corrupt(other, given.key)[2], hidden, chosen), prediction) == same


def test_another_epoch_is_another_question() -> None:
    method = mlm("words", masked=0.5)
    given = batch(method)
    one, two = corrupted(method, given), corrupted(method, given._replace(key=random.keys(0, 1, given.index)))
    assert not any(torch.equal(a, b) for a, b in zip(one[1:], two[1:], strict=True))


@pytest.mark.parametrize(
    ("name", "kind", "count"), [("words", "span", 6), ("pictures", "block", 5), ("clips", "tube", 6)]
)
def test_the_kind_of_mask_is_a_setting(name: str, kind: Any, count: int) -> None:
    method = mlm(name, kind=kind, masked=0.3)
    _, chosen, _, _ = corrupted(method, batch(method, 30))
    assert set(chosen.sum(dim=1).tolist()) == {count}
    assert not torch.equal(chosen, corrupted(mlm(name, masked=0.3), batch(method, 30))[1])
    if kind == "tube":
        assert torch.equal(*chosen.unflatten(1, (2, 9)).unbind(1))


@pytest.mark.parametrize("name", ENCODERS)
def test_it_shows_what_is_seen_and_what_is_filled_in(name: str) -> None:
    method = mlm(name, masked=0.5, replaced=(0.4, 0.3))
    given = batch(method)
    assert isinstance(method, Shows)
    shown = method.show(given)
    assert list(shown) == ["sample", "seen", "filled"] and torch.equal(shown["sample"], given.views[0])
    patches, chosen, hidden, changed = corrupted(method, given)
    seen, filled = (method.encoder.patchify(shown[title]) for title in ("seen", "filled"))
    assert torch.equal(seen[~hidden], changed[~hidden]) and not seen[hidden].any()
    prediction = method.predict(changed, hidden, chosen)
    values = method.content.values(prediction, patches[chosen].unflatten(0, (4, -1)))
    assert torch.equal(filled[~chosen], patches[~chosen]) and torch.equal(filled[chosen], values.flatten(0, 1))


def test_it_shows_in_mixed_precision_too() -> None:
    method = mlm().float()
    given = batch(method)
    with torch.autocast("cpu", torch.bfloat16):
        shown = method.show(given._replace(views=(given.views[0].float(),)))
    assert all(view.dtype == torch.float32 for view in shown.values())


def test_it_learns_the_mask_token() -> None:
    method = mlm()
    method.compare(*method.encode(batch(method))).backward()
    assert method.mask_token.grad is not None and method.mask_token.grad.any()


def test_what_cannot_be_is_said() -> None:
    for replaced in ((0.8, 0.3), (-0.1, 0.5)):
        with pytest.raises(
            InputError, match=r"replaced is \(.+\): expected two shares of the chosen tokens, 1 or less"
        ):
            mlm(replaced=replaced)
    method = mlm(masked=0.01)
    with pytest.raises(InputError, match="hides 0 of 16 tokens: choose one that hides and leaves some"):
        method.encode(batch(method))
    with pytest.raises(InputError, match="levels is 1"):
        mlm(levels=1)
