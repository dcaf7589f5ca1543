"""A tokenizer is the same for the same texts, never cuts, and is read from wherever an encoder's lies."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from twinlens.data import tokenizer as module
from twinlens.data.tokenizer import Tokenizer
from twinlens.errors import InputError

WORDS = [
    f"{a}{b}{c}" for a in ("un", "re", "", "over") for b in ("do", "play", "écrit", "読") for c in ("ing", "ed", "s")
]
TEXTS = [" ".join(WORDS[i % 7 :: 1 + i % 5]) + " !" for i in range(40)]
TRAIN = "from twinlens.data.tokenizer import Tokenizer as T; import json,sys; print(T.train(json.loads(sys.argv[1]), kind=sys.argv[2], vocabulary=300).fingerprint)"  # fmt: skip # noqa: E501


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_training_gives_the_same_in_every_process(kind: str) -> None:
    """The hash tables beneath are seeded anew in each process: without care the vocabulary differs."""
    own = Tokenizer.train(TEXTS, kind=kind, vocabulary=300).fingerprint
    command = [sys.executable, "-c", TRAIN, json.dumps(TEXTS), kind]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == own


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_ids_of_texts_stand_one_after_the_other(kind: str, tmp_path: Path) -> None:
    trained = Tokenizer.train(iter(TEXTS), kind=kind, vocabulary=300)
    assert (trained.prefix, trained.suffix, trained.mask, trained.unknown) == ((2,), (3,), 4, 1)
    assert trained.vocabulary <= 300 and trained.special == (2, 3, 4, 1)
    said = trained.words(302)
    assert [said.index(name) for name in ("[UNK]", "[CLS]", "[SEP]", "[MASK]")] == [1, 2, 3, 4]
    assert len(set(said)) == 302 and said[301] == "[301]"
    ids, lengths = trained.encode(["Undoing PLAYED", "", "plays"])
    assert ids.dtype == torch.int32 and lengths.dtype == torch.int64
    assert lengths[1] == 0 and lengths.sum() == len(ids) and ids.min() > 4
    assert trained.text(ids[: lengths[0]]) == "undoing played"
    assert trained.text(torch.cat([ids[lengths[0] :], torch.tensor([-1, -1])])) == "plays"
    assert trained.encode([])[0].shape == (0,)
    trained.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint == trained.fingerprint
    assert torch.equal(again.encode(TEXTS)[0], trained.encode(TEXTS)[0])
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


def test_case_is_kept_where_asked() -> None:
    trained = Tokenizer.train(["Aa aA Aa aA"] * 9, vocabulary=64, lowercase=False)
    assert trained.text(trained.encode(["Aa aA"])[0]) == "Aa aA"


def test_a_file_that_asks_for_windows_of_four_is_not_obeyed(tmp_path: Path) -> None:
    trained = Tokenizer.train(TEXTS, vocabulary=300)
    trained._inner.enable_truncation(4)
    trained._inner.enable_padding(length=4)
    (tmp_path / "tokenizer.json").write_text(trained._inner.to_str())
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.encode(["do " * 50_000, "do"])[1].tolist() == [50_000, 1]


def test_long_words_and_long_lines_pass() -> None:
    for kind in ("wordpiece", "bpe"):
        ids, lengths = Tokenizer.train(TEXTS, kind=kind, vocabulary=300).encode(["x" * 100_000])
        assert len(ids) == lengths[0] > 0


def bert(folder: Path, **settings: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    words = ["<pad>", "[UNK]", "[CLS]", "[SEP]", "<hidden>", "Play", "play", "##ing", "<extra>"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def test_a_vocabulary_alone_is_read_as_berts(tmp_path: Path) -> None:
    bert(tmp_path, do_lower_case=False, mask_token={"content": "<hidden>"}, pad_token="<pad>")
    cased = Tokenizer.load(tmp_path)
    assert cased.encode(["Playing play what"])[0].tolist() == [5, 7, 6, 1]
    assert (cased.prefix, cased.suffix, cased.mask, cased.unknown, cased.vocabulary) == ((2,), (3,), 4, 1, 9)
    bert(tmp_path)
    assert Tokenizer.load(tmp_path).encode(["Playing"])[0].tolist() == [6, 7]
    assert Tokenizer.load(tmp_path).mask is None


def test_a_folder_of_sentence_transformers_names_its_first_module(tmp_path: Path) -> None:
    bert(tmp_path / "0_Transformer", mask_token="<hidden>")
    (tmp_path / "modules.json").write_text(json.dumps([{"path": "0_Transformer"}, {"path": "1_Pooling"}]))
    assert Tokenizer.load(tmp_path).mask == 4


def test_what_stands_around_a_text_may_be_of_any_length(tmp_path: Path) -> None:
    trained = Tokenizer.train(TEXTS, vocabulary=300)
    processors = module._library().processors
    trained._inner.post_processor = processors.TemplateProcessing(
        single="[CLS] [MASK] $A", special_tokens=[("[CLS]", 2), ("[MASK]", 4)]
    )
    trained.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.prefix, loaded.suffix) == ((2, 4), ())


def test_mistakes_are_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown kind of tokenizer 'wordpieces': did you mean wordpiece"):
        Tokenizer.train(TEXTS, kind="wordpieces")
    with pytest.raises(InputError, match="vocabulary is 100: expected 261 or more for kind='bpe'"):
        Tokenizer.train(TEXTS, kind="bpe", vocabulary=100)
    with pytest.raises(InputError, match=r"holds no tokenizer: expected a tokenizer.json"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read as a tokenizer"):
        Tokenizer.load(tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r'pip install "twinlens\[text\]"'):
        Tokenizer.train(TEXTS)
