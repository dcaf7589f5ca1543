import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest

from twinlens.report import Content, write
from twinlens.report.evaluation import verdict
from twinlens.report.geometry import HUES, MARKS, eigenvalues, group, neighbours, project

HOSTILE = '<script>alert("x")</script>&\'"><img src=x>'
SECTIONS = (
    "evaluation", "curves", "views", "spectrum", "map", "neighbours", "between", "directions", "settings", "notes",
)  # fmt: skip
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags are balanced; gathers attributes, ids and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.attributes, self.text = [], [], [], [], ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_startendtag(self, tag, attrs):
        self.note(tag, attrs)

    def handle_starttag(self, tag, attrs):
        self.note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def note(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]


def row(step, **more):
    """A row of metrics as training writes them when nothing is measured beside the loss."""
    return {
        "step": step,
        "progress": (step + 1) / 40,
        "views": 64 * (step + 1),
        "seconds": step / 2,
        "loss": 5 / (step + 1),
    } | more


def content(count=30, width=6, channels=1, **changes):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, 12, 10, channels), dtype=np.uint8)
    baselines = {
        "raw input": {"value": 0.4, "interval": [0.3, 0.5]},
        "untrained": {"value": 0.7, "interval": [0.6, 0.8]},
    }
    made = Content(
        title="SimCLR on shapes",
        settings={"method": {"name": "simclr", "temperature": 0.5}, "data": {"name": "shapes"}, "sizes": [1, 2]},
        metrics=[row(step) for step in range(40)],
        views=np.stack([pixels[:8], pixels[:8], pixels[:8]], axis=1),
        view_titles=["sample", "first", "second"],
        embeddings=random.normal(size=(count, width)).astype(np.float32),
        thumbnails=pixels,
        labels=random.integers(0, 3, count),
        classes=("round", "square", "long"),
        untrained=np.array([3.0, 2.0, 1.0]),
        evaluation=[
            {"name": "knn", "value": 0.75, "interval": [0.7, 0.79], "settings": {"k": 20}, "baselines": baselines}
        ],
        notes=["one file was skipped"],
    )
    return replace(made, **changes)


def page(tmp_path, made):
    write(tmp_path / "report.html", made)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


def watched():
    metrics = [row(step, rate=0.1, views_per_second=128.0, waited=0.01) for step in range(40)]
    return [made | {"spread": 0.05, "rank": 3.0, "knn": 0.5} if made["step"] % 10 == 0 else made for made in metrics]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return page(tmp_path_factory.mktemp("run"), content(metrics=watched()))


def test_the_page_needs_nothing_else(whole):
    text, parsed = whole
    assert not re.search(r"https?:|url\((?!#)|@import", text)
    assert not {"script", "link", "iframe", "object", "base"} & set(parsed.tags)
    for name, value in parsed.attributes:
        if name == "src":
            assert value.startswith("data:image/webp;base64,")
        if name in ("href", "xlink:href"):
            assert value.startswith(("#", "data:image/webp;base64,"))


def test_links_and_ids_within_the_page_are_sound(whole):
    text, parsed = whole
    assert len(parsed.ids) == len(set(parsed.ids))
    wanted = {value[1:] for _, value in parsed.attributes if value.startswith("#")} | set(
        re.findall(r"url\(#(\w+)\)", text)
    )
    assert wanted <= set(parsed.ids)


def test_the_page_says_what_was_done_and_what_came_of_it(whole):
    text, parsed = whole
    assert [name for name in parsed.ids if name in SECTIONS] == list(SECTIONS)
    assert "An encoder learnt from shapes by simclr: 2,560 views in 19.5 s." in parsed.text
    for part in ("0.125", "0.750", "0.700 to 0.790", "k 20", "one file was skipped", "method.temperature", "[1, 2]"):
        assert part in parsed.text
    assert parsed.text.count("result stands above") == parsed.text.count("intervals meet") == 1
    assert all(name in parsed.text for name in ("first", "second", "round", "square", "long"))
    assert "effective rank 3" in text


def test_the_colours_of_charts_are_the_pages(whole):
    text, _ = whole
    assert "var(--accent)" in text
    assert not re.search(r"#0[bcde]0[bcde]0[bcde]", text)


