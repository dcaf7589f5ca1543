import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from twinlens.errors import InputError
from twinlens.evaluate import Labelled, audit, linear_probe
from twinlens.evaluate.audit import PERMUTED, Audit
from twinlens.evaluate.groups import balanced, lowest, widest, wilson
from twinlens.evaluate.probe import prepare
from twinlens.evaluate.result import Result

D = 10
NAMES = np.array(["large", "small", "tiny"])


def draw(count, seed, leak=1.5, harm=1.5, share=(0.75, 0.2, 0.05)):
    """Two classes; group 1 is harder by `harm` and moved by `leak` along a dimension of its own."""
    random = np.random.default_rng(seed)
    labels, group = random.integers(2, size=count), random.choice(3, size=count, p=share)
    x = random.normal(size=(count, D))
    x[:, 0] += 2 * (2 * labels - 1) / (1 + harm * (group == 1))
    x[:, 1] += leak * (group == 1)
    return Labelled(x.astype(np.float32), labels), NAMES[group]


@pytest.fixture(scope="module")
def parts():
    (train, g), (test, t) = draw(1500, 0), draw(1000, 1)
    return train, test, g, t


@pytest.fixture(scope="module")
def found(parts):
    return audit(*parts)


def reference(parts):
    """Where scikit-learn's model at the same penalty is right, (M,)."""
    train, test, *_ = parts
    result, task = linear_probe(train, test), prepare(train, test)
    model = LogisticRegression(C=1 / (result.settings["penalty"] * len(task.x)), tol=1e-8, max_iter=2000)
    return model.fit(task.x.numpy(), task.y.numpy()).predict(task.test_x.numpy()) == test.labels


def test_accuracies_by_group_are_those_of_the_linear_probe(parts, found):
    right, t = reference(parts), parts[3]
    probe = linear_probe(*parts[:2])
    assert (found.accuracy.value, found.accuracy.interval) == (probe.value, probe.interval)
    assert found.accuracy.settings["penalty"] == probe.settings["penalty"]
    for name, result in found.groups.items():
        assert result.value == pytest.approx(right[t == name].mean(), abs=0.011)
        assert result.settings == {"items": int((t == name).sum()), "judged": True}
    assert list(found.groups) == list(NAMES)
    items = [result.settings["items"] for result in found.groups.values()]
    assert sum(n * r.value for n, r in zip(items, found.groups.values())) == pytest.approx(1000 * probe.value)
    assert found.groups["large"].value > found.groups["small"].value + 0.05


def test_worst_and_gap_are_the_extremes_of_judged_groups(parts, found):
    values = {name: result.value for name, result in found.groups.items()}
    assert found.worst.value == min(values.values()) == values["small"]
    assert found.worst.settings["worst"] == "small" and found.gap.settings["worst"] == "small"
    assert found.gap.value == pytest.approx(max(values.values()) - values["small"])
    assert values[found.gap.settings["best"]] == max(values.values())
    items = np.array([result.settings["items"] for result in found.groups.values()])
    right = np.array(list(values.values())) * items
    assert found.worst.interval == pytest.approx(lowest(right, items))
    assert found.worst.interval[0] <= found.worst.value <= found.worst.interval[1]
    assert found.gap.interval == pytest.approx(widest(right, items))
    assert 0 < found.gap.interval[0] <= found.gap.value <= found.gap.interval[1]


def test_a_group_of_few_test_items_is_shown_with_its_wide_interval_but_not_judged(parts):
    train, test, g, t = parts
    kept = np.flatnonzero((t != "tiny") | ((t == "tiny").cumsum() <= 19))
    flipped = np.where(t == "tiny", 1 - test.labels, test.labels)[kept]  # tiny's probe is worse than any other's
    some = Labelled(test.features[kept], flipped)
    few = audit(train, some, g, t[kept])
    assert few.groups["tiny"].settings == {"items": 19, "judged": False}
    assert few.groups["tiny"].value < few.groups["small"].value
    assert np.ptp(few.groups["tiny"].interval) > 0.15
    assert few.worst.settings["worst"] == "small" and few.worst.settings["of"] == ["large", "small"]
    assert few.attribute.settings["groups"] == ["large", "small"] and few.attribute.settings["chance"] == 0.5
    judged = audit(train, some, g, t[kept], least=19, permutations=1)
    assert judged.worst.settings["worst"] == "tiny"
    assert judged.attribute.settings["chance"] == pytest.approx(1 / 3)


