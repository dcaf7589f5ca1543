"""Each method's formula against an independent computation in float64."""

import math

import pytest
import torch
from support import build

from twinlens import discover, random
from twinlens.batch import Batch
from twinlens.heads.content import normalised
from twinlens.methods.byol import BYOL
from twinlens.methods.mae import MAE
from twinlens.methods.vicreg import VICReg, hinge_of_deviation, off_diagonal_covariance


def test_byol_compares_the_squared_distances_of_unit_vectors() -> None:
    method = build(BYOL)
    p1, p2, t1, t2 = torch.randn(4, 6, 5, dtype=torch.float64)
    pairs = [*zip(p1, t2, strict=True), *zip(p2, t1, strict=True)]
    by_loop = sum(float((a / a.norm() - b / b.norm()).square().sum()) for a, b in pairs) / 6
    assert float(method.compare(p1, p2, t1, t2)) == pytest.approx(by_loop)
    assert float(method.compare(p1, p2, 7 * p2, 3 * p1)) == pytest.approx(0)
    assert float(method.compare(p1, p2, -p2, -p1)) == pytest.approx(8)


def test_byol_is_symmetric_and_its_target_takes_no_gradient() -> None:
    method = build(BYOL)
    p1, p2, t1, t2 = torch.randn(4, 6, 5)
    torch.testing.assert_close(method.compare(p1, p2, t1, t2), method.compare(p2, p1, t2, t1))
    assert not any(parameter.requires_grad for parameter in method.target.parameters())


def test_byol_target_follows_with_the_scheduled_momentum() -> None:
    method = build(BYOL)
    with torch.no_grad():
        for parameter in method.online.parameters():
            parameter.add_(1.0)
    method.momentum = 0.9
    before = [parameter.clone() for parameter in method.target.parameters()]
    method.update(0.5)  # half way along the cosine: 1 - (1 - 0.9) / 2
    for old, new, online in zip(before, method.target.parameters(), method.online.parameters(), strict=True):
        torch.testing.assert_close(new, 0.95 * old + 0.05 * online)
    before = [parameter.clone() for parameter in method.target.parameters()]
    method.update(1.0)
    assert all(torch.equal(old, new) for old, new in zip(before, method.target.parameters(), strict=True))


def test_vicreg_terms() -> None:
    z = torch.randn(7, 4, dtype=torch.float64)
    mean = [sum(float(z[i, j]) for i in range(7)) / 7 for j in range(4)]

    def covariance(j: int, k: int) -> float:
        return sum((float(z[i, j]) - mean[j]) * (float(z[i, k]) - mean[k]) for i in range(7)) / 6

    hinge = sum(max(0.0, 1 - math.sqrt(covariance(j, j) + 1e-4)) for j in range(4)) / 4
    off = sum(covariance(j, k) ** 2 for j in range(4) for k in range(4) if j != k) / 4
    assert float(hinge_of_deviation(z)) == pytest.approx(hinge)
    assert float(off_diagonal_covariance(z)) == pytest.approx(off)


def test_vicreg_known_by_hand() -> None:
    method = build(VICReg)
    z = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)  # deviation sqrt 2 each, covariance 2
    assert float(method.compare(z, z)) == pytest.approx(1.0 * 2 * (2 * 2**2 / 2))
    constant = torch.zeros(5, 3, dtype=torch.float64)
    assert float(method.compare(constant, constant)) == pytest.approx(25 * 2 * (1 - 0.01))


def test_vicreg_prefers_agreement() -> None:
    method = build(VICReg)
    z = torch.randn(64, 8)
    assert method.compare(z, z) < method.compare(z, torch.randn(64, 8)) < method.compare(z, -z)


def mae_batch(count: int, view: torch.Tensor) -> Batch:
    return Batch((view,), torch.arange(count), random.keys(0, 0, torch.arange(count)))


def test_mae_hides_the_share_it_says_and_predicts_only_that() -> None:
    method = build(MAE)
    patches, prediction, hide = method.predict(mae_batch(5, torch.randn(5, 3, 8, 8)))
    assert patches.shape == (5, 16, 12)  # 16 tokens of 2 x 2 x 3, three quarters of them hidden
    assert prediction.shape == (5, 12, 12)
    assert all(len(set(row)) == 12 for row in hide.tolist())


def test_mae_does_not_see_what_it_predicts() -> None:
    method = build(MAE)
    view = torch.randn(2, 3, 8, 8, requires_grad=True)
    _, prediction, hidden = method.predict(mae_batch(2, view))
    (seen,) = torch.autograd.grad(prediction.sum(), view)
    patches = method.encoder.patchify(seen)
    assert (patches.gather(1, hidden[..., None].expand(-1, -1, 12)) == 0).all()
    assert (patches.abs().sum(-1) > 0).sum() == 2 * 4


@pytest.mark.parametrize("normalise", [True, False])
def test_mae_loss_is_the_mean_over_hidden_pixels(normalise: bool) -> None:
    method = build(MAE).double()
    method.content.normalise = normalise
    batch = mae_batch(3, torch.randn(3, 3, 8, 8, dtype=torch.float64))
    with torch.no_grad():
        patches, prediction, hide = method.predict(batch)
    target = normalised(patches) if normalise else patches
    by_loop = [
        (float(prediction[n, place, p]) - float(target[n, t, p])) ** 2
        for n in range(3)
        for place, t in enumerate(hide[n].tolist())
        for p in range(12)
    ]
    assert method.compare(*method.encode(batch)).item() == pytest.approx(sum(by_loop) / (3 * 12 * 12))


def test_simclr_sees_both_views_in_one_forward() -> None:
    method = build(discover.methods()["simclr"])
    views = torch.randn(2, 6, 3, 8, 8)
    z1, z2 = method.encode(Batch(tuple(views), torch.arange(6), torch.arange(6)))
    z = method.project(method.encoder(views.flatten(0, 1)))
    torch.testing.assert_close(torch.cat((z1, z2)), z)
