import math

import pytest
import torch

from twinlens.encoders.transformer import Attention, Block, Transformer, linear, sincos
from twinlens.errors import InputError


def slow_norm(x, layer):
    centred = x - x.mean()
    return centred / math.sqrt(float((centred**2).mean()) + 1e-6) * layer.weight + layer.bias


def slow_attention(tokens, layer, sees=lambda i, j: True):
    """One sample (T, D), one head and one query at a time, of which each sees what it `sees`."""
    t, d = tokens.shape
    width = d // layer.heads
    projected = torch.stack([layer.qkv.weight @ x + layer.qkv.bias for x in tokens])  # (T, 3 D)
    mixed = torch.zeros(t, d, dtype=tokens.dtype)
    for head in range(layer.heads):
        q, k, v = (projected[:, i * d + head * width : i * d + (head + 1) * width] for i in range(3))
        for i in range(t):
            weights = [math.exp(float(q[i] @ k[j]) / math.sqrt(width)) if sees(i, j) else 0.0 for j in range(t)]
            weights = torch.tensor(weights, dtype=tokens.dtype)
            total = sum(weights[j] * v[j] for j in range(t)) / weights.sum()
            mixed[i, head * width : (head + 1) * width] = total
    return torch.stack([layer.project.weight @ x + layer.project.bias for x in mixed])


def slow_gelu(x):
    return torch.tensor([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()], dtype=x.dtype)


def slow_mlp(x, layer):
    into, _, out = layer
    return out.weight @ slow_gelu(into.weight @ x + into.bias) + out.bias


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Transformer(12, 2, 3, ratio=2).double()
    for p in model.parameters():  # biases that are not zero, norms that are not the identity
        torch.nn.init.normal_(p, 0.3, 0.3)
    return model


@torch.no_grad()
def test_it_equals_a_slow_transformer(model):
    tokens = torch.randn(2, 5, 12, dtype=torch.float64)
    expected = []
    torch.set_default_dtype(torch.float64)
    try:
        for x in tokens:
            for block in model.blocks:
                x = x + slow_attention(torch.stack([slow_norm(row, block.norm1) for row in x]), block.attend)
                x = x + torch.stack([slow_mlp(slow_norm(row, block.norm2), block.mlp) for row in x])
            expected.append(torch.stack([slow_norm(row, model.norm) for row in x]))
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(model(tokens), torch.stack(expected))


@torch.no_grad()
def test_attention_to_some_equals_slow_attention_to_them(model):
    layer = model.blocks[0].attend
    tokens = torch.randn(3, 6, 12, dtype=torch.float64)
    torch.manual_seed(4)
    sees = (torch.rand(3, 6, 6) < 0.4) | torch.eye(6, dtype=torch.bool)
    expected = [slow_attention(x, layer, lambda i, j, one=one: one[i, j]) for x, one in zip(tokens, sees, strict=True)]
    torch.testing.assert_close(layer(tokens, sees[:, None]), torch.stack(expected))
    assert not torch.allclose(layer(tokens, sees[:, None]), layer(tokens))


@torch.no_grad()
def test_causal_attention_is_attention_to_itself_and_those_before(model):
    layer = model.blocks[0].attend
    tokens = torch.randn(2, 6, 12, dtype=torch.float64)
    expected = torch.stack([slow_attention(x, layer, lambda i, j: j <= i) for x in tokens])
    torch.testing.assert_close(layer(tokens, True), expected)
    explicit = torch.ones(6, 6, dtype=torch.bool).tril().expand(2, 1, 6, 6)
    torch.testing.assert_close(layer(tokens, explicit), expected)
    torch.testing.assert_close(model(tokens, True), model(tokens, explicit))
    torch.testing.assert_close(model.layers(tokens, True), model.layers(tokens, explicit))
    for every in (None, False):
        assert torch.equal(model(tokens, every), model(tokens))
    assert not torch.allclose(model(tokens), model(tokens, True))


@torch.no_grad()
def test_layers_are_what_each_block_gives(model):
    tokens = torch.randn(2, 6, 12, dtype=torch.float64)
    first = model.blocks[0](tokens)
    assert torch.equal(model.layers(tokens), torch.stack((first, model.blocks[1](first))))
    assert torch.equal(model.norm(model.layers(tokens)[-1]), model(tokens))


@torch.no_grad()
def test_order_of_tokens_is_order_of_outputs(model):
    tokens, order = torch.randn(2, 7, 12, dtype=torch.float64), torch.randperm(7)
    torch.testing.assert_close(model(tokens[:, order]), model(tokens)[:, order])


