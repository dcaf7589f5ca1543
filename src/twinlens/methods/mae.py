"""MAE: reconstruct the hidden three quarters of a picture from the visible quarter."""

import torch
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import TokenEncoder
from twinlens.encoders.transformer import Transformer, sincos
from twinlens.heads.content import Content, at
from twinlens.method import Method


class MAE(Method):
    """He, Chen, Xie, Li, Dollar, Girshick 2022, "Masked autoencoders are scalable vision learners".

    arXiv 2111.06377, section 3 and appendix A.1.

    Args:
        encoder: One that gives tokens, a ViT.
        masked: Share of the tokens that is hidden; 0.75 (section 4.1).
        normalise: Predict each patch at mean 0 and variance 1, not as it is; true (table 1d).
        decoder_width: Width of the decoder; 512 (table 1b).
        decoder_depth: Blocks of the decoder; 8 (table 1a).
        decoder_heads: Attention heads of the decoder; 16 (appendix A.1).
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(
        self,
        encoder: TokenEncoder,
        *,
        masked: float = 0.75,
        normalise: bool = True,
        decoder_width: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
    ) -> None:
        super().__init__()
        self.encoder, self.masked = encoder, masked
        self.embed = nn.Linear(encoder.width, decoder_width)
        self.mask_token = nn.Parameter(torch.randn(decoder_width) * 0.02)
        self.positions: Tensor
        self.register_buffer("positions", sincos(encoder.grid, decoder_width), persistent=False)  # (T, decoder_width)
        self.decoder = Transformer(decoder_width, decoder_depth, decoder_heads)
        self.content = Content(encoder, decoder_width, normalise=normalise)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        patches, prediction, hide = self.predict(batch)
        return (self.content.mean(prediction, at(patches, hide)),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """All patches (N, T, P), what is predicted of the hidden ones (N, T - K, P), and which those are."""
        view = batch.views[0]
        patches = self.encoder.patchify(view)
        n, count, _ = patches.shape
        order = random.choose(batch.key, count, count)  # (N, T)
        keep, hide = order.tensor_split([count - round(count * self.masked)], dim=1)  # (N, K), (N, T - K)
        visible = self.embed(self.encoder.tokens(view, keep))  # (N, K, decoder_width)
        tokens = torch.cat((visible, self.mask_token.expand(n, hide.shape[1], -1)), dim=1) + self.positions[order]
        return patches, self.content(self.decoder(tokens)[:, keep.shape[1] :]), hide

    def show(self, batch: Batch) -> dict[str, Tensor]:
        patches, prediction, hide = self.predict(batch)
        where = hide[..., None].expand(-1, -1, patches.shape[2])
        filled = self.content.values(prediction, at(patches, hide))
        shown = {"sample": patches, "seen": patches.scatter(1, where, 0), "filled": patches.scatter(1, where, filled)}
        return {title: self.encoder.unpatchify(each) for title, each in shown.items()}
