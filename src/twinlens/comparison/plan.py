"""What every method is to do: equal views, or equal minutes by the measured speed of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from twinlens import recipes
from twinlens.comparison import trial
from twinlens.data.load import Data
from twinlens.errors import InputError
from twinlens.plan import Setup, plan, prepare
from twinlens.run import Run
from twinlens.views.tasks import shown

PASSES, LEAST = 10, 200_000  # with fewer views, methods that start slowly have hardly begun


@dataclass(frozen=True)
class Request:
    """What the user asked for, the same for every method; InputError where it contradicts itself."""

    methods: tuple[str, ...]
    views: int | None = None
    minutes: float | None = None
    seeds: int = 1
    recipe: str | None = None
    encoder: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError("no method was named: twinlens list names those there are.")
        for name in self.methods:
            if self.methods.count(name) > 1:
                raise InputError(f"{name} is named twice: name it once, with --seeds 2 for two runs of it.")
        if self.views is not None and self.minutes is not None:
            raise InputError(
                f"--views {self.views} and --minutes {self.minutes:g} exclude each other: give one of them."
            )
        for name in ("views", "minutes", "seeds"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise InputError(f"--{name} is {value:g}: expected a number above 0.")
        if "epochs" in self.settings:
            raise InputError("epochs follow from the views or the minutes that all methods get: give --views instead.")


@dataclass(frozen=True)
class Candidate:
    """A method's run before it is known for how long, the data it would work on, and whether it had a recipe."""

    run: Run
    setup: Setup
    recipe: bool
    views: int  # of a sample

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.setup.learn) // self.run.training.batch


@dataclass(frozen=True)
class Plan:
    """A run with its epochs, whether it had a recipe, and the views it will make."""

    run: Run
    recipe: bool
    views: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"arguments": trial.arguments(self.run), "recipe": self.recipe, "views": self.views}

    @staticmethod
    def from_dict(kept: Mapping[str, Any]) -> "Plan":
        """The plan that `as_dict` gave."""
        return Plan(plan(**kept["arguments"]), kept["recipe"], kept["views"])


def candidates(request: Request, data: Data, name: str) -> list[Candidate]:
    """A candidate for each method, built once to see that it can be: InputError before anything is trained.

    `name` is what the runs call the data.
    """
    covered = recipes.runs(request.recipe) if request.recipe else {}
    runs = [
        plan(
            name, method, encoder=request.encoder, recipe=covered[method]() if method in covered else None,
            **request.settings,
        )
        for method in request.methods
    ]  # fmt: skip
    found = []
    for run in runs:
        setup = prepare(run, data)
        try:
            method = setup.run.new_method(setup.run.new_encoder(setup.learn.sizes), len(setup.learn))
        except InputError as error:
            raise InputError(f"{run.method} cannot take part: {error}") from error
        found.append(Candidate(run, setup, run.method in covered, shown(run.training.views(method.views))))
    return found


def default_views(samples: int) -> int:
    """What is made where nothing was asked for: `PASSES` of a method of two views a sample, or `LEAST`."""
    return max(2 * PASSES * samples, LEAST)


def planned(candidate: Candidate, request: Request) -> Plan:
    """The candidate with as many epochs as make the views asked for, or take the minutes."""
    run, each = candidate.run, candidate.run.training.batch * candidate.views
    if request.minutes is None:
        assert request.views
        steps = round(request.views / each)
    else:
        steps = round(60 * request.minutes / trial.seconds_per_step(run, candidate.steps))
    if steps < 1:
        asked = f"{request.views} views" if request.views else f"{request.minutes:g} minutes"
        raise InputError(
            f"{asked} are less than half a step of {run.method}, which makes {each} views: choose more, or a smaller "
            f"--batch."
        )
    training = replace(run.training, epochs=steps / candidate.steps)
    return Plan(replace(run, training=training), candidate.recipe, steps * each)
