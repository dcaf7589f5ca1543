"""Dense transfer: where features are of, metrics against slow references and by hand, heads that know the answer."""

from dataclasses import replace
from importlib import import_module
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score
from torch import nn
from torch.nn import functional as F

from twinlens.data.load import load
from twinlens.data.scenes import compose
from twinlens.encoders.foreign import wrap
from twinlens.encoders.resnet import resnet18
from twinlens.encoders.small import small
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.evaluate.boxes import Detections, Ranking, average_precision, iou, matched, suppress
from twinlens.evaluate.dense import RawPatches, learn, maps, patch_features, resampled
from twinlens.evaluate.detection import Output, Target, centres, detect, detection, objective, read, targets
from twinlens.evaluate.segmentation import confusion, mean_iou, segmentation, upsampled
from twinlens.views.image import ImageViews

TRANSFORMER = {"patch": 4, "width": 32, "depth": 2, "heads": 2}


class Answers(nn.Module):
    """A map of features for each view, looked up: an encoder that was told."""

    def __init__(self, scenes, features):
        super().__init__()
        self.known = {key(pixels): map_ for part, maps_ in zip(scenes, features) for pixels, map_ in zip(part, maps_)}

    def forward(self, view):
        levels = view.add(2).mul(255 / 4).round().byte().permute(0, 2, 3, 1)
        return torch.stack([self.known[key(pixels)] for pixels in levels])


