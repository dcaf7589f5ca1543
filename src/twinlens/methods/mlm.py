"""MLM: name the tokens that were hidden, exchanged or left as they are, and do not know which is which."""

import torch
from torch import Tensor, nn

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import TokenEncoder
from twinlens.encoders.transformer import Transformer
from twinlens.errors import InputError
from twinlens.heads.content import Content, there
from twinlens.method import Method
from twinlens.views.masks import Kind, hide


class MLM(Method):
    """Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language understanding".

    arXiv 1810.04805, section 3.1, "task #1: masked LM", and appendix A.1. A random token is here one that the sample
    shows at another place, as a modality without words has no others; the paper draws one of all words. What is not
    words is predicted by the levels of its values, so that it stays a question of which. A linear layer predicts; the
    authors' code has another one, with GELU and norm, before it.

    Args:
        encoder: One that gives tokens.
        masked: Share of the tokens that is chosen to be predicted; 0.15 (section 3.1).
        replaced: Of those, the shares that become the mask token and a random one, the rest stays; 0.8, 0.1 (there).
        kind: Which tokens are chosen: random, block, inverse block, tube or span; random (there).
        levels: How many levels values have; 8, a guess. 0 predicts them by their squared error. Ignored for words.
        head_depth: Transformer blocks before the linear layer; 0 (the paper has none). In an encoder of few blocks the
            last one, which answers for chosen tokens alone, spoils the others.
        head_heads: Attention heads of those blocks, which are as wide as the encoder; 1.
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(
        self, encoder: TokenEncoder, *, masked: float = 0.15, replaced: tuple[float, float] = (0.8, 0.1),
        kind: Kind = "random", levels: int = 8, head_depth: int = 0, head_heads: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        if min(replaced) < 0 or sum(replaced) > 1:
            raise InputError(f"replaced is {replaced}: expected two shares of the chosen tokens, 1 or less together.")
        self.encoder, self.masked, self.replaced, self.kind = encoder, masked, replaced, kind
        self.mask_token = nn.Parameter(torch.randn(encoder.width) * 0.02)
        self.head = Transformer(encoder.width, head_depth, head_heads) if head_depth else nn.Identity()
        self.content = Content(encoder, encoder.width, levels=levels)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        patches = self.encoder.patchify(batch.views[0])  # (N, T, P)
        chosen, hidden, given = self.corrupt(patches, batch.key)
        truth = patches[chosen].unflatten(0, (len(patches), -1))  # (N, M, P): as many of each sample
        return (self.content.mean(self.predict(given, hidden, chosen), truth),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def corrupt(self, patches: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which tokens are chosen (N, T), which of those are hidden (N, T), and patches of which some are exchanged."""
        chosen = hide(self.kind, random.fold(key, 0), self.encoder.grid, self.masked)
        fate, draw = random.uniform(random.fold(key, 1), 2, chosen.shape[1]).unbind(1)  # (N, T) each
        mask, exchange = self.replaced
        real = there(self.encoder, patches)
        hidden = chosen & real & (fate < mask)
        shown = real & ~chosen  # not to give away at one place what is asked for at another
        count = shown.sum(dim=1, keepdim=True)
        exchanged = chosen & real & (fate >= mask) & (fate < mask + exchange) & (count > 0)
        source = (~shown).int().argsort(dim=1, stable=True).gather(1, (draw * count).long())  # (N, T)
        others = patches.gather(1, source[..., None].expand_as(patches))
        return chosen, hidden, torch.where(exchanged[..., None], others, patches)

    def predict(self, given: Tensor, hidden: Tensor, chosen: Tensor) -> Tensor:
        """What is predicted of the M chosen tokens: (N, M, ...)."""
        view = self.encoder.unpatchify(given)
        tokens = self.head(self.encoder.tokens(view, mask=hidden, mask_token=self.mask_token))  # (N, T, D)
        prediction: Tensor = self.content(tokens[chosen].unflatten(0, (len(given), -1)))
        return prediction

    def show(self, batch: Batch) -> dict[str, Tensor]:
        patches = self.encoder.patchify(batch.views[0])
        chosen, hidden, given = self.corrupt(patches, batch.key)
        truth = patches[chosen].unflatten(0, (len(patches), -1))
        filled = self.content.values(self.predict(given, hidden, chosen), truth)
        shown = {
            "sample": patches,
            "seen": given.masked_fill(hidden[..., None], 0),
            "filled": patches.masked_scatter(chosen[..., None], filled),
        }
        return {title: self.encoder.unpatchify(each) for title, each in shown.items()}
