"""Neighbours: predict what lies around from what is in the middle, words from words, patches from patches."""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from twinlens import random
from twinlens.batch import Batch, Views
from twinlens.encoders.contract import TokenEncoder
from twinlens.encoders.transformer import linear
from twinlens.errors import InputError
from twinlens.heads.content import Content, at, mean, there
from twinlens.method import Method


class Neighbours(Method):
    """Mikolov, Chen, Corrado, Dean 2013, "Efficient estimation of word representations in vector space".

    arXiv 1301.3781, section 3.2, the skip-gram model, here for tokens of any kind. The encoder sees a block of a sample
    and nothing else; the mean of its tokens and an embedding of a place in the ring around it say, through a hidden
    layer, what lies there. In a clip, block and ring are of one frame. Mikolov et al. have a table of words instead of
    an encoder, see a single one (`seen` 1), and say the same of all places up to ten words away (`reach` 10).

    Args:
        encoder: One that gives tokens.
        seen: Side of the block that is seen, in tokens; 2, a guess: tokens that see no other teach no attention.
        reach: Width of the ring that is predicted, in tokens; 1, a guess.
        blocks: Blocks of a sample, no two at the same place; 4, a guess. Where there are fewer places, all.
        hidden: Width of the hidden layer; 512, a guess.
        normalise: Predict each patch at mean 0 and variance 1, not as it is; true (He et al. 2022, arXiv 2111.06377,
            table 1d). Words are predicted by their probability.
    """

    views = Views(large=1, strength="weak")
    coupled = False

    def __init__(
        self, encoder: TokenEncoder, *, seen: int = 2, reach: int = 1, blocks: int = 4, hidden: int = 512,
        normalise: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if min(seen, reach, blocks) < 1:
            raise InputError(f"seen is {seen}, reach {reach} and blocks {blocks}: expected 1 or more of each.")
        self.windows: Tensor
        self.register_buffer("windows", windows(tuple(encoder.grid), seen, reach), persistent=False)  # (A, K + R)
        places, size = self.windows.shape
        self.encoder, self.blocks, self.seen = encoder, min(blocks, places), seen ** len(encoder.grid[-2:])
        self.embed = linear(encoder.width, hidden)
        self.places = nn.Parameter(torch.randn(size - self.seen, hidden))  # about as far apart as what is embedded
        self.content = Content(encoder, hidden, normalise=normalise)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        view, (keep, ring) = batch.views[0].repeat_interleave(self.blocks, dim=0), self.pick(batch.key)
        patches = self.encoder.patchify(view)
        loss = self.content.loss(self.around(view, keep), at(patches, ring))  # (NB, R)
        asked = there(self.encoder, at(patches, ring)) & there(self.encoder, at(patches, keep)).any(dim=1, keepdim=True)
        return (mean(*(x.unflatten(0, (-1, self.blocks)).flatten(1) for x in (loss, asked))),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()

    def pick(self, key: Tensor) -> tuple[Tensor, ...]:
        """The tokens of B blocks of each sample (NB, K), and those around them (NB, R)."""
        drawn = self.windows[random.choose(key, self.blocks, len(self.windows))]  # (N, B, K + R)
        return drawn.flatten(0, 1).tensor_split([self.seen], dim=1)

    def around(self, view: Tensor, keep: Tensor) -> Tensor:
        """From the tokens `keep` of views what lies around them, (NB, R, ...)."""
        seen = there(self.encoder, at(self.encoder.patchify(view), keep))  # (NB, K)
        tokens = self.encoder.tokens(view, keep) * seen[..., None]
        h = self.embed(tokens.sum(dim=1) / seen.sum(dim=1, keepdim=True).clamp(min=1))  # (NB, hidden)
        prediction: Tensor = self.content(gelu(h[:, None] + self.places))
        return prediction

    def show(self, batch: Batch) -> dict[str, Tensor]:
        view, (keep, ring) = batch.views[0], (tokens[:: self.blocks] for tokens in self.pick(batch.key))  # first blocks
        patches = self.encoder.patchify(view)
        where, into = (tokens[..., None].expand(-1, -1, patches.shape[2]) for tokens in (keep, ring))
        seen = torch.zeros_like(patches).scatter(1, where, at(patches, keep))
        filled = seen.scatter(1, into, self.content.values(self.around(view, keep), at(patches, ring)))
        shown = {"sample": patches, "seen": seen, "around": filled}
        return {title: self.encoder.unpatchify(each) for title, each in shown.items()}


def windows(grid: tuple[int, ...], seen: int, reach: int) -> Tensor:
    """The tokens of a block, then those of its ring, at each of the places it has in a grid: (A, K + R)."""
    plane, side = grid[-2:], seen + 2 * reach
    if (room := min(plane)) < side:
        width = min(reach, (room - 1) // 2)
        fix = f"choose --seen {min(seen, room - 2 * width)} --reach {width}" if width else "cut views into more tokens"
        raise InputError(f"seen {seen} and reach {reach} need a grid of {side} tokens a side, not {grid}: {fix}.")
    token = torch.arange(prod(grid)).view(-1, *plane)  # of frames, where there are any
    window = token[0][(slice(side),) * len(plane)]
    middle = torch.zeros_like(window, dtype=torch.bool)
    middle[(slice(reach, reach + seen),) * len(plane)] = True
    corners = token[(slice(None), *(slice(length - side + 1) for length in plane))]
    return corners.reshape(-1, 1) + torch.cat((window[middle], window[~middle]))