class Calls(nn.Module):
    """What `make` makes of a view, for modules that are not written out."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, view):
        return self.make(view)


def key(pixels):
    return pixels.contiguous().numpy().tobytes()


def pooled():
    """A convolution whose map is pooled to 2 x 2 by modules, one of them within another."""
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 6, 4, 4)
    return nn.Sequential(nn.Sequential(conv, nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(2))), nn.Flatten())


@pytest.fixture(scope="module")
def parts():
    split = load("digits")
    assert split.test is not None
    return compose(split.train, 120, side=24, seed=0), compose(split.test, 60, side=24, seed=0)


@pytest.fixture(scope="module")
def raw(parts):
    return {measure: measure(RawPatches(4), *parts, epochs=10) for measure in (segmentation, detection)}


# features of places


ENCODERS = {
    "vit": lambda: vit(1, 16, **TRANSFORMER),
    "vit, side by side": lambda: vit(1, 16, pool=False, **TRANSFORMER),
    "small": lambda: small(1, 28),
    "resnet": lambda: resnet18(1, 32),
    "raw": lambda: RawPatches(4),
    "foreign": lambda: wrap(nn.Conv2d(1, 6, 4, 4), torch.zeros(1, 1, 16, 16)),
    "pooled": pooled,
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 64)])
def test_a_bright_spot_changes_the_features_of_its_place(name, height, width):
    torch.manual_seed(0)
    encoder = ENCODERS[name]()
    views = torch.zeros(5, 1, height, width)
    first, last = slice(0, 8), slice(-8, None)
    for view, (rows, columns) in zip(views[1:, 0], product((first, last), (first, last))):
        view[rows, columns] = 2
    features, (rows, columns) = patch_features(encoder, views)
    assert features.shape[:2] == (5, rows * columns)
    assert rows * width == columns * height
    assert not features.requires_grad
    moved = (features[1:] - features[0]).norm(dim=2)  # (4, T)
    row, column = moved.argmax(1) // columns, moved.argmax(1) % columns
    # the spot is of one cell of a network with strides, which reaches into the next, or of 2 x 2 of others
    assert torch.equal(row < 2, torch.tensor([True, True, False, False]))
    assert torch.equal(row >= rows - 2, torch.tensor([False, False, True, True]))
    assert torch.equal(column < 2, torch.tensor([True, False, True, False]))
    assert torch.equal(column >= columns - 2, torch.tensor([False, True, False, True]))


def test_features_are_those_that_encoders_pool():
    torch.manual_seed(0)
    views = torch.randn(3, 1, 32, 32)
    for encoder, width, grid in ((vit(1, 32, **TRANSFORMER), 32, (8, 8)), (resnet18(1, 32), 512, (4, 4))):
        features, found = patch_features(encoder.train(), views)
        assert (features.shape[2], found) == (width, grid)
        torch.testing.assert_close(features.mean(1), encoder.eval()(views))
    encoder = small(1, 28).eval()
    features, grid = patch_features(encoder, views)
    again = F.adaptive_avg_pool2d(features.mT.unflatten(2, grid), 4).flatten(1)
    torch.testing.assert_close(again, encoder(views))
    features, grid = patch_features(pooled(), views)
    torch.testing.assert_close(features, pooled()[0][0](views).relu().flatten(2).mT)
    assert grid == (8, 8)
    features, grid = patch_features(RawPatches(8), views)
    assert grid == (4, 4)
    torch.testing.assert_close(features[:, 6], views[:, 0, 8:16, 16:24].flatten(1))


def test_an_encoder_is_handed_back_as_it_came():
    encoder = resnet18(1, 32).train()
    encoder.stages[0].eval()
    modes = [module.training for module in encoder.modules()]
    state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    views = torch.randn(2, 1, 32, 32)
    one, other = patch_features(encoder, views)[0], patch_features(encoder, views[:1])[0]
    torch.testing.assert_close(one[:1], other)  # in evaluation mode a sample is computed by itself
    assert [module.training for module in encoder.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items())
    assert not any(module._forward_hooks for module in encoder.modules())
    broken = nn.Sequential(nn.Conv2d(3, 4, 3)).train()
    with pytest.raises(InputError, match=r"^Sequential cannot encode scenes of shape \(2, 1, 32, 32\): "):
        patch_features(broken, views)
    assert broken.training and broken[0].training
    assert not broken[0]._forward_hooks


@pytest.mark.parametrize(
    "make",
    [
        lambda view: view.flatten(1),
        lambda view: view.mean((2, 3), keepdim=True),  # pooled already
        lambda view: F.avg_pool2d(view, 4).flatten(2).mT,  # tokens
        lambda view: F.avg_pool2d(view, 4).permute(0, 2, 3, 1),  # channels last
        lambda view: (F.avg_pool2d(view, 4), None),
    ],
    ids=["features", "one place", "tokens", "channels last", "tuple"],
)
def test_a_module_without_features_of_places_is_refused(make):
    with pytest.raises(InputError, match=r"^Calls gives no features of places: expected tokens, as of TokenEncoder"):
        patch_features(Calls(make), torch.zeros(2, 3, 16, 16))


def test_tokens_behind_a_map_are_not_overlooked():
    patches = nn.Sequential(nn.Conv2d(1, 8, 4, 4), nn.Flatten(2), nn.Linear(16, 16))  # as in transformers of others
    with pytest.raises(InputError, match=r"gives no features of places"):
        patch_features(patches, torch.zeros(2, 1, 16, 16))


def test_views_that_do_not_fit_an_encoder_are_named():
    encoder = vit(3, 16, **TRANSFORMER)
    with pytest.raises(
        InputError, match=r"^scenes of 18 x 16 pixels cannot be cut into the encoder's patches of 4 x 4"
    ):
        patch_features(encoder, torch.zeros(1, 3, 18, 16))
    with pytest.raises(InputError, match=r"^scenes have 1 channels, but the encoder's patches hold 48 numbers"):
        patch_features(encoder, torch.zeros(1, 1, 16, 16))
    with pytest.raises(InputError, match=r"^patch = 5: expected a divisor of the scene's 16 x 16 pixels"):
        patch_features(RawPatches(5), torch.zeros(1, 3, 16, 16))
    plain = encoder.tokens
    encoder.tokens = lambda view: torch.cat((plain(view)[:, :1], plain(view)), dim=1)
    with pytest.raises(
        InputError, match=r"^Tokens gives tokens \(1, 17, 32\) for 4 x 4 patches: expected one for each"
    ):
        patch_features(encoder, torch.zeros(1, 3, 16, 16))


def test_maps_are_standardised_by_the_training_part_alone(parts):
    train, test = parts
    x, z = maps(RawPatches(6), train, test)
    assert (x.shape, z.shape) == ((120, 36, 4, 4), (60, 36, 4, 4))
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(36), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(36))
    again, some = maps(RawPatches(6), train, replace(test, pixels=test.pixels[7:9]))
    assert torch.equal(again, x)
    assert torch.equal(some, z[7:9])
    seen = ImageViews(size=24).clean((train.pixels, torch.ones(120)))
    plain = F.pixel_unshuffle(seen, 6)
    std, mean = torch.std_mean(plain, dim=(0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(x, (plain - mean) / std, atol=1e-4, rtol=1e-4)


def test_parts_and_features_that_cannot_be_used_are_named(parts):
    train, test = parts
    with pytest.raises(InputError, match=r"^training scenes have shape .24, 24, 1., test scenes .20, 24, 1."):
        maps(RawPatches(4), train, replace(test, pixels=test.pixels[:, :20]))
    with pytest.raises(InputError, match=r"^training scenes have classes .*: compose both alike"):
        maps(RawPatches(4), train, replace(test, classes=("a",)))
    with pytest.raises(InputError, match=r"^all 1 features are the same everywhere: the encoder has collapsed"):
        maps(Calls(torch.zeros_like), train, test)
    with pytest.raises(InputError, match=r"^features of 180 of 180 scenes are not finite"):
        maps(Calls(lambda view: view / 0), train, test)
    partly = Calls(lambda view: torch.cat((view, torch.full_like(view, 3)), dim=1))  # what is constant becomes 0
    assert not maps(partly, train, test)[1][:, 1].any()


# segmentation


def test_confusion_and_mean_iou_equal_slow_ones():
    random = np.random.default_rng(0)
    truth, predicted = random.integers(4, size=(6, 5, 7)), random.integers(4, size=(6, 5, 7))
    tables = confusion(torch.from_numpy(predicted), torch.from_numpy(truth), 4)
    for table, p, t in zip(tables, predicted, truth):
        assert np.array_equal(table, confusion_matrix(t.ravel(), p.ravel(), labels=range(4)))
    assert mean_iou(tables.sum(0)) == pytest.approx(jaccard_score(truth.ravel(), predicted.ravel(), average="macro"))


def test_mean_iou_by_hand():
    truth = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 2]]])
    assert mean_iou(confusion(truth, truth, 4)[0]) == 1  # the class that is nowhere does not count
    assert mean_iou(confusion((truth + 1) % 4, truth, 4)[0]) == 0
    background = confusion(torch.zeros_like(truth), truth, 4)[0]
    assert mean_iou(background) == pytest.approx((4 / 8 + 0 + 0) / 3)
    predicted = torch.tensor([[[0, 1, 1, 1], [0, 0, 3, 2]]])
    # 0: 3 of 4; 1: 2 of 4; 2: 1 of 1; 3: 0 of 1, predicted where it is not
    assert mean_iou(confusion(predicted, truth, 4)[0]) == pytest.approx((3 / 4 + 2 / 4 + 1 + 0) / 4)


def test_logits_are_upsampled_about_the_centres_of_cells():
    logits = torch.tensor([[[[0.0, 4.0]]]])
    assert upsampled(logits, torch.zeros(1, 2, 8)).tolist() == [[[[0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4]] * 2]]


def test_a_linear_layer_on_the_answer_segments_and_raw_patches_do_less(parts, raw):
    answer = [F.one_hot(part.masks, 11).permute(0, 3, 1, 2).float() for part in parts]
    result = segmentation(Answers([part.pixels for part in parts], answer), *parts, epochs=10)
    assert result.value > 0.99
    assert 0.1 < raw[segmentation].value < 0.3
    low, high = raw[segmentation].interval
    assert low < raw[segmentation].value < high
    assert raw[segmentation].settings == {
        "epochs": 10,
        "batch": 16,
        "rate": 0.01,
        "seed": 0,
        "classes": 11,
        "background": "a class",
        "head": "linear, bilinear to pixels",
        "features": "16 at each of 6 x 6 places, frozen",
        "training scenes": 120,
        "test scenes": 60,
        "chosen on": "nothing: settings are fixed, the last weights are judged",
    }


def test_answers_of_another_scene_are_worth_nothing(parts):
    turned = [F.one_hot(part.masks.roll(1, 0), 11).permute(0, 3, 1, 2).float() for part in parts]
    result = segmentation(Answers([part.pixels for part in parts], turned), *parts, epochs=5)
    background = float((parts[1].masks == 0).float().mean()) / 11
    assert result.value == pytest.approx(background, abs=0.03)


# boxes


def slow_iou(a, b):
    """By counting pixels of boxes on whole ones."""
    one, other = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    one[a[1] : a[3], a[0] : a[2]] = other[b[1] : b[3], b[0] : b[2]] = True
    return (one & other).sum() / max(1, (one | other).sum())


def draw(random, *shape):
    low = random.integers(0, 12, (*shape, 2))
    return np.concatenate((low, low + random.integers(1, 9, (*shape, 2))), axis=-1)


def test_iou_equals_counting_pixels():
    random = np.random.default_rng(0)
    a, b = draw(random, 3, 9), draw(random, 3, 5)
    found = iou(torch.from_numpy(a).float(), torch.from_numpy(b).float())
    expected = [[[slow_iou(one, other) for other in b[n]] for one in a[n]] for n in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert iou(torch.zeros(1, 4), torch.zeros(1, 4)).tolist() == [[0]]


def slow_suppress(boxes, labels, scores, most):
    stays = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if all(labels[i] != labels[j] or slow_iou(boxes[i], boxes[j]) <= most for j in stays):
            stays.append(i)
    return stays


def test_suppression_equals_a_greedy_loop():
    random = np.random.default_rng(1)
    boxes, labels, scores = draw(random, 20, 15), random.integers(2, size=(20, 15)), random.random((20, 15))
    found = suppress(Detections(*map(torch.from_numpy, (boxes.astype(np.float32), labels, scores))), most=0.3)
    gone = 0
    for n in range(20):
        stays = slow_suppress(boxes[n], labels[n], scores[n], 0.3)
        mine = found.labels[n] >= 0
        assert found.scores[n][mine].tolist() == scores[n][stays].tolist()
        assert found.labels[n][mine].tolist() == labels[n][stays].tolist()
        assert found.boxes[n][mine].tolist() == boxes[n][stays].tolist()
        assert not found.scores[n][~mine].any()
        gone += 15 - len(stays)
    assert 20 < gone < 200


def test_suppression_by_hand():
    row = torch.tensor([[[0.0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]]])  # IoU of neighbours 6 / 14
    scores = torch.tensor([[0.9, 0.8, 0.7]])
    kept = suppress(Detections(row, torch.zeros(1, 3, dtype=torch.int64), scores), most=0.4)
    assert kept.labels.tolist() == [[0, -1, 0]]  # the third overlaps the second alone, which is gone
    assert suppress(Detections(row, torch.tensor([[0, 1, 0]]), scores), most=0.4).labels.tolist() == [[0, 1, 0]]
    assert suppress(Detections(row, torch.zeros(1, 3).long(), scores), most=6 / 14).labels.tolist() == [[0, 0, 0]]
    assert suppress(Detections(row, torch.tensor([[-1, 0, 0]]), scores), most=0.4).labels.tolist() == [[-1, 0, -1]]


def one(boxes, labels, scores):
    return Detections(torch.tensor([boxes]).float(), torch.tensor([labels]), torch.tensor([scores]))


TRUTH = torch.tensor([[[0.0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 0, 0]]]), torch.tensor([[0, 1, -1]])


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "right"),
    [
        ([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 1], [0.9, 0.8], [True, True]),
        ([[0, 0, 10, 10], [20, 0, 30, 10]], [1, 0], [0.9, 0.8], [False, False]),  # of the other class
        ([[0, 0, 10, 10], [0, 0, 10, 9]], [0, 0], [0.9, 0.8], [True, False]),  # a second one
        ([[0, 0, 10, 10], [0, 0, 10, 9]], [0, 0], [0.8, 0.9], [False, True]),  # the higher score has it
        ([[0, 0, 10, 10], [0, 0, 10, 9]], [0, 0], [0.9, 0.9], [True, False]),
        ([[0, 0, 10, 5], [20, 0, 30, 4.99]], [0, 1], [0.9, 0.8], [True, False]),  # IoU 0.5, and below
        ([[0, 0, 10, 4.99], [0, 0, 10, 5.01]], [0, 0], [0.9, 0.8], [False, True]),  # what is wrong takes nothing
        ([[0, 0, 0, 0], [0, 0, 10, 10]], [-1, -1], [0.0, 0.0], [False, False]),
    ],
)
def test_what_is_right_by_hand(boxes, labels, scores, right):
    assert matched(one(boxes, labels, scores), *TRUTH).tolist() == [right]


def test_a_detection_goes_to_the_box_that_it_fits_best_even_where_that_is_taken():
    truth = torch.tensor([[[0.0, 0, 10, 10], [0, 4, 10, 12]]]), torch.tensor([[0, 0]])
    found = one([[0, 0, 10, 10], [0, 1, 10, 10.5]], [0, 0], [0.9, 0.8])
    assert (iou(found.boxes, truth[0])[0, 1] > 0.5).all()
    assert matched(found, *truth).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("right", "there", "expected"),
    [
        ([1, 1], 2, 1),
        ([], 3, 0),
        ([0, 0], 2, 0),
        ([1], 2, 0.5),
        ([1, 0, 1], 2, (1 + 2 / 3) / 2),
        ([0, 1], 1, 1 / 2),
        ([1, 0], 1, 1),  # what comes after the last right one costs nothing
        ([0, 1, 1], 2, 2 / 3),  # the precision of 1/2 at the first recall is raised to that at the second
        ([1, 0, 1, 1, 0], 4, (1 + 3 / 4 + 3 / 4) / 4),
    ],
)
def test_average_precision_by_hand(right, there, expected):
    assert average_precision(np.array(right, dtype=bool), there) == pytest.approx(expected)


def slow_precision(found, truth, classes):
    """VOC's published way: class by class, one detection after the other, areas between recalls."""
    boxes, labels = truth
    each = []
    for k in range(classes):
        there = int((labels == k).sum())
        if not there:
            continue
        mine = [(-float(found.scores[n, p]), n, p) for n, p in np.argwhere(found.labels.numpy() == k).tolist()]
        taken, recall, precision = set(), [0.0], [0.0]
        hits = 0
        for i, (_, n, p) in enumerate(sorted(mine), start=1):
            best, at = -1.0, None
            for m in np.flatnonzero(labels[n].numpy() == k):
                value = slow_iou(found.boxes[n, p].long().numpy(), boxes[n, m].long().numpy())
                if value > best:
                    best, at = value, (n, m)
            if best >= 0.5 and at not in taken:
                taken.add(at)
                hits += 1
            recall.append(hits / there)
            precision.append(hits / i)
        recall, precision = [*recall, 1.0], [*precision, 0.0]
        for i in range(len(precision) - 2, -1, -1):
            precision[i] = max(precision[i], precision[i + 1])
        each.append(sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall))))
    return np.mean(each)


