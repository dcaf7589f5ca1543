"""SimMIM: the encoder sees a mask token where pixels are hidden, and one linear layer predicts them."""

import torch
from torch import Tensor, nn

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import TokenEncoder
from twinlens.encoders.transformer import Transformer
from twinlens.heads.content import Content
from twinlens.method import Method
from twinlens.views.masks import Kind, hide


class SimMIM(Method):
    """Xie et al. 2022, "SimMIM: a simple framework for masked image modeling".

    arXiv 2111.09886, section 3. The paper hides squares of 32 pixels, 2 x 2 patches of its ViT's 16; here a token is
    hidden by itself, whatever lies under it, and neighbours are hidden together with `kind` "block". Of words the
    linear layer predicts the probability, in place of pixels.

    Args:
        encoder: One that gives tokens, a ViT.
        masked: Share of the tokens that is hidden; 0.6 (authors' published settings for ViT-B).
        kind: Which tokens are hidden: random, block, inverse block, tube or span; random (section 3.2).
        head_depth: Transformer blocks before the linear layer; 0 (section 3.3, where heavier heads are tried and left).
            In an encoder of few blocks the last one, which answers for hidden tokens alone, spoils the seen ones.
        head_heads: Attention heads of those blocks, which are as wide as the encoder; 1.
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(
        self, encoder: TokenEncoder, *, masked: float = 0.6, kind: Kind = "random", head_depth: int = 0,
        head_heads: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder, self.masked, self.kind = encoder, masked, kind
        self.mask_token = nn.Parameter(torch.randn(encoder.width) * 0.02)
        self.head = Transformer(encoder.width, head_depth, head_heads) if head_depth else nn.Identity()
        self.content = Content(encoder, encoder.width, absolute=True)  # section 3.3; section 3.4: the l1 loss

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        patches, prediction, mask = self.predict(batch)
        hidden = patches[mask].unflatten(0, (len(patches), -1))  # (N, M, P): as many of each sample
        return (self.content.mean(prediction, hidden),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """All patches (N, T, P), what is predicted of the M hidden ones (N, M, ...), and which those are (N, T)."""
        view = batch.views[0]
        mask = hide(self.kind, batch.key, self.encoder.grid, self.masked)  # (N, T)
        tokens = self.head(self.encoder.tokens(view, mask=mask, mask_token=self.mask_token))  # (N, T, D)
        return self.encoder.patchify(view), self.content(tokens[mask].unflatten(0, (len(view), -1))), mask

    def show(self, batch: Batch) -> dict[str, Tensor]:
        patches, prediction, mask = self.predict(batch)
        where = mask[..., None]
        filled = self.content.values(prediction, patches[mask].unflatten(0, (len(patches), -1)))
        shown = {
            "sample": patches,
            "seen": patches.masked_fill(where, 0),
            "filled": patches.masked_scatter(where, filled),
        }
        return {title: self.encoder.unpatchify(each) for title, each in shown.items()}
