"""A verdict from rows of metrics: each word from what it stands for, and the gravest first."""

import math
from typing import Any

import pytest

from twinlens.monitor.verdict import COLLAPSED, verdict

Row = dict[str, Any]
HEALTHY: Row = {
    "spread": 0.5, "compared": 0.9, "compared_rank": 0.4, "chance": 6.0, "gap": 0.5, "moved": 0.1, "lidar": 80.0,
    "lidar_share": 0.3,
}  # fmt: skip


GENERATES: Row = {"discriminator": 0.85, "modes": 90.0, "of_modes": 100.0}


def rows(progress: float = 1.0, loss: float = 3.0, first: Row | None = None, **now: float) -> list[Row]:
    """A run's first look, its first row of training, and its last look, healthy but for what is said."""
    return [
        {"step": 0, "progress": 0.0, "spread": 0.4, **(first or {})},
        {"step": 1, "progress": 0.01, "loss": 5.0},
        {"step": 100, "progress": progress, "loss": loss, **HEALTHY, **now},
    ]


def word(*arguments: Any, **now: Any) -> str:
    found = verdict(rows(*arguments, **now))
    assert found is not None and found.cause.endswith(".")
    assert bool(found.remedy) == (found.word != "learning")
    return found.word


def test_a_healthy_run_learns() -> None:
    assert word() == "learning"
    found = verdict(rows())
    assert found is not None and "50% below" in found.cause


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({"loss": math.nan}, "diverged"),
        ({"loss": math.inf}, "diverged"),
        ({"loss": 16.0}, "diverged"),  # more than three times the first
        ({"moved": 11.0}, "diverged"),
        ({"finite": 0.0}, "diverged"),
        ({"compared": 0.04}, "complete collapse"),
        ({"chance": 1.4, "compared": 0.7}, "complete collapse"),  # less than three tenths of the first loss
        ({"clusters": 1.9, "of_clusters": 256.0}, "cluster collapse"),
        ({"compared_rank": 0.04}, "dimensional collapse"),
        ({"moved": 1e-5}, "stalled"),
        ({"gap": 0.01}, "stalled"),
        ({"lidar_share": 0.09}, "shortcut"),
    ],
)
def test_each_word(now: Row, expected: str) -> None:
    assert word(**now) == expected


@pytest.mark.parametrize(
    "now",
    [
        {"loss": 14.0}, {"moved": 9.0}, {"compared": 0.06}, {"chance": 1.6, "compared": 0.7},
        {"chance": 1.4}, {"clusters": 2.1, "of_clusters": 256.0},
        {"compared_rank": 0.05}, {"moved": 1e-3}, {"gap": 0.03}, {"lidar_share": 0.11},
        {"clusters": 1.9, "of_clusters": 4.0},  # of four that there are, two are not few
    ],
)  # fmt: skip
def test_just_this_side_of_each_threshold_it_learns(now: Row) -> None:
    assert word(**now) == "learning"


@pytest.mark.parametrize("now", [{"clusters": 1.1, "of_clusters": 256.0}, {"compared_rank": 0.01}, {"gap": 0.0}])
def test_what_healthy_runs_look_like_at_first_is_not_held_against_them(now: Row) -> None:
    assert word(0.3, **now) == "learning"
    assert word(0.4, **now) != "learning"


def test_a_point_is_a_point_from_the_start() -> None:
    assert word(0.05, compared=0.01) == "complete collapse"


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"compared": 0.5, "gap": 0.1}, {"compared": 0.2, "gap": 0.01}, "complete collapse"),
        ({"compared": 0.5, "gap": 0.1}, {"compared": 0.3, "gap": 0.01}, "learning"),  # the spread has not halved
        ({"compared": 0.5, "gap": 0.01}, {"compared": 0.2, "gap": 0.01}, "learning"),  # nor has the gap
        ({"compared": 0.5, "gap": 0.1}, {"compared": 0.2, "gap": 0.03}, "learning"),  # pairs are still told apart
    ],
)
def test_a_fall_is_seen_before_the_point_is_reached(before: Row, now: Row, expected: str) -> None:
    course = rows(0.2, **now)
    course.insert(2, {**course[2], "step": 50, "progress": 0.1, **before})
    found = verdict(course)
    assert found is not None and found.word == expected


