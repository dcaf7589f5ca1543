"""Dense transfer of a run: what its encoder says of places, on scenes that are composed of a data set's pictures."""

from torch import nn

from twinlens.data.load import Data, pictures
from twinlens.data.scenes import compose
from twinlens.errors import InputError
from twinlens.evaluate.baselines import UNTRAINED
from twinlens.evaluate.dense import RawPatches
from twinlens.evaluate.detection import detection
from twinlens.evaluate.result import Result
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
    learn, judge = pictures(split.train), pictures(split.test)
    assert learn is not None and judge is not None, "run.size is of pictures"
    parts = compose(learn, train, side=side, seed=seed), compose(judge, test, side=side, seed=seed)
    encoders: dict[str, nn.Module] = {"": run.encoder, UNTRAINED: run.untrained, RAW: RawPatches(PATCH)}
    found = []
    for measure in (segmentation, detection):
        results = {name: measure(encoder, *parts, seed=seed) for name, encoder in encoders.items()}
        found.append(results.pop("").beside(results))
    return found
