"""How long every method is to run, and requests that contradict themselves."""

from pathlib import Path
from typing import Any

import pytest

import twinlens as tl
from twinlens.comparison import plan, trial
from twinlens.comparison.plan import LEAST, Candidate, Plan, Request, candidates, default_views, planned
from twinlens.errors import InputError
from twinlens.recipes import find

TINY = {"hidden": 16, "dim": 8, "width": 16}


def found(*methods: str, **asked: Any) -> list[Candidate]:
    settings = asked.pop("settings", TINY)
    return candidates(Request(methods, settings=settings, **asked), "digits", "digits")


def test_equal_views_are_fewer_epochs_where_a_sample_has_more_views() -> None:
    request = Request(("simclr", "swav"), views=20_000)
    simclr, swav = (planned(one, request) for one in found("simclr", "swav"))
    assert (simclr.views, swav.views) == (19_968, 20_480)  # 39 steps of 256 x 2, 10 of 256 x 8: within half a step
    assert simclr.run.training.steps(1294) == 39 and swav.run.training.steps(1294) == 10
    assert simclr.run.training.epochs == pytest.approx(39 / 5)


def test_the_views_of_a_sample_are_those_the_run_will_make() -> None:
    assert [one.views for one in found("swav", settings=TINY | {"small_views": 1})] == [3]


def test_equal_minutes_follow_the_measured_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"simclr": 0.5, "swav": 2.0}
    monkeypatch.setattr(trial, "seconds_per_step", lambda run, steps: speeds[run.method])
    request = Request(("simclr", "swav"), minutes=1.5)
    made = [planned(one, request) for one in found("simclr", "swav")]
    assert [one.run.training.steps(1294) for one in made] == [180, 45]
    assert [one.views for one in made] == [180 * 256 * 2, 45 * 256 * 8]


def test_the_speed_is_that_of_the_later_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Timed:
        def __init__(self, steps: int) -> None:
            self.metrics = [
                {"step": s, "seconds": 0.1 * s + (5 if steps > 8 else 0.5) * (s > 0)} for s in range(steps + 1)
            ]

    def pretrain(**settings: Any) -> Timed:
        asked.append(round(settings["epochs"] * 10))
        return Timed(asked[-1])

    monkeypatch.setattr(trial, "pretrain", pretrain)
    assert float(trial._measure(steps=10, data="digits")) == pytest.approx(0.1)
    assert asked == [8, 30]  # until it takes three seconds


def test_a_plan_is_kept_as_it_was() -> None:
    (one,) = found("byol", recipe="fashion_mnist", settings={"batch": 64})
    made = planned(one, Request(("byol",), views=5000))
    assert Plan.from_dict(made.as_dict()) == made


def test_a_recipe_is_used_where_it_has_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = find("fashion_mnist", "byol")
    monkeypatch.setattr(plan.recipes, "runs", lambda name: {"byol": lambda: recipe})
    byol, simclr = found("byol", "simclr", recipe="some", settings={"batch": 64})
    assert byol.recipe and byol.run.training.rate == 2e-3 and byol.run.training.batch == 64
    assert not simclr.recipe and simclr.run.training.rate == 1e-3 and simclr.run.settings == {}


def test_by_default_ten_epochs_of_two_views_and_never_too_few() -> None:
    assert default_views(60_000) == 1_200_000 and default_views(100) == LEAST


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": ()}, "no method was named"),
        ({"methods": ("byol", "byol")}, "byol is named twice.*--seeds 2"),
        ({"views": 5, "minutes": 1.5}, "--views 5 and --minutes 1.5 exclude each other"),
        ({"views": 0}, "--views is 0: expected a number above 0"),
        ({"minutes": -1.0}, "--minutes is -1"),
        ({"minutes": float("nan")}, "--minutes is nan"),
        ({"seeds": 0}, "--seeds is 0"),
        ({"settings": {"epochs": 3}}, "epochs follow"),
    ],
)
def test_requests_that_cannot_be(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Request(**{"methods": ("simclr",), **asked})


@pytest.mark.parametrize(
    ("methods", "data", "settings", "message"),
    [
        (["simclr", "simclrr"], "digits", {}, "unknown method 'simclrr': did you mean simclr"),
        (["simclr"], "digits", {"recipe": "fashion-mnist"}, "unknown recipe 'fashion-mnist': did you mean"),
        (["simclr"], "digits", {"encoder": "smal"}, "unknown encoder 'smal': did you mean small"),
        (["simclr", "mae"], "digits", {"encoder": "small"}, "mae cannot take part: mae needs an encoder that gives"),
        (["simclr", "vicreg"], "digits", {"temperature": 0.1}, "unknown setting 'temperature'"),
        (["simclr"], "digitz", {}, "unknown path or name of data 'digitz': did you mean digits"),
        (["simclr"], "digits", {"batch": 5000}, "a batch of 5000 is larger"),
        (["simclr"], "digits", {"views": 255}, "255 views are less than half a step of simclr, which makes 512"),
        ("simclrr", "digits", {}, "unknown method 'simclrr'"),
    ],
)
def test_nothing_runs_and_nothing_is_left_where_something_is_unknown(
    methods: list[str], data: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        tl.compare(methods, data, out=tmp_path / "c", **settings)
    assert not (tmp_path / "c").exists()
