import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from twinlens.encoders.foreign import named, wrap
from twinlens.encoders.vit import vit
from twinlens.errors import InputError

EXAMPLE = torch.zeros(1, 3, 8, 8)


class Returns(nn.Module):
    """Returns what `shape` makes of the view, whatever that is."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, view):
        return self.shape(view)


class Vision(nn.Module):
    """A model of transformers: it takes pixel_values."""

    def __init__(self, pooled=True):
        super().__init__()
        self.pooled = pooled

    def forward(self, pixel_values, output_attentions=None):
        tokens = pixel_values.flatten(2).transpose(1, 2)  # (N, T, C)
        pooled = tokens.amax(dim=1) if self.pooled else None
        return SimpleNamespace(last_hidden_state=tokens, pooler_output=pooled)


def means(view):
    return view.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Returns(means), means),
        (Returns(lambda view: view), means),  # (N, D, H, W)
        (Returns(lambda view: view.flatten(2).transpose(1, 2)), means),  # (N, T, D)
        (Returns(lambda view: (means(view), None)), means),
        (Returns(lambda view: [view, means(view)]), means),
        (Vision(), lambda view: view.amax(dim=(2, 3))),
        (Vision(pooled=False), means),
    ],
    ids=["features", "map", "tokens", "tuple", "list", "pooled", "hidden state"],
)
def test_whatever_a_module_returns_becomes_an_embedding(module, expected):
    view = torch.rand(4, 3, 8, 8)
    encoder = wrap(module, EXAMPLE)
    assert encoder.dim == 3
    torch.testing.assert_close(encoder(view), expected(view))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({"a": torch.zeros(1, 2)}, "a dict"),
        (None, "a NoneType"),
        ((), "a tuple"),
        (torch.zeros(1), r"a tensor of shape \(1,\)"),
        (torch.zeros(1, 2, 3, 4, 5), r"a tensor of shape \(1, 2, 3, 4, 5\)"),
        (("text", torch.zeros(1, 2)), "a str"),
    ],
)
def test_anything_else_is_named(returned, said):
    with pytest.raises(InputError, match=f"the encoder returned {said}, expected a tensor"):
        wrap(Returns(lambda view: returned), EXAMPLE)


def test_an_encoder_comes_back_as_it_is():
    encoder = vit(3, 8, patch=4, width=8, depth=1, heads=1)
    assert wrap(encoder, EXAMPLE) is encoder


def test_a_module_whose_dim_is_something_else_is_wrapped():
    module = Returns(means)
    module.dim = 7
    assert wrap(module, EXAMPLE).dim == 3


def test_a_module_that_cannot_take_the_view_is_named():
    with pytest.raises(InputError, match=r"Conv2d cannot encode a view of shape \(1, 3, 8, 8\): Given groups=1"):
        wrap(nn.Conv2d(1, 4, 3), EXAMPLE)


def test_wrapping_changes_nothing_and_draws_nothing():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.BatchNorm2d(4).eval())
    example = torch.rand(1, 3, 8, 8)
    before, state = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    wrap(module, example)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in module] == [True, True, True, False]
    assert module.training


@pytest.mark.parametrize("name", ["tim/resnet18", "timm/", "resnet18"])
def test_an_unknown_package_is_named(name):
    with pytest.raises(InputError, match=f"unknown encoder '{name}': a foreign one is timm/NAME or transformers/NAME"):
        named(name, 3, 8)


@pytest.mark.parametrize(("package", "extra"), [("timm", "vision"), ("transformers", "hub")])
def test_a_missing_package_is_one_sentence(monkeypatch, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf'pip install "twinlens\[{extra}\]"'):
        named(f"{package}/resnet18", 3, 8)


@pytest.fixture
def transformers(monkeypatch):
    """A stand-in for the package, which has one model, `tiny`."""

    class AutoModel:
        @staticmethod
        def from_pretrained(name, use_safetensors, trust_remote_code):
            assert use_safetensors and not trust_remote_code
            if name != "tiny":
                raise OSError(f"{name} is not a local folder\nand more")
            return Vision()

    fake = ModuleType("transformers")
    fake.AutoModel = AutoModel
    monkeypatch.setitem(sys.modules, "transformers", fake)


@pytest.mark.usefixtures("transformers")
def test_a_model_of_transformers_is_found_by_name():
    assert named("transformers/tiny", 3, 8).dim == 3


@pytest.mark.usefixtures("transformers")
def test_an_unknown_model_of_transformers_is_named():
    with pytest.raises(InputError, match=r"'some/tinny', expected .* some/tinny is not a local folder$"):
        named("transformers/some/tinny", 3, 8)


@pytest.fixture
def timm(monkeypatch):
    """A stand-in for the package: `attends` has positions for a size, `convolves` knows no size."""

    def create_model(name, pretrained, num_classes, in_chans, **settings):
        if name == "convolves" and settings:
            raise TypeError("unexpected keyword argument 'img_size'")
        assert num_classes == 0
        module = Returns(lambda view: view[:, :in_chans])
        module.asked = {"pretrained": pretrained, **settings}
        return module

    fake = ModuleType("timm")
    fake.create_model, fake.list_models = create_model, lambda: ["attends", "convolves"]
    fake.is_model = lambda name: name in fake.list_models()
    monkeypatch.setitem(sys.modules, "timm", fake)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(("name", "size"), [("attends", {"img_size": 8}), ("convolves", {})])
@pytest.mark.parametrize("pretrained", [False, True])
def test_a_model_of_timm_is_asked_for_its_size_where_it_has_one(name, size, pretrained):
    encoder = named(f"timm/{name}", 2, 8, pretrained=pretrained)
    assert encoder.dim == 2
    assert encoder.module.asked == {"pretrained": pretrained, **size}


@pytest.mark.usefixtures("timm")
def test_an_unknown_model_of_timm_is_told_its_neighbours():
    with pytest.raises(InputError, match="unknown timm model 'convolve': did you mean convolves"):
        named("timm/convolve", 3, 8)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_models_of_the_real_timm(name):
    pytest.importorskip("timm")
    encoder = named(f"timm/{name}", 1, 32)
    assert encoder(torch.rand(2, 1, 32, 32)).shape == (2, encoder.dim)
