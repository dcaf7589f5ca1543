"""Encoders of texts as folders that transformers and sentence-transformers open, and back."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from twinlens.data.tokenizer import Tokenizer
from twinlens.encoders.hub import TextEncoder
from twinlens.encoders.modules import WEIGHTS, listed, steps_of
from twinlens.encoders.pooling import Dense, Normalize
from twinlens.encoders.sequence import words
from twinlens.encoders.tokens import Tokens
from twinlens.encoders.transformer import sincos
from twinlens.errors import InputError

_KIND = "roberta-prelayernorm"  # Andreas Madsen's RoBERTa with norms before each block: ours is one of these
_MODULES = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "WordWeights": "sentence_transformers.sentence_transformer.modules.word_weights.WordWeights",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}  # as version 6 writes them
_TRANSFORMER = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}  # there too
_FORMAT = {"format": "pt"}
_TABLE = "embeddings.word_embeddings.weight"  # it holds what ours is once multiplied
_SPECIAL = {
    "pad_token": ("[PAD]", "<pad>", "<|endoftext|>"), "unk_token": ("[UNK]", "<unk>"), "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"), "mask_token": ("[MASK]", "<mask>"),
}  # fmt: skip


def save_transformers(encoder: nn.Module, tokenizer: Tokenizer, path: str | Path, *, length: int) -> None:
    """Writes a folder that transformers opens: `AutoModel.from_pretrained(path)` and `AutoTokenizer` likewise.

    The model's last hidden state is what `encoder.tokens` gives; its pooler is no part of the encoder. Ours is written
    as RoBERTa with norms before each block, whose table of positions is filled with the fixed ones. How much each word
    counts in the mean stands beside it, in word_weights.safetensors.

    Args:
        encoder: One of `twinlens.encoders.sequence.words` or of `twinlens.encoders.hub.text_encoder`.
        tokenizer: The one that it was trained with.
        path: A folder that does not exist yet or is empty.
        length: The most words of a text, special ones included; longer texts are cut.
    """
    with _made(Path(path)) as folder:
        _save(encoder, tokenizer, folder, length)
        assert isinstance(encoder, Tokens | TextEncoder)
        if encoder.word_weights is not None:
            save_file({"word_weights": encoder.word_weights.detach().float().cpu()}, folder / WEIGHTS)


def save_sentence_transformer(encoder: nn.Module, tokenizer: Tokenizer, path: str | Path, *, length: int) -> None:
    """Writes a folder that `sentence_transformers.SentenceTransformer(path)` opens, with the same embeddings.

    transformers opens it as well; arguments and errors are those of `save_transformers`.
    """
    with _made(Path(path)) as folder:
        _save(encoder, tokenizer, folder, length)
        assert isinstance(encoder, Tokens | TextEncoder)
        if isinstance(encoder, Tokens) and not encoder.pool:
            raise InputError("sentence-transformers cannot put tokens side by side: train with --pool true.")
        modes = ("mean",) if isinstance(encoder, Tokens) else encoder.pooling.modes
        mode = modes[0] if len(modes) == 1 else list(modes)
        pooling = {"embedding_dimension": encoder.width, "pooling_mode": mode, "include_prompt": True}
        steps = list(encoder.steps) if isinstance(encoder, TextEncoder) else []
        written = [_module(folder, 0, "Transformer")]
        if encoder.word_weights is not None:
            written.append(_weights(folder, encoder.word_weights, tokenizer))
        written.append(_module(folder, len(written), "Pooling", pooling))
        written += [_step(folder, place, step) for place, step in enumerate(steps, start=len(written))]
        _write(folder / "modules.json", written)
        _write(folder / "sentence_bert_config.json", _TRANSFORMER | {"max_seq_length": length})
        facts = {"model_type": "SentenceTransformer", "__version__": _versions(), "similarity_fn_name": "cosine",
                 "default_prompt_name": None, "prompts": {}}  # fmt: skip
        _write(folder / "config_sentence_transformers.json", facts)


def load_words(path: str | Path) -> Tokens:
    """The encoder that `save_transformers` or `save_sentence_transformer` wrote, as one of ours again.

    It takes views as long as the folder has positions for. InputError for a folder that is none of ours: those are
    opened by `twinlens.encoders.hub.text_encoder`.
    """
    folder = Path(path)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
        length = config["max_position_embeddings"] - config["pad_token_id"] - 1
        counts, *_ = steps_of(folder, list(listed(folder))[1:])
        positions = weights["embeddings.position_embeddings.weight"][-length:]
        own = config["model_type"] == _KIND and config["type_vocab_size"] == 1
        if (
            counts is None
            or not own
            or not torch.allclose(positions, sincos((length,), config["hidden_size"]), rtol=0, atol=1e-6)
        ):
            raise ValueError("it has learnt places or types, or does not weigh words")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(
            f"{folder} holds no encoder that Twinlens wrote: open it by its name, transformers/{folder}."
        ) from error
    encoder = words(
        config["vocab_size"], length, width=config["hidden_size"], depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"], causal=config["is_decoder"], dropout=config["hidden_dropout_prob"],
    )  # fmt: skip
    table: Any = encoder.embed
    weights[_TABLE] /= table.scale
    state = {ours: _stacked(weights, theirs) for ours, theirs in _names(len(encoder.body.blocks))}
    encoder.load_state_dict(state | {"word_weights": counts})
    return encoder.eval()


@contextmanager
def _made(path: Path) -> Iterator[Path]:
    """A folder to write to, which bears its name only when it is whole."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists and is not empty: name another folder, or remove it first.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _save(encoder: nn.Module, tokenizer: Tokenizer, folder: Path, length: int) -> None:
    if not isinstance(encoder, Tokens | TextEncoder) or not encoder.vocabulary:
        raise InputError(
            f"{type(encoder).__name__} cannot be written for transformers: expected an encoder of texts, words or "
            f"transformers/NAME; of two side by side its .text."
        )
    if tokenizer.vocabulary > encoder.vocabulary:
        raise InputError(
            f"the tokenizer knows {tokenizer.vocabulary} words and the encoder {encoder.vocabulary}: give the one that "
            f"the encoder was trained with."
        )
    least = len(tokenizer.prefix) + len(tokenizer.suffix) + 1
    if length < least or (isinstance(encoder, TextEncoder) and length > encoder.longest):
        most = f" to {encoder.longest}" if isinstance(encoder, TextEncoder) else " or more"
        raise InputError(f"length is {length}: expected {least}{most} words.")
    pad = _save_tokenizer(tokenizer, folder, length)
    if isinstance(encoder, Tokens):
        _save_words(encoder, folder, pad=pad, length=length)
    else:
        module: Any = encoder.module
        module.save_pretrained(folder)


