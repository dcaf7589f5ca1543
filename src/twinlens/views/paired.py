"""Views of samples in parts: of each part its own, as its modality makes them."""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from twinlens import random
from twinlens.batch import Maker, Raw, Views
from twinlens.errors import InputError


class Paired(Maker):
    """A picture and its caption, a question and its answer: view v is one of part v, counted round.

    A method that asks for the parts themselves (`Views.paired`) gets one view of each. What a frozen encoder is
    evaluated on is the first part; the others have makers of their own in `parts`.
    """

    def __init__(self, parts: Sequence[Maker]) -> None:
        self.parts = tuple(parts)
        self.takes = sum(part.takes for part in self.parts)  # type: ignore[misc]

    @property
    def sizes(self) -> Mapping[str, int]:
        return {name: size for part in self.parts for name, size in part.sizes.items()}

    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        if views.small or views.moving or views.task:
            raise InputError(
                "these samples come in parts, of which small views, moments or tasks cannot be made: choose another "
                "method, or give one part alone."
            )
        count = len(self.parts) if views.paired else views.large
        own = list(self.apart(raw))
        one = Views(large=1, strength=views.strength)
        return tuple(
            self.parts[view % len(own)].create(own[view % len(own)], random.fold(key, view), one)[0]
            for view in range(count)
        )

    def clean(self, raw: Raw) -> Tensor:
        return self.parts[0].clean(next(self.apart(raw)))

    def apart(self, raw: Raw) -> Iterator[Raw]:
        """Each part's raw samples."""
        start = 0
        for part in self.parts:
            yield raw[start : start + part.takes]
            start += part.takes
