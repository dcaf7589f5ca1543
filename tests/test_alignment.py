"""How well a run brings parts together: against the measures by themselves, and by what is known of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pairs import captioned, rows, write

import twinlens as tl
from twinlens import alignment
from twinlens.alignment import align, alike, evaluate
from twinlens.data.pairs import Pairs
from twinlens.data.source import Source
from twinlens.data.text import from_texts
from twinlens.errors import InputError
from twinlens.evaluate import crossing, sts
from twinlens.evaluate.tfidf import TfIdf

pytestmark = pytest.mark.usefixtures("one_cache")


def test_scored_pairs_are_judged_by_the_order_of_their_scores_on_the_test_part(folder: Path, texts: tl.Run) -> None:
    path = write(folder / "scored.jsonl", rows(), "anchor", "positive", "part", "told")
    data = Source(path=path, split="part", score="told")
    (found,) = align(texts, data)
    split = texts.read(data)
    assert isinstance(split.test, Pairs) and isinstance(split.train, Pairs) and len(split.test) == 12
    told = [row["told"] for row in rows()[84:]]
    plain = sts(*(texts.embeddings(part) for part in split.test.parts), told)
    assert (found.value, found.interval) == (plain.value, plain.interval) and found.settings["pairs"] == 12
    raw = TfIdf(split.train.parts[0])
    beside = {name: other.value for name, other in found.baselines.items()}
    untrained = [texts.embeddings(part, texts.untrained) for part in split.test.parts]
    assert beside == {
        "raw input": sts(*(raw(part) for part in split.test.parts), told).value,
        "untrained encoder": sts(*untrained, told).value,
    }


def test_pairs_without_scores_look_for_each_other(folder: Path, texts: tl.Run) -> None:
    found = {result.name: result for result in align(texts, str(folder / "p.jsonl"))}
    names = [f"{way} {name}" for way in ("first to second", "second to first") for name in _measures()]
    assert list(found) == names
    pairs = texts.read(str(folder / "p.jsonl")).train
    plain = crossing(*(texts.embeddings(part) for part in pairs.parts))
    assert [result.value for result in found.values()] == [result.value for result in plain]
    one = found["first to second recall@1"]
    assert one.baselines.keys() == {"chance", "raw input", "untrained encoder"}
    assert one.baselines["chance"].value == pytest.approx(1 / 96)
    assert one.baselines["raw input"].value > 0.5  # the numbers in them are in no other text


def _measures() -> list[str]:
    return ["recall@1", "recall@5", "recall@10", "MRR", "nDCG@10"]


def test_pictures_find_captions_and_are_named(folder: Path, pictures: tl.Run) -> None:
    *found, named = align(pictures, str(folder / "photos"))
    assert found[0].name == "image to text recall@1" and found[-1].name == "text to image nDCG@10"
    assert found[0].baselines.keys() == {"chance", "untrained encoder"}
    assert named.name == "zero-shot" and named.settings == {"similarity": "cosine", "classes": 3, "prompts": 1}
    assert named.baselines.keys() == {"chance", "majority class", "untrained encoder"}
    assert named.value == 1  # colours are learnt in a second
    split = pictures.read(str(folder / "photos"))
    assert split.train.classes == ("blue", "green", "red")
    classes = pictures.embeddings(from_texts(list(split.train.classes), tokenizer=pictures.tokenizer))
    nearest = torch.cosine_similarity(pictures.embeddings(split.train)[:, None], classes, dim=2).argmax(1)
    assert nearest.tolist() == split.train.labels.tolist()
    other = align(pictures, str(folder / "photos"), templates=("a {} cat", "something {}"))[-1]
    assert other.settings["prompts"] == 2


def test_pairs_with_a_part_in_common_are_each_others_own(texts: tl.Run) -> None:
    first = from_texts(["a", "a", "b", "c", "d", "e"], tokenizer=texts.tokenizer)
    second = from_texts(["1", "2", "2", "3", "4", "3"], tokenizer=texts.tokenizer)
    assert alike(Pairs(name="x", parts=(first, second))).tolist() == [0, 0, 0, 1, 2, 1]
    assert alike(Pairs(name="x", parts=(second, first))).tolist() == [0, 0, 0, 1, 2, 1]


def test_a_picture_with_several_captions_is_one_picture(folder: Path, pictures: tl.Run) -> None:
    names = [f"{colour}/{i + k}.png" for i in range(0, 9, 3) for k, colour in enumerate(("red", "green", "blue"))]
    lines = [f"{name},{word} {name[:-4]},{name.split('/')[0]}" for name in names for word in ("a", "one")]
    other = folder / "several"
    captioned(other, 9)
    for text in other.rglob("*.txt"):
        text.unlink()
    (other / "captions.csv").write_text("\n".join(["file,caption,label", *lines]))
    found = {result.name: result for result in align(pictures, str(other))}
    # of 18 captions 2 belong to each of 9 pictures
    assert found["image to text recall@1"].baselines["chance"].value == pytest.approx(2 / 18)
    low, high = found["zero-shot"].interval
    assert found["zero-shot"].value in [i / 9 for i in range(10)] and low <= high


def test_many_pairs_are_drawn(folder: Path, texts: tl.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "MOST", 20)
    data = str(folder / "p.jsonl")
    found, again, other = (evaluate(texts, data, seed=seed) for seed in (0, 0, 1))
    assert found["first to second MRR"].settings["queries"] == 20
    assert found.protocol["part"] == "20 pairs, drawn by seed 0, of all"
    assert found.results == again.results != other.results


def test_an_evaluation_is_kept_and_says_what_was_learnt_from(folder: Path, texts: tl.Run) -> None:
    data = str(folder / "p.jsonl")
    found = evaluate(texts, data)
    assert json.loads((texts.folder / "evaluation.json").read_text())[-1] == json.loads(json.dumps(found.as_dict()))
    assert "first to second recall@1" in (texts.folder / "report.html").read_text()
    assert "learnt from these very pairs" in found.protocol["notes"][0] and str(found).startswith("on all of")
    path = write(folder / "split.jsonl", rows(), "anchor", "positive", "part")
    held = evaluate(texts, Source(path=path, split="part"))
    assert held.protocol["notes"] == [] and held.protocol["part"] == "the test part" and held.protocol["test"] == 12


def test_what_cannot_be_judged_is_said(folder: Path, texts: tl.Run, pictures: tl.Run) -> None:
    (folder / "lines.txt").write_text("one\ntwo\nthree\n")
    with pytest.raises(InputError, match="lines holds texts without a second part: expected pairs"):
        align(texts, str(folder / "lines.txt"))
    with pytest.raises(InputError, match="photos holds pictures, and this run's encoder has learnt from texts alone"):
        align(texts, str(folder / "photos"))
    seen = tl.pretrain(np.zeros((16, 8, 8), np.uint8), out=folder / "seen", epochs=1, batch=8, hidden=8, dim=8)
    with pytest.raises(InputError, match="p holds texts, and this run's encoder has learnt from pictures alone: give"):
        align(seen, str(folder / "p.jsonl"))
    with pytest.raises(InputError, match="digits holds pictures without a second part"):
        align(pictures, "digits")


def test_captions_are_passed_over_by_an_encoder_of_pictures(folder: Path, pictures: tl.Run) -> None:
    photos = str(folder / "photos")
    plain = np.stack([np.full((16, 16, 3), i, np.uint8) for i in range(16)])
    seen = tl.pretrain(plain, out=folder / "plain", epochs=1, batch=8, hidden=8, dim=8, width=8)
    split = seen.read(photos)
    assert split.train.modality == "image" and split.train.classes == ("blue", "green", "red")
    assert seen.embed(photos).shape == (36, 128) and len(split.train.labels) == 36
    assert seen.evaluate(photos, protocol="neighbours").results[0].name == "knn"
