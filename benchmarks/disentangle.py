"""How far dimensions of a code stand for single factors: a beta-VAE beside an autoencoder and principal components.

Pictures whose factors are known (`factors`: shape, colour, size, rotation, x, y), 20,000 to learn from and 4,000 whose
codes are judged. All see whole pictures of 16 x 16 pixels; the networks are the same (encoder and decoder after Burgess
et al. 2018, ten dimensions), so are the epochs. Beta, how it falls, and the side were chosen on codes of 4,000 of the
training pictures (seed 0). Intervals are those of one seed's score, and compared within a seed.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import _record
import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from twinlens import Run, pretrain
from twinlens.batch import Samples
from twinlens.data import factors
from twinlens.data.load import load as load_data
from twinlens.embed import clean_views
from twinlens.latent import disentanglement
from twinlens.run import load

CLAIM = (
    "dimensions of a beta-VAE's code stand for single factors more than an autoencoder's and principal components do: "
    "MIG above both, intervals apart in each of three seeds; DCI's disentanglement above both in each, apart in two"
)
DIM, SEEDS = 10, 3
ORDERED = (2, 4, 5)  # size, x, y are amounts
SCORES = ("mig", "dci disentanglement", "dci completeness", "dci informativeness", "sap", "factor_vae")
VIEWS = {"size": 16, "min_scale": 1.0, "flip": 0.0}  # a crop or a mirror would change factors
SAME = {"dim": DIM, "decoder_width": 16, "decoder_hidden": 256, "decay": 0.0, "epochs": 30, "batch": 64}
SETTINGS: dict[str, dict[str, Any]] = {
    "vae": {**SAME, "beta_start": 12.0, "beta": 1.0, "likelihood": "bernoulli"},
    "autoencoder": SAME,
}


def main() -> None:
    """Trains what is not trained yet, scores the codes, and writes the result anew after each."""
    parser = _record.parser(__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/disentangle"), help="where runs are kept")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="changes to the settings")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--train", action="store_true", help="judge by training pictures, to choose settings")
    options = _record.parsed(parser)
    changes = {name: json.loads(value) for name, _, value in (text.partition("=") for text in options.set)}
    runs, seeds = options.runs, options.seeds
    if options.smallest:
        runs, seeds, changes = options.out / "runs", 1, {"epochs": 1}
    name = "disentangle_train" if options.train else "disentangle"
    rows = _record.kept(name, options.out)
    for seed in range(seeds):
        for method in ("autoencoder", "pca", "vae"):
            if any(row["code"] == method and row["seed"] == seed and row["changes"] == changes for row in rows):
                continue
            row = {"code": method, "seed": seed, "changes": changes, "commit": _record.commit()}
            rows.append(row | scored(*codes(method, seed, runs, changes, held=not options.train), seed=seed))
            print(json.dumps(rows[-1]), flush=True)
            _record.write(name, CLAIM, rows, sorted({row["seed"] for row in rows}), out=options.out)


def scored(z: Tensor, y: np.ndarray[Any, Any], *, seed: int) -> dict[str, Any]:
    """Every score of codes (N, D) and factors (N, 6)."""
    found = disentanglement(z, y, ordered=ORDERED, seed=seed)
    return {name: {"value": found[name].value, "interval": found[name].interval} for name in SCORES}


def codes(
    method: str, seed: int, runs: Path, changes: dict[str, Any], *, held: bool
) -> tuple[Tensor, np.ndarray[Any, Any]]:
    """The codes (N, D) of the pictures to judge by, and their factors (N, 6)."""
    split, (learn, judge) = load_data("factors"), factors.parts()
    assert split.test is not None
    part, y = (split.test, judge) if held else (split.train.subset(torch.arange(factors.TEST)), learn[: factors.TEST])
    run = trained("autoencoder" if method == "pca" else method, seed, runs, changes)

    def views(samples: Samples) -> Iterable[Tensor]:
        return clean_views(samples, run.maker(), device=torch.device("cpu"))

    if method == "pca":
        train, test = (torch.cat(list(views(one))).flatten(1).numpy() for one in (split.train, part))
        return torch.from_numpy(PCA(DIM, random_state=seed).fit(train).transform(test)), y
    with torch.inference_mode():
        z = torch.cat([run.model.code(view) for view in views(part)])  # type: ignore[operator]
    return z, y


def trained(method: str, seed: int, runs: Path, changes: dict[str, Any]) -> Run:
    """The method's run, trained unless it is there."""
    settings = {name: changes.get(name, value) for name, value in SETTINGS[method].items()}
    path = runs / "-".join([method, *(f"{name}={value}" for name, value in settings.items()), str(seed)])
    if (path / "encoder.safetensors").exists():
        return load(path)
    return pretrain(
        "factors", method, encoder="burgess", out=path, seed=seed, resume=path.exists(), **settings, **VIEWS
    )


if __name__ == "__main__":
    main()
