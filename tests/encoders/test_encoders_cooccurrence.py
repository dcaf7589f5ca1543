"""Vectors of words against counts in loops."""

from math import log

import numpy as np
import torch

from twinlens.encoders.cooccurrence import word_vectors, word_weights

TEXTS = ([0, 1, 2, 1, 3], [3, 0, 0, 2], [4], [1, 2, 4, 1, 0, 3, 2])
WORDS = 6  # of which one is never said


def given(texts=TEXTS):
    return torch.tensor([i for text in texts for i in text], dtype=torch.int32), torch.tensor([len(t) for t in texts])


def information(texts, window, smooth):
    near = np.zeros((WORDS, WORDS))
    for text in texts:
        for i, word in enumerate(text):
            for j, other in enumerate(text):
                near[word, other] += 0 < abs(i - j) <= window
    context = near.sum(0) ** smooth / (near.sum(0) ** smooth).sum()
    found = np.zeros_like(near)
    for word, other in zip(*near.nonzero(), strict=True):
        joint, alone = near[word, other] / near.sum(), near[word].sum() / near.sum()
        found[word, other] = max(0.0, log(joint / (alone * context[other])))
    return found


def test_they_are_the_factors_of_the_information():
    for window, smooth in ((1, 0.75), (2, 1.0), (5, 0.5)):
        w = word_vectors([given()], WORDS, WORDS, window=window, smooth=smooth).double().numpy()
        m = information(TEXTS, window, smooth)
        np.testing.assert_allclose((w @ w.T) @ (w @ w.T), m @ m.T, atol=1e-4)  # W W' = U S U', the root of M M'


def test_the_first_directions_are_kept():
    all_of_them, some = (word_vectors([given()], WORDS, dim, window=2) for dim in (WORDS, 2))
    torch.testing.assert_close(some.abs(), all_of_them[:, :2].abs(), rtol=0, atol=1e-4)


def test_texts_may_come_in_parts():
    parts = [given(TEXTS[:1]), given(TEXTS[1:])]
    torch.testing.assert_close(word_vectors(parts, WORDS, 3), word_vectors([given()], WORDS, 3))


def test_words_of_two_texts_are_not_near():
    apart, together = (
        word_vectors([given(([0, 1], [2, 3]))], WORDS, 4),
        word_vectors([given(([0, 1, 2, 3],))], WORDS, 4),
    )
    assert (apart[1] @ apart[2]).abs() < 1e-6 and not torch.allclose(apart, together)


def test_a_word_that_is_never_said_has_no_vector_and_neither_has_a_dimension_too_many():
    vectors = word_vectors([given()], WORDS, 9)
    assert vectors.shape == (WORDS, 9) and vectors.dtype == torch.float32
    assert not vectors[5].abs().gt(1e-6).any() and not vectors[:, WORDS:].any() and vectors[:5].any(1).all()


def test_texts_of_one_word_have_no_vectors():
    assert not word_vectors([given(([0], [1]))], WORDS, 3).any()


def test_a_word_weighs_the_less_the_more_often_it_is_said():
    w = word_weights([given()], WORDS, common=0.1)  # 17 words: 4, 4, 4, 3, 2 and 0 times
    expected = [0.1 / (0.1 + said / 17) for said in (4, 4, 4, 3, 2)]
    torch.testing.assert_close(w, torch.tensor([*expected, 1.0]))
    parts = [given(TEXTS[:1]), given(TEXTS[1:])]
    assert torch.equal(word_weights(parts, WORDS, common=0.1), w)


def test_what_stands_around_texts_is_said_once_in_each():
    w = word_weights([given(TEXTS[:3]), given(TEXTS[3:])], WORDS, (5,), common=0.1)
    torch.testing.assert_close(w[[0, 5]], torch.full((2,), 0.1 / (0.1 + 4 / 21)))


def test_of_no_words_each_weighs_one():
    assert word_weights([given(([],))], WORDS).tolist() == [1.0] * WORDS
