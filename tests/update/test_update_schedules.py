"""Schedules of tensors: a line that then stays, and parameters that stand still at first."""

import pytest
import torch

from twinlens.update.schedules import frozen, warmed


@pytest.mark.parametrize(("progress", "value"), [(0.0, 0.04), (0.05, 0.055), (0.1, 0.07), (1.0, 0.07)])
def test_a_warm_up_is_a_line_and_then_its_end(progress: float, value: float) -> None:
    assert warmed(torch.tensor(progress), 0.04, 0.07, 0.1).item() == pytest.approx(value)
    assert warmed(torch.tensor(progress), 0.04, 0.07, 0.0).item() == pytest.approx(0.07)


@pytest.mark.parametrize(("progress", "learns"), [(0.0, False), (0.24, False), (0.25, True), (1.0, True)])
def test_a_frozen_parameter_gives_a_gradient_of_zero_not_none(progress: float, learns: bool) -> None:
    parameter = torch.ones(3, requires_grad=True)
    used = frozen(parameter, torch.tensor(progress), until=0.25)
    assert torch.equal(used, parameter)
    used.sum().backward()
    assert parameter.grad is not None and torch.equal(parameter.grad, torch.full((3,), float(learns)))


def test_nothing_is_frozen_for_no_time() -> None:
    parameter = torch.ones(3, requires_grad=True)
    frozen(parameter, torch.tensor(0.0), until=0.0).sum().backward()
    assert parameter.grad is not None and parameter.grad.all()
