"""What a run's folder keeps so that its report can be drawn again at any time, without the data."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Maker, Samples, Views
from twinlens.data.load import tokenizer_of
from twinlens.embed import embed
from twinlens.feed import create
from twinlens.method import Method
from twinlens.report import geometry, page
from twinlens.report.content import Content
from twinlens.report.learnt import learnt
from twinlens.report.shows import Cells, Column, cells, clean, columns, every, line, pack, parts, unpack

SHEET, FOUND = 8, 5  # samples in the sheet of views, or that look for their other part; how many are found


def collect(
    path: Path,
    *,
    learn: Samples,
    held: Samples,
    maker: Maker,
    views: Views,
    method: Method,
    embeddings: Tensor,
    untrained: Tensor,
    seed: int,
    device: torch.device,
) -> None:
    """Writes report.npz: a sheet of the first epoch's views, held-out samples with embeddings, and what was learnt."""
    titles, sheet = view_sheet(learn, maker, views, seed)
    seen = {title: every(part, each) for title, (part, each) in parts(held, maker).items()}
    first, *others = seen.values()
    arrays: dict[str, Any] = {
        **pack("views", sheet),
        "view_titles": np.array(titles, dtype=np.str_),
        "embeddings": embeddings.numpy(),
        "untrained": geometry.eigenvalues(untrained.numpy()),
        "thumbnails": first,
        "part_titles": np.array(list(seen), dtype=np.str_),
        **{f"others.{i}": column for i, column in enumerate(others)},
    }
    if held.labels is not None and held.labels.dtype.kind in "iu":  # amounts are no classes
        arrays |= {"labels": held.labels, "classes": np.array([line(name) for name in held.classes], dtype=np.str_)}
    arrays |= learnt(method, held, maker, views, seed=seed, device=device)
    np.savez_compressed(path / "report.npz", **arrays)


def collect_found(path: Path, encoder: nn.Module, held: Samples, maker: Maker, *, device: torch.device) -> None:
    """Adds to report.npz what the first two parts of held-out samples find of each other; nothing without parts."""
    pair = list(parts(held, maker).values())[:2]
    if len(pair) < 2 or len(held) < 2:
        return
    with np.load(path / "report.npz", allow_pickle=False) as kept:
        arrays = dict(kept)
    z = [embed(encoder, part, each, device=device).numpy() for part, each in pair]
    if not all(np.isfinite(some).all() for some in z):
        return
    queries = np.linspace(0, len(held) - 1, min(len(held), SHEET)).astype(np.intp)
    both = [geometry.found(z[start], z[1 - start], queries, FOUND) for start in (0, 1)]
    fewest = min(found.shape[1] for found, _ in both)
    arrays["found"] = np.stack([found[:, :fewest] for found, _ in both])
    arrays["places"] = np.stack([places for _, places in both])
    np.savez_compressed(path / "report.npz", **arrays)


def view_sheet(learn: Samples, maker: Maker, views: Views, seed: int) -> tuple[list[str], Cells]:
    """Titles, and columns of n samples: as each is, part by part, then what is seen of it in the first epoch."""
    index = torch.linspace(0, len(learn) - 1, min(SHEET, len(learn))).long()
    whole = {title: clean(part, each, index) for title, (part, each) in parts(learn, maker).items()}
    made = create(maker, views, learn.fetch(index), index, random.keys(seed, 0, index)).views
    of_parts = views.paired and len(made) == len(whole) > 1
    names = [f"{title}, seen" for title in whole] if of_parts else [f"view {i}" for i in range(1, len(made) + 1)]
    made_columns = columns({**whole, **dict(zip(names, made, strict=True))}, tokenizer_of(learn))
    return list(made_columns), cells(list(made_columns.values()))


def _others(arrays: Mapping[str, Column]) -> list[Column]:
    """What is shown of the parts of held-out samples after the first."""
    return [arrays[key] for i in range(len(arrays)) if (key := f"others.{i}") in arrays]


def render(path: Path, metrics: Sequence[Mapping[str, Any]], verdict: tuple[str, str, str] | None = None) -> None:
    """Draws report.html from the rows of metrics.jsonl, the verdict on them, and the folder's other files.

    Nothing is drawn without report.npz.
    """
    if not (path / "report.npz").exists():
        return
    run = json.loads((path / "run.json").read_text())
    evaluations = json.loads(file.read_text()) if (file := path / "evaluation.json").exists() else []
    with np.load(path / "report.npz", allow_pickle=False) as kept:
        arrays = dict(kept)
    views = unpack("views", arrays)
    assert views is not None
    made = Content(
        title=f"{run['method']['name']} on {run['data']['name']}",
        settings=run,
        metrics=metrics,
        views=views,
        view_titles=arrays["view_titles"].tolist(),
        embeddings=arrays["embeddings"],
        untrained=arrays["untrained"],
        thumbnails=arrays["thumbnails"],
        labels=arrays.get("labels"),
        classes=arrays["classes"].tolist() if "classes" in arrays else (),
        evaluation=evaluations[-1]["results"] if evaluations else None,
        notes=[*run["data"]["notes"], *run["notes"]],
        verdict=verdict,
        shown=unpack("shown", arrays),
        shown_titles=arrays["shown_titles"].tolist() if "shown_titles" in arrays else (),
        drawn=arrays.get("drawn"),
        between=arrays.get("between"),
        others=_others(arrays),
        part_titles=arrays["part_titles"].tolist() if "part_titles" in arrays else ("sample",),
        found=arrays.get("found"),
        places=arrays.get("places"),
    )
    page.write(path / "report.html", made)
