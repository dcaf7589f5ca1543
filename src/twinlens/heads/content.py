"""What lies under a token, predicted: the words, the pixels' values or their levels."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlens.batch import PAD
from twinlens.errors import InputError


class Cut(Protocol):
    """What is known of a token: P, the numbers under it, or of how many words it is one."""

    patch_dim: int
    vocabulary: int | None


class Content(nn.Module):
    """A linear map from tokens `width` wide to what lies under those of an encoder, and how far off it is.

    Where the encoder has a `vocabulary`, tokens are words and are predicted by their probability. Else they are P
    values each, predicted as they are or, with `levels`, by the probability of the level of each: [-2, 2], which views
    fill, in so many equal parts. With `normalise` each patch counts at mean 0 and variance 1, the better target for
    encoders (He et al. 2022, arXiv 2111.06377, section 4.1, "reconstruction target"); levels are never normalised.
    Values count by their squared error or, with `absolute`, by their absolute one.
    """

    def __init__(
        self, encoder: Cut, width: int, *, levels: int = 0, normalise: bool = False, absolute: bool = False
    ) -> None:
        super().__init__()
        if levels < 0 or levels == 1:
            raise InputError(f"levels is {levels}: expected 2 or more, or 0 to predict values as they are.")
        if normalise and not encoder.vocabulary and not levels and encoder.patch_dim == 1:
            raise InputError(
                "a token of one number has no variance to normalise: choose larger tokens, or normalise false."
            )
        self.vocabulary, self.normalise, self.absolute = encoder.vocabulary, normalise, absolute
        self.levels = 0 if encoder.vocabulary else levels
        self.predict = nn.Linear(width, encoder.vocabulary or encoder.patch_dim * (levels or 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) -> (N, T, vocabulary), (N, T, P) or (N, T, P * levels)."""
        out: Tensor = self.predict(tokens)
        return out

    def loss(self, prediction: Tensor, patches: Tensor) -> Tensor:
        """How far `prediction` is from `patches` (N, T, P): (N, T), nats for a word, else the mean over P values.

        It is 0 where a word only fills a row up (`batch.PAD`).
        """
        if self.vocabulary:
            return F.cross_entropy(prediction.transpose(1, 2), patches[..., 0], reduction="none", ignore_index=PAD)
        if self.levels:
            of_each: Tensor = prediction.unflatten(2, (-1, self.levels)).movedim(-1, 1)  # (N, levels, T, P)
            return F.cross_entropy(of_each, self.level(patches), reduction="none").mean(2)
        target = normalised(patches) if self.normalise else patches
        error = prediction - target
        return (error.abs() if self.absolute else error.square()).mean(2)

    def mean(self, prediction: Tensor, patches: Tensor) -> Tensor:
        """The mean of `loss` over the tokens of each sample that are asked for: (N,), 0 where none is."""
        return mean(self.loss(prediction, patches), there(self, patches))

    def level(self, patches: Tensor) -> Tensor:
        """The levels (N, T, P) int64 of values in [-2, 2]."""
        return ((patches + 2) * (self.levels / 4)).long().clamp(0, self.levels - 1)

    def values(self, prediction: Tensor, patches: Tensor) -> Tensor:
        """What is predicted as `patches` (N, T, P) are: the likeliest word, or the mean of the levels, or the values.

        Normalised values are given the mean and deviation of the patches themselves.
        """
        if self.vocabulary:
            return prediction.argmax(2, keepdim=True)
        if self.levels:
            middles = (torch.arange(self.levels, device=prediction.device) + 0.5) * (4 / self.levels) - 2
            chances: Tensor = prediction.unflatten(2, (-1, self.levels)).softmax(3)  # (N, T, P, levels)
            return (chances @ middles.to(chances)).to(patches)
        if not self.normalise:
            return prediction.to(patches)
        var, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return (prediction * (var + _LEAST).sqrt() + mean).to(patches)


_LEAST = 1e-6


def normalised(patches: Tensor) -> Tensor:
    """Each patch (N, T, P) to mean 0 and variance 1."""
    var, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (var + _LEAST).sqrt()


def at(tokens: Tensor, index: Tensor) -> Tensor:
    """Of tokens, or what lies under them, (N, T, D) those at `index` (N, K) int64: (N, K, D)."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[2]))


class Named(Protocol):
    """Of how many words a token is one, or None where it is measured."""

    vocabulary: int | None


def there(encoder: Named, patches: Tensor) -> Tensor:
    """Which tokens are of the sample, (N, T) bool, and not only fill its row up (`batch.PAD`), as words may."""
    return patches[..., 0] >= 0 if encoder.vocabulary else patches.new_ones(patches.shape[:2], dtype=torch.bool)


def mean(loss: Tensor, there: Tensor) -> Tensor:
    """The mean of a row (N, T) over where `there` (N, T) holds: (N,), 0 where it does nowhere."""
    return loss.masked_fill(~there, 0).sum(dim=1) / there.sum(dim=1).clamp(min=1)
