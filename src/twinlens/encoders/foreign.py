"""Encoders from elsewhere: any module, a model of timm, a model of transformers.

timm and transformers are extras, imported where they are used.
"""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from twinlens.encoders.contract import evaluating
from twinlens.encoders.pretrained import extra
from twinlens.encoders.pretrained import transformer as pretrained_transformer
from twinlens.errors import InputError, unknown

_ACCEPTED = (
    "a tensor (N, D), (N, D, H, W) or (N, T, D), a tuple or list that starts with one, or an output of transformers"
)


class Foreign(nn.Module):
    """Any module as an encoder: what it returns is reduced to (N, D)."""

    def __init__(self, module: nn.Module, dim: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.module = module
        self.dim, self.shape = dim, shape

    def forward(self, view: Tensor) -> Tensor:
        """`view` (N, C, H, W) -> (N, D)."""
        return _reduce(_call(self.module, view))


def wrap(module: nn.Module, example: Tensor) -> nn.Module:
    """`module` as an encoder, its width found from what it makes of `example` (1, C, H, W).

    It may return a tensor (N, D), (N, D, H, W) or (N, T, D), of which the mean over pixels or tokens is taken; a tuple
    or list, of which the first counts; or an output of transformers, of which the pooled one counts, else the mean of
    the last hidden state. A module that is an encoder already comes back as it is. Anything else is an InputError.
    """
    output = _try(module, example)
    dim = _reduce(output).shape[1]
    if isinstance(output, Tensor) and output.ndim == 2 and getattr(module, "dim", None) == dim:
        return module
    return Foreign(module, dim, tuple(example.shape[1:]))


def example(modality: str, sizes: Mapping[str, int]) -> Tensor:
    """A view that such an encoder takes: (1, C, H, W) of a picture, (1, T) ids of a text."""
    if modality.split("+")[0] == "text":
        return torch.zeros(1, sizes["length"], dtype=torch.int64)
    return torch.zeros(1, sizes["channels"], sizes["size"], sizes["size"])


def named(name: str, channels: int, size: int, *, pretrained: bool = False) -> nn.Module:
    """The encoder "timm/NAME" or "transformers/NAME", the latter's NAME being a name of the hub or a local folder.

    Args:
        name: Name of the model behind the name of the package that has it.
        channels: Channels of a view.
        size: Height and width of a view, in pixels.
        pretrained: Start a model of timm from its published weights; those of transformers always come with theirs.
    """
    package, _, model = name.partition("/")
    if package not in ("timm", "transformers") or not model:
        raise InputError(f"unknown encoder {name!r}: a foreign one is timm/NAME or transformers/NAME-OR-FOLDER.")
    module = _timm(model, channels, size, pretrained) if package == "timm" else pretrained_transformer(model)
    return wrap(module, torch.zeros(1, channels, size, size))


def _timm(name: str, channels: int, size: int, pretrained: bool) -> nn.Module:
    timm = extra("timm", "vision")
    if not timm.is_model(name):
        raise unknown("timm model", name, get_close_matches(name, timm.list_models(), n=3, cutoff=0.0))
    settings = {"pretrained": pretrained, "num_classes": 0, "in_chans": channels}
    try:
        module: nn.Module = timm.create_model(name, img_size=size, **settings)  # what attends has positions for a size
    except TypeError:
        module = timm.create_model(name, **settings)
    return module


def _call(module: nn.Module, view: Tensor) -> object:
    if "pixel_values" in inspect.signature(module.forward).parameters:
        return module(pixel_values=view)
    return module(view)


def _try(module: nn.Module, example: Tensor) -> object:
    """What `module` returns for `example`, while nothing in it learns or draws."""
    try:
        with evaluating(module), torch.no_grad():
            return _call(module, example)
    except (RuntimeError, TypeError, ValueError) as error:
        shape, reason = tuple(example.shape), str(error).strip().splitlines()[0]
        raise InputError(f"{type(module).__name__} cannot encode a view of shape {shape}: {reason}") from error


def _reduce(output: object) -> Tensor:
    """Whatever an encoder returned -> (N, D)."""
    if isinstance(output, Tensor) and output.ndim in (2, 3, 4):
        axes = {2: (), 3: (1,), 4: (2, 3)}[output.ndim]  # tokens, or pixels
        return output.mean(dim=axes) if axes else output
    if isinstance(output, tuple | list) and output:
        return _reduce(output[0])
    if isinstance(hidden := getattr(output, "last_hidden_state", None), Tensor):
        pooled = getattr(output, "pooler_output", None)
        return _reduce(hidden if pooled is None else pooled)
    raise InputError(f"the encoder returned {_describe(output)}, expected {_ACCEPTED}: wrap it in a module that does.")


def _describe(output: object) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    return f"a {type(output).__name__}"
