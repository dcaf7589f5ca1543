"""A look changes nothing, sees the same each time, and tells what was built into a method."""

import pytest
import torch
from support import Babble, Misspelt, Noise, Shaken, build, feed, reads
from torch import nn

from twinlens import discover
from twinlens.batch import Batch, Views
from twinlens.encoders.vit import vit
from twinlens.method import Method
from twinlens.monitor.look import Look, gradient, moments
from twinlens.update.slow import slow_copy

DEVICE = torch.device("cpu")


class Plain(Method):
    """Two views' embeddings, compared by their mean squared distance."""

    views = Views(large=2)

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def encode(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        return tuple(self.encoder(view) for view in batch.views)

    def compare(self, *parts: torch.Tensor) -> torch.Tensor:
        return (parts[0] - parts[1]).square().mean()


def encoder(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return vit(3, 8, patch=2, width=16, depth=1, heads=2)


def look(initial: nn.Module, views: Views = Plain.views, *, batch: int = 32, seed: int = 0) -> Look:
    return Look(initial, Noise(40), Noise(80, seed=1), Shaken(), views, batch=batch, seed=seed, device=DEVICE)


def told(seen: Look, method: Method, one: nn.Module, *, trained: bool = True) -> dict[str, float]:
    return seen(method, one, seen.embed(one), trained=trained)


def test_a_look_says_the_same_twice_and_leaves_no_trace() -> None:
    method = Plain(encoder())
    method.train()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    seen = look(encoder())
    first, again = (told(seen, method, method.encoder) for _ in range(2))
    assert first == again and {"spread", "rank", "lidar", "compared", "chance", "gap"} <= first.keys()
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(part.training for part in method.modules())
    assert told(look(encoder(), seed=1), method, method.encoder)["chance"] != first["chance"]


@pytest.mark.parametrize("name", sorted(discover.methods()))
def test_every_method_can_be_looked_at(name: str) -> None:
    cls = discover.method(name)
    method = build(cls)
    encoders = (m for m in method.modules() if hasattr(m, "patchify"))
    own = next(m for m in encoders if any(p.requires_grad for p in m.parameters()))
    kept, maker = (Babble(40), Misspelt()) if reads(cls) else (Noise(40), Shaken())
    seen = Look(own, kept, feed(cls).samples, maker, cls.views, batch=12, seed=0, device=DEVICE)
    values = told(seen, method, own)
    assert {"spread", "rank", "lidar", "anisotropy", "moved"} <= values.keys() and values["moved"] == 0
    assert ("chance" in values) == (bool(cls.views.task) or cls.views.large + cls.views.small > 1)
    assert ("clusters" in values) == (name in ("swav", "dino", "ibot"))  # deepclusterv2 has none before an epoch's end
    assert ("agreement" in values) == any(
        word in name for word in ("byol", "moco", "dino", "ibot", "data2vec", "ijepa")
    )


def test_before_the_first_step_only_the_encoder_is_looked_at() -> None:
    method = Plain(encoder())
    values = told(look(encoder()), method, method.encoder, trained=False)
    assert "spread" in values and not {"compared", "chance", "gap"} & values.keys()


def test_the_gap_is_between_views_of_a_sample_and_of_two() -> None:
    method = Plain(encoder())
    values = told(look(encoder()), method, method.encoder)
    paired = values["chance"] * (1 - values["gap"])
    assert 0 < paired < values["chance"]  # noise on a picture is less than another picture


class Constant(nn.Module):
    """The same embedding for all."""

    dim = 16

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(16))

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        return self.w.expand(len(view), -1)


def test_what_has_collapsed_looks_like_it() -> None:
    one = Constant()
    values = told(look(one), Plain(one), one)
    assert values["spread"] == values["compared"] == values["gap"] == 0
    assert values["anisotropy"] == pytest.approx(1)
    assert values["rank"] == pytest.approx(1, abs=1e-3) and values["lidar"] == pytest.approx(1, abs=0.01)


def test_how_far_weights_moved_is_a_share_of_their_norm() -> None:
    one, first = encoder(), encoder()
    with torch.no_grad():
        for p in one.parameters():
            p.mul_(1.1)
    assert told(look(first), Plain(one), one)["moved"] == pytest.approx(0.1, rel=1e-4)


def test_agreement_is_with_the_slow_copy() -> None:
    method = Plain(encoder())
    method.slow = slow_copy(method.encoder)
    values = told(look(encoder()), method, method.encoder)
    assert values["agreement"] == pytest.approx(1)
    for p in method.slow.parameters():
        p.data.normal_()
    assert told(look(encoder()), method, method.encoder)["agreement"] < 0.9


def test_embeddings_that_are_no_numbers_are_said_to_be_none() -> None:
    one = encoder()
    seen = look(encoder())
    with torch.no_grad():
        next(one.parameters()).fill_(float("nan"))
    assert told(seen, Plain(one), one) == {"finite": 0.0}


def test_the_gradients_norm_and_its_share() -> None:
    method = nn.Linear(2, 1, bias=False)
    assert gradient(method) == {}
    method.weight.data = torch.tensor([[3.0, 4.0]])
    method.weight.grad = torch.tensor([[0.6, 0.8]])
    assert gradient(method) == pytest.approx({"gradient": 1.0, "gradient_ratio": 0.2})


def test_looks_are_early_then_even_and_few() -> None:
    assert sorted(moments(1000, 1000)) == [50, 100, 150, 250, 500, 750, 1000]
    assert len(moments(10**6, 10**9)) == 100 and max(moments(10**6, 10**9)) == 10**6  # the early ones are among them
    assert len(moments(2000, 5 * 10**6)) == 20  # 2 % of three encodings a view, fifteen thousand encodings a look
    assert moments(3, 100) <= {1, 2, 3} and 3 in moments(3, 100)


class Normed(Plain):
    """The same behind a batch norm, which tells training from evaluation."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder)
        self.norm = nn.BatchNorm1d(16, affine=False)

    def encode(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        return tuple(self.norm(self.encoder(view)) for view in batch.views)


def test_heads_are_evaluated_not_trained() -> None:
    method = Normed(encoder())
    method.norm.running_mean.fill_(100.0)  # so in evaluation all lie in one direction, as a batch they would not
    assert told(look(encoder()), method, method.encoder)["compared"] < 0.05


class Lopsided(Plain):
    """Of two views the second has collapsed."""

    def encode(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        first, second = super().encode(batch)
        return first, torch.ones_like(second)


def test_the_least_spread_of_what_is_compared_counts() -> None:
    method = Lopsided(encoder())
    assert told(look(encoder()), method, method.encoder)["compared"] == pytest.approx(0, abs=1e-9)


def test_an_encoder_that_learns_is_no_slow_copy() -> None:
    method = Plain(encoder())
    method.other = encoder(seed=1)  # a second tower
    assert "agreement" not in told(look(encoder()), method, method.encoder)


def test_agreement_is_not_what_all_samples_share() -> None:
    method = Plain(encoder())
    method.slow = slow_copy(encoder(seed=5))
    for one in (method.encoder, method.slow):  # far from the origin, all embeddings are alike
        one.body.register_forward_hook(lambda module, inputs, output: output + 100.0)
    assert told(look(method.encoder), method, method.encoder)["agreement"] < 0.9
