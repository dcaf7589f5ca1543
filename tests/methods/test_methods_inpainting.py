"""Context encoders: how much is hidden and where, and that nothing else counts."""

import pytest
import torch
from drawing import SHAPES, Flat, batch

from twinlens.encoders.sequence import words
from twinlens.errors import InputError
from twinlens.methods.inpainting import Inpainting
from twinlens.views.masks import Kind


def build(*shape: int, masked: float = 0.25, kind: Kind = "block", cells: int = 7) -> Inpainting:
    torch.manual_seed(0)
    return Inpainting(Flat(*shape), masked=masked, kind=kind, cells=cells, decoder_width=8).double()


@pytest.mark.parametrize("kind", ["block", "random", "inverse block"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (4, 3, 14, 14)], ids=str)
def test_twelve_of_forty_nine_cells_are_hidden_whole(shape: tuple[int, ...], kind: Kind) -> None:
    method, made = build(*shape, kind=kind), batch(*shape, samples=20)
    holes = method.holes(made.key)
    assert holes.shape == (20, *[1] * (len(shape) - 2), *shape[-2:]) and holes.dtype == torch.bool
    side = shape[-1] // 7
    cells = holes.flatten(1, -3).unflatten(-1, (7, side)).unflatten(-3, (7, side))  # (N, 1, 7, side, 7, side)
    assert (cells.any(3).any(-1) == cells.all(3).all(-1)).all()
    assert holes.flatten(1).sum(1).tolist() == [12 * side**2] * 20
    assert len(holes.flatten(1).unique(dim=0)) > 10


@pytest.mark.parametrize("kind", ["random", "span", "block"])
@pytest.mark.parametrize("shape", [(2, 64), (16,)], ids=str)
def test_moments_are_hidden_of_sequences(shape: tuple[int, ...], kind: Kind) -> None:
    method, made = build(*shape, kind=kind, masked=0.5), batch(*shape, samples=20)
    holes = method.holes(made.key)
    assert holes.shape == (20, *[1] * (len(shape) - 1), shape[-1])
    assert holes.flatten(1).sum(1).tolist() == [shape[-1] // 2] * 20


def test_holes_hang_together_in_blocks_only() -> None:
    key = batch(1, samples=50).key
    runs = {kind: build(1, 28, 28, kind=kind).holes(key).int().diff(dim=3).abs().sum() for kind in ("block", "random")}
    assert runs["block"] < 0.8 * runs["random"]


def test_a_small_view_has_no_more_cells_than_pixels() -> None:
    key = batch(1, samples=20).key
    assert build(3, 4, 6).holes(key).flatten(1).sum(1).tolist() == [6] * 20  # a quarter of 24 pixels
    assert build(3, 4, 14).holes(key).flatten(1).sum(1).tolist() == [14] * 20  # of 4 x 7 cells of two pixels


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_loss_is_the_mean_squared_error_inside_the_holes(shape: tuple[int, ...]) -> None:
    method, made = build(*shape), batch(*shape)
    x, hole = made.views[0], method.holes(made.key).expand(5, *shape)
    drawn = method.decoder(method.encoder(torch.where(hole, torch.zeros_like(x), x)))
    (loss,) = method.encode(made)
    for n in range(5):
        numbers = zip(drawn[n].flatten().tolist(), x[n].flatten().tolist(), hole[n].flatten().tolist(), strict=True)
        errors = [(a - b) ** 2 for a, b, inside in numbers if inside]
        assert float(loss[n].detach()) == pytest.approx(sum(errors) / len(errors), rel=1e-12)
    assert float(method.compare(loss.detach())) == pytest.approx(float(loss.detach().sum()) / 5)


def test_what_is_drawn_does_not_depend_on_what_is_hidden() -> None:
    method, made = build(3, 14, 14), batch(3, 14, 14)
    x = made.views[0].clone().requires_grad_()
    hole = method.holes(made.key).expand_as(x)
    filled = method.show(made._replace(views=(x,)))["filled"]
    (slope,) = torch.autograd.grad((filled * hole).square().sum(), x)
    assert (slope[hole] == 0).all() and (slope[~hole] != 0).any()


def test_what_is_seen_is_no_part_of_the_answer() -> None:
    method, made = build(3, 14, 14), batch(3, 14, 14)
    hole = method.holes(made.key).expand(5, 3, 14, 14)
    drawn = torch.zeros(5, 3, 14, 14, dtype=torch.float64, requires_grad=True)
    method.decoder = torch.nn.Identity()
    method.encoder = type("Still", (torch.nn.Module,), {"forward": lambda self, view: drawn})()
    (slope,) = torch.autograd.grad(method.compare(*method.encode(made)), drawn)
    assert (slope[~hole] == 0).all() and (slope[hole] != 0).all()


def test_it_shows_the_sample_its_holes_and_what_fills_them() -> None:
    method, made = build(1, 28, 28), batch(1, 28, 28)
    shown, hole = method.show(made), method.holes(made.key)
    assert list(shown) == ["sample", "seen", "filled"]
    assert (shown["seen"][hole] == 0).all()
    for title in ("seen", "filled"):
        assert torch.equal(shown[title][~hole], made.views[0][~hole])
    torch.testing.assert_close(shown["filled"][hole], method.decoder(method.encoder(shown["seen"]))[hole])


def test_holes_are_of_the_sample_alone() -> None:
    method, made = build(3, 14, 14), batch(3, 14, 14)
    assert torch.equal(method.holes(made.key)[1:3], method.holes(made.key[1:3]))


def test_what_cannot_be_hidden_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"a share of 1\.0 "):
        build(1, 28, 28, masked=1.0)
    with pytest.raises(InputError, match=r"a mask of kind 'span' does not fit the grid \(7, 7\)"):
        build(1, 28, 28, kind="span")
    with pytest.raises(InputError, match="unknown kind of mask 'blok': did you mean block"):
        build(1, 28, 28, kind="blok")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="ids of 9 words"):
        Inpainting(words(9, 4, width=16, depth=1, heads=2))
