"""Clips cut into tubes, as tokens."""

import pytest
import torch

from twinlens.encoders.clip import clip
from twinlens.encoders.transformer import sincos
from twinlens.encoders.vit import vit
from twinlens.errors import InputError

SMALL = {"width": 12, "depth": 1, "heads": 2}


def test_tubes_known_by_hand():
    encoder = clip((2, 2, 2, 4), frames=2, patch=2, **SMALL)
    pixels = torch.arange(8).view(2, 4)  # counted row by row; channel 1 adds 100, the second frame 1000
    frame = torch.stack((pixels, pixels + 100))
    view = torch.stack((frame, frame + 1000))[None]
    patches = encoder.patchify(view)
    assert patches.tolist() == [
        [
            [0, 100, 1, 101, 4, 104, 5, 105, 1000, 1100, 1001, 1101, 1004, 1104, 1005, 1105],
            [2, 102, 3, 103, 6, 106, 7, 107, 1002, 1102, 1003, 1103, 1006, 1106, 1007, 1107],
        ]
    ]
    assert torch.equal(encoder.unpatchify(patches), view)
    assert (encoder.shape, encoder.grid, encoder.patch_dim) == ((2, 2, 2, 4), (1, 1, 2), 16)
    assert encoder.vocabulary is None


@pytest.mark.parametrize("shape", [(6, 3, 4, 8), (2, 1, 8, 4), (4, 2, 4, 4)])
def test_unpatchify_undoes_patchify(shape):
    encoder = clip(shape, frames=2, patch=4, **SMALL)
    view = torch.randn(3, *shape)
    patches = encoder.patchify(view)
    assert encoder.grid == (shape[0] // 2, shape[2] // 4, shape[3] // 4)
    assert patches.shape == (3, encoder.count, encoder.patch_dim) and encoder.patch_dim == 2 * shape[1] * 16
    assert torch.equal(encoder.unpatchify(patches), view)


def test_tokens_go_moment_by_moment_row_by_row():
    encoder = clip((4, 1, 4, 6), frames=2, patch=2, **SMALL)
    for f in range(2):
        for r in range(2):
            for c in range(3):
                view = torch.zeros(1, 4, 1, 4, 6)
                view[0, 2 * f : 2 * f + 2, 0, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2] = 1
                assert encoder.patchify(view)[0].all(1).nonzero().tolist() == [[6 * f + 3 * r + c]]


def test_the_embedding_is_a_strided_convolution():
    encoder = clip((4, 3, 4, 8), frames=2, patch=4, **SMALL)
    view = torch.randn(2, 4, 3, 4, 8)
    kernel = encoder.embed.weight.view(12, 2, 4, 4, 3).permute(0, 4, 1, 2, 3)  # (D, C, f, p, p)
    slow = torch.nn.functional.conv3d(view.transpose(1, 2), kernel, encoder.embed.bias, stride=(2, 4, 4))
    torch.testing.assert_close(encoder.embed(encoder.patchify(view)), slow.flatten(2).transpose(1, 2))


def test_a_clip_of_single_frames_has_the_patches_of_its_pictures():
    encoder, of_pictures = clip((3, 2, 8, 8), frames=1, patch=4, **SMALL), vit(2, 8, patch=4, **SMALL)
    view = torch.randn(2, 3, 2, 8, 8)
    slow = torch.cat([of_pictures.patchify(frame) for frame in view.unbind(1)], dim=1)
    assert torch.equal(encoder.patchify(view), slow)


def test_a_view_of_another_size_has_the_positions_of_its_own_grid():
    encoder = clip((4, 3, 8, 8), frames=2, patch=4, **SMALL)
    for f, h, w in ((2, 4, 12), (8, 8, 4)):
        view = torch.randn(2, f, 3, h, w)
        slow = encoder.body(encoder.embed(encoder.patchify(view)) + sincos((f // 2, h // 4, w // 4), 12))
        torch.testing.assert_close(encoder.tokens(view), slow)
        assert encoder(view).shape == (2, 12)


def test_it_is_videomae_unless_told_otherwise():
    with torch.device("meta"):
        encoder = clip((16, 3, 224, 224))
    assert encoder.grid == (8, 14, 14) and encoder.patch_dim == 2 * 3 * 16 * 16 and not encoder.causal


@pytest.mark.parametrize(
    ("shape", "frames", "patch"),
    [((5, 3, 8, 8), 2, 4), ((4, 3, 6, 8), 2, 4), ((4, 3, 8, 6), 2, 4), ((4, 3, 8, 8), 0, 4), ((4, 3, 8, 8), 2, -4)],
)
def test_tubes_must_divide_the_clip(shape, frames, patch):
    message = rf"tubes of {frames} frames and {patch} pixels do not divide a clip of \({shape[0]}, 3, .*\): choose"
    with pytest.raises(InputError, match=message):
        clip(shape, frames=frames, patch=patch)


def test_tubes_must_divide_every_view():
    encoder = clip((4, 3, 8, 8), frames=2, patch=4, **SMALL)
    with pytest.raises(InputError, match=r"do not divide a clip of \(3, 3, 8, 8\)"):
        encoder(torch.zeros(1, 3, 3, 8, 8))


@pytest.mark.parametrize(("width", "needed"), [(4, "6 or more"), (9, "a multiple of 2")])
def test_three_axes_need_width(width, needed):
    with pytest.raises(InputError, match=f"a grid of 3 axes need a width that is {needed}, not {width}"):
        clip((4, 3, 8, 8), frames=2, patch=4, width=width, heads=1)
