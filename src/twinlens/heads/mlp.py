"""The multilayer perceptrons that nearly every method puts behind its encoder."""

from itertools import pairwise

from torch import nn


def mlp(*widths: int, norm_output: bool = False) -> nn.Sequential:
    """(N, widths[0]) -> (N, widths[-1]): linear, batch norm, ReLU between layers; the last layer is linear alone.

    With `norm_output` a batch norm follows it, without scale and shift, as in the authors' code of SimSiam and MoCo v3.
    Linear layers before a norm carry no bias, since the norm's own replaces it.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
    layers.append(nn.Linear(widths[-2], widths[-1], bias=not norm_output))
    if norm_output:
        layers.append(nn.BatchNorm1d(widths[-1], affine=False))
    return nn.Sequential(*layers)


def gelu_mlp(*widths: int) -> nn.Sequential:
    """(..., widths[0]) -> (..., widths[-1]): linear, GELU between layers, no norm; the last layer is linear alone.

    Biases start at zero, as in the code of DINO's authors: torch's own would drown what differs between samples.
    Weights are Xavier-uniform: at 2048 features of the authors' deviation, 0.02, and larger in smaller heads.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        linear = nn.Linear(before, after)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.GELU()]
    return nn.Sequential(*layers[:-1])
