"""Self-distillation: targets, cross entropies between views and at hidden tokens, and what they keep in memory."""

import math

import pytest
import torch
from torch import Tensor

from twinlens.losses.distillation import across_views, at_hidden, centred, cross_entropy, scores


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def units(*shape: int, seed: int = 0) -> Tensor:
    x = normal(*shape, seed=seed)
    return x / x.norm(dim=-1, keepdim=True)


def softmax(logits: list[float]) -> list[float]:
    exps = [math.exp(x - max(logits)) for x in logits]
    return [e / sum(exps) for e in exps]


def entropy(p: list[float], logits: list[float]) -> float:
    return -sum(a * math.log(b) for a, b in zip(p, softmax(logits), strict=True))


def logits(x: Tensor, w: Tensor, temperature: float) -> list[float]:
    return [float(x @ row) / temperature for row in w]


def targets(*shape: int, seed: int = 5) -> Tensor:
    return normal(*shape, seed=seed).softmax(dim=-1)


def test_targets_are_centred_and_sharpened() -> None:
    t, w, center = units(3, 2, 4), units(6, 4, seed=1), 0.1 * normal(6, seed=2)
    found = centred(t, w, center, torch.tensor(0.05))
    for n in range(3):
        for i in range(2):
            less = [(float(t[n, i] @ w[k]) - float(center[k])) / 0.05 for k in range(6)]
            assert found[n, i].tolist() == pytest.approx(softmax(less), rel=1e-6)
    alike = centred(t, w, center, torch.tensor(50.0))
    assert found.amax() > 0.9 and (alike - 1 / 6).abs().max() < 0.01
    assert not centred(t.requires_grad_(), w.requires_grad_(), center, torch.tensor(0.05)).requires_grad


@pytest.mark.parametrize("large", [1, 2, 3])
def test_views_are_compared_with_all_large_ones_but_themselves(large: int) -> None:
    p_t, s, w = targets(3, large, 6), units(3, 5, 4), units(6, 4, seed=1)
    terms = [
        entropy(p_t[n, i].tolist(), logits(s[n, v], w, 0.1))
        for n in range(3) for i in range(large) for v in range(5) if i != v
    ]  # fmt: skip
    assert len(terms) == 3 * large * 4
    assert across_views(p_t, s, w, temperature=0.1).item() == pytest.approx(sum(terms) / len(terms))


def test_each_sample_s_hidden_tokens_count_as_one() -> None:
    mask = torch.tensor([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [1, 1, 1, 1, 1]]).bool()
    p_t, s, w = targets(4, 5, 6), units(4, 5, 4), units(6, 4, seed=1)
    found = at_hidden(p_t[mask], s[mask], w, mask, temperature=0.1)
    for n, hidden in enumerate(mask):
        each = [entropy(p_t[n, i].tolist(), logits(s[n, i], w, 0.1)) for i in range(5) if hidden[i]]
        assert found[n].item() == pytest.approx(sum(each) / max(1, len(each)))


def test_without_a_hidden_token_everything_still_takes_a_gradient() -> None:
    mask, s, w = torch.zeros(2, 5).bool(), units(2, 5, 4).requires_grad_(), units(6, 4, seed=1).requires_grad_()
    loss = at_hidden(targets(2, 5, 6)[mask], s[mask], w, mask, temperature=0.1).sum()
    loss.backward()
    assert loss == 0 and s.grad is not None and w.grad is not None and not s.grad.any() and not w.grad.any()


def test_gradients() -> None:
    p_t, mask = targets(3, 2, 6), torch.tensor([[1, 0], [1, 1], [0, 0]]).bool()
    s, w = units(3, 4, 4).requires_grad_(), units(6, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, w: across_views(p_t, s, w, temperature=0.5), (s, w))
    assert torch.autograd.gradcheck(lambda s, w: at_hidden(p_t[mask], s[mask], w, mask, temperature=0.5), (s[:, :2], w))


def test_the_student_s_outputs_are_not_kept() -> None:
    p_t, s, w = targets(50, 2, 70), units(50, 12, 4).requires_grad_(), units(70, 4, seed=1)
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        if x.numel() >= 50 * 70:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // (50 * 70 * 8)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        across_views(p_t, s, w, temperature=0.1)
        assert sum(kept.values()) <= 3  # the targets of the small views and of each large one
        kept.clear()
        cross_entropy(p_t[:, 0], s[:, 0], w, temperature=0.1)
        assert sum(kept.values()) <= 2  # p_t, of which the target is a part


def test_mixed_precision_does_not_round_the_scores() -> None:
    x, w = units(5, 4).float(), units(6, 4, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scores(x, w)
    assert found.dtype == torch.float32 and torch.equal(found, x @ w.T)
    assert scores(x.bfloat16(), w).dtype == torch.float32
