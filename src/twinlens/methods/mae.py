"""MAE: reconstruct the hidden three quarters of a picture from the visible quarter."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import TokenEncoder
from twinlens.encoders.transformer import Transformer, sincos
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
        self.encoder = encoder
        self.masked, self.normalise = masked, normalise
        self.embed = nn.Linear(encoder.width, decoder_width)
        self.mask_token = nn.Parameter(torch.randn(decoder_width) * 0.02)
        self.positions: Tensor
        self.register_buffer("positions", sincos(*encoder.grid, decoder_width), persistent=False)  # (T, decoder_width)
        self.decoder = Transformer(decoder_width, decoder_depth, decoder_heads)
        self.predict = nn.Linear(decoder_width, encoder.patch_dim)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        patches = self.encoder.patchify(batch.views[0])  # (N, T, P)
        n, count, _ = patches.shape
        order = random.choose(batch.key, count, count)  # (N, T)
        keep, hide = order.tensor_split([count - round(count * self.masked)], dim=1)  # (N, K), (N, T - K)
        visible = self.embed(self.encoder.tokens(batch.views[0], keep))  # (N, K, decoder_width)
        tokens = torch.cat((visible, self.mask_token.expand(n, hide.shape[1], -1)), dim=1) + self.positions[order]
        prediction = self.predict(self.decoder(tokens)[:, keep.shape[1] :])  # (N, T - K, P)
        target = patches.gather(1, hide[..., None].expand_as(prediction))
        return prediction, normalised(target) if self.normalise else target

    def compare(self, prediction: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(prediction, target)


def normalised(patches: Tensor) -> Tensor:
    """Each patch (N, T, P) to mean 0 and variance 1, the better target (section 4.1, "reconstruction target")."""
    var, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (var + 1e-6).sqrt()
