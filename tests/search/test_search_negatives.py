"""Mined pairs: what stands beside each is near, and no answer."""

from pathlib import Path

import pytest
from pairs import rows, write
from torch.nn.functional import normalize

import twinlens as tl
from twinlens.data.text import from_texts
from twinlens.errors import InputError
from twinlens.search import with_negatives


def test_negatives_are_the_nearest_that_are_no_answers(folder: Path, texts: tl.Run) -> None:
    some = rows(30)
    some += [{"anchor": some[0]["anchor"], "positive": f"another answer {i}"} for i in range(2)]  # three answers
    some[3]["anchor"] = some[4]["positive"]  # a text that is an anchor and in the corpus
    some[7]["positive"] = some[8]["positive"]  # one answer to two
    found = with_negatives(texts, write(folder / "q.jsonl", some, "anchor", "positive"), count=3, window=(2, 9))
    assert found.left_out == 0 and len(found.rows) == 32
    corpus = list(dict.fromkeys(str(row["positive"]) for row in some))
    z = normalize(texts.embeddings(from_texts(corpus, tokenizer=texts.tokenizer)))
    for row, given in zip(found.rows, some, strict=True):
        assert (row["anchor"], row["positive"]) == (given["anchor"], given["positive"])
        own = {str(other["positive"]) for other in some if other["anchor"] == row["anchor"]} | {row["anchor"]}
        query = normalize(texts.embeddings(from_texts([row["anchor"]], tokenizer=texts.tokenizer)))[0]
        ranking = [corpus[i] for i in (z @ query).argsort(descending=True).tolist() if corpus[i] not in own]
        assert [row[f"negative_{i}"] for i in (1, 2, 3)] == ranking[2:5]
        assert list(row) == ["anchor", "positive", "negative_1", "negative_2", "negative_3"]


def test_pairs_without_enough_are_left_out_and_counted(folder: Path, texts: tl.Run) -> None:
    data = str(folder / "p.jsonl")
    pairs = texts.read(data).train
    z = [normalize(texts.embeddings(part)) for part in pairs.parts]
    cosine = z[0] @ z[1].T
    own = cosine.diag()[:, None]
    there = (cosine.fill_diagonal_(9.0) <= own - 0.1).sum(1) > 0
    found = with_negatives(texts, data, window=(0, 96), margin=0.1)
    assert len(found.rows) == int(there.sum()) and found.left_out == 96 - len(found.rows)


def test_what_cannot_be_mined_is_said(folder: Path, texts: tl.Run, pictures: tl.Run) -> None:
    with pytest.raises(InputError, match="none of 96 pairs has 1 negatives at ranks 95 to 100 of 96 texts: choose"):
        with_negatives(texts, str(folder / "p.jsonl"), window=(95, 100))
    with pytest.raises(InputError, match="texts holds text: expected pairs of texts"):
        with_negatives(texts, ["one", "two", "three"])
    with pytest.raises(InputError, match=r"photos holds image\+text: expected pairs of texts"):
        with_negatives(pictures, str(folder / "photos"))
    with pytest.raises(InputError, match=r"window = \(5, 2\)"):
        with_negatives(texts, str(folder / "p.jsonl"), window=(5, 2))
