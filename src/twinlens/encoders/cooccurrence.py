"""What is known of words by counting: vectors from who stands near whom, weights from how often each is said.

No network: seconds for ten million words.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def word_vectors(
    texts: Iterable[tuple[Tensor, Tensor]], vocabulary: int, dim: int, *, window: int = 5, smooth: float = 0.75
) -> Tensor:
    """The vectors (V, dim) float32 of V = `vocabulary` words: the factorised positive pointwise mutual information.

    Levy, Goldberg, Dagan 2015, "Improving distributional similarity with lessons learned from word embeddings",
    doi:10.1162/tacl_a_00134, sections 2 and 3: PPMI without a shift, its first `dim` singular vectors, each times the
    root of its singular value. A word that is near none more often than by chance has a vector of zeros; where the
    matrix has fewer than `dim` singular vectors, the rest of each vector is zero.

    Args:
        texts: In parts: the ids (S,) of texts one after the other, and how many words each has (N,).
        vocabulary: V; ids are below it.
        dim: Width of a vector.
        window: How many words on either side are near; 5 (of 2, 5 and 10 there).
        smooth: The power that how often a word is near others is raised to; 0.75 (there, "context distribution
            smoothing").
    """
    from sklearn.utils.extmath import randomized_svd

    information = _information(_counts(texts, vocabulary, window), smooth)
    vectors = np.zeros((vocabulary, dim), dtype=np.float32)
    if information.nnz:
        u, s, _ = randomized_svd(information, min(dim, vocabulary), random_state=0)
        vectors[:, : len(s)] = u * np.sqrt(s)
        vectors[information.sum(axis=1) == 0] = 0  # which rounding leaves a little beside
    return torch.from_numpy(vectors)


def word_weights(
    texts: Iterable[tuple[Tensor, Tensor]], vocabulary: int, around: Sequence[int] = (), *, common: float = 1e-3
) -> Tensor:
    """How much each of V = `vocabulary` words tells: a / (a + p), p being its share of all words; (V,), 1 and less.

    Arora, Liang, Ma 2017, "A simple but tough-to-beat baseline for sentence embeddings", section 3: what "the" says is
    the same in any text. A word that is never said has a weight of 1.

    Args:
        texts: In parts: the ids (S,) of texts one after the other, and how many words each has (N,).
        vocabulary: V; ids are below it.
        around: Ids that are not in the texts and count as if each text had them once, such as [CLS].
        common: a, the share of a word of which half is left; 1e-3 (of 1e-3 to 1e-4 there).
    """
    said = torch.zeros(vocabulary, dtype=torch.float64)
    for ids, lengths in texts:
        said += torch.bincount(ids.long(), minlength=vocabulary)
        said[list(around)] += len(lengths)
    return (common / (common + said / said.sum().clamp(min=1))).float()


def _counts(texts: Iterable[tuple[Tensor, Tensor]], vocabulary: int, window: int) -> "csr_array[Any, Any]":
    """How often two words stand near each other: (V, V), symmetric."""
    from scipy.sparse import coo_array, csr_array

    shape = (vocabulary, vocabulary)
    total = csr_array(shape, dtype=np.float32)
    for part, lengths in texts:
        ids, owner = part.numpy(), np.repeat(np.arange(len(lengths)), lengths.numpy())
        for step in range(1, window + 1):
            same = owner[step:] == owner[:-step]  # near each other in one text
            places: tuple[NDArray[Any], NDArray[Any]] = ids[step:][same], ids[:-step][same]
            total += coo_array((np.ones(len(places[0]), dtype=np.float32), places), shape=shape).tocsr()
    return total + total.T


def _information(counts: "csr_array[Any, Any]", smooth: float) -> "csr_array[Any, Any]":
    """log p(word, context) / (p(word) p(context)) where that is positive, the contexts' chances smoothed: (V, V)."""
    from scipy.sparse import csr_array

    found = counts.tocoo()
    often = np.asarray(counts.sum(axis=1))
    context = often**smooth
    row, column = found.coords
    chance = (often[row] / often.sum()) * (context[column] / context.sum())
    values = np.maximum(np.log(found.data / often.sum() / chance), 0)
    return csr_array((values, (row, column)), shape=counts.shape)