def test_labels_say_whether_a_few_directions_are_a_shortcut() -> None:
    few = {"lidar_share": 0.05}
    assert word(first={"knn": 0.5}, knn=0.6, **few) == "learning"
    assert word(first={"knn": 0.5}, knn=0.51, **few) == "shortcut"


def test_the_gravest_comes_first() -> None:
    assert word(compared=0.01, compared_rank=0.01, gap=0.0) == "complete collapse"
    assert word(moved=20.0, compared=0.01) == "diverged"


def test_a_loss_that_may_be_negative_is_not_measured_against_the_first() -> None:
    course = rows(chance=-0.5)
    course[1]["loss"] = -0.1
    found = verdict(course)
    assert found is not None and found.word == "learning"


def test_no_word_before_there_is_a_look_after_the_first_step() -> None:
    assert verdict([]) is None
    assert verdict(rows()[:2]) is None
    assert verdict([{"step": 1, "progress": 0.1, "loss": 2.0}]) is None


def test_a_method_without_pairs_is_judged_by_the_rest() -> None:
    course = rows()
    for name in ("compared", "compared_rank", "chance", "gap"):
        del course[2][name]
    found = verdict(course)
    assert found is not None and found.word == "learning" and "from 5 to 3" in found.cause


def test_collapses_are_named_so() -> None:
    assert all("collapse" in name for name in COLLAPSED)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({}, "learning"),
        ({"modes": 9.9}, "cluster collapse"),
        ({"modes": 10.1}, "learning"),
        ({"modes": 1.9}, "complete collapse"),
        ({"modes": 2.1}, "cluster collapse"),
        ({"modes": 1.9, "of_modes": 15.0}, "learning"),  # of fifteen kinds
        ({"discriminator": 0.995}, "stalled"),
        ({"discriminator": 0.985}, "learning"),
        ({"discriminator": 1.0, "modes": 1.0}, "complete collapse"),  # what it wins against is the gravest
        ({"discriminator": 0.9, "loss": 50.0}, "learning"),  # one's loss is the other's gain
        ({"discriminator": 0.9, "moved": 20.0}, "diverged"),
    ],
)
def test_a_generator_is_judged_by_what_it_draws_and_whom_it_deceives(now: Row, expected: str) -> None:
    assert word(**GENERATES | now) == expected


def test_a_generator_has_time_to_start() -> None:
    for now in ({"modes": 1.0}, {"discriminator": 1.0}):
        assert word(0.3, **GENERATES | now) == "learning"
        assert word(0.4, **GENERATES | now) != "learning"


@pytest.mark.parametrize(("before", "expected"), [(0.9, "learning"), (0.995, "stalled")])
def test_a_discriminator_has_won_when_it_wins_twice(before: float, expected: str) -> None:
    course = rows(**GENERATES | {"discriminator": 1.0})
    course.insert(2, {**course[2], "step": 50, "progress": 0.5, "discriminator": before})
    found = verdict(course)
    assert found is not None and found.word == expected


def test_what_draws_too_little_is_said_with_its_remedy() -> None:
    found = verdict(rows(**GENERATES | {"modes": 4.6, "of_modes": 104.0}))
    assert found is not None and found.cause == "it draws 4.6 of 104 kinds of samples."
    assert "--discriminator_rate" in found.remedy
    course = rows(modes=4.6, of_modes=104.0)  # without a discriminator
    found = verdict(course)
    assert found is not None and found.word == "cluster collapse" and "--beta" in found.remedy
    found = verdict(rows(**GENERATES | {"discriminator": 1.0}))
    assert found is not None and "100.0% of the pairs" in found.cause and "--discriminator_rate 0.3" in found.remedy
