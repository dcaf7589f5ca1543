import pytest
import torch
from torch import nn

from twinlens import export
from twinlens.data.tokenizer import Tokenizer
from twinlens.encoders.hub import TextEncoder, text_encoder
from twinlens.encoders.pooling import Dense, Normalize, Pooling
from twinlens.encoders.sequence import waves, words
from twinlens.errors import InputError

transformers = pytest.importorskip("transformers")

TEXTS = ["a plane is taking off", "a man", "", "two men play chess and a woman is slicing an onion while a cat sleeps",
         "A Man plays the flute!", "x"]  # fmt: skip
LENGTH = 16


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(TEXTS * 3, vocabulary=100)


def view_of(tokenizer, texts=TEXTS):
    ids, lengths = tokenizer.encode(texts)
    room = LENGTH - len(tokenizer.prefix) - len(tokenizer.suffix)
    rows = [
        torch.tensor([*tokenizer.prefix, *row.tolist()[:room], *tokenizer.suffix])
        for row in ids.split(lengths.tolist())
    ]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


def ours(tokenizer, **settings):
    torch.manual_seed(0)
    encoder = words(tokenizer.vocabulary + 3, LENGTH, width=32, depth=3, heads=4, **settings).eval()
    with torch.no_grad():
        for p in encoder.parameters():
            p += 0.1 * torch.randn_like(p)  # norms and biases are to matter
        encoder.word_weights.uniform_(0.1, 2)
    return encoder


def theirs(tokenizer, steps=(), modes=("mean",), **weights):
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=tokenizer.vocabulary, hidden_size=32, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=64, max_position_embeddings=40, pad_token_id=0)  # fmt: skip
    return TextEncoder(
        transformers.BertModel(config), Pooling(modes), list(steps), longest=40, length=40, **weights
    ).eval()


ENCODERS = {
    "ours": ours,
    "causal": lambda tokenizer: ours(tokenizer, causal=True),
    "theirs": theirs,
    "first": lambda tokenizer: theirs(tokenizer, modes=("cls",)),
    "two": lambda tokenizer: theirs(tokenizer, modes=("max", "lasttoken")),
    "dense": lambda tokenizer: theirs(tokenizer, (Dense(32, 5), Normalize())),
    "weighed": lambda tokenizer: theirs(tokenizer, (Normalize(),), word_weights=torch.rand(tokenizer.vocabulary)),
    "plain": lambda tokenizer: theirs(tokenizer, (Dense(32, 5, bias=False, activation="Identity"),)),
}


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_transformers_gives_the_same_tokens(tmp_path, tokenizer, name):
    encoder = ENCODERS[name](tokenizer)
    export.save_transformers(encoder, tokenizer, tmp_path / "out", length=LENGTH)
    model, info = transformers.AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    given = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")(
        TEXTS, padding=True, truncation=True, return_tensors="pt"
    )
    view = view_of(tokenizer)
    there = view >= 0
    assert torch.equal(given["attention_mask"] > 0, there)
    assert torch.equal(given["input_ids"][there], view[there])
    hidden = model.eval()(**given).last_hidden_state
    torch.testing.assert_close(hidden[there], encoder.tokens(view)[there], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_sentence_transformers_gives_the_same_embeddings(tmp_path, tokenizer, name):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    encoder = ENCODERS[name](tokenizer)
    export.save_sentence_transformer(encoder, tokenizer, tmp_path / "out", length=LENGTH)
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert model.max_seq_length == LENGTH
    expected = encoder(view_of(tokenizer))
    for together in (1, len(TEXTS)):
        found = torch.from_numpy(model.encode(TEXTS, batch_size=together))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["ours", "causal", "weighed"])
