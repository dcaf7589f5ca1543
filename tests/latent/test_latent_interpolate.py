import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from twinlens.errors import InputError
from twinlens.latent import interpolate
from twinlens.latent.interpolate import lerp, slerp

G = torch.Generator().manual_seed(0)
GALLERY = torch.randn(200, 6, generator=G)
A, B = GALLERY[3], 2 * GALLERY[8]


def close(found, expected, atol=1e-6):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), atol=atol, rtol=1e-5)


def test_lines_by_hand():
    close(lerp(torch.tensor([0.0, 4.0]), torch.tensor([2.0, 0.0]), 3), [[0.0, 4.0], [1.0, 2.0], [2.0, 0.0]])


def test_arcs_by_hand():
    found = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]), 3)
    close(found, [[1, 0], [2 * 0.5**0.5, 2 * 0.5**0.5], [0, 3]])
    third = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 4)[1]
    close(third, [math.cos(math.pi / 6), math.sin(math.pi / 6)])


def test_arcs_are_those_of_the_formula_with_sines():
    u, v = (x.double().numpy() / np.linalg.norm(x.double().numpy()) for x in (A, B))
    angle = math.acos(u @ v)
    expected = []
    for t in np.linspace(0, 1, 7):
        length = (1 - t) * float(A.norm()) + t * float(B.norm())
        expected.append(length * (math.sin((1 - t) * angle) * u + math.sin(t * angle) * v) / math.sin(angle))
    close(slerp(A, B, 7), np.array(expected), atol=1e-5)


def test_arcs_turn_evenly_and_both_ways_alike():
    for a, b in ((A, B), (A, A + 1e-4 * B), (A, -A + 0.01 * B)):
        path = slerp(a.double(), b.double(), 9)
        turns = torch.acos(cosine_similarity(path[1:], path[:-1]).clamp(-1, 1))
        close(turns, turns.mean().expand(8), atol=1e-5)
        close(path, slerp(b.double(), a.double(), 9).flip(0))
        close(path[[0, -1]], torch.stack((a, b)).double())


def test_parallel_codes_change_length_alone():
    close(slerp(A, 3 * A, 3), torch.stack((A, 2 * A, 3 * A)))
    close(slerp(A, A, 4), A.expand(4, 6))


def test_opposite_codes_turn_over_the_axis_nearest_to_orthogonal():
    close(slerp(torch.tensor([0.0, 2.0, 0.0]), torch.tensor([0.0, -2.0, 0.0]), 3)[1], [2, 0, 0])
    a = torch.tensor([3.0, 0.1, -4.0])
    for b in (-a, -a * 1.7, -a + torch.tensor([0, 3e-7, 0])):
        path = slerp(a, b, 5)
        assert path.isfinite().all()
        close(path[[0, -1]], torch.stack((a, b)), atol=1e-5)
        close(path.norm(dim=1), torch.linspace(float(a.norm()), float(b.norm()), 5))
        assert float(cosine_similarity(path[2], torch.tensor([0.0, 1.0, 0.0]), dim=0)) > 0.999
        turns = torch.acos(cosine_similarity(path[1:], path[:-1]))
        close(turns, torch.full((4,), math.pi / 4), atol=1e-4)


@pytest.mark.parametrize("spherical", [True, False])
def test_nearest_samples_are_those_of_a_loop(spherical):
    path = interpolate(A, B, GALLERY.numpy(), steps=11, spherical=spherical)
    close(path.codes, (slerp if spherical else lerp)(A, B, 11))
    assert path.codes.shape == (11, 6)
    assert path.codes.dtype == torch.float32
    for code, index, similarity in zip(path.codes, path.index, path.similarity):
        cosines = [float(code @ x / code.norm() / x.norm()) for x in GALLERY]
        assert int(index) == int(np.argmax(cosines))
        assert float(similarity) == pytest.approx(max(cosines), abs=1e-5)
    assert path.index[[0, -1]].tolist() == [3, 8]
    assert path.decoded is None


def test_a_decoder_sees_all_points_at_once_and_no_gradient():
    weight = torch.ones(6, 4, requires_grad=True)

    def decode(codes):
        assert codes.shape == (5, 6)
        return (codes @ weight).view(-1, 2, 2)

    path = interpolate(A, B, GALLERY, steps=5, decode=decode)
    assert path.decoded.shape == (5, 2, 2)
    assert not path.decoded.requires_grad
    close(path.decoded[2, 0, 0], path.codes[2].sum(), atol=1e-5)


def test_a_point_of_zero_is_like_nothing():
    path = interpolate(A, -A, GALLERY, steps=3, spherical=False)
    assert path.similarity[1] == 0


@pytest.mark.parametrize(
    ("a", "gallery", "settings", "says"),
    [
        (A[:3], GALLERY, {}, r"a is of shape \(3,\): expected one code of \(6,\)"),
        (A * torch.inf, GALLERY, {}, "a is not finite"),
        (A, GALLERY[0], {}, r"the gallery is of shape \(6,\)"),
        (A, GALLERY[:0], {}, r"the gallery is of shape \(0, 6\)"),
        (A, GALLERY.log(), {}, "of 200 codes of the gallery are not finite"),
        (A, GALLERY, {"steps": 1}, "steps = 1: expected 2 or more"),
        (0 * A, GALLERY, {}, "code a is zero: expected codes with directions"),
    ],
)
def test_what_has_no_way_is_named(a, gallery, settings, says):
    with pytest.raises(InputError, match=says):
        interpolate(a, B, gallery, **settings)


def test_one_dimension_has_no_arc():
    with pytest.raises(InputError, match=r"one dimension: .* spherical=False"):
        slerp(torch.ones(1), -torch.ones(1), 3)
    with pytest.raises(InputError, match="code b is zero"):
        slerp(A, 0 * A, 3)
    close(lerp(torch.ones(1), -torch.ones(1), 3), [[1], [0], [-1]])
