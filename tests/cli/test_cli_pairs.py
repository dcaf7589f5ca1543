"""The verbs over data in parts and over tables, as a newcomer meets them."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pairs import captioned, image_text_run, rows, text_run, write
from support import refused

import twinlens as tl
from twinlens.cli.main import USAGE, run, verbs

pytestmark = pytest.mark.usefixtures("one_cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    other = [{"q": row["anchor"], "a": row["positive"], "told": row["told"], "part": row["part"]} for row in rows()]
    write(made / "named.jsonl", other, "q", "a", "told", "part")
    classes = [{"body": row["anchor"], "colour": str(row["anchor"]).split()[1]} for row in rows()]
    write(made / "classes.jsonl", classes, "body", "colour")
    return made


@pytest.fixture(scope="module")
def texts(folder: Path) -> str:
    return str(text_run(folder / "texts", write(folder / "p.jsonl", rows(), "anchor", "positive")).folder)


@pytest.fixture(scope="module")
def pictures(folder: Path) -> str:
    return str(image_text_run(folder / "pictures", captioned(folder / "photos")).folder)


@pytest.fixture(scope="module")
def seen(folder: Path) -> str:
    array = np.random.default_rng(0).integers(0, 255, (16, 8, 8), dtype=np.uint8)
    return str(tl.pretrain(array, out=folder / "seen", epochs=1, batch=8, hidden=8, dim=8).folder)


def test_evaluate_knows_pairs_when_it_meets_them(
    folder: Path, texts: str, pictures: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [str(folder / "named.jsonl"), "--text", "q", "--positive", "a"]
    assert run(["evaluate", texts, *named, "--score", "told", "--split", "part", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["results"]] == ["STS Spearman"] and found["protocol"]["test"] == 12
    assert run(["evaluate", texts, *named]) == 0
    said = capsys.readouterr()
    assert "recall@10" in said.out and "on all of named" in said.out
    assert run(["evaluate", texts, str(folder / "p.jsonl")]) == 0
    assert "has learnt from these very pairs" in capsys.readouterr().err
    assert run(["evaluate", pictures, str(folder / "photos"), "--template", "something {}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["results"][-1]["name"] == "zero-shot" and found["protocol"]["templates"] == ["something {}"]


def test_columns_of_a_table_are_taken_by_every_verb(
    folder: Path, texts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = [str(folder / "classes.jsonl"), "--text", "body", "--label", "colour"]
    assert run(["evaluate", texts, *table, "--protocol", "neighbours", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["results"][0]["name"] == "knn" and found["results"][0]["baselines"].keys() >= {"raw input"}
    out = folder / "e.parquet"
    assert run(["embed", texts, *table, "--where", "colour=red", "--out", str(out)]) == 0
    assert pq.read_table(out).num_rows == 32
    assert run(["finetune", texts, *table, "--epochs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["baselines"].keys() == {"supervised"}
    for verb in (["embed", "--out", str(out)], ["evaluate"], ["finetune"], ["search"], ["mine", "--out", str(out)]):
        said = refused(capsys, verb[0], texts, str(folder / "classes.jsonl"), "--text", "bodi", *verb[1:])
        assert "has no column 'bodi': expected one of body, colour" in said


def test_search_answers_texts_and_pictures(
    folder: Path, texts: str, pictures: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(folder / "p.jsonl")
    assert run(["search", texts, data, "a red cat of number 0", "number\n\x1b[31m7", "--k", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6 and said[0].startswith("a red cat of number 0  (") and said[0].endswith(" ms)")
    assert said[1].split(maxsplit=2) == ["1", "1.000", "a red cat of number 0"] and said[3].startswith(
        "number [31m7  ("
    )
    photos = str(folder / "photos")
    first = str(folder / "photos" / "red" / "0.png")
    kept = str(folder / "sub" / "index.parquet")
    asked = ["search", pictures, photos, "--k", "3", "--json", "something blue", first, "--index", kept]
    for _ in range(2):  # embedded, then found
        assert run(asked) == 0
        blue, red = map(json.loads, capsys.readouterr().out.splitlines())
        assert blue["query"] == "something blue" and all("blue/" in hit["what"] for hit in blue["hits"])
        assert [hit["rank"] for hit in red["hits"]] == [1, 2, 3] and red["hits"][0]["what"] == "red/0.png"
        assert red["milliseconds"] > 0 and red["hits"][0].keys() == {"rank", "cosine", "what", "row"}
    assert Path(kept).exists()
    assert run(["search", pictures, photos, "green", "--part", "second", "--k", "1"]) == 0
    assert "something green" in capsys.readouterr().out


def test_search_reads_queries_line_by_line(
    folder: Path, seen: str, pictures: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("something red\n\n  something blue"))
    assert run(["search", pictures, str(folder / "photos"), "--k", "1", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["query"] for one in found] == ["something red", "something blue"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"a cat\n{folder}/photos/red/0.png\n"))
    assert run(["search", seen, str(folder / "photos"), "--k", "1"]) == 0
    said = capsys.readouterr()
    assert "twinlens: there is no file 'a cat': this encoder sees pictures alone" in said.err  # and on it goes
    assert "red/0.png" in said.out


def test_mine_writes_pairs_that_can_be_trained_on(folder: Path, texts: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "new" / "hard.jsonl"
    asked = ["mine", texts, str(folder / "named.jsonl"), "--text", "q", "--positive", "a", "--out", str(out)]
    assert run([*asked, "--negatives", "2", "--window", "3", "20", "--relative", "0.01"]) == 0
    said = capsys.readouterr().err
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines and list(lines[0]) == ["anchor", "positive", "negative_1", "negative_2"]
    assert f"{len(lines)} pairs with 2 negatives each" in said
    small = ["--epochs", "1", "--batch", "8", "--width", "16", "--depth", "1", "--heads", "2", "--vocabulary", "150"]
    again = str(folder / "again")
    assert run(["pretrain", str(out), "--method", "ranking", "--encoder", "words", *small, "--out", again]) == 0
    assert tl.load(again).modality == "text+text+text+text"
    before = out.read_bytes()
    assert "none of 96 pairs has 1 negatives" in refused(capsys, *asked, "--margin", "1.9")
    assert out.read_bytes() == before


def test_a_method_keeps_its_own_dim_where_two_towers_have_one_too(folder: Path, pictures: str) -> None:
    small = ["--epochs", "1", "--batch", "8", "--size", "8", "--length", "8", "--text_width", "8", "--text_heads", "1"]
    small += ["--text_depth", "1", "--image_width", "16", "--hidden", "8", "--dim", "4", "--vocabulary", "100"]
    out = folder / "simclr"
    assert run(["pretrain", str(folder / "photos"), "--out", str(out), *small]) == 0
    facts = json.loads((out / "run.json").read_text())
    assert facts["method"]["dim"] == 4 and "dim" not in facts["encoder"]


def test_what_a_newcomer_gets_wrong_is_one_sentence(
    folder: Path, texts: str, seen: str, pictures: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere, pairs, out = str(folder / "nowhere"), str(folder / "p.jsonl"), str(folder / "x")
    for verb in (["embed", "--out", out], ["evaluate"], ["search"], ["mine", "--out", out]):
        assert "nowhere" in refused(capsys, verb[0], texts, nowhere, *verb[1:])
        assert "is not a run folder" in refused(capsys, verb[0], nowhere, pairs, *verb[1:])
        said = refused(capsys, verb[0], seen, pairs, *verb[1:])
        assert "p holds texts, and this run's encoder has learnt from pictures alone: give pictures" in said
    for verb in (["embed", "--out", out], ["search"]):
        said = refused(capsys, verb[0], texts, str(folder / "photos"), *verb[1:])
        assert "pictures, and this run's encoder has learnt from texts alone" in said
    assert "is a picture" in refused(capsys, "search", texts, pairs, f"{folder}/photos/red/0.png")
    assert "choose another --index" in refused(capsys, "search", texts, pairs, "x", "--index", _foreign(folder, texts))
    assert "--chosen is for labelled samples" in refused(capsys, "evaluate", texts, pairs, "--chosen")
    said = refused(capsys, "evaluate", seen, "digits", "--template", "a {}")
    assert "--template asks for pictures with captions" in said
    assert "expected one {}" in refused(capsys, "evaluate", pictures, str(folder / "photos"), "--template", "a photo")
    assert not Path(out).exists()


def _foreign(folder: Path, texts: str) -> str:
    """A Parquet file of another kind."""
    tl.load(texts).embed_to(["one", "two"], folder / "foreign.parquet")
    return str(folder / "foreign.parquet")


def test_usage_names_every_verb() -> None:
    assert all(f"twinlens {verb} " in USAGE for verb in verbs())
    assert not any(verb.startswith("_") for verb in verbs()) and {"search", "mine"} <= set(verbs())
    assert all(len(line) <= 120 for line in USAGE.splitlines())
