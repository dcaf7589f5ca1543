"""Next frame: draw what comes next in a clip from what came before."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import dim_of, shape_of
from twinlens.errors import InputError
from twinlens.heads.decoder import decoder, measured
from twinlens.heads.mlp import gelu_mlp
from twinlens.method import Method


class NextFrame(Method):
    """Mathieu, Couprie, LeCun 2016, "Deep multi-scale video prediction beyond mean square error".

    arXiv 1511.05440, the squared error and the gradient difference loss (equation 6, exponent 1), which asks for steps
    between pixels as large as the frame's, where the squared error alone is least for a blur. Both are sums over the
    frame, as in the paper, then divided by its numbers. The paper's network of several scales and its adversarial loss
    are left out: here frames meet as embeddings alone, all by one encoder, so that what is to be drawn has to be in
    them. Three frames are seen, where the paper has four.

    Args:
        encoder: (N, *shape) -> (N, D) of one frame, with `dim` = D and `shape`; it is trained in place.
        edges: Weight of the gradient difference loss, of pixels in [-1, 1] as in the paper; 1, a guess. There is none
            where a view is no picture.
        hidden: Width of the hidden layer of what predicts the next frame's code; 512, a guess.
        dim: Width of that code; 128, a guess.
        decoder_width: Features of the decoder's last map, a multiple of 8; 32, a guess.
    """

    views = Views(large=4, strength="weak", moving=True)
    coupled = False

    def __init__(
        self, encoder: nn.Module, *, edges: float = 1.0, hidden: int = 512, dim: int = 128, decoder_width: int = 32
    ) -> None:
        super().__init__()
        if edges < 0:
            raise InputError(f"edges is {edges}: expected a weight of 0 or more.")
        shape = shape_of(measured(encoder))
        self.encoder = encoder
        self.predictor = gelu_mlp((self.views.large - 1) * dim_of(encoder), hidden, dim)
        self.decoder = decoder(dim, shape, width=decoder_width)
        self.edges = edges if len(shape) == 3 else 0.0

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        y = batch.views[-1]
        y_hat = self.predict(batch)
        loss = (y_hat - y).square().flatten(1).sum(1)
        if self.edges:  # in [-2, 2] squares are four times the paper's, differences twice: all is four times its loss
            loss = loss + 2 * self.edges * gradient_difference(y, y_hat)
        return (loss / y[0].numel(),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def predict(self, batch: Batch) -> Tensor:
        """The last frame, (N, *shape), of those before it."""
        before = batch.views[:-1]
        h = self.encoder(torch.cat(before)).unflatten(0, (len(before), -1))  # (V - 1, N, D)
        y_hat: Tensor = self.decoder(self.predictor(h.transpose(0, 1).flatten(1)))
        return y_hat

    def show(self, batch: Batch) -> dict[str, Tensor]:
        before = {f"frame {number}": view for number, view in enumerate(batch.views[:-1], 1)}
        return before | {"predicted": self.predict(batch), "next": batch.views[-1]}


def gradient_difference(y: Tensor, y_hat: Tensor) -> Tensor:
    """How far the steps between neighbouring pixels of y (N, C, H, W) and y_hat are from being as large: (N,)."""
    down, across = ((y.diff(dim=d).abs() - y_hat.diff(dim=d).abs()).abs().flatten(1).sum(1) for d in (2, 3))
    return down + across
