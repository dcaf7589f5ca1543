"""Before the first step: the run that arguments name, and the samples and views that it works on."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from twinlens import build, discover, distributed, random
from twinlens.batch import Maker, Samples
from twinlens.data.load import Data, modality, pictures, tokenizer_of
from twinlens.data.load import load as load_data
from twinlens.data.source import Source
from twinlens.data.text import from_texts
from twinlens.data.tokenizer import KINDS, Tokenizer
from twinlens.encoders import hub
from twinlens.encoders.contract import CausalEncoder, TokenEncoder
from twinlens.errors import InputError
from twinlens.run import Run, load
from twinlens.train import Training
from twinlens.watch import BANK

HELD = 1000  # samples held out for watching
_HOLD_OUT = 2**32 - 1  # an epoch that no run reaches: its permutation chooses the held-out samples


def plan(
    data: Data, method: str, *, encoder: str | nn.Module | None, recipe: Run | None = None, **settings: Any
) -> Run:  # fmt: skip
    """The run that these arguments name, before any data is read; InputError for unknown names."""
    run = replace(recipe or Run(""), data=_called(data), method=method)
    kind = modality(data)
    run = replace(run, modality=kind, architecture=run.architecture if run.modality == kind else "")
    own = {field.name for field in fields(Training)}
    known = {name: value for name, value in settings.items() if name in own}
    rest = {name: value for name, value in settings.items() if name not in own}
    run = replace(run, training=replace(run.training, **known), settings={**run.settings, **rest})
    if isinstance(encoder, str) and (Path(encoder) / "run.json").is_file():
        run, encoder = _further(run, load(encoder))
    if isinstance(encoder, nn.Module):
        return replace(run, architecture=f"module:{type(encoder).__qualname__}", module=encoder)
    asked = discover.encoder_kind(discover.method(method))
    usual = build.default(kind, tokens=asked in (TokenEncoder, CausalEncoder))
    run = replace(run, architecture=encoder or run.architecture or usual)
    if asked is CausalEncoder and "causal" in build.encoder_settings(run.architecture, kind):
        run = replace(run, settings={"causal": True, **run.settings})
    run.sections()
    return run


def _further(run: Run, other: Run) -> tuple[Run, str]:
    """`run` with what decides the encoder of another one, whose weights it starts from, and that encoder's name."""
    settings = {name: value for name, value in other.sections()["encoder"].items() if not name.endswith("word_rate")}
    for name in settings.keys() & run.settings.keys():
        if run.settings[name] != settings[name]:
            raise InputError(
                f"{name} is {run.settings[name]}: the encoder of {other.folder} has {settings[name]}, and keeps it."
            )
    if other.tokenizer is not None:
        settings["tokens"] = str(other.folder / "tokenizer.json")
    if "image" in other.modality:
        settings["size"] = other.size
    return replace(run, settings={**run.settings, **settings}, start=str(other.folder)), other.architecture


def _called(data: Data) -> str:
    return str(data) if isinstance(data, str | Path | Source) else getattr(data, "name", "array")


@dataclass(frozen=True)
class Setup:
    """What a run works on: the samples it learns from, those held out, those searched for neighbours, and its views.

    `run` is the run with what the data decided: its modality and the size of its views. Words start where the texts of
    `words` put them.
    """

    run: Run
    learn: Samples
    held: Samples
    bank: Samples
    words: Samples
    maker: Maker
    facts: Mapping[str, Any]
    tokenizer: Tokenizer | None = None


