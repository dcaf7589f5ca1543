"""TSDAE: spells a text from one vector of what is left of it."""

import math

import pytest
import torch
from support import LENGTH, VOCABULARY, build, feed

from twinlens.batch import PAD, Batch
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.methods.tsdae import TSDAE
from twinlens.views.masks import deleted


def made() -> tuple[TSDAE, Batch]:
    method = build(TSDAE).double()
    return method, next(feed(TSDAE).run(0, 1))[0]()


def test_the_loss_is_the_mean_over_the_words_of_each_text() -> None:
    method, batch = made()
    ids, losses = batch.views[0], []
    code = method.encoder(deleted(batch.key, ids, 0.6))
    for n, text in enumerate(ids.tolist()):
        words = [word for word in text if word >= 0]
        said = method.decoder(code[n : n + 1], torch.tensor([words]))[0].tolist()
        nats = [math.log(sum(map(math.exp, row))) - row[word] for row, word in zip(said, words, strict=True)]
        losses.append(sum(nats) / len(nats))
    (found,) = method.encode(batch)
    assert found.tolist() == pytest.approx(losses)
    assert method.compare(found).item() == pytest.approx(sum(losses) / len(losses))


def test_who_says_nothing_is_at_chance() -> None:
    method, batch = made()
    torch.nn.init.zeros_(method.decoder.embed.weight)
    assert method.encode(batch)[0].tolist() == pytest.approx([math.log(VOCABULARY)] * 12)


def test_the_decoder_knows_of_a_text_what_is_in_its_code() -> None:
    method, batch = made()
    seen = []
    method.encoder.register_forward_hook(lambda module, given, z: seen.append(given[0]))
    said = method.predict(batch)
    assert torch.equal(seen[0], deleted(batch.key, batch.views[0], 0.6))
    own = batch.views[0] >= 0
    assert torch.equal((seen[0] >= 0).sum(1), own.sum(1) - (0.6 * own.sum(1).double()).round().long())
    method.encoder.register_forward_hook(lambda module, given, z: torch.zeros_like(z))
    first = method.predict(batch)[:, 0]
    assert torch.equal(first, first[:1].expand_as(first)) and not torch.equal(said[:, 0], first)


def test_filling_up_changes_nothing() -> None:
    method, batch = made()
    short = batch.views[0].clone()
    short[:, LENGTH - 3 :] = PAD
    whole = method.encode(batch._replace(views=(short,)))[0]
    torch.testing.assert_close(method.encode(batch._replace(views=(short[:, : LENGTH - 3],)))[0], whole)


def test_it_shows_what_it_sees_and_spells() -> None:
    method, batch = made()
    shown = method.show(batch)
    assert list(shown) == ["sample", "seen", "spelled"]
    assert torch.equal(shown["spelled"] >= 0, batch.views[0] >= 0) and torch.equal(shown["sample"], batch.views[0])


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(InputError, match="Tokens takes no words: tsdae deletes words and spells them"):
        TSDAE(vit(3, 8, patch=2, width=16, depth=1, heads=2))  # type: ignore[arg-type]
    for share in (0.0, 1.0):
        with pytest.raises(InputError, match=f"a share of {share} of the words is deleted"):
            build(TSDAE, deleted=share)
