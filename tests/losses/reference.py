"""The losses once more, as their papers define them: plain loops over Python floats, a term at a time."""

import math

from torch import Tensor

Rows = list[list[float]]


def rows(z: Tensor) -> Rows:
    return [[float(x) for x in row] for row in z]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def unit(a: list[float]) -> list[float]:
    length = math.sqrt(dot(a, a))
    return [x / length for x in a]


def cos(a: list[float], b: list[float]) -> float:
    return dot(unit(a), unit(b))


def far(a: list[float], b: list[float]) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def negatives(i: int, z: Rows, ids: list[int], bound: float) -> list[int]:
    """The rows that row i is pushed away from."""
    return [k for k in range(len(z)) if ids[k] != ids[i] and cos(z[i], z[k]) <= bound]


def nt_xent(z1: Rows, z2: Rows, t: float, ids: list[int], bound: float = 2.0) -> float:
    z, n, ids = z1 + z2, len(z1), ids * 2
    losses = []
    for i in range(2 * n):
        positive = math.exp(cos(z[i], z[(i + n) % (2 * n)]) / t)
        rivals = sum(math.exp(cos(z[i], z[k]) / t) for k in negatives(i, z, ids, bound))
        losses.append(-math.log(positive / (positive + rivals)))
    return mean(losses)


def decoupled(z1: Rows, z2: Rows, t: float, ids: list[int], sigma: float | None = None, bound: float = 2.0) -> float:
    z, n, ids = z1 + z2, len(z1), ids * 2
    closeness = [math.exp(cos(a, b) / sigma) if sigma else 1.0 for a, b in zip(z1, z2, strict=True)]
    losses = []
    for i in range(2 * n):
        weight = 2 - closeness[i % n] / mean(closeness) if sigma else 1.0
        rivals = [math.exp(cos(z[i], z[k]) / t) for k in negatives(i, z, ids, bound)]
        if rivals:
            losses.append(-weight * cos(z[i], z[(i + n) % (2 * n)]) / t + math.log(sum(rivals)))
    return mean(losses)


def reweighted(z1: Rows, z2: Rows, t: float, hardness: float, prior: float) -> float:
    z, n = z1 + z2, len(z1)
    losses = []
    for i in range(2 * n):
        others = [cos(z[i], z[k]) / t for k in range(2 * n) if k % n != i % n]
        weights = [math.exp(hardness * s) for s in others]
        hard = mean([w / mean(weights) * math.exp(s) for w, s in zip(weights, others, strict=True)])
        positive = math.exp(cos(z[i], z[(i + n) % (2 * n)]) / t)
        g = max((hard - prior * positive) / (1 - prior), math.exp(-1 / t)) if prior else hard
        losses.append(-math.log(positive / (positive + len(others) * g)))
    return mean(losses)


def info_nce(q: Rows, positives: list[Rows], rivals: list[Rows], t: float) -> float:
    """Each query with its own positives and its own negatives."""
    losses = []
    for one, own, others in zip(q, positives, rivals, strict=True):
        below = sum(math.exp(cos(one, k) / t) for k in others)
        losses += [-math.log(math.exp(cos(one, p) / t) / (math.exp(cos(one, p) / t) + below)) for p in own]
    return mean(losses)


def clip(a: Rows, b: Rows, t: float, ids: list[int], bound: float = 2.0) -> float:
    total = 0.0
    for x, y in ((a, b), (b, a)):
        others = [[y[j] for j in range(len(y)) if ids[j] != ids[i] and cos(x[i], y[j]) <= bound] for i in range(len(x))]
        total += info_nce(x, [[row] for row in y], others, t) / 2
    return total


def sigmoid(a: Rows, b: Rows, t: float, bias: float, ids: list[int], bound: float = 2.0) -> float:
    total = 0.0
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            if i == j or (ids[i] != ids[j] and cos(x, y) <= bound):
                sign = 1 if i == j else -1
                total -= math.log(1 / (1 + math.exp(-sign * (cos(x, y) / t + bias))))
    return total / len(a)


def supcon(z: Rows, labels: list[int], t: float, form: str) -> float:
    losses = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        below = sum(math.exp(cos(z[i], z[k]) / t) for k in others)
        shares = [math.exp(cos(z[i], z[k]) / t) / below for k in others if labels[k] == labels[i]]
        if shares:
            losses.append(-mean([math.log(p) for p in shares]) if form == "out" else -math.log(mean(shares)))
    return mean(losses)


def margin(z1: Rows, z2: Rows, same: list[bool], m: float, distance: str) -> float:
    losses = []
    for a, b, alike in zip(z1, z2, same, strict=True):
        d = far(a, b) if distance == "euclidean" else 1 - cos(a, b)
        losses.append(d**2 / 2 if alike else max(0.0, m - d) ** 2 / 2)
    return mean(losses)


def triplet(z: Rows, labels: list[int], m: float, mining: str, distance: str) -> float:
    def d(i: int, j: int) -> float:
        return far(z[i], z[j]) if distance == "euclidean" else 1 - cos(z[i], z[j])

    every = range(len(z))
    losses = []
    for a in every:
        alike = [p for p in every if labels[p] == labels[a] and p != a]
        unlike = [n for n in every if labels[n] != labels[a]]
        if mining in ("all", "active"):
            losses += [max(0.0, d(a, p) - d(a, n) + m) for p in alike for n in unlike]
        elif mining == "hard" and alike and unlike:
            losses.append(max(0.0, max(d(a, p) for p in alike) - min(d(a, n) for n in unlike) + m))
        elif mining == "semi-hard":
            for p in alike:
                farther = [d(a, n) for n in unlike if d(a, n) > d(a, p)]
                nearest = min(farther) if farther else max((d(a, n) for n in unlike), default=None)
                losses += [] if nearest is None else [max(0.0, d(a, p) - nearest + m)]
    return mean([x for x in losses if x > 0] if mining == "active" else losses)


def alignment(z1: Rows, z2: Rows, alpha: float) -> float:
    return mean([far(unit(a), unit(b)) ** alpha for a, b in zip(z1, z2, strict=True)])


def uniformity(z: Rows, t: float) -> float:
    pairs = [(i, j) for i in range(len(z)) for j in range(len(z)) if i != j]
    return math.log(mean([math.exp(-t * far(unit(z[i]), unit(z[j])) ** 2) for i, j in pairs]))
