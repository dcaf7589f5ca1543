"""What a user did that cannot work, said in one sentence."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Input that cannot be used. The message names the value, what was expected and the way out.

    The command line prints the message alone and exits with status 2; any other exception is a defect of ours and
    keeps its traceback.
    """


class NotLearning(RuntimeError):
    """A run that ended because it does not learn: it diverged, or it collapsed and was told to stop at that.

    The command line exits with status 3, so that scripts can tell it from bad input.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among `known`, with the nearest names, or all of them where none is near."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(names)}."
    return InputError(f"unknown {kind} {name!r}: {hint}")
