"""What is read, and how: the path, the columns of a table, and what texts become ids by."""

from collections.abc import Iterable
from dataclasses import dataclass

from twinlens.data.tokenizer import KINDS, Tokenizer


@dataclass(frozen=True, kw_only=True)
class Source:
    """What to read, and how texts in it are found and become ids.

    Args:
        path: A path or a known name.
        text: Column of the texts, or of the first sides of pairs; "title+text" joins two. "" takes the usual names, as
            for all columns.
        positive: Column of the second sides of pairs.
        negative: Columns of what is no answer, separated by commas, or one of lists.
        score: Column of how alike the sides of a pair are.
        label: Column of the classes.
        split: Column that says train or test.
        where: Only rows such as "lang=en"; several conditions are separated by commas.
        tokens: How texts become ids: "wordpiece" or "bpe", trained on the data, or a path to a tokenizer.json or to a
            folder that holds one.
        vocabulary: The most ids of a tokenizer that is trained; 8192, a guess for corpora of a few million words.
        words_from: Path to more texts of the kind: the tokenizer is trained on them instead of on the data, and words
            start from the vectors and weights that they give. For few texts, which say little of their words.
    """

    path: str
    text: str = ""
    positive: str = ""
    negative: str = ""
    score: str = ""
    label: str = ""
    split: str = ""
    where: str = ""
    tokens: str = "wordpiece"
    vocabulary: int = 8192
    words_from: str = ""

    def __str__(self) -> str:
        return self.path

    def tokenizer(self, texts: Iterable[str]) -> Tokenizer:
        """The one that is named, or one trained on `texts`."""
        if self.tokens in KINDS:
            return Tokenizer.train(texts, kind=self.tokens, vocabulary=self.vocabulary)
        return Tokenizer.load(self.tokens)