@pytest.fixture(scope="module")
def ranked():
    """Detections that are true boxes moved a little, among others, over 12 scenes."""
    random = np.random.default_rng(2)
    truth, labels = draw(random, 12, 4), random.integers(-1, 3, (12, 4))
    near = np.concatenate((truth, truth), axis=1) + random.choice((-1, 0, 0, 0, 1), (12, 8, 4))
    boxes = np.concatenate((np.maximum(near, 0), draw(random, 12, 4)), axis=1)
    named = np.concatenate((labels, labels, random.integers(0, 3, (12, 4))), axis=1)
    scores = random.random((12, 12))
    found = Detections(*map(torch.from_numpy, (boxes.astype(np.float32), named, scores)))
    return found, (torch.from_numpy(truth).float(), torch.from_numpy(labels))


def test_mean_average_precision_equals_a_slow_one(ranked):
    found, truth = ranked
    right = matched(found, *truth)
    value = Ranking(found, right, truth[1], 4).precision()  # the fourth class is nowhere
    assert value == pytest.approx(slow_precision(found, truth, 4), abs=1e-12)
    assert 0.3 < value < 0.9
    reversed_ = found._replace(scores=1 - found.scores)
    assert Ranking(reversed_, matched(reversed_, *truth), truth[1], 3).precision() != pytest.approx(value, abs=0.02)


