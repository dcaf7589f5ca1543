"""Texts, pairs of them and pictures with captions in a run's report: what is kept, what is marked, what is found."""

import json
import re

import numpy as np
import pytest
import torch
from test_report import HOSTILE, Page, row
from texts import Cropped, Lines, Paired, Pairs, Pictures, Plain, Tokenizer, tokenizer_of
from torch import nn

from twinlens.batch import PAD, Views
from twinlens.method import Method
from twinlens.report import geometry, pictures, shows, stored
from twinlens.report.shows import END, HIDDEN, OTHER, SAME, judged_by

CPU = torch.device("cpu")
WORDS = Tokenizer(["the", "cat", "sat", "##s", "dog", "on"])
THE, CAT, SAT, S, DOG, ON = range(5, 11)
CLS, SEP, MASK = 2, 3, 4


class Plainly(Method):
    """Has nothing to show."""

    def encode(self, batch):
        return batch.views

    def compare(self, *views):
        return views[0].sum()


class Guessing(Plainly):
    """Hides every third word and guesses that it is the sixth of the vocabulary."""

    views = Views(large=1)

    def show(self, batch):
        ids = batch.views[0]
        hidden = (torch.arange(ids.shape[1]) % 3 == 1) & (ids >= 0)
        return {"sample": ids, "seen": ids.masked_fill(hidden, -2), "filled": ids.masked_fill(hidden, 6)}


class Bag(nn.Module):
    """The sum of what stands for each word; of a picture its corner."""

    def __init__(self, vocabulary):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(vocabulary, 12)

    def forward(self, view):
        if view.is_floating_point():
            return view.flatten(1)[:, :12]
        return (self.words(view.clamp(min=0)) * (view >= 0)[..., None]).sum(1)


def texts(count=12, hostile=True):
    made = [f"text number {i} of {'cats' if i % 2 else 'dogs'} and so on" for i in range(count)]
    return [f"{HOSTILE} is hostile \x07 \u202e", *made[1:]] if hostile else made


def lines(count=12, *, labels=True, hostile=True):
    told = texts(count, hostile)
    return Lines(
        told, tokenizer_of(told), np.arange(count) % 2 if labels else None, ("dogs", HOSTILE) if labels else ()
    )


def coloured(count=12):
    return Pictures(torch.randint(256, (count, 8, 8, 3), generator=torch.Generator().manual_seed(1)).byte())


def report(folder, held, maker, method, views):
    """The page of a run over `held`, what was kept for it, and its text."""
    first = held if isinstance(held, Lines) else held.parts[0]
    each = maker if isinstance(maker, Cropped) else maker.parts[0]
    encoder = Bag(500)
    with torch.no_grad():
        z = encoder(each.clean(first.fetch(torch.arange(len(held)))))
    facts = {"method": {"name": "m"}, "data": {"name": held.name, "notes": []}, "notes": []}
    (folder / "run.json").write_text(json.dumps(facts))
    stored.collect(
        folder, learn=held, held=held, maker=maker, views=views, method=method, embeddings=z, untrained=z, seed=0,
        device=CPU,
    )  # fmt: skip
    stored.collect_found(folder, encoder, held, maker, device=CPU)
    stored.render(folder, [row(0, anisotropy=0.25), row(1, anisotropy=0.125)])
    with np.load(folder / "report.npz", allow_pickle=False) as kept:
        arrays = dict(kept)
    text = (folder / "report.html").read_text(encoding="utf-8")
    parsed = Page(text)
    assert not {"script", "iframe"} & set(parsed.tags) and "<img src=x" not in text
    assert not any(name.startswith("on") for name, _ in parsed.attributes)
    assert not re.search("[\x00-\x08\u202e]", text)
    return text, parsed, arrays


def section(text, name):
    start = text.index(f'<section id="{name}"')
    return text[start : text.index("</section>", start)]


