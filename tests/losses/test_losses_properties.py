"""What holds for every objective, whatever its formula."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from twinlens import losses
from twinlens.losses import tiled

Objective = Callable[..., Tensor]


def labelled(loss: Callable[..., Tensor], **settings: object) -> Objective:
    """A loss of labelled rows, the two views of a sample being a class."""

    def objective(z1: Tensor, z2: Tensor) -> Tensor:
        return loss(torch.cat((z1, z2)), torch.arange(len(z1)).repeat(2), **settings)

    return objective


def pairs_with_margin(z1: Tensor, z2: Tensor, *, distance: str) -> Tensor:
    """Half of the pairs belong together, the other half are of different samples."""
    same = torch.arange(2 * len(z1)) < len(z1)
    return losses.margin(z1.repeat(2, 1), torch.cat((z2, z2.roll(1, 0))), same, margin=1.0, distance=distance)


def with_queue(z1: Tensor, z2: Tensor, *, temperature: float) -> Tensor:
    queue = torch.randn(20, z1.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(5)).bfloat16()
    return losses.info_nce(z1, z2, queue.to(z1.dtype), temperature=temperature)


TEMPERED: dict[str, Objective] = {
    "nt_xent": losses.nt_xent,
    "info_nce": losses.info_nce,
    "info_nce, queue": with_queue,
    "clip": losses.clip,
    "decoupled": losses.decoupled,
    "decoupled, weighted": partial(losses.decoupled, sigma=0.5),
    "hard": partial(losses.reweighted, hardness=1.0, prior=0.0),
    "debiased": partial(losses.reweighted, hardness=0.0, prior=0.1),
    "hard and debiased": partial(losses.reweighted, hardness=0.5, prior=0.05),
    "sigmoid": partial(losses.sigmoid, bias=-2.0),
}
CLASSES = {f"supcon, {form}": partial(losses.supcon, form=form) for form in ("out", "in")}
COSINE: dict[str, Objective] = {
    **{name: partial(loss, temperature=0.2) for name, loss in TEMPERED.items()},
    **{name: labelled(loss, temperature=0.2) for name, loss in CLASSES.items()},
    **{
        f"triplet, {mining}": labelled(losses.triplet, margin=0.5, mining=mining, distance="cosine")
        for mining in ("all", "active", "semi-hard", "hard")
    },
    "margin": partial(pairs_with_margin, distance="cosine"),
    "negative_cosine": losses.negative_cosine,
    "alignment": losses.alignment,
}
EUCLIDEAN: dict[str, Objective] = {
    **{
        f"triplet, {mining}, euclidean": labelled(losses.triplet, margin=0.5, mining=mining)
        for mining in ("all", "active", "semi-hard", "hard")
    },
    "margin, euclidean": partial(pairs_with_margin, distance="euclidean"),
}
ALL = COSINE | EUCLIDEAN
COLD: dict[str, Objective] = {
    **{name: partial(loss, temperature=0.01) for name, loss in TEMPERED.items()},
    **{name: labelled(loss, temperature=0.01) for name, loss in CLASSES.items()},
    **{name: loss for name, loss in ALL.items() if name not in TEMPERED | CLASSES},
}
every = pytest.mark.parametrize("name", ALL)
cold = pytest.mark.parametrize("name", COLD)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiled.TILE, "cpu", 5)
    monkeypatch.setattr(tiled, "BLOCK", 40)
    monkeypatch.setattr(tiled, "KEPT", 0)
    torch.manual_seed(0)


def value(loss: Objective, z1: Tensor, z2: Tensor) -> float:
    return float(loss(z1, z2))


@every
def test_aligned_is_better_than_random_and_opposite_is_worse(name: str) -> None:
    z1, z2 = torch.randn(2, 16, 8, dtype=torch.float64)
    aligned, random, opposite = (value(ALL[name], z1, z) for z in (z1, z2, -z1))
    assert aligned < random < opposite


@every
def test_the_order_of_samples_and_the_axes_of_space_do_not_matter(name: str) -> None:
    z1, z2 = torch.randn(2, 11, 6, dtype=torch.float64)
    order, rotation = torch.randperm(11), torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    loss = ALL[name]
    expected = value(loss, z1, z2)
    if name not in ("margin", "margin, euclidean"):  # their negatives are the next samples in order
        assert value(loss, z1[order], z2[order]) == pytest.approx(expected, rel=1e-9)
    if name != "info_nce, queue":  # the queue stays where it is
        assert value(loss, z1 @ rotation, z2 @ rotation) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", COSINE)
def test_lengths_do_not_matter_to_cosines(name: str) -> None:
    z1, z2 = torch.randn(2, 9, 6, dtype=torch.float64)
    lengths = torch.rand(2, 9, 1, dtype=torch.float64) + 0.5
    assert value(COSINE[name], z1 * lengths[0], z2 * lengths[1]) == pytest.approx(value(COSINE[name], z1, z2), rel=1e-9)


@every
def test_gradient(name: str) -> None:
    z1, z2 = torch.randn(2, 7, 3, dtype=torch.float64).unbind()
    assert torch.autograd.gradcheck(ALL[name], (z1.requires_grad_(), z2.requires_grad_()))


@pytest.mark.parametrize("name", TEMPERED)
@pytest.mark.parametrize("start", [0.3, 0.01])
def test_gradient_of_a_temperature_that_learns(name: str, start: float) -> None:
    z1, z2 = torch.randn(2, 7, 3, dtype=torch.float64)
    temperature = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: TEMPERED[name](z1, z2, temperature=t), (temperature,), eps=1e-7)


def test_gradient_of_a_bias_that_learns() -> None:
    z1, z2 = torch.randn(2, 7, 3, dtype=torch.float64)
    bias = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b: losses.sigmoid(z1, z2, temperature=0.2, bias=b), (bias,))


def hard_cases(dtype: torch.dtype) -> dict[str, tuple[Tensor, Tensor]]:
    z1, z2 = torch.randn(2, 12, 8, dtype=dtype)
    return {
        "random": (z1, z2),
        "identical vectors": (torch.ones(12, 8, dtype=dtype), torch.ones(12, 8, dtype=dtype)),
        "zero vectors": (torch.cat((torch.zeros(6, 8, dtype=dtype), z1[6:])), torch.zeros(12, 8, dtype=dtype)),
        "opposite": (z1, -z1),
        "solved": (torch.eye(12, dtype=dtype), torch.eye(12, dtype=dtype)),
        "huge": (z1 * 1e4, z2 * 1e-4),
    }


@cold
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_value_and_gradient_stay_finite(name: str, dtype: torch.dtype) -> None:
    for case, (z1, z2) in hard_cases(dtype).items():
        z1.requires_grad_(), z2.requires_grad_()
        loss = COLD[name](z1, z2)
        loss.backward()
        assert loss.dtype == torch.float32, case
        assert loss.isfinite(), case
        assert z1.grad is not None and z1.grad.isfinite().all(), case
        assert z2.grad is not None and z2.grad.isfinite().all(), case
        assert z1.grad.dtype == dtype, case


@pytest.mark.parametrize("name", COSINE)
def test_a_row_of_zeros_has_no_direction_to_be_pulled_in(name: str) -> None:
    z1, z2 = torch.randn(2, 12, 8).unbind()
    z1[3] = 0
    COSINE[name](z1.requires_grad_(), z2).backward()
    assert z1.grad is not None and (z1.grad[3] == 0).all() and z1.grad.any()


@cold
def test_half_precision_costs_only_what_its_inputs_lost(name: str) -> None:
    z1, z2 = torch.randn(2, 24, 8).bfloat16()
    assert float(COLD[name](z1, z2)) == pytest.approx(float(COLD[name](z1.double(), z2.double())), rel=1e-4, abs=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        under = float(COLD[name](z1.float(), z2.float()))
    assert under == pytest.approx(float(COLD[name](z1.float(), z2.float())), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ["nt_xent", "clip", "info_nce", "supcon, in"])
def test_a_nearly_solved_task_keeps_its_gradient(name: str) -> None:
    """Partners at cosine 1, all others at 0: float32 follows float64 to the last digits."""
    z1 = torch.eye(12) + 0.01 * torch.randn(12, 12)
    z2 = z1 + 0.01 * torch.randn(12, 12)
    grads = []
    for dtype in (torch.float32, torch.float64):
        one = z1.to(dtype, copy=True).requires_grad_()
        COSINE[name](one, z2.to(dtype)).backward()
        grads.append(one.grad)
    torch.testing.assert_close(grads[0].double(), grads[1], rtol=1e-3, atol=1e-3 * float(grads[1].abs().max()))


def test_uniformity_is_least_where_rows_spread() -> None:
    collapsed, random = torch.ones(16, 8), torch.randn(16, 8)
    simplex = torch.eye(8)
    assert losses.uniformity(simplex) < losses.uniformity(random[:8]) < losses.uniformity(collapsed) + 1e-6
    assert float(losses.uniformity(collapsed)) == pytest.approx(0, abs=1e-5)
    z = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(losses.uniformity, (z,))


BAD: list[tuple[str, Callable[[], Tensor]]] = []
one, two, three = torch.randn(1, 4), torch.randn(2, 4), torch.randn(3, 4)
pairwise = [losses.nt_xent, losses.clip, losses.decoupled, losses.reweighted, partial(losses.sigmoid, bias=0.0)]
for given in pairwise:
    BAD += [
        (r"\(1, 4\): expected \(N, D\) with 2 rows", partial(given, one, one, temperature=1.0)),
        (r"\(2, 4\) and .* \(3, 4\)|\(3, 4\) and .* \(2, 4\)", partial(given, two, three, temperature=1.0)),
        (r"\(2, 3\) and .* \(2, 4\)", partial(given, two, two[:, :3], temperature=1.0)),
        (r"torch.int64: expected floating-point", partial(given, two.long(), two, temperature=1.0)),
        (r"temperature is 0.0: expected a number above 0", partial(given, two, two, temperature=0.0)),
        (r"temperature is -1.0", partial(given, two, two, temperature=torch.tensor(-1.0))),
        (r"temperature is nan", partial(given, two, two, temperature=float("nan"))),
        (r"temperature has shape \(2,\)", partial(given, two, two, temperature=torch.ones(2))),
    ]
tempered = {"temperature": 1.0}
BAD += [
    (r"ids has shape \(3,\)", partial(losses.nt_xent, two, two, ids=torch.arange(3), **tempered)),
    (r"ids has shape \(2,\) and dtype torch.float32", partial(losses.clip, two, two, ids=torch.ones(2), **tempered)),
    (r"labels has shape \(2,\)", partial(losses.supcon, three, torch.arange(2), **tempered)),
    (r"labels has shape \(2,\)", partial(losses.triplet, three, torch.arange(2), margin=1.0)),
    (r"form is 'both'", partial(losses.supcon, two, torch.arange(2), form="both", **tempered)),
    (
        r"mining is 'easy': expected one of all, active",
        partial(losses.triplet, two, torch.arange(2), margin=1, mining="easy"),
    ),
    (r"distance is 'l1'", partial(losses.triplet, two, torch.arange(2), margin=1.0, distance="l1")),
    (r"margin is -1.0", partial(losses.triplet, two, torch.arange(2), margin=-1.0)),
    (r"same has shape \(3,\)", partial(losses.margin, two, two, torch.ones(3).bool(), margin=1.0)),
    (r"distance is 'l1'", partial(losses.margin, two, two, torch.ones(2).bool(), margin=1.0, distance="l1")),
    (r"prior 1: ", partial(losses.reweighted, two, two, prior=1, **tempered)),
    (r"sigma is 0.0", partial(losses.decoupled, two, two, sigma=0.0, **tempered)),
    (r"t is 0.0", partial(losses.uniformity, two, t=0.0)),
    (r"query has shape \(1, 4\)", partial(losses.info_nce, one, one, **tempered)),
    (r"positive has shape \(3, 4\): expected \(2, 4\)", partial(losses.info_nce, two, three, two, **tempered)),
    (r"positive is of torch.int64", partial(losses.info_nce, two, two.long(), two, **tempered)),
    (
        r"negatives has shape \(3, 3\): expected \(K, 4\) or \(2, K, 4\)",
        partial(losses.info_nce, two, two, three[:, :3], **tempered),
    ),
    (r"negatives has shape \(1, 3, 4\)", partial(losses.info_nce, two, two, three[None], **tempered)),
    (r"negatives has shape \(0, 4\)", partial(losses.info_nce, two, two, three[:0], **tempered)),
    (
        r"negative_ids has shape \(2,\)",
        partial(losses.info_nce, two, two, three, negative_ids=torch.arange(2), **tempered),
    ),
]


@pytest.mark.parametrize(("words", "call"), BAD)
def test_bad_input_is_named(words: str, call: Callable[[], Tensor]) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_precisions_may_be_mixed() -> None:
    z1, z2 = torch.randn(2, 6, 4)
    expected = losses.info_nce(z1, z2, z2, temperature=0.5)
    torch.testing.assert_close(losses.info_nce(z1.double(), z2, z2, temperature=0.5), expected.double())
    assert losses.nt_xent(z1.bfloat16(), z2.double(), temperature=0.5).dtype == torch.float64
