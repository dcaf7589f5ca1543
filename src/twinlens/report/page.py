"""The page: what was trained on what, what came of it, and how it got there, from `Content` alone."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from twinlens.report import figures, geometry
from twinlens.report.content import Content, series
from twinlens.report.evaluation import evaluation_section
from twinlens.report.headline import headline
from twinlens.report.latent import between, directions
from twinlens.report.learnt import decoded_section, drawn_section, predicted_section
from twinlens.report.near import found_section, map_section, neighbours_section
from twinlens.report.pictures import drawn, sheet, undrawable
from twinlens.report.shows import HIDDEN, apart, judged_by

ROWS = 8  # samples shown with their views


def write(path: str | Path, content: Content) -> None:
    """Writes the report: one HTML file without links, scripts or anything to fetch."""
    data = judged_by(content.settings.get("data"))
    command = f"twinlens evaluate {shlex.quote(str(Path(path).parent))} {data}"
    sections = [
        ("Evaluation", evaluation_section(content.evaluation, command)),
        ("Curves", _curves(content)),
        ("Views", _views(content)),
        ("What it predicts", predicted_section(content)),
        ("Drawn", drawn_section(content)),
        ("Decoded between", decoded_section(content)),
        ("Spectrum", _spectrum(content)),
        ("Map", map_section(content)),
        ("Neighbours", neighbours_section(content)),
        ("Found", found_section(content)),
        ("Between", between(content)),
        ("Directions", directions(content)),
        ("Settings", _settings(content.settings)),
        ("Notes", _notes(content.notes)),
    ]
    made = [(name.lower().replace(" ", "-"), name, section) for name, section in sections if section]
    links = "".join(f'<a href="#{place}">{name}</a>' for place, name, _ in made)
    body = "\n".join(f'<section id="{place}">{section}</section>' for place, _, section in made)
    Path(path).write_text(
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(content.title)}</title>
<style>
{Path(__file__).with_name("style.css").read_text()}</style>
</head>
<body>
<header>{headline(content)}<nav>{links}</nav></header>
<main>
{body}
</main>
</body>
</html>
""",
        encoding="utf-8",
    )


def _curves(content: Content) -> str:
    chance = (
        None if content.labels is None else np.unique(content.labels, return_counts=True)[1].max() / len(content.labels)
    )
    panels = "".join(
        _panel(content, key, name, about, **options)
        for key, name, about, options in (
            ("loss", "Loss", "what training lowers", {}),
            ("knn", "kNN accuracy", "held-out; dashed: the commonest class", {"reference": chance}),
            ("rank", "Effective rank", "dimensions the embeddings really use", {}),
            ("spread", "Spread", "deviation per dimension; zero is collapse", {"from_zero": True}),
            ("anisotropy", "Anisotropy", "mean cosine of different samples; near 0 is good, near 1 all look alike", {}),
            ("lidar", "LiDAR", "dimensions that tell samples apart better than views", {}),
            (
                "gap",
                "Below chance",
                "how far the loss is below that of views of different samples",
                {"from_zero": True},
            ),
            ("compared", "Spread compared", "the same of what the method compares", {"from_zero": True}),
            ("clusters", "Clusters in use", "of those the method assigns samples to", {"from_zero": True}),
            ("right", "Right answers", "of the task that was set", {"from_zero": True}),
            (
                "discriminator",
                "Discriminator",
                "pairs, real and drawn, that it tells right; dashed: none",
                {"reference": 0.5},
            ),
            ("modes", "Kinds drawn", "held-out samples that are nearest to a drawn one", {"from_zero": True}),
            ("rate", "Learning rate", "the schedule", {"from_zero": True}),
            ("views_per_second", "Views per second", "how fast the run went", {"from_zero": True}),
        )
    )
    return f'<h2>Curves</h2><p class="about">Over the views processed so far.</p><div class="curves">{panels}</div>'


def _panel(content: Content, key: str, name: str, about: str, **options: Any) -> str:
    views, values = series(content, key)
    if not len(values):
        return ""
    drawable = np.isfinite(values).any()
    chart = (
        figures.curve(name, views, values, **options) if drawable else '<p class="warning">Never a finite number.</p>'
    )
    return f"<figure><figcaption><b>{name}</b><br>{about}</figcaption>{chart}</figure>"


def _views(content: Content) -> str:
    shown = apart(content.views)
    alike = (
        "What the encoder was asked to call the same: a row is one sample. A difference you would want it to see must "
        "not be among them."
    )
    several = len(shown) - len(content.parts) > 1
    about = alike if several else "What the encoder learnt from: a row is one sample, as it is and as it was shown."
    if any(not drawn(column) for column in shown):
        about += f" {HIDDEN} is a word that was hidden; long texts are shortened."
    return f'<h2>Views</h2><p class="about">{about}</p>{sheet(content.view_titles, shown, rows=ROWS)}'


def _spectrum(content: Content) -> str:
    head = (
        '<h2>Spectrum</h2><p class="about">How the variance of the embeddings is shared out among directions. A line '
        "that falls off a cliff uses few of its dimensions; a slow, straight fall uses many.</p>"
    )
    if why := undrawable(content.embeddings):
        return head + why
    trained = geometry.eigenvalues(content.embeddings)
    if trained.sum() <= 1e-12:
        return head + '<p class="warning">All embeddings are the same: complete collapse.</p>'
    _, ranks = series(content, "rank")
    rank = float(ranks[-1]) if len(ranks) and np.isfinite(ranks[-1]) else None
    return f"{head}<figure>{figures.spectrum(trained, content.untrained, rank)}</figure>"


def _settings(settings: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in _flat(settings))
    return f'<details><summary>Settings</summary><table class="settings">{rows}</table></details>'


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return "<h2>Notes</h2>" + (f'<ul class="notes">{items}</ul>' if notes else "<p>None.</p>")
