import torch

from twinlens.evaluate import Labelled, few_label, knn, linear_probe, standard


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
