"""Texts shorter than their row: no method over tokens asks for what fills it up, nor is told by it."""

import pytest
import torch
from support import small_settings
from tokenwise import batch, encoders

from twinlens import discover
from twinlens.batch import PAD, Batch
from twinlens.encoders.contract import CausalEncoder, TokenEncoder
from twinlens.method import Method

NAMES = ("cpc", "data2vec", "gpt", "mlm", "neighbours", "simmim")


def made(name: str) -> Method:
    cls = discover.method(name)
    torch.manual_seed(0)
    kind = discover.encoder_kind(cls)
    assert kind in (TokenEncoder, CausalEncoder)
    encoder = encoders(causal=kind is CausalEncoder)["words"]()
    more = {"masked": 0.5} if name in ("mlm", "simmim", "data2vec") else {}
    return cls(encoder, **small_settings(cls), **more).double()


def filled(method: Method, lengths: list[int]) -> Batch:
    given = batch(method, len(lengths))
    short = torch.arange(10) >= torch.tensor(lengths)[:, None]
    return given._replace(views=(given.views[0].masked_fill(short, PAD),))


@pytest.mark.parametrize("name", NAMES)
def test_short_texts_have_a_finite_loss_and_gradient(name: str) -> None:
    method = made(name)
    loss = method.compare(*method.encode(filled(method, [10, 6, 3, 1])))
    loss.backward()
    assert loss.isfinite() and float(loss.detach()) > 0
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_of_a_text_without_words_nothing_is_asked(name: str) -> None:
    method = made(name)
    parts = method.encode(filled(method, [0, 0, 0, 0]))
    loss = method.compare(*parts)
    assert float(loss.detach()) == 0
    loss.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["gpt", "mlm", "simmim", "neighbours"])
def test_the_loss_is_the_mean_over_what_is_asked(name: str) -> None:
    """Every answer costs log of the vocabulary where nothing is said, and 0 where nothing is asked."""
    method = made(name)
    torch.nn.init.zeros_(method.content.predict.weight)
    torch.nn.init.zeros_(method.content.predict.bias)
    (loss,) = method.encode(filled(method, [10, 8, 5, 0]))
    chance = torch.tensor(7.0, dtype=torch.float64).log()
    asked = loss > 0
    assert asked[:2].all() and not asked[3]
    torch.testing.assert_close(loss[asked], chance.expand(int(asked.sum())))


def test_gpt_says_of_a_short_text_what_it_says_of_it_alone() -> None:
    method = made("gpt")
    given = filled(method, [10, 6, 6, 6])
    whole = method.encode(given)[0]
    alone = given._replace(views=(given.views[0][:, :6],))
    torch.testing.assert_close(method.encode(alone)[0][1:], whole[1:])


def test_words_are_exchanged_for_words_of_the_same_text_alone() -> None:
    method = made("mlm")
    method.replaced = (0.3, 0.7)
    given = filled(method, [10, 5, 2, 1])
    patches = method.encoder.patchify(given.views[0])
    for epoch in range(50):
        chosen, hidden, others = method.corrupt(patches, given.key + epoch)
        assert torch.equal(others < 0, patches < 0)
        assert not (hidden & (patches[..., 0] < 0)).any()
        for n in range(4):
            shown = patches[n, ~chosen[n], 0]
            changed = others[n, ..., 0] != patches[n, ..., 0]
            assert set(others[n, changed, 0].tolist()) <= set(shown[shown >= 0].tolist())


def test_cpc_tells_only_what_is_there_and_all_of_it() -> None:
    method = made("cpc")
    method.places = 3  # of more that there are: those of which there is something to tell
    parts = method.encode(filled(method, [10, 6, 3, 1]))
    steps = len(method.starts)
    told = torch.stack([there.sum(dim=1) for there in parts[2 * steps :]], dim=1)  # (N, steps)
    for n, length in enumerate([10, 6, 3, 1]):
        assert told[n].tolist() == [max(min(length - k, method.places), 0) for k in range(1, steps + 1)]
    other = [part.clone() for part in parts]
    for k in range(steps):
        other[2 * k + 1][parts[2 * steps + k] == 0] += 7
    torch.testing.assert_close(method.compare(*other), method.compare(*parts))


def test_a_block_without_words_is_not_asked_for_its_neighbours() -> None:
    method = made("neighbours")  # a block of two has a neighbour on each side: none but the first place has no block
    method.blocks = len(method.windows)
    assert method.windows[0].tolist() == [1, 2, 0, 3]
    assert not method.encode(filled(method, [1, 1, 1, 1]))[0].any()
    assert method.encode(filled(method, [2, 2, 2, 2]))[0].all()
