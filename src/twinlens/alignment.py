"""Alignment: how well a run's encoder brings together what belongs together, texts and texts or pictures and captions.

Of pairs that people have scored, Spearman's correlation with the scores; of others, how well each part finds the other.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from twinlens import random
from twinlens.batch import Samples, Split
from twinlens.data.load import Data
from twinlens.data.pairs import Pairs
from twinlens.data.text import Texts, from_texts
from twinlens.errors import InputError
from twinlens.evaluate.baselines import RAW, UNTRAINED
from twinlens.evaluate.crossing import crossing
from twinlens.evaluate.evaluation import Evaluation
from twinlens.evaluate.leaks import contents
from twinlens.evaluate.result import Result
from twinlens.evaluate.sts import sts
from twinlens.evaluate.tfidf import TfIdf
from twinlens.evaluate.zero_shot import prompts, zero_shot
from twinlens.report import stored
from twinlens.run import Run

MOST = 10_000  # pairs that look for each other: of 2,048 weights of words, 100 million cosines take a minute (a guess)
TEMPLATES = ("{}",)
"""The name of a class alone: what else captions say of it is the data's own, and a choice that labels must not make."""
_KS = (1, 5, 10)

Embed = Callable[[Samples], Tensor]


class Judged(NamedTuple):
    """The pairs that are judged, the training part, what of the data the pairs are, and whether they are held out."""

    pairs: Pairs
    train: Pairs
    part: str
    held: bool


def align(run: Run, data: Data, *, seed: int = 0, templates: Sequence[str] = TEMPLATES) -> list[Result]:
    """How well the last encoder brings the first two parts of pairs together, beside what it has to beat.

    Of the test part, or of all pairs where there is none. Pairs of texts with scores: `sts`. Others: `crossing`, both
    ways, where pairs that have a text or a picture in common count as one's own; of more than `MOST` pairs as many are
    drawn by `seed`. Pictures with captions and classes: also `zero_shot`, by the names of the classes in `templates`.
    What pairs of texts are classed as is not looked at: pairs that contradict each other have to be left out before.

    Beside each stand the encoder before training and, of texts, the weights of their words (`TfIdf`, counted in the
    first sides of the training part); chance and the commonest class where those measures have them.

    Raises:
        InputError: where data has no parts, or the encoder cannot see one of them.
    """
    return _results(run, _judged(run.read(data), seed), templates)


def evaluate(run: Run, data: Data, *, seed: int = 0, templates: Sequence[str] = TEMPLATES) -> Evaluation:
    """`align` as an evaluation, which is also written to the run's evaluation.json and report.html."""
    judged = _judged(run.read(data), seed)
    seen = not judged.held and judged.train.fingerprint == run.facts["data"]["fingerprint"]
    about = {
        "protocol": "alignment", "part": judged.part, "test": len(judged.pairs), "seed": seed, "encoder": "the last",
        "chosen": "nothing", "templates": list(templates),
        "notes": ["The run has learnt from these very pairs: this is no figure for pairs it has not seen."] * seen,
    }  # fmt: skip
    name = str(data) if isinstance(data, str | Path) else judged.train.name
    results = tuple(_results(run, judged, templates))
    evaluation = Evaluation(name, judged.train.fingerprint, results, about)
    evaluation.save(run.folder / "evaluation.json")
    stored.render(run.folder, run.metrics, run.verdict)
    return evaluation


def _judged(split: Split, seed: int) -> Judged:
    train = split.train
    if not isinstance(train, Pairs):
        kind = {"image": "pictures", "text": "texts"}.get(train.modality, train.modality)
        raise InputError(
            f"{train.name} holds {kind} without a second part: expected pairs, such as a table with the "
            f"columns anchor and positive, or pictures with captions."
        )
    held = isinstance(split.test, Pairs)
    pairs, part = (split.test, "the test part") if isinstance(split.test, Pairs) else (train, "all")
    if _scores(pairs) is None and len(pairs) > MOST:
        index = random.permutation(len(pairs), seed, 0)[:MOST].sort().values
        return Judged(pairs.subset(index), train, f"{MOST:,} pairs, drawn by seed {seed}, of {part}", held)
    return Judged(pairs, train, part, held)


def _results(run: Run, judged: Judged, templates: Sequence[str]) -> list[Result]:
    encoders: dict[str, Embed] = {"": run.embeddings}
    if isinstance(judged.train.parts[0], Texts):
        encoders[RAW] = TfIdf(judged.train.parts[0])
    encoders[UNTRAINED] = lambda samples: run.embeddings(samples, run.untrained)
    tables = {name: _measured(run, judged.pairs, embed, templates) for name, embed in encoders.items()}
    return [row.beside({name: table[i] for name, table in tables.items() if name}) for i, row in enumerate(tables[""])]


def _measured(run: Run, pairs: Pairs, embed: Embed, templates: Sequence[str]) -> list[Result]:
    first, second = (embed(part) for part in pairs.parts[:2])
    if (scores := _scores(pairs)) is not None:
        return [sts(first, second, scores)]
    kinds = [part.modality for part in pairs.parts[:2]]
    ks = [k for k in _KS if k <= len(pairs)]
    names = ("first", "second") if kinds[0] == kinds[1] else (kinds[0], kinds[1])
    found = crossing(first, second, ids=alike(pairs), ks=ks, names=names)
    if kinds == ["image", "text"] and pairs.labels is not None and pairs.classes:
        asked = prompts(pairs.classes, templates)
        classes = embed(from_texts([text for each in asked for text in each], tokenizer=run.tokenizer))
        once = np.unique(_first(pairs.parts[0]))  # however many captions a picture has
        found.append(zero_shot(first[once], pairs.labels[once], classes.unflatten(0, (len(asked), -1))))
    return found


def _scores(pairs: Pairs) -> NDArray[np.float64] | None:
    return pairs.labels if pairs.labels is not None and pairs.labels.dtype.kind == "f" else None


def alike(pairs: Pairs) -> NDArray[np.int64]:
    """An id for each pair, (N,): equal where the first or the second parts are, and where a chain of such pairs leads.

    A picture with five captions is five pairs, and each of the five is right. Chains follow from ids being equal or
    not: of two pictures that share one caption, each is also right for the other's further ones.
    """
    count = len(pairs)
    rows = np.arange(count)
    ends = np.concatenate([_first(part) for part in pairs.parts[:2]])
    edges = coo_array((np.ones(2 * count), (np.tile(rows, 2), ends)), shape=(count, count))
    ids: NDArray[np.int64] = connected_components(edges, directed=False)[1].astype(np.int64)
    return ids


def _first(samples: Samples) -> list[int]:
    """For each sample the place of the first that is equal to it."""
    known: dict[bytes, int] = {}
    return [known.setdefault(content, place) for place, content in enumerate(contents(samples))]
