"""Texts and pairs of texts under the names their papers gave them, each a method over a certain kind of views.

For an encoder that has read before (`--encoder transformers/NAME`, or a run's folder): rates and batches are those of
the papers for BERT, and nothing was tuned here.
"""

from dataclasses import replace
from typing import Any

from twinlens.run import Run
from twinlens.train import Training

FURTHER = Training(epochs=1, batch=64, rate=3e-5, decay=0.0, warmup=0.1)


def _run(method: str, settings: dict[str, Any], **training: Any) -> Run:
    return Run("", method, "words", settings, replace(FURTHER, **training), modality="text")


def simcse() -> Run:
    """The same sentence twice, differing by dropout (Gao et al. 2021, arXiv 2104.08821, section 3 and appendix A)."""
    return _run("ranking", {"length": 32})


def supervised_simcse() -> Run:
    """Entailed sentences, and contradicted ones as hard negatives (there, section 4 and appendix A)."""
    return _run("ranking", {"length": 32}, epochs=3, batch=512, rate=5e-5)


def sbert() -> Run:
    """Classes or scores of pairs (Reimers & Gurevych 2019, arXiv 1908.10084, section 3.1)."""
    return _run("sbert", {}, batch=16, rate=2e-5)


def tsdae() -> Run:
    """A sentence with most of its words gone, spelled from its embedding (Wang et al. 2021, arXiv 2104.06979)."""
    return _run("tsdae", {}, batch=8)


def declutr() -> Run:
    """Two spans of a document (Giorgi et al. 2021, arXiv 2006.03659), without the masked words beside."""
    return _run("simclr", {"pair": "spans", "length": 512, "temperature": 0.05}, batch=16, rate=5e-5)


def bert() -> Run:
    """Masked words, from scratch (Devlin et al. 2019, arXiv 1810.04805, appendix A.2)."""
    return _run(
        "mlm", {"width": 768, "depth": 12, "heads": 12}, epochs=40, batch=256, rate=1e-4, decay=0.01, warmup=0.01
    )
