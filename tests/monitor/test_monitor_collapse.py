"""Methods broken on purpose do collapse, and the monitor says so; whole ones do not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

import twinlens as tl
from twinlens.errors import NotLearning
from twinlens.methods.byol import BYOL
from twinlens.methods.simsiam import SimSiam
from twinlens.monitor.verdict import COLLAPSED

SMALL: dict[str, Any] = {"batch": 128, "hidden": 256, "epochs": 8}
SIMSIAM = {"dim": 256, "bottleneck": 64}
BYOL_ = {"dim": 64, "momentum": 0.9}
DINO = {
    "bottleneck": 64, "outputs": 256, "small_views": 0, "momentum": 0.99, "min_scale": 0.5, "rate": 3e-3,
    "teacher_temperature": (0.02, 0.02),
}  # fmt: skip


def word(folder: Path, method: str, **settings: Any) -> str:
    run = tl.pretrain("digits", method, out=folder / "run", **SMALL | settings)
    assert run.verdict is not None and run.metrics[-1]["verdict"] == run.verdict.word
    return run.verdict.word


def without_stopped_gradient(self: SimSiam, p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    return -(cosine_similarity(p1, z2).mean() + cosine_similarity(p2, z1).mean()) / 2


def without_predictor(first: Callable[..., None]) -> Callable[..., None]:
    def init(self: BYOL, encoder: nn.Module, **settings: Any) -> None:
        first(self, encoder, **settings)
        self.predict = nn.Identity()

    init.__wrapped__ = first  # type: ignore[attr-defined]  # whose signature says which settings there are
    return init


def test_simsiam_without_a_stopped_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimSiam, "compare", without_stopped_gradient)
    assert word(tmp_path, "simsiam", **SIMSIAM) in COLLAPSED


def test_byol_without_a_predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BYOL, "__init__", without_predictor(BYOL.__init__))
    assert word(tmp_path, "byol", **BYOL_) == "complete collapse"


def test_vicreg_without_variance(tmp_path: Path) -> None:
    assert word(tmp_path, "vicreg", variance=0.0) == "complete collapse"


def test_dino_without_centring(tmp_path: Path) -> None:
    assert word(tmp_path, "dino", center_momentum=1.0, **DINO) in COLLAPSED


@pytest.mark.parametrize(
    ("method", "settings"), [("simsiam", SIMSIAM), ("byol", BYOL_), ("vicreg", {}), ("dino", DINO)]
)
def test_the_same_methods_whole(tmp_path: Path, method: str, settings: dict[str, Any]) -> None:
    assert word(tmp_path, method, **settings) == "learning"


def test_a_collapsed_run_stops_where_it_was_told_to(tmp_path: Path) -> None:
    with pytest.raises(NotLearning, match=r"stopped at step \d+: complete collapse: .*variance"):
        tl.pretrain("digits", "vicreg", out=tmp_path / "run", variance=0.0, stop_on_collapse=True, **SMALL)
    rows = tl.load(tmp_path / "run").metrics
    assert (
        rows[-1]["progress"] < 0.5
        and [row["verdict"] for row in rows if "verdict" in row][-2:] == ["complete collapse"] * 2
    )
    done = tl.pretrain("digits", "vicreg", out=tmp_path / "run", variance=0.0, resume=True, **SMALL)
    assert done.metrics[-1]["progress"] == 1  # told nothing, it goes on
