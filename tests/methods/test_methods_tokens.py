"""What every method over tokens promises, whatever the tokens are of."""

import pytest
import torch
from support import small_settings
from tokenwise import batch, encoders

from twinlens import discover
from twinlens.batch import Batch
from twinlens.encoders.contract import CausalEncoder, TokenEncoder
from twinlens.method import Method

OVER_TOKENS = {
    name: cls
    for name, cls in discover.methods().items()
    if discover.encoder_kind(cls) in (TokenEncoder, CausalEncoder) and cls.views.large == 1
}


@pytest.fixture(params=encoders())
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=OVER_TOKENS)
def method(request: pytest.FixtureRequest, kind: str) -> Method:
    cls = OVER_TOKENS[request.param]
    torch.manual_seed(0)
    made = encoders(film=(4, 3, 8, 8), causal=discover.encoder_kind(cls) is CausalEncoder)[kind]()
    return cls(made, **small_settings(cls)).double()


def test_every_parameter_that_learns_gets_a_gradient(method: Method) -> None:
    loss = method.compare(*method.encode(batch(method)))
    loss.backward()
    assert loss.isfinite() and all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_a_sample_is_encoded_by_itself(method: Method) -> None:
    given = batch(method)
    parts = method.encode(given)
    assert all(
        len({str(row.tolist()) for row in part}) == len(given.index) for part in parts if part.is_floating_point()
    )
    for n in range(len(given.index)):
        alone = Batch((given.views[0][n : n + 1],), given.index[n : n + 1], given.key[n : n + 1])
        for part, one in zip(parts, method.encode(alone), strict=True):
            torch.testing.assert_close(one, part[n : n + 1])