def test_a_text_is_a_line_that_a_page_can_hold():
    assert shows.line("two\n  lines\tof \x00\x07text\u202e") == "two lines of text"
    assert shows.line("half a letter \ud800!").encode() == b"half a letter !"
    long = shows.line("word " * 1000)
    assert len(long) <= shows.KEPT and long.endswith("word…")
    assert pictures.words("some words here", 12) == "some words…" and pictures.words("short", 12) == "short"


@pytest.mark.parametrize(
    ("ids", "sample", "expected"),
    [
        ([CLS, THE, CAT, S, SEP, PAD, PAD], None, "the cats"),
        ([CLS, THE, MASK, SAT, SEP], None, f"the {HIDDEN} sat"),
        ([MASK, CAT, S, PAD], None, f"{HIDDEN} cats"),
        ([-2, CAT, PAD], None, f"{HIDDEN} cat"),
        ([CLS, THE, PAD, SAT, SEP, PAD], [CLS, THE, CAT, SAT, SEP, PAD], f"the {HIDDEN} sat"),
        ([CLS, THE, 0, SAT, SEP], [CLS, THE, CAT, SAT, SEP], f"the {HIDDEN} sat"),  # 0 is a word that says nothing
        ([PAD, PAD], None, ""),
    ],
)
def test_ids_are_spelled_as_the_tokenizer_joins_them(ids, sample, expected):
    assert "".join(piece for _, piece in shows.spelled(ids, WORDS, sample)).strip() == expected


def test_letters_of_several_tokens_are_whole():
    class Bytes(Tokenizer):
        def text(self, ids):
            return bytes(i for i in ids if i >= 32).decode(errors="replace")

    ids = list("naïve 日本".encode())
    spelled = shows.spelled([CLS, *ids, SEP], Bytes([]))
    assert [piece for _, piece in spelled] == list("naïve 日本")


def test_what_was_asked_about_is_marked_in_every_column():
    row = torch.tensor([[CLS, THE, CAT, S, SAT, ON, SEP, PAD]])
    seen, filled = row.clone(), row.clone()
    seen[0, 2], seen[0, 4], seen[0, 5] = MASK, -2, DOG
    filled[0, 4] = DOG
    found = shows.compared({"sample": row, "seen": seen, "filled": filled}, WORDS)
    assert found["sample"].tolist() == [f"the {SAME}cat{END}s {SAME}sat on{END}"]
    assert found["seen"].tolist() == [f"the {HIDDEN}s {HIDDEN} {OTHER}dog{END}"]
    assert found["filled"].tolist() == [f"the {SAME}cat{END}s {OTHER}dog{END} {SAME}on{END}"]
    html = pictures.text(found["filled"][0])
    assert '<mark class="other">dog</mark>' in html and not re.search("[\x01-\x03]", html)
    two = shows.compared({"sample": row, "predicted": filled}, WORDS)  # nothing is hidden: only what differs is marked
    assert two["sample"].tolist() == ["the cats sat on"] and two["predicted"].tolist() == [
        f"the cats {OTHER}dog{END} on"
    ]


def test_marks_are_no_way_into_the_page():
    assert pictures.text(f"{SAME}<b>{END} <i>{OTHER}") == (
        '<span class="text" dir="auto"><mark class="same">&lt;b&gt;</mark> &lt;i&gt;</span>'
    )


def test_a_run_over_texts_has_a_page_of_texts(tmp_path):
    held = lines()
    text, parsed, kept = report(tmp_path, held, Cropped(), Guessing(), Views(large=2))
    assert kept["views"].dtype.kind == kept["thumbnails"].dtype.kind == "U" and kept["views"].shape == (8, 3)
    assert kept["views"][1, 0] == held.text(1) and all(word in held.text(1) for word in kept["views"][1, 1].split())
    assert len(kept["views"][1, 1].split()) == 4  # half of the words, and none of the special ones
    assert "found" not in kept and 'id="found"' not in text and "<img" not in text
    for name in ("views", "what-it-predicts", "map", "neighbours", "between", "directions"):
        assert re.search(r"number|dogs", section(text, name))
    assert section(text, "what-it-predicts").count(HIDDEN) > 8 and 'mark class="other"' in text
    near = section(text, "neighbours")
    assert near.count("<tr") == 8 * 6 and near.count("✓") + near.count("✗") == 8 * 5 + 1
    assert section(text, "map").count("<title>") == 12 + 2  # each text, each class
    assert "mean cosine of different samples" in parsed.text


