"""DeepCluster-v2: its k-means, what it remembers of an epoch and when it clusters that, its loss."""

import math

import pytest
import torch
from support import Largest, build, feed
from torch import Tensor

from twinlens import random
from twinlens.batch import Batch
from twinlens.errors import InputError
from twinlens.methods.deepclusterv2 import DeepClusterV2, k_means

Rows = list[list[float]]


def units(*shape: int, seed: int = 0) -> Tensor:
    """Random vectors of length 1, float64."""
    z = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z / z.norm(dim=-1, keepdim=True)


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def nearest(z: Rows, c: Rows) -> list[int]:
    return [max(range(len(c)), key=lambda k: dot(row, c[k])) for row in z]


def k_means_by_loop(z: Rows, c: Rows, iterations: int) -> tuple[Rows, list[int]]:
    """Each centroid becomes the mean direction of the rows nearest to it, if there are any."""
    for _ in range(iterations):
        q, moved = nearest(z, c), []
        for k, old in enumerate(c):
            own = [row for row, cluster in zip(z, q, strict=True) if cluster == k]
            total = [sum(column) for column in zip(*own, strict=True)]
            moved.append([x / math.sqrt(dot(total, total)) for x in total] if own else old)
        c = moved
    return c, nearest(z, c)


def given(step: int, samples: int, batch: int) -> tuple[Tensor, Tensor]:
    """What `update` is given at a step: embeddings (N, V, 16), and indices in the order that a feed has them in."""
    epoch, position = divmod(step, samples // batch)
    index = random.permutation(samples, 7, epoch)[position * batch :][:batch]
    return units(batch, 8, 16, seed=step), index


def trained(steps: int, *, samples: int = 24, batch: int = 7, start: int = 0, method: DeepClusterV2) -> DeepClusterV2:
    for step in range(start, steps):
        method.update((step + 1) / 100, *given(step, samples, batch))
    return method


def fresh(seed: int = 0, samples: int = 24) -> DeepClusterV2:
    return build(DeepClusterV2, seed, samples).double()


def clustered() -> DeepClusterV2:
    """After an epoch of 24 samples in batches of 7."""
    return trained(3, method=fresh())


def cross_entropy_by_loop(z: Rows, c: Rows, q: list[int], temperature: float) -> float:
    """Equation 8, the mean over rows that have a cluster."""
    terms = []
    for row, own in zip(z, q, strict=True):
        scores = [dot(row, centroid) / temperature for centroid in c]
        if own >= 0:
            terms.append(math.log(sum(math.exp(s) for s in scores)) - scores[own])
    return sum(terms) / len(terms)


@pytest.mark.parametrize("iterations", [0, 1, 5])
def test_k_means_is_the_loop(iterations: int) -> None:
    z = units(60, 5)
    c, q = k_means(z, z[:9], iterations=iterations)
    c_loop, q_loop = k_means_by_loop(z.tolist(), z[:9].tolist(), iterations)
    torch.testing.assert_close(c, torch.tensor(c_loop, dtype=z.dtype), rtol=0, atol=1e-8)
    assert q.tolist() == q_loop


def test_k_means_finds_clusters_made_by_hand() -> None:
    angle = torch.tensor([0.1, 90.2, -0.1, 89.8, 180.3, 179.7]).deg2rad()
    z = torch.stack((angle.cos(), angle.sin()), dim=1)
    c, q = k_means(z, z[[4, 1, 0]], iterations=10)
    torch.testing.assert_close(c, torch.tensor([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    assert q.tolist() == [2, 1, 2, 1, 0, 0]


def test_a_cluster_without_samples_keeps_its_centroid() -> None:
    z = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    far, twin = torch.tensor([[-0.6, -0.8]]), z[:1]
    c, q = k_means(z, torch.cat((z, far, twin)), iterations=3)
    assert torch.equal(c, torch.cat((z, far, twin))) and q.tolist() == [0, 1]  # of equal ones the first has all


def test_k_means_never_moves_away_from_the_samples() -> None:
    z = units(200, 8)
    found = [k_means(z, z[:12], iterations=i) for i in range(8)]
    objective = [float((z * c[q]).sum(1).mean()) for c, q in found]
    assert objective == sorted(objective) and objective[-1] > objective[0] + 0.05


def test_k_means_gives_the_same_bits_in_any_order_and_in_any_parts() -> None:
    z = units(500, 8).float()
    c, q = k_means(z, z[:20], iterations=4)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    for chunk in (1, 730, 10**6):
        shuffled, own = k_means(z[order], z[:20], iterations=4, chunk=chunk)
        assert torch.equal(shuffled, c) and torch.equal(own, q[order])


def test_k_means_holds_few_similarities_at_a_time() -> None:
    z = units(1000, 4)
    with Largest() as largest:
        k_means(z, z[:50], iterations=1, chunk=5000)
    assert largest.size <= 5000  # of 50,000


def test_an_epoch_is_remembered_and_clustered_at_its_end() -> None:
    method = trained(6, method=fresh())
    for epoch, then in ((0, trained(3, method=fresh())), (1, method)):
        z, index = (torch.cat(x) for x in zip(*(given(s, 24, 7) for s in range(3 * epoch, 3 * epoch + 3)), strict=True))
        left_out = sorted(set(range(24)) - set(index.tolist()))
        assert len(left_out) == 3
        for i in range(3):
            rows = z[:, i % 2].tolist()
            start = random.permutation(21, epoch, i)[:16].tolist()
            c, q = k_means_by_loop(rows, [rows[n] for n in start], iterations=10)
            torch.testing.assert_close(then.centroids[i], torch.tensor(c, dtype=z.dtype), rtol=0, atol=1e-8)
            assert then.assignment[i, index].tolist() == q
            assert then.assignment[i, left_out].tolist() == [-1, -1, -1]


@pytest.mark.parametrize(("samples", "batch"), [(24, 7), (24, 12), (24, 24), (31, 8)])
def test_clusters_change_at_the_ends_of_epochs_and_only_there(samples: int, batch: int) -> None:
    method, changed = fresh(samples=samples), []
    for step in range(2 * (samples // batch)):
        before = method.assignment.clone(), method.centroids.clone()
        trained(step + 1, samples=samples, batch=batch, start=step, method=method)
        both = [not torch.equal(*pair) for pair in zip(before, (method.assignment, method.centroids), strict=True)]
        assert both[0] == both[1]
        changed += [step + 1] * both[0]
    assert changed == [samples // batch, 2 * (samples // batch)]


def test_epochs_are_those_of_the_feed() -> None:
    method, data = build(DeepClusterV2, samples=26), feed(DeepClusterV2, samples=26, batch=8)
    for step, chunks in enumerate(data.run(0, 6), 1):
        parts = method.encode(chunks[0]())
        assert method.compare(*parts).isfinite()
        method.update(step / 6, *(part.detach() for part in parts))
        if step % 3 == 0:
            seen = torch.cat([data.index(s) for s in range(step - 3, step)])
            assert (method.assignment[:, seen] >= 0).all() and (method.assignment < 0).sum() == 3 * 2


@pytest.mark.parametrize("cut", range(7))
def test_a_run_continues_from_its_state_alone(cut: int) -> None:
    whole, resumed = trained(7, method=fresh()), fresh(seed=1)
    resumed.load_state_dict(trained(cut, method=fresh()).state_dict())
    torch.manual_seed(5)
    generator = torch.get_rng_state()
    trained(7, start=cut, method=resumed)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert torch.equal(torch.get_rng_state(), generator)  # processes whose generators differ cluster the same


def test_each_clustering_takes_the_embeddings_of_one_large_view() -> None:
    method, sample, axes = fresh(), torch.arange(24), torch.eye(16).double()
    z = units(24, 8, 16)
    z[:, 0], z[:, 1] = axes[sample % 2], axes[sample // 12]
    method.update(0.1, z, sample)
    for i, kind in enumerate((sample % 2, sample // 12, sample % 2)):
        assert torch.equal(method.assignment[i][:, None] == method.assignment[i], kind[:, None] == kind)


def test_an_epoch_of_fewer_samples_than_prototypes_makes_fewer_clusters() -> None:
    method = trained(1, samples=17, batch=9, method=fresh(samples=17))
    z, index = given(0, 17, 9)
    assert all(len(q[index].unique()) == 9 for q in method.assignment)
    torch.testing.assert_close(method.centroids[1, method.assignment[1, index]], z[:, 1])
    assert not method.centroids[:, 9:].any() and method.compare(z, index).isfinite()


def test_more_prototypes_than_samples_are_refused() -> None:
    build(DeepClusterV2, samples=16)
    with pytest.raises(InputError, match="16 prototypes for 15 samples: choose --prototypes 15 or fewer"):
        build(DeepClusterV2, samples=15)


@pytest.mark.parametrize("batch", [7, 24])
def test_the_loss_is_equation_8_over_all_views_and_clusterings(batch: int) -> None:
    method, (z, index) = clustered(), given(4, 24, batch)
    assert (method.assignment[:, index] < 0).any()
    losses = []
    for c, q in zip(method.centroids, method.assignment[:, index], strict=True):
        own = [cluster for cluster in q.tolist() for _ in range(8)]
        losses.append(cross_entropy_by_loop(z.flatten(0, 1).tolist(), c.tolist(), own, 0.1))
    assert method.compare(z, index).item() == pytest.approx(sum(losses) / 3)


def test_views_of_one_size_run_in_one_forward() -> None:
    method, seen = build(DeepClusterV2), []
    method.encoder.register_forward_hook(lambda module, args, out: seen.append((tuple(args[0].shape), out)))
    large, small = torch.randn(2, 3, 3, 8, 8), torch.randn(6, 3, 3, 4, 4)
    index = torch.tensor([5, 0, 9])
    z, own = method.encode(Batch((*large, *small), index, torch.arange(3)))
    assert [shape for shape, _ in seen] == [(6, 3, 8, 8), (18, 3, 4, 4)] and torch.equal(own, index)
    projected = method.project(torch.cat([out for _, out in seen])).view(8, 3, 16)
    torch.testing.assert_close(z, (projected / projected.norm(dim=-1, keepdim=True)).transpose(0, 1))


@pytest.mark.parametrize("step", [0, 1, 2])
def test_in_the_first_epoch_every_sample_is_a_cluster_of_its_own(step: int) -> None:
    method, (z, index) = trained(step, method=fresh()), given(step, 24, 7)
    own = [n for n in range(7) for _ in range(8)]
    losses = [cross_entropy_by_loop(z.flatten(0, 1).tolist(), z[:, j].tolist(), own, 0.1) for j in range(2)]
    assert method.compare(z, index).item() == pytest.approx(sum(losses) / 2)


def test_the_loss_known_by_hand() -> None:
    method, axes, index = clustered(), torch.eye(16).double(), torch.arange(16)
    method.centroids.copy_(axes.expand(3, 16, 16))
    method.assignment[:, :16] = index
    own = axes[:, None].expand(16, 8, 16)
    assert method.compare(own, index).item() == pytest.approx(math.log(1 + 15 * math.exp(-10)))
    assert fresh().compare(own, index).item() == pytest.approx(math.log(1 + 15 * math.exp(-10)))
    method.centroids.copy_(axes[0].expand(3, 16, 16))
    assert method.compare(units(16, 8, 16), index).item() == pytest.approx(math.log(16))


def test_the_order_of_samples_and_of_views_does_not_matter() -> None:
    method, z, index = clustered(), units(24, 8, 16, seed=50), torch.arange(24)
    loss, first = method.compare(z, index), fresh().compare(z, index)
    torch.testing.assert_close(method.compare(z.flip(0), index.flip(0)), loss)
    torch.testing.assert_close(method.compare(z.flip(1), index), loss)
    assert not torch.allclose(method.compare(z.flip(0), index), loss)  # the clusters are the samples'
    torch.testing.assert_close(fresh().compare(z.flip(0), index.flip(0)), first)
    torch.testing.assert_close(fresh().compare(z[:, [1, 0, 2, 3, 4, 7, 6, 5]], index), first)


@pytest.mark.parametrize("first", [True, False])
def test_centroids_take_no_gradient(first: bool) -> None:
    method, z, index = fresh() if first else clustered(), units(24, 8, 16, seed=50).requires_grad_(), torch.arange(24)
    c = z[:, :2].detach().transpose(0, 1) if first else method.centroids
    q = index.expand(2, -1) if first else method.assignment
    (seen,) = torch.autograd.grad(method.compare(z, index), z)
    p = (z.detach() @ c[:, None].mT / 0.1).softmax(dim=-1)  # (clusterings, N, V, K)
    target = (q[:, :, None] == torch.arange(p.shape[-1])).double()[:, :, None]
    slope = (p - target) @ c[:, None] / 0.1 / len(c) / (8 * (q[0] >= 0).sum())  # d/dz of a cross entropy
    expected = torch.where(q[:, :, None, None] >= 0, slope, 0.0).sum(0)
    torch.testing.assert_close(seen, expected)
    assert not any(buffer.requires_grad for buffer in method.buffers())
