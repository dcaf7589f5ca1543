"""Denoising autoencoder: draw the clean sample from a corrupted one."""

from math import prod

from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of, shape_of
from twinlens.errors import InputError
from twinlens.heads.decoder import decoder, measured
from twinlens.method import Method
from twinlens.views.masks import scattered

_RANGE = 4  # from -2 to 2, which views fill


class Denoising(Method):
    """Vincent, Larochelle, Lajoie, Bengio, Manzagol 2010, "Stacked denoising autoencoders".

    JMLR 11:3371-3408, after Vincent et al. 2008, doi:10.1145/1390156.1390294. The paper stacks shallow ones with tied
    weights; here the encoder is trained as a whole, by the squared error of all numbers of a sample, on average. All
    channels of a pixel are hidden together, and in a sequence all of a moment, since one would give away another. What
    is hidden is 0, as in the paper, but 0 is middle grey here. With both kinds of noise, what is hidden has no other.

    Args:
        encoder: (N, *shape) -> (N, D), with `dim` = D and `shape`; it is trained in place.
        noise: Deviation of the Gaussian noise, 1 being the range of a view, as in the paper, where it is [0, 1]; 0.
        masked: Share of the pixels or moments that are hidden, the same in every sample; 0.25 (the paper chooses
            between several shares by validation; which one is a guess).
        decoder_width: Features of the decoder's last map, a multiple of 8; 32, a guess.
        dim: Width of a code, linear in the embedding as in `autoencoder`, from which the sample is drawn; 0, a guess,
            draws it from the embedding itself.
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(
        self, encoder: nn.Module, *, noise: float = 0.0, masked: float = 0.25, decoder_width: int = 32, dim: int = 0
    ) -> None:
        super().__init__()
        shape = shape_of(measured(encoder))
        channels = max(-3, -len(shape)) if len(shape) > 1 else None  # which axis they are
        self.places = [1 if axis == channels else side for axis, side in enumerate(shape, -len(shape))]
        self.noise, self.hidden = noise, round(masked * prod(self.places))
        if noise < 0 or not 0 <= self.hidden < prod(self.places) or not (noise or self.hidden):
            raise InputError(
                f"noise is {noise} and masked {masked}, {self.hidden} of {prod(self.places)} places: expected a "
                f"deviation and a share that leaves some, not both 0; without noise there is the method autoencoder."
            )
        self.encoder = encoder
        self.bottleneck = nn.Linear(dim_of(encoder), dim) if dim else nn.Identity()
        self.decoder = decoder(dim or dim_of(encoder), shape, width=decoder_width)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        x = batch.views[0]
        y = self.encoder(self.corrupt(x, batch.key))  # (N, D)
        z = self.decoder(self.bottleneck(y))
        return ((z - x).square().flatten(1).mean(1),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def corrupt(self, x: Tensor, key: Tensor) -> Tensor:
        """Draws from q_D for each sample's key: (N, *shape) -> (N, *shape)."""
        if self.noise:
            x = x + self.noise * _RANGE * random.normal(random.fold(key, 0), *x.shape[1:])
        if self.hidden:
            mask = scattered(random.fold(key, 1), prod(self.places), self.hidden)
            x = x.masked_fill(mask.view(-1, *self.places), 0.0)
        return x

    def show(self, batch: Batch) -> dict[str, Tensor]:
        x = batch.views[0]
        seen = self.corrupt(x, batch.key)
        return {"sample": x, "seen": seen, "clean": self.decoder(self.bottleneck(self.encoder(seen)))}
