import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from twinlens.dropout import counted
from twinlens.encoders import hub
from twinlens.encoders import lengths as lengths_of
from twinlens.encoders.contract import TokenEncoder
from twinlens.encoders.pooling import POOLINGS, Pooling
from twinlens.errors import InputError

transformers = pytest.importorskip("transformers")

SMALL = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
KINDS = {
    "bert": {**SMALL, "intermediate_size": 32, "max_position_embeddings": 20},
    "roberta": {**SMALL, "intermediate_size": 32, "max_position_embeddings": 22, "pad_token_id": 1},
    "distilbert": {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32,
                   "max_position_embeddings": 20},
    "gpt2": {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20},
    "electra": {**SMALL, "embedding_size": 8, "intermediate_size": 32, "max_position_embeddings": 20},
}  # fmt: skip
VIEW = torch.tensor([[3, 5, 7, 9, 11, 4], [3, 8, 4, -1, -1, -1], [3, 6, 6, 4, -1, -1]])


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def write(folder, kind="bert", **settings):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **{**KINDS[kind], **settings})
    model = transformers.AutoModel.from_config(config).eval()
    model.save_pretrained(folder)
    return model


def write_json(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def write_modules(folder, *kinds):
    entries = [{"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "",
                "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(kinds)]  # fmt: skip
    write_json(folder / "modules.json", entries)


@pytest.mark.parametrize("kind", KINDS)
def test_each_text_is_embedded_as_transformers_would_alone(tmp_path, kind):
    model = write(tmp_path, kind)
    encoder = hub.text_encoder(tmp_path, pooling="mean").eval()
    with torch.no_grad():
        for row, z in zip(VIEW, encoder(VIEW)):
            alone = model(input_ids=row[row >= 0][None]).last_hidden_state.mean(dim=1)[0]
            torch.testing.assert_close(z, alone, rtol=0, atol=1e-6)
    assert encoder.dim == encoder.width == 16
    assert encoder.longest == 20
    assert (encoder.shape, encoder.grid, encoder.patch_dim, encoder.vocabulary) == ((20,), (20,), 1, 40)
    assert encoder.causal == (kind == "gpt2")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"electra"}))
def test_it_gives_tokens_as_methods_ask_for_them(tmp_path, kind):
    write(tmp_path, kind)
    encoder = hub.text_encoder(tmp_path).eval()
    assert isinstance(encoder, TokenEncoder)
    there, hidden = VIEW >= 0, torch.zeros(3, 6, dtype=torch.bool)
    mask_token = torch.randn(16)
    with torch.no_grad():
        tokens = encoder.tokens(VIEW)
        assert tokens.shape == (3, 6, 16)
        torch.testing.assert_close(encoder.pooled(tokens, VIEW), encoder(VIEW))
        torch.testing.assert_close(encoder.tokens(VIEW, mask=hidden, mask_token=mask_token)[there], tokens[there])
        hidden[0, 3] = True
        other = encoder.tokens(VIEW, mask=hidden, mask_token=mask_token)
        assert not torch.allclose(other[0], tokens[0])
        torch.testing.assert_close(other[1:][there[1:]], tokens[1:][there[1:]])
        changed = VIEW.masked_fill(hidden, 20)  # what is hidden is not seen
        again = encoder.tokens(changed, mask=hidden, mask_token=mask_token)
        torch.testing.assert_close(again, other)
        assert encoder.layers(VIEW).shape == (2, 3, 6, 16)
        among = there.clone()
        among[0, 5] = False
        torch.testing.assert_close(encoder.tokens(VIEW, among=among)[0, :5], encoder.tokens(VIEW[:1, :5])[0])
    assert torch.equal(encoder.unpatchify(encoder.patchify(VIEW)), VIEW)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_that_learns_gets_a_gradient(tmp_path, kind):
    write(tmp_path, kind)
    encoder = hub.text_encoder(tmp_path)
    (encoder(VIEW) * torch.randn(3, 16)).sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in encoder.parameters())
    frozen = [name for name, p in encoder.named_parameters() if not p.requires_grad]
    assert all("pooler" in name for name in frozen)
    assert encoder.training


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"electra"}))
def test_in_training_texts_of_like_lengths_go_together_and_nothing_else_changes(tmp_path, kind, monkeypatch):
    dropped = {"distilbert": ("dropout", "attention_dropout"), "gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop")}
    usual = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    write(tmp_path, kind, **dict.fromkeys(dropped.get(kind, usual), 0.0))
    encoder = hub.text_encoder(tmp_path).train()
    lengths = torch.tensor([3, 18, 1, 4, 7, 18, 2, 5])
    view = torch.randint(2, 40, (8, 18)).masked_fill(torch.arange(18) >= lengths[:, None], -1)
    seen: list[int] = []
    encoder.module.register_forward_hook(lambda *_: seen.append(0))
    whole = encoder(view)
    assert len(seen) == 1
    monkeypatch.setattr(lengths_of, "_TOGETHER", 2)
    parted = encoder(view)
    assert len(seen) == 5
    torch.testing.assert_close(parted, whole, rtol=0, atol=1e-6)
    weights = [p for p in encoder.parameters() if p.requires_grad]
    for one, other in zip(*(torch.autograd.grad(z.square().sum(), weights) for z in (parted, whole))):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    encoder(view[[1, 5, 1, 5]])  # nothing is filled up
    assert len(seen) == 6


