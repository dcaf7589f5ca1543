"""Layers of an encoder from input to output, and what fine-tuning does with them and leaves alone."""

import math
from copy import copy, deepcopy
from dataclasses import asdict
from functools import cache
from importlib import import_module

import numpy as np
import pytest
import torch
from support import SIZE, Noise, Shaken
from torch import nn
from torch.nn import functional as F

from twinlens import distributed, random
from twinlens.batch import Samples, Views
from twinlens.encoders.foreign import Foreign
from twinlens.encoders.resnet import resnet18, resnet50
from twinlens.encoders.small import small
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.evaluate.few_label import _draw as few_labels
from twinlens.evaluate.finetune import FineTuning, _prepare, factors, finetune, supervised, tune
from twinlens.evaluate.layers import layers

CPU = torch.device("cpu")
QUICK = FineTuning(epochs=2, batch=8, rate=0.01)
MODULE = import_module("twinlens.evaluate.finetune")


class Tiny(nn.Module):
    """Two layers of one list, with batch statistics and a dropout of its own."""

    def __init__(self, hidden: int = 32, dim: int = 3, drop: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self.dim = dim
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Flatten(),
                nn.Linear(3 * SIZE**2, hidden),
                nn.BatchNorm1d(hidden),
                nn.ReLU(),
                nn.Dropout(drop),
                nn.Linear(hidden, dim),
            )

    def forward(self, view):
        return self.layers(view)


