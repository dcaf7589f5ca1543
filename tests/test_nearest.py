import pytest
import torch

from twinlens.nearest import _pack, top_k


def reference(query, bank, k):
    """All similarities at once in float64, sorted stably: equal ones stay in the bank's order."""
    similarity, index = (query.double() @ bank.double().T).sort(dim=1, descending=True, stable=True)
    return similarity[:, :k].float(), index[:, :k]


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 1000])
@pytest.mark.parametrize(("rows", "chunk"), [(512, 8192), (7, 1), (5, 64)])
def test_equals_a_full_stable_sort_with_many_ties(size, rows, chunk):
    generator = torch.Generator().manual_seed(size)
    query = torch.randint(
        -2, 3, (13, 3), generator=generator
    ).float()  # whole numbers: exact, and hardly any two differ
    bank = torch.randint(-2, 3, (size, 3), generator=generator).float()
    for k in (1, 6, 40):
        similarity, index = top_k(query, bank, k, rows=rows, chunk=chunk)
        expected = reference(query, bank, k)
        assert torch.equal(similarity, expected[0])
        assert torch.equal(index, expected[1])


def test_equals_a_full_sort_of_real_numbers():
    generator = torch.Generator().manual_seed(0)
    query, bank = torch.randn(50, 16, generator=generator), torch.randn(3000, 16, generator=generator)
    similarity, index = top_k(query, bank, 20, rows=16, chunk=500)
    expected = reference(query, bank, 20)
    torch.testing.assert_close(similarity, expected[0])
    assert torch.equal(index, expected[1])


def test_by_hand():
    bank = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [1.0, 5.0]])
    similarity, index = top_k(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), bank, 3)
    assert index.tolist() == [[0, 3, 1], [2, 1, 0]]
    assert similarity.tolist() == [[1, 1, 0], [3, 0, -1]]


def test_zero_and_minus_zero_are_equal():
    zeros, index = torch.tensor([0.0, -0.0, 0.0]), torch.arange(3)
    assert _pack(zeros, index).argsort(descending=True).tolist() == [0, 1, 2]


def test_shuffling_the_bank_moves_indices_alone():
    generator = torch.Generator().manual_seed(1)
    query, bank = torch.randn(9, 8, generator=generator), torch.randn(300, 8, generator=generator)
    order = torch.randperm(300, generator=generator)
    similarity, index = top_k(query, bank, 10)
    shuffled = top_k(query, bank[order], 10)
    torch.testing.assert_close(shuffled[0], similarity)
    assert torch.equal(order[shuffled[1]], index)


def test_half_precision_and_gradients_do_not_matter():
    query, bank = torch.eye(3, dtype=torch.bfloat16, requires_grad=True), torch.eye(3)
    similarity, index = top_k(query, bank, 1)
    assert index.flatten().tolist() == [0, 1, 2]
    assert similarity.dtype == torch.float32
    assert not similarity.requires_grad