def test_equal_content_gives_equal_bytes(tmp_path, whole):
    assert page(tmp_path, content(metrics=watched()))[0] == whole[0]


def test_hostile_text_stays_text(tmp_path):
    evaluation = [
        {
            "name": HOSTILE, "value": 0.5, "interval": [0.4, 0.6], "settings": {HOSTILE: HOSTILE},
            "baselines": {HOSTILE: {"value": 0.1, "interval": [0.0, 0.2]}},
        }
    ]  # fmt: skip
    settings = {HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}, "method": HOSTILE, "data": {"name": HOSTILE}}
    made = content(
        title=HOSTILE,
        settings=settings,
        view_titles=[HOSTILE] * 3,
        classes=(HOSTILE,) * 3,
        notes=[HOSTILE],
        evaluation=evaluation,
    )
    text, parsed = page(tmp_path, made)
    assert "script" not in parsed.tags
    assert "<script" not in text
    assert "<img src=x" not in text
    assert text.count(escape(HOSTILE)) >= 20
    assert not any(name.startswith("on") for name, _ in parsed.attributes)


def same(value):
    return np.full((30, 4), value, dtype=np.float32)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": None, "classes": (), "untrained": None, "evaluation": None, "notes": (), "settings": {}},
        {"channels": 3, "metrics": [row(0)]},
        {"metrics": [row(0, loss=None, rank=None, spread=float("nan"), waited=None, views_per_second=9.0)]},
        {"metrics": [row(0), row(1, loss=float("inf")), row(2, loss=float("nan"))], "labels": np.arange(30)},
        {"width": 1, "untrained": np.ones(1)},
        {"width": 40, "count": 8},
        {"count": 2},
        {"count": 1},
        {"embeddings": same(0)},
        {"embeddings": same(1)},
        {"embeddings": same(np.nan)},
        {"embeddings": same(0)[:0]},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_whatever_a_run_comes_to_it_has_a_report(tmp_path, changes):
    _, parsed = page(tmp_path, content(**changes))
    assert [name for name in parsed.ids if name in SECTIONS] == list(SECTIONS)


def test_what_is_amiss_is_said(tmp_path):
    diverged = content(metrics=[row(s, loss=float("nan") if s > 5 else 1.0) for s in range(20)])
    assert "not a finite number in 14 of 20 rows, first at step 6" in page(tmp_path, diverged)[1].text
    collapsed = page(tmp_path, content(embeddings=same(1), evaluation=None))[1].text
    assert "complete collapse" in collapsed
    assert f"twinlens evaluate {tmp_path} LABELLED_DATA" in collapsed


def test_a_large_report_stays_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 128, 128, 3), dtype=np.uint8)
    views = np.stack([noise[i : i + 8] for i in range(9)], axis=1)
    made = content(count=200, metrics=[row(step) for step in range(5000)], thumbnails=noise, views=views)
    assert len(page(tmp_path, replace(made, view_titles=["view"] * 9))[0]) < 2e6


def test_intervals_that_meet_do_not_stand_apart():
    assert verdict([0.5, 0.6], [0.3, 0.4]) == "above"
    assert verdict([0.3, 0.4], [0.5, 0.6]) == "below"
    assert (
        verdict([0.4, 0.6], [0.5, 0.7])
        == verdict([0.5, 0.6], [0.4, 0.5])
        == verdict([0.3, 0.4], [0.4, 0.5])
        == "touching"
    )


def test_eigenvalues_are_those_of_the_covariance():
    z = np.random.default_rng(0).normal(size=(50, 5)) @ np.diag([5.0, 3.0, 2.0, 1.0, 0.1])
    expected = np.linalg.eigvalsh(np.cov(z.T, bias=True))[::-1]
    np.testing.assert_allclose(eigenvalues(z), expected, rtol=1e-9)
    np.testing.assert_allclose(eigenvalues(z + 7), expected, rtol=1e-9)  # where the cloud lies does not matter
    np.testing.assert_allclose(eigenvalues(np.array([[-1.0, 0.0], [1.0, 0.0]])), [1.0, 0.0], atol=1e-15)


