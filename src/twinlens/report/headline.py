"""The head of the page: who learnt what, whether it learns, and the last value of each curve."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np

from twinlens.report.content import Content, series


def headline(content: Content) -> str:
    """Title, verdict and figures of the run."""
    last = content.metrics[-1]
    method, encoder, data = (_name(content.settings.get(part)) for part in ("method", "encoder", "data"))
    who = f"{encoder or 'An encoder'} learnt" + (f" from {data}" if data else "") + (f" by {method}" if method else "")
    so_far = "" if last["progress"] >= 1 else f", {100 * last['progress']:.0f} % of the run"
    done = f"<b>{_count(last['views'])}</b> views in <b>{_duration(last['seconds'])}</b>{so_far}"
    return (
        f"<h1>{escape(content.title)}</h1>"
        f'<p class="lead">{who}: {done}.</p>{_verdict(content)}'
        f'{_divergence(content)}<dl class="facts">{"".join(_facts(content))}</dl>'
    )


def _verdict(content: Content) -> str:
    if content.verdict is None:
        return ""
    word, cause, remedy = map(escape, content.verdict)
    style = "" if word == "learning" else ' class="warning"'
    return f"<p{style}><b>{word[0].upper()}{word[1:]}</b>: {cause} {remedy}</p>"


def _name(part: Any) -> str:
    if isinstance(part, Mapping):
        part = part.get("name")
    return f"<b>{escape(str(part))}</b>" if part else ""


def _divergence(content: Content) -> str:
    _, loss = series(content, "loss")
    broken = np.flatnonzero(~np.isfinite(loss))
    if not len(broken):
        return ""
    where = f"in {len(broken)} of {len(loss)} rows, first at step {_count(content.metrics[broken[0]]['step'])}"
    return f'<p class="warning">The loss was not a finite number {where}.</p>'


def _facts(content: Content) -> Iterator[str]:
    """The last value of each curve, with where it came from."""
    width = f"of {content.embeddings.shape[1]} dimensions, "
    for key, name, form, before in (
        ("loss", "Loss", ".4g", ""),
        ("knn", "kNN accuracy", ".3f", ""),
        ("rank", "Effective rank", ".3g", width),
        ("spread", "Spread", ".3g", ""),
    ):
        _, values = series(content, key)
        if len(values):
            first = f"from {values[0]:{form}}" if len(values) > 1 else "seen once"
            yield f"<div><dt>{name}</dt><dd>{values[-1]:{form}} <small>{before}{first}</small></dd></div>"
    _, speed = series(content, "views_per_second")
    _, waited = series(content, "waited")
    if len(speed):
        idle = f"{100 * np.nanmean(waited):.0f} % of the time waiting for data" if np.isfinite(waited).any() else ""
        yield f"<div><dt>Views per second</dt><dd>{_count(float(np.median(speed)))} <small>{idle}</small></dd></div>"


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
