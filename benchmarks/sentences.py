"""A small transformer trained from scratch on unlabelled film reviews: what its embeddings of texts are good for.

50,000 reviews of the Large Movie Review Dataset (Maas et al. 2011) without labels: masked language modelling, then two
spans of a review told from spans of others (SimCLR's loss), in an hour on two cores. Judged by a linear probe and
few-label probes on its 25,000 test reviews, beside the encoder before training, averaged word vectors learnt from the
same reviews (positive pointwise mutual information, factorised: Levy, Goldberg and Dagan 2015, "Improving
distributional similarity with lessons learned from word embeddings"), and TF-IDF with logistic regression on the same
labels. Then the first of the two is trained further on the sentences of the STS benchmark's training part, without
scores (SimCSE: the same sentence twice, differing by dropout), and judged by Spearman's correlation on its test pairs.

    python benchmarks/sentences.py                     all, one seed; it resumes where it stopped
    python benchmarks/sentences.py --validation        on 5,000 of the training reviews, the development pairs of STS
"""

import gzip
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _record
import numpy as np
import scipy.sparse as sp
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from twinlens import pretrain
from twinlens.batch import Samples
from twinlens.data.source import Source
from twinlens.data.text import Texts, from_texts
from twinlens.evaluate.probe import places
from twinlens.evaluate.protocol import Protocol
from twinlens.evaluate.result import Labelled, Result, scored
from twinlens.evaluate.sts import sts
from twinlens.run import Run, load

CLAIM = (
    "a transformer of 4 layers, 256 wide, trained from scratch on unlabelled reviews for an hour of two cores stands "
    "above the same encoder untrained and above averaged word vectors of the same text: linear probe, few labels, STS"
)
SHOTS = (10, 100, 1000)
DIM, WINDOW, SMOOTH, SHIFT = 256, 5, 0.75, 1.0  # of word vectors: width, words on either side, that paper's alpha and k
ENCODER = {"width": 256, "depth": 4, "heads": 4}
STAGES: dict[str, tuple[str, dict[str, Any], str, str]] = {  # method, settings, what it learns from, where it begins
    "masked words": (
        "mlm",
        {**ENCODER, "length": 64, "batch": 32, "rate": 1e-3, "epochs": 3.5, "masked": 0.3},
        "unlabelled",
        "",
    ),
    "spans": (
        "simclr",
        {"length": 64, "batch": 128, "rate": 5e-4, "epochs": 2, "pair": "spans", "hidden": 512, "temperature": 0.1},
        "unlabelled",
        "masked words",
    ),
    "sentences": (
        "simclr",
        {"length": 64, "batch": 128, "rate": 2e-4, "epochs": 3, "hidden": 256, "temperature": 0.05},
        "sentences",
        "masked words",
    ),
}
THEN = "masked words, then "
REVIEWS = ("untrained", "word vectors", "TF-IDF", "masked words", THEN + "spans")
SIMILARITY = ("untrained", "word vectors", "TF-IDF", THEN + "spans", THEN + "sentences")
SAME = {"whole": True, "precision": "bf16-mixed"}  # half the time of float32 where the processor knows it
VALIDATION = 5000


def main() -> None:
    """Trains what is not trained yet, judges what is not judged yet, and writes the result anew after each."""
    parser = _record.parser(__doc__)
    parser.add_argument("--runs", type=Path, help="where runs are kept (default: runs/benchmarks/sentences)")
    parser.add_argument("--validation", action="store_true", help="to choose settings")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these stages and embeddings")
    options = _record.parsed(parser)
    runs = options.runs or Path("runs/benchmarks/sentences")
    runs = options.out / "runs" if options.smallest else runs
    runs.mkdir(parents=True, exist_ok=True)
    data = _Made(runs) if options.smallest else _Real(runs)
    changes = {"batch": 16, "epochs": 1, "width": 32, "depth": 1, "heads": 2, "length": 32} if options.smallest else {}
    for stage, (_, _, kind, start) in STAGES.items():
        if not options.only or stage in options.only:
            trained(stage, getattr(data, kind), runs, start, changes)
    name = "sentences_validation" if options.validation else "sentences"
    rows = _record.kept(name, options.out)
    for judged, judge in ((REVIEWS, review), (SIMILARITY, similarity)):
        for embedding in judged:
            here = {"data": "imdb" if judge is review else "sts", "embedding": embedding}
            if (options.only and embedding not in options.only) or any(row.items() >= here.items() for row in rows):
                continue
            rows.append(here | {"commit": _record.commit()} | judge(embedding, runs, data, options.validation))
            print(json.dumps(rows[-1]), flush=True)
            _record.write(name, CLAIM, rows, [0], out=options.out)


