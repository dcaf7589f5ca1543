"""From names and settings to makers of views, encoders and methods with initial weights."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from twinlens import discover
from twinlens.batch import Maker
from twinlens.encoders import foreign, hub
from twinlens.encoders.contract import CausalEncoder, TokenEncoder
from twinlens.encoders.towers import Towers
from twinlens.errors import InputError, unknown
from twinlens.method import Method
from twinlens.views.paired import Paired

_DEFAULT = {"image": ("small", "vit"), "text": ("words", "words")}  # where a method asks for tokens: the second


def kinds(modality: str) -> list[str]:
    """The different modalities of data, whose parts are joined by "+"."""
    return list(dict.fromkeys(modality.split("+")))


def default(modality: str, *, tokens: bool) -> str:
    """The name of the encoder where none is given, for methods that need tokens or for others."""
    return "+".join(_DEFAULT[kind][tokens] for kind in kinds(modality))


def factories(name: str, modality: str) -> dict[str, Callable[..., nn.Module]]:
    """The factory that each modality's encoder is made by; InputError for names that none knows.

    Two encoders side by side are named as "small+words" or "timm/NAME+transformers/NAME".
    """
    names, of = name.split("+"), kinds(modality)
    if len(names) != len(of):
        raise InputError(
            f"encoder is {name!r}: {modality} needs {len(of)}, one for each of {' and '.join(of)}, such as "
            f"{default(modality, tokens=False)}."
        )
    return {kind: _factory(one, kind) for one, kind in zip(names, of, strict=True)}


def _factory(name: str, kind: str) -> Callable[..., nn.Module]:
    if "/" in name:
        return foreign.named if kind == "image" else hub.text_encoder
    if name not in discover.encoders(kind):
        raise unknown("encoder", name, discover.encoders(kind))
    return discover.encoders(kind)[name]


def encoder_settings(name: str, modality: str) -> discover.Settings:
    """Every setting of the encoder; of two side by side, each bears its modality's name: image_width, text_width."""
    made = factories(name, modality)
    if len(made) == 1:
        return discover.settings(next(iter(made.values())))
    found = discover.settings(Towers)
    for kind, factory in made.items():
        found |= {f"{kind}_{setting}": value for setting, value in discover.settings(factory).items()}
    return found


def encoder(name: str, modality: str, sizes: Mapping[str, int], settings: Mapping[str, Any], *, seed: int) -> nn.Module:
    """The encoder of that name for views of these sizes, its weights drawn from `seed`."""
    torch.manual_seed(seed)
    made = factories(name, modality)
    if len(made) == 1:
        return _made(name, next(iter(made.values())), sizes, settings)
    towers = []
    for one, (kind, factory) in zip(name.split("+"), made.items(), strict=True):
        own = {key.removeprefix(f"{kind}_"): value for key, value in settings.items() if key.startswith(f"{kind}_")}
        towers.append(_made(one, factory, sizes, own))
    return Towers(towers[0], towers[1], **{key: settings[key] for key in discover.settings(Towers) if key in settings})


def _made(
    name: str, factory: Callable[..., nn.Module], sizes: Mapping[str, int], settings: Mapping[str, Any]
) -> nn.Module:
    if factory is foreign.named:
        return foreign.named(name, sizes["channels"], sizes["size"], **settings)
    if factory is hub.text_encoder:
        return hub.text_encoder(name.partition("/")[2], sizes["length"], **settings)
    return factory(*(sizes[size] for size in discover.sizes(factory)), **settings)


def view_settings(modality: str) -> discover.Settings:
    """Every setting of the views of these modalities."""
    return {name: value for kind in kinds(modality) for name, value in discover.settings(_maker(kind)).items()}


def maker(modality: str, settings: Mapping[str, Any]) -> Maker:
    """What makes views of samples of that modality."""
    parts = []
    for kind in modality.split("+"):
        known = discover.settings(_maker(kind))
        parts.append(_maker(kind)(**{name: value for name, value in settings.items() if name in known}))
    return parts[0] if len(parts) == 1 else Paired(parts)


def _maker(kind: str) -> type[Maker]:
    if kind not in discover.makers():
        raise unknown("modality", kind, discover.makers())
    return discover.makers()[kind]


def method(
    name: str, encoder: nn.Module, settings: Mapping[str, Any], *, architecture: str, samples: int, seed: int
) -> Method:
    """The method of that name around an encoder, which is called `architecture`; its heads are drawn from `seed`.

    A method that keeps something for each of the data's `samples` has an argument of that name without a default.
    """
    cls = discover.method(name)
    kind = discover.encoder_kind(cls)
    if kind in (TokenEncoder, CausalEncoder) and not isinstance(encoder, TokenEncoder):
        raise InputError(f"{name} needs an encoder that gives tokens: vit or words instead of {architecture!r}.")
    if kind is CausalEncoder and not encoder.causal:
        raise InputError(f"{name} predicts what its encoder has not seen yet: set --causal true.")
    if kind is TokenEncoder and encoder.vocabulary and cls.views.strength != "weak":
        raise InputError(f"{name} compares the tokens of its views, which are words, and texts differ in how many.")
    torch.manual_seed(seed)
    return cls(encoder, **settings, **({"samples": samples} if discover.counts_samples(cls) else {}))