def test_a_row_of_nothing_is_a_number(tmp_path):
    write(tmp_path)
    assert hub.text_encoder(tmp_path)(torch.full((2, 3), -1)).isfinite().all()


def test_the_pooling_is_the_first_the_last_or_the_mean(tmp_path):
    write(tmp_path)
    with torch.no_grad():
        for pooling, place in (("cls", 0), ("last", 2)):
            encoder = hub.text_encoder(tmp_path, pooling=pooling).eval()
            torch.testing.assert_close(encoder(VIEW)[1], encoder.tokens(VIEW)[1, place])
    assert hub.text_encoder(tmp_path).pooling.modes == ("mean",)
    write(tmp_path / "gpt", "gpt2")
    assert hub.text_encoder(tmp_path / "gpt").pooling.modes == ("lasttoken",)


@pytest.mark.parametrize("mode", POOLINGS)
def test_poolings_by_hand(mode):
    tokens = torch.tensor([[[1.0], [3.0], [9.0]], [[4.0], [1.0], [-2.0]]])
    there = torch.tensor([[True, True, False], [True, True, True]])
    expected = {"cls": [1, 4], "max": [3, 4], "mean": [2, 1], "mean_sqrt_len_tokens": [4 / 2**0.5, 3 / 3**0.5],
                "weightedmean": [7 / 3, 0], "lasttoken": [3, -2]}  # fmt: skip
    torch.testing.assert_close(Pooling([mode])(tokens, there)[:, 0], torch.tensor(expected[mode], dtype=torch.float32))


def test_a_mean_may_be_weighed_and_words_that_weigh_nothing_say_nothing():
    tokens = torch.tensor([[[1.0], [3.0], [9.0]], [[4.0], [1.0], [-2.0]]])
    weights = torch.tensor([[0.5, 1.5, 0.0], [0.0, 0.0, 0.0]])
    assert Pooling(["mean"])(tokens, weights).tolist() == [[2.5], [0.0]]


@pytest.mark.parametrize("old", [False, True])
def test_a_folder_of_sentence_transformers_is_rebuilt(tmp_path, old):
    write(tmp_path)
    write_modules(tmp_path, "Transformer", "Pooling", "Dense", "Normalize")
    new = {"embedding_dimension": 16, "pooling_mode": ["cls", "mean"]}
    switches = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    write_json(tmp_path / "1_Pooling" / "config.json", switches if old else new)
    dense = nn.Linear(32, 6)
    write_json(tmp_path / "2_Dense" / "config.json", {"in_features": 32, "out_features": 6, "bias": True,
               "activation_function": "torch.nn.modules.activation.Tanh"})  # fmt: skip
    save_file({f"linear.{k}": v for k, v in dense.state_dict().items()}, tmp_path / "2_Dense" / "model.safetensors")
    write_json(tmp_path / "sentence_bert_config.json", {"max_seq_length": 12})
    encoder = hub.text_encoder(tmp_path).eval()
    assert (encoder.dim, encoder.width, encoder.longest) == (6, 16, 12)
    with torch.no_grad():
        tokens = encoder.tokens(VIEW)[1, :3]
        expected = dense(torch.cat([tokens[0], tokens.mean(dim=0)])).tanh()
        torch.testing.assert_close(encoder(VIEW)[1], nn.functional.normalize(expected, dim=0))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "sentence_transformers.models.CNN", "path": ""}, "has a module sentence_transformers.models.CNN"),
        ({"type": "evil.Transformer", "path": ""}, "has a module evil.Transformer"),
        ({"type": "sentence_transformers.models.Transformer", "path": "../x"}, "expected a folder inside it"),
        ({"type": "sentence_transformers.models.Transformer", "path": "/x"}, "expected a folder inside it"),
    ],
)
def test_other_modules_are_named(tmp_path, entry, said):
    write_json(tmp_path / "modules.json", [entry])
    with pytest.raises(InputError, match=said):
        hub.text_encoder(tmp_path)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (("Pooling", "WordWeights"), "has WordWeights out of place"),
        (("WordWeights",), "weighs words and pools by nothing: expected the mean"),
        (("WordWeights", "Pooling"), "weighs words and pools by cls: expected the mean"),
    ],
)
def test_words_are_weighed_before_a_mean_alone(tmp_path, kinds, said):
    write(tmp_path)
    write_modules(tmp_path, "Transformer", *kinds)
    for place, kind in enumerate(kinds, start=1):
        write_json(tmp_path / f"{place}_{kind}" / "config.json", {"pooling_mode": "cls"} if kind == "Pooling" else {})
        save_file({"emb_layer.weight": torch.ones(50, 1)}, tmp_path / f"{place}_{kind}" / "model.safetensors")
    with pytest.raises(InputError, match=said):
        hub.text_encoder(tmp_path)


