"""Test samples that are among the training ones, found by their content: they would be remembered, not recognised."""

from collections.abc import Iterator
from hashlib import blake2b

import torch

from twinlens.batch import Samples
from twinlens.errors import InputError


def shared(train: Samples, test: Samples) -> torch.Tensor:
    """The places (M,) in `test` of samples whose raw content is also in `train`, equal to the last bit."""
    known = set(contents(train))
    return torch.tensor([i for i, content in enumerate(contents(test)) if content in known], dtype=torch.int64)


def refuse(train: Samples, test: Samples) -> None:
    """InputError where a test sample is among the training ones."""
    found = shared(train, test)
    if not len(found):
        return
    first = int(found[0])
    name = f"the first is {test.names[first]}" if test.names is not None else f"the first is number {first}"
    raise InputError(
        f"{len(found)} of {len(test)} test samples of {test.name} are among its training samples ({name}): remove them "
        f"from either part, or allow it with --allow_leaks (allow_leaks=True)."
    )


def contents(samples: Samples) -> Iterator[bytes]:
    """A hash of what each sample is: its `identity`, else its raw content; of data in parts that of the first."""
    samples = getattr(samples, "parts", (samples,))[0]
    if (identity := samples.identity) is not None:
        yield from (number.to_bytes(8, "big", signed=True) for number in identity.tolist())
        return
    for index in torch.arange(len(samples)).split(1024):
        for row in samples.fetch(index)[0].cpu().numpy():
            yield blake2b(row.tobytes(), digest_size=16).digest()
