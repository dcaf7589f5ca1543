"""A protocol: what is measured of a frozen encoder and how, one object that is saved with what came out."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from twinlens.errors import unknown
from twinlens.evaluate.cluster import cluster
from twinlens.evaluate.few_label import few
from twinlens.evaluate.knn import knn
from twinlens.evaluate.probe import Task, prepare, probe
from twinlens.evaluate.result import Labelled, Result
from twinlens.evaluate.retrieval import retrieval

KS = (1, 5, 10)


@dataclass(frozen=True)
class Protocol:
    """`measures` are names of `MEASURES`, in that order; `shots` the labels a class that few-label probes get.

    Penalties of probes are chosen within the training labels, everything else is fixed: nothing is chosen on the test
    part. `seed` draws labels, folds, and the split of data without a test part of its own.
    """

    name: str
    measures: tuple[str, ...]
    shots: tuple[int, ...] = (1, 10, 100)
    seed: int = 0

    def measure(self, train: Labelled, test: Labelled) -> list[Result]:
        """Every measure of the features of one encoder, which are prepared once."""
        shared = _Features(train, test, self)
        return [result for name in self.measures for result in MEASURES[name](shared)]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class _Features:
    def __init__(self, train: Labelled, test: Labelled, protocol: Protocol) -> None:
        self.train, self.test, self.protocol, self.seed = train, test, protocol, protocol.seed

    @cached_property
    def task(self) -> Task:
        return prepare(self.train, self.test)


def _few(shared: _Features) -> Iterable[Result]:
    least = int(shared.task.y.bincount().min())
    return [few(shared.task, shots=n, seed=shared.seed) for n in shared.protocol.shots if n <= least]


MEASURES: dict[str, Callable[[_Features], Iterable[Result]]] = {
    "knn": lambda shared: [knn(shared.train, shared.test)],
    "linear": lambda shared: [probe(shared.task, seed=shared.seed)],
    "few": _few,
    "retrieval": lambda shared: retrieval(shared.test, ks=[k for k in KS if k < len(shared.test.labels)]),
    "clusters": lambda shared: cluster(shared.test, seed=shared.seed),
}
"""Each gives results by the names that they bear: retrieval and clusters are of test samples among themselves."""

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("standard", ("knn", "linear", "few")),
        Protocol("neighbours", ("knn", "retrieval", "clusters")),
        Protocol("full", tuple(MEASURES)),
    )
}


def find(name: str, *, seed: int = 0) -> Protocol:
    """The protocol of that name; InputError where there is none."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return replace(PROTOCOLS[name], seed=seed)


def standard(train: Labelled, test: Labelled, *, seed: int = 0) -> list[Result]:
    """knn, the linear probe, and few labels for each number of them that the smallest class has."""
    return find("standard", seed=seed).measure(train, test)
