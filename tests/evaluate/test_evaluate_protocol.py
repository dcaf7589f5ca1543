import pytest
import torch

from twinlens.errors import InputError
from twinlens.evaluate import Labelled, few_label, knn, linear_probe, standard
from twinlens.evaluate.protocol import MEASURES, Protocol, find


def draw(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    return Labelled(torch.eye(2, 6)[labels] * 2 + torch.randn(count, 6, generator=generator), labels)


def test_standard_is_each_measurement_by_itself_with_the_shots_there_are():
    train, test = draw(60, 0), draw(100, 1)
    expected = [knn(train, test), linear_probe(train, test), *(few_label(train, test, shots=s) for s in (1, 10))]
    assert standard(train, test) == expected
    assert [result.name for result in expected] == ["knn", "linear probe", "1 per class", "10 per class"]
    assert [r.name for r in standard(draw(200, 0), test)][-1] == "100 per class"


def test_a_protocol_is_its_measures_in_order_and_says_so():
    train, test = draw(60, 0), draw(100, 1)
    names = [result.name for result in find("neighbours").measure(train, test)]
    assert names == ["knn", "recall@1", "recall@5", "recall@10", "mAP", "NMI", "ARI", "cluster accuracy"]
    assert find("full", seed=3).as_dict() == {
        "name": "full", "measures": tuple(MEASURES), "shots": (1, 10, 100), "seed": 3,
    }  # fmt: skip
    own = Protocol("own", ("few",), shots=(2, 5))
    assert [result.name for result in own.measure(train, test)] == ["2 per class", "5 per class"]


def test_an_unknown_protocol_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"unknown protocol 'ful'.*full"):
        find("ful")
