"""Alignment, uniformity, LiDAR, CKA, clusters in use and the slope of the spectrum, against loops and known answers."""

import math

import pytest
import torch
from torch import Tensor

from twinlens.monitor import alignment, alpha_req, anisotropy, cka, dead, lidar, perplexity, rankme, spread, uniformity

N, V, D = 60, 4, 12


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(size: int) -> Tensor:
    return torch.linalg.qr(normal(size, size, seed=9)).Q


def clusters(k: int, each: int, dim: int) -> Tensor:
    """`each` equal points at each of `k` orthogonal directions."""
    return torch.eye(dim, dtype=torch.float64)[:k].repeat_interleave(each, 0)


def test_alignment_equals_a_loop_and_knows_its_ends() -> None:
    a, b = normal(N, D), normal(N, D, seed=1)
    total = 0.0
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        lengths = [math.sqrt(sum(v * v for v in row)) for row in (x, y)]
        total += sum((u / lengths[0] - v / lengths[1]) ** 2 for u, v in zip(x, y, strict=True))
    assert alignment(a, b) == pytest.approx(total / N)
    assert alignment(a, 3 * a) == pytest.approx(0, abs=1e-12)
    assert alignment(a, -a) == pytest.approx(4)


def test_uniformity_equals_a_loop_and_knows_its_ends() -> None:
    z = normal(N, D)
    rows = (z / z.norm(dim=1, keepdim=True)).tolist()
    pairs = [
        math.exp(-2 * sum((u - v) ** 2 for u, v in zip(rows[i], rows[j], strict=True)))
        for i in range(N)
        for j in range(i)
    ]
    assert uniformity(z) == pytest.approx(math.log(sum(pairs) / len(pairs)))
    assert uniformity(torch.ones(N, D)) == pytest.approx(0, abs=1e-9)
    assert uniformity(torch.eye(D)) == pytest.approx(-4)  # all pairs at a squared distance of 2
    assert uniformity(normal(400, 256)) < uniformity(normal(400, 4)) < -1


def test_uniformity_of_clusters() -> None:
    k, each = 4, 10
    z = clusters(k, each, D)
    same, pairs = k * each * (each - 1) / 2, k * each * (k * each - 1) / 2
    assert uniformity(z) == pytest.approx(math.log((same + (pairs - same) * math.exp(-4)) / pairs))


def test_anisotropy_equals_a_loop_over_pairs_and_knows_its_ends() -> None:
    z = normal(N, D) + 0.5
    cosines = [float(torch.cosine_similarity(z[i], z[j], dim=0)) for i in range(N) for j in range(N) if i != j]
    assert anisotropy(z) == pytest.approx(sum(cosines) / len(cosines))
    assert anisotropy(torch.full((N, D), -3)) == pytest.approx(1)
    assert anisotropy(torch.eye(D)) == pytest.approx(0, abs=1e-12)
    assert anisotropy(torch.tensor([[1.0, 0], [0, 2]])) == 0 and anisotropy(torch.tensor([[1.0, 0], [-4, 0]])) == -1
    assert anisotropy(torch.tensor([[1.0, 0], [3, 4]])) == pytest.approx(0.6)
    assert math.isnan(anisotropy(z[:1])) and math.isfinite(anisotropy(torch.zeros(3, D)))
    assert anisotropy(clusters(4, 10, D)) == pytest.approx(9 / 39)  # of 39 others, 9 at one place, else orthogonal


def test_anisotropy_sees_a_shift_but_no_rotation_nor_length() -> None:
    z = normal(N, D)
    long = normal(N, 1, seed=3).abs() + 0.1
    assert anisotropy(long * z @ orthogonal(D)) == pytest.approx(anisotropy(z))
    assert abs(anisotropy(z)) < 0.05 and anisotropy(z + 5) > 0.9


def by_formula(z: Tensor, delta: float, eps: float) -> float:
    """LiDAR as the paper writes it, with the symmetric root of Sw, a class at a time."""
    n, v, d = z.shape
    means = z.mean(1)
    s_b, s_w = torch.zeros(d, d, dtype=z.dtype), torch.zeros(d, d, dtype=z.dtype)
    for x in range(n):
        s_b += torch.outer(means[x] - means.mean(0), means[x] - means.mean(0)) / n
        for view in range(v):
            s_w += torch.outer(z[x, view] - means[x], z[x, view] - means[x]) / (n * v)
    values, vectors = torch.linalg.eigh(s_w + delta * torch.eye(d, dtype=z.dtype))
    root = vectors @ torch.diag(values**-0.5) @ vectors.T
    share = torch.linalg.eigvalsh(root @ s_b @ root).clamp_min(0)
    share = share / share.sum() + eps
    return math.exp(-float((share * share.log()).sum()))


