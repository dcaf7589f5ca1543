"""CLIP from scratch on few pairs of pictures and texts: what its two towers find of pairs they have not seen.

Two data sets in $TWINLENS_DATA. Emojis: 1,693 pictograms of OpenMoji to learn from, captioned by name and English
keywords, and 442 to judge by: does a picture find its text among all, and the text its picture (recall@10); does it lie
nearest to the name of its group, of the nine of Unicode (zero-shot, without the pictograms that are outside Unicode).
What its words mean, few captions do not say: they start from what 50,000 unlabelled film reviews say of them (Maas et
al. 2011).
Groceries: 2,640 photos to learn from, captioned by the description of their class, and 2,485 from other shops to judge
by: does a photo lie nearest to the description of its class, of 81, and to the name of its coarse class, of 43. Those
descriptions are the ones learnt from: of groceries only the photos are new.

Beside each stand the same towers untrained and chance; intervals are over what asks, for what is searched as it is. A
few minutes of two cores a run. Settings were chosen by a fifth of the training pictograms and by the photos that the
data calls val.

    python benchmarks/image_text.py                     all; it resumes where it stopped
    python benchmarks/image_text.py --validation        to choose settings
"""

import csv
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import _record
import torch
from PIL import Image, ImageDraw

from twinlens import pretrain
from twinlens.alignment import align
from twinlens.data.source import Source
from twinlens.data.text import from_texts
from twinlens.evaluate.baselines import CHANCE, MAJORITY, UNTRAINED
from twinlens.evaluate.result import Result
from twinlens.evaluate.zero_shot import zero_shot
from twinlens.run import Run, load

CLAIM = (
    "CLIP trained from scratch in minutes of two cores stands above chance and above its untrained towers, in each of "
    "three seeds, intervals apart: recall@10 both ways of emojis that it has not seen and zero-shot groups of them, "
    "after 1,693 with names and keywords whose words start from unlabelled film reviews; which of 81 descriptions and "
    "of 43 coarse classes a new photo of groceries belongs to, after 2,640"
)
SEEDS = 3
BOTH = {"encoder": "small+words", "size": 64, "batch": 128, "rate": 1e-3, "precision": "bf16-mixed", "shared": 128}
TEXT = {"text_width": 128, "text_depth": 2, "text_heads": 4, "vocabulary": 2000}
REVIEWS = Path(os.environ.get("TWINLENS_DATA", ".")) / "imdb_unlabelled.jsonl.xz"
SETTINGS: dict[str, dict[str, Any]] = {
    "emoji": {
        **BOTH, **TEXT, "length": 16, "min_scale": 0.6, "epochs": 40, "vocabulary": 8192, "words_from": str(REVIEWS),
    },
    "grocery": {**BOTH, **TEXT, "length": 24, "whole": True, "min_scale": 0.35, "epochs": 12},
}  # fmt: skip
SMALLEST: dict[str, Any] = {
    "batch": 16, "epochs": 1, "size": 16, "vocabulary": 200, "words_from": "", "shared": 16, "text_width": 32,
    "text_depth": 1,
}  # fmt: skip
COLUMNS = ("file", "caption", "name", "split", "group", "unicode")


def main() -> None:
    """Trains what is not trained yet, judges it, and writes the result anew after each."""
    parser = _record.parser(__doc__)
    parser.add_argument("--runs", type=Path, help="where data and runs are kept (default: runs/benchmarks/image_text)")
    parser.add_argument("--data", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="changes to the settings")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--validation", action="store_true", help="to choose settings")
    options = _record.parsed(parser)
    runs = options.runs or Path("runs/benchmarks/image_text")
    runs = options.out / "runs" if options.smallest else runs
    changes = {name: json.loads(value) for name, _, value in (text.partition("=") for text in options.set)}
    changes = SMALLEST if options.smallest else changes
    kind = "validation" if options.validation else "test"
    name = "image_text_validation" if options.validation else "image_text"
    rows = _record.kept(name, options.out)
    for data in options.data:
        folder = runs / f"{data}-{kind}"
        if not folder.exists():
            (_drawn if options.smallest else _EMPTIED[data])(folder, options.validation)
        for seed in range(options.seeds):
            about = {"data": data, "seed": seed, "changes": changes}
            if any(about.items() <= row.items() for row in rows):
                continue
            run = trained(data, folder, seed, changes, runs)
            for row in (emoji if data == "emoji" else grocery)(run, folder):
                rows.append(about | {"commit": _record.commit()} | row)
                print(json.dumps(rows[-1]), flush=True)
            _record.write(name, CLAIM, rows, sorted({row["seed"] for row in rows}), out=options.out)


def trained(data: str, folder: Path, seed: int, changes: dict[str, Any], runs: Path) -> Run:
    """The run of one seed, trained unless it is there."""
    told = "".join(f"-{name}-{value}" for name, value in changes.items()) if changes is not SMALLEST else ""
    path = runs / f"{folder.name}-{seed}{told}"
    if not (path / "encoder.safetensors").exists():
        settings = SETTINGS[data] | changes
        encoder, resume = settings.pop("encoder"), (path / "run.json").exists()
        pretrain(str(folder), "clip", encoder=encoder, out=path, resume=resume, seed=seed, **settings)
    return load(path)


