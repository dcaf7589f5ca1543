"""The modules of a folder of sentence-transformers: what comes behind its model, and with which weights."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from twinlens.encoders.pooling import Dense, Normalize
from twinlens.encoders.pretrained import refuse_pickles
from twinlens.errors import InputError

WEIGHTS, _MODEL = "word_weights.safetensors", "model.safetensors"
_READ = ("Transformer", "WordWeights", "Pooling", "Dense", "Normalize")


def listed(folder: Path) -> Iterator[tuple[str, str]]:
    """Kind and path of the modules of a folder of sentence-transformers, nothing for others."""
    for each in json_of(folder / "modules.json", []):
        kind, path = str(each.get("type")), str(each.get("path", ""))
        if not kind.startswith("sentence_transformers.") or kind.split(".")[-1] not in _READ:
            raise InputError(f"{folder} has a module {kind}: expected {', '.join(_READ)} of sentence-transformers.")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise InputError(f"{folder} has a module at {path!r}: expected a folder inside it.")
        yield kind.split(".")[-1], path


def steps_of(folder: Path, parts: list[tuple[str, str]]) -> tuple[Tensor | None, tuple[str, ...], list[nn.Module]]:
    """How much each word counts in the mean (V,), the modes of pooling, and what comes after it.

    Of a folder without modules, nothing, unless its model is one of ours, with weights of words beside it.
    """
    if not parts and (folder / WEIGHTS).is_file():
        return _tensor(folder / WEIGHTS, "word_weights"), ("mean",), []
    weights: Tensor | None = None
    modes: tuple[str, ...] = ()
    steps: list[nn.Module] = []
    if parts and parts[0][0] == "WordWeights":
        weights = _tensor(folder / parts[0][1] / _MODEL, "emb_layer.weight")[:, 0]
    for place, (kind, path) in enumerate(parts if weights is None else parts[1:]):
        if (kind == "Pooling") != (place == 0) or kind in ("Transformer", "WordWeights"):
            raise InputError(f"{folder} has {kind} out of place: expected Transformer, WordWeights, Pooling, the rest.")
        settings = json_of(folder / path / "config.json", {})
        if settings.get("module_input_name", "sentence_embedding") != "sentence_embedding":
            raise InputError(f"{folder / path} works on {settings['module_input_name']}: expected sentence_embedding.")
        if kind == "Pooling":
            modes = _modes(settings)
        else:
            steps.append(_dense(folder / path, settings) if kind == "Dense" else Normalize())
    if weights is not None and modes != ("mean",):
        raise InputError(f"{folder} weighs words and pools by {', '.join(modes) or 'nothing'}: expected the mean.")
    return weights, modes, steps


def _modes(settings: dict[str, Any]) -> tuple[str, ...]:
    """Before sentence-transformers 6 each mode was a switch of its own, in this order."""
    given = settings.get("pooling_mode")
    if given:
        return (given,) if isinstance(given, str) else tuple(given)
    switches = {"cls_token": "cls", "max_tokens": "max", "mean_tokens": "mean",
                "mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "weightedmean_tokens": "weightedmean",
                "lasttoken": "lasttoken"}  # fmt: skip
    return tuple(mode for key, mode in switches.items() if settings.get(f"pooling_mode_{key}")) or ("mean",)


def _dense(folder: Path, settings: dict[str, Any]) -> Dense:
    if settings.get("use_residual"):
        raise InputError(f"{folder} adds its input to what it gives (use_residual): expected a plain linear layer.")
    name = str(settings.get("activation_function") or "torch.nn.Identity")  # one of torch, found by name and not loaded
    layer = Dense(
        settings["in_features"], settings["out_features"], bias=settings.get("bias", True),
        activation=name.split(".")[-1] if name.startswith("torch.nn.") else name,
    )  # fmt: skip
    try:
        layer.load_state_dict(_loaded(folder / _MODEL))
    except RuntimeError as error:
        raise InputError(f"{folder} holds other weights than it says: {str(error).splitlines()[0]}") from error
    return layer


def _tensor(file: Path, name: str) -> Tensor:
    found = _loaded(file)
    if name not in found:
        raise InputError(f"{file} holds no {name}: save it anew.")
    return found[name]


def _loaded(file: Path) -> dict[str, Tensor]:
    refuse_pickles(file.parent)
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file.parent} holds no weights: {str(error).splitlines()[0]}") from error


def json_of(path: Path, otherwise: Any) -> Any:
    """What a file of JSON holds, `otherwise` where there is none; InputError where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else otherwise
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}): fetch or save it anew.") from error
