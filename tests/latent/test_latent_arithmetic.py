import sys

import numpy as np
import pytest
import torch

from twinlens.errors import InputError
from twinlens.latent import analogy_accuracy, arithmetic
from twinlens.latent.score import share

GALLERY = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
QUESTIONS = torch.randint(60, (40, 3), generator=torch.Generator().manual_seed(1))

# two factors of two values each, and their sum: man, woman, king, queen; then something else, nearer to king than queen
WORDS = torch.tensor([[1.0, 0, 1, 0], [0.0, 1, 1, 0], [1.0, 0, 0, 1], [0.0, 1, 0, 1], [1.0, 0.1, 0, 0.9]])
MAN, WOMAN, KING, QUEEN, PRINCE = range(5)


@pytest.mark.parametrize("multiply", [False, True])
def test_king_minus_man_plus_woman_is_queen(multiply):
    found = arithmetic(WORDS, [[KING, MAN, WOMAN]], k=2, multiply=multiply)
    assert found.index.tolist() == [[QUEEN, PRINCE]]
    assert found.score[0, 0] == pytest.approx(1 if not multiply else 0.75 * 0.75 / 0.501, rel=1e-5)


def slow(gallery, question, multiply):
    """Every sample but those asked about, best first."""
    unit = [x / np.linalg.norm(x) for x in gallery.double().numpy()]
    a, b, c = (unit[int(i)] for i in question)
    scores = {}
    for j, x in enumerate(unit):
        if multiply:
            scores[j] = (x @ a + 1) / 2 * (x @ c + 1) / 2 / ((x @ b + 1) / 2 + 0.001)
        else:
            scores[j] = x @ (a - b + c) / np.linalg.norm(a - b + c)
    order = sorted(set(scores) - set(question.tolist()), key=lambda j: (-scores[j], j))
    return order, scores


@pytest.mark.parametrize("multiply", [False, True])
@pytest.mark.parametrize("at_once", [2**24, 180])
def test_answers_are_those_of_a_loop(multiply, at_once, monkeypatch):
    monkeypatch.setattr(sys.modules["twinlens.latent.arithmetic"], "_AT_ONCE", at_once)
    found = arithmetic(GALLERY * torch.rand(60, 1).add(0.1), QUESTIONS, k=6, multiply=multiply)
    assert found.index.shape == found.score.shape == (40, 6)
    for question, index, score in zip(QUESTIONS, found.index.tolist(), found.score.tolist()):
        order, scores = slow(GALLERY, question, multiply)
        assert index == order[:6]
        assert score == pytest.approx([scores[j] for j in index], rel=1e-4, abs=1e-5)


def test_the_two_ways_differ():
    add, multiply = (arithmetic(GALLERY, QUESTIONS, k=1, multiply=m).index for m in (False, True))
    assert 0.3 < float((add == multiply).float().mean()) < 1


def test_of_equal_answers_the_lower_index_comes_first():
    gallery = torch.cat((WORDS[:3], WORDS[[PRINCE, QUEEN, QUEEN, QUEEN]]))
    assert arithmetic(gallery, [[KING, MAN, WOMAN]], k=9).index.tolist() == [[4, 5, 6, 3]]


def test_accuracy_by_hand():
    rows = [[KING, MAN, WOMAN, QUEEN], [QUEEN, WOMAN, MAN, KING], [KING, QUEEN, WOMAN, PRINCE]]
    score = analogy_accuracy(WORDS, rows)
    assert score == share(2, 3, chance=1 / 2)  # the last is the man
    without = analogy_accuracy(WORDS[:4], [row for row in rows if PRINCE not in row])
    assert without.value == 1
    assert without.chance == 1


def test_accuracy_is_the_share_of_first_answers_by_either_way():
    for multiply in (False, True):
        first = arithmetic(GALLERY, QUESTIONS, k=1, multiply=multiply).index
        rows = torch.cat((QUESTIONS, first), dim=1)
        assert analogy_accuracy(GALLERY, rows, multiply=multiply).value == 1
        assert analogy_accuracy(GALLERY, rows, multiply=not multiply).value < 1


def test_accuracy_of_independent_codes_is_chance():
    generator = np.random.default_rng(0)
    rows = np.array([generator.permutation(60)[:4] for _ in range(4000)])
    gallery = generator.normal(size=(60, 40))
    score = analogy_accuracy(gallery, rows)
    assert score.chance == 1 / 57
    assert score.interval[0] < 1 / 57 + 0.01
    assert score.value < 0.05


@pytest.mark.parametrize(
    ("gallery", "rows", "says"),
    [
        (WORDS[:3], [[0, 1, 2, 2]], "the gallery has 3 codes: expected 4 or more"),
        (WORDS, [[0, 1, 2]], r"quadruples are torch.int64 \(1, 3\): expected integers \(Q, 4\)"),
        (WORDS, [[0.0, 1, 2, 3]], "quadruples are torch.float32"),
        (WORDS, [[0, 1, 2, 5]], "quadruples run from 0 to 5: expected 0 to 4"),
        (WORDS, [[0, 1, 2, -1]], "quadruples run from -1 to 2"),
        (WORDS, [[0, 1, 2, 3], [0, 1, 2, 1]], "row 1 of the quadruples answers with one of its own"),
    ],
)
def test_questions_that_cannot_be_asked_are_named(gallery, rows, says):
    with pytest.raises(InputError, match=says):
        analogy_accuracy(gallery, rows)


def test_answers_that_are_not_asked_for_are_named():
    with pytest.raises(InputError, match="k = 0: expected at least 1"):
        arithmetic(WORDS, [[0, 1, 2]], k=0)
