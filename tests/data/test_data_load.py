"""Whatever is named becomes samples of the right kind."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twinlens.batch import Split
from twinlens.data.load import load, matching, modality, pictures, tokenizer_of
from twinlens.data.pairs import Pairs
from twinlens.data.source import Source
from twinlens.data.text import Texts
from twinlens.errors import InputError


def drawn(folder: Path, count: int = 4, *, captions: bool) -> Path:
    folder.mkdir()
    for i in range(count):
        Image.fromarray(np.full((12, 12, 3), 20 * i, dtype=np.uint8)).save(folder / f"{i}.png")
        if captions:
            (folder / f"{i}.txt").write_text(f"shade {i}")
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("one two\nthree four\nfive six seven\n")
    return path


def test_kinds_are_told_without_reading(tmp_path: Path, texts: Path) -> None:
    assert modality(texts) == modality(["a", "b"]) == "text"
    assert modality(drawn(tmp_path / "plain", captions=False)) == modality("digits") == modality("nowhere") == "image"
    assert modality(drawn(tmp_path / "both", captions=True)) == "image+text"
    assert modality(np.zeros((2, 8, 8))) == "image"
    notes = drawn(tmp_path / "notes", captions=False)
    (notes / "readme.txt").write_text("about these pictures")
    assert modality(notes) == "image"


def test_texts_pairs_and_captions(tmp_path: Path, texts: Path) -> None:
    read = load(texts).train
    assert isinstance(read, Texts) and read.text(1) == "three four"
    assert load(read).train is read and load(Split(read)).train is read
    again = load(["six"], tokenizer=read.tokenizer).train
    assert isinstance(again, Texts) and again.tokenizer is read.tokenizer
    both = load(drawn(tmp_path / "both", captions=True)).train
    assert isinstance(both, Pairs) and both.modality == "image+text" and pictures(both) is both.parts[0]
    assert tokenizer_of(both) is not None and tokenizer_of(load("digits").train) is None
    grey = matching(Split(both), {"channels": 1, **both.parts[1].sizes}).train
    assert pictures(grey).shape[2] == 1 and isinstance(grey, Pairs) and grey.parts[1] is both.parts[1]  # type: ignore[union-attr]


def test_columns_conditions_and_tokenizers_are_the_sources(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("said,lang,who\n" + "\n".join(f"word{i},{'en' if i % 2 else 'de'},{i % 3}" for i in range(12)))
    read = load(Source(path=str(path), text="said", label="who", where="lang=en", tokens="bpe", vocabulary=300)).train
    assert isinstance(read, Texts) and len(read) == 6 and read.classes == ("0", "1", "2")
    read.tokenizer.save(tmp_path / "tokenizer.json")
    same = load(Source(path=str(path), text="said", tokens=str(tmp_path / "tokenizer.json"))).train
    assert same.tokenizer.fingerprint == read.tokenizer.fingerprint  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="has no column 'sad'"):
        load(Source(path=str(path), text="sad"))


def test_what_is_no_data_is_said(tmp_path: Path) -> None:
    (tmp_path / "thing.xyz").write_text("?")
    for what, said in (
        ("nowhere.txt", "unknown path"),
        (tmp_path / "thing.xyz", "not data that is understood"),
        (3, "int"),
    ):
        with pytest.raises(InputError, match=said):
            load(what)  # type: ignore[arg-type]