def test_weights_of_words_that_are_missing_are_named(tmp_path):
    write(tmp_path)
    write_modules(tmp_path, "Transformer", "WordWeights", "Pooling")
    write_json(tmp_path / "2_Pooling" / "config.json", {})
    (tmp_path / "1_WordWeights").mkdir()
    with pytest.raises(InputError, match="1_WordWeights holds no weights"):
        hub.text_encoder(tmp_path)
    save_file({"other": torch.ones(50, 1)}, tmp_path / "1_WordWeights" / "model.safetensors")
    with pytest.raises(InputError, match=r"holds no emb_layer.weight: save it anew"):
        hub.text_encoder(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"activation_function": "evil.Tanh"}, "unknown activation 'evil.Tanh'"),
        ({"activation_function": "torch.nn.Evil"}, "unknown activation 'Evil'"),
        ({"use_residual": True}, "use_residual"),
        ({}, "holds no weights"),
    ],
)
def test_a_linear_layer_that_cannot_be_rebuilt_is_named(tmp_path, settings, said):
    write(tmp_path)
    write_modules(tmp_path, "Transformer", "Pooling", "Dense")
    write_json(tmp_path / "1_Pooling" / "config.json", {})
    write_json(tmp_path / "2_Dense" / "config.json", {"in_features": 16, "out_features": 4, **settings})
    with pytest.raises(InputError, match=said):
        hub.text_encoder(tmp_path)


def test_pickled_weights_are_refused_and_never_read(tmp_path):
    write(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pickled weights can run any code: .*save_pretrained"):
        hub.text_encoder(tmp_path)


def test_code_that_a_folder_brings_is_not_run(tmp_path):
    write(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(InputError, match="no model of transformers at"):
        hub.text_encoder(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_what_it_cannot_do_is_said(tmp_path):
    write(tmp_path / "electra", "electra")
    write(tmp_path / "bert")
    encoder = hub.text_encoder(tmp_path / "bert")
    with pytest.raises(InputError, match="cannot leave tokens out"):
        encoder.tokens(VIEW, torch.zeros(3, 1, dtype=torch.int64))
    with pytest.raises(InputError, match="a view of 21 words is longer than the 20"):
        encoder(torch.ones(1, 21, dtype=torch.int64))
    with pytest.raises(InputError, match=r"views of 21 words for .*: expected 1 to 20"):
        hub.text_encoder(tmp_path / "bert", 21)
    hidden = torch.ones(3, 6, dtype=torch.bool)
    with pytest.raises(InputError, match="embeds words in 8 features and gives 16"):
        hub.text_encoder(tmp_path / "electra").tokens(VIEW, mask=hidden, mask_token=torch.zeros(16))
    with pytest.raises(InputError, match="no model at 'nobody/nothing'"):
        hub.text_encoder("nobody/nothing")


def test_views_may_be_said_to_have_a_length(tmp_path):
    write(tmp_path)
    encoder = hub.text_encoder(tmp_path, 8)
    assert (encoder.shape, encoder.grid, encoder.longest) == ((8,), (8,), 20)


def test_an_encoder_with_a_decoder_is_refused(tmp_path):
    config = transformers.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    transformers.T5Model(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="an encoder with a decoder"):
        hub.text_encoder(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dropped_of_a_text_depends_on_its_key_alone(tmp_path, kind):
    write(tmp_path, kind)
    encoder, key = hub.text_encoder(tmp_path, pooling="mean").train(), torch.tensor([3, 5, 9])
    with counted(key):
        together = encoder(VIEW)
    with counted(key[1:2]):
        alone = encoder(VIEW[1:2])
    torch.testing.assert_close(together[1:2], alone)
    assert not torch.allclose(together, encoder.eval()(VIEW))
