"""Encoders and methods by name: the same seed gives the same weights, and what does not fit is told in a sentence."""

import pytest
import torch
from support import small_settings
from torch import Tensor, nn

from twinlens import build, discover
from twinlens.batch import Batch
from twinlens.encoders.contract import CausalEncoder, TokenEncoder
from twinlens.encoders.vit import vit
from twinlens.errors import InputError
from twinlens.method import Method

SIZES = {"channels": 1, "size": 8}
SMALL = {"patch": 2, "width": 8, "depth": 1, "heads": 2}


class Next(Method):
    """Stands for any method that predicts what comes next."""

    def __init__(self, encoder: CausalEncoder, *, hidden: int = 4) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.width, hidden)

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        return (self.head(self.encoder.tokens(batch.views[0])).mean(dim=(1, 2)),)

    def compare(self, loss: Tensor) -> Tensor:
        return loss.mean()


@pytest.fixture
def following(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover, "methods", lambda: {"next": Next})


def made(encoder: nn.Module, seed: int = 0, name: str = "next", **settings: int) -> Method:
    return build.method(name, encoder, settings, architecture="vit", samples=9, seed=seed)


def test_an_encoder_has_the_weights_of_its_seed() -> None:
    one, same, other = (build.encoder("vit", "image", SIZES, SMALL, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["embed.weight"], other["embed.weight"])
    torch.manual_seed(0)
    assert torch.equal(vit(1, 8, **SMALL).embed.weight, one["embed.weight"])


def test_names_must_be_known() -> None:
    with pytest.raises(InputError, match="unknown encoder 'vitt': did you mean vit"):
        build.encoder("vitt", "image", SIZES, {}, seed=0)
    with pytest.raises(InputError, match="unknown method 'simclrr': did you mean simclr"):
        made(vit(1, 8, **SMALL), name="simclrr")


@pytest.mark.usefixtures("following")
def test_heads_have_the_weights_of_the_seed_and_the_encoder_is_taken_as_it_is() -> None:
    encoder = vit(1, 8, causal=True, **SMALL)
    torch.manual_seed(5)
    one = made(encoder)
    torch.manual_seed(6)
    same, other, wide = made(encoder), made(encoder, seed=1), made(encoder, hidden=7)
    assert one.encoder is encoder and isinstance(one, Next)
    assert torch.equal(one.head.weight, same.head.weight) and not torch.equal(one.head.weight, other.head.weight)
    assert wide.head.out_features == 7


@pytest.mark.usefixtures("following")
def test_what_predicts_the_next_token_needs_tokens_that_do_not_see_it() -> None:
    assert discover.encoder_kind(Next) is CausalEncoder
    with pytest.raises(InputError, match="next predicts what its encoder has not seen yet: set --causal true"):
        made(vit(1, 8, **SMALL))
    for name in ("small", "resnet18"):
        encoder = build.encoder(name, "image", SIZES, {}, seed=0)
        with pytest.raises(InputError, match=f"needs an encoder that gives tokens: vit or words instead of '{name}'"):
            build.method("next", encoder, {}, architecture=name, samples=9, seed=0)


def test_methods_over_tokens_refuse_encoders_without() -> None:
    for name, cls in discover.methods().items():
        if discover.encoder_kind(cls) in (TokenEncoder, CausalEncoder):
            with pytest.raises(InputError, match=f"{name} needs an encoder that gives tokens"):
                made(nn.Identity(), name=name)


def test_a_method_that_counts_samples_is_told_how_many() -> None:
    counting = {name: cls for name, cls in discover.methods().items() if discover.counts_samples(cls)}
    assert counting
    for name in counting:
        settings = small_settings(counting[name])
        method = build.method(name, vit(1, 8, **SMALL), settings, architecture="vit", samples=19, seed=0)
        assert any(19 in buffer.shape for buffer in method.buffers()), name