def test_scenes_counted_several_times_are_scenes_that_are_there_several_times(ranked):
    found, (boxes, labels) = ranked
    times = np.random.default_rng(3).integers(0, 4, 12)
    again = torch.from_numpy(np.repeat(np.arange(12), times))
    ranking = Ranking(found, matched(found, boxes, labels), labels, 3)
    copies = Detections(*(part[again] for part in found))
    expected = Ranking(copies, matched(copies, boxes[again], labels[again]), labels[again], 3).precision()
    assert ranking.precision(times) == pytest.approx(expected, abs=1e-12)
    assert ranking.precision(np.ones(12, dtype=np.int64)) == ranking.precision()
    assert np.isnan(ranking.precision(np.zeros(12, dtype=np.int64)))


def test_perfect_detections_are_worth_one_and_none_nothing(ranked):
    _, (boxes, labels) = ranked
    for found, expected in (
        (Detections(boxes, labels, torch.full(labels.shape, 0.5)), 1),
        (Detections(boxes, torch.full_like(labels, -1), torch.zeros(labels.shape)), 0),
    ):
        # several true boxes of a class may be one and the same, and then one of two is a duplicate
        apart = torch.where((iou(boxes, boxes) - torch.eye(4)).amax(2) > 0, -1, labels)
        kept = found._replace(labels=torch.where(apart < 0, -1, found.labels))
        assert Ranking(kept, matched(kept, boxes, apart), apart, 3).precision() == expected


