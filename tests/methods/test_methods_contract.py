"""What every method promises, over everything discovered."""

import inspect
import re

import pytest
import torch
from support import build, feed

from twinlens import discover
from twinlens.batch import Batch
from twinlens.method import Method

METHODS = sorted(discover.methods().items())


def first_batch(cls: type[Method]) -> Batch:
    (chunks,) = feed(cls).run(0, 1)
    return chunks[0]()


@pytest.fixture(params=METHODS, ids=[name for name, _ in METHODS])
def cls(request: pytest.FixtureRequest) -> type[Method]:
    return request.param[1]  # type: ignore[no-any-return]


def loss_of(method: Method, batch: Batch) -> torch.Tensor:
    return method.compare(*method.encode(batch))


def test_loss_is_a_finite_scalar_and_parts_have_a_row_for_each_sample(cls: type[Method]) -> None:
    method, batch = build(cls), first_batch(cls)
    parts = method.encode(batch)
    assert all(len(part) == len(batch.index) for part in parts)
    loss = method.compare(*parts)
    assert loss.shape == () and loss.isfinite()


def test_exactly_the_parameters_that_learn_get_a_gradient(cls: type[Method]) -> None:
    method = build(cls)
    loss_of(method, first_batch(cls)).backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


def test_same_seed_same_weights_and_same_loss(cls: type[Method]) -> None:
    one, two, other = build(cls, 1), build(cls, 1), build(cls, 2)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    batch = first_batch(cls)
    assert torch.equal(loss_of(one, batch), loss_of(two, batch))
    assert not torch.equal(loss_of(one, batch), loss_of(other, batch))


def test_survives_saving(cls: type[Method]) -> None:
    method, fresh, batch = build(cls, 1), build(cls, 2), first_batch(cls)
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(loss_of(method, batch), loss_of(fresh, batch))


def test_a_small_step_lowers_the_loss_while_targets_stand_still(cls: type[Method]) -> None:
    method, batch = build(cls).double(), first_batch(cls)
    batch = batch._replace(views=tuple(view.double() for view in batch.views))
    before = loss_of(method, batch)
    before.backward()
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter.sub_(1e-5 * parameter.grad)
        assert loss_of(method, batch) < before


def test_encode_and_compare_change_nothing_but_batch_statistics(cls: type[Method]) -> None:
    method, batch = build(cls), first_batch(cls)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    loss_of(method, batch)
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert all("running" in name or "num_batches" in name for name in changed)


def test_update_needs_no_gradient_and_keeps_weights_finite(cls: type[Method]) -> None:
    method, batch = build(cls), first_batch(cls)
    parts = tuple(part.detach() for part in method.encode(batch))
    method.update(0.5, *parts if cls.coupled else ())
    assert all(value.isfinite().all() for value in method.state_dict().values())


def test_the_encoder_given_is_the_one_that_learns(cls: type[Method]) -> None:
    method = build(cls)
    assert any(hasattr(module, "patchify") and next(module.parameters()).requires_grad for module in method.modules())


def test_the_docstring_cites_its_source_and_explains_every_setting(cls: type[Method]) -> None:
    text = inspect.getdoc(cls) or ""
    assert re.search(r"arXiv \d{4}\.\d{4,5}|doi:10\.\d{4}|JMLR \d+", text)
    for name in discover.settings(cls):
        line = re.search(rf"^\s+{name}: .+", text, re.MULTILINE)
        assert line, f"{name} is not explained"


def test_views_are_declared_once_for_the_class(cls: type[Method]) -> None:
    assert len(first_batch(cls).views) == cls.views.large + cls.views.small
