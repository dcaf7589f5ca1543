"""Records -> rows: order, places, marks, means over seeds, and Spearman's correlation against values by hand."""

from dataclasses import replace
from math import sqrt

import pytest

from twinlens.comparison import ranking
from twinlens.comparison.record import Record
from twinlens.evaluate.baselines import RAW, UNTRAINED
from twinlens.evaluate.result import Result


def result(value: float, half: float = 0.01) -> Result:
    return Result("knn", value, (value - half, value + half))


def record(
    method: str, knn: float | None = None, rank: float = 1.0, *, seed: int = 0, start: str = "a", untrained: float = 0.5
) -> Record:
    baselines = {RAW: result(0.6), UNTRAINED: result(untrained)}
    results = () if knn is None else (result(knn).beside(baselines),)
    return Record(
        method, seed, method, encoder="small", start=start, views=100, seconds=10.0 + seed, memory=50.0 + seed,
        watched={ranking.SCORE: -rank}, results=results,
    )  # fmt: skip


def rows(*records: Record) -> list[ranking.Row]:
    return ranking.rows(records, dict.fromkeys(one.method for one in records))


def test_the_best_by_labels_comes_first_and_both_places_are_counted() -> None:
    made = rows(record("a", 0.7, 9), record("b", 0.9, 5), record("c", 0.8, 7))
    assert [(row.name, row.by_labels, row.without_labels) for row in made] == [("b", 1, 3), ("c", 2, 2), ("a", 3, 1)]


def test_without_labels_the_best_by_the_score_comes_first_and_failures_last() -> None:
    made = rows(Record("a", 0, "a", error="out of memory"), record("b", rank=5), record("c", rank=7))
    assert [(row.name, row.by_labels, row.without_labels) for row in made] == [
        ("c", None, 1), ("b", None, 2), ("a", None, None)
    ]  # fmt: skip
    assert not made[2].runs


def test_what_does_not_learn_comes_after_all_that_does_whatever_its_score() -> None:
    words = {"a": "learning", "b": "complete collapse", "c": "learning", "d": ""}
    made = rows(*(replace(record(name, rank=rank), verdict=words[name]) for name, rank in zip("abcd", (5, 9, 7, 6))))
    assert [(row.name, row.without_labels) for row in made] == [("c", 1), ("d", 2), ("a", 3), ("b", 4)]
    assert [row.verdict for row in made] == ["learning", "", "learning", "complete collapse"]
    (row,) = rows(*(replace(record("a", seed=seed), verdict=word) for seed, word in enumerate(("learning", "stalled"))))
    assert row.verdict == "stalled"  # one seed of a method is enough


def test_equal_values_share_a_place() -> None:
    assert ranking.places({"a": 1.0, "b": 2.0, "c": 2.0, "d": 3.0}) == {"d": 1, "b": 2, "c": 2, "a": 4}


@pytest.mark.parametrize(
    ("knn", "untrained", "apart"),
    [(0.63, 0.5, True), (0.62, 0.5, False), (0.61, 0.5, False), (0.4, 0.5, False), (0.63, 0.62, False)],
)
def test_apart_is_above_every_baseline_with_intervals_that_do_not_meet(
    knn: float, untrained: float, apart: bool
) -> None:
    """The raw input stands at 0.6; every interval reaches 0.01 to either side."""
    assert rows(record("a", knn, untrained=untrained))[0].apart is apart


def test_seeds_give_means_the_extremes_of_their_intervals_and_are_apart_together() -> None:
    (row,) = rows(record("a", 0.7, 4), record("a", 0.8, 6, seed=1), record("a", 0.9, 8, seed=2))
    share = row.accuracy["knn"]
    assert (share.value, share.low, share.high) == pytest.approx((0.8, 0.69, 0.91))
    assert row.watched[ranking.SCORE] == pytest.approx(-6) and (row.seconds, row.memory) == (11.0, 52.0)
    assert row.apart and row.runs == 3
    (row,) = rows(record("a", 0.61), record("a", 0.8, seed=1))
    assert not row.apart


def test_a_seed_that_failed_is_left_out_of_the_mean_and_takes_the_mark_away() -> None:
    (row,) = rows(record("a", 0.8), Record("a", 1, "a-1", error="killed"))
    assert row.runs == 1 and row.accuracy["knn"].value == 0.8 and not row.apart


def test_baselines_stand_once_the_untrained_for_each_start() -> None:
    records = [
        record("a", 0.8, untrained=0.5), record("a", 0.8, seed=1, untrained=0.54), record("b", 0.7, untrained=0.5),
        record("c", 0.7, start="b", untrained=0.3),
    ]  # fmt: skip
    found = ranking.untrained(records)
    assert list(found) == ["small (a, b)", "small (c)"]
    assert found["small (a, b)"]["knn"].low == pytest.approx(0.49)
    assert found["small (a, b)"]["knn"].high == pytest.approx(0.55)
    assert [row.encoder for row in ranking.rows(records, "abc")] == ["small (a, b)", "small (a, b)", "small (c)"]
    assert ranking.raw(records)["knn"].value == 0.6
    assert list(ranking.untrained(records[:3])) == ["small"]


def test_an_encoder_that_was_not_evaluated_has_a_name_but_no_figures() -> None:
    records = [record("a", 0.8), record("b", start="b")]
    assert list(ranking.untrained(records)) == ["small (a)"]
    assert [row.encoder for row in ranking.rows(records, "ab")] == ["small (a)", "small (b)"]


def agreement(*pairs: tuple[float, float]) -> float | None:
    return ranking.agreement(rows(*(record(str(i), knn, rank) for i, (knn, rank) in enumerate(pairs))))


def test_agreement_is_spearmans_correlation() -> None:
    assert agreement((0.1, 30), (0.2, 10), (0.3, 40), (0.4, 50)) == pytest.approx(0.8)  # 1 - 6 (1 + 1) / (4 (16 - 1))
    assert agreement((0.1, 1), (0.2, 2), (0.2, 3), (0.4, 4)) == pytest.approx(sqrt(0.9))  # ranks 1, 2.5, 2.5, 4
    assert agreement((0.1, 1), (0.2, 100), (0.3, 101)) == pytest.approx(1)
    assert agreement((0.1, 3), (0.2, 2), (0.3, 1)) == pytest.approx(-1)


def test_agreement_needs_three_methods_that_differ() -> None:
    assert agreement((0.1, 1), (0.2, 2)) is None
    assert agreement((0.1, 1), (0.2, 1), (0.3, 1)) is None
    assert ranking.agreement(rows(record("a"), record("b"), record("c"))) is None
