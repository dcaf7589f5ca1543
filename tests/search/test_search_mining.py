import math
import sys

import pytest
import torch
from torch.nn.functional import normalize

from twinlens import random
from twinlens.errors import InputError
from twinlens.search.mining import mine

N, M, D = 40, 150, 6


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def data():
    anchors, corpus = normal(N, D), normal(M, D, seed=1)
    positives = anchors + normal(N, D, seed=2)
    corpus[:N] = positives
    own = torch.stack((torch.arange(N) % 30, torch.arange(N) % 7 + 500), dim=1)
    theirs = torch.cat((torch.arange(N) % 30, torch.arange(M - N) % 10 + 500))
    return anchors, positives, corpus, (own, theirs)


def allowed(data, window=(0, 100), between=(-9, 9), margin=None, relative=None, ids=True):
    """For each anchor the rows that the rules allow, the nearest first, by a loop over all in float64."""
    anchors, positives, corpus, (own, theirs) = data
    found = []
    for i in range(len(anchors)):
        scores = [float(torch.cosine_similarity(anchors[i].double(), z, dim=0)) for z in corpus.double()]
        positive = float(torch.cosine_similarity(anchors[i].double(), positives[i].double(), dim=0))
        ranking = sorted(range(len(corpus)), key=lambda j: -scores[j])
        if ids:
            ranking = [j for j in ranking if int(theirs[j]) not in own[i].tolist()]
        rows = []
        for j in ranking[window[0] : window[1]]:
            near = margin is not None and scores[j] > positive - margin
            near |= relative is not None and scores[j] > positive - relative * abs(positive)
            if between[0] <= scores[j] <= between[1] and not near:
                rows.append(j)
        found.append(rows)
    return found


RULES = [
    {},
    {"window": (10, 30)},
    {"window": (3, 1000)},
    {"between": (-9, 0.7)},
    {"between": (0.5, 0.8), "window": (2, 60)},
    {"margin": 0.1},
    {"relative": 0.3},
    {"margin": 0.05, "relative": 0.05, "between": (0, 0.6), "window": (5, 40)},
]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("rules", RULES)
def test_equals_a_loop_over_anchors_and_corpus(data, rules, masked, monkeypatch):
    monkeypatch.setattr(sys.modules[mine.__module__], "_AT_ONCE", 7)
    monkeypatch.setattr(sys.modules[mine.__module__], "_MORE", 1)  # so that anchors look again and again
    expected = [(rows + [-1] * 15)[:15] for rows in allowed(data, **rules, ids=masked)]
    found = mine(*data[:3], count=15, ids=data[3] if masked else None, **rules)
    assert found.tolist() == expected


@pytest.mark.parametrize("rules", RULES[1:])
def test_what_is_drawn_is_allowed_and_depends_on_the_key_alone(data, rules):
    key = random.keys(0, 3, torch.arange(N))
    found, rows = mine(*data[:3], count=6, ids=data[3], key=key, **rules), allowed(data, **rules)
    for mine_, all_ in zip(found.tolist(), rows):
        some = [j for j in mine_ if j >= 0]
        assert len(some) == min(6, len(all_)) and set(some) <= set(all_)
        assert some == sorted(some, key=all_.index) and mine_[len(some) :] == [-1] * (6 - len(some))
    order = torch.randperm(N, generator=torch.Generator().manual_seed(4))
    part = data[0][order], data[1][order], data[2]
    again = mine(*part, count=6, ids=(data[3][0][order], data[3][1]), key=key[order], **rules)
    assert torch.equal(again, found[order])
    assert not torch.equal(
        mine(*data[:3], count=6, ids=data[3], key=random.keys(0, 4, torch.arange(N)), **rules), found
    )


