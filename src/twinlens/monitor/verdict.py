"""One word for the course of a run: is it learning, and if not, why, and what to change.

A verdict reads the rows of a run in which the monitor looked (`Look`), nothing else, so it can be given anew for any
run that is stored. Its thresholds are below, with what they were calibrated on.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]

# Thresholds: fixed on the runs of benchmarks/verdicts.py with seed 0, and reported there on those with seed 1.
SAME = 0.02  # a gap below this: pairs are told from others no better than that
STARTED = 0.35  # share of the run before which healthy ones look like that, or use few dimensions or clusters
POINT = 0.05  # a spread of what is compared below this is a point
HALF = 0.5  # of the largest so far: spread and gap below both, and the gap nearly nothing, are on their way there
FALLEN, EVEN = 0.3, 0.75  # the loss of broken pairs as a share of the first loss, and a spread that speaks against it
FLAT = 0.046  # share of its dimensions that a compared embedding uses, below which they repeat each other
CLUSTERS = 2.0  # in use, below which they have collapsed
STILL = 1e-4  # share of their norm by which weights have moved, below which the encoder is what it was
FEW, ALONE = 0.1, 2.0  # kinds of samples drawn, as a share of what real ones show; fewer than so many are one
WON = 0.99  # share of pairs, real and generated, that a discriminator tells right, above which it has won
NARROW = 0.1  # LiDAR, as a share of what it can be, below which a few directions solve the task
BETTER = 0.02  # kNN accuracy above the untrained encoder's by less than this is none
RISEN, GONE = 3.0, 10.0  # times the first loss; times their own norm by which weights have moved


class Verdict(NamedTuple):
    """One of the words below, with cause and remedy in a sentence each."""

    word: str
    cause: str
    remedy: str


LEARNING = "learning"
STALLED, SHORTCUT, DIVERGED = "stalled", "shortcut", "diverged"
DIMENSIONAL, COMPLETE, CLUSTER = "dimensional collapse", "complete collapse", "cluster collapse"
COLLAPSED = (DIMENSIONAL, COMPLETE, CLUSTER)
"""The words that end a run with `--stop_on_collapse`; so does `diverged`."""

_SLOWER = "Try a third of the learning rate (--rate), or clip the gradient (--clip 1)."
_FASTER = "Try ten times the learning rate (--rate), and check that the encoder's parameters take a gradient."
_APART = (
    "Check that what keeps samples apart (negatives, a stopped gradient, a predictor, variance, centring) is on and "
    "weighs enough; a slower copy (--momentum) or a lower rate helps too."
)
_EVEN = "Assign samples more evenly (centring, Sinkhorn's iterations), or use fewer clusters and a lower temperature."
_DECORRELATE = (
    "Weigh decorrelation more (--covariance, --redundancy), or take a method with negatives, larger batches or a "
    "narrower projection."
)
_EASIER = "Make views more alike (--min_scale), train longer or with a higher --rate, or lower the temperature."
_VARIED = (
    "Make the generator's steps smaller (--rate), the batch larger, or the discriminator slower (--discriminator_rate "
    "0.3); an error of reconstruction (--cycle 1) keeps samples apart too."
)
_SAYING = "Hold codes less to what is drawn from (--beta), train longer, or check that the decoder uses them."
_WEAKER = "Let the discriminator learn more slowly (--discriminator_rate 0.3), or lower the rate of all (--rate)."
_HARDER = (
    "Take from the views what gives a sample away (colours: --jitter, --grey; texture: --blur; places: --min_scale)."
)


def verdict(rows: Sequence[Row]) -> Verdict | None:
    """The word for a run with these rows of metrics (`Journal`), by its last look; None before the first step.

    A look before the first step says how things were: it is compared with, not judged.
    """
    first = next((row for row in rows if "spread" in row), None)
    looks = [row for row in rows if row["step"] > 0 and ("spread" in row or "finite" in row)]
    losses = [row["loss"] for row in rows if "loss" in row]
    if losses and (losses[-1] is None or not math.isfinite(losses[-1])):
        return Verdict(DIVERGED, f"the loss became {losses[-1]}.", _SLOWER)
    if first is None or not looks:
        return None
    course = _Course(first, looks, losses[0], losses[-1])
    return next(_findings(course), Verdict(LEARNING, _why_learning(course), ""))


def _why_learning(c: "_Course") -> str:
    gap = c.now("gap")
    if math.isnan(gap):
        return f"the loss went from {c.first_loss:.3g} to {c.loss:.3g}, and embeddings stay apart."
    return f"the loss is {gap:.0%} below what views of different samples give, and embeddings stay apart."


class _Course(NamedTuple):
    """The look before the first step, the looks since, and the loss at the start and now."""

    first: Row
    looks: list[Row]
    first_loss: float
    loss: float

    def now(self, name: str, default: float = math.nan) -> float:
        return float(self.looks[-1].get(name, default))

    def most(self, name: str) -> float:
        return max((float(row[name]) for row in self.looks if name in row), default=math.nan)


def _findings(c: _Course) -> Iterator[Verdict]:
    """What is wrong, the gravest first."""
    started = c.looks[-1]["progress"] >= STARTED
    if "finite" in c.looks[-1]:
        yield Verdict(DIVERGED, "embeddings are no finite numbers any more.", _SLOWER)
    if c.first_loss > 0 and c.loss > RISEN * c.first_loss and "discriminator" not in c.looks[-1]:
        yield Verdict(DIVERGED, f"the loss rose from {c.first_loss:.3g} to {c.loss:.3g}.", _SLOWER)
    if c.now("moved") > GONE:
        yield Verdict(DIVERGED, f"the encoder's weights have moved by {c.now('moved'):.3g} times their size.", _SLOWER)
    if c.now("compared") < POINT:
        cause = f"what the method compares lies in one point (spread {c.now('compared'):.2g}, about 1 where even)."
        yield Verdict(COMPLETE, cause, _APART)
    if c.now("gap") < SAME and all(c.now(name) < HALF * c.most(name) for name in ("gap", "compared")):
        cause = f"what the method compares draws together (spread {c.most('compared'):.2g} to {c.now('compared'):.2g})."
        yield Verdict(COMPLETE, cause, _APART)
    if c.first_loss > 0 and c.now("chance") < FALLEN * c.first_loss and not c.now("compared") > EVEN:
        cause = (
            f"the loss of views of different samples fell too, from {c.first_loss:.3g} to {c.now('chance'):.3g}: "
            f"all come to lie in one point."
        )
        yield Verdict(COMPLETE, cause, _APART)
    if c.now("moved") < STILL:
        yield Verdict(STALLED, f"the encoder's weights have moved by {c.now('moved'):.1e} of their size.", _FASTER)
    if started and c.now("clusters") < CLUSTERS <= c.now("of_clusters") / 4:
        cause = f"{c.now('clusters'):.2g} of {c.now('of_clusters'):.0f} clusters are in use."
        yield Verdict(CLUSTER, cause, _EVEN)
    if started and c.now("compared_rank") < FLAT:
        cause = f"what the method compares uses {c.now('compared_rank'):.1%} of its dimensions, the others repeat them."
        yield Verdict(DIMENSIONAL, cause, _DECORRELATE)
    if started and c.now("gap") < SAME:
        cause = f"views of a sample are told from views of others no better than by chance ({c.now('gap'):.1%})."
        yield Verdict(STALLED, cause, _EASIER)
    yield from _generating(c) if started else ()
    gained = c.now("knn") - float(c.first.get("knn", math.nan))
    if started and c.now("lidar_share") < NARROW and not gained > BETTER:
        cause = f"{c.now('lidar'):.0f} directions solve the task, and the embeddings tell no more than before training."
        yield Verdict(SHORTCUT, cause, _HARDER)


def _generating(c: _Course) -> Iterator[Verdict]:
    """What is wrong with a method that draws samples, or that plays against a discriminator."""
    drawn, there = c.now("modes"), c.now("of_modes")
    if drawn < FEW * there:
        cause = f"it draws {drawn:.2g} of {there:.0f} kinds of samples."
        remedy = _VARIED if "discriminator" in c.looks[-1] else _SAYING
        yield Verdict(COMPLETE if drawn < ALONE else CLUSTER, cause, remedy)
    if all(row.get("discriminator", 0) > WON for row in c.looks[-2:]):  # of one alone it may be a swing
        cause = f"the discriminator tells {c.now('discriminator'):.1%} of the pairs, real and generated: it has won."
        yield Verdict(STALLED, cause, _WEAKER)