def test_pairs_of_texts_stand_side_by_side(tmp_path):
    first, second = lines(labels=False, hostile=False), lines(labels=False, hostile=False)
    amounts = np.linspace(0, 5, 12)  # are no classes
    held = Pairs((first, second), amounts)
    text, _, kept = report(tmp_path, held, Paired((Cropped(), Cropped())), Plainly(), Views(paired=True))
    titles = ["text 1", "text 2"]
    assert kept["view_titles"].tolist() == [*titles, *(f"{title}, seen" for title in titles)]
    assert kept["part_titles"].tolist() == titles and "labels" not in kept
    assert (kept["places"][..., 0] == 1).all() and (kept["found"][..., 0] == kept["found"][..., 1]).all()
    assert "own text 2: place 1 of 12" in section(text, "found") and "From text 2 to text 1" in text
    assert section(text, "neighbours").count("<td>") == 2 * section(text, "neighbours").count("<tr")


def test_pictures_are_found_for_words_and_words_for_pictures(tmp_path):
    held = Pairs((coloured(), lines(labels=False)))
    maker = Paired((Plain(), Cropped()))
    text, _, kept = report(tmp_path, held, maker, Plainly(), Views(paired=True))
    assert kept["view_titles"].tolist() == ["picture", "text", "picture, seen", "text, seen"]
    assert [kept[f"views.{i}"].dtype.kind for i in range(4)] == ["u", "U", "u", "U"]
    assert kept["thumbnails"].shape == (12, 8, 8, 3) and kept["others.0"].shape == (12,)
    shown = section(text, "views")
    assert shown.count("<img") == 16 and shown.count("text number") == 14
    there = section(text, "found")
    assert there.count("<img") == 8 + 8 * 5 and there.count('class="text"') == 8 * 5 + 8
    assert section(text, "map").count("<title>") == 12 + 1 and section(text, "between").count("<img") == 27


def test_found_is_the_nearest_by_cosine_and_the_same_counts_once():
    random = np.random.default_rng(0)
    asked, sought = random.normal(size=(9, 5)), random.normal(size=(9, 5))
    sought[4] = sought[2]
    queries = np.array([0, 4, 8])
    found, places = geometry.found(asked, sought, queries, 3)
    distinct = [0, 1, 2, 3, 5, 6, 7, 8]
    for query, row_, (place, right, total) in zip(queries, found, places):
        cosine = {i: asked[query] @ sought[i] / np.linalg.norm(sought[i]) for i in distinct}
        order = sorted(distinct, key=lambda i: -cosine[i])
        own = 2 if query == 4 else query
        assert row_.tolist() == [query, *order[:3]]
        assert (place, right, total) == (order.index(own) + 1, own, 8)


def test_cells_survive_the_file():
    a, b = np.zeros((2, 3, 3, 1), dtype=np.uint8), np.array(["x", "yy"])
    for made in ([a, a], [a, b], [b, np.array(["long one", ""])]):
        back = shows.unpack("views", shows.pack("views", shows.cells(made)))
        assert all(np.array_equal(one, other) for one, other in zip(made, shows.apart(back), strict=True))
    assert shows.unpack("views", {}) is None


def test_what_a_run_is_judged_by_follows_from_its_data():
    assert judged_by({"modality": "image+text"}) == judged_by({"modality": "text+text"}) == "PAIRS"
    assert judged_by({"modality": "text"}) == judged_by({}) == judged_by("digits") == "LABELLED_DATA"
