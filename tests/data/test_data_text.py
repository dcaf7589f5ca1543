"""Texts and pairs: what their columns say, what is left out, and ragged rows that come out as they went in."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from twinlens.batch import Split
from twinlens.data import text as module
from twinlens.data.pairs import Pairs
from twinlens.data.source import Source
from twinlens.data.text import Texts, from_texts, load_text
from twinlens.data.tokenizer import Tokenizer
from twinlens.errors import InputError

TOKENIZER = Tokenizer.train(["the quick brown fox jumps over a lazy dog 0 1 2 3 4 5 6 7 8 9"] * 3, vocabulary=200)


def load(folder: Path, rows: Sequence[Mapping[str, Any]], **columns: str) -> Split:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_text(Source(path=str(path), **columns), tokenizer=TOKENIZER)


def strings(texts: Any) -> list[str]:
    assert isinstance(texts, Texts)
    return [texts.text(i) for i in range(len(texts))]


def cut(raw: Sequence[torch.Tensor]) -> list[str]:
    return [TOKENIZER.text(ids) for ids in raw[0].split(raw[1].tolist())]


def test_ragged_rows_come_out_in_the_order_asked() -> None:
    said = ["the fox", "", "a lazy dog jumps", "brown"]
    texts = from_texts(said, tokenizer=TOKENIZER, labels=np.array([7, 5, 7, 5]))
    ids, lengths, prefix, suffix = texts.fetch(torch.tensor([2, 0, 1, 2]))
    assert (ids.dtype, lengths.dtype, prefix.tolist(), suffix.tolist()) == (torch.int32, torch.int64, [2], [3])
    assert cut((ids, lengths)) == ["a lazy dog jumps", "the fox", "", "a lazy dog jumps"]
    assert texts.lengths.tolist() == [2, 0, 4, 1]
    assert (texts.nbytes, dict(texts.sizes)) == (28, {"vocabulary": TOKENIZER.vocabulary})
    assert texts.classes == ("5", "7") and texts.labels is not None and texts.labels.tolist() == [1, 0, 1, 0]
    some = texts.subset(torch.tensor([3, 2, 0])).subset(torch.tensor([1, 0]))
    assert some.ids is texts.ids
    for same in (some, some.to("cpu")):
        assert strings(same) == cut(same.fetch(torch.arange(2))) == ["a lazy dog jumps", "brown"]
        assert same.lengths.tolist() == [4, 1] and same.labels is not None and same.labels.tolist() == [1, 0]
    assert len(some.to("cpu").ids) == 5
    assert len({one.fingerprint for one in (texts, some, from_texts(said[::-1], tokenizer=TOKENIZER))}) == 3
    other = Tokenizer.train(said, vocabulary=70)
    assert from_texts(said, tokenizer=other).fingerprint == from_texts(said, tokenizer=TOKENIZER).fingerprint


def test_columns_are_recognised_and_both_parts_share_classes(tmp_path: Path) -> None:
    rows = [
        {"Sentence": f"fox {i}", "label": name, "split": part}
        for i, (name, part) in enumerate(
            [("b", "train"), ("a", "train"), ("b", "dev"), ("c", "test"), ("a", "train"), ("b", None)]
        )
    ]
    split = load(tmp_path, rows)
    assert split.test is not None and split.train.labels is not None and split.test.labels is not None
    assert strings(split.train) == ["fox 0", "fox 1", "fox 4"] and strings(split.test) == ["fox 3"]
    assert split.train.classes == split.test.classes == ("a", "b", "c")
    assert split.train.labels.tolist() == [1, 0, 0] and split.test.labels.tolist() == [2]
    assert split.train.notes == (
        "Rows left out because they are neither for training nor for testing: dev (1), none (1).",
    )
    chosen = load(tmp_path, [*rows, dict(rows[2], Sentence="fox")], where="split=dev")
    assert strings(chosen.train) == ["fox 2", "fox"] and chosen.test is None


def test_named_columns_are_joined_and_rows_chosen(tmp_path: Path) -> None:
    rows = [{"title": f"dog {i}", "text": "fox", "lang": "en" if i % 2 else "de", "year": i // 4} for i in range(8)]
    assert strings(load(tmp_path, rows, text="title+text", where="lang=en,year=1").train) == ["dog 5 fox", "dog 7 fox"]
    for wrong, says in (
        ({"text": "body"}, r"rows.jsonl has no column 'body': expected one of title, text, lang, year"),
        ({"where": "land=en"}, "no column 'land'"),
        ({"where": "lang=fr"}, "no row of .* has lang=fr: there are de, en"),
        ({"where": "lang"}, "where is 'lang': expected column=value"),
        ({"score": "title", "positive": "title"}, "'title' .* is no number everywhere"),
    ):
        with pytest.raises(InputError, match=says):
            load(tmp_path, rows, **wrong)
    with pytest.raises(InputError, match="has the columns year: expected one called text, sentence"):
        load(tmp_path, [{"year": 1}] * 3)
    with pytest.raises(InputError, match="says dev, test: expected train and test; say what to learn from by where"):
        load(tmp_path, [{"text": "fox", "split": part} for part in ("dev", "test")])


def test_labels_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    rows = [{"text": "fox", "label": label, "split": part} for label, part in
            ((10, "train"), (None, "train"), (9, "test"), (10, "test"))]  # fmt: skip
    split = load(tmp_path, rows)
    assert split.train.labels is None and split.test is not None and split.test.labels is not None
    assert split.test.labels.tolist() == [0, 1] and split.test.classes == ("9", "10")
    assert "Rows without a label: 1 of 4" in split.train.notes[0]
    assert load(tmp_path, [{"text": "fox", "label": "one"}] * 3).train.labels is None


@pytest.mark.parametrize(
    "names", [("anchor", "positive"), ("question", "answer"), ("s1", "s2"), ("premise", "hypothesis")]
)
def test_pairs_are_recognised(names: tuple[str, str], tmp_path: Path) -> None:
    rows = [{names[0]: f"fox {i}", names[1]: f"lazy dog {i}", "score": i / 2} for i in range(3)]
    pairs = load(tmp_path, rows).train
    assert isinstance(pairs, Pairs) and pairs.modality == "text+text"
    assert strings(pairs.parts[1]) == ["lazy dog 0", "lazy dog 1", "lazy dog 2"]
    assert pairs.labels is not None and pairs.labels.dtype == np.float64 and pairs.labels.tolist() == [0, 0.5, 1]
    assert pairs.lengths is not None and pairs.lengths.tolist() == [5, 5, 5]
    raw = pairs.subset(torch.tensor([2, 0])).fetch(torch.tensor([0]))
    assert len(raw) == 8 and cut(raw[:2]) == ["fox 2"] and cut(raw[4:6]) == ["lazy dog 2"]
    assert pairs.nbytes == 60 and dict(pairs.sizes) == {"vocabulary": TOKENIZER.vocabulary}
    assert pairs.to("cpu").fetch(torch.tensor([1]))[0].tolist() == pairs.fetch(torch.tensor([1]))[0].tolist()


def test_negatives_are_parts_of_their_own(tmp_path: Path) -> None:
    rows = [{"query": "fox", "positive": "dog", "negative_2": "2", "negative_1": "1"}] * 2
    pairs = load(tmp_path, rows).train
    assert isinstance(pairs, Pairs) and pairs.modality == "text+text+text+text"
    assert strings(pairs.parts[2]) == ["1", "1"]
    rows = [{"query": "fox", "positive": "dog", "negatives": ["1", str(i)]} for i in range(3)]  # type: ignore[dict-item]
    pairs = load(tmp_path, rows).train
    assert isinstance(pairs, Pairs) and strings(pairs.parts[3]) == ["0", "1", "2"]
    rows[1] = {"query": "fox", "positive": "dog", "negatives": ["1"]}  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"row 2 of .* has 1 negatives, row 1 has 2: expected lists of one length"):
        load(tmp_path, rows)


def test_empty_texts_are_left_out_and_one_sided_pairs_only_if_few(tmp_path: Path) -> None:
    split = load(tmp_path, [{"text": text} for text in ("fox", " ", None, "dog", "")])
    assert strings(split.train) == ["fox", "dog"]
    assert split.train.notes[0].endswith("rows.jsonl left out: 3, first row 2.")
    rows: list[dict[str, Any]] = [{"s1": "fox", "s2": "dog", "label": i % 2} for i in range(200)]
    rows[5]["s2"], rows[7]["s1"] = None, ""
    pairs = load(tmp_path, rows).train
    assert len(pairs) == 198 and pairs.labels is not None and pairs.labels[5] == 0
    assert pairs.notes[0].startswith("2 of 200 pairs of ") and pairs.notes[0].endswith("first row 6.")
    rows[1]["s1"] = " "
    with pytest.raises(InputError, match=r"3 of 200 pairs of .* lack a side and were left out, first row 2"):
        load(tmp_path, rows)
    with pytest.raises(InputError, match="fewer than two rows to learn from"):
        load(tmp_path, [{"text": "fox"}])


def test_a_tokenizer_is_trained_on_what_is_learnt_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = Tokenizer.train
    monkeypatch.setattr(Tokenizer, "train", lambda texts, **how: (seen.extend(texts), real(texts, **how))[1])
    path = tmp_path / "a.csv"
    path.write_text("question,answer,split\nfox,dog,train\nlazy,brown,train\nhidden,secret,test\n")
    split = load_text(Source(path=str(path), tokens="bpe", vocabulary=300))
    assert seen == ["fox", "lazy", "dog", "brown"]
    assert isinstance(split.test, Pairs) and isinstance(split.train, Pairs)
    assert split.train.parts[0].tokenizer is split.test.parts[1].tokenizer  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "_ENOUGH", 6)
    assert list(module.Strings([split.train.parts[0].texts])) == ["fox"]  # type: ignore[attr-defined]


def test_texts_in_memory_that_are_none_are_refused() -> None:
    for wrong in ("fox", [], ["fox", None]):
        with pytest.raises(InputError, match="texts is not a list of texts"):
            from_texts(wrong, tokenizer=TOKENIZER)  # type: ignore[arg-type]
