"""Texts <-> ids: a tokenizer that is trained here, or one that an encoder was trained with elsewhere."""

import importlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twinlens.errors import InputError, unknown

PADDING, UNKNOWN, BEGIN, END, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0 to 4, as in BERT
KINDS = {"wordpiece": 64, "bpe": 261}  # 256 bytes and the special ones; 64 is a guess at what spells anything at all
_AT_ONCE = 1_000  # texts
_PROBE = "a"
_USUAL = {"mask": (MASK, "<mask>"), "unk": (UNKNOWN, "<unk>", "<|endoftext|>")}


class Tokenizer:
    """Texts as ids, over the library `tokenizers`.

    `vocabulary` is how many ids there are, `prefix` and `suffix` are those put around one text ([CLS] and [SEP]),
    `mask` and `unknown` those that stand for a hidden word and for one that cannot be spelt (None: no such id).
    """

    def __init__(self, inner: Any, names: dict[str, str] | None = None) -> None:
        """Wraps a `tokenizers.Tokenizer`; `names` may say what its "mask" and its "unk" are called."""
        inner.no_truncation()  # a file may ask for either: windows are cut by views, which pad with what is no word
        inner.no_padding()
        self._inner = inner
        self.vocabulary = max(inner.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        self.prefix, self.suffix = _around(inner)
        self.mask, self.unknown = (_special(inner, name, (names or {}).get(name)) for name in ("mask", "unk"))

    @property
    def special(self) -> tuple[int, ...]:
        """The ids that stand for no word: `prefix`, `suffix`, `mask` and `unknown`, each once."""
        found = (*self.prefix, *self.suffix, self.mask, self.unknown)
        return tuple(dict.fromkeys(token for token in found if token is not None))

    @staticmethod
    def train(
        texts: Iterable[str], *, kind: str = "wordpiece", vocabulary: int = 8192, lowercase: bool = True
    ) -> "Tokenizer":
        """A tokenizer of the words in `texts`, the same for the same texts, with [CLS] and [SEP] around each.

        `kind` is "wordpiece" (Schuster and Nakajima, 2012, as in BERT) or "bpe" (Sennrich et al., 2016, over bytes as
        in GPT-2, which spells anything). `vocabulary` is the most ids it may have. Raises InputError.
        """
        if kind not in KINDS:
            raise unknown("kind of tokenizer", kind, KINDS)
        if vocabulary < KINDS[kind]:
            raise InputError(f"vocabulary is {vocabulary}: expected {KINDS[kind]} or more for kind={kind!r}")
        texts = list(texts) if isinstance(texts, Iterator) else texts  # what is read more than once
        inner = (_wordpiece if kind == "wordpiece" else _bpe)(texts, vocabulary, lowercase)
        inner.post_processor = _template(inner)
        return Tokenizer(inner)

    @staticmethod
    def load(path: str | Path) -> "Tokenizer":
        """The tokenizer in a tokenizer.json, or in a folder of ours, of transformers or of sentence-transformers.

        A folder without tokenizer.json may hold a vocab.txt, which is read as BERT's. Raises InputError.
        """
        path = Path(path).expanduser()
        file = _find(path)
        library = _library()
        settings = _settings(file.parent)
        try:
            if file.suffix == ".json":
                inner = library.Tokenizer.from_file(str(file))
            else:
                inner = _of_bert(file, settings)
        except Exception as error:  # the library raises bare ones
            raise InputError(f"{file} cannot be read as a tokenizer ({error}): save it anew") from error
        names = {name: _content(settings.get(f"{name}_token")) for name in ("mask", "unk")}
        return Tokenizer(inner, {name: token for name, token in names.items() if token})

    def save(self, path: str | Path) -> None:
        """Writes a tokenizer.json: the same bytes for the same tokenizer."""
        Path(path).write_text(self._inner.to_str(pretty=True), encoding="utf-8")

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids (S,) int32 of all texts one after the other, without `prefix` and `suffix`, and lengths (n,) int64."""
        ids, lengths = [np.empty(0, np.int32)], []
        for start in range(0, len(texts), _AT_ONCE):
            some = self._inner.encode_batch_fast(texts[start : start + _AT_ONCE], add_special_tokens=False)
            rows = [encoding.ids for encoding in some]
            lengths += list(map(len, rows))
            ids.append(np.fromiter(chain.from_iterable(rows), np.int32, sum(map(len, rows))))
        return torch.from_numpy(np.concatenate(ids)), torch.tensor(lengths, dtype=torch.int64)

    def text(self, ids: Tensor | Sequence[int]) -> str:
        """What ids (n,) say, special ones by their names; padding, which is negative, says nothing."""
        numbers = ids.tolist() if isinstance(ids, Tensor) else ids
        said: str = self._inner.decode([number for number in numbers if number >= 0], skip_special_tokens=False)
        return said

    def words(self, count: int) -> list[str]:
        """The words of the ids below `count`, in their order; for an id without one its number in brackets."""
        return [self._inner.id_to_token(number) or f"[{number}]" for number in range(count)]

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides which ids a text becomes."""
        return blake2b(self._inner.to_str().encode(), digest_size=16).hexdigest()


def _library() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise InputError('texts need the library tokenizers: pip install "twinlens[text]"') from error


def _wordpiece(texts: Iterable[str], vocabulary: int, lowercase: bool) -> Any:
    """Wordpieces whose ids do not depend on the order in which the library's hash tables hand out words.

    The library numbers characters inside words as it meets them, and ties between pairs are broken by these numbers, so
    that two runs give two vocabularies. Named before training, as if they were special, they are numbered in order.
    """
    library = _library()
    inner = _bert(library.models.WordPiece(unk_token=UNKNOWN), lowercase=lowercase)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    normal: Counter[str] = Counter()
    for character, count in counts.items():
        for one in inner.normalizer.normalize_str(character):
            normal[one] += count if not one.isspace() else 0
    often = sorted((one for one in normal if normal[one] > 1), key=lambda one: (-normal[one], one))
    alphabet = sorted(often[: vocabulary // 3])  # each takes two ids at most, so that a third is left for words
    inside = [f"##{one}" for one in alphabet if len(inner.pre_tokenizer.pre_tokenize_str(_PROBE + one)) == 1]
    trainer = library.trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=[*SPECIAL, *inside],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    learnt = library.models.WordPiece(inner.get_vocab(with_added_tokens=True), unk_token=UNKNOWN)
    inner = _bert(learnt, lowercase=lowercase)
    inner.add_special_tokens(list(SPECIAL))
    return inner


def _bpe(texts: Iterable[str], vocabulary: int, lowercase: bool) -> Any:
    library = _library()
    inner = library.Tokenizer(library.models.BPE())
    steps = [library.normalizers.NFC(), *([library.normalizers.Lowercase()] if lowercase else [])]
    inner.normalizer = library.normalizers.Sequence(steps)
    inner.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    return inner


def _bert(model: Any, *, lowercase: bool = True, chinese: bool = True, accents: bool | None = None) -> Any:
    library = _library()
    inner = library.Tokenizer(model)
    inner.normalizer = library.normalizers.BertNormalizer(
        lowercase=lowercase, handle_chinese_chars=chinese, strip_accents=accents
    )
    inner.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    inner.decoder = library.decoders.WordPiece(prefix="##")
    return inner


def _of_bert(file: Path, settings: dict[str, Any]) -> Any:
    """The tokenizer of a vocab.txt, one token a line, with the settings that transformers' BertTokenizer has."""
    lines = file.read_text(encoding="utf-8").splitlines()
    name = {key: _content(settings.get(f"{key}_token")) for key in ("unk", "cls", "sep", "mask", "pad")}
    usual = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL))
    token = {key: name[key] or usual[key] for key in usual}
    vocabulary = {line: place for place, line in enumerate(lines)}
    inner = _bert(
        _library().models.WordPiece(vocabulary, unk_token=token["unk"]),
        lowercase=settings.get("do_lower_case", True),
        chinese=settings.get("tokenize_chinese_chars", True),
        accents=settings.get("strip_accents"),
    )
    inner.add_special_tokens([one for one in token.values() if one in vocabulary])
    inner.post_processor = _template(inner, token["cls"], token["sep"])
    return inner


def _template(inner: Any, begin: str = BEGIN, end: str = END) -> Any:
    return _library().processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(token, inner.token_to_id(token)) for token in (begin, end)],
    )


