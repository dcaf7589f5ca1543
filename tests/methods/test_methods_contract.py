"""What every method promises, over everything discovered."""

import inspect
import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from support import build, feed, variants

from twinlens import discover
from twinlens.batch import Batch
from twinlens.method import Method
from twinlens.train import Training
from twinlens.views.tasks import shown

METHODS = sorted(discover.methods().items())
MADE = [(name, partial(build, cls, **settings)) for name, cls in METHODS for settings in variants(cls)]


def first_batch(method: Method) -> Batch:
    (chunks,) = feed(method).run(0, 1)
    return chunks[0]()


@pytest.fixture(params=METHODS, ids=[name for name, _ in METHODS])
def cls(request: pytest.FixtureRequest) -> type[Method]:
    return request.param[1]  # type: ignore[no-any-return]


@pytest.fixture(params=MADE, ids=["-".join((name, *made.keywords.values())) for name, made in MADE])
def make(request: pytest.FixtureRequest) -> Callable[..., Method]:
    """Makes a method at toy size, the same for the same seed: once for each of its variants."""
    return request.param[1]  # type: ignore[no-any-return]


def loss_of(method: Method, batch: Batch) -> torch.Tensor:
    return method.compare(*method.encode(batch))


def test_loss_is_a_finite_scalar_and_parts_have_a_row_for_each_sample(make: Callable[..., Method]) -> None:
    method = make()
    batch = first_batch(method)
    parts = method.encode(batch)
    assert all(len(part) == len(batch.index) for part in parts)
    loss = method.compare(*parts)
    assert loss.shape == () and loss.isfinite()


def test_exactly_the_parameters_that_learn_get_a_gradient(make: Callable[..., Method]) -> None:
    method = make()
    loss_of(method, first_batch(method)).backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


def test_same_seed_same_weights_and_same_loss(make: Callable[..., Method]) -> None:
    one, two, other = make(1), make(1), make(2)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    batch = first_batch(one)
    assert torch.equal(loss_of(one, batch), loss_of(two, batch))
    assert not torch.equal(loss_of(one, batch), loss_of(other, batch))


def test_survives_saving(make: Callable[..., Method]) -> None:
    method, fresh = make(1), make(2)
    batch = first_batch(method)
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(loss_of(method, batch), loss_of(fresh, batch))


def test_a_small_step_lowers_the_loss_while_targets_stand_still(make: Callable[..., Method]) -> None:
    method = make().double()
    batch = first_batch(method)
    batch = batch._replace(views=tuple(view.double() if view.is_floating_point() else view for view in batch.views))
    before = loss_of(method, batch)
    before.backward()
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter.sub_(1e-5 * parameter.grad)
        assert loss_of(method, batch) < before


def test_encode_and_compare_change_nothing_but_batch_statistics(make: Callable[..., Method]) -> None:
    method = make()
    batch = first_batch(method)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    loss_of(method, batch)
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert all("running" in name or "num_batches" in name for name in changed)


def test_update_needs_no_gradient_and_keeps_weights_finite(make: Callable[..., Method]) -> None:
    method = make()
    batch = first_batch(method)
    parts = tuple(part.detach() for part in method.encode(batch))
    method.update(0.5, *parts if method.coupled else ())
    assert all(value.isfinite().all() for value in method.state_dict().values())


def test_the_encoder_given_is_the_one_that_learns(make: Callable[..., Method]) -> None:
    method = make()
    encoders = (module for module in method.modules() if hasattr(module, "patchify"))
    assert any(parameter.requires_grad for encoder in encoders for parameter in encoder.parameters())


def test_the_docstring_cites_its_source_and_explains_every_setting(cls: type[Method]) -> None:
    text = inspect.getdoc(cls) or ""
    assert re.search(r"arXiv \d{4}\.\d{4,5}|doi:10\.\d{4}|JMLR \d+", text)
    for name in discover.settings(cls):
        line = re.search(rf"^\s+{name}: .+", text, re.MULTILINE)
        assert line, f"{name} is not explained"


def test_views_are_those_that_are_declared(make: Callable[..., Method]) -> None:
    method = make()
    assert len(first_batch(method).views) == shown(method.views)


def test_what_a_class_declares_is_what_it_asks_for_unless_told_otherwise(cls: type[Method]) -> None:
    assert build(cls).views == cls.views


def test_no_setting_of_a_method_is_one_of_an_encoder_of_views_or_of_training_too(cls: type[Method]) -> None:
    targets = [*discover.encoders().values(), *discover.makers().values(), Training]
    taken = {name for target in targets for name in inspect.signature(target).parameters}
    assert not taken & set(discover.settings(cls))