def _save_tokenizer(tokenizer: Tokenizer, folder: Path, length: int) -> int:
    """Writes the tokenizer's files; returns the id that fills up."""
    tokenizer.save(folder / "tokenizer.json")
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    known = {token["content"]: int(token["id"]) for token in added}
    names = {
        key: found
        for key, usual in _SPECIAL.items()
        if (found := next((t for t in usual if t in known), None)) is not None
    }
    if "pad_token" not in names:
        raise InputError(f"the tokenizer has none of {', '.join(_SPECIAL['pad_token'])} to fill texts up: add one.")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": length, "padding_side": "right",
                "truncation_side": "right", "clean_up_tokenization_spaces": False,
                "model_input_names": ["input_ids", "attention_mask"]}  # fmt: skip
    _write(folder / "tokenizer_config.json", settings | names)
    _write(folder / "special_tokens_map.json", names)
    return known[names["pad_token"]]


def _save_words(encoder: Tokens, folder: Path, *, pad: int, length: int) -> None:
    width, rows = encoder.width, max(length, encoder.count)
    first: Any = encoder.body.blocks[0]
    table: Any = encoder.embed
    config = {
        "model_type": _KIND, "architectures": ["RobertaPreLayerNormModel"], "dtype": "float32",
        "vocab_size": encoder.vocabulary, "hidden_size": width, "num_hidden_layers": len(encoder.body.blocks),
        "num_attention_heads": first.attend.heads, "intermediate_size": first.mlp[0].out_features,
        "hidden_act": "gelu", "layer_norm_eps": first.norm1.eps, "hidden_dropout_prob": encoder.drop.share,
        "attention_probs_dropout_prob": 0.0, "max_position_embeddings": pad + 1 + rows, "type_vocab_size": 1,
        "pad_token_id": pad, "bos_token_id": None, "eos_token_id": None, "is_decoder": encoder.causal,
        "use_cache": False, "tie_word_embeddings": False,
    }  # fmt: skip
    state, weights = encoder.state_dict(), {}
    for ours, theirs in _names(len(encoder.body.blocks)):
        for name, part in zip(theirs, state[ours].chunk(len(theirs)), strict=True):
            weights[name] = part.float().contiguous().clone()
    weights[_TABLE] *= table.scale
    places = torch.zeros(pad + 1 + rows, width)
    places[pad + 1 :] = sincos((rows,), width)  # RoBERTa counts places from behind the id that fills up
    weights["embeddings.position_embeddings.weight"] = places
    weights["embeddings.token_type_embeddings.weight"] = torch.zeros(1, width)
    weights["pooler.dense.weight"] = torch.zeros(width, width)  # theirs always has one: of zeros it says nothing,
    weights["pooler.dense.bias"] = torch.zeros(width)  # and left out it would be drawn anew each time
    save_file({name: weight.cpu() for name, weight in weights.items()}, folder / "model.safetensors", _FORMAT)
    _write(folder / "config.json", config)


