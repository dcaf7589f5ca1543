"""A frozen encoder -> numbers, each with its interval and, beside it, its baselines."""

from twinlens.evaluate.audit import Audit, audit
from twinlens.evaluate.cluster import cluster
from twinlens.evaluate.crossing import crossing
from twinlens.evaluate.dense import RawPatches
from twinlens.evaluate.detection import detection
from twinlens.evaluate.few_label import few_label
from twinlens.evaluate.finetune import FineTuning, finetune, supervised
from twinlens.evaluate.knn import knn
from twinlens.evaluate.ood import ood
from twinlens.evaluate.probe import linear_probe
from twinlens.evaluate.protocol import standard
from twinlens.evaluate.ranking import ranked
from twinlens.evaluate.result import Labelled, Result, bootstrap
from twinlens.evaluate.retrieval import retrieval
from twinlens.evaluate.segmentation import segmentation
from twinlens.evaluate.sts import sts
from twinlens.evaluate.two_sample import kid
from twinlens.evaluate.zero_shot import zero_shot

__all__ = [
    "Audit",
    "FineTuning",
    "Labelled",
    "RawPatches",
    "Result",
    "audit",
    "bootstrap",
    "cluster",
    "crossing",
    "detection",
    "few_label",
    "finetune",
    "kid",
    "knn",
    "linear_probe",
    "ood",
    "ranked",
    "retrieval",
    "segmentation",
    "standard",
    "sts",
    "supervised",
    "zero_shot",
]
