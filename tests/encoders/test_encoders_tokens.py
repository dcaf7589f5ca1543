"""One transformer behind every cut: what a token sees, what fills a row up, what comes before, what blocks give."""

import pytest
import torch

from twinlens.encoders.clip import clip
from twinlens.encoders.contract import CausalEncoder, TokenEncoder
from twinlens.encoders.sequence import waves, words
from twinlens.encoders.transformer import sincos
from twinlens.encoders.vit import vit
from twinlens.views.masks import visible

SMALL = {"width": 12, "depth": 2, "heads": 3}
CUTS = {
    "vit": lambda **how: vit(3, 8, patch=2, **SMALL, **how),
    "words": lambda **how: words(50, 9, dropout=0.0, **SMALL, **how),
    "waves": lambda **how: waves(2, 24, window=3, **SMALL, **how),
    "clip": lambda **how: clip((4, 2, 4, 6), frames=2, patch=2, **SMALL, **how),
}
MEASURED = [name for name in CUTS if name != "words"]


def build(name, **how):
    """A cut's encoder in double, whose norms and biases are no longer what they begin as."""
    torch.manual_seed(0)
    encoder = CUTS[name](**how).double()
    for p in encoder.parameters():
        if p.requires_grad:  # not how much words count
            torch.nn.init.normal_(p, 0.2, 0.3)
    return encoder


def views(encoder, count=2, seed=1):
    torch.manual_seed(seed)
    if encoder.vocabulary:
        return torch.randint(encoder.vocabulary, (count, *encoder.shape))
    return torch.randn(count, *encoder.shape, dtype=torch.float64)


def keeping(encoder, count=2, kept=5, seed=2):
    torch.manual_seed(seed)
    return torch.stack([torch.randperm(encoder.count)[:kept] for _ in range(count)])


def under(tokens, encoder, view):
    """How much each token (of the sum over the batch) owes to what lies under each patch: (K, T), of one sample."""
    owed = []
    for token in tokens[0]:
        (seen,) = torch.autograd.grad((token * torch.arange(1.0, 13)).sum(), view, retain_graph=True)
        owed.append(encoder.patchify(seen)[0].abs().sum(-1))
    return torch.stack(owed)


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("causal", [False, True])
def test_it_keeps_the_contract(name, causal):
    encoder = build(name, causal=causal)
    assert isinstance(encoder, TokenEncoder) and isinstance(encoder, CausalEncoder) and encoder.causal is causal
    view = views(encoder)
    tokens, patches = encoder.tokens(view), encoder.patchify(view)
    assert view.shape[1:] == encoder.shape and tokens.shape == (2, encoder.count, encoder.width)
    assert patches.shape == (2, encoder.count, encoder.patch_dim)
    assert encoder.count == torch.Size(encoder.grid).numel()
    assert torch.equal(encoder.unpatchify(patches), view)
    torch.testing.assert_close(encoder(view), tokens.sum(1) / encoder.count)
    assert encoder(view).shape == (2, encoder.dim)
    beside = build(name, causal=causal, pool=False)
    assert torch.equal(beside(view), tokens.flatten(1)) and beside.dim == encoder.count * 12


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("causal", [False, True])
def test_the_last_layer_normalised_is_the_tokens(name, causal):
    encoder = build(name, causal=causal)
    view = views(encoder)
    layers = encoder.layers(view)
    assert layers.shape == (2, 2, encoder.count, 12)
    assert torch.equal(encoder.body.norm(layers[-1]), encoder.tokens(view))
    shallow = build(name, causal=causal)
    del shallow.body.blocks[1]
    assert torch.equal(shallow.body.norm(layers[0]), shallow.tokens(view))