def test_the_attribute_is_read_as_by_balanced_logistic_regression(parts):
    train, test, g, t = parts
    (train, g), (test, t) = (
        (Labelled(p[0][n != "tiny"], p[1][n != "tiny"]), n[n != "tiny"]) for p, n in zip((train, test), (g, t))
    )
    result = audit(train, test, g, t, permutations=2).attribute
    x, z = prepare(train, test).x.numpy(), prepare(train, test).test_x.numpy()
    model = LogisticRegression(class_weight="balanced", C=1.0).fit(x, g)
    assert result.value == pytest.approx(balanced_accuracy_score(t, model.predict(z)), abs=0.03)
    plain = LogisticRegression().fit(x, g)
    assert result.value > balanced_accuracy_score(t, plain.predict(z)) + 0.03  # it names the large group too often


def test_a_leak_is_told_from_features_that_know_nothing_of_the_group(parts, found):
    assert found.leaks is True
    permuted = found.attribute.baselines[PERMUTED]
    assert permuted.value == pytest.approx(1 / 3, abs=0.03)
    assert permuted.interval[0] < 1 / 3 < permuted.interval[1]
    assert permuted.settings == {"permutations": 10}
    assert found.attribute.interval[0] > permuted.interval[1] > found.attribute.settings["chance"]
    for seed in range(4):
        (train, g), (test, t) = (draw(600, 10 * seed + i, leak=0, harm=0, share=(0.6, 0.4, 0)) for i in (1, 2))
        clean = audit(train, test, g, t, permutations=5)
        assert clean.leaks is False
        assert clean.attribute.value == pytest.approx(0.5, abs=0.06)
        assert clean.gap.interval[0] == 0


def test_leaks_needs_the_interval_above_both_levels():
    def leaks(low, permuted):
        baseline = Result(PERMUTED, 0.5, (0.4, permuted))
        attribute = Result("a", 0.7, (low, 0.8), {"chance": 0.5}).beside({PERMUTED: baseline})
        one = Result("b", 0.5, (0.4, 0.6))
        return Audit(one, {}, one, one, attribute).leaks

    assert [leaks(*case) for case in ((0.6, 0.55), (0.54, 0.55), (0.49, 0.45), (0.51, 0.45), (0.5, 0.5))] == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_training_groups_alone_teach_the_attribute(parts, found):
    train, test, g, t = parts
    wrong = np.where(g == "large", "small", np.where(g == "small", "large", g))
    turned = audit(train, test, wrong, t, permutations=1)
    assert turned.attribute.value < 1 / 3 < found.attribute.value
    assert turned.groups == found.groups and turned.worst == found.worst  # the audit's probe sees no group


def test_names_order_scale_and_kind_of_input_do_not_matter(parts, found):
    train, test, g, t = parts
    number = {"large": 3, "small": 5, "tiny": 8}
    order = np.random.default_rng(0).permutation(len(t))
    scale, shift = np.logspace(1, -1, D, dtype=np.float32), np.float32(4)
    moved = audit(
        Labelled(torch.from_numpy(train.features * scale + shift), torch.from_numpy(train.labels)),
        Labelled((test.features * scale + shift)[order], test.labels[order]),
        torch.tensor([number[name] for name in g]),
        [str(number[name]) for name in t[order]],
    )
    assert list(moved.groups) == ["3", "5", "8"]
    for name, own in number.items():
        assert moved.groups[str(own)].value == pytest.approx(found.groups[name].value, abs=0.011)
    assert moved.attribute.value == pytest.approx(found.attribute.value, abs=0.01)
    assert audit(*parts) == found


def test_an_audit_is_plain_values_and_words(found):
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["leaks"] is True and plain["groups"]["small"]["settings"]["judged"] is True
    assert plain["attribute"]["baselines"][PERMUTED]["value"] == found.attribute.baselines[PERMUTED].value
    lines = str(found).splitlines()
    assert lines[0].startswith("linear probe ") and lines[2].startswith("group small ")
    assert lines[-1] == "a linear probe can read the group from the features"


def test_wilson_by_hand():
    low, high = wilson(np.array([8.0, 20.0, 0.0]), np.array([10, 20, 20]))
    z2 = 1.959964**2
    assert low[0] == pytest.approx(0.490162, abs=1e-5) and high[0] == pytest.approx(0.943318, abs=1e-5)
    assert (low[1], high[1]) == pytest.approx((20 / (20 + z2), 1)) and low[2] == pytest.approx(0, abs=1e-12)
    assert high[2] == pytest.approx(1 - low[1])
    count = np.arange(1, 300)
    assert wilson(0.0 * count, count)[0].min() == 0 and wilson(1.0 * count, count)[1].max() == 1


