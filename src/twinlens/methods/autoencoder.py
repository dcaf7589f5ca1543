"""Autoencoder: draw a sample from a code that is much smaller than it."""

from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of, shape_of
from twinlens.heads.decoder import decoder, measured
from twinlens.method import Method


class Autoencoder(Method):
    """Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks".

    Science 313, doi:10.1126/science.1127647. The paper trains layer by layer first, as restricted Boltzmann machines,
    and then the whole by cross-entropy; here the whole is trained from the start, by the squared error of a sample's
    numbers, on average.

    Args:
        encoder: (N, *shape) -> (N, D), with `dim` = D and `shape`; it is trained in place.
        dim: Width of the code, which is linear in the embedding as in the paper; 30 (there, for handwritten digits).
        decoder_width: Features of the decoder's last map, a multiple of 8; 32, a guess.
        decoder_hidden: Width of two fully connected layers before the decoder's first map; 0, none.
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(self, encoder: nn.Module, *, dim: int = 30, decoder_width: int = 32, decoder_hidden: int = 0) -> None:
        super().__init__()
        self.encoder = measured(encoder)
        self.bottleneck = nn.Linear(dim_of(encoder), dim)
        self.decoder = decoder(dim, shape_of(encoder), width=decoder_width, hidden=decoder_hidden)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        x = batch.views[0]
        return ((self.decode(self.code(x)) - x).square().flatten(1).mean(1),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def code(self, view: Tensor) -> Tensor:
        code: Tensor = self.bottleneck(self.encoder(view))
        return code

    def decode(self, code: Tensor) -> Tensor:
        view: Tensor = self.decoder(code)
        return view

    def show(self, batch: Batch) -> dict[str, Tensor]:
        x = batch.views[0]
        return {"sample": x, "reconstruction": self.decode(self.code(x))}
