"""What an encoder has to beat: features that nothing was trained for, and the commonest class."""

import numpy as np
import pytest
import torch

from twinlens.evaluate.baselines import Pooled, Raw, majority, names_classes
from twinlens.evaluate.result import Result


def test_majority_is_the_share_of_the_commonest_training_class_in_the_test_part() -> None:
    train, test = np.array([2, 2, 2, 7, 7, 9]), np.array([7] * 6 + [2] * 4)
    found = majority(train, test)
    assert found.value == pytest.approx(0.4) and found.interval[0] < 0.4 < found.interval[1]
    assert majority(torch.tensor([5, 3, 3, 5]), torch.tensor([3, 5, 5])).value == pytest.approx(1 / 3)  # the first


def test_pooled_pixels_are_means_of_cells() -> None:
    view = torch.arange(2 * 3 * 16 * 16).reshape(2, 3, 16, 16).float()
    found = Pooled()(view)
    assert found.shape == (2, 3 * 64)
    assert found[1, 64 + 9] == view[1, 1, 2:4, 2:4].mean()  # second channel, second row and column of cells
    assert Raw()(view).shape == (2, 768)


@pytest.mark.parametrize(
    ("name", "does"), [("knn", True), ("10 per class", True), ("linear probe", True), ("mAP", False), ("NMI", False)]
)
def test_which_results_name_classes(name: str, does: bool) -> None:
    assert names_classes(Result(name, 0.5, (0.4, 0.6))) == does
