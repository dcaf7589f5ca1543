"""How far each dimension of a code stands for one factor, by every score in use: they do not measure the same thing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from twinlens.latent.dci import forests
from twinlens.latent.factor_vae import vote
from twinlens.latent.inputs import prepare
from twinlens.latent.mig import gap
from twinlens.latent.sap import lead
from twinlens.latent.score import Score


@dataclass(frozen=True, eq=False)
class Disentanglement:
    """The scores by name, and where they come from.

    Two matrices (D, F): `information`, the share of each factor's entropy that each dimension tells, and `importance`,
    how much the dimension matters to predict it. `dead` are the dimensions that are constant.
    """

    scores: dict[str, Score]
    information: NDArray[np.float64]
    importance: NDArray[np.float64]
    dead: tuple[int, ...]
    settings: dict[str, Any]

    def __getitem__(self, name: str) -> Score:
        return self.scores[name]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "scores": {name: score.as_dict() for name, score in self.scores.items()},
            "information": self.information.tolist(),
            "importance": self.importance.tolist(),
            "dead": list(self.dead),
            "settings": self.settings,
        }

    def __str__(self) -> str:
        return "\n".join(f"{name:<20} {score}" for name, score in self.scores.items())


def disentanglement(
    codes: Tensor | NDArray[Any], factors: Tensor | NDArray[Any], *, ordered: Sequence[int] = (), seed: int = 0
) -> Disentanglement:
    """Every score of codes (N, D) and factors (N, F) int64, whose columns number the values of one factor each.

    `ordered` names the columns that are amounts, for SAP. All else about a score stands with the function of its name:
    `mig`, `dci`, `sap`, `factor_vae`. Some 10 s for 5,000 samples, 10 dimensions and 6 factors.

    Raises:
        InputError: as `prepare` does, and where a value of a factor has too few samples for `factor_vae`.
    """
    known = prepare(codes, factors)
    votes = vote(known, seed=seed)
    told, matters = gap(known, seed=seed), forests(known, seed=seed)
    scores = {
        "mig": told.score,
        "dci disentanglement": matters.disentanglement,
        "dci completeness": matters.completeness,
        "dci informativeness": matters.informativeness,
        "sap": lead(known, ordered=ordered, seed=seed),
        "factor_vae": votes,
    }
    settings = {"samples": len(known.z), "ordered": list(ordered), "seed": seed}
    dead = tuple(map(int, np.flatnonzero(known.dead)))
    return Disentanglement(scores, told.information, matters.importance, dead, settings)