@torch.no_grad()
def test_weights_of_words_stand_beside_what_transformers_opens(tmp_path, tokenizer, name):
    encoder = ENCODERS[name](tokenizer)
    export.save_transformers(encoder, tokenizer, tmp_path / "out", length=LENGTH)
    again, view = text_encoder(tmp_path / "out").eval(), view_of(tokenizer)
    found, expected = (nn.functional.normalize(one(view)) for one in (again, encoder))  # steps are not written there
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_it_is_opened_by_name_as_well(tmp_path, tokenizer, name):
    encoder = ENCODERS[name](tokenizer)
    export.save_sentence_transformer(encoder, tokenizer, tmp_path / "out", length=LENGTH)
    again, read = text_encoder(tmp_path / "out").eval(), Tokenizer.load(tmp_path / "out")
    assert (again.word_weights is None) == (encoder.word_weights is None)
    assert again.longest == LENGTH and again.causal == encoder.causal and again.dim == encoder.dim
    assert read.fingerprint == tokenizer.fingerprint
    torch.testing.assert_close(again(view_of(read)), encoder(view_of(tokenizer)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_ours_comes_back_as_ours(tmp_path, tokenizer, causal):
    encoder = ours(tokenizer, causal=causal, dropout=0.2)
    export.save_sentence_transformer(encoder, tokenizer, tmp_path / "out", length=LENGTH)
    again = export.load_words(tmp_path / "out").eval()
    assert type(again) is type(encoder) and again.grid == (LENGTH,)
    assert (again.causal, again.drop.share) == (causal, 0.2)
    state = again.state_dict()
    words, table = state.pop("embed.weight"), encoder.embed.weight
    torch.testing.assert_close(words, table, rtol=1e-6, atol=0)  # multiplied there, divided here
    assert all(torch.equal(weight, encoder.state_dict()[name]) for name, weight in state.items())
    torch.testing.assert_close(again(view_of(tokenizer)), encoder(view_of(tokenizer)), rtol=0, atol=1e-6)


@torch.no_grad()
def test_texts_may_be_longer_than_those_it_was_trained_on(tmp_path, tokenizer):
    encoder = ours(tokenizer)
    export.save_transformers(encoder, tokenizer, tmp_path / "out", length=30)
    assert export.load_words(tmp_path / "out").grid == (30,)
    view = torch.randint(5, 90, (2, 30))
    model = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    torch.testing.assert_close(model(input_ids=view).last_hidden_state, encoder.tokens(view), rtol=0, atol=1e-5)


def test_what_ours_is_not_is_refused(tmp_path, tokenizer):
    export.save_transformers(theirs(tokenizer), tokenizer, tmp_path / "bert", length=LENGTH)
    transformers.RobertaPreLayerNormModel(transformers.RobertaPreLayerNormConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=20, type_vocab_size=1)).save_pretrained(tmp_path / "learnt")  # fmt: skip
    for name in ("bert", "learnt", "nothing"):
        with pytest.raises(InputError, match=f"{name} holds no encoder that Twinlens wrote"):
            export.load_words(tmp_path / name)


@pytest.mark.parametrize("save", [export.save_transformers, export.save_sentence_transformer])
def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path, tokenizer, save):
    out = tmp_path / "out"
    for encoder, length, said in (
        (waves(1, 32), LENGTH, "Tokens cannot be written for transformers"),
        (nn.Linear(2, 2), LENGTH, "Linear cannot be written"),
        (words(20, LENGTH, width=32), LENGTH, "the tokenizer knows .* words and the encoder 20"),
        (ours(tokenizer), 2, "length is 2: expected 3 or more words"),
        (theirs(tokenizer), 41, "length is 41: expected 3 to 40 words"),
    ):
        with pytest.raises(InputError, match=said):
            save(encoder, tokenizer, out, length=length)
    assert not list(tmp_path.iterdir())
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(InputError, match="exists and is not empty"):
        save(ours(tokenizer), tokenizer, out, length=LENGTH)
    assert [file.name for file in out.iterdir()] == ["mine"]


def test_tokens_side_by_side_are_no_embedding_there(tmp_path, tokenizer):
    with pytest.raises(InputError, match="cannot put tokens side by side: train with --pool true"):
        export.save_sentence_transformer(ours(tokenizer, pool=False), tokenizer, tmp_path / "out", length=LENGTH)
    assert not list(tmp_path.iterdir())
