"""A small transformer trained from scratch on unlabelled film reviews: what its embeddings of texts are good for.

50,000 reviews of the Large Movie Review Dataset (Maas et al. 2011) without labels. First word vectors: positive
pointwise mutual information, factorised (Levy, Goldberg and Dagan 2015, "Improving distributional similarity with
lessons learned from word embeddings"). A transformer whose words start there then learns to tell two spans of a review
from spans of others (SimCLR's loss), in less than an hour of two cores. Judged by a linear probe and few-label probes
on 25,000 test reviews, beside the same transformer with all its weights as they were drawn, and as it started from word
vectors and from how rare each word is, before its first step; the means of those word vectors (as they are, each at a
mean of 0 and a variance of 1 first, and weighed by how rare a word is, as the transformer's are); and TF-IDF with
logistic regression on the same labels. A second one of that shape, whose words start from the same reviews, learns from
the sentences of the STS benchmark's training part, without scores (SimCSE: the same sentence twice, differing by
dropout), and is judged by Spearman's correlation on its test pairs, and by how far that is above others' in the same
resamples of the pairs; the first stands beside it, whose words have become those of reviews.

    python benchmarks/sentences.py                     all, one seed; it resumes where it stopped
    python benchmarks/sentences.py --validation        on 5,000 of the training reviews, the development pairs of STS
"""

import gzip
import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import _record
import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from torch import Tensor
from torch.nn import functional as F

from twinlens import pretrain
from twinlens.batch import Samples
from twinlens.begin import counted
from twinlens.data.load import load as load_data
from twinlens.data.text import from_texts
from twinlens.data.tokenizer import Tokenizer
from twinlens.encoders.cooccurrence import word_vectors, word_weights
from twinlens.evaluate.probe import places
from twinlens.evaluate.protocol import Protocol
from twinlens.evaluate.result import Labelled, Result, scored
from twinlens.evaluate.sts import cosines, lead, spearman
from twinlens.run import load

CLAIM = (
    "a transformer of 4 layers, 256 wide, trained from scratch on unlabelled reviews for an hour of two cores stands "
    "above itself untrained, as drawn and as it started, and above averaged word vectors of the same text, plain, "
    "normalised and weighed, with 10, 100, 1,000 and all labels, intervals apart; above TF-IDF with 100 a class, with "
    "10 not quite apart; with all labels TF-IDF is better. On the STS benchmark's test pairs an encoder whose words "
    "start from the same reviews, trained on sentences for five minutes, stands above itself as drawn and above plain "
    "word vectors, the differences' intervals above zero, but training adds nothing to how it started, which is where "
    "weighed word vectors are; TF-IDF is better"
)
SHOTS = (10, 100, 1000)
SHAPE = {
    "width": 256, "depth": 4, "heads": 4, "length": 64, "whole": True,
    "precision": "bf16-mixed",  # twice as fast where the processor knows it
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "spans": {"batch": 128, "rate": 5e-4, "epochs": 4, "pair": "spans", "hidden": 512, "temperature": 0.1},
    "sentences": {"batch": 128, "rate": 2e-4, "word_rate": 20.0, "epochs": 2, "dropout": 0.3},
}
METHODS = {"spans": "simclr", "sentences": "ranking"}  # the second is SimCSE without a head
SMALL = {"width": 32, "depth": 1, "heads": 2, "batch": 16, "epochs": 1, "length": 32}
REVIEWS = (
    "untrained", "started", "word vectors", "word vectors, normalised", "word vectors, weighed", "TF-IDF", "spans",
)  # fmt: skip
FLOORS = ("untrained", "started", "word vectors", "word vectors, weighed")
SIMILARITY = (*REVIEWS, "sentences")
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
    work = Work(runs, data.unlabelled, data.sentences, smallest=options.smallest)
    for stage in SETTINGS:
        if not options.only or stage in options.only:
            work.trained(stage)
    name = "sentences_validation" if options.validation else "sentences"
    rows = _record.kept(name, options.out)
    for judged, judge in ((REVIEWS, review), (SIMILARITY, similarity)):
        for embedding in judged:
            here = {"data": "imdb" if judge is review else "sts", "embedding": embedding}
            if (options.only and embedding not in options.only) or any(row.items() >= here.items() for row in rows):
                continue
            rows.append(here | {"commit": _record.commit()} | judge(embedding, work, data, options.validation))
            print(json.dumps(rows[-1]), flush=True)
            _record.write(name, CLAIM, rows, [0], out=options.out)


