"""An encoder's layers, from input to output, whatever the encoder: what fine-tuning freezes first and moves least."""

from itertools import chain
from typing import NamedTuple

from torch import nn

_Part = list[nn.Module | nn.Parameter]
_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Layer(NamedTuple):
    """Modules that follow each other, and their parameters (with those that belong to no module of a layer)."""

    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]


def layers(encoder: nn.Module) -> list[Layer]:
    """The layers of an encoder, in the order in which its modules are defined; every parameter is in exactly one.

    An encoder's children are its layers, with three exceptions. A list (Sequential, ModuleList, ModuleDict) stands for
    what it lists; lists within it are one layer each. A child with more than half of the parameters of its module
    stands for its own children, but an item of a list does so only where it holds all. A part without a matrix (a norm,
    an activation) joins the layer before it, or after it where it is the first. What a module holds besides its
    children (a class token, positions) joins the first of them; what several layers share is the first one's.

    So a ViT is its patches' embedding and its blocks, the last one with the norm behind it; a ResNet its stem and its
    blocks; the small network its four layers.
    """
    joined: list[_Part] = []
    for part in _parts(encoder) if _size(encoder) else []:
        if joined and not (_deep(part) and _deep(joined[-1])):
            joined[-1] += part
        else:
            joined.append(part)
    taken: set[nn.Parameter] = set()
    found = []
    for part in joined:
        modules = tuple(item for item in part if isinstance(item, nn.Module))
        own = (item for item in part if isinstance(item, nn.Parameter))
        inside = chain(own, *(module.parameters() for module in modules))
        parameters = tuple(dict.fromkeys(item for item in inside if item not in taken))
        taken.update(parameters)
        found.append(Layer(modules, parameters))
    return found


def _parts(module: nn.Module) -> list[_Part]:
    """What a module with parameters is made of, before parts are joined."""
    parts: list[_Part] = []
    for child in module.children():
        share = _size(child) / _size(module)
        if share == 1:
            parts += _parts(child)
        elif isinstance(module, _LISTS):
            parts.append([child])
        elif isinstance(child, _LISTS):
            parts += [[item] for item in child.children()]
        else:
            parts += _parts(child) if share > 0.5 else [[child]]
    if not parts:
        return [[module]]
    parts[0] = [*module.parameters(recurse=False), *parts[0]]
    return parts


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _deep(part: _Part) -> bool:
    return any(p.ndim > 1 for item in part if isinstance(item, nn.Module) for p in item.parameters())
