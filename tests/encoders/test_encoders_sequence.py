"""Words by their ids and signals by windows, as tokens."""

import pytest
import torch
from support import awake

from twinlens.batch import PAD
from twinlens.dropout import counted
from twinlens.encoders.sequence import waves, words
from twinlens.encoders.transformer import sincos
from twinlens.errors import InputError
from twinlens.update.optimizers import optimizer

SMALL = {"width": 6, "depth": 1, "heads": 1}


def test_windows_known_by_hand():
    encoder = waves(2, 6, window=3, **SMALL)
    signal = torch.tensor([[[0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15]]])
    patches = encoder.patchify(signal)
    assert patches.tolist() == [[[0, 10, 1, 11, 2, 12], [3, 13, 4, 14, 5, 15]]]
    assert torch.equal(encoder.unpatchify(patches), signal)
    assert (encoder.shape, encoder.grid, encoder.patch_dim, encoder.vocabulary) == ((2, 6), (2,), 6, None)


def test_words_known_by_hand():
    encoder = words(9, 3, **SMALL)
    text = torch.tensor([[4, 0, 8], [1, 1, 2]])
    patches = encoder.patchify(text)
    assert patches.tolist() == [[[4], [0], [8]], [[1], [1], [2]]]
    assert torch.equal(encoder.unpatchify(patches), text)
    assert (encoder.shape, encoder.grid, encoder.patch_dim, encoder.vocabulary) == ((3,), (3,), 1, 9)


def test_a_word_is_looked_up_and_a_window_is_mapped():
    encoder = words(9, 3, width=6, depth=0, heads=1)
    text = torch.tensor([[4, 0, 8]])
    placed = 6**0.5 * encoder.embed.weight[8] + sincos((3,), 6)[2]
    torch.testing.assert_close(encoder.eval().tokens(text)[0, 2], encoder.body(encoder.embed_norm(placed)))
    encoder = waves(2, 6, window=3, width=6, depth=0, heads=1)
    signal = torch.randn(1, 2, 6)
    kernel = encoder.embed.weight.view(6, 3, 2).permute(0, 2, 1)  # (D, C, window)
    slow = torch.nn.functional.conv1d(signal, kernel, encoder.embed.bias, stride=3).transpose(1, 2)
    torch.testing.assert_close(encoder.tokens(signal), encoder.body(slow + sincos((2,), 6)))


@pytest.mark.parametrize("length", [2, 5, 12])
def test_a_view_may_be_shorter_or_longer(length):
    for encoder, view in (
        (awake(words(9, 5, **SMALL)), torch.randint(9, (2, length))),
        (waves(2, 15, window=3, **SMALL), torch.randn(2, 2, 3 * length)),
    ):
        patches = encoder.patchify(view)
        encoder.eval()
        embedded = encoder.embed(patches[..., 0] if encoder.vocabulary else patches) + sincos((length,), 6)
        embedded = encoder.embed_norm(embedded) if encoder.vocabulary else embedded
        torch.testing.assert_close(encoder.tokens(view), encoder.body(embedded))
        assert torch.equal(encoder.unpatchify(patches), view)
        assert encoder(view).shape == (2, 6)
        last = torch.tensor([[length - 1], [0]])
        alone = encoder.body(embedded[[0, 1], last[:, 0]][:, None])
        torch.testing.assert_close(encoder.tokens(view, last), alone)


def test_side_by_side_needs_one_length():
    encoder = words(9, 5, pool=False, **SMALL)
    assert encoder(torch.zeros(2, 5, dtype=torch.long)).shape == (2, 30)
    with pytest.raises(InputError, match="4 patches cannot be embedded as 5 side by side"):
        encoder(torch.zeros(2, 4, dtype=torch.long))


def test_it_is_bert_mini_without_its_extras():
    with torch.device("meta"):
        count = sum(p.numel() for p in words(30522, 128).parameters() if p.requires_grad)
    blocks = 4 * (12 * 256**2 + 13 * 256)
    assert count == 30522 * 256 + blocks + 2 * 2 * 256


def test_every_parameter_but_that_of_absent_words_gets_a_gradient():
    torch.manual_seed(0)
    encoder = awake(words(9, 3, **SMALL))
    z = encoder(torch.tensor([[4, 0, 8]]))
    (z * torch.randn_like(z)).sum().backward()
    assert encoder.embed.weight.grad.any(1).nonzero().flatten().tolist() == [0, 4, 8]
    assert all(p.grad.any() for p in encoder.parameters() if p.requires_grad)


def test_it_starts_as_the_mean_of_its_words():
    torch.manual_seed(0)
    encoder = words(9, 4, width=6, depth=3, heads=2).eval()
    encoder.positions.zero_()
    text = torch.tensor([[4, 0, 8, 4], [1, 2, PAD, PAD]])
    rows = torch.nn.functional.layer_norm(encoder.embed.weight, (6,), eps=1e-6)
    expected = torch.stack((rows[text[0]].mean(0), rows[text[1, :2]].mean(0)))
    torch.testing.assert_close(encoder(text), expected, atol=1e-4, rtol=0)
    awake(encoder)
    assert not torch.allclose(encoder(text), expected, atol=0.1)


