import pytest
import torch

from twinlens.encoders.contract import TokenEncoder
from twinlens.encoders.transformer import sincos
from twinlens.encoders.vit import vit
from twinlens.errors import InputError


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return vit(3, 8, patch=2, width=12, depth=2, heads=3).double()


@pytest.fixture
def view():
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(("size", "patch"), [(28, 4), (32, 4), (64, 8), (224, 16), (8, 2), (96, 12), (5, 1), (29, 1)])
def test_the_patch_follows_the_size(size, patch):
    encoder = vit(1, size, width=4, depth=0, heads=1)
    assert encoder.cut.patch == patch
    assert encoder.count == (size // patch) ** 2
    assert encoder.grid == (size // patch, size // patch)


def test_it_is_deit_tiny_without_class_token_and_learnt_positions():
    with torch.device("meta"):
        count = sum(p.numel() for p in vit(3, 224).parameters())
    assert count == 5_717_416 - 193_000 - 192 - 197 * 192  # DeiT's table 1: 5.7 million, with a classifier


def test_it_gives_tokens_and_their_mean(encoder, view):
    assert isinstance(encoder, TokenEncoder)
    tokens = encoder.tokens(view)
    assert tokens.shape == (2, 16, 12)
    torch.testing.assert_close(encoder(view), tokens.mean(dim=1))


def test_patches_known_by_hand():
    encoder = vit(2, 4, patch=2, width=4, depth=0, heads=1)
    first = torch.arange(16).view(4, 4)  # channel 0 counts pixels row by row, channel 1 adds 100
    patches = encoder.patchify(torch.stack((first, first + 100))[None])
    assert patches.tolist() == [
        [
            [0, 100, 1, 101, 4, 104, 5, 105],
            [2, 102, 3, 103, 6, 106, 7, 107],
            [8, 108, 9, 109, 12, 112, 13, 113],
            [10, 110, 11, 111, 14, 114, 15, 115],
        ]
    ]
    assert encoder.patch_dim == 8


def test_unpatchify_undoes_patchify(encoder, view):
    assert torch.equal(encoder.unpatchify(encoder.patchify(view)), view)


def test_the_embedding_is_a_strided_convolution(encoder, view):
    kernel = encoder.embed.weight.view(12, 2, 2, 3).permute(0, 3, 1, 2)  # (D, C, p, p)
    slow = torch.nn.functional.conv2d(view, kernel, encoder.embed.bias, stride=2).flatten(2).transpose(1, 2)
    torch.testing.assert_close(encoder.embed(encoder.patchify(view)), slow)


def test_kept_tokens_bring_their_positions(view):
    encoder = vit(3, 8, patch=2, width=12, depth=0, heads=3).double()  # without blocks a token knows itself alone
    keep = torch.tensor([[3, 0, 15], [7, 7, 1]])
    expected = encoder.tokens(view).gather(1, keep[..., None].expand(-1, -1, 12))
    torch.testing.assert_close(encoder.tokens(view, keep), expected)


def test_what_is_not_kept_is_not_seen(encoder, view):
    keep = torch.tensor([[3, 0, 15], [7, 2, 1]])
    hidden = torch.ones(2, 16, dtype=torch.bool).scatter_(1, keep, False)
    other = torch.where(hidden[..., None], torch.rand(2, 16, 12, dtype=torch.float64), encoder.patchify(view))
    assert torch.equal(encoder.tokens(encoder.unpatchify(other), keep), encoder.tokens(view, keep))
    assert not torch.allclose(encoder.tokens(encoder.unpatchify(other)), encoder.tokens(view))


def test_keeping_every_token_in_any_order_changes_no_token(encoder, view):
    order = torch.stack([torch.randperm(16), torch.randperm(16)])
    expected = encoder.tokens(view).gather(1, order[..., None].expand(-1, -1, 12))
    torch.testing.assert_close(encoder.tokens(view, order), expected)


def test_a_view_of_another_size_has_the_positions_of_its_own_grid(encoder, view):
    small = view[:, :, :4, :6]
    expected = encoder.body(encoder.embed(encoder.patchify(small)) + sincos((2, 3), 12).double())
    torch.testing.assert_close(encoder.tokens(small), expected)


@pytest.fixture
def mask():
    hidden = torch.zeros(2, 16, dtype=torch.bool)
    hidden[0, [1, 2, 9]] = hidden[1, [0, 15]] = True
    return hidden


def test_a_masked_token_is_the_mask_token_at_its_position(view, mask):
    encoder = vit(3, 8, patch=2, width=12, depth=0, heads=3).double()  # without blocks a token knows itself alone
    mask_token = torch.rand(12, dtype=torch.float64)
    tokens, plain = encoder.tokens(view, mask=mask, mask_token=mask_token), encoder.tokens(view)
    assert torch.equal(tokens[~mask], plain[~mask])
    for n, t in mask.nonzero().tolist():
        torch.testing.assert_close(tokens[n, t], encoder.body(mask_token + encoder.positions[t]))
    assert not torch.allclose(tokens[0, 1], tokens[0, 2])


def test_what_is_masked_is_not_seen_and_the_rest_is(encoder, view, mask):
    mask_token = torch.rand(12, dtype=torch.float64)
    noise = torch.rand(2, 16, 12, dtype=torch.float64)
    plain = encoder.tokens(view, mask=mask, mask_token=mask_token)
    for hidden, same in ((mask, True), (~mask, False)):
        other = encoder.unpatchify(torch.where(hidden[..., None], noise, encoder.patchify(view)))
        assert torch.equal(encoder.tokens(other, mask=mask, mask_token=mask_token), plain) == same
    view.requires_grad_()
    tokens = encoder.tokens(view, mask=mask, mask_token=mask_token.requires_grad_())
    (seen,) = torch.autograd.grad((tokens * noise).sum(), view, retain_graph=True)
    assert torch.equal(encoder.patchify(seen).abs().sum(-1) > 0, ~mask)  # tokens that are shown matter to all
    assert torch.autograd.grad((tokens * noise).sum(), mask_token)[0].all()


def test_a_mask_may_hide_nothing_or_what_is_not_kept(encoder, view, mask):
    mask_token = torch.rand(12, dtype=torch.float64)
    nothing = encoder.tokens(view, mask=torch.zeros_like(mask), mask_token=mask_token)
    assert torch.equal(nothing, encoder.tokens(view))
    keep = torch.tensor([[1, 0, 15], [0, 2, 1]])
    kept = encoder.tokens(view, keep, mask=mask.gather(1, keep), mask_token=mask_token)
    other = encoder.unpatchify(torch.where(mask[..., None], 7.0, encoder.patchify(view)))
    assert torch.equal(encoder.tokens(other, keep, mask=mask.gather(1, keep), mask_token=mask_token), kept)


@pytest.mark.parametrize("pool", [True, False])
def test_pooled_tokens_are_the_embedding(view, pool):
    encoder = vit(3, 8, patch=2, width=12, depth=1, heads=3, pool=pool).double()
    tokens = encoder.tokens(view)
    by_hand = tokens.sum(dim=1) / 16 if pool else torch.stack([torch.cat(list(row)) for row in tokens])
    torch.testing.assert_close(encoder.pooled(tokens), by_hand)
    assert torch.equal(encoder(view), encoder.pooled(tokens))
    assert by_hand.shape == (2, encoder.dim)


def test_positions_are_not_saved(encoder):
    assert "positions" not in encoder.state_dict()


@pytest.mark.parametrize("patch", [3, 0, 16])
def test_a_patch_must_divide_the_view(patch):
    with pytest.raises(InputError, match=f"a patch of {patch} pixels does not divide a view of 8"):
        vit(1, 8, patch=patch)


@pytest.mark.parametrize(("settings", "message"), [({"heads": 5}, "5 heads"), ({"width": 6}, "multiple of 4, not 6")])
def test_widths_must_fit(settings, message):
    with pytest.raises(InputError, match=message):
        vit(1, 8, **settings)


def test_tokens_side_by_side_need_views_of_one_size():
    encoder = vit(3, 8, patch=2, width=12, depth=1, heads=3, pool=False)
    with pytest.raises(InputError, match=r"4 patches cannot be embedded as 16 side by side: .*--small_views 0"):
        encoder(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("size", [(5, 4), (4, 7), (1, 1)])
def test_a_patch_must_divide_every_view(encoder, size):
    with pytest.raises(InputError, match=f"a patch of 2 pixels does not divide a view of {size[0]} x {size[1]}: "):
        encoder(torch.zeros(2, 3, *size, dtype=torch.float64))