def test_the_interval_is_that_of_resampled_scenes():
    scores = np.random.default_rng(0).random(50)
    low, high = resampled(lambda times: float(times @ scores) / 50, 50)
    half = 1.96 * scores.std() / 50**0.5
    assert (low, high) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.02)
    low, high = resampled(lambda times: float(times @ times) / 500, 50)  # 0.1, but 0.2 on average where drawn again
    assert (low + high) / 2 == pytest.approx(0.1, abs=0.01)
    assert 0.01 < high - low < 0.1
    assert resampled(lambda times: float("nan") if times[0] == 1 and times.max() > 1 else 0.5, 3) == (0.5, 0.5)
    assert resampled(lambda times: float(times[0] > 0), 2)[1] == 1


# detection


def test_centres_by_hand():
    assert centres((2, 3), (8, 24)).tolist() == [[4, 2], [12, 2], [20, 2], [4, 6], [12, 6], [20, 6]]


def test_targets_by_hand():
    places = centres((4, 4), (16, 16))  # at 2, 6, 10, 14
    boxes = torch.tensor([[[0.0, 0, 16, 8], [8, 0, 13, 6], [3, 14, 5, 16], [0, 0, 0, 0]]])
    target = targets(boxes, torch.tensor([[2, 0, 1, -1]]), places)
    assert target.label.view(4, 4).tolist() == [[2, 2, 0, 2], [2, 2, 2, 2], [-1] * 4, [1, -1, -1, -1]]
    middle = target.middle.view(4, 4)
    # the box's middle is (8, 4): the first of the nearest places is its middle; (10, 2) is the small box's
    assert middle[0, 1] == 1 and middle[0, 2] == 1 and middle[3, 0] == 1
    assert float(middle[0, 0]) == pytest.approx((2 / 14 * 2 / 6) ** 0.5)
    assert float(middle[1, 2]) == pytest.approx((6 / 10 * 2 / 6) ** 0.5)
    assert not middle[2].any()
    sides = target.sides.view(4, 4, 4)
    assert sides[1, 0].tolist() == [2, 6, 14, 2]
    assert sides[0, 2].tolist() == [2, 2, 3, 4]
    assert sides[3, 0].tolist() == [0, 0, 3, 2]  # a small box between places: the nearest one is outside