def _around(inner: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids put before and after a text: an empty one gives them all, one of a letter where they part."""
    plain = inner.encode(_PROBE, add_special_tokens=False).ids
    whole = inner.encode(_PROBE, add_special_tokens=True).ids
    for place in range(len(whole) - len(plain) + 1):
        if whole[place : place + len(plain)] == plain:
            return tuple(whole[:place]), tuple(whole[place + len(plain) :])
    raise InputError("this tokenizer changes a text's own ids when it adds special ones: use another")


def _special(inner: Any, name: str, given: str | None) -> int | None:
    said = [getattr(inner.model, "unk_token", None) if name == "unk" else None, given, *_USUAL[name]]
    return next((place for token in said if token and (place := inner.token_to_id(token)) is not None), None)


def _find(path: Path) -> Path:
    """The tokenizer.json or vocab.txt at `path`; of a sentence-transformers folder that of its first module."""
    if path.is_file() and (path.suffix == ".json" or path.name == "vocab.txt"):
        return path
    folders = [path]
    modules = _json(path / "modules.json")
    if isinstance(modules, list) and modules and isinstance(modules[0], dict):
        folders.append(path / str(modules[0].get("path", "")))
    for name in ("tokenizer.json", "vocab.txt"):
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    raise InputError(
        f"{path} holds no tokenizer: expected a tokenizer.json, or a folder with one or with BERT's vocab.txt"
    )


def _settings(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        more = _json(folder / name)
        found |= more if isinstance(more, dict) else {}
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _content(token: Any) -> str:
    """A token is written as its text or, in older files, as an object that has it as "content"."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
