import pytest
import torch

from twinlens.encoders.resnet import resnet18, resnet50
from twinlens.errors import InputError


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("build", "stem", "expected"),
    [
        (resnet18, "imagenet", 11_689_512 - 513_000),  # the published sizes less the classifier of 1,000 classes
        (resnet50, "imagenet", 25_557_032 - 2_049_000),
        (resnet18, "cifar", 11_176_512 - 64 * 3 * 49 + 64 * 3 * 9),
        (resnet50, "cifar", 23_508_032 - 64 * 3 * 49 + 64 * 3 * 9),
    ],
)
def test_it_has_as_many_parameters_as_published(build, stem, expected):
    with torch.device("meta"):
        assert parameters(build(3, 224, stem=stem)) == expected


@pytest.mark.parametrize(("size", "stem", "stride"), [(65, "auto", 4), (64, "auto", 1), (32, "imagenet", 4)])
def test_the_stem_follows_the_size_of_the_view(size, stem, stride):
    with torch.device("meta"):
        encoder, view = resnet18(1, size, stem=stem), torch.zeros(1, 1, size, size)
    assert encoder.stem(view).shape[2] == -(-size // stride)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 33, 72])
def test_any_view_gives_an_embedding(channels, size):
    with torch.device("meta"):
        encoder, view = resnet18(channels, size), torch.rand(2, channels, size, size)
    assert encoder(view).shape == (2, encoder.dim) == (2, 512)


def test_stages_halve_the_resolution():
    with torch.device("meta"):
        encoder, view = resnet50(3, 32), torch.rand(1, 3, 32, 32)
    x, shapes = encoder.stem(view), []
    for block in encoder.stages:
        x = block(x)
        shapes.append(tuple(x.shape[1:3]))
    assert shapes == [(256, 32)] * 3 + [(512, 16)] * 4 + [(1024, 8)] * 6 + [(2048, 4)] * 3
    assert encoder.dim == 2048


@pytest.mark.parametrize("build", [resnet18, resnet50])
def test_a_block_starts_as_the_identity(build):
    block = build(3, 32).stages[1]  # the first that keeps its shape
    x = torch.rand(2, 64 if build is resnet18 else 256, 4, 4)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("build", [resnet18, resnet50])
def test_a_block_strides_in_its_first_3x3_convolution(build):
    with torch.device("meta"):
        encoder = build(3, 32)
    strided = [m.kernel_size for m in encoder.stages.modules() if getattr(m, "stride", None) == (2, 2)]
    assert strided == [(3, 3), (1, 1)] * 3  # in the branch and in the shortcut of three stages


def test_an_unknown_stem_is_named_with_those_there_are():
    with pytest.raises(InputError, match="unknown stem 'cifer': did you mean cifar"):
        resnet18(3, 32, stem="cifer")


@pytest.mark.parametrize("build", [resnet18, resnet50])
def test_it_equals_timm(build):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs, ours = timm.create_model(build.__name__, num_classes=0).double(), build(3, 224).double()
    for buffer in theirs.state_dict().values():  # norms that are not the identity
        if buffer.ndim == 1:
            buffer.uniform_(0.5, 1.5)
    values = theirs.state_dict().values()  # the same order of layers as ours
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    view = torch.rand(2, 3, 96, 96, dtype=torch.float64)
    for mode in (False, True):
        torch.testing.assert_close(ours.train(mode)(view), theirs.train(mode)(view))
