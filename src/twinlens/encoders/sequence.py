"""Sequences as tokens: words by their ids, and signals (sound, series) cut into windows."""

from torch import Tensor

from twinlens.encoders.tokens import Tokens
from twinlens.errors import InputError
from twinlens.rate import Rate, with_rate


class Words:
    """Ids (N, T) int64, one under each token; negative ones fill a row up."""

    patch_dim = 1

    def __init__(self, vocabulary: int, length: int) -> None:
        self.vocabulary: int | None = vocabulary
        self.shape: tuple[int, ...] = (length,)
        self.grid: tuple[int, ...] = (length,)

    def grid_of(self, view: Tensor) -> tuple[int, ...]:
        """How many words there are."""
        return (view.shape[1],)

    def patchify(self, view: Tensor) -> Tensor:
        """(N, T) -> (N, T, 1)."""
        return view[..., None]

    def unpatchify(self, patches: Tensor) -> Tensor:
        """(N, T, 1) -> (N, T)."""
        return patches[..., 0]


class Windows:
    """Signals (N, C, L) cut into windows of `window` moments that follow each other."""

    vocabulary: int | None = None

    def __init__(self, channels: int, length: int, window: int) -> None:
        self.window, self.patch_dim = window, channels * window
        self.shape: tuple[int, ...] = (channels, length)
        self.grid: tuple[int, ...] = (_windows(length, window),)

    def grid_of(self, view: Tensor) -> tuple[int, ...]:
        """How many windows there are; InputError where they are not whole."""
        return (_windows(view.shape[2], self.window),)

    def patchify(self, view: Tensor) -> Tensor:
        """(N, C, L) -> (N, T, P), in each window moment by moment its channels."""
        patches: Tensor = view.unflatten(2, (-1, self.window)).permute(0, 2, 3, 1).flatten(2)
        return patches

    def unpatchify(self, patches: Tensor) -> Tensor:
        """(N, T, P) -> (N, C, L)."""
        view: Tensor = patches.unflatten(2, (self.window, -1)).permute(0, 3, 1, 2).flatten(2)
        return view


def _windows(length: int, window: int) -> int:
    if window < 1 or length < 1 or length % window:
        raise InputError(f"a window of {window} does not divide a view of {length} moments: choose a divisor.")
    return length // window


def words(
    vocabulary: int, length: int, *,
    width: int = 256, depth: int = 4, heads: int = 4, pool: bool = True,
    causal: bool = False, dropout: float = 0.1, word_vectors: bool = True, word_rate: float = 1.0,
) -> Tokens:  # fmt: skip
    """A transformer over the ids of words, views (N, T) int64 below `vocabulary`; D = `width`.

    Negative ids (`batch.PAD`) fill a row up on the right.

    Args:
        vocabulary: How many words there are.
        length: T, the words of a view.
        width: Features of a token, a multiple of 2 and of `heads` (BERT-Mini: Turc et al. 2019, arXiv 1908.08962).
        depth: Number of blocks (there too).
        heads: Attention heads of a block (there too).
        pool: Embed a view as the mean of its tokens; if not, as all of them side by side.
        causal: Let a word see those before it alone.
        dropout: Share dropped of what is embedded and of what each block adds (Devlin et al. 2019, appendix A.2); two
            views of one text differ by it (Gao et al. 2021, "SimCSE", arXiv 2104.08821, section 3).
        word_vectors: Let a run start words where their vectors are (`cooccurrence.word_vectors`), and weigh them in the
            mean by how much they tell (`cooccurrence.word_weights`), learnt from the same texts before the first step
            in seconds; if not, words start where they are drawn and count alike. From scratch a network needs hours to
            learn as much of words.
        word_rate: How many times the run's rate the words themselves learn at; 1. Not kept by a run that goes on from
            another's encoder.
    """
    if not word_rate > 0:
        raise InputError(f"word_rate is {word_rate}: expected a number above 0.")
    if vocabulary < 2 or length < 1:
        raise InputError(f"{vocabulary} words in views of {length}: expected 2 or more, in views of 1 or more.")
    cut = Words(vocabulary, length)
    made = Tokens(
        cut, width=width, depth=depth, heads=heads, pool=pool, causal=causal, dropout=dropout, word_vectors=word_vectors
    )
    if word_rate != 1:
        with_rate(made.embed, Rate(word_rate))
    return made


def waves(
    channels: int, length: int, *,
    window: int = 16, width: int = 192, depth: int = 4, heads: int = 3, pool: bool = True,
    causal: bool = False,
) -> Tokens:  # fmt: skip
    """A transformer over windows of a signal, views (N, C, L) of `channels` channels; D = `width`.

    Args:
        channels: C, the channels of a view.
        length: L, the moments of a view.
        window: Moments under a token, a divisor of `length`; 16, a guess.
        width: Features of a token, a multiple of 2 and of `heads`; as in `vit`.
        depth: Number of blocks; 4, a guess.
        heads: Attention heads of a block; as in `vit`.
        pool: Embed a view as the mean of its tokens; if not, as all of them side by side.
        causal: Let a window see those before it alone.
    """
    return Tokens(Windows(channels, length, window), width=width, depth=depth, heads=heads, pool=pool, causal=causal)
