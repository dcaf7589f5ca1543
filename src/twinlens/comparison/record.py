"""A finished run -> what is known of it: figures with labels and without, time, memory."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from twinlens.comparison import trial
from twinlens.errors import InputError
from twinlens.evaluate.baselines import POOLED, RAW, UNTRAINED
from twinlens.evaluate.result import Result
from twinlens.run import load


@dataclass(frozen=True)
class Record:
    """A run of a comparison. `error` says why it could not be trained or, where it was `trained`, not evaluated.

    `start` is all but the seed that decides its encoder's first weights, `size` the side of its raw input. `watched` is
    what was last measured on its held-out samples, without labels, `verdict` the word for its course. Memory is the
    peak in MiB.
    """

    method: str
    seed: int
    path: str
    error: str = ""
    encoder: str = ""
    start: str = ""
    size: int = 0
    epochs: float = 0.0
    views: int = 0
    seconds: float = 0.0
    memory: float = 0.0
    gpu_memory: float | None = None
    watched: Mapping[str, float] = field(default_factory=dict)
    verdict: str = ""
    notes: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether it was trained to its end."""
        return self.views > 0

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @staticmethod
    def from_dict(kept: Mapping[str, Any]) -> "Record":
        """The record that `as_dict` gave."""
        return Record(**{**kept, "notes": tuple(kept["notes"]), "results": tuple(map(_result, kept["results"]))})


def _result(kept: Mapping[str, Any]) -> Result:
    baselines = {name: _result(one) for name, one in kept["baselines"].items()}
    return Result(kept["name"], kept["value"], tuple(kept["interval"]), kept["settings"], baselines)


def measured(path: Path, data: str, earlier: Iterable[Record], *, labelled: bool) -> Record:
    """The record of the finished run in `path`; baselines that it shares with `earlier` ones are taken from those."""
    run, peak = load(path), json.loads((path / trial.DONE).read_text())
    last = run.metrics[-1]
    record = Record(
        run.method,
        run.training.seed,
        str(path),
        encoder=run.architecture,
        start=json.dumps([run.facts["encoder"], run.size]),
        size=run.size,
        epochs=run.training.epochs,
        views=last["views"],
        seconds=last["seconds"],
        memory=peak["memory"],
        gpu_memory=peak["gpu_memory"],
        watched={name: last[name] for name in ("uniformity", "spread", "rank") if name in last},
        verdict=run.verdict.word if run.verdict else "",
        notes=tuple(run.facts["notes"]),
    )
    if not labelled:
        return record
    try:
        return replace(record, results=run.evaluate(data, known=_shared(record, earlier)).results)
    except InputError as error:  # an encoder that has collapsed, say
        return replace(record, error=str(error))


def _shared(record: Record, earlier: Iterable[Record]) -> dict[str, list[Result]]:
    """The baselines of `record` that were measured with an earlier one."""
    shared = {}
    for other in earlier:
        alike = (other.start, other.seed) == (record.start, record.seed)
        size = other.size == record.size
        for name, same in ((RAW, size), (POOLED, size), (UNTRAINED, alike)):
            if same and other.results and all(name in result.baselines for result in other.results):
                shared[name] = [result.baselines[name] for result in other.results]
    return shared
