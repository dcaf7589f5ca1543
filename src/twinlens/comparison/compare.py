"""Several methods on the same data at equal compute: planned, run one after another, measured, ranked."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinlens.comparison import trial
from twinlens.comparison.plan import Candidate, Plan, Request, candidates, default_views, planned
from twinlens.comparison.record import Record, measured
from twinlens.comparison.result import FILE, Comparison
from twinlens.data.load import Data
from twinlens.data.load import load as load_data
from twinlens.errors import InputError
from twinlens.evaluate.splits import parts
from twinlens.report.comparison import draw
from twinlens.run import Run

ARRAY, PLOT = "array.npy", "comparison.png"
_GROWS = ("methods", "seeds")  # what may be another when a comparison is resumed


def compare(
    methods: Sequence[str],
    data: Data,
    *,
    views: int | None = None,
    minutes: float | None = None,
    seeds: int = 1,
    recipe: str | None = None,
    encoder: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> Comparison:
    """Trains every method on `data` at equal compute and ranks them, by labels where there are any, and without.

    Every run makes the same number of `views`, by default those of ten epochs of a method of two views a sample and at
    least 200,000, or trains for the same `minutes`, by a speed that is measured first. It is a run folder of its own in
    `out`, trained in a process of its own; one that fails does not stop the others. Settings are those of `recipe`
    where it has the method, else the defaults; `encoder` and further `settings`, which every method has to know, are
    for all. With `resume`, finished runs of the comparison in `out` are kept, unfinished ones go on, and methods and
    seeds may be added. Raises InputError, a ValueError, before anything is trained.
    """
    named = (methods,) if isinstance(methods, str) else tuple(methods)
    request = Request(named, views, minutes, seeds, recipe, encoder, settings)
    given = None if isinstance(data, np.ndarray) else str(data)
    path = Path(out or f"runs/compare-{Path(given or ARRAY).stem}")
    kept = _kept(path, resume)
    found = candidates(request, data, given or str(path / ARRAY))
    request, facts = _with_compute(request, found[0], kept), found[0].setup.facts
    _check_same(kept, _asked(request, facts), path)
    plans = {method: Plan.from_dict(plan) for method, plan in kept.get("plans", {}).items()}
    with _folder(path):
        if isinstance(data, np.ndarray):
            _store(data, path / ARRAY)
        plans |= {one.run.method: _plan(one, request) for one in found if one.run.method not in plans}
    records = tuple(map(Record.from_dict, kept.get("records", ())))
    comparison = _run_all(Comparison(path, facts, request, plans, _unlabelled(data), records))
    draw(path / PLOT, comparison.sheet())
    return comparison


def _kept(path: Path, resume: bool) -> dict[str, Any]:
    """What the comparison in `path` has come to so far: nothing where it is to begin."""
    if not path.exists():
        return {}
    if not resume:
        raise InputError(f"{path} exists: continue it with --resume, or choose another folder with --out.")
    if (path / FILE).is_file():
        return dict(json.loads((path / FILE).read_text()))
    if any(item.name != ARRAY and item.name[0] != "." for item in path.iterdir()):
        raise InputError(
            f"{path} holds something else than a comparison (no {FILE}): choose another folder with --out."
        )
    return {}


def _with_compute(request: Request, first: Candidate, kept: Mapping[str, Any]) -> Request:
    """The request with the compute it left open: that of the comparison so far, or the default."""
    if request.views is not None or request.minutes is not None:
        return request
    if kept:
        return replace(request, views=kept["request"]["views"], minutes=kept["request"]["minutes"])
    return replace(request, views=default_views(len(first.setup.learn)))


def _asked(request: Request, facts: Mapping[str, Any]) -> dict[str, Any]:
    fixed = {name: value for name, value in asdict(request).items() if name not in _GROWS}
    return dict(json.loads(json.dumps(fixed | {"data": facts["fingerprint"]})))


def _check_same(kept: Mapping[str, Any], asked: Mapping[str, Any], path: Path) -> None:
    if not kept:
        return
    before = {**kept["request"], "data": kept["data"]["fingerprint"]}
    for name, value in asked.items():
        if before[name] != value:
            raise InputError(
                f"{path} was started with {name} = {before[name]!r}, not {value!r}: resume it with the same, or choose "
                f"another --out."
            )


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """The comparison's folder while it is planned; if that fails, it is not left behind."""
    new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if new:
            shutil.rmtree(path)
        raise


def _store(data: NDArray[Any], path: Path) -> None:
    """Pictures that were given as an array, where the runs' own processes find them."""
    temporary = path.with_name(f".{path.name}")
    np.save(temporary, data)
    temporary.replace(path)


def _unlabelled(data: Data) -> str:
    """Why there are no labels to judge by, if so."""
    try:
        parts(load_data(data), seed=0)
    except InputError as error:
        return str(error)
    return ""


def _plan(candidate: Candidate, request: Request) -> Plan:
    if request.minutes is not None:
        _say(f"measuring the speed of {candidate.run.method}")
    return planned(candidate, request)


def _run_all(comparison: Comparison) -> Comparison:
    """The comparison with a record for every run; comparison.json holds those so far at any moment."""
    request, plans = comparison.request, comparison.plans
    first = {method: plans[method].run.training.seed for method in request.methods}
    wanted = [(method, first[method] + i) for i, method in product(range(request.seeds), request.methods)]
    kept = {(one.method, one.seed): one for one in comparison.records if not one.error}
    comparison = replace(comparison, records=tuple(kept[run] for run in wanted if run in kept))
    comparison.save()
    for number, (method, seed) in enumerate(wanted, 1):
        name = method if seed == first[method] else f"{method}-{seed}"
        run = replace(plans[method].run, training=replace(plans[method].run.training, seed=seed))
        if (method, seed) in kept:
            _say(f"{number} of {len(wanted)}: {name} was finished before")
            continue
        _say(f"{number} of {len(wanted)}: {name}, {run.training.epochs:.3g} epochs, {plans[method].views:,} views")
        comparison = replace(comparison, records=(*comparison.records, _run(run, comparison, comparison.path / name)))
        comparison.save()
    return comparison


def _run(run: Run, comparison: Comparison, path: Path) -> Record:
    if error := trial.train(run, path):
        _say(f"{path.name} failed: {error}")
        return Record(run.method, run.training.seed, str(path), error=error)
    if not comparison.unlabelled:
        _say(f"evaluating {path.name}")
    return measured(path, run.data, comparison.records, labelled=not comparison.unlabelled)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