def folder(stage: str, runs: Path) -> Path:
    """Where the run of a stage is kept."""
    return runs / stage.replace(" ", "-")


def trained(stage: str, data: Path, runs: Path, start: str, changes: dict[str, Any]) -> None:
    """Trains a stage unless that is done; a later one begins from an earlier one's encoder."""
    path = folder(stage, runs)
    if (path / "encoder.safetensors").exists():
        return
    method, settings, *_ = STAGES[stage]
    settings = settings | {name: value for name, value in changes.items() if name in settings}
    encoder = str(folder(start, runs)) if start else None
    pretrain(str(data), method, out=path, encoder=encoder, resume=(path / "run.json").exists(), **SAME, **settings)


def features(embedding: str, runs: Path, data: Any) -> Callable[[Samples], Tensor]:
    """What gives each text its embedding of that name."""
    first = load(folder("masked words", runs))
    if embedding == "untrained":
        return lambda texts: first.embeddings(texts, first.untrained)
    if embedding == "word vectors":
        vectors = word_vectors(first.read(str(data.unlabelled)).train)
        return lambda texts: averaged(texts, vectors)
    return load(folder(embedding.removeprefix(THEN), runs)).embeddings


def review(embedding: str, runs: Path, data: Any, validation: bool) -> dict[str, Any]:
    """Probes of the reviews' embeddings; of TF-IDF logistic regression on the same draws of labels."""
    train, test, texts = data.labelled(load(folder("masked words", runs)), validation)
    protocol = Protocol("reviews", ("linear", "few"), shots=tuple(n for n in SHOTS if n <= len(train) // 4))
    if embedding == "TF-IDF":
        return tfidf(*texts, train.labels, test.labels, protocol.shots)
    of = features(embedding, runs, data)
    return {one.name: _plain(one) for one in protocol.measure(*(Labelled(of(x), x.labels) for x in (train, test)))}


def tfidf(
    train: Sequence[str], test: Sequence[str], y: np.ndarray, truth: np.ndarray, shots: Sequence[int]
) -> dict[str, Any]:
    """Logistic regression on TF-IDF of single words, on the draws of labels that the probes get."""
    vectoriser = TfidfVectorizer(sublinear_tf=True, min_df=2)
    x, z = vectoriser.fit_transform(train), vectoriser.transform(test)
    right = [
        LogisticRegressionCV(
            Cs=5, cv=5, max_iter=1000, l1_ratios=(0,), use_legacy_attributes=False, scoring="accuracy"
        ).fit(x, y)
    ]
    found = {"linear probe": scored("linear probe", torch.from_numpy(right[0].predict(z) == truth), {})}
    labels = torch.from_numpy(y)
    for count in shots:
        rows = [(places(labels, 0, draw) < count).nonzero()[:, 0].numpy() for draw in range(10)]
        models = [LogisticRegression(C=10.0, max_iter=1000).fit(x[some], y[some]) for some in rows]
        correct = torch.stack([torch.from_numpy(model.predict(z) == truth) for model in models])
        found[f"{count} per class"] = scored(f"{count} per class", correct, {})
    return {name: _plain(one) for name, one in found.items()}


def similarity(embedding: str, runs: Path, data: Any, validation: bool) -> dict[str, Any]:
    """Spearman's correlation of the STS benchmark."""
    first, second, scores = data.pairs(validation)
    if embedding == "TF-IDF":
        vectoriser = TfidfVectorizer().fit([*first, *second])
        z = [torch.from_numpy(vectoriser.transform(side).toarray()).float() for side in (first, second)]
    else:
        tokenizer, of = load(folder("masked words", runs)).tokenizer, features(embedding, runs, data)
        z = [of(from_texts(side, tokenizer=tokenizer)) for side in (first, second)]
    return {"Spearman": _plain(sts(*z, scores))}


def word_vectors(texts: Samples) -> Tensor:
    """A vector for each word from how often it stands near others: (V, D)."""
    assert isinstance(texts, Texts)
    size, ids = texts.sizes["vocabulary"], texts.fetch(torch.arange(len(texts)))[0].numpy()
    owner = np.repeat(np.arange(len(texts)), texts.lengths.numpy())
    counts = sp.csr_matrix((size, size), dtype=np.float32)
    for step in range(1, WINDOW + 1):
        near = owner[step:] == owner[:-step]
        pairs = (np.ones(near.sum(), dtype=np.float32), (ids[step:][near], ids[:-step][near]))
        counts += sp.coo_matrix(pairs, shape=(size, size)).tocsr()
    counts = (counts + counts.T).tocoo()
    word, context = np.asarray(counts.sum(1)).ravel(), np.asarray(counts.sum(0)).ravel() ** SMOOTH
    share = counts.data / word.sum()
    chance = (word[counts.row] / word.sum()) * (context[counts.col] / context.sum())
    information = np.maximum(np.log(share / chance) - np.log(SHIFT), 0)
    u, s, _ = randomized_svd(
        sp.csr_matrix((information, (counts.row, counts.col)), shape=(size, size)), min(DIM, size - 1), random_state=0
    )
    return torch.from_numpy((u * np.sqrt(s)).astype(np.float32))


def averaged(texts: Samples, vectors: Tensor) -> Tensor:
    """The mean of the vectors of all words of each text: (N, D)."""
    found = []
    for index in torch.arange(len(texts)).split(1024):
        ids, lengths = texts.fetch(index)[:2]
        owner = torch.repeat_interleave(torch.arange(len(index)), lengths)
        total = torch.zeros(len(index), vectors.shape[1]).index_add_(0, owner, vectors[ids.long()])
        found.append(total / lengths.clamp(min=1)[:, None])
    return torch.cat(found)


def _plain(result: Result) -> dict[str, Any]:
    return {"value": result.value, "interval": result.interval}


class _Real:
    """The data sets in $TWINLENS_DATA."""

    def __init__(self, runs: Path) -> None:
        self.root = Path(os.environ.get("TWINLENS_DATA", "."))
        self.unlabelled = self.root / "imdb_unlabelled.jsonl.xz"
        self.sentences = runs / "sentences.txt"
        if not self.sentences.exists():
            rows = [row for row in self._sts() if row["split"] == "train"]
            distinct = dict.fromkeys(" ".join(row[side].split()) for row in rows for side in ("s1", "s2"))
            self.sentences.write_text("\n".join(distinct) + "\n")

    def labelled(self, run: Run, validation: bool) -> tuple[Samples, Samples, tuple[list[str], list[str]]]:
        """The labelled parts, and their texts."""
        split = run.read(Source(path=str(self.root / "imdb_labelled.jsonl.xz")))
        train, test = split.train, split.test
        assert test is not None
        if validation:
            order = torch.from_numpy(np.random.default_rng(0).permutation(len(train)))
            train, test = train.subset(order[VALIDATION:]), train.subset(order[:VALIDATION])
        return train, test, ([train.text(i) for i in range(len(train))], [test.text(i) for i in range(len(test))])

    def pairs(self, validation: bool) -> tuple[list[str], list[str], np.ndarray]:
        """The pairs to judge by, and their scores."""
        rows = [row for row in self._sts() if row["split"] == ("dev" if validation else "test")]
        return [row["s1"] for row in rows], [row["s2"] for row in rows], np.array([row["score"] for row in rows])

    def _sts(self) -> list[dict[str, Any]]:
        with gzip.open(self.root / "stsb_multi.jsonl.gz", "rt", encoding="utf8") as file:
            return [row for row in map(json.loads, file) if row["lang"] == "en"]


class _Made:
    """Reviews of made-up words, of which some are said by those who are pleased: to see that all runs."""

    def __init__(self, runs: Path) -> None:
        draw = np.random.default_rng(0)
        words = np.array(["".join(draw.choice(list("abcdefgh"), 4)) for _ in range(200)])
        self.y = np.arange(400) % 2
        self.texts = [" ".join(draw.choice(words[60 * y : 60 * y + 140], 40)) for y in self.y]
        self.unlabelled, self.sentences = runs / "reviews.txt", runs / "sentences.txt"
        self.unlabelled.write_text("\n".join(self.texts) + "\n")
        self.sentences.write_text("\n".join(text[:60] for text in self.texts) + "\n")

    def labelled(self, run: Run, validation: bool) -> tuple[Samples, Samples, tuple[list[str], list[str]]]:
        """The labelled parts, and their texts."""
        parts = self.texts[:200], self.texts[200:]
        train, test = (from_texts(part, tokenizer=run.tokenizer, labels=self.y[:200]) for part in parts)
        return train, test, parts

    def pairs(self, validation: bool) -> tuple[list[str], list[str], np.ndarray]:
        """The pairs to judge by, and their scores."""
        other = [*self.texts[1:], self.texts[0]]
        return self.texts, other, np.array([len({*a.split()} & {*b.split()}) for a, b in zip(self.texts, other)])


if __name__ == "__main__":
    main()
