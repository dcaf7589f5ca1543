"""TF-IDF against scikit-learn's, and by hand."""

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from support import Noise

from twinlens.data.text import from_texts
from twinlens.errors import InputError
from twinlens.evaluate.tfidf import TfIdf

SAID = ["good film good", "bad film", "a good day", "night and day and night", "film"]


def test_it_is_scikit_learns():
    texts = from_texts(SAID, vocabulary=200)
    learn, judge = texts.subset(torch.arange(3)), texts.subset(torch.arange(1, 5))
    counts = TfidfVectorizer(analyzer=lambda i: texts.fetch(torch.tensor([i]))[0].tolist(), sublinear_tf=True)
    counts.fit(range(3))
    found = TfIdf(learn)(judge).numpy()
    wanted = counts.transform(range(1, 5)).toarray()
    seen = sorted(counts.vocabulary_)
    place = [TfIdf(learn).words.tolist().index(word) for word in seen]
    # words that no text to learn from has are none of scikit-learn's, and weigh here what none weighs
    mine = found[:, place]
    mine /= np.linalg.norm(mine, axis=1, keepdims=True).clip(1e-12)
    np.testing.assert_allclose(mine, wanted, atol=1e-6)


def test_the_commonest_words_are_told_apart_and_rows_have_unit_length():
    texts = from_texts(SAID, vocabulary=200)
    z = TfIdf(texts, most=2)(texts)
    assert z.shape == (5, 2)
    norms = z.norm(dim=1)
    assert ((norms - 1).abs() < 1e-6).logical_or(norms == 0).all()


def test_a_text_repeated_has_the_same_direction():
    texts = from_texts(["good film", "good film good film", "bad"], vocabulary=200)
    z = TfIdf(texts)(texts)
    torch.testing.assert_close(z[0] @ z[1], torch.tensor(1.0))
    assert z[0] @ z[2] < 1e-6 or z[0] @ z[2] < z[0] @ z[1]


def test_pictures_have_no_words():
    with pytest.raises(InputError, match="holds no texts but image"):
        TfIdf(Noise(4))
