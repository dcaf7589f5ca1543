"""The linear probe beside scikit-learn's LogisticRegression on the same features: accuracy and time.

Features are an untrained small encoder's of Fashion-MNIST, 50,000 training pictures in 512 dimensions, standardised.
scikit-learn gets every second of our penalties, the same held-out fifth to choose among them, as many threads, and at
most 500 iterations, which the least penalties use up. Beside that stands its best penalty on the *test* part, which
nobody could choose, and the time of a single fit with it.
"""

import time
import warnings
from typing import Any

import _record
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from twinlens.data.load import load
from twinlens.embed import embed
from twinlens.encoders.small import small
from twinlens.evaluate.probe import FOLDS, PENALTIES, linear_probe, places
from twinlens.evaluate.result import Labelled
from twinlens.views.image import ImageViews

CLAIM = (
    "the linear probe lies within 0.3 points of scikit-learn's LogisticRegression at the penalty that is best on the "
    "test part, and takes at most a fifth of the time that scikit-learn takes to choose a penalty and to fit with it"
)
SAMPLES, WIDTH = 50_000, 32  # 16 * 32 = 512 dimensions


def main() -> None:
    """Measures both once, after a small fit to warm up."""
    options = _record.arguments(__doc__)
    train, test = features("digits" if options.smallest else "fashion-mnist")
    linear_probe(*(Labelled(part.features[:500], part.labels[:500]) for part in (train, test)))
    began = time.perf_counter()
    ours = linear_probe(train, test)
    seconds = time.perf_counter() - began
    theirs = sklearn(train, test, PENALTIES[:3] if options.smallest else PENALTIES[::2])
    row = {"samples": len(train.labels), "dimensions": train.features.shape[1], "threads": torch.get_num_threads()}
    row |= {"ours": ours.value, "interval": ours.interval, "penalty": ours.settings["penalty"]}
    row |= {"our seconds": round(seconds, 2), **theirs}
    row |= {"points from the best": round(100 * (ours.value - theirs["best on the test part"]), 2)}
    row |= {"times faster, choosing and fitting": round(theirs["seconds to choose and fit"] / seconds, 2)}
    row |= {"times faster than one fit": round(theirs["seconds of one fit"] / seconds, 2)}
    print(row)
    _record.write("probe", CLAIM, [row], [0], out=options.out)


def features(name: str) -> tuple[Labelled, Labelled]:
    """An untrained encoder's features of a known data set's parts."""
    torch.manual_seed(0)
    split = load(name)
    assert split.test is not None
    size, channels = split.train.shape[0], split.train.shape[2]
    encoder, maker, device = small(channels, size, width=WIDTH), ImageViews(size=size), torch.device("cpu")
    learn = split.train.subset(torch.arange(min(SAMPLES, len(split.train))))
    first, second = (Labelled(embed(encoder, part, maker, device=device), part.labels) for part in (learn, split.test))
    return first, second


def sklearn(train: Labelled, test: Labelled, penalties: tuple[float, ...]) -> dict[str, Any]:
    """LogisticRegression chosen on the same fifth of the training labels, and its best on the test part."""
    y, t = np.asarray(train.labels), np.asarray(test.labels)
    scaler = StandardScaler().fit(np.asarray(train.features))
    x, z = (scaler.transform(np.asarray(part.features)).astype(np.float32) for part in (train, test))
    held = (places(torch.from_numpy(y), 0, 0) % FOLDS == FOLDS - 1).numpy()
    began = time.perf_counter()
    losses = [loss(fit(x[~held], y[~held], penalty), x[held], y[held]) for penalty in penalties]
    chosen = fit(x, y, penalties[int(np.argmin(losses))])
    seconds = time.perf_counter() - began
    scores, times = [], []
    for penalty in penalties:
        began = time.perf_counter()
        scores.append(fit(x, y, penalty).score(z, t))
        times.append(time.perf_counter() - began)
    best = int(np.argmax(scores))
    return {
        "chosen alike": chosen.score(z, t), "best on the test part": scores[best], "its penalty": penalties[best],
        "seconds to choose and fit": round(seconds, 2), "seconds of one fit": round(times[best], 2),
    }  # fmt: skip


def fit(x: NDArray[np.float32], y: NDArray[np.int64], penalty: float) -> LogisticRegression:
    """With the weight that the penalty has on the mean loss: C = 1 / (penalty * n)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=1 / (penalty * len(x)), max_iter=500).fit(x, y)


def loss(model: LogisticRegression, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    """The mean cross-entropy."""
    chances = model.predict_proba(x)[np.arange(len(y)), y]
    return float(-np.log(np.maximum(chances, 1e-30)).mean())


if __name__ == "__main__":
    main()
