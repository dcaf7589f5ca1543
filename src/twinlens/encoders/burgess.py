"""The plain convolutional network of the literature on disentangling, small enough for long runs on a processor.

Burgess et al. 2018, "Understanding disentangling in beta-VAE", arXiv 1804.03599, appendix A: convolutions of 32
channels, 4 x 4 with stride 2, until a map of about 4 x 4 is left, and two fully connected layers of 256. No norm
couples samples, and places share no weights in the last layers, so that a place can become a number.
"""

from torch import Tensor, nn

from twinlens.initialization import he_start

_LEAST = 4  # pixels that the last map keeps along a side, as there


class Burgess(nn.Module):
    """Strided convolutions, and two fully connected layers over all positions."""

    def __init__(self, channels: int, size: int, width: int, connected: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, side = channels, size
        while side >= 2 * _LEAST or not layers:
            layers += [nn.Conv2d(before, width, 4, 2, padding=1), nn.ReLU()]
            before, side = width, side // 2
        self.convolutions = nn.Sequential(*layers)  # (N, width, side, side)
        self.connected = nn.Sequential(
            nn.Flatten(), nn.Linear(width * side**2, connected), nn.ReLU(), nn.Linear(connected, connected), nn.ReLU()
        )
        he_start(self)
        self.dim, self.shape = connected, (channels, size, size)

    def forward(self, view: Tensor) -> Tensor:
        """`view` (N, C, S, S) -> (N, D)."""
        z: Tensor = self.connected(self.convolutions(view))
        return z


def burgess(channels: int, size: int, *, width: int = 32, connected: int = 256) -> Burgess:
    """Convolutions 4 x 4 with stride 2 and two fully connected layers, without norms (Burgess et al. 2018).

    Args:
        channels: Channels of a view.
        size: Height and width of a view, in pixels.
        width: Channels of each convolution; 32, as there.
        connected: D, the width of both fully connected layers; 256, as there.
    """
    return Burgess(channels, size, width, connected)
