"""Where the weights of a network start, for encoders and heads alike."""

from torch import nn


def he_start(network: nn.Module) -> None:
    """Starts layers that ReLU follows so that what passes them keeps its size.

    He et al. 2015, "Delving deep into rectifiers", arXiv 1502.01852, section 2.2.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
