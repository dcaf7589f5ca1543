"""An encoder's layers, from input to output, whatever the encoder: what fine-tuning freezes first and moves least."""

from typing import NamedTuple

from torch import nn

_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Layer(NamedTuple):
    """Modules that follow each other; their parameters, and those that lie beside them in no module of a layer."""

    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]


def layers(encoder: nn.Module) -> list[Layer]:
    """The layers of an encoder, in the order in which its modules are defined; every parameter is in exactly one.

    An encoder's children are its layers, with three exceptions. A list (Sequential, ModuleList, ModuleDict) stands for
    what it lists; lists within it are one layer each. A child with more than half of what has parameters of its own in
    its parent (counted, whatever the size: a large table of words is no depth) stands for its own children, but an item
    of a list does so only where it has all. A part without a matrix (a norm, an activation) joins the layer before it,
    or after it where it is the first. What a module holds besides its children (a class token, positions) joins the
    first of them; what several layers share is the first one's.

    So a ViT is its patches' embedding and its blocks, the last one with the norm behind it; a ResNet its stem and its
    blocks; the small network its four layers.
    """
    found: list[Layer] = []
    taken: set[nn.Parameter] = set()
    complete = True  # whether the last layer has a matrix
    for beside, module in _parts(encoder) if _count(encoder) else []:
        inside = [parameter for parameter in module.parameters() if parameter not in taken]
        new = tuple(dict.fromkeys(parameter for parameter in (*beside, *inside) if parameter not in taken))
        taken.update(new)
        deep = any(parameter.ndim > 1 for parameter in inside)
        if found and not (complete and deep):
            found[-1] = Layer((*found[-1].modules, module), found[-1].parameters + new)
            complete = complete or deep
        else:
            found.append(Layer((module,), new))
            complete = deep
    return found


def _parts(module: nn.Module) -> list[tuple[list[nn.Parameter], nn.Module]]:
    """What a module with parameters is made of, in order, each part with parameters that lie beside it."""
    parts: list[tuple[list[nn.Parameter], nn.Module]] = []
    for child in module.children():
        share = _count(child) / _count(module)
        if share == 1:
            parts += _parts(child)
        elif isinstance(module, _LISTS):
            parts.append(([], child))
        elif isinstance(child, _LISTS):
            parts += [([], item) for item in child.children()]
        else:
            parts += _parts(child) if share > 0.5 else [([], child)]
    if not parts:
        return [([], module)]
    beside, first = parts[0]
    parts[0] = [*module.parameters(recurse=False), *beside], first
    return parts


def _count(module: nn.Module) -> int:
    """How many modules in it, itself included, have parameters of their own."""
    return sum(any(True for _ in part.parameters(recurse=False)) for part in module.modules())