def test_neighbours_are_the_nearest_by_cosine_without_the_sample_itself():
    z = np.random.default_rng(0).normal(size=(20, 4))
    queries = np.array([3, 11])
    for query, near in zip(queries, neighbours(z, queries, 19), strict=True):
        cosine = [
            -2.0 if i == query else z[query] @ a / np.linalg.norm(z[query]) / np.linalg.norm(a) for i, a in enumerate(z)
        ]
        assert near.tolist() == sorted(range(20), key=lambda i: -cosine[i])[:19]
    scaled = z * np.linspace(0.1, 9, 20)[:, None]
    assert (neighbours(scaled, queries, 19) == neighbours(z, queries, 19)).all()


def test_the_map_keeps_clumps_together():
    random = np.random.default_rng(0)
    centres = np.eye(6)[:3] * 10
    z = np.concatenate([centre + random.normal(size=(20, 6)) * 0.3 for centre in centres])
    points = project(z)
    assert points.shape == (60, 2)
    assert 0 <= points.min() <= points.max() <= 1
    distance = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(60) * 9
    assert (distance.argmin(axis=1) // 20 == np.arange(60) // 20).all()


def test_groups_are_the_largest_classes_and_the_rest():
    labels = np.concatenate([np.arange(HUES * MARKS + 5), np.arange(5, HUES * MARKS + 5)])  # 0 to 4 are the rare ones
    groups = group(labels, ["zero"], len(labels))
    assert [g.name for g in groups] == [*(str(c) for c in range(5, HUES * MARKS + 5)), "5 rarer classes"]
    assert len({(g.hue, g.mark) for g in groups}) == len(groups)
    assert sorted(np.concatenate([g.members for g in groups]).tolist()) == list(range(len(labels)))
    assert [g.name for g in group(np.array([0, 1, 1]), ["zero"], 3)] == ["zero", "1"]


def test_the_way_between_samples_begins_and_ends_with_them(tmp_path):
    codes = np.stack([(np.cos(angle), np.sin(angle)) for angle in np.linspace(0, 1.5, 20)]).astype(np.float32)
    made = content(count=20, embeddings=codes, labels=None)
    text, _ = page(tmp_path, made)
    section = text[text.index('id="between"') : text.index('id="directions"')]
    rows = [int(number) for number in re.findall(r'alt="sample (\d+)"', section)]
    routes = [rows[start : start + 9] for start in range(0, len(rows), 9)]
    assert len(routes) == 3
    for route in routes:
        assert route == sorted(route) and len(set(route)) > 3  # on an arc of codes the way passes through all between
    assert routes[0][0] == 0 and routes[-1][-1] == 19


def test_directions_show_what_lies_to_either_side_of_the_mean(tmp_path):
    codes = np.zeros((21, 3), dtype=np.float32)
    codes[:, 1] = np.linspace(-1, 1, 21)
    codes[:, 2] = np.random.default_rng(0).normal(size=21) * 0.01
    text, _ = page(tmp_path, content(count=21, embeddings=codes + 5, labels=None))
    section = text[text.index('id="directions"') : text.index('id="settings"')]
    row = [int(number) for number in re.findall(r'alt="sample (\d+)"', section)][:9]
    assert row == sorted(row) and row[0] < 5 and row[-1] > 15 and len(set(row)) > 5


@pytest.mark.parametrize("embeddings", [np.full((30, 6), 0.5, dtype=np.float32), np.zeros((30, 6), dtype=np.float32)])
def test_nothing_lies_between_embeddings_that_are_the_same(tmp_path, embeddings):
    _, parsed = page(tmp_path, content(embeddings=embeddings))
    assert parsed.text.count("all embeddings are the same") == 2


@pytest.mark.parametrize(("word", "style"), [("learning", "<p>"), ("complete collapse", '<p class="warning">')])
def test_the_verdict_stands_at_the_head(tmp_path, word, style):
    text, _ = page(tmp_path, content(verdict=(word, "it <is> so.", "change it.")))
    assert f"{style}<b>{word.capitalize()}</b>: it &lt;is&gt; so. change it.</p>" in text
