"""Words that start where the texts put them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import twinlens as tl
from twinlens import begin
from twinlens.batch import PAD, Samples
from twinlens.data.load import load
from twinlens.data.pairs import Pairs
from twinlens.data.text import from_texts
from twinlens.encoders.cooccurrence import word_vectors, word_weights
from twinlens.encoders.sequence import words
from twinlens.encoders.towers import Towers
from twinlens.encoders.vit import vit
from twinlens.errors import InputError

SAID = [f"{['good', 'bad'][i % 2]} word{i % 7} and word{i % 11} then word{i % 13}" for i in range(200)]
SMALL = {"epochs": 1, "batch": 64, "depth": 1, "heads": 2, "length": 12, "hidden": 16}
TEXTS = from_texts(SAID, vocabulary=90)


def encoder(**how: bool) -> nn.Module:
    return words(TEXTS.tokenizer.vocabulary, 12, width=16, depth=1, heads=2, **how)


def table(module: nn.Module) -> Tensor:
    weight = next(weight for name, weight in module.named_parameters() if name.endswith("embed.weight"))
    return weight.detach().clone()


def weights_of(module: nn.Module) -> Tensor:
    return next(weight for name, weight in module.named_parameters() if name.endswith("word_weights")).detach()


def expected(samples: Samples, drawn: Tensor) -> Tensor:
    ids, lengths, *_ = samples.fetch(torch.arange(len(samples)))
    vectors = word_vectors([(ids, lengths)], TEXTS.tokenizer.vocabulary, 16)
    seen = vectors.any(dim=1)
    assert 0 < seen.sum() < len(seen) and not seen[~torch.isin(torch.arange(len(seen)), ids)].any()
    return torch.where(seen[:, None], F.layer_norm(vectors, (16,)) / 4 + drawn / 10, drawn)


def test_words_start_at_their_vectors_where_that_is_asked_for() -> None:
    asked, other = encoder(), encoder(word_vectors=False)
    drawn, before = table(asked), table(other)
    for one in (asked, other):
        begin.begin(one, TEXTS)
    torch.testing.assert_close(table(asked), expected(TEXTS, drawn))
    assert torch.equal(table(other), before)
    tokenizer = TEXTS.tokenizer
    around = [*tokenizer.prefix, *tokenizer.suffix, tokenizer.mask, tokenizer.unknown]
    weights = word_weights([TEXTS.fetch(torch.arange(200))[:2]], tokenizer.vocabulary, around)
    assert torch.equal(weights_of(asked), weights) and len(set(around)) == 4 and weights[around].max() < 0.02
    assert torch.equal(weights_of(other), torch.ones(tokenizer.vocabulary))


def test_parts_are_counted_together_and_a_tower_of_words_is_found() -> None:
    half = torch.arange(100)
    pairs = Pairs(name="pairs", parts=(TEXTS.subset(half), TEXTS.subset(half + 100)))
    towers = Towers(vit(3, 8, patch=4, width=16, depth=1, heads=2), encoder())
    drawn = table(towers.text)
    begin.begin(towers, pairs)
    torch.testing.assert_close(table(towers.text), expected(TEXTS, drawn))


def test_words_in_the_same_company_are_apart() -> None:
    texts = from_texts([f"word{i} a b" for i in range(20)], vocabulary=100)
    encoder = words(texts.tokenizer.vocabulary, 12, width=16, depth=1, heads=2).eval()
    begin.begin(encoder, texts)
    ids = [texts.fetch(torch.tensor([i]))[0].long() for i in range(20)]
    z = encoder(nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=PAD))
    assert torch.pdist(z).min() > 0.01


def test_many_texts_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin, "_PART", 100)
    parts = list(begin.counted([TEXTS]))
    assert len(parts) > 5 and all(len(ids) == lengths.sum() < 120 for ids, lengths in parts)
    assert torch.equal(torch.cat([ids for ids, _ in parts]), TEXTS.fetch(torch.arange(200))[0])
    asked = encoder()
    drawn = table(asked)
    begin.begin(asked, TEXTS)
    torch.testing.assert_close(table(asked), expected(TEXTS, drawn))


def test_of_more_than_enough_texts_some_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin, "_ENOUGH", int(TEXTS.lengths.sum()) * 2 // 7)
    asked = encoder()
    drawn = table(asked)
    begin.begin(asked, TEXTS)
    torch.testing.assert_close(table(asked), expected(TEXTS.subset(torch.arange(0, 200, 4)), drawn))


def test_a_run_starts_there_and_a_later_one_goes_on_from_what_was_learnt(tmp_path: Path) -> None:
    still = {**SMALL, "rate": 0.0, "vocabulary": 90}
    run = tl.pretrain(SAID, "simclr", out=tmp_path / "r", width=16, **still)
    drawn = tl.pretrain(SAID, "simclr", out=tmp_path / "d", width=16, word_vectors=False, **still)
    assert torch.equal(table(run.new_encoder(run.sizes)), table(drawn.untrained))
    assert torch.equal(table(run.encoder), table(run.untrained))  # which is what the first step met
    assert table(run.encoder).sub(table(drawn.encoder)).abs().max() > 0.1
    other = [f"{text} again" for text in reversed(SAID)]
    later = tl.pretrain(other, "simclr", out=tmp_path / "l", encoder=str(tmp_path / "r"), **SMALL | {"rate": 0.0})
    assert torch.equal(table(later.encoder), table(run.encoder))
    assert torch.equal(weights_of(later.encoder), weights_of(run.encoder)) and weights_of(run.encoder).min() < 0.1
    assert later.sections()["encoder"]["word_vectors"]
    tokens = str(run.folder / "tokenizer.json")
    short = {"epochs": 1, "batch": 64, "rate": 0.0, "length": 12, "tokens": tokens}
    given = tl.pretrain(other, "simclr", out=tmp_path / "g", encoder=later.encoder, **short)
    assert torch.equal(table(given.encoder), table(run.encoder))


def test_words_are_learnt_from_other_texts_where_those_are_named(tmp_path: Path) -> None:
    reviews, few = tmp_path / "reviews.txt", [f"a good day {i} and bad" for i in range(64)]
    reviews.write_text("\n".join(SAID) + "\n")
    how = SMALL | {"batch": 32, "width": 16, "vocabulary": 90}
    run = tl.pretrain(few, "simclr", out=tmp_path / "few", words_from=str(reviews), **how)
    alone = tl.pretrain(few, "simclr", out=tmp_path / "alone", **how)
    assert run.tokenizer is not None and run.tokenizer.fingerprint == TEXTS.tokenizer.fingerprint
    assert alone.tokenizer is not None and alone.tokenizer.fingerprint != TEXTS.tokenizer.fingerprint
    torch.testing.assert_close(table(run.untrained), expected(TEXTS, table(run.new_encoder(run.sizes))))
    told = {name: tl.load(run.folder).facts["data"].get(name) for name in ("samples", "words")}
    assert told == {"samples": 58, "words": load(str(reviews)).train.fingerprint}
    with pytest.raises(InputError, match=f"{run.folder} brings its words with it"):
        tl.pretrain(few, "simclr", out=tmp_path / "both", encoder=str(run.folder), words_from=str(reviews))
    with pytest.raises(InputError, match="brings its words with it"):
        tl.pretrain(few, "simclr", out=tmp_path / "module", encoder=run.encoder, words_from=str(reviews))


def test_a_later_run_has_a_rate_of_words_of_its_own(tmp_path: Path) -> None:
    how = {"epochs": 1, "batch": 64, "length": 12}
    first = tl.pretrain(SAID, "ranking", out=tmp_path / "r", width=16, depth=1, heads=2, word_rate=9.0, **how)
    kept = tl.pretrain(SAID, "ranking", out=tmp_path / "k", encoder=str(first.folder), **how)
    own = tl.pretrain(SAID, "ranking", out=tmp_path / "o", encoder=str(first.folder), word_rate=3.0, **how)
    assert [run.sections()["encoder"]["word_rate"] for run in (first, kept, own)] == [9.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("words_from", "how", "says"),
    [
        ("nowhere.txt", {}, "nowhere.txt"),
        ("digits", {}, "holds no texts"),
        ("reviews.txt", {"tokens": "tokenizer.json"}, "tokenizer.json brings its words with it"),
        ("reviews.txt", {"encoder": "transformers/bert"}, "transformers/bert brings its words with it"),
    ],
)
def test_words_that_cannot_be_learnt_are_refused(
    words_from: str, how: dict[str, str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says):
        tl.pretrain(SAID, "simclr", out=tmp_path / "r", words_from=words_from, **how)
    with pytest.raises(InputError, match="words_from"):
        tl.pretrain("digits", "simclr", out=tmp_path / "r", words_from=words_from)
