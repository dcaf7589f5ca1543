"""The multilayer perceptron that nearly every method puts behind its encoder."""

from itertools import pairwise

from torch import nn


def mlp(*widths: int) -> nn.Sequential:
    """(N, widths[0]) -> (N, widths[-1]): linear, batch norm, ReLU between layers; the last layer is linear alone.

    Linear layers before a norm carry no bias, since the norm's own replaces it.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