def test_a_word_counts_by_its_weight():
    torch.manual_seed(0)
    encoder = awake(words(10, 6, width=8, depth=2, heads=2)).eval()
    view = torch.tensor([[3, 1, 4, 1], [2, 7, PAD, PAD], [PAD] * 4])
    tokens = encoder.tokens(view)
    alike = [tokens[0].mean(dim=0), tokens[1, :2].mean(dim=0), torch.zeros(8)]
    torch.testing.assert_close(encoder(view), torch.stack(alike))
    with torch.no_grad():
        encoder.word_weights[:] = torch.arange(10.0)
    (a, b, c, d), (e, f) = tokens[0], tokens[1, :2]
    weighed = [(3 * a + b + 4 * c + d) / 9, (2 * e + 7 * f) / 9, torch.zeros(8)]
    torch.testing.assert_close(encoder(view), torch.stack(weighed))
    assert "word_weights" in encoder.state_dict() and not encoder.word_weights.requires_grad


@pytest.mark.parametrize(
    ("vocabulary", "length", "message"),
    [(1, 5, "1 words in views of 5: expected 2 or more"), (5, 0, "5 words in views of 0: .* in views of 1 or more")],
)
def test_words_need_words(vocabulary, length, message):
    with pytest.raises(InputError, match=message):
        words(vocabulary, length)


@pytest.mark.parametrize(("length", "window"), [(24, 5), (24, 0), (24, -3), (24, 48), (0, 4)])
def test_a_window_must_divide_the_signal(length, window):
    with pytest.raises(InputError, match=f"a window of {window} does not divide a view of {length} moments"):
        waves(1, length, window=window)


def test_a_window_must_divide_every_view():
    with pytest.raises(InputError, match="a window of 3 does not divide a view of 7 moments: choose a divisor"):
        waves(2, 6, window=3, **SMALL)(torch.zeros(1, 2, 7))


@pytest.mark.parametrize(("settings", "message"), [({"heads": 5}, "5 heads"), ({"width": 7}, "multiple of 2, not 7")])
def test_widths_must_fit(settings, message):
    with pytest.raises(InputError, match=message):
        waves(1, 32, **settings)
    with pytest.raises(InputError, match=message):
        words(9, 32, **settings)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_what_fills_a_row_up_changes_nothing(causal, kept):
    torch.manual_seed(0)
    encoder = awake(words(9, 7, causal=causal, **SMALL)).eval()
    text = torch.tensor([[4, 1, 8], [2, 5, 0]])
    padded = torch.cat((text, torch.full((2, 4), PAD)), dim=1)
    keep = torch.arange(7).flip(0).expand(2, -1) if kept else None
    tokens = encoder.tokens(padded, keep)
    tokens = tokens.flip(1) if kept else tokens
    torch.testing.assert_close(tokens[:, :3], encoder.tokens(text))
    torch.testing.assert_close(encoder(padded), encoder(text))
    assert encoder(torch.full((1, 4), PAD)).isfinite().all()


def test_its_dropout_is_counted_by_the_sample():
    torch.manual_seed(0)
    encoder = awake(words(9, 5, width=16, depth=1, heads=1, dropout=0.5))
    text, key = torch.randint(9, (6, 5)), torch.arange(6)
    with counted(key):
        whole = encoder(text)
    with counted(key):
        assert torch.equal(encoder(text), whole)
    with counted(key[2:4]):
        torch.testing.assert_close(encoder(text[2:4]), whole[2:4])
    padded = torch.cat((text, torch.full((6, 3), PAD)), dim=1)
    with counted(key):
        torch.testing.assert_close(encoder(padded), whole)
        assert not torch.allclose(encoder(padded), whole, atol=0.1)  # what comes later is drawn anew
    with counted(key):
        both = encoder(torch.cat((text, text)))
    torch.testing.assert_close(both[:6], whole)
    assert not torch.allclose(both[6:], whole, atol=0.1)
    encoder.eval()
    with counted(key):
        assert torch.equal(encoder(text), encoder(text))


def test_dropout_is_a_share():
    with pytest.raises(InputError, match=r"dropout is 1\.0"):
        words(9, 5, dropout=1.0, **SMALL)


@pytest.mark.parametrize("rate", [1.0, 8.0])
def test_words_learn_at_their_own_rate(rate):
    encoder = words(50, 9, width=12, depth=1, heads=3, word_rate=rate)
    groups = optimizer("adamw", encoder, rate=0.1, decay=0.0).param_groups
    of = {id(p): group["lr"] for group in groups for p in group["params"]}
    others = {of[id(p)] for p in encoder.parameters() if p.requires_grad and p is not encoder.embed.weight}
    assert of[id(encoder.embed.weight)] == pytest.approx(0.1 * rate) and others == {0.1}


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_words_learn_at_some_rate(rate):
    with pytest.raises(InputError, match="word_rate"):
        words(50, 9, width=12, depth=1, heads=3, word_rate=rate)
