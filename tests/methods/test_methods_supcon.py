"""SupCon against loops, by hand, and what it does with labels."""

import math

import pytest
import torch
from support import build, feed
from torch import Tensor

from twinlens.methods.simclr import SimCLR
from twinlens.methods.supcon import SupCon


def method(form: str = "out", tau: float = 0.1) -> SupCon:
    return SupCon(build(SupCon).encoder, hidden=16, dim=16, form=form, temperature=tau)  # type: ignore[arg-type]


def by_loops(z1: Tensor, z2: Tensor, labels: list[int], tau: float, form: str) -> float:
    """Equations 2 and 3, a term at a time: i is the anchor, P its positives, A all other views."""
    z, y = [*z1.tolist(), *z2.tolist()], labels * 2

    def score(i: int, j: int) -> float:
        lengths = math.prod(math.sqrt(sum(x * x for x in z[k])) for k in (i, j))
        return math.exp(sum(a * b for a, b in zip(z[i], z[j], strict=True)) / lengths / tau)

    total = 0.0
    for i in range(len(z)):
        everyone = [a for a in range(len(z)) if a != i]
        positives = [p for p in everyone if y[p] == y[i]]
        below = sum(score(i, a) for a in everyone)
        if form == "out":
            total += -sum(math.log(score(i, p) / below) for p in positives) / len(positives)
        else:
            total += -math.log(sum(score(i, p) / below for p in positives) / len(positives))
    return total / len(z)


@pytest.mark.parametrize("tau", [0.1, 0.7])
@pytest.mark.parametrize("form", ["out", "in"])
def test_loss(form: str, tau: float) -> None:
    z1, z2 = torch.randn(2, 7, 4, dtype=torch.float64)
    labels = [0, 1, 0, 2, 1, 0, 3]  # classes of three, two and one samples
    found = method(form, tau).compare(z1, z2, torch.tensor(labels))
    assert float(found) == pytest.approx(by_loops(z1, z2, labels, tau, form))


def test_known_by_hand() -> None:
    axes, same, one = torch.eye(2, dtype=torch.float64), torch.ones(3, 2), torch.tensor([1, 1])
    apart = math.log(math.exp(10) + 2) - 10  # the partner at 10, the two views of the other class at 0
    assert float(method().compare(axes, axes, torch.tensor([0, 1]))) == pytest.approx(apart)
    # one class: the partner at 10, two positives at 0, nobody else
    assert float(method("out").compare(axes, axes, one)) == pytest.approx(math.log(math.exp(10) + 2) - 10 / 3)
    assert float(method("in").compare(axes, axes, one)) == pytest.approx(math.log(3))
    assert float(method().compare(same, same, torch.tensor([0, 0, 1]))) == pytest.approx(math.log(5))


@pytest.mark.parametrize("form", ["out", "in"])
def test_with_a_class_for_each_sample_it_is_simclr(form: str) -> None:
    z1, z2 = torch.randn(2, 6, 5)
    simclr = SimCLR(build(SimCLR).encoder, hidden=16, dim=16)  # type: ignore[arg-type]
    torch.testing.assert_close(method(form).compare(z1, z2, torch.arange(6)), simclr.compare(z1, z2))


@pytest.mark.parametrize("form", ["out", "in"])
def test_order_names_of_classes_and_lengths_do_not_count(form: str) -> None:
    compare, (z1, z2) = method(form).compare, torch.randn(2, 8, 5, dtype=torch.float64)
    labels, order = torch.arange(8) % 3, torch.randperm(8)
    loss = compare(z1, z2, labels)
    torch.testing.assert_close(compare(z1[order], z2[order], labels[order]), loss)
    torch.testing.assert_close(compare(z2, z1, labels), loss)
    torch.testing.assert_close(compare(3 * z1, z2 / 2, 10 - labels), loss)


def test_labels_decide() -> None:
    z = torch.eye(4).repeat_interleave(2, 0)  # pairs of neighbours point the same way
    compare = method().compare
    true, false = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    assert compare(z, z, true) < compare(z, z, torch.arange(8)) < compare(z, z, false)


def test_the_labels_are_those_of_the_batch() -> None:
    (chunks,) = feed(SupCon).run(0, 1)
    batch, model = chunks[0](), method()
    z1, z2, labels = model.encode(batch)
    assert labels.tolist() == (batch.index % 4).tolist()  # as `Noise` has them
    turned = model.encode(batch._replace(target=labels.roll(1)))
    assert not torch.equal(model.compare(*turned), model.compare(z1, z2, labels))


def test_projections_are_of_representations_of_length_one() -> None:
    (chunks,) = feed(SupCon).run(0, 1)
    batch, model = chunks[0](), method()
    z1, z2, _ = model.encode(batch)
    lengths = 1 + torch.arange(24.0)[:, None]
    model.encoder.register_forward_hook(lambda module, given, r: r * lengths)
    stretched, _, _ = model.encode(batch)
    torch.testing.assert_close(stretched, z1)
    assert not torch.allclose(z1, z2)
