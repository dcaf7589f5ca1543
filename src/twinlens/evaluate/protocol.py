"""The standard set of measurements of a frozen encoder."""

from twinlens.evaluate.few_label import few
from twinlens.evaluate.knn import knn
from twinlens.evaluate.probe import prepare, probe
from twinlens.evaluate.result import Labelled, Result

SHOTS = (1, 10, 100)


def standard(train: Labelled, test: Labelled, *, seed: int = 0) -> list[Result]:
    """knn, the linear probe, and few labels for each of `SHOTS` that the smallest class has."""
    task = prepare(train, test)
    least = int(task.y.bincount().min())
    few_labels = [few(task, shots=shots, seed=seed) for shots in SHOTS if shots <= least]
    return [knn(train, test), probe(task, seed=seed), *few_labels]
