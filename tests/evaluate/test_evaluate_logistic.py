import pytest
import torch
from sklearn.linear_model import LogisticRegression

from twinlens.evaluate import logistic
from twinlens.evaluate.logistic import Axes, cross_entropy, fit, logits, principal

B, P, N, D, K = 2, 3, 120, 6, 4


@pytest.fixture
def problem():
    """Overlapping classes, correlated features, three folds, and another penalty for each problem."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(K, (B, N), generator=generator)
    mix = torch.randn(D, D, generator=generator, dtype=torch.float64)
    x = torch.randn(B, N, D, generator=generator, dtype=torch.float64) @ mix + torch.eye(K, D, dtype=torch.float64)[y]
    x = x - x.mean((0, 1))
    rows = (torch.arange(N) % P != torch.arange(P)[:, None]).double()
    rows = rows / rows.sum(1, keepdim=True)
    penalty = torch.tensor([[1.0, 0.1, 0.01], [0.3, 1e-3, 1e-4]], dtype=torch.float64)
    return x, y, rows, penalty, torch.zeros(B, P, K, D + 1, dtype=torch.float64)


def test_weights_equal_scikit_learn(problem):
    x, y, rows, penalty, _ = problem
    weights = fit(*problem, principal(x.flatten(0, 1)), tolerance=1e-8)
    for b in range(B):
        for p in range(P):
            used = rows[p] > 0
            inverse = 1 / (float(penalty[b, p]) * int(used.sum()))
            model = LogisticRegression(C=inverse, tol=1e-9, solver="newton-cholesky")
            model.fit(x[b, used].numpy(), y[b, used].numpy())
            own = weights[b, p] - weights[b, p].mean(0)
            torch.testing.assert_close(own[:, :-1], torch.from_numpy(model.coef_), atol=1e-4, rtol=1e-4)
            intercept = torch.from_numpy(model.intercept_ - model.intercept_.mean())
            torch.testing.assert_close(own[:, -1], intercept, atol=1e-4, rtol=1e-4)


def test_gradient_vanishes_at_the_solution(problem):
    x, y, rows, penalty, _ = problem
    weights = fit(*problem, principal(x.flatten(0, 1)), tolerance=1e-8).requires_grad_()
    error = (cross_entropy(logits(x, weights), y) * rows).sum() + (
        penalty[..., None, None] / 2 * weights[..., :-1].square()
    ).sum()
    (gradient,) = torch.autograd.grad(error, weights)
    assert gradient.abs().max() < 1e-7


def test_neither_company_nor_start_nor_axes_change_the_solution(problem):
    x, y, rows, penalty, _ = problem
    together = fit(*problem, principal(x.flatten(0, 1)), tolerance=1e-8)
    odd = Axes(torch.eye(D, dtype=torch.float64)[:, :2], torch.tensor([0.5, 3.0], dtype=torch.float64))
    for b in range(B):
        for p in range(P):
            far = torch.randn(1, 1, K, D + 1, generator=torch.Generator().manual_seed(p)).double()
            far = far - far.mean(2, keepdim=True)  # intercepts are known up to what all classes share
            alone = fit(x[b, None], y[b, None], rows[p, None], penalty[b, p][None, None], far, odd, tolerance=1e-8)
            torch.testing.assert_close(alone[0, 0], together[b, p], atol=1e-5, rtol=1e-5)


def test_without_features_intercepts_are_log_frequencies():
    y = torch.tensor([[0, 0, 0, 1]])
    axes = Axes(torch.eye(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))
    x, one = torch.zeros(1, 4, 2, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    weights = fit(x, y, torch.full((1, 4), 0.25).double(), one, torch.zeros(1, 1, 2, 3).double(), axes, tolerance=1e-9)
    odds = weights[0, 0, 0, -1] - weights[0, 0, 1, -1]
    assert odds.exp().item() == pytest.approx(3)
    assert weights[..., :-1].abs().max() == 0


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_principal_axes_are_orthogonal_and_carry_the_variance(shape):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x - x.mean(0)
    vectors, variances = principal(x, count=4)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close((x @ vectors).square().mean(0), variances)
    torch.testing.assert_close(variances[-1], torch.linalg.matrix_norm(x, 2).square() / shape[0])


def test_what_float32_cannot_decompose_float64_does(monkeypatch):
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    expected, eigh = logistic.principal(x), torch.linalg.eigh

    def narrow(a):
        if a.dtype == torch.float32:
            raise torch.linalg.LinAlgError("failed to converge")
        return eigh(a)

    monkeypatch.setattr(torch.linalg, "eigh", narrow)
    found = logistic.principal(x)
    assert found[0].dtype == torch.float32
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-5)