@pytest.mark.parametrize("name", CUTS)
def test_without_blocks_a_token_is_what_lies_under_it_at_its_place(name):
    encoder = build(name)
    del encoder.body.blocks[:]
    view, keep = views(encoder), keeping(encoder)
    for n in range(2):
        for k, t in enumerate(keep[n].tolist()):
            patch = encoder.patchify(view)[n, t]
            embedded = encoder.embed(patch if encoder.vocabulary is None else patch[0])
            placed = embedded + sincos(encoder.grid, 12)[t]
            alone = encoder.body.norm(placed if encoder.embed_norm is None else encoder.embed_norm(placed))
            torch.testing.assert_close(encoder.tokens(view, keep)[n, k], alone)


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("causal", [False, True])
def test_a_row_that_is_filled_up_is_the_row_alone(name, causal):
    encoder = build(name, causal=causal)
    view, keep = views(encoder, 3), keeping(encoder, 3, 6)
    lengths = (6, 2, 4)
    among = torch.arange(6) < torch.tensor(lengths)[:, None]
    tokens = encoder.tokens(view, keep, among=among)
    assert tokens.isfinite().all()
    for n, length in enumerate(lengths):
        alone = encoder.tokens(view[n : n + 1], keep[n : n + 1, :length])[0]
        torch.testing.assert_close(tokens[n, :length], alone, rtol=0, atol=1e-6)
    other = torch.where(among, keep, keep.flip(1))
    assert torch.equal(encoder.tokens(view, other, among=among)[among], tokens[among])
    assert not torch.allclose(encoder.tokens(view, keep)[1, :2], tokens[1, :2])  # had they been seen, it would tell


@pytest.mark.parametrize("causal", [False, True])
def test_rows_of_all_tokens_are_filled_up_too(causal):
    """As of texts of different length."""
    encoder = build("words", causal=causal)
    view = views(encoder, 3)
    among = torch.arange(9) < torch.tensor([9, 3, 0])[:, None]
    tokens = encoder.tokens(view, among=among)
    assert tokens.isfinite().all()
    for n, length in enumerate((9, 3)):
        alone = encoder.tokens(view[n : n + 1, :length])[0]
        torch.testing.assert_close(tokens[n, :length], alone, rtol=0, atol=1e-6)
    everything = torch.arange(9).expand(3, -1)
    torch.testing.assert_close(encoder.tokens(view, everything, among=among), tokens)


def test_a_token_that_fills_up_sees_itself_and_those_that_are_there():
    encoder = build("waves")
    view = views(encoder, 1).requires_grad_()
    keep, among = torch.tensor([[6, 1, 3, 0]]), torch.tensor([[True, True, False, False]])
    owed = under(encoder.tokens(view, keep, among=among), encoder, view) > 0
    assert [row.nonzero().flatten().tolist() for row in owed] == [[1, 6], [1, 6], [1, 3, 6], [0, 1, 6]]


@pytest.mark.parametrize("causal", [False, True])
def test_no_token_sees_nothing(causal):
    """Of which not every kernel of attention makes a number."""
    encoder, asked = build("waves", causal=causal), []
    encoder.body.register_forward_pre_hook(lambda module, given: asked.append(given[1]))
    encoder.tokens(views(encoder), torch.tensor([[6, 1, 3], [0, 2, 5]]), among=torch.zeros(2, 3, dtype=torch.bool))
    assert torch.equal(asked[0][:, 0], torch.eye(3, dtype=torch.bool).expand(2, -1, -1))


@pytest.mark.parametrize("name", CUTS)
def test_what_a_mask_leaves_is_computed_as_if_alone(name):
    encoder = build(name)
    view = views(encoder, 3)
    torch.manual_seed(3)
    mask = torch.rand(3, encoder.count) < torch.tensor([0.2, 0.5, 0.8])[:, None]
    keep, there = visible(mask)
    tokens = encoder.tokens(view, keep, among=there)
    for n in range(3):
        left = (~mask[n]).nonzero().flatten()
        assert keep[n][there[n]].tolist() == left.tolist()
        alone = encoder.tokens(view[n : n + 1], left[None])[0]
        torch.testing.assert_close(tokens[n][there[n]], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MEASURED)
def test_a_token_owes_nothing_to_what_lies_under_later_ones(name):
    encoder = build(name, causal=True)
    view = views(encoder, 1).requires_grad_()
    owed = under(encoder.tokens(view), encoder, view)
    assert torch.equal(owed > 0, torch.ones_like(owed).tril().bool())
    layers = encoder.layers(view)
    assert torch.equal(under(layers[-1], encoder, view) > 0, owed > 0)
    free = build(name)
    assert (under(free.tokens(view), free, view) > 0).all()