@torch.no_grad()
def test_equal_queries_and_keys_give_the_mean():
    layer = Attention(4, 2)
    layer.qkv.weight[:8] = 0
    layer.qkv.weight[8:] = layer.project.weight.copy_(torch.eye(4))
    tokens = torch.randn(3, 5, 4)
    torch.testing.assert_close(layer(tokens), tokens.mean(dim=1, keepdim=True).expand(-1, 5, -1))


def test_weights_are_xavier_uniform_for_each_map():
    layer = linear(100, 60, maps=3)
    bound = math.sqrt(6 / (100 + 60))
    assert layer.weight.shape == (180, 100)
    for weight in layer.weight.detach().chunk(3):
        assert 0.99 * bound < weight.abs().max() <= bound
        assert abs(float(weight.std()) - bound / math.sqrt(3)) < 0.01
    assert not layer.bias.any()


def test_it_has_the_parameters_it_should():
    d, ratio = 8, 3
    block = 4 * d * d + 4 * d + 2 * ratio * d * d + ratio * d + d + 4 * d
    assert sum(p.numel() for p in Block(d, 2, ratio).parameters()) == block
    assert sum(p.numel() for p in Transformer(d, 5, 2, ratio=ratio).parameters()) == 5 * block + 2 * d


def test_heads_must_divide_the_width():
    with pytest.raises(InputError, match="a width of 10 does not split into 3 heads"):
        Transformer(10, 1, 3)


def test_positions_equal_a_slow_loop():
    h, w, dim = 3, 5, 16
    slow = torch.zeros(h * w, dim)
    half = dim // 2
    for row in range(h):
        for column in range(w):
            for start, place in ((0, row), (half, column)):
                for i in range(half // 2):
                    angle = place / 10000 ** (2 * i / half)
                    slow[row * w + column, start + 2 * i] = math.sin(angle)
                    slow[row * w + column, start + 2 * i + 1] = math.cos(angle)
    torch.testing.assert_close(sincos((h, w), dim), slow)


def test_positions_known_by_hand():
    s, c = math.sin(1), math.cos(1)
    expected = [[0, 1, 0, 1], [0, 1, s, c], [s, c, 0, 1], [s, c, s, c]]
    torch.testing.assert_close(sincos((2, 2), 4), torch.tensor(expected))


@pytest.mark.parametrize("dim", [2, 6, 16])
def test_positions_in_a_sequence_equal_a_slow_loop(dim):
    slow = torch.zeros(7, dim)
    for place in range(7):
        for i in range(dim // 2):
            angle = place / 10000 ** (2 * i / dim)
            slow[place, 2 * i], slow[place, 2 * i + 1] = math.sin(angle), math.cos(angle)
    torch.testing.assert_close(sincos((7,), dim), slow)


@pytest.mark.parametrize(("dim", "widths"), [(6, (2, 2, 2)), (16, (6, 6, 4)), (18, (6, 6, 6)), (20, (8, 6, 6))])
def test_positions_in_a_clip_equal_a_slow_loop(dim, widths):
    f, h, w = 2, 3, 4
    slow = torch.zeros(f * h * w, dim)
    for frame in range(f):
        for row in range(h):
            for column in range(w):
                start = 0
                for width, place in zip(widths, (frame, row, column), strict=True):
                    for i in range(width // 2):
                        angle = place / 10000 ** (2 * i / width)
                        slow[frame * h * w + row * w + column, start + 2 * i] = math.sin(angle)
                        slow[frame * h * w + row * w + column, start + 2 * i + 1] = math.cos(angle)
                    start += width
    torch.testing.assert_close(sincos((f, h, w), dim), slow)
    assert len(sincos((f, h, w), dim).unique(dim=0)) == f * h * w


def test_likeness_of_positions_depends_on_their_offset_alone():
    places = sincos((6, 6), 32).view(6, 6, 32)
    likeness = (places[:4, :4] * places[2:, 1:5]).sum(-1)
    torch.testing.assert_close(likeness, likeness[:1, :1].expand(4, 4))


@pytest.mark.parametrize(
    ("grid", "dim", "needed"),
    [
        ((2, 2), 6, "a multiple of 4"), ((3,), 5, "a multiple of 2"), ((2, 2, 2), 7, "a multiple of 2"),
        ((2, 2, 2), 4, "6 or more"), ((3,), 0, "2 or more"),
    ],
)  # fmt: skip
def test_positions_need_width(grid, dim, needed):
    with pytest.raises(InputError, match=f"a grid of {len(grid)} axes need a width that is {needed}, not {dim}"):
        sincos(grid, dim)
