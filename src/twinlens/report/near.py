"""Who lies near whom: a map of the held-out samples, the nearest of a few, and what the parts of pairs find."""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from twinlens.report import figures, geometry
from twinlens.report.content import Content
from twinlens.report.geometry import Places, class_name
from twinlens.report.pictures import cell, columns, drawn, image, text, undrawable, words
from twinlens.report.shows import Column

ROWS, NEIGHBOURS, LINES, MAPPED = 8, 8, 5, 1000  # samples with their neighbours, pictures or lines; points of the map
HEAD = 60  # characters of a text where the pointer rests


def map_section(content: Content) -> str:
    """The map; pictures or first words stand beside some of its points, and words come up where the pointer rests."""
    head = (
        '<h2>Map</h2><p class="about">Held-out samples, the near ones near (t-SNE). Believe neighbourhoods, not '
        "distances between clumps. {}</p>"
    )
    if why := undrawable(content.embeddings):
        return head.format("") + why
    total = len(content.embeddings)
    shown = np.linspace(0, total - 1, min(total, MAPPED)).astype(np.intp)
    labels = None if content.labels is None else content.labels[shown]
    groups = geometry.group(labels, content.classes, len(shown))
    said = [_said(content, i) for i in shown]
    pictures = next((column[shown] for column in content.parts if drawn(column)), None)
    told = "Point at one to read its first words. " if any(said) else ""
    chart = figures.scatter(geometry.project(content.embeddings[shown]), pictures, groups, said)
    if labels is None:
        return f'{head.format(told)}<div class="map alone">{chart}</div>'
    items = "".join(
        f"<li>{figures.key(group)}<span>{escape(group.name)}</span><small>{len(group.members)}</small></li>"
        for group in groups
    )
    told += "The encoder never saw the labels that colour them."
    return f'{head.format(told)}<div class="map">{chart}<ul class="legend">{items}</ul></div>'


def _said(content: Content, i: np.intp | int) -> str:
    """The first words of a sample, if it has words."""
    return " | ".join(words(str(column[i]), HEAD) for column in content.parts if not drawn(column))


def neighbours_section(content: Content) -> str:
    """A few samples with those nearest to each: rows of pictures, or lines of text."""
    head = '<h2>Neighbours</h2><p class="about">{}</p>'
    if why := undrawable(content.embeddings):
        return head.format("") + why
    total = len(content.embeddings)
    queries = np.linspace(0, total - 1, min(total, ROWS)).astype(np.intp)
    pictures = next((column for column in content.parts if drawn(column)), None)
    near = geometry.neighbours(content.embeddings, queries, LINES if pictures is None else NEIGHBOURS)
    where = "On top" if pictures is None else "Left"
    told = f"{where} a held-out sample, then those nearest to it by cosine. The samples are evenly spaced, not picked."
    labels = content.labels
    if labels is not None:
        same = int((labels[near] == labels[queries][:, None]).sum())
        told += f" Of the {near.size} neighbours, {same} have the sample's label (✓)."
    pairs = list(zip(queries, near, strict=True))
    if pictures is None:
        rows = "".join(_lines(content, query, others) for query, others in pairs)
        return f'{head.format(told)}<div class="wide"><table class="lines near">{rows}</table></div>'
    rows = "".join(_pictures(content, pictures, query, others) for query, others in pairs)
    shape = columns(near.shape[1] + 1, "" if labels is None else "fit-content(5rem)")
    return f'{head.format(told)}<div class="wide"><div class="grid" style="{shape}">{rows}</div></div>'


def _lines(content: Content, query: np.intp, near: Places) -> str:
    """A sample in words and, below it, its neighbours: a cell for each part of a pair."""
    labels = content.labels
    rows = _line(content, query, "asked", "")
    for i in near:
        right = labels is not None and labels[i] == labels[query]
        mark = "" if labels is None else f'<b class="{"right" if right else "wrong"}">{"✓" if right else "✗"}</b>'
        rows += _line(content, i, "", mark)
    return f"<tbody>{rows}</tbody>"


def _line(content: Content, i: np.intp, style: str, mark: str) -> str:
    said = "".join(f"<td>{text(str(column[i]))}</td>" for column in content.parts)
    if content.labels is None:
        return f'<tr class="{style}">{said}</tr>'
    name = escape(class_name(content.labels[i], content.classes))
    return f'<tr class="{style}"><td class="mark">{mark}</td>{said}<td class="class">{name}</td></tr>'


def _pictures(content: Content, pictures: Column, query: np.intp, near: Places) -> str:
    labels, classes = content.labels, content.classes
    if labels is None:
        first = _image(content, pictures, query, "sample", "first")
        return first + "".join(_image(content, pictures, i, "neighbour") for i in near)
    name = class_name(labels[query], classes)
    row = f'<span class="class">{escape(name)}</span>{_image(content, pictures, query, name, "first")}'
    for i in near:
        style, mark = ("match", "✓") if labels[i] == labels[query] else ("match differs", "✗")
        other = class_name(labels[i], classes)
        picture = _image(content, pictures, i, other)
        row += f'<div class="{style}" data-mark="{mark}" title="{escape(other)}">{picture}</div>'
    return row


def _image(content: Content, pictures: Column, i: np.intp, alt: str, style: str = "") -> str:
    """A picture, with its words where the pointer rests."""
    made, said = image(pictures[i], _said(content, i) or alt, style), _said(content, i)
    return made.replace("<img ", f'<img title="{escape(said)}" ', 1) if said else made


def found_section(content: Content) -> str:
    """What one part of a pair finds among all held-out other parts. Nothing where samples have no parts."""
    if content.found is None or content.places is None:
        return ""
    titles = content.part_titles
    made = "".join(
        f"<h3>From {escape(titles[start])} to {escape(titles[1 - start])}</h3>{_direction(content, start)}"
        for start in (0, 1)
    )
    return (
        '<h2>Found</h2><p class="about">For one part of a held-out pair, the nearest of all held-out other parts by '
        "cosine; ✓ is the part it belongs to. Ones that are the same count once. The pairs are evenly spaced, not "
        f"picked.</p>{made}"
    )


def _direction(content: Content, start: int) -> str:
    assert content.found is not None and content.places is not None
    asked, sought = content.parts[start], content.parts[1 - start]
    rows = ""
    for (query, *found), (place, right, total) in zip(content.found[start], content.places[start], strict=True):
        own = f"own {content.part_titles[1 - start]}: place {place:,} of {total:,}"
        kind = ' class="picture"' if drawn(asked) else ' class="query"'
        first = cell(asked, query, content.part_titles[start], "first")
        rows += f"<tr><td{kind}>{first}<small>{escape(own)}</small></td><td>{_list(sought, found, right)}</td></tr>"
    return f'<div class="wide"><table class="lines found">{rows}</table></div>'


def _list(sought: Column, found: Sequence[int], right: int) -> str:
    """What was found, the nearest first, with a mark on the `right` one, if it is there."""
    return f'<ol class="{"strip" if drawn(sought) else "texts"}">{"".join(_items(sought, found, right))}</ol>'


def _items(sought: Column, found: Sequence[int], right: int) -> Iterator[str]:
    for i in found:
        if drawn(sought):
            style = ' class="match" data-mark="✓"' if i == right else ""
            yield f"<li{style}>{image(sought[i], 'found')}</li>"
        else:
            mark = '<b class="right">✓</b> ' if i == right else ""
            yield f"<li>{mark}{text(str(sought[i]))}</li>"
