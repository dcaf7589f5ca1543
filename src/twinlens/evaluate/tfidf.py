"""Texts as the weights of their words: what an encoder of texts has to beat, as raw pixels are for pictures."""

import torch
from torch import Tensor

from twinlens.batch import Samples
from twinlens.errors import InputError

MOST = 2048  # words that are told apart, for a probe in memory; the commonest of the texts it is made from


class TfIdf:
    """Samples of texts -> (N, K): how often each of K words is in them, against how many texts it is in.

    (1 + log count) (1 + log((1 + N) / (1 + n))), n being the texts of the N `train` ones that hold the word, and each
    row at unit length (Manning et al. 2008, "Introduction to information retrieval", sections 6.2 to 6.4; smoothed as
    in scikit-learn). Of pairs it is made from, and tells of, the first part. All words of a text count, whatever the
    length of views.
    """

    def __init__(self, train: Samples, *, most: int = MOST) -> None:
        if "vocabulary" not in train.sizes:
            raise InputError(f"{train.name} holds no texts but {train.modality}, whose words could be counted.")
        size = train.sizes["vocabulary"]
        texts = torch.zeros(size)  # that hold the word
        for _, word, _ in _counted(train):
            texts += torch.bincount(word, minlength=size)
        self.words = texts.topk(min(most, size)).indices.sort().values
        self.weight = 1 + ((1 + len(train)) / (1 + texts[self.words])).log()
        self.place = torch.full((size,), -1).scatter(0, self.words, torch.arange(len(self.words)))

    def __call__(self, samples: Samples) -> Tensor:
        """(N, K) float32."""
        found = torch.zeros(len(samples), len(self.words))
        for row, word, count in _counted(samples):
            place = self.place[word]
            known = place >= 0
            found[row[known], place[known]] = 1 + count[known].float().log()
        found *= self.weight
        return torch.nn.functional.normalize(found)


def _counted(samples: Samples) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of runs of samples the words that are in them: sample, word and how often, (M,) int64 each."""
    found, size = [], samples.sizes["vocabulary"]
    for index in torch.arange(len(samples)).split(4096):
        ids, lengths = samples.fetch(index)[:2]
        row = torch.repeat_interleave(index, lengths)
        pairs, count = (row * size + ids.long()).unique(return_counts=True)
        found.append((pairs // size, pairs % size, count))
    return found
