"""A learnt temperature starts where it should, stops at its limit and comes back from it."""

import pytest
import torch

from twinlens.heads.temperature import Temperature


def test_starts_and_learns() -> None:
    temperature = Temperature(0.07)
    assert float(temperature().detach()) == pytest.approx(0.07)
    temperature().backward()
    assert temperature.log_scale.grad is not None
    assert float(temperature.log_scale.grad) == pytest.approx(-0.07)


def test_stops_at_its_limit_and_comes_back() -> None:
    temperature = Temperature(0.02, least=0.01)
    optimizer = torch.optim.SGD(temperature.parameters(), lr=100.0)
    for _ in range(3):
        optimizer.zero_grad()
        temperature().backward()  # colder is better
        optimizer.step()
    assert float(temperature().detach()) == pytest.approx(0.01)
    optimizer.zero_grad()
    (-temperature()).backward()  # warmer is better
    optimizer.step()
    assert float(temperature().detach()) > 0.02
