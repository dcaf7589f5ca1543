"""What a run's encoder is good for beside classes: places in scenes, groups of people or things, and other data."""

from pathlib import Path

from torch import nn

from twinlens.data.load import Data, pictures
from twinlens.data.scenes import compose
from twinlens.errors import InputError
from twinlens.evaluate import grouping, splits
from twinlens.evaluate.audit import Audit
from twinlens.evaluate.audit import audit as measure
from twinlens.evaluate.baselines import UNTRAINED
from twinlens.evaluate.dense import RawPatches
from twinlens.evaluate.detection import detection
from twinlens.evaluate.ood import ood
from twinlens.evaluate.result import Labelled, Result
from twinlens.evaluate.segmentation import segmentation
from twinlens.run import Run

PATCH = 4  # pixels on a side of the raw patches that an encoder has to beat
RAW = "raw patches"


def dense(run: Run, data: Data, *, train: int = 1000, test: int = 300, seed: int = 0) -> list[Result]:
    """Segmentation (mIoU) and detection (mAP at an IoU of 0.5) by light heads on the frozen encoder, beside baselines.

    `train` scenes are composed of the training pictures of labelled `data`, `test` ones of its test pictures; they are
    twice as wide as the views the encoder has learnt from. Beside it stand the encoder before training and raw patches.

    Raises:
        InputError: where data has no labels or no test part, or the encoder gives no features of places.
    """
    split = run.read(data)
    if split.test is None:
        raise InputError(
            f"{split.train.name} has no test part, of which test scenes could be composed: give the folders train and "
            f"test, or an .npz with x_test and y_test."
        )
    side = 2 * run.size // PATCH * PATCH
    learn, held = pictures(split.train), pictures(split.test)
    assert learn is not None and held is not None, "run.size is of pictures"
    parts = compose(learn, train, side=side, seed=seed), compose(held, test, side=side, seed=seed)
    encoders: dict[str, nn.Module] = {"": run.encoder, UNTRAINED: run.untrained, RAW: RawPatches(PATCH)}
    found = []
    for judge in (segmentation, detection):
        results = {name: judge(encoder, *parts, seed=seed) for name, encoder in encoders.items()}
        found.append(results.pop("").beside(results))
    return found


def audit(run: Run, data: Data, groups: str | Path, *, seed: int = 0, allow_leaks: bool = False) -> Audit:
    """Accuracy by group, the worst group, and what a probe can read of the group from the embeddings.

    `groups` is a CSV (twinlens.evaluate.grouping). Data without a test part is split as for `evaluate`.
    """
    split = run.read(data)
    train, test = run.judged(split, seed=seed, allow_leaks=allow_leaks)
    whole = {"train": split.train} | ({"test": test} if test is split.test else {})
    named = grouping.read(Path(groups), whole)
    if "test" not in named:  # places are those in the data, before it is split
        both = zip(("train", "test"), splits.drawn(split.train, seed=seed), strict=True)
        named = {part: [named["train"][i] for i in places.tolist()] for part, places in both}
    learn, judged = (Labelled(run.embeddings(part), part.labels) for part in (train, test))  # type: ignore[arg-type]
    return measure(learn, judged, named["train"], named["test"], seed=seed)


def detect(run: Run, data: Data, outside: Data, *, seed: int = 0) -> Result:
    """How well samples of other data are told from those of `data` by their distance to its training part (AUROC).

    It stands beside `evaluate`'s baselines. Test parts are used where there are any; of `data` without one a fifth.
    """
    split, other = run.read(data), run.read(outside)
    train, test = splits.halves(split, seed=seed)
    strangers = other.test or other.train
    tables = {
        name: ood(*(features(part) for part in (train, test, strangers)))
        for name, features in run.beside(train).items()
    }
    return tables.pop("").beside(tables)