@pytest.mark.parametrize("n", [N, 8])  # more samples than dimensions, and fewer
def test_lidar_equals_the_formula(n: int) -> None:
    z = normal(n, 1, D, seed=3) * torch.linspace(1, 4, D) + 0.5 * normal(n, V, D, seed=4)
    eps = 1e-7 if n > D else 0.0  # with fewer samples, directions of nothing are not counted; they weigh eps each
    assert lidar(z, eps=eps or 1e-12) == pytest.approx(by_formula(z, 1e-4, eps or 1e-12), rel=1e-6)


def test_lidar_counts_what_tells_samples_apart_and_not_what_tells_views_apart() -> None:
    content, noise = normal(2000, 1, 3), normal(2000, V, D - 3, seed=1)
    z = torch.cat((content.expand(-1, V, -1) + 0.01 * normal(2000, V, 3, seed=2), 10 * noise), dim=2)
    assert lidar(z) == pytest.approx(3, abs=0.1)
    assert rankme(z[:, 0]) > D - 4  # to RankMe the noise is as good as content
    assert lidar(torch.ones(50, V, D)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("k", [2, 5, 9])
def test_lidar_and_rankme_of_k_clusters(k: int) -> None:
    z = clusters(k, 20, D)
    assert rankme(z) == pytest.approx(k, abs=1e-3)
    views = z[:, None].expand(-1, V, -1) + 1e-3 * normal(len(z), V, D)
    assert lidar(views) == pytest.approx(k - 1, abs=0.01)  # k means span k - 1 directions
    assert uniformity(z) > uniformity(normal(len(z), D))


def test_a_rotation_and_a_scale_change_nothing() -> None:
    z = normal(N, 1, D) + 0.3 * normal(N, V, D, seed=1)
    turned = 3 * z @ orthogonal(D)
    assert lidar(turned, delta=9e-4) == pytest.approx(lidar(z))  # delta is added to squares
    assert uniformity(turned[:, 0]) == pytest.approx(uniformity(z[:, 0]))
    assert alpha_req(turned[:, 0], first=1) == pytest.approx(alpha_req(z[:, 0], first=1))
    assert cka(turned[:, 0], z[:, 0]) == pytest.approx(1)


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("samples", "dim"), [(3000, 64), (3000, 256), (1000, 128)])
def test_alpha_is_the_slope_of_a_power_law(slope: float, samples: int, dim: int) -> None:
    u = torch.linalg.qr(normal(samples, dim) - normal(samples, dim).mean(0)).Q  # orthogonal, and centred
    z = u * torch.arange(1, dim + 1, dtype=torch.float64) ** (-slope / 2) @ orthogonal(dim)
    assert alpha_req(z) == pytest.approx(slope, abs=1e-6)


def test_alpha_looks_at_the_places_it_is_told() -> None:
    place = torch.arange(1, 41, dtype=torch.float64)
    values = torch.where(place <= 10, 100 * place**-3, place**-1)  # two laws, one after the other
    u = torch.linalg.qr(normal(500, 40) - normal(500, 40).mean(0)).Q
    assert alpha_req(u * values.sqrt(), first=11, last=40) == pytest.approx(1, abs=1e-6)
    assert alpha_req(u * values.sqrt(), first=1, last=10) == pytest.approx(3, abs=1e-6)
    assert math.isnan(alpha_req(u[:, :12])) and math.isnan(alpha_req(torch.ones(50, 40)))


@pytest.mark.parametrize("samples", [300, 1000, 3000])
@pytest.mark.parametrize("dim", [16, 64])
def test_isotropic_embeddings_at_any_size(samples: int, dim: int) -> None:
    z = normal(samples, dim)
    assert spread(z) == pytest.approx(1, abs=0.05)
    assert rankme(z) > 0.9 * dim
    assert dead(z) == 0
    assert lidar(z[:, None] + 0.1 * normal(samples, V, dim, seed=1)) > 0.8 * dim


def test_dead_dimensions_are_those_that_hardly_vary() -> None:
    z = normal(N, D)
    z[:, :3] *= 1e-5
    z[:, 3] = 7
    assert dead(z) == pytest.approx(4 / D)
    assert dead(torch.full((N, D), 0.3)) == 1


def test_cka_equals_the_formula_and_knows_its_ends() -> None:
    a, b = normal(N, D), normal(N, 5, seed=1)
    center = torch.eye(N, dtype=torch.float64) - 1 / N
    k, other = (center @ (x @ x.T) @ center for x in (a, b))
    expected = float((k * other).sum() / (k.norm() * other.norm()))
    assert cka(a, b) == pytest.approx(expected) and expected < 0.5
    assert cka(a, torch.ones(N, 3)) == 0


def test_perplexity_counts_clusters_in_use() -> None:
    assert perplexity(torch.arange(8).repeat(5), 100) == pytest.approx(8)
    assert perplexity(torch.zeros(9, dtype=torch.int64), 100) == pytest.approx(1)
    uneven = torch.tensor([0] * 3 + [5])
    assert perplexity(uneven, 6) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
