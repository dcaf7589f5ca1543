"""The perceptrons' layers, with and without norms."""

import torch
from torch import nn

from twinlens.heads.mlp import gelu_mlp, mlp


def test_the_last_layer_is_linear_alone() -> None:
    head = mlp(5, 7, 6, 3)
    kinds = [type(layer) for layer in head]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert [layer.bias is not None for layer in head if isinstance(layer, nn.Linear)] == [False, False, True]
    assert head(torch.randn(4, 5)).shape == (4, 3)


def test_with_a_norm_each_output_has_mean_0_and_variance_1_and_no_scale_of_its_own() -> None:
    head = mlp(5, 7, 3, norm_output=True)
    out = 0 + head(torch.randn(64, 5, dtype=torch.float32) * 9)
    torch.testing.assert_close(out.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)
    assert [name for name, _ in head.named_parameters()] == ["0.weight", "1.weight", "1.bias", "3.weight"]


def test_without_norms_every_token_is_computed_by_itself() -> None:
    head = gelu_mlp(5, 7, 6, 3).double()
    assert [type(layer) for layer in head] == [nn.Linear, nn.GELU, nn.Linear, nn.GELU, nn.Linear]
    x = torch.randn(4, 9, 5, dtype=torch.float64)
    out = head(x)
    assert out.shape == (4, 9, 3)
    for layer in (head[0], head[2]):
        x = x @ layer.weight.T + layer.bias
        x = x * (1 + (x / 2**0.5).erf()) / 2
    torch.testing.assert_close(out, x @ head[4].weight.T + head[4].bias)


def test_without_norms_biases_start_at_zero_and_weights_with_the_deviation_of_the_authors() -> None:
    head = gelu_mlp(2048, 2048)
    assert not head[0].bias.any()
    assert abs(head[0].weight.std() - 0.0221) < 1e-3
