"""From an embedding back to a view: what autoencoders, generators and predictors of frames share."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from twinlens.errors import InputError
from twinlens.initialization import he_start

_CELLS = 7  # the least side of the map that is made of an embedding, as the stem of the small encoder leaves


class Double(nn.Module):
    """Features (N, C, h, w) -> (N, `out`, *size): twice as many rows and columns, or one fewer where sides are odd.

    A convolution at the small side makes four features for each, which are dealt out to the pixels (Shi et al. 2016,
    "Real-time single image and video super-resolution", arXiv 1609.05158, section 3.1). On a processor that is twenty
    times as fast as the transposed convolution it equals in what it can express.
    """

    def __init__(self, features: int, out: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv, self.size = nn.Conv2d(features, 4 * out, 3, padding=1), size

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.size
        return F.pixel_shuffle(self.conv(x), 2)[:, :, :rows, :columns]


def decoder(dim: int, shape: Sequence[int], *, width: int = 32, hidden: int = 0) -> nn.Sequential:
    """A network (N, dim) -> (N, *shape): convolutions that double the side for pictures (C, H, W), else a perceptron.

    As the generator of DCGAN (Radford et al. 2016, arXiv 1511.06434, section 3): a linear map to a small map of
    features, then steps that double its side and halve its features, the last from `width` to the channels, and no norm
    on the pixels. Norms are group norms (Wu & He 2018, arXiv 1803.08494), which couple no samples. The pixels have no
    bound. With `hidden` two fully connected layers of so many features come first and there are no norms, as in Burgess
    et al. 2018, arXiv 1804.03599, appendix A: a number of the code can then mean a place or an angle. Layers then start
    as in `he_start`; with norms, or at torch's start, places were learnt and colours were not.
    """
    if dim < 1 or width < 8 or width % 8:
        raise InputError(f"a decoder of {dim} features and width {width}: expected 1 or more, and a multiple of 8.")
    if hidden:
        connected = (nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        plain = [layer for layer in decoder(hidden, shape, width=width) if not isinstance(layer, nn.GroupNorm)]
        network = nn.Sequential(*connected, *plain)
        he_start(network)
        return network
    if len(shape) != 3:
        hidden = 8 * width
        layers: list[nn.Module] = [nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, prod(shape))]
        return nn.Sequential(*layers, nn.Unflatten(1, tuple(shape)))
    channels, height, breadth = shape
    smallest, *larger = _sides(height, breadth)
    features = [width * 2 ** (len(larger) - step - 1) for step in range(len(larger))]  # before each doubling
    first = features[0] if larger else width
    layers = [nn.Linear(dim, first * prod(smallest)), nn.Unflatten(1, (first, *smallest))]
    for before, after, size in zip(features, [*features[1:], channels], larger):
        layers += [nn.GroupNorm(8, before), nn.ReLU(), Double(before, after, size)]
    if not larger:
        layers += [nn.GroupNorm(8, width), nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1)]
    return nn.Sequential(*layers)


def _sides(height: int, breadth: int) -> list[tuple[int, int]]:
    """The sides of the maps, smallest first: halved, rounding up, as often as seven cells are left."""
    sides = [(height, breadth)]
    while min(sides[0]) >= 2 * _CELLS:
        height, breadth = sides[0]
        sides.insert(0, ((height + 1) // 2, (breadth + 1) // 2))
    return sides


def measured(encoder: nn.Module) -> nn.Module:
    """The encoder, whose views a decoder can draw; InputError if they are words, of which there is none in between."""
    vocabulary = getattr(encoder, "vocabulary", None)
    if vocabulary is not None:
        raise InputError(
            f"views are ids of {vocabulary} words: expected numbers, such as pixels; take a method that predicts "
            f"tokens, such as mae."
        )
    return encoder