def test_every_allowed_row_is_drawn_as_often():
    anchor, corpus = torch.ones(1, 2).expand(4000, 2), normalize(torch.rand(10, 2, generator=torch.manual_seed(0)) + 1)
    found = mine(anchor, anchor, corpus, count=2, window=(2, 10), key=random.keys(0, 0, torch.arange(4000)))
    times = found.flatten().bincount(minlength=10)
    assert (times > 0).sum() == 8 and times[times > 0].tolist() == pytest.approx([1000] * 8, abs=110)


def test_by_hand():
    corpus = torch.tensor([[5.0, 0], [4, 3], [3, 4], [0, 1], [-1, 0]])  # cosines 1, 0.8, 0.6, 0, -1
    anchor, positive = torch.tensor([[2.0, 0]]), torch.tensor([[0.8, 0.6]])
    ids = torch.tensor([1]), torch.arange(5)
    assert mine(anchor, positive, corpus, count=2, window=(0, 5)).tolist() == [[0, 1]]
    assert mine(anchor, positive, corpus, count=2, window=(0, 5), ids=ids).tolist() == [[0, 2]]
    assert mine(anchor, positive, corpus, count=2, window=(1, 3), ids=ids).tolist() == [[2, 3]]
    assert mine(anchor, positive, corpus, count=2, window=(0, 5), margin=0.3).tolist() == [[3, 4]]
    assert mine(anchor, positive, corpus, count=3, window=(0, 5), relative=0.2).tolist() == [[2, 3, 4]]
    assert mine(anchor, positive, corpus, count=3, window=(0, 5), between=(-0.5, 0.7)).tolist() == [[2, 3, -1]]
    # a positive at -0.8 less a tenth of it is -0.88, not -0.72
    assert mine(anchor, -positive, corpus, count=2, window=(0, 5), relative=0.1).tolist() == [[4, -1]]


def test_length_and_rotation_do_not_matter(data):
    turn, long = torch.linalg.qr(normal(D, D, seed=7)).Q, normal(M, 1, seed=8).abs() + 0.1
    rules = {"count": 5, "window": (1, 50), "relative": 0.1, "ids": data[3]}
    moved = 3 * data[0] @ turn, data[1] @ turn, long * data[2] @ turn
    assert torch.equal(mine(*moved, **rules), mine(*data[:3], **rules))


def test_a_corpus_of_own_rows_alone_has_no_negatives(data):
    ids = torch.zeros(N, dtype=torch.int64), torch.zeros(M, dtype=torch.int64)
    assert (mine(*data[:3], count=3, ids=ids) == -1).all()
    assert mine(*data[:2], data[2][:2], count=3).shape == (N, 3)  # fewer rows than are asked for


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": 0}, "^count = 0: expected 1 to 100"),
        ({"window": (3, 5), "count": 3}, "^count = 3: expected 1 to 2"),
        ({"window": (5, 5)}, r"^window = \(5, 5\): expected"),
        ({"window": (-1, 5)}, r"^window = \(-1, 5\): expected"),
        ({"margin": -0.1}, "^margin = -0.1: expected 0 or more"),
        ({"relative": 1.5}, "^relative = 1.5: expected 0 to 1"),
        ({"positives": torch.ones(3, D)}, r"^anchors, positives and corpus of shapes \(40, 6\), \(3, 6\)"),
        ({"corpus": torch.ones(3, 2)}, r"^anchors, positives and corpus of shapes .* and \(3, 2\)"),
        ({"corpus": torch.full((3, D), math.nan)}, "^3 of 3 rows of the corpus are not finite"),
        ({"ids": (torch.arange(N), torch.arange(9))}, r"^ids of shapes \(40,\) and \(9,\) for 40 anchors"),
        ({"ids": (torch.arange(9), torch.arange(M))}, r"^ids of shapes \(9,\) and \(150,\) for 40 anchors"),
    ],
)
def test_unusable_input_is_named(data, change, words):
    given = {"anchors": data[0], "positives": data[1], "corpus": data[2], **change}
    with pytest.raises(InputError, match=words):
        mine(**given)