def perfect(target, classes):
    """What a head would say to be right everywhere."""
    return Output(
        torch.logit(target.middle, eps=1e-4),
        20 * F.one_hot(target.label.clamp_min(0), classes).float(),
        target.sides.clamp_min(1e-3),
    )


def test_what_says_the_targets_detects_all(parts):
    test = parts[1]
    places = centres((24, 24), (24, 24))
    target = targets(test.boxes, test.labels, places)
    found = suppress(detect(perfect(target, 10), places, (24, 24)), most=0.5)
    ranking = Ranking(found, matched(found, test.boxes, test.labels), test.labels, 10)
    assert ranking.precision() > 0.999
    assert (found.boxes >= 0).all() and (found.boxes <= 24).all()
    assert (found.labels[0] >= 0).sum() == test.counts[0]


def test_the_objective_is_least_at_the_targets_and_by_hand():
    places = centres((6, 6), (24, 24))
    boxes = torch.tensor([[[2.0, 2, 14, 12], [15, 15, 23, 22]]]).expand(2, 2, 4)
    target = targets(boxes, torch.tensor([[0, 1], [2, 1]]), places)
    best = perfect(target, 3)
    least = objective(best, target)
    entropy = F.binary_cross_entropy(target.middle, target.middle, reduction="sum") / target.middle.sum()
    assert float(least) == pytest.approx(float(entropy), rel=0.02)
    mine = target.label >= 0
    double = best._replace(sides=2 * best.sides)  # an IoU of a quarter
    assert float(objective(double, target) - least) == pytest.approx(np.log(4), rel=1e-4)
    inner = best._replace(sides=best.sides * torch.tensor([1.0, 1, 0.5, 1]))
    a = target.sides[mine]
    share = ((a[:, 0] + a[:, 2] / 2) / (a[:, 0] + a[:, 2])).log()
    weight = target.middle[mine]
    assert float(objective(inner, target) - least) == pytest.approx(
        float(-(weight * share).sum() / weight.sum()), rel=1e-3
    )
    unsure = best._replace(classes=torch.zeros(2, 36, 3))
    assert float(objective(unsure, target) - least) == pytest.approx(np.log(3), rel=1e-4)
    away = best._replace(
        sides=torch.where(mine[..., None], best.sides, 50.0), classes=best.classes * (1 + ~mine[..., None])
    )
    assert objective(away, target) == least  # outside of objects neither box nor class counts
    none = Target(torch.zeros(1, 36), torch.full((1, 36), -1), torch.zeros(1, 36, 4))
    empty = Output(torch.full((1, 36), -9.0), torch.zeros(1, 36, 3), torch.ones(1, 36, 4))
    assert 0 <= objective(empty, none) < 0.01


