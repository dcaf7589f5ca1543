import numpy as np
import pytest
import torch

from twinlens.errors import InputError
from twinlens.latent import traverse

SCALE = torch.tensor([0.5, 3.0, 0.0, 1.0])
GALLERY = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)) * SCALE + 2
CODE = GALLERY[17]


def close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), atol=atol, rtol=1e-5)


def test_each_dimension_is_moved_by_deviations_of_the_gallery():
    found = traverse(CODE, GALLERY, steps=5, reach=2)
    assert found.codes.shape == (4, 5, 4)
    assert found.offsets.tolist() == [-2, -1, 0, 1, 2]
    for j in range(4):
        deviation = float(np.std(GALLERY[:, j].double().numpy(), ddof=1))
        for s, offset in enumerate((-2, -1, 0, 1, 2)):
            expected = CODE.clone()
            expected[j] += offset * deviation
            close(found.codes[j, s], expected)
    assert torch.equal(found.codes[:, 2], CODE.expand(4, 4))  # the code itself, to the last bit
    assert torch.equal(found.codes[2], CODE.expand(5, 4))  # a dead dimension does not move


def test_nearest_samples_are_those_of_a_loop():
    found = traverse(CODE.numpy(), GALLERY.numpy(), steps=4, reach=3, principal=True)
    for codes, indices, similarities in zip(found.codes, found.index, found.similarity):
        for code, index, similarity in zip(codes, indices, similarities):
            cosines = [float(code @ x / code.norm() / x.norm()) for x in GALLERY]
            assert float(similarity) == pytest.approx(max(cosines), abs=1e-5)
            assert cosines[int(index)] == pytest.approx(max(cosines), abs=1e-6)
    assert traverse(CODE, GALLERY, steps=3).index[:, 1].tolist() == [17] * 4


def test_principal_directions_are_those_the_gallery_was_turned_by():
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    x = GALLERY - GALLERY.mean(dim=0)
    x = x @ torch.linalg.eigh(x.T @ x)[1]  # exactly uncorrelated
    found = traverse(CODE, x @ turn.T + 5, principal=True)
    deviation, order = x.std(dim=0).sort(descending=True)
    close(found.directions.norm(dim=1), deviation, atol=1e-3)
    for direction, spread, axis in list(zip(found.directions, deviation, turn.T[order]))[:3]:
        assert abs(float(direction @ axis) / float(spread)) == pytest.approx(1, abs=1e-4)
        assert direction[direction.abs().argmax()] > 0
    close(found.codes[1, -1] - CODE, 2 * found.directions[1])


def test_the_first_directions_are_taken():
    whole, some = (traverse(CODE, GALLERY, principal=True, count=count) for count in (None, 2))
    assert torch.equal(whole.codes[:2], some.codes)
    assert some.index.shape == some.similarity.shape == (2, 7)
    assert traverse(CODE, GALLERY, count=1).directions.count_nonzero() == 1


def test_a_decoder_gives_a_picture_for_each_direction_and_step():
    weight = torch.ones(4, 6, requires_grad=True)
    found = traverse(CODE, GALLERY, steps=3, decode=lambda z: (z @ weight).view(-1, 2, 3))
    assert found.decoded.shape == (4, 3, 2, 3)
    assert not found.decoded.requires_grad
    close(found.decoded[1, 2, 0, 0], found.codes[1, 2].sum(), atol=1e-4)
    assert traverse(CODE, GALLERY).decoded is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 1}, "steps = 1, reach = 2: expected 2 steps"),
        ({"reach": 0}, "reach = 0"),
        ({"reach": float("inf")}, "reach = inf"),
        ({"count": 5}, "count = 5: expected 1 to 4"),
        ({"count": 0}, "count = 0"),
        ({"code": CODE[:2]}, r"the code is of shape \(2,\)"),
        ({"gallery": GALLERY[:1]}, "the gallery has 1 code"),
    ],
)
def test_what_cannot_be_traversed_is_named(settings, says):
    with pytest.raises(InputError, match=says):
        traverse(**{"code": CODE, "gallery": GALLERY, **settings})
