"""A random BERT in a folder that both Twinlens and sentence-transformers open, and pairs of sentences for it."""

import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from twinlens.data.tables import read
from twinlens.data.tokenizer import Tokenizer


def sentences(most: int, *, made_up: bool) -> list[tuple[str, str]]:
    """The first two sentences of reviews, 5 to 60 words each, none twice; made-up ones where there are no reviews."""
    path = Path(os.environ.get("TWINLENS_DATA", ".")) / "imdb_unlabelled.jsonl.xz"
    if made_up or not path.exists():
        draw = np.random.default_rng(0)
        known = np.array(["".join(draw.choice(list("abcdefgh"), 5)) for _ in range(1000)])
        sizes = draw.lognormal(2.9, 0.6, (most, 2)).clip(5, 60).astype(int)
        return [(" ".join(draw.choice(known, a)), " ".join(draw.choice(known, b))) for a, b in sizes]
    found, seen = [], set()
    for text in read(path).rows["text"].to_pylist():
        said = text.replace("!", ".").replace("?", ".").replace("<br />", " ").split(".")
        two = tuple([one.strip() for one in said if 5 <= len(one.split()) <= 60][:2])
        if len({*two} - seen) == 2:
            found.append(two)
            seen |= {*two}
    return found[:most]


def bert(folder: Path, texts: Sequence[str], *, width: int, depth: int, vocabulary: int = 8192) -> Path:
    """The folder, made unless it is there: no dropout, mean pooling, a vocabulary of the texts' own.

    Without transformers it holds the tokenizer alone.
    """
    if (folder / "modules.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.train(texts, vocabulary=vocabulary)
    tokenizer.save(folder / "tokenizer.json")
    if find_spec("transformers") is None:
        return folder
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary, hidden_size=width, num_hidden_layers=depth, intermediate_size=4 * width,
        num_attention_heads=max(width // 64, 1), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    names = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **names})
    kind = "sentence_transformers.models."
    parts = [("Transformer", ""), ("Pooling", "1_Pooling")]
    modules = [{"idx": i, "name": str(i), "path": path, "type": kind + name} for i, (name, path) in enumerate(parts)]
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
    _write(folder / "modules.json", modules)  # the last: it says that the rest is there
    return folder


def without_dropout(folder: Path, copy: Path) -> Path:
    """The same model in another folder that drops nothing; its other files are links."""
    copy.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name != "config.json" and not (copy / path.name).exists():
            (copy / path.name).symlink_to(path, target_is_directory=path.is_dir())
    config = json.loads((folder / "config.json").read_text())
    _write(copy / "config.json", config | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    return copy


def _write(path: Path, what: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(what, indent=1))
