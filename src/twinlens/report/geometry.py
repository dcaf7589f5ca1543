"""Where the embeddings lie: their spectrum, a map of them in two dimensions, who is near whom."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

Floats = NDArray[np.floating]
Places = NDArray[np.intp]
Labels = NDArray[np.int64]

HUES, MARKS = 6, 4  # colours and shapes of the map: together they tell 24 classes apart


class Group(NamedTuple):
    """Points of the map that look alike: `members` (m,) are their places; hue -1 is grey."""

    name: str
    hue: int
    mark: int
    members: Places


def eigenvalues(embeddings: Floats) -> Floats:
    """The eigenvalues of the covariance of (M, D) embeddings, falling: (min(M, D),)."""
    z = np.asarray(embeddings, dtype=np.float64)
    values: Floats = np.linalg.svd(z - z.mean(axis=0), compute_uv=False) ** 2 / len(z)
    return values


def directions(embeddings: Floats) -> Floats:
    """Embeddings (M, D) at length one, so that distances between them order as cosines do; zero stays zero."""
    z = np.asarray(embeddings, dtype=np.float64)
    lengths: Floats = np.linalg.norm(z, axis=1, keepdims=True)
    return z / np.maximum(lengths, np.finfo(np.float64).tiny)


def project(embeddings: Floats) -> Floats:
    """A map (M, 2) in [0, 1] of (M, D) embeddings: t-SNE (van der Maaten & Hinton 2008) from their first components.

    The perplexity is 30 as in the paper's section 3, or what M points allow. Points that do not differ share one place.
    """
    z = directions(embeddings)
    z = np.pad(z, ((0, 0), (0, max(0, 2 - z.shape[1]))))  # a line is a plane of no height
    if np.ptp(z, axis=0).max() < 1e-6:
        return np.full((len(z), 2), 0.5)
    tsne = TSNE(init="pca", perplexity=min(30, (len(z) - 1) / 3), max_iter=500, random_state=0)
    with threadpool_limits(1):  # its loops are so short that on a busy machine threads spend their time waiting
        points: Floats = tsne.fit_transform(z).astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    points = 0.5 + (points - (low + high) / 2) / (high - low).max()
    return points


def neighbours(embeddings: Floats, queries: Places, count: int) -> Places:
    """The `count` nearest of (M, D) embeddings to each query by cosine, itself left out: (queries, count)."""
    z = directions(embeddings)
    cosine = z[queries] @ z.T  # (queries, M)
    cosine[np.arange(len(queries)), queries] = -np.inf
    return np.argsort(-cosine, axis=1, kind="stable")[:, :count]


def found(asked: Floats, sought: Floats, queries: Places, count: int) -> tuple[Places, Places]:
    """What `queries` of embeddings `asked` (M, D) find among `sought` (M, D) by cosine, row i belonging to row i.

    Of rows of `sought` that are the same, one picture with several captions, the first stands for all. The places of
    each query and of the `count` nearest to it, or of as many as there are, (q, count + 1); and of each query the place
    that its own came in at, from 1, which row stands for that, and among how many rows: (q, 3).
    """
    a, b = directions(asked), directions(sought)
    _, first, which = np.unique(b.round(5), axis=0, return_index=True, return_inverse=True)
    cosine = a[queries] @ b[first].T  # (q, distinct)
    own = which.reshape(-1)[queries]
    order = np.argsort(-cosine, axis=1, kind="stable")
    place = 1 + (order == own[:, None]).argmax(axis=1)
    nearest = np.column_stack((queries, first[order[:, :count]]))
    return nearest, np.column_stack((place, first[own], np.full(len(queries), len(first))))


def group(labels: Labels | None, classes: Sequence[str], count: int) -> list[Group]:
    """The places of `count` points in groups: one for each of the largest classes, in their order, one for the rest."""
    if labels is None:
        return [Group("sample", 0, 0, np.arange(count))]
    found, sizes = np.unique(labels, return_counts=True)
    order = found[np.argsort(-sizes, kind="stable")]
    named, rare = np.sort(order[: HUES * MARKS]), order[HUES * MARKS :]
    groups = [
        Group(class_name(c, classes), i % HUES, i // HUES, np.flatnonzero(labels == c)) for i, c in enumerate(named)
    ]
    if len(rare):
        groups.append(Group(f"{len(rare)} rarer classes", -1, 0, np.flatnonzero(np.isin(labels, rare))))
    return groups


def class_name(label: int, classes: Sequence[str]) -> str:
    """The name of a label, or its number where it has none."""
    return classes[label] if 0 <= label < len(classes) else str(label)