def _names(depth: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each of our parameters, and those of theirs that it holds one after the other."""
    pairs: dict[str, tuple[str, ...]] = {"embed_norm": ("embeddings.LayerNorm",), "body.norm": ("LayerNorm",)}
    for i in range(depth):
        block, layer = f"body.blocks.{i}", f"encoder.layer.{i}"
        attention = f"{layer}.attention"
        pairs |= {
            f"{block}.norm1": (f"{attention}.LayerNorm",),
            f"{block}.attend.qkv": tuple(f"{attention}.self.{part}" for part in ("query", "key", "value")),
            f"{block}.attend.project": (f"{attention}.output.dense",),
            f"{block}.norm2": (f"{layer}.intermediate.LayerNorm",),
            f"{block}.mlp.0": (f"{layer}.intermediate.dense",),
            f"{block}.mlp.2": (f"{layer}.output.dense",),
        }
    yield "embed.weight", (_TABLE,)
    for ours, theirs in pairs.items():
        for kind in ("weight", "bias"):
            yield f"{ours}.{kind}", tuple(f"{each}.{kind}" for each in theirs)


def _stacked(weights: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    return torch.cat([weights[name] for name in names])


def _module(folder: Path, place: int, kind: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The entry of a module in modules.json; its settings are written to a folder of its own."""
    path = f"{place}_{kind}" if place else ""
    if settings is not None:
        (folder / path).mkdir()
        _write(folder / path / "config.json", settings)
    return {"idx": place, "name": str(place), "path": path, "type": _MODULES[kind]}


def _weights(folder: Path, weights: Tensor, tokenizer: Tokenizer) -> dict[str, Any]:
    """The entry of the module that weighs words (V,), of which the tokenizer may know fewer."""
    weights, said = weights.detach().float().cpu(), tokenizer.words(len(weights))
    settings = {"vocab": said, "word_weights": dict(zip(said, weights.tolist(), strict=True)), "unknown_word_weight": 1}
    entry = _module(folder, 1, "WordWeights", settings)
    save_file({"emb_layer.weight": weights[:, None].clone()}, folder / entry["path"] / "model.safetensors", _FORMAT)
    return entry


def _step(folder: Path, place: int, step: nn.Module) -> dict[str, Any]:
    keys = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
    if isinstance(step, Normalize):
        return _module(folder, place, "Normalize", keys)
    assert isinstance(step, Dense)
    linear, activation = step.linear, type(step.activation)
    settings = {"in_features": linear.in_features, "out_features": linear.out_features, "bias": linear.bias is not None,
                "activation_function": f"{activation.__module__}.{activation.__name__}", **keys}  # fmt: skip
    entry = _module(folder, place, "Dense", settings)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in step.state_dict().items()}
    save_file(weights, folder / entry["path"] / "model.safetensors", _FORMAT)
    return entry


def _versions() -> dict[str, str]:
    found = {"pytorch": str(torch.__version__)}
    for package, name in (("transformers", "transformers"), ("sentence_transformers", "sentence-transformers")):
        try:
            found[package] = version(name)
        except PackageNotFoundError:
            found[package] = {"transformers": "5.0.0", "sentence_transformers": "6.0.0"}[
                package
            ]  # whose format this is
    return found


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