def test_what_a_head_says_is_read_place_by_place():
    raw = torch.arange(7.0)[None, :, None, None] + torch.tensor([[0.0, 10, 20], [30, 40, 50]])  # (1, 7, 2, 3)
    output = read(raw, (8, 24))  # cells of 4 x 8
    assert output.middle.tolist() == [[0, 10, 20, 30, 40, 50]]
    assert output.classes[0, 3].tolist() == [35, 36]
    assert output.sides[0, 5].tolist() == pytest.approx([8 * 51, 4 * 52, 8 * 53, 4 * 54])
    assert (read(raw - 60, (8, 24)).sides > 0).all()


def test_detections_of_one_object_are_suppressed(parts, raw, monkeypatch):
    monkeypatch.setattr(import_module("twinlens.evaluate.detection"), "_SAME", 1.0)
    assert detection(RawPatches(4), *parts, epochs=10).value < raw[detection].value


def test_a_detection_is_scored_by_place_and_class():
    output = Output(torch.tensor([[0.0, -9.0]]), torch.tensor([[[0.0, np.log(3.0)], [9.0, 0]]]), torch.ones(1, 2, 4))
    found = detect(output, centres((1, 2), (4, 8)), (4, 8))
    assert found.scores[0, :2].tolist() == pytest.approx([0.5 * 0.75, 0.5 * 0.25])
    assert found.labels.tolist() == [[1, 0, -1, -1]]  # what has less than 1 % is nothing
    assert found.boxes[0, 0].tolist() == [1, 1, 3, 3]
    wide = detect(output._replace(sides=torch.full((1, 2, 4), 6.0)), centres((1, 2), (4, 8)), (4, 8))
    assert wide.boxes[0, 0].tolist() == [0, 0, 8, 4]


