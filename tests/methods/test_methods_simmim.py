"""SimMIM: the absolute error of what is hidden, which is not seen, over every kind of tokens."""

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
from twinlens.methods.simmim import SimMIM
from twinlens.views.masks import hide

SIZE: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2}
ENCODERS = encoders()


def simmim(name: str = "pictures", **settings: Any) -> SimMIM:
    torch.manual_seed(0)
    return SimMIM(ENCODERS[name](), **settings).double()


def said(method: SimMIM, view: Tensor, hidden: Tensor) -> Tensor:
    """What is predicted of every token of one view, computed token by token: (T, ...)."""
    encoder = method.encoder
    under = encoder.patchify(view[None])[0]
    rows = []
    for t in range(len(under)):
        own = encoder.embed(under[t, 0] if encoder.vocabulary else under[t])
        placed = (method.mask_token if hidden[t] else own) + encoder.positions[t]
        rows.append(placed if encoder.embed_norm is None else encoder.embed_norm(placed))
    tokens = method.head(encoder.body(torch.stack(rows)[None]))[0]
    return tokens @ method.content.predict.weight.T + method.content.predict.bias


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("blocks", [0, 2])
def test_the_loss_is_the_mean_over_what_is_hidden(name: str, blocks: int) -> None:
    method = simmim(name, head_depth=blocks, head_heads=2)
    given = batch(method)
    masks = hide("random", given.key, method.encoder.grid, 0.6)
    losses = []
    for view, hidden in zip(given.views[0], masks, strict=True):
        prediction, under = said(method, view, hidden).tolist(), method.encoder.patchify(view[None])[0].tolist()
        each = []
        for t in range(len(under)):
            if hidden[t] and name == "words":
                each.append(math.log(sum(map(math.exp, prediction[t]))) - prediction[t][under[t][0]])
            elif hidden[t]:
                each += [abs(a - b) for a, b in zip(prediction[t], under[t], strict=True)]
        losses.append(sum(each) / len(each))
    (found,) = method.encode(given)
    assert found.tolist() == pytest.approx(losses)
    assert method.compare(found).item() == pytest.approx(sum(losses) / len(losses))


def test_known_by_hand() -> None:
    method = simmim()
    torch.nn.init.zeros_(method.content.predict.weight)
    torch.nn.init.constant_(method.content.predict.bias, 0.5)
    given = batch(method)
    flat = given._replace(views=(torch.full_like(given.views[0], -1.5),))
    torch.testing.assert_close(method.encode(flat)[0], torch.full((4,), 2.0, dtype=torch.float64))
    torch.nn.init.zeros_(method.content.predict.bias)
    one, two = method.encode(given)[0], method.encode(given._replace(views=(-3 * given.views[0],)))[0]
    torch.testing.assert_close(two, 3 * one)  # not the square
    wordy = simmim("words")
    torch.nn.init.zeros_(wordy.content.predict.weight)
    torch.nn.init.zeros_(wordy.content.predict.bias)
    assert wordy.compare(*wordy.encode(batch(wordy))).item() == pytest.approx(math.log(7))


@pytest.mark.parametrize("name", MEASURED)
def test_what_is_hidden_is_not_seen_and_all_else_is(name: str) -> None:
    method = simmim(name)
    given = batch(method)
    view = given.views[0].requires_grad_()
    _, prediction, mask = method.predict(given)
    (grad,) = torch.autograd.grad(prediction.square().sum(), view)
    assert torch.equal(method.encoder.patchify(grad).abs().sum(dim=2) > 0, ~mask)


@pytest.mark.parametrize("name", ENCODERS)
def test_other_hidden_content_changes_no_prediction(name: str) -> None:
    method = simmim(name)
    given = batch(method)
    patches, prediction, mask = method.predict(given)
    other = (patches + 1) % 7 if name == "words" else -patches
    for where, same in ((mask, True), (~mask, False)):
        changed = method.encoder.unpatchify(torch.where(where[..., None], other, patches))
        assert torch.equal(method.predict(given._replace(views=(changed,)))[1], prediction) == same


@pytest.mark.parametrize(
    ("name", "kind", "masked", "count"),
    [
        ("pictures", "random", 0.6, 10),
        ("pictures", "block", 0.5, 8),
        ("pictures", "inverse block", 0.75, 12),
        ("words", "span", 0.3, 3),
        ("waves", "random", 0.5, 4),
        ("clips", "tube", 0.5, 4),
    ],
)
def test_exactly_the_share_is_hidden_by_the_kind_of_mask(name: str, kind: Any, masked: float, count: int) -> None:
    method = simmim(name, kind=kind, masked=masked)
    given = batch(method, 20)
    patches, prediction, mask = method.predict(given)
    assert torch.equal(mask, hide(kind, given.key, method.encoder.grid, masked))
    assert set(mask.sum(dim=1).tolist()) == {count} and prediction.shape[:2] == (20, count)
    assert torch.equal(patches, method.encoder.patchify(given.views[0]))
    assert len(set(map(tuple, mask.tolist()))) > 1


def test_masks_are_the_samples_and_change_with_the_epoch() -> None:
    method = simmim()
    given = batch(method)
    turned = Batch((given.views[0].flip(0),), given.index.flip(0), given.key.flip(0))
    assert torch.equal(method.predict(turned)[2], method.predict(given)[2].flip(0))
    later = given._replace(key=random.keys(0, 1, given.index))
    assert not torch.equal(method.predict(later)[2], method.predict(given)[2])


@pytest.mark.parametrize("name", ENCODERS)
def test_it_shows_what_is_seen_and_what_is_filled_in(name: str) -> None:
    method = simmim(name)
    given = batch(method)
    assert isinstance(method, Shows)
    shown = method.show(given)
    assert list(shown) == ["sample", "seen", "filled"] and torch.equal(shown["sample"], given.views[0])
    patches, prediction, mask = method.predict(given)
    seen, filled = (method.encoder.patchify(shown[title]) for title in ("seen", "filled"))
    assert torch.equal(seen[~mask], patches[~mask]) and not seen[mask].any()
    said = prediction.argmax(dim=2, keepdim=True) if name == "words" else prediction
    assert torch.equal(filled[~mask], patches[~mask]) and torch.equal(filled[mask], said.flatten(0, 1))


def test_it_shows_in_mixed_precision_too() -> None:
    method = simmim().float()
    given = batch(method)
    with torch.autocast("cpu", torch.bfloat16):
        shown = method.show(given._replace(views=(given.views[0].float(),)))
    assert all(view.dtype == torch.float32 for view in shown.values())


def test_it_learns_the_mask_token() -> None:
    method = simmim()
    method.compare(*method.encode(batch(method))).backward()
    assert method.mask_token.grad is not None and method.mask_token.grad.any()


def test_what_cannot_be_is_said() -> None:
    for settings, sentence in (
        ({"masked": 0.01}, "hides 0 of 16 tokens: choose one that hides and leaves some"),
        ({"kind": "blok"}, "unknown kind of mask 'blok': did you mean block"),
        ({"kind": "span"}, "spans are of sequences"),
    ):
        method = simmim(**settings)
        with pytest.raises(InputError, match=sentence):
            method.encode(batch(method))
