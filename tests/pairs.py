"""Data in parts, and runs over it that train in a second: pairs of texts, pictures with captions."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

import twinlens as tl

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
THINGS = ("cat", "dog", "bird", "tree", "house", "river", "stone", "cloud")
TINY = {"width": 16, "depth": 1, "heads": 2, "length": 12, "vocabulary": 150}


def rows(count: int = 96, *, test: int = 12) -> list[dict[str, object]]:
    """Pairs of texts that say the same, scored by how alike they are, the last ones for testing."""
    made = []
    for i in range(count):
        colour, thing = list(COLOURS)[i % 3], THINGS[i % 8]
        first = f"a {colour} {thing} of number {i}"
        part = "train" if i < count - test else "test"
        made.append({"anchor": first, "positive": f"number {i} is one {colour} {thing}", "part": part, "told": i % 5})
    return made


def write(path: Path, some: list[dict[str, object]], *names: str) -> str:
    """Rows as JSON lines, of the columns `names`."""
    path.write_text("".join(json.dumps({name: row[name] for name in names}) + "\n" for row in some))
    return str(path)


def captioned(folder: Path, count: int = 36) -> str:
    """Pictures of one colour each, in a folder for each colour, with a caption beside each."""
    noise = np.random.default_rng(0)
    for i in range(count):
        name = list(COLOURS)[i % 3]
        pixels = np.array(COLOURS[name]) + noise.integers(-25, 25, (16, 16, 3))
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{i}.png")
        (folder / name / f"{i}.txt").write_text(f"something {name}, a {THINGS[i % 8]}")
    return str(folder)


def text_run(out: Path, data: str, **settings: object) -> tl.Run:
    return tl.pretrain(data, "ranking", encoder="words", out=out, epochs=8, batch=12, **{**TINY, **settings})


def image_text_run(out: Path, data: str) -> tl.Run:
    words = {f"text_{name}": TINY[name] for name in ("width", "depth", "heads")}
    return tl.pretrain(
        data, "clip", encoder="small+words", out=out, epochs=80, batch=12, shared=16, length=12, image_width=8, **words
    )