class Halves(Samples):
    """Both halves of a picture are dark or bright: class 1 where they differ. No line through pixels tells it."""

    name, modality, fingerprint = "halves", "image", "1"

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        bright = torch.randint(2, (count, 2), generator=generator)
        self.labels = (bright[:, 0] != bright[:, 1]).long().numpy()
        pixels = (64 + 128 * bright.repeat_interleave(SIZE // 2, 1))[:, None, :, None].expand(count, SIZE, SIZE, 3)
        self.pixels = (pixels + torch.randint(-60, 60, pixels.shape, generator=generator)).byte()
        self.fetched = set()

    def __len__(self):
        return len(self.labels)

    def fetch(self, index):
        rows = index if self.rows is None else self.rows[index]
        self.fetched |= set(rows.tolist())
        return (self.pixels[rows],)

    def subset(self, index):
        part = copy(self)  # what is fetched of it is fetched of the whole
        part.rows, part.labels = index, self.labels[index.numpy()]
        return part

    def to(self, device):
        return self

    sizes, nbytes, rows = {"channels": 3}, 0, None


class Watched(Shaken):
    def __init__(self) -> None:
        self.asked = set()

    def create(self, raw, key, views):
        self.asked.add((views.large, views.small, views.strength))
        return super().create(raw, key, views)


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def names(encoder):
    """The names of each layer's parameters."""
    of = {parameter: name for name, parameter in encoder.named_parameters()}
    return [[of[parameter] for parameter in layer.parameters] for layer in layers(encoder)]


def starts(encoder):
    """What the names of each layer's parameters begin with, to the depth at which layers part."""
    return [sorted({".".join(name.split(".")[:3]) for name in layer}) for layer in names(encoder)]


class Timm(nn.Module):
    """Put together as a ViT of timm is: parameters of its own, norms and dropouts between what has weights."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, 4)), nn.Parameter(torch.zeros(1, 5, 4))
        self.norm_pre = nn.LayerNorm(4)
        self.patch_embed = nn.Conv2d(3, 4, 4, 4)
        self.pos_drop = nn.Dropout()
        self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(4, 2, 8) for _ in range(3)))
        self.norm = nn.LayerNorm(4)
        self.head = nn.Identity()


class Residual(nn.Module):
    """Put together as a ResNet of timm is, then wrapped."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.layer1 = nn.Sequential(*(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)) for _ in range(2)))
        self.layer2 = nn.Sequential(nn.Sequential(nn.Conv2d(4, 64, 3), nn.BatchNorm2d(64)))


def together(**children):
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


def hugging():
    """Put together as a BERT of transformers is, with more parameters in its words than in its layers."""
    body = together(layer=nn.ModuleList(nn.TransformerEncoderLayer(4, 2, 8) for _ in range(2)))
    parts = {"layernorm": nn.LayerNorm(4), "pooler": nn.Linear(4, 4)}
    return together(embeddings=nn.Embedding(10_000, 4), encoder=body, **parts)


@cache
def every_encoder():
    shared = nn.Linear(4, 4)
    twice = nn.Sequential(nn.Linear(4, 4), nn.Sequential(shared), nn.Sequential(shared), nn.Linear(4, 4))
    return {
        "vit": vit(3, SIZE, patch=2, width=16, depth=3, heads=2),
        "resnet18": resnet18(3, 32),
        "resnet50": resnet50(3, 96),
        "small": small(3, 32),
        "tiny": Tiny(),
        "timm vit": Timm(),
        "timm resnet": Foreign(Residual(), 64, (3, 8, 8)),
        "transformers": hugging(),
        "twice": twice,
        "linear": nn.Linear(3, 2),
        "attention": nn.MultiheadAttention(4, 2),
        "norm": nn.LayerNorm(3),
        "norms": nn.Sequential(nn.LayerNorm(3), nn.LayerNorm(3)),
    }


@pytest.mark.parametrize("name", every_encoder())
def test_every_parameter_and_every_module_with_a_state_is_in_one_layer(name):
    encoder = every_encoder()[name]
    inside = [parameter for layer in layers(encoder) for parameter in layer.parameters]
    assert len(inside) == len(set(inside))
    assert set(inside) == set(encoder.parameters())
    assert all(layer.parameters for layer in layers(encoder))
    modules = [module for layer in layers(encoder) for part in layer.modules for module in part.modules()]
    norms = {module for module in encoder.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}
    assert norms <= set(modules)
    for layer in layers(encoder):  # what a frozen layer sets to evaluation is its own and nobody else's
        held = {parameter for module in layer.modules for parameter in module.parameters()}
        assert held <= set(layer.parameters) or name == "twice"


def test_layers_of_each_of_our_encoders_run_from_input_to_output():
    blocks = [[f"body.blocks.{i}"] for i in range(3)]
    blocks[2].append("body.norm.bias")
    blocks[2].append("body.norm.weight")
    assert starts(vit(3, SIZE, patch=2, width=16, depth=3, heads=2)) == [["embed.bias", "embed.weight"], *blocks]
    one = starts(vit(3, SIZE, patch=2, width=16, depth=1, heads=2))
    assert one == [["embed.bias", "embed.weight"], ["body.blocks.0", "body.norm.bias", "body.norm.weight"]]
    for build, count in ((resnet18, 8), (resnet50, 16)):
        for size in (32, 96):  # both stems
            stem, *rest = [{".".join(name.split(".")[:2]) for name in layer} for layer in names(build(3, size))]
            assert stem == {"stem.0", "stem.1"}
            assert rest == [{f"stages.{i}"} for i in range(count)]
    for width in (4, 48):
        assert [{n.split(".")[1] for n in layer} for layer in names(small(3, 28, width=width))] == [*map(set, "0123")]


def test_layers_of_encoders_from_elsewhere():
    token, *blocks = names(Timm())
    assert token[:2] == ["cls_token", "pos_embed"]
    assert set(token[2:]) == {"norm_pre.weight", "norm_pre.bias", "patch_embed.weight", "patch_embed.bias"}
    assert [{n.split(".")[1] for n in layer} for layer in blocks[:-1]] == [{"0"}, {"1"}]
    assert {n.split(".")[1] for n in blocks[-1] if n.startswith("blocks")} == {"2"}
    assert [n for n in blocks[-1] if not n.startswith("blocks")] == ["norm.weight", "norm.bias"]
    assert [{n.split(".", 1)[1][:8] for n in layer} for layer in names(Foreign(Residual(), 64, (3, 8, 8)))] == [
        {"conv1.we", "conv1.bi", "bn1.weig", "bn1.bias"},
        {"layer1.0"},
        {"layer1.1"},
        {"layer2.0"},
    ]
    assert [layer[0].split(".self")[0] for layer in names(hugging())] == [
        "embeddings.weight",
        "encoder.layer.0",
        "encoder.layer.1",
        "pooler.weight",
    ]
    assert "layernorm.weight" in names(hugging())[2]
    assert names(every_encoder()["twice"]) == [
        ["0.weight", "0.bias"],
        ["1.0.weight", "1.0.bias"],
        ["3.weight", "3.bias"],
    ]
    assert len(layers(every_encoder()["linear"])) == len(layers(every_encoder()["norms"])) == 1
    assert layers(nn.Flatten()) == []


def test_lists_stand_for_their_items_and_large_parts_for_theirs():
    def block():
        return nn.TransformerEncoderLayer(4, 2, 8)

    def two():
        return nn.Linear(4, 4), nn.Linear(4, 4)

    lists = {"a": nn.Sequential(*two()), "b": nn.ModuleList(two()), "c": nn.ModuleDict(dict(zip("xy", two())))}
    assert len(layers(together(**lists))) == 6
    assert len(layers(nn.Sequential(nn.Linear(4, 4), block()))) == 2  # most of a list is no reason to open an item,
    assert len(layers(nn.Sequential(nn.Flatten(), together(**lists)))) == 6  # but all of it is
    assert len(layers(together(stem=nn.Linear(4, 4), body=together(a=block(), b=block(), c=block())))) == 4
    tied = together(stem=nn.Linear(4, 4), body=together(a=block(), b=block()))
    tied.body.weight = tied.stem.weight
    assert [len(layer.parameters) for layer in layers(tied)] == [2, 12, 12]
    assert layers(tied)[0].parameters == (tied.stem.weight, tied.stem.bias)


def test_rates_by_hand():
    assert factors(3, 0.5) == [0.125, 0.25, 0.5]
    assert factors(2, 1.0) == [1, 1]
    assert factors(13, 0.75)[0] == pytest.approx(0.75**13)  # MAE: patches of a ViT of 12 blocks, with 13 layers
    encoder, head = vit(3, SIZE, patch=2, width=16, depth=2, heads=2), nn.Linear(16, 4)
    moved = _prepare(layers(encoder), head, FineTuning(rate=2.0, decay=0.3, layer_decay=0.5, frozen=1))
    of = {parameter: group for group in moved.param_groups for parameter in group["params"]}
    assert set(of) == {*encoder.body.parameters(), *head.parameters()}
    for part, factor in ((encoder.body.blocks[0], 0.25), (encoder.body.blocks[1], 0.5), (encoder.body.norm, 0.5)):
        assert {of[parameter]["factor"] for parameter in part.parameters()} == {factor}
    assert {of[parameter]["factor"] for parameter in head.parameters()} == {1}
    assert all(group["weight_decay"] == (0.3 if p.ndim > 1 else 0) for p, group in of.items())


def by_hand(encoder, samples, how, seed):
    """The two layers of `Tiny` and its classes, trained step by step, without anything of the loop."""
    model = nn.Sequential(deepcopy(encoder), nn.Linear(encoder.dim, 4)).train()
    for parameter in model[1].parameters():
        parameter.data.zero_()
    first, norm, last, head = model[0].layers[1], model[0].layers[2], model[0].layers[5], model[1]
    shares = {p: s for m, s in ((first, 0.25), (norm, 0.25), (last, 0.5), (head, 1.0)) for p in m.parameters()}
    groups = [{"params": [p], "weight_decay": how.decay if p.ndim == 2 else 0.0} for p in shares]
    adam = torch.optim.AdamW(groups)
    total = how.epochs * (len(samples) // how.batch)
    for step in range(total):
        epoch, place = divmod(step, len(samples) // how.batch)
        index = random.permutation(len(samples), seed, epoch)[place * how.batch : (place + 1) * how.batch]
        key = random.fold(random.keys(seed, epoch, index), 0)
        (view,) = Shaken().create(samples.fetch(index), key, Views(large=1, strength="weak"))
        done = (step + 0.5) / total
        rise = done / how.warmup
        fall = (1 + math.cos(math.pi * (done - how.warmup) / (1 - how.warmup))) / 2
        for group, share in zip(adam.param_groups, shares.values()):
            group["lr"] = how.rate * share * (rise if done < how.warmup else fall)
        adam.zero_grad()
        F.cross_entropy(model(view), torch.from_numpy(samples.labels[index.numpy()])).backward()
        adam.step()
    return model


def test_training_is_what_it_is_by_hand():
    encoder, samples = Tiny(), Noise(45)
    how = FineTuning(epochs=3, batch=10, rate=0.02, decay=0.4, warmup=0.3, layer_decay=0.5)
    model = tune(encoder, samples, Shaken(), how, classes=4, device=CPU, seed=3)
    torch.testing.assert_close(state(model), state(by_hand(encoder, samples, how, 3)))


@pytest.mark.parametrize("frozen", [0, 1, 2, 4])
def test_frozen_layers_keep_parameters_and_statistics(frozen):
    encoder = small(3, SIZE, width=16)
    how = FineTuning(epochs=2, batch=8, rate=0.01, frozen=frozen)
    model = tune(encoder, Noise(16), Shaken(), how, classes=4, device=CPU, seed=0)
    after = changed(state(encoder), state(model[0]))
    kept = {name for name in encoder.state_dict() if int(name.split(".")[1]) < frozen}
    assert after == set(encoder.state_dict()) - kept
    assert model[1].weight.abs().sum() > 0
    result = finetune(encoder, Noise(16), Noise(8, seed=1), Shaken(), device=CPU, how=how)
    assert result.settings["frozen"] == frozen and result.settings["layers"] == 4


def test_the_given_encoder_is_untouched_and_what_was_frozen_in_it_learns():
    encoder = Tiny().eval().requires_grad_(False)
    encoder.layers[4].train()
    before = state(encoder)
    model = tune(encoder, Noise(16), Shaken(), QUICK, classes=4, device=CPU, seed=0)
    finetune(encoder, Noise(16), Noise(8), Shaken(), device=CPU, how=QUICK)
    assert not changed(before, state(encoder))
    assert [module.training for module in encoder.layers] == [False, False, False, False, True, False]
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert changed(before, state(model[0])) == set(before)
    torch.testing.assert_close(
        state(model), state(tune(Tiny(), Noise(16), Shaken(), QUICK, classes=4, device=CPU, seed=0))
    )


def test_the_seed_decides_everything_and_a_dropout_of_the_encoder_too():
    def weights(seed, started):
        torch.manual_seed(started)
        encoder = Tiny(drop=0.5)
        return state(tune(encoder, Noise(16), Shaken(), QUICK, classes=4, device=CPU, seed=seed))

    assert not changed(weights(0, 1), weights(0, 2))
    assert changed(weights(0, 1), weights(1, 1)) >= {"0.layers.1.weight", "0.layers.5.weight", "1.weight"}
    parts = Halves(64, 0), Halves(200, 1)
    results = [finetune(Tiny(drop=0.5), *parts, Shaken(), device=CPU, how=QUICK, seed=seed) for seed in (0, 0, 1)]
    assert results[0] == results[1]
    assert results[0].value != results[2].value


def test_an_encoder_that_draws_by_itself_draws_anew_at_each_step_and_for_each_seed():
    drawn = []
    encoder = Tiny()
    encoder.layers[0].register_forward_hook(lambda *_: drawn.append(float(torch.rand(()))))
    for seed in (0, 1):
        tune(encoder, Noise(16), Shaken(), QUICK, classes=4, device=CPU, seed=seed)
    assert len(drawn) == len(set(drawn)) == 8


def test_it_learns_what_a_layer_on_the_frozen_encoder_cannot():
    maker, how = Watched(), FineTuning(epochs=15, batch=32, rate=0.01)
    train, test = Halves(256, 0), Halves(200, 1)
    whole = finetune(Tiny(), train, test, maker, device=CPU, how=how)
    head = finetune(Tiny(), train, test, maker, device=CPU, how=FineTuning(**asdict(how) | {"frozen": 2}))
    assert whole.value > 0.98
    assert head.value < 0.9
    assert whole.interval[0] > head.interval[1]
    assert maker.asked == {(1, 0, "weak")}


def test_the_last_weights_are_judged_on_clean_views():
    train, test = Noise(32), Noise(50, seed=1)
    train.labels, test.labels = np.array([3, 7, 7, 12] * 8), np.array([3, 7, 12, 5, 99] * 10)
    result = finetune(Tiny(drop=0.5), train, test, Shaken(), device=CPU, how=QUICK, seed=5)
    train.labels = np.array([0, 1, 1, 2] * 8)
    model = tune(Tiny(drop=0.5), train, Shaken(), QUICK, classes=3, device=CPU, seed=5).eval()
    predicted = torch.tensor([3, 7, 12])[model(Shaken().clean((test.pixels,))).argmax(1)]
    right = (predicted.numpy() == test.labels).mean()
    assert 0 < right < 0.6
    assert result.value == pytest.approx(right)
    assert result.interval[0] < result.value < result.interval[1]
    assert result.name == "fine-tuned"
    expected = asdict(QUICK) | {"layers": 2, "shots": None, "labels": 32, "seed": 5}
    assert result.settings.pop("chosen on").startswith("nothing")
    assert result.settings == expected


def test_test_labels_do_not_reach_the_weights(monkeypatch):
    seen = []
    real = MODULE.embed
    monkeypatch.setattr(MODULE, "embed", lambda model, *a, **k: (seen.append(state(model)), real(model, *a, **k))[1])
    test, other = Halves(64, 1), Halves(64, 1)
    other.labels = 1 - other.labels
    first, second = (finetune(Tiny(), Halves(64, 0), part, Shaken(), device=CPU, how=QUICK) for part in (test, other))
    assert not changed(*seen)
    assert first.value == pytest.approx(1 - second.value)
    assert first.value != second.value


def test_shots_are_the_labels_that_few_label_draws_and_nothing_else_is_read():
    train = Halves(90, 0)
    y = torch.from_numpy(train.labels)
    for seed in (0, 1):
        train.fetched.clear()
        how = FineTuning(epochs=1, batch=5)
        result = finetune(Tiny(), train, Halves(10, 1), Shaken(), device=CPU, how=how, shots=5, seed=seed)
        assert train.fetched == set(few_labels(y, 5, seed, 0).tolist())
        assert result.settings["shots"] == 5 and result.settings["labels"] == 10
        assert result.name == "fine-tuned, 5 per class"
    train.fetched.clear()
    finetune(Tiny(), train, Halves(10, 1), Shaken(), device=CPU, how=FineTuning(epochs=1, batch=5))
    assert train.fetched == set(range(90))


def test_shots_keep_their_labels():
    train, how = Halves(300, 0), FineTuning(epochs=40, batch=32, rate=0.01)
    assert finetune(Tiny(), train, Halves(100, 1), Shaken(), device=CPU, how=how, shots=32).value > 0.95


def test_supervised_trains_all_layers_at_one_rate():
    parts = Halves(64, 0), Halves(100, 1)
    how = FineTuning(epochs=2, batch=16, rate=0.005, layer_decay=0.1, frozen=1)
    result = supervised(Tiny(), *parts, Shaken(), device=CPU, how=how, shots=20, seed=2)
    plain = FineTuning(epochs=2, batch=16, rate=0.005, layer_decay=1.0, frozen=0)
    same = finetune(Tiny(), *parts, Shaken(), device=CPU, how=plain, shots=20, seed=2)
    assert result.name == "supervised"
    assert (result.value, result.interval, result.settings) == (same.value, same.interval, same.settings)


def labelled(labels):
    samples = Noise(16)
    samples.labels = labels
    return samples


@pytest.mark.parametrize(
    ("train", "test", "how", "shots", "message"),
    [
        (None, np.arange(16) % 2, {}, None, r"the training part of noise has no labels: .* use a folder"),
        (np.arange(16) % 2, None, {}, None, r"the test part of noise has no labels: .* use a folder"),
        (np.full(16, 3), np.arange(16) % 2, {}, None, r"all 16 training labels are 3: at least 2 classes"),
        (np.arange(16) // 11, np.arange(16) % 2, {}, 6, r"shots = 6: expected 1 to 5"),
        (np.arange(16) % 2, np.arange(16) % 2, {}, 0, r"shots = 0: expected 1 to 8"),
        (np.arange(16) % 2, np.arange(16) % 2, {"batch": 17}, None, r"batch = 17: expected 1 to 16.* smaller batch"),
        (np.arange(16) % 2, np.arange(16) % 2, {"batch": 7}, 3, r"batch = 7: expected 1 to 6"),
        (np.arange(16) % 2, np.arange(16) % 2, {"frozen": 3}, None, r"frozen = 3: expected 0 to 2"),
        (np.arange(16) % 2, np.arange(16) % 2, {"rate": 1e30}, None, r"rate = 1e\+30: training diverged.* lower rate"),
    ],
)
def test_what_cannot_work_is_one_sentence(train, test, how, shots, message):
    how = FineTuning(**{"epochs": 2, "batch": 4} | how)
    with pytest.raises(InputError, match=message):
        finetune(Tiny(), labelled(train), labelled(test), Shaken(), device=CPU, how=how, shots=shots)


def test_no_samples_and_an_encoder_without_a_width_are_named():
    with pytest.raises(InputError, match="the test part of noise has no samples"):
        finetune(Tiny(), Noise(8), Noise(0), Shaken(), device=CPU, how=QUICK)
    with pytest.raises(InputError, match="needs an int attribute dim"):
        finetune(nn.Flatten(), Noise(8), Noise(8), Shaken(), device=CPU, how=QUICK)


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 2)
    with pytest.raises(InputError, match="2 processes work together: fine-tuning takes one"):
        finetune(Tiny(), Noise(8), Noise(8), Shaken(), device=CPU, how=QUICK)


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"batch": 0},
        {"rate": 0.0},
        {"rate": math.inf},
        {"decay": -0.1},
        {"warmup": 1.0},
        {"warmup": -0.1},
        {"layer_decay": 0.0},
        {"layer_decay": 1.1},
        {"frozen": -1},
    ],
)
def test_settings_that_mean_nothing_are_refused(bad):
    ((name, value),) = bad.items()
    with pytest.raises(InputError, match=f"{name} = {value}: expected "):
        FineTuning(**bad)


def test_settings_at_their_bounds_are_taken():
    FineTuning(epochs=1, batch=1, decay=0.0, warmup=0.0, layer_decay=1.0, frozen=0)
