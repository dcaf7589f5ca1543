"""GPT: each token predicts the next one from itself and those before, and nothing from those after."""

import math
from typing import Any

import pytest
import torch
from tokenwise import MEASURED, batch, encoders
from torch import Tensor

from twinlens import build
from twinlens.encoders.sequence import waves
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.method import Shows
from twinlens.methods.gpt import GPT
from twinlens.plan import plan

SIZE: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2, "causal": True}
ENCODERS = encoders(causal=True)
SETTINGS: dict[str, dict[str, Any]] = {"plain": {"normalise": False}, "normalised": {}, "levels": {"levels": 5}}


def gpt(name: str = "pictures", **settings: Any) -> GPT:
    torch.manual_seed(0)
    return GPT(ENCODERS[name](), **settings).double()


def said(method: GPT, under: Tensor, t: int) -> list[float]:
    """What token t predicts, from a run over the tokens 0 ... t alone, in which all see all at the last one."""
    encoder = method.encoder
    seen = encoder.embed(under[: t + 1, 0] if encoder.vocabulary else under[: t + 1]) + encoder.positions[: t + 1]
    seen = seen if encoder.embed_norm is None else encoder.embed_norm(seen)
    token = encoder.body(seen[None], torch.ones(t + 1, t + 1, dtype=torch.bool).tril()[None, None])[0, -1]
    found: list[float] = (method.content.predict.weight @ token + method.content.predict.bias).tolist()
    return found


def nats(scores: list[float], answer: int) -> float:
    return math.log(sum(map(math.exp, scores))) - scores[answer]


def off(prediction: list[float], patch: list[float], how: str) -> float:
    if how == "levels":
        levels = [min(max(int((v + 2) * 5 / 4), 0), 4) for v in patch]
        return sum(nats(prediction[5 * p : 5 * p + 5], level) for p, level in enumerate(levels)) / len(patch)
    if how == "normalised":
        mean = sum(patch) / len(patch)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in patch) / (len(patch) - 1) + 1e-6)
        patch = [(v - mean) / deviation for v in patch]
    return sum((a - b) ** 2 for a, b in zip(prediction, patch, strict=True)) / len(patch)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("how", SETTINGS)
def test_the_loss_is_the_mean_over_all_tokens_but_the_first(name: str, how: str) -> None:
    method = gpt(name, **SETTINGS[how])
    given = batch(method, 2)
    losses = []
    for under in method.encoder.patchify(given.views[0]):
        each = []
        for t in range(len(under) - 1):
            prediction, after = said(method, under, t), under[t + 1].tolist()
            each.append(nats(prediction, after[0]) if name == "words" else off(prediction, after, how))
        losses.append(sum(each) / len(each))
    (found,) = method.encode(given)
    assert found.tolist() == pytest.approx(losses)
    assert method.compare(found).item() == pytest.approx(sum(losses) / 2)


@pytest.mark.parametrize(
    ("name", "settings", "chance"),
    [("words", {}, math.log(7)), ("pictures", {"levels": 4}, math.log(4)), ("pictures", {}, 11 / 12)],
)
def test_who_says_nothing_is_at_chance(name: str, settings: dict[str, Any], chance: float) -> None:
    method = gpt(name, **settings)
    torch.nn.init.zeros_(method.content.predict.weight)
    torch.nn.init.zeros_(method.content.predict.bias)
    loss = method.encode(batch(method))[0]
    torch.testing.assert_close(loss, torch.full((4,), chance, dtype=torch.float64), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", MEASURED)
def test_a_prediction_sees_its_token_and_those_before_and_no_other(name: str) -> None:
    method = gpt(name)
    given = batch(method)
    view = given.views[0].requires_grad_()
    prediction = method.predict(given)
    count = prediction.shape[1]
    for t in range(count):
        (grad,) = torch.autograd.grad(prediction[:, t].square().sum(), view, retain_graph=True)
        seen = method.encoder.patchify(grad).abs().sum(dim=2) > 0
        assert torch.equal(seen, (torch.arange(count + 1) <= t).expand(4, -1))


def test_later_words_change_no_prediction_and_earlier_ones_do() -> None:
    method = gpt("words")
    given = batch(method)
    before = method.predict(given)
    for place in range(10):
        view = given.views[0].clone()
        view[:, place] = (view[:, place] + 1) % 7
        after = method.predict(given._replace(views=(view,)))
        same = (after == before).all(dim=2)
        assert torch.equal(same, (torch.arange(9) < place).expand(4, -1))


@pytest.mark.parametrize("name", ENCODERS)
def test_nothing_is_drawn(name: str) -> None:
    method = gpt(name)
    given = batch(method)
    assert torch.equal(method.encode(given._replace(key=given.key + 1))[0], method.encode(given)[0])


def test_a_brighter_patch_with_more_contrast_is_the_same_normalised_one() -> None:
    method = gpt()
    given = batch(method)
    patches = method.encoder.patchify(given.views[0])
    other = method.encoder.unpatchify(
        torch.cat((patches[:, :-1], 3 * patches[:, -1:] + 1), dim=1)
    )  # none sees the last
    for normalise in (True, False):
        method.content.normalise = normalise
        one, two = method.encode(given)[0], method.encode(given._replace(views=(other,)))[0]
        assert torch.allclose(one, two, rtol=1e-5) == normalise


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("how", SETTINGS)
def test_it_shows_what_is_predicted_and_the_first_token_as_it_is(name: str, how: str) -> None:
    method = gpt(name, **SETTINGS[how])
    given = batch(method)
    assert isinstance(method, Shows)
    shown = method.show(given)
    assert list(shown) == ["sample", "predicted"] and torch.equal(shown["sample"], given.views[0])
    patches, predicted = (method.encoder.patchify(shown[title]) for title in ("sample", "predicted"))
    assert torch.equal(predicted[:, 0], patches[:, 0])
    values = method.content.values(method.predict(given), patches[:, 1:])
    assert torch.equal(predicted[:, 1:], values) and not torch.equal(values, patches[:, 1:])


def test_an_encoder_that_sees_what_comes_next_is_refused() -> None:
    with pytest.raises(InputError, match="gpt predicts what its encoder has not seen yet: set --causal true"):
        build.method("gpt", vit(3, 8, patch=2, width=16, depth=1, heads=2), {}, architecture="vit", samples=9, seed=0)
    made = build.method("gpt", ENCODERS["pictures"](), {"levels": 3}, architecture="vit", samples=9, seed=0)
    assert isinstance(made, GPT) and made.content.levels == 3
    assert plan("digits", "gpt", encoder=None).settings["causal"] is True


def test_what_cannot_be_is_said() -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError, match="a view of one token has no next one: choose an encoder with smaller tokens"):
        GPT(vit(3, 8, patch=8, **SIZE))
    with pytest.raises(InputError, match="levels is 1"):
        gpt(levels=1)
    with pytest.raises(InputError, match="no variance to normalise"):
        GPT(waves(1, 8, window=1, **SIZE))
    GPT(waves(1, 8, window=1, **SIZE), normalise=False)
    GPT(waves(1, 8, window=1, **SIZE), levels=4)