def test_a_head_on_the_answer_detects_and_one_on_raw_patches_does_less(parts, raw):
    places = centres((8, 8), (24, 24))
    features = []
    for part in parts:
        target = targets(part.boxes, part.labels, places)
        named = F.one_hot(target.label + 1, 11).float()
        sides = torch.where(target.label[..., None] >= 0, target.sides, 0)
        features.append(torch.cat((target.middle[..., None], named, sides), dim=2).mT.unflatten(2, (8, 8)))
    result = detection(Answers([part.pixels for part in parts], features), *parts, epochs=40, rate=3e-3)
    assert result.value > 0.95
    assert 0 < raw[detection].value < 0.6
    low, high = raw[detection].interval
    assert low < raw[detection].value < high
    assert (low + high) / 2 == pytest.approx(raw[detection].value, abs=0.02)
    settings = raw[detection].settings
    assert settings["head"] == "3x3 to 64, ReLU, 1x1" and settings["IoU"] == 0.5
    assert settings["chosen on"].startswith("nothing")


@pytest.mark.parametrize("measure", [segmentation, detection])
def test_the_same_seed_gives_the_same_number_and_nothing_else_does(parts, raw, measure):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert measure(RawPatches(4), *parts, epochs=10) == raw[measure]
    assert torch.equal(torch.get_rng_state(), before)
    assert measure(RawPatches(4), *parts, epochs=10, seed=1).value != raw[measure].value


@pytest.mark.parametrize("measure", [segmentation, detection])
def test_settings_out_of_range_are_named(parts, measure):
    for settings, says in (
        ({"epochs": 0}, "^epochs = 0: expected 1 or more"),
        ({"batch": 0}, "^batch = 0"),
        ({"rate": float("nan")}, "^rate = nan: expected a number above 0"),
        ({"rate": float("inf")}, "^rate = inf"),
    ):
        with pytest.raises(InputError, match=says):
            measure(RawPatches(8), *parts, **settings)


def test_training_that_diverges_and_scenes_without_objects_are_refused(parts):
    train, test = parts
    head = nn.Linear(1, 1)
    with pytest.raises(InputError, match=r"^rate = 1: training diverged"):
        learn(head, lambda rows: head(torch.tensor([torch.inf])).sum(), 3, epochs=1, batch=3, rate=1, seed=0)
    empty = replace(test, labels=torch.full_like(test.labels, -1), masks=torch.zeros_like(test.masks))
    with pytest.raises(InputError, match=r"^60 test scenes hold no object"):
        detection(RawPatches(8), train, empty)
    with pytest.raises(InputError, match=r"^60 training scenes hold no object"):
        detection(RawPatches(8), empty, test)


def test_every_scene_is_seen_once_in_an_epoch_in_an_order_of_its_own():
    seen = []

    def loss(rows):
        seen.append(rows.tolist())
        return head(torch.ones(1)).sum()

    head = nn.Linear(1, 1)
    learn(head, loss, 7, epochs=2, batch=3, rate=0.1, seed=0)
    assert list(map(len, seen)) == [3, 3, 1] * 2
    first, second = ([row for rows in some for row in rows] for some in (seen[:3], seen[3:]))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second
