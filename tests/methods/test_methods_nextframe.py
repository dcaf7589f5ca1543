"""The next frame: gradient differences by loop, the order of frames, and that the last one is never seen."""

import pytest
import torch
from drawing import Flat, batch
from torch import Tensor

from twinlens.encoders.sequence import words
from twinlens.errors import InputError
from twinlens.methods.nextframe import NextFrame, gradient_difference


def build(*shape: int, edges: float = 1.0) -> NextFrame:
    torch.manual_seed(0)
    return NextFrame(Flat(*shape), edges=edges, hidden=10, dim=6, decoder_width=8).double()


def by_loop(y: list[list[float]], z: list[list[float]]) -> float:
    """Equation 6 of one channel: absolute differences of absolute differences, each pair of neighbours once."""
    total = 0.0
    for i in range(len(y)):
        for j in range(len(y[0])):
            if i > 0:
                total += abs(abs(y[i][j] - y[i - 1][j]) - abs(z[i][j] - z[i - 1][j]))
            if j > 0:
                total += abs(abs(y[i][j - 1] - y[i][j]) - abs(z[i][j - 1] - z[i][j]))
    return total


def test_gradient_differences_are_those_of_equation_six() -> None:
    y, z = batch(3, 5, 6, views=2).views
    found = gradient_difference(y, z)
    for n in range(5):
        expected = sum(by_loop(y[n, c].tolist(), z[n, c].tolist()) for c in range(3))
        assert float(found[n]) == pytest.approx(expected, rel=1e-12)


def test_gradient_differences_known_by_hand() -> None:
    edge = torch.zeros(1, 1, 4, 6).double()
    edge[..., 3:] = 1.0
    blurred = edge.clone()
    blurred[..., 2] = 0.5
    moved = edge.roll(1, 3)
    moved[..., 0] = 0.0
    assert float(gradient_difference(edge, edge)) == 0.0
    assert float(gradient_difference(edge, torch.zeros_like(edge))) == 4.0  # a step of 1 in four rows
    assert float(gradient_difference(edge, blurred)) == 4.0  # a half where there is none, a half where there is one
    assert float(gradient_difference(edge, 1 - edge)) == 0.0  # as large, the other way
    assert float(gradient_difference(edge, moved)) == 8.0


def test_gradient_differences_know_no_brightness_and_no_axis() -> None:
    y, z = batch(3, 5, 6, views=2).views
    torch.testing.assert_close(gradient_difference(y, z + 1), gradient_difference(y, z))
    torch.testing.assert_close(gradient_difference(y.mT, z.mT), gradient_difference(y, z))
    torch.testing.assert_close(gradient_difference(z, y), gradient_difference(y, z))


@pytest.mark.parametrize("edges", [0.0, 1.0, 2.5])
def test_the_loss_is_four_times_that_of_frames_in_minus_one_to_one(edges: float) -> None:
    method, made = build(3, 8, 8, edges=edges), batch(3, 8, 8, views=4)
    (loss,) = method.encode(made)
    y, z = made.views[-1] / 2, method.predict(made) / 2
    squares, steps = (y - z).square().flatten(1).sum(1), gradient_difference(y, z)
    torch.testing.assert_close(loss, 4 * (squares + edges * steps) / (3 * 64))
    torch.testing.assert_close(method.compare(loss), loss.sum() / 5)


@pytest.mark.parametrize("shape", [(2, 64), (16,), (4, 3, 14, 14)], ids=str)
def test_what_is_no_picture_has_no_edges(shape: tuple[int, ...]) -> None:
    method, made = build(*shape, edges=3.0), batch(*shape, views=4)
    (loss,) = method.encode(made)
    torch.testing.assert_close(loss, (method.predict(made) - made.views[-1]).square().flatten(1).mean(1))


def test_embeddings_stand_side_by_side_in_the_order_of_the_frames() -> None:
    method, made = build(3, 8, 8), batch(3, 8, 8, views=4)
    h = torch.cat([method.encoder(view) for view in made.views[:3]], dim=1)  # (N, 3D)
    torch.testing.assert_close(method.predict(made), method.decoder(method.predictor(h)))
    turned = made._replace(views=(*made.views[2::-1], made.views[3]))
    assert not torch.allclose(method.predict(turned), method.predict(made))


def test_the_encoder_runs_once() -> None:
    method, made = build(3, 8, 8), batch(3, 8, 8, views=4)
    calls: list[int] = []
    method.encoder.register_forward_hook(lambda module, given, out: calls.append(len(out)))
    method.encode(made)
    assert calls == [15]


def test_the_last_frame_is_never_seen_and_all_others_are() -> None:
    method, made = build(3, 8, 8), batch(3, 8, 8, views=4)
    views = [view.clone().requires_grad_() for view in made.views]
    drawn = method.predict(made._replace(views=tuple(views)))
    slopes = torch.autograd.grad(drawn.square().sum(), views, allow_unused=True)
    assert slopes[3] is None and all(slope is not None and (slope != 0).any() for slope in slopes[:3])


def test_samples_count_one_by_one() -> None:
    method, made = build(3, 8, 8), batch(3, 8, 8, views=4)

    def part(which: slice) -> Tensor:
        return method.encode(made._replace(views=tuple(view[which] for view in made.views)))[0]

    torch.testing.assert_close(part(slice(0, 5))[2:4], part(slice(2, 4)))


def test_it_asks_for_moments_in_order_and_shows_them() -> None:
    method, made = build(3, 8, 8), batch(3, 8, 8, views=4)
    assert method.views.moving and method.views.strength == "weak" and not method.coupled
    shown = method.show(made)
    assert list(shown) == ["frame 1", "frame 2", "frame 3", "predicted", "next"]
    for title, view in zip(("frame 1", "frame 2", "frame 3", "next"), made.views, strict=True):
        assert torch.equal(shown[title], view)
    torch.testing.assert_close(shown["predicted"], method.predict(made))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match=r"edges is -1\.0: expected a weight of 0 or more"):
        build(3, 8, 8, edges=-1.0)
    with pytest.raises(InputError, match="ids of 9 words"):
        NextFrame(words(9, 4, width=16, depth=1, heads=2))
