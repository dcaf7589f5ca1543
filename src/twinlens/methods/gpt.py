"""GPT: predict the next token from those before it."""

from math import prod

import torch
from torch import Tensor

from twinlens.batch import Batch, Views
from twinlens.encoders.contract import CausalEncoder
from twinlens.errors import InputError
from twinlens.heads.content import Content
from twinlens.method import Method


class GPT(Method):
    """Brown et al. 2020, "Language models are few-shot learners", after Radford et al. 2018.

    arXiv 2005.14165, section 2.1, for words. For patches, read row by row: El-Nouby et al. 2024, "Scalable pre-training
    of large autoregressive image models" (AIM), arXiv 2401.08541, section 4, without its prefix that sees itself whole,
    and with one linear layer in place of its deep heads. With `levels`, the values under the next token are each
    classified, as Chen et al. 2020, "Generative pretraining from pixels", do pixel by pixel. There is no start token:
    the first is not predicted, and the last predicts nothing.

    Args:
        encoder: One that gives tokens and is causal.
        levels: How many levels values are cut into; 0, which predicts them as they are (AIM). Ignored for words.
        normalise: Predict each patch at mean 0 and variance 1, not as it is; true (AIM). Ignored for words and levels.
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(self, encoder: CausalEncoder, *, levels: int = 0, normalise: bool = True) -> None:
        super().__init__()
        if prod(encoder.grid) < 2:
            raise InputError("a view of one token has no next one: choose an encoder with smaller tokens.")
        self.encoder = encoder
        self.content = Content(encoder, encoder.width, levels=levels, normalise=normalise)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        after = self.encoder.patchify(batch.views[0])[:, 1:]  # (N, T - 1, P)
        return (self.content.mean(self.predict(batch), after),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def predict(self, batch: Batch) -> Tensor:
        """What is predicted of the second token and those after it, each from all before it: (N, T - 1, ...)."""
        prediction: Tensor = self.content(self.encoder.tokens(batch.views[0])[:, :-1])
        return prediction

    def show(self, batch: Batch) -> dict[str, Tensor]:
        patches = self.encoder.patchify(batch.views[0])
        values = self.content.values(self.predict(batch), patches[:, 1:])
        predicted = torch.cat((patches[:, :1], values), dim=1)  # the first is as it is
        return {"sample": batch.views[0], "predicted": self.encoder.unpatchify(predicted)}
