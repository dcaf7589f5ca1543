"""A frozen encoder -> numbers, each with its interval and, beside it, its baselines."""

from twinlens.evaluate.few_label import few_label
from twinlens.evaluate.knn import knn
from twinlens.evaluate.probe import linear_probe
from twinlens.evaluate.protocol import standard
from twinlens.evaluate.result import Labelled, Result, bootstrap

__all__ = ["Labelled", "Result", "bootstrap", "few_label", "knn", "linear_probe", "standard"]
