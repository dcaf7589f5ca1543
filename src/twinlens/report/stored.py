"""What a run's folder keeps so that its report can be drawn again at any time, without the data."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlens import random
from twinlens.batch import Maker, Samples, Views
from twinlens.embed import clean_views
from twinlens.feed import create
from twinlens.method import Method
from twinlens.report import geometry, page
from twinlens.report.content import Content
from twinlens.report.learnt import learnt
from twinlens.views.colour import pixels

SHEET = 8  # samples in the sheet of views


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
    arrays: dict[str, Any] = {
        "views": sheet,
        "view_titles": np.array(titles, dtype=np.str_),
        "embeddings": embeddings.numpy(),
        "untrained": geometry.eigenvalues(untrained.numpy()),
        "thumbnails": np.concatenate([pixels(view) for view in clean_views(held, maker, device=torch.device("cpu"))]),
    }
    if held.labels is not None:
        arrays |= {"labels": held.labels, "classes": np.array(held.classes, dtype=np.str_)}
    arrays |= learnt(method, held, maker, views, seed=seed, device=device)
    np.savez_compressed(path / "report.npz", **arrays)


def view_sheet(learn: Samples, maker: Maker, views: Views, seed: int) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Titles, and pictures (n, V + 1, H, W, C) of n samples: as it is, then what is seen of it in the first epoch."""
    index = torch.linspace(0, len(learn) - 1, min(SHEET, len(learn))).long()
    raw = learn.fetch(index)
    clean = maker.clean(raw)
    made = create(maker, views, raw, index, random.keys(seed, 0, index)).views
    columns = [clean, *(F.interpolate(view, size=clean.shape[2:]) for view in made)]
    titles = ["sample", *(f"view {number}" for number in range(1, len(made) + 1))]
    return titles, np.stack([pixels(column) for column in columns], axis=1)


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
    made = Content(
        title=f"{run['method']['name']} on {run['data']['name']}",
        settings=run,
        metrics=metrics,
        views=arrays["views"],
        view_titles=arrays["view_titles"].tolist(),
        embeddings=arrays["embeddings"],
        untrained=arrays["untrained"],
        thumbnails=arrays["thumbnails"],
        labels=arrays.get("labels"),
        classes=arrays["classes"].tolist() if "classes" in arrays else (),
        evaluation=evaluations[-1]["results"] if evaluations else None,
        notes=[*run["data"]["notes"], *run["notes"]],
        verdict=verdict,
        shown=arrays.get("shown"),
        shown_titles=arrays["shown_titles"].tolist() if "shown_titles" in arrays else (),
        drawn=arrays.get("drawn"),
        between=arrays.get("between"),
    )
    page.write(path / "report.html", made)