class Work:
    """What is learnt from the texts, kept in the folder `runs`."""

    def __init__(self, runs: Path, unlabelled: Path, sentences: Path, *, smallest: bool) -> None:
        self.runs, self.texts = runs, {"spans": unlabelled, "sentences": sentences}
        self.changes = SMALL if smallest else {}

    def trained(self, stage: str) -> None:
        """Trains a stage unless that is done; words start from what the reviews say of them."""
        path = self.runs / stage
        if not (path / "encoder.safetensors").exists():
            settings = self.settings(stage) | ({} if stage == "spans" else {"words_from": str(self.texts["spans"])})
            resume = (path / "run.json").exists()
            pretrain(str(self.texts[stage]), METHODS[stage], out=path, encoder="words", resume=resume, **settings)

    def settings(self, stage: str) -> dict[str, Any]:
        """Those of a stage."""
        settings = {**SHAPE, **SETTINGS[stage]}
        return settings | {name: value for name, value in self.changes.items() if name in settings}

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What turns texts into ids, the same in both stages."""
        found = [path for stage in SETTINGS if (path := self.runs / stage / "tokenizer.json").exists()]
        return Tokenizer.load(found[0])

    @cached_property
    def vectors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Word vectors (V, D) and how much each counts (V,), in three forms."""
        texts = load_data(str(self.texts["spans"]), tokenizer=self.tokenizer).train
        width = self.settings("spans")["width"]
        found = word_vectors(counted([texts]), self.tokenizer.vocabulary, width)
        weights = word_weights(counted([texts]), self.tokenizer.vocabulary)
        equal = torch.ones_like(weights)
        return {
            "word vectors": (found, equal),
            "word vectors, normalised": (F.layer_norm(found, (width,)), equal),
            "word vectors, weighed": (found, weights),
        }

    def embedded(self, embedding: str, texts: Samples, stage: str) -> Tensor:
        """The embeddings (N, D) of that name; "untrained" and "started" are the encoder of `stage` before it."""
        if embedding.startswith("word vectors"):
            return averaged(texts, *self.vectors[embedding])
        run = load(self.runs / (embedding if embedding in SETTINGS else stage))
        if embedding in SETTINGS:
            encoder = run.encoder
        else:
            encoder = run.untrained if embedding == "started" else run.new_encoder(run.sizes)
        with torch.autocast("cpu", torch.bfloat16):
            return run.embeddings(texts, encoder)


def review(embedding: str, work: Work, data: Any, validation: bool) -> dict[str, Any]:
    """Probes of the reviews' embeddings; of TF-IDF logistic regression on the same draws of labels."""
    train, test, texts = data.labelled(work.tokenizer, validation)
    protocol = Protocol("reviews", ("linear", "few"), shots=tuple(n for n in SHOTS if n <= len(train) // 4))
    if embedding == "TF-IDF":
        return tfidf(*texts, train.labels, test.labels, protocol.shots)
    z = (Labelled(work.embedded(embedding, x, "spans"), x.labels) for x in (train, test))
    return {one.name: _plain(one) for one in protocol.measure(*z)}


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


def similarity(embedding: str, work: Work, data: Any, validation: bool) -> dict[str, Any]:
    """Spearman's correlation of the STS benchmark, and of what was trained by how much it is above what was not."""
    *texts, scores = data.pairs(validation)
    found = alike(embedding, work, *texts)
    value, interval = spearman(found, scores)
    row = {"Spearman": {"value": value, "interval": interval}}
    for other in FLOORS if embedding in SETTINGS else ():
        value, interval = lead(found, alike(other, work, *texts), scores)
        row[f"lead over {other}"] = {"value": value, "interval": interval}
    return row


def alike(embedding: str, work: Work, first: list[str], second: list[str]) -> np.ndarray:
    """The cosine of each pair of texts: (N,)."""
    if embedding == "TF-IDF":
        vectoriser = TfidfVectorizer().fit([*first, *second])
        z = [torch.from_numpy(vectoriser.transform(side).toarray()).float() for side in (first, second)]
    else:
        texts = [from_texts(side, tokenizer=work.tokenizer) for side in (first, second)]
        z = [work.embedded(embedding, side, "sentences") for side in texts]
    return cosines(*z)


def averaged(texts: Samples, vectors: Tensor, weights: Tensor) -> Tensor:
    """The weighed mean of the vectors of all words of each text: (N, D)."""
    vectors = vectors * weights[:, None]
    found = []
    for index in torch.arange(len(texts)).split(1024):
        ids, lengths = texts.fetch(index)[:2]
        owner = torch.repeat_interleave(torch.arange(len(index)), lengths)
        total = torch.zeros(len(index), vectors.shape[1]).index_add_(0, owner, vectors[ids.long()])
        shares = torch.zeros(len(index)).index_add_(0, owner, weights[ids.long()])
        found.append(total / shares.clamp(min=1e-9)[:, None])
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

    def labelled(self, tokenizer: Tokenizer, validation: bool) -> tuple[Samples, Samples, tuple[list[str], list[str]]]:
        """The labelled parts, and their texts."""
        split = load_data(str(self.root / "imdb_labelled.jsonl.xz"), tokenizer=tokenizer)
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

    def labelled(self, tokenizer: Tokenizer, validation: bool) -> tuple[Samples, Samples, tuple[list[str], list[str]]]:
        """The labelled parts, and their texts."""
        parts = self.texts[:200], self.texts[200:]
        train, test = (from_texts(part, tokenizer=tokenizer, labels=self.y[:200]) for part in parts)
        return train, test, parts

    def pairs(self, validation: bool) -> tuple[list[str], list[str], np.ndarray]:
        """The pairs to judge by, and their scores."""
        other = [*self.texts[1:], self.texts[0]]
        return self.texts, other, np.array([len({*a.split()} & {*b.split()}) for a, b in zip(self.texts, other)])


if __name__ == "__main__":
    main()