def test_lowest_lies_between_the_lowest_ends_which_need_not_be_of_one_group():
    right, count = np.array([15.0, 240.0]), np.array([20, 300])  # 75 % and 80 %
    low, high = wilson(right, count, level=0.975)
    assert low[0] < low[1] and high[1] < high[0]
    assert lowest(right, count) == (low[0], high[1])


def test_gap_of_two_by_hand_and_in_any_order():
    # Newcombe 1998, method 10, written out for 56 of 70 and 48 of 80
    (l1, l2), (u1, u2) = wilson(np.array([56.0, 48.0]), np.array([70, 80]))
    low = 0.2 - ((0.8 - l1) ** 2 + (u2 - 0.6) ** 2) ** 0.5
    high = 0.2 + ((u1 - 0.8) ** 2 + (0.6 - l2) ** 2) ** 0.5
    assert widest(np.array([56.0, 48.0]), np.array([70, 80])) == pytest.approx((low, high))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert widest(np.array([48.0, 56.0]), np.array([80, 70])) == pytest.approx((low, high))
    assert widest(np.array([8.0, 8.0]), np.array([10, 10]))[0] == 0


@pytest.mark.parametrize("truth", [(0.8,) * 2, (0.8,) * 6, (0.9, 0.7), (0.95, 0.9, 0.6, 0.9)])
def test_intervals_of_extremes_cover_the_truth(truth):
    random, count = np.random.default_rng(0), np.array([40, 300] * (len(truth) // 2))
    worst = gap = 0
    for _ in range(1000):
        right = random.binomial(count, truth).astype(float)
        low, high = lowest(right, count)
        worst += low <= min(truth) <= high
        low, high = widest(right, count)
        gap += low <= max(truth) - min(truth) + 1e-9 and max(truth) - min(truth) <= high
    assert min(worst, gap) >= 935


def test_balanced_accuracy_and_its_interval():
    random = np.random.default_rng(0)
    group = random.choice(3, size=400, p=(0.8, 0.15, 0.05))
    found = np.where(random.random(400) < 0.6, group, 0)
    value, (low, high) = balanced((found == group)[None], group)
    assert value == pytest.approx(balanced_accuracy_score(group, found))
    recall, size = (np.bincount(group, w) for w in (found == group, None))
    recall = recall / size
    half = 1.96 * (recall * (1 - recall) / size).sum() ** 0.5 / 3
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.015)
    assert balanced(np.ones((2, 400), dtype=bool), group) == (1, (1, 1))
    order = random.permutation(400)
    assert balanced((found == group)[None, order], group[order])[0] == pytest.approx(value)
    first = np.argsort(found != group)  # those that are right come first
    assert balanced((found == group)[None, first], group[first])[1] == pytest.approx((low, high), abs=0.015)


def test_balanced_accuracy_of_several_draws_is_their_mean_and_they_widen_the_interval():
    group = np.arange(200) % 2
    draws = np.repeat([[True], [False], [True], [True]], 200, axis=1)
    value, (low, high) = balanced(draws, group)
    assert value == 0.75 and low <= 0.5 and high == 1


def test_intervals_of_balanced_accuracy_cover_the_truth():
    random, covered = np.random.default_rng(0), 0
    recall = np.array([0.9, 0.5, 0.6])
    for _ in range(60):
        group = random.choice(3, size=300, p=(0.7, 0.15, 0.15))
        low, high = balanced((random.random(300) < recall[group])[None], group, resamples=300)[1]
        covered += low <= recall.mean() <= high
    assert 52 <= covered < 60


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        ({2: ["a"] * 9}, {}, r"^groups_train are <U1 of shape \(9,\): expected .* of shape \(1500,\)"),
        ({3: ["a"] * 9}, {}, r"^groups_test are <U1 of shape \(9,\): expected .* of shape \(1000,\)"),
        ({3: np.full(1000, 0.5)}, {}, r"^groups_test are float64 of shape \(1000,\)"),
        ({3: [None, *["large"] * 999]}, {}, r"^groups_test are object of shape \(1000,\)"),
        ({2: np.full(1500, "large")}, {}, "^group 'small' of groups_test is not in groups_train"),
        ({3: np.full(1000, "large")}, {}, "^1 of 1 groups have 20 test samples or more: expected at least 2"),
        ({}, {"least": 500}, "^1 of 3 groups have 500 test samples"),
        ({}, {"least": 0}, "^least = 0, permutations = 10: expected 1 or more of both"),
        ({}, {"permutations": 0}, "^least = 20, permutations = 0: expected"),
    ],
)
def test_unusable_input_is_named(parts, change, settings, words):
    with pytest.raises(InputError, match=words):
        audit(*(change.get(i, part) for i, part in enumerate(parts)), **settings)
