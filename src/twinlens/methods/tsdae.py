"""TSDAE: from one vector of what is left of a text, spell all of it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from twinlens.batch import PAD, Batch, Views
from twinlens.encoders.contract import WordEncoder
from twinlens.errors import InputError
from twinlens.heads.content import mean
from twinlens.heads.speller import Speller
from twinlens.method import Method
from twinlens.views.masks import deleted


class TSDAE(Method):
    """Wang, Reimers, Gurevych 2021, "TSDAE: using Transformer-based sequential denoising auto-encoder".

    arXiv 2104.06979, section 3. Words are deleted, the encoder makes one vector of the rest, and a decoder that sees
    nothing else of the text (`heads.speller`) reconstructs it. Deleted are tokens, special ones not excepted, where the
    authors' code deletes whole words. The decoder has weights of its own, where the paper ties them to the encoder's.

    Args:
        encoder: One that takes words.
        deleted: Share of the words that is deleted, one stays at least; 0.6 (section 3).
        decoder_width: Width of the decoder; 256, that of our encoder of words, as the paper has one size for both.
        decoder_depth: Blocks of the decoder; 4 (as above).
        decoder_heads: Attention heads of the decoder; 4 (as above).
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(
        self, encoder: WordEncoder, *, deleted: float = 0.6, decoder_width: int = 256, decoder_depth: int = 4,
        decoder_heads: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        vocabulary = getattr(encoder, "vocabulary", None)
        if not vocabulary:
            raise InputError(
                f"{type(encoder).__name__} takes no words: tsdae deletes words and spells them; take texts and an "
                f"encoder of words, or a method such as denoising."
            )
        if not 0 < deleted < 1:
            raise InputError(f"a share of {deleted} of the words is deleted: expected one above 0 and below 1.")
        self.encoder, self.deleted = encoder, deleted
        self.decoder = Speller(
            encoder.dim, vocabulary, encoder.grid[0], width=decoder_width, depth=decoder_depth, heads=decoder_heads
        )

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        ids = batch.views[0]  # (N, T)
        said = self.predict(batch).transpose(1, 2)  # (N, vocabulary, T)
        return (mean(F.cross_entropy(said, ids, reduction="none", ignore_index=PAD), ids >= 0),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def predict(self, batch: Batch) -> Tensor:
        """What is said of each word, from the code and the words before it: (N, T, vocabulary)."""
        (ids,) = batch.views
        said: Tensor = self.decoder(self.encoder(deleted(batch.key, ids, self.deleted)), ids)
        return said

    def show(self, batch: Batch) -> dict[str, Tensor]:
        (ids,) = batch.views
        said = self.predict(batch).argmax(2)
        return {
            "sample": ids,
            "seen": deleted(batch.key, ids, self.deleted),
            "spelled": torch.where(ids >= 0, said, PAD),
        }
