"""Views of texts: the same text twice, spans of it, words left out or hidden."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from twinlens import random
from twinlens.batch import PAD, Maker, Raw, Views
from twinlens.errors import InputError, unknown
from twinlens.views.masks import deleted, some_words

Pair = Literal["same", "spans", "neighbours"]


class TextViews(Maker):
    """Windows of a text, (N, T) int64 ids; PAD fills up what is shorter than the others.

    Raw texts are (ids (S,) int32 of all one after the other, lengths (N,), prefix (p,), suffix (s,)): the words, and
    the special ids that are put around every window. Strong and asymmetric views are cut as `pair` says, and are as
    long as the longest of the batch needs: with "same" they differ by the encoder's dropout alone (Gao et al. 2021,
    "SimCSE", arXiv 2104.08821, section 3), or by words that are left out or hidden here as well. Weak views (masked and
    generative methods) are one random span, `length` long for all. Moving views are spans that follow each other. The
    clean view is the beginning; a text that is longer may be embedded `whole`, as the mean over all its windows.

    Args:
        length: T, the most words of a view, special ones included; 128 (Devlin et al. 2019, appendix A.2, for nine
            tenths of the steps).
        whole: Embed a text longer than `length` as the mean over windows that follow each other, instead of by its
            beginning.
        pair: What two views of a text are: the "same" words, its beginning; two random "spans" (Giorgi et al. 2021,
            "DeCLUTR", arXiv 2006.03659); or a span and the one after it, its "neighbours", half each of what is there.
        words_deleted: Share of the words of a strong view that are left out (Wu et al. 2020, "CLEAR", arXiv
            2012.15466).
        words_hidden: Share of the words of a strong view that are replaced by the unknown word's id, `unknown`.
        unknown: That id; 1 in a tokenizer that is trained here.
        small_length: The most words of a small view (multi-crop), a random span; unless given half of `length`.
    """

    takes = 4

    def __init__(
        self, *, length: int = 128, whole: bool = False, pair: Pair = "same", words_deleted: float = 0.0,
        words_hidden: float = 0.0, unknown: int = 1, small_length: int | None = None,
    ) -> None:  # fmt: skip
        _check(pair, length=length, small_length=small_length)
        if min(words_deleted, words_hidden) < 0 or max(words_deleted, words_hidden) >= 1:
            raise InputError(
                f"words_deleted is {words_deleted} and words_hidden {words_hidden}: expected shares of 0 or more and "
                f"below 1."
            )
        self.length, self.pair, self.unknown = length, pair, unknown
        self.deleted, self.hidden = words_deleted, words_hidden
        self.whole = whole
        self.small_length = max(length // 2, 3) if small_length is None else small_length

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"length": self.length}

    def create(self, raw: Raw, key: Tensor, views: Views) -> tuple[Tensor, ...]:
        room, lengths = self._room(raw, self.length), raw[1]  # of words that are no special ones
        keys = [random.fold(key, view) for view in range(views.large + views.small)]
        if views.moving:
            windows = _following(key, lengths, room, views.large)
        elif views.strength == "weak":
            windows = [_span(one, lengths, room) for one in keys[: views.large]]
        elif self.pair == "neighbours":
            windows = _following(key, lengths, room, views.large)
        else:
            windows = [
                _span(one, lengths, room) if self.pair == "spans" else _beginning(lengths, room)
                for one in keys[: views.large]
            ]
        if views.strength == "weak":
            return tuple(self._whole(raw, start, count, self.length) for start, count in windows)
        small = self._room(raw, self.small_length)
        windows += [_span(one, lengths, small) for one in keys[views.large :]]
        return tuple(self._spoilt(raw, *window, one) for window, one in zip(windows, keys, strict=True))

    def clean(self, raw: Raw) -> Tensor:
        return self._whole(raw, *_beginning(raw[1], self._room(raw, self.length)))

    def pieces(self, raw: Raw) -> tuple[Tensor, Tensor]:
        """All windows of the texts, (M, T), and whose they are, (M,): the clean views, or all if they count `whole`."""
        lengths, room = raw[1], self._room(raw, self.length)
        if not self.whole or int(lengths.max()) <= room:
            return self.clean(raw), torch.arange(len(lengths), device=lengths.device)
        count = ((lengths + room - 1) // room).clamp(min=1)  # (N,) windows
        owner = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), count)  # (M,)
        number = torch.arange(len(owner), device=lengths.device) - (count.cumsum(0) - count)[owner]
        start = number * room
        before = lengths.cumsum(0) - lengths
        words = _words_at(raw[0], before[owner] + start, (lengths[owner] - start).clamp(max=room))
        return _framed(words, (words >= 0).sum(1), raw[2], raw[3]), owner

    def _room(self, raw: Raw, length: int) -> int:
        room = length - len(raw[2]) - len(raw[3])
        if room < 1:
            raise InputError(f"a view of {length} words has no room beside {length - room} special ones.")
        return room

    def _spoilt(self, raw: Raw, start: Tensor, count: Tensor, key: Tensor) -> Tensor:
        """A window without the words that are left out, and with some hidden; one word at least stays as it is."""
        if not self.deleted and not self.hidden:
            return self._whole(raw, start, count)
        words = deleted(key, _words(raw, start, count), self.deleted)  # (N, W)
        words = words.masked_fill(some_words(random.fold(key, 0), words, self.hidden), self.unknown)
        stay = (words >= 0).sum(dim=1)
        return _framed(words[:, : int(stay.max())], stay, raw[2], raw[3])

    def _whole(self, raw: Raw, start: Tensor, count: Tensor, length: int | None = None) -> Tensor:
        view = _framed(_words(raw, start, count), count, raw[2], raw[3])
        return view if length is None else torch.nn.functional.pad(view, (0, length - view.shape[1]), value=PAD)


def _check(pair: str, **lengths: int | None) -> None:
    for name, length in lengths.items():
        if length is not None and length < 1:
            raise InputError(f"{name} is {length}: expected 1 word or more.")
    if pair not in get_args(Pair):
        raise unknown("pair", pair, get_args(Pair))


def _beginning(lengths: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """Where the window starts and how many words it has, (N,) each: the first `room` words."""
    return torch.zeros_like(lengths), lengths.clamp(max=room)


def _span(key: Tensor, lengths: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """`room` words from a random place, or all there are."""
    count = lengths.clamp(max=room)
    return _place(key, lengths - count), count


def _following(key: Tensor, lengths: Tensor, room: int, views: int) -> list[tuple[Tensor, Tensor]]:
    """As many windows, one behind the other, from a random place; of short texts equal parts, one word at least."""
    each = (lengths // views).clamp(min=1, max=room)
    first = _place(key, lengths - views * each)
    last = (lengths - each).clamp(min=0)
    return [((first + view * each).minimum(last), each.minimum(lengths)) for view in range(views)]


def _place(key: Tensor, last: Tensor) -> Tensor:
    """One of the places 0 to `last` (N,), each as likely; in double, as a float32 has too few for a long text."""
    return (random.uniform(key, 1)[:, 0].double() * (last.clamp(min=0) + 1)).long()


def _words(raw: Raw, start: Tensor, count: Tensor) -> Tensor:
    """The words of a window of each text: (N, W) int64, filled up."""
    lengths = raw[1]
    return _words_at(raw[0], lengths.cumsum(0) - lengths + start, count)


def _words_at(ids: Tensor, first: Tensor, count: Tensor) -> Tensor:
    """`count` (N,) of all ids (S,) from `first` (N,) on: (N, W) int64, filled up."""
    place = torch.arange(max(int(count.max()), 1), device=ids.device)
    if not len(ids):
        return torch.full((len(first), len(place)), PAD, dtype=torch.int64, device=ids.device)
    at = (first[:, None] + place).clamp(max=len(ids) - 1)
    return ids[at].long().masked_fill(place >= count[:, None], PAD)


def _framed(words: Tensor, count: Tensor, prefix: Tensor, suffix: Tensor) -> Tensor:
    """Words (N, W), of which `count` (N,) are there, with the special ids around them: (N, p + W + s)."""
    n, p, s = len(words), len(prefix), len(suffix)
    view = torch.full((n, p + words.shape[1] + s), PAD, dtype=torch.int64, device=words.device)
    view[:, :p] = prefix
    view[:, p : p + words.shape[1]] = words
    if s:
        place = p + count[:, None] + torch.arange(s, device=words.device)
        view.scatter_(1, place, suffix.expand(n, s))
    return view