def emoji(run: Run, folder: Path) -> Iterable[dict[str, Any]]:
    """Recall by names and by names with keywords, and groups told by their names."""
    took = run.metrics[-1]["seconds"]
    for text in ("name", "caption"):
        about = {"text": "names" if text == "name" else "names and keywords", "seconds": took}
        for found in align(run, Source(path=str(folder), text=text)):
            if found.name.endswith("recall@10"):
                yield {"measured": found.name} | about | _plain(found)
    found = align(run, Source(path=str(folder), where="unicode=yes"))[-1]
    yield {"measured": "zero-shot", "text": "names of groups", "seconds": took} | _plain(found)


def grocery(run: Run, folder: Path) -> Iterable[dict[str, Any]]:
    """Classes told by their descriptions, coarse ones by their names."""
    split, took = run.read(str(folder)), run.metrics[-1]["seconds"]
    assert split.test is not None
    captions = [split.test.parts[1].text(i) for i in range(len(split.test))]  # type: ignore[attr-defined]
    classes = sorted(set(captions))
    labels = torch.tensor([classes.index(caption) for caption in captions])
    texts = from_texts(classes, tokenizer=run.tokenizer)
    pictures = split.test.parts[0]  # type: ignore[attr-defined]
    found, untrained = (
        zero_shot(run.embeddings(pictures, encoder), labels, run.embeddings(texts, encoder))
        for encoder in (run.encoder, run.untrained)
    )
    about = {"measured": "zero-shot", "seconds": took}
    yield about | {"text": "descriptions of classes"} | _plain(found.beside({UNTRAINED: untrained}))
    yield about | {"text": "names of coarse classes"} | _plain(align(run, split)[-1])


def _plain(result: Result) -> dict[str, Any]:
    names = {"untrained": UNTRAINED, "chance": CHANCE, "commonest": MAJORITY}
    beside = {name: result.baselines[kind] for name, kind in names.items() if kind in result.baselines}
    return {"value": result.value, "interval": result.interval} | {
        name: {"value": one.value, "interval": one.interval} for name, one in beside.items()
    }


def _emoji(folder: Path, validation: bool) -> None:
    with tarfile.open(Path(os.environ.get("TWINLENS_DATA", ".")) / "emoji_openmoji.tar") as tar:
        rows = []
        for row in json.loads(_content(tar, "emoji/emoji.json")):
            name, group, part = row["name"], row["group"], row["split"]
            if validation:
                fifth = int(hashlib.md5(row["hexcode"].encode()).hexdigest(), 16) // 5 % 5 == 0
                part = {"test": "aside", "train": "test" if fifth else "train"}[part]
            keywords = dict.fromkeys(word for word in row["tags"] if word.lower() != name.lower())
            inside = "no" if group.startswith("extras") else "yes"
            said = ", ".join([name, *keywords])
            rows.append((_content(tar, row["file"]), said, name, part, group.replace("-", " "), inside))
    _write(folder, rows)


def _grocery(folder: Path, validation: bool) -> None:
    parts = {"train": "train", "val": "test", "test": "aside"} if validation else {"train": "train", "test": "test"}
    with tarfile.open(Path(os.environ.get("TWINLENS_DATA", ".")) / "grocery_128.tar") as tar:
        classes = {row["id"]: row for row in json.loads(_content(tar, "grocery/classes.json"))}
        rows = []
        for row in csv.DictReader(io.StringIO(_content(tar, "grocery/index.csv").decode())):
            fine, part = classes[int(row["fine"])], parts.get(row["split"], "aside")
            coarse = fine["coarse_name"].lower().replace("-", " ")
            rows.append((_content(tar, row["path"]), fine["description"], fine["name"], part, coarse, "no"))
    _write(folder, rows)


_EMPTIED = {"emoji": _emoji, "grocery": _grocery}


def _drawn(folder: Path, validation: bool) -> None:
    """Discs and squares of a few colours, to see that all runs."""
    rows = []
    for i in range(120):
        colour, shape = ("red", "green", "blue")[i % 3], ("disc", "square")[i // 3 % 2]
        picture = Image.new("RGB", (24, 24), "white")
        draw = getattr(ImageDraw.Draw(picture), "ellipse" if shape == "disc" else "rectangle")
        draw((2 + i % 7, 2 + i % 5, 14 + i % 7, 14 + i % 5), fill=colour)
        content = io.BytesIO()
        picture.save(content, "PNG")
        part = "test" if i % 4 == 3 else "train"
        rows.append(
            (content.getvalue(), f"a {colour} {shape}, number {i}", f"{colour} {shape} {i}", part, shape, "yes")
        )
    _write(folder, rows)


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def _write(folder: Path, rows: Iterable[tuple[Any, ...]]) -> None:
    """A folder of pictures with captions.csv, there only once it is whole."""
    made = folder.with_name(f".{folder.name}")
    made.mkdir(parents=True, exist_ok=True)
    with (made / "captions.csv").open("w", newline="", encoding="utf8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for i, (content, *told) in enumerate(rows):
            (made / f"{i:05}.png").write_bytes(content)
            table.writerow([f"{i:05}.png", *told])
    made.rename(folder)


if __name__ == "__main__":
    main()
