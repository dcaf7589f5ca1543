"""Context encoder: fill the holes of a picture from what is around them."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of, shape_of
from twinlens.heads.decoder import decoder, measured
from twinlens.method import Method
from twinlens.views.masks import Kind, enlarged, hide


class Inpainting(Method):
    """Pathak, Krähenbühl, Donahue, Darrell, Efros 2016, "Context encoders: feature learning by inpainting".

    arXiv 1604.07379, section 3: random blocks are taken out of a picture, and the squared error of what is drawn counts
    there alone (equation 1, here on average over a sample's hidden numbers). Holes are filled with 0, middle grey,
    where the paper takes the mean. Its adversarial loss, and the larger weight of a margin where holes overlap with
    what is seen, are left out. Of sequences, moments are hidden, all channels at once.

    Args:
        encoder: (N, *shape) -> (N, D), with `dim` = D and `shape`; it is trained in place.
        masked: Share of the view that is hidden; 0.25 (section 3.3: random blocks cover up to a quarter).
        kind: How it is hidden: block (section 3.3), random or inverse block; in a sequence also span.
        cells: Rows and columns of cells that a picture is cut into, each of which is hidden or not; fewer where there
            are not so many pixels; 7, a guess.
        decoder_width: Features of the decoder's last map, a multiple of 8; 32, a guess.
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(
        self, encoder: nn.Module, *, masked: float = 0.25, kind: Kind = "block", cells: int = 7, decoder_width: int = 32
    ) -> None:
        super().__init__()
        self.encoder = measured(encoder)
        self.shape = shape_of(encoder)
        self.decoder = decoder(dim_of(encoder), self.shape, width=decoder_width)
        self.masked, self.kind, self.cells = masked, kind, cells
        self.holes(torch.zeros(1, dtype=torch.int64))  # what cannot be hidden is refused at once

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        x = batch.views[0]
        hole = self.holes(batch.key)
        filled = self.decoder(self.encoder(x.masked_fill(hole, 0.0)))
        hole = hole.expand_as(x).flatten(1)
        error = (filled - x).square().flatten(1)
        return (error.masked_fill(~hole, 0.0).sum(1) / hole.sum(1),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def holes(self, key: Tensor) -> Tensor:
        """What is hidden of each sample, for all its channels at once: bool (N, 1, H, W), (N, 1, L) or (N, L)."""
        *before, last = self.shape
        if len(before) < 2:
            return hide(self.kind, key, (last,), self.masked).view(-1, *[1] * len(before), last)
        size = (before[-1], last)
        grid = (min(self.cells, size[0]), min(self.cells, size[1]))
        pixels = enlarged(hide(self.kind, key, grid, self.masked), grid, size)
        return pixels.view(-1, *[1] * (len(before) - 1), *size)

    def show(self, batch: Batch) -> dict[str, Tensor]:
        x = batch.views[0]
        hole = self.holes(batch.key)
        seen = x.masked_fill(hole, 0.0)
        return {"sample": x, "seen": seen, "filled": self.decoder(self.encoder(seen)).where(hole, x)}