def prepare(run: Run, data: Data, labels: NDArray[np.integer[Any]] | None = None) -> Setup:
    """Reads the data, chooses the view size and sets samples aside for watching; InputError where that cannot be."""
    words = _words(run)
    tokenizer = _tokenizer(run) if words is None else tokenizer_of(words)
    samples = load_data(_source(run, data, tokenizer), size=run.settings.get("size"), tokenizer=tokenizer).train
    if labels is not None:
        samples = samples.with_labels(labels)
    learns = discover.method(run.method).views.labels
    if learns and samples.labels is None:
        raise InputError(
            f"{run.method} learns from labels, and {samples.name} has none: give a folder with a subfolder for each "
            f"class, an .npz with labels, a table with a column label or score, or labels= in Python."
        )
    run = replace(run, modality=samples.modality, settings={**_sizes(samples), **run.settings})
    if run.sections()["method"].get("classes") == 0:
        run = replace(run, settings={**run.settings, "classes": len(samples.classes)})
    count = len(samples)
    order = random.permutation(count, run.training.seed, _HOLD_OUT)
    held = min(HELD, count // 10)
    learn = order[held:].sort().values
    _check_batch(run.training, len(learn))
    facts = {
        "given": run.data, "name": samples.name, "modality": samples.modality, "fingerprint": samples.fingerprint,
        "samples": len(learn), "held_out": held, "sizes": dict(samples.sizes), "notes": list(samples.notes),
    }  # fmt: skip
    if learns and samples.labels is not None:
        facts["labels"] = blake2b(samples.labels.tobytes(), digest_size=16).hexdigest()
    tokenizer = tokenizer_of(samples)
    if tokenizer is not None:
        facts["tokenizer"] = tokenizer.fingerprint
    if words is not None:
        facts["words"] = words.fingerprint
    bank = learn[random.permutation(len(learn), run.training.seed, _HOLD_OUT)[:BANK]]
    learning, watched, searched = (samples.subset(part) for part in (learn, order[:held], bank))
    return Setup(run, learning, watched, searched, learning if words is None else words, run.maker(), facts, tokenizer)


def _words(run: Run) -> Samples | None:
    """The texts that words are learnt from, where they are not the data's own; InputError where that cannot be."""
    reading = run.sections()["reading"]
    if not (path := reading["words_from"]):
        return None
    brings = run.start or (run.architecture if run.module is not None or "/" in run.architecture else "")
    brings = brings or (reading["tokens"] if reading["tokens"] not in KINDS else "")
    if brings:
        raise InputError(f"words_from is {path!r}, and {brings} brings its words with it: give one of the two.")
    if "text" not in run.modality:
        raise InputError(f"words_from is {path!r}, and {run.data} holds no texts whose words could start there.")
    words = load_data(Source(path=path, tokens=reading["tokens"], vocabulary=reading["vocabulary"])).train
    if tokenizer_of(words) is None:
        raise InputError(f"words_from is {path!r}, which holds no texts: expected a .txt, .jsonl, .csv or a folder.")
    return words


def _source(run: Run, data: Data, tokenizer: Tokenizer | None) -> Data:
    """Data with the columns and the tokenizer that the run's settings name."""
    reading = run.sections()["reading"]
    if isinstance(data, list | tuple) and (tokens := reading["tokens"]) in KINDS:
        return from_texts(data, kind=tokens, vocabulary=reading["vocabulary"], tokenizer=tokenizer)
    return Source(path=str(data), **reading) if isinstance(data, str | Path) else data


def _tokenizer(run: Run) -> Tokenizer | None:
    """The one that is named, or that of an encoder which comes with one."""
    if "text" not in run.modality:
        return None
    if (tokens := run.sections()["reading"]["tokens"]) not in KINDS:
        return Tokenizer.load(tokens)
    if run.module is not None:
        return None
    name = run.architecture.split("+")[build.kinds(run.modality).index("text")]
    return Tokenizer.load(hub.folder_of(name.partition("/")[2])) if "/" in name else None


def _sizes(samples: Samples) -> dict[str, int]:
    """How large views are where that is not set: pictures as they are, at most 64 pixels or 224 on a GPU."""
    shown = pictures(samples)
    return {} if shown is None else {"size": min(shown.shape[0], 224 if distributed.device().type == "cuda" else 64)}


def _check_batch(training: Training, count: int) -> None:
    if training.batch > count:
        raise InputError(
            f"a batch of {training.batch} is larger than the {count} samples to learn from: choose --batch {count} or "
            f"smaller."
        )
    parts = distributed.world() * training.micro_batches
    if training.steps(count) < 1:
        raise InputError(f"{training.epochs} epochs of {count} samples are less than a step: choose more --epochs.")
    if training.batch < 2 * parts:
        raise InputError(f"a batch of {training.batch} is too small for {parts} parts (processes times micro-batches).")