@pytest.mark.parametrize("name", MEASURED)
def test_before_is_by_place_not_by_the_order_that_tokens_are_kept_in(name):
    encoder = build(name, causal=True)
    view = views(encoder, 1).requires_grad_()
    keep = torch.tensor([[4, 0, 5, 2, 1]])
    owed = under(encoder.tokens(view, keep), encoder, view)
    for k, t in enumerate(keep[0].tolist()):
        assert owed[k].nonzero().flatten().tolist() == sorted(s for s in keep[0].tolist() if s <= t)
    among = torch.tensor([[True, False, True, False, True]])
    owed = under(encoder.tokens(view, keep, among=among), encoder, view)
    seen = [row.nonzero().flatten().tolist() for row in owed]
    assert seen == [[1, 4], [0], [1, 4, 5], [1, 2], [1]]


@pytest.mark.parametrize("name", CUTS)
def test_the_first_tokens_are_those_of_the_beginning_alone(name):
    """Whatever comes later, of words too, which have no gradient."""
    encoder = build(name, causal=True)
    view, other = views(encoder), views(encoder, seed=5)
    for t in (1, 3, encoder.count - 1):
        patches = torch.cat((encoder.patchify(view)[:, :t], encoder.patchify(other)[:, t:]), dim=1)
        tokens = encoder.tokens(encoder.unpatchify(patches))
        assert torch.equal(tokens[:, :t], encoder.tokens(view)[:, :t])
        assert not torch.isclose(tokens[:, t:], encoder.tokens(view)[:, t:]).all(-1).any()
        kept = encoder.tokens(view, torch.arange(t).expand(2, -1))
        torch.testing.assert_close(kept, encoder.tokens(view)[:, :t])


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("causal", [False, True])
def test_keeping_every_token_in_any_order_changes_no_token(name, causal):
    encoder = build(name, causal=causal)
    view, order = views(encoder), keeping(build(name), kept=build(name).count)
    expected = encoder.tokens(view).gather(1, order[..., None].expand(-1, -1, 12))
    torch.testing.assert_close(encoder.tokens(view, order), expected)


@pytest.mark.parametrize("name", CUTS)
def test_a_masked_token_is_the_mask_token_and_is_not_seen(name):
    encoder = build(name)
    view, other, mask_token = views(encoder), views(encoder, seed=7), torch.randn(12, dtype=torch.float64)
    mask = torch.zeros(2, encoder.count, dtype=torch.bool).scatter_(1, keeping(encoder, kept=3), True)
    plain = encoder.tokens(view, mask=mask, mask_token=mask_token)
    patches = torch.where(mask[..., None], encoder.patchify(other), encoder.patchify(view))
    assert torch.equal(encoder.tokens(encoder.unpatchify(patches), mask=mask, mask_token=mask_token), plain)
    assert not torch.allclose(encoder.tokens(encoder.unpatchify(patches)), encoder.tokens(view))
    del encoder.body.blocks[:]
    hidden = encoder.tokens(view, mask=mask, mask_token=mask_token)[0, mask[0]]
    at = sincos(encoder.grid, 12).double()[mask[0]]
    placed = mask_token + at
    placed = placed if encoder.embed_norm is None else encoder.embed_norm(placed)
    torch.testing.assert_close(hidden, encoder.body.norm(placed))


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("causal", [False, True])
def test_samples_do_not_know_each_other(name, causal):
    encoder = build(name, causal=causal)
    view, keep = views(encoder, 4), keeping(encoder, 4)
    torch.testing.assert_close(encoder.tokens(view)[2:3], encoder.tokens(view[2:3]))
    torch.testing.assert_close(encoder.tokens(view, keep)[2:3], encoder.tokens(view[2:3], keep[2:3]))


def test_tokens_lie_row_by_row_moment_by_moment():
    """Positions are those of the grid, so what is asked for first is nearest in the last axis."""
    assert build("clip").grid == (2, 2, 3) and build("vit").grid == (4, 4)
    assert build("waves").grid == (8,) and build("words").grid == (9,)
    view = torch.zeros(1, 4, 2, 4, 6, dtype=torch.float64)
    view[0, 2:, :, 2:4, 4:6] = 1  # the second moment, the second row, the third column
    assert build("clip").patchify(view)[0].any(-1).nonzero().tolist() == [[1 * 6 + 1 * 3 + 2]]
