import math

import pytest
import torch

from twinlens.monitor import rankme, spectrum, spread

N, D = 200, 16


@pytest.fixture
def z():
    """Correlated, off-centre embeddings (N, D)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, D, generator=generator) @ torch.randn(D, D, generator=generator) + 1


@pytest.fixture
def turn():
    return torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(1))).Q


def test_spread_equals_a_loop(z):
    rows = [[float(v) / math.sqrt(sum(float(w) ** 2 for w in row)) for v in row] for row in z]
    total = 0.0
    for column in zip(*rows):
        mean = sum(column) / N
        total += math.sqrt(sum((v - mean) ** 2 for v in column) / N)
    assert spread(z) == pytest.approx(total / D * math.sqrt(D), rel=1e-6)


def test_rankme_equals_a_loop(z):
    values = torch.linalg.eigvalsh(z.double().T @ z.double()).sqrt().tolist()
    shares = [value / sum(values) + 1e-7 for value in values]
    assert rankme(z) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-9)


def test_spectrum_equals_a_loop(z):
    rows = z.double().tolist()
    means = [sum(column) / N for column in zip(*rows)]
    covariance = [[sum((r[i] - means[i]) * (r[j] - means[j]) for r in rows) / N for j in range(D)] for i in range(D)]
    values = torch.linalg.eigvalsh(torch.tensor(covariance, dtype=torch.float64)).flip(0)
    torch.testing.assert_close(spectrum(z), values)


def test_complete_collapse():
    constant = torch.full((N, D), 0.7)
    assert spread(constant) == pytest.approx(0, abs=1e-9)
    assert rankme(constant) == pytest.approx(1, abs=1e-4)
    assert spectrum(constant).max() == pytest.approx(0, abs=1e-12)
    assert rankme(torch.zeros(N, D)) == pytest.approx(1, abs=1e-4)
    assert spread(torch.zeros(N, D)) == 0


def test_isotropic_embeddings_use_everything():
    z = torch.randn(20_000, D, generator=torch.Generator().manual_seed(0))
    assert spread(z) == pytest.approx(1, abs=0.01)
    assert rankme(z) == pytest.approx(D, abs=0.01)
    torch.testing.assert_close(spectrum(z), torch.ones(D).double(), atol=0.1, rtol=0)


@pytest.mark.parametrize("rank", [1, 3, D])
def test_rank(rank, turn):
    equal = torch.eye(D)[:, :rank] @ turn[:rank]  # `rank` orthogonal directions, equally long, and their opposites
    equal = torch.cat((equal, -equal))
    assert rankme(equal) == pytest.approx(rank, abs=1e-3)
    uneven = equal @ turn.T @ torch.diag(torch.linspace(1, 5, D))
    assert rankme(uneven) <= rank + 1e-3
    assert int((spectrum(equal) > 1e-9).sum()) == rank


def test_rotation_and_scale(z, turn):
    assert rankme(3 * z @ turn) == pytest.approx(rankme(z), rel=1e-4)
    assert spread(3 * z) == pytest.approx(spread(z), rel=1e-6)
    torch.testing.assert_close(spectrum(3 * z @ turn), 9 * spectrum(z), rtol=1e-3, atol=1e-4)


def test_rankme_does_not_centre(z):
    assert rankme(z + 100) < rankme(z) / 2
    torch.testing.assert_close(spectrum(z + 100), spectrum(z), rtol=1e-3, atol=1e-3)
