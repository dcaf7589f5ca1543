"""What holds for every encoder that has a name."""

import copy

import pytest
import torch

from twinlens import discover

NAMES = sorted(discover.encoders("image"))  # what holds for those of texts is in test_encoders_sequence.py
LIGHT = [name for name in NAMES if name != "resnet50"]  # seconds of its own, and made of the same parts as resnet18
FEWER = {"vit": {"depth": 2}}
SIZE = 8


def build(name, channels=1, seed=0):
    torch.manual_seed(seed)
    return discover.encoders()[name](channels, SIZE, **FEWER.get(name, {}))


def test_the_encoders_have_the_names_of_their_functions():
    assert {"resnet18", "resnet50", "small", "vit"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_an_embedding_of_its_width(name):
    for channels in (1, 3):
        with torch.device("meta"):
            encoder, view = build(name, channels), torch.rand(2, channels, SIZE, SIZE)
        assert encoder(view).shape == (2, encoder.dim)
        assert type(encoder.dim) is int


@pytest.mark.parametrize("name", LIGHT)
def test_the_same_seed_gives_the_same_weights_and_another_others(name):
    one, same, other = (dict(build(name, seed=seed).named_parameters()) for seed in (0, 0, 1))
    assert all(torch.equal(p, same[key]) for key, p in one.items())
    assert all(
        torch.equal(p, other[key]) == (p.ndim == 1) for key, p in one.items()
    )  # only biases and norms are constant


@pytest.mark.parametrize("name", LIGHT)
def test_every_parameter_gets_a_gradient_in_double(name):
    encoder, view = build(name).double(), torch.rand(4, 1, SIZE, SIZE, dtype=torch.float64)
    with torch.no_grad():  # a norm that starts at zero hides what is before it from the first gradient
        for p in encoder.parameters():
            p += 0.1 * (p.ndim == 1)
    z = encoder(view)
    assert z.dtype == torch.float64
    (z * torch.randn_like(z)).sum().backward()
    still = [key for key, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


@pytest.mark.parametrize("name", LIGHT)
def test_it_survives_saving_and_copying(name, tmp_path):
    encoder, view = build(name).eval(), torch.rand(2, 1, SIZE, SIZE)
    torch.save(encoder.state_dict(), tmp_path / "weights.pt")
    loaded = build(name, seed=1).eval()
    loaded.load_state_dict(torch.load(tmp_path / "weights.pt"))
    with torch.no_grad():
        assert torch.equal(loaded(view), encoder(view))
        assert torch.equal(copy.deepcopy(encoder)(view), encoder(view))


@pytest.mark.parametrize("name", LIGHT)
def test_an_evaluated_sample_does_not_know_its_neighbours(name):
    encoder, view = build(name).double().eval(), torch.rand(3, 1, SIZE, SIZE, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(view[:1]), encoder(view)[:1])
