"""Text as numbers: bag of words and TF-IDF (document §3.2.3), words or characters, any language.

Chinese, Japanese and Korean need no segmenter: a run of such characters becomes its overlapping
pairs, the way search engines index them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np

from nnrec.data.columns import Array, factorize
from nnrec.data.encodings import Encoding, expect

# Iteration mark, kana, Han with its extensions, Hangul syllables.
_CJK = "\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
_CJK += "\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(f"([{_CJK}]+)")


def normalized(text: str, *, lowercase: bool = True) -> str:
    """Unicode NFKC, in lower case: full-width letters are letters, composed accents are composed.

    >>> normalized("ＵＳＢ Ｃａｆｅ\u0301")
    'usb café'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return text.lower() if lowercase else text


def words(text: str, token_pattern: str = r"\w+") -> list[str]:
    """The words of a text; of a run of CJK characters its overlapping pairs.

    >>> words("red dress, size 8")
    ['red', 'dress', 'size', '8']
    >>> words("iPhone手机壳 透明")
    ['iPhone', '手机', '机壳', '透明']
    """
    tokens: list[str] = re.findall(token_pattern, text)
    if text.isascii() or not _RUN.search(text):
        return tokens
    found: list[str] = []
    for token in tokens:
        for i, run in enumerate(_RUN.split(token)):  # others at even places, CJK at odd ones
            if i % 2 and len(run) > 1:
                found += map("".join, zip(run, run[1:]))
            elif run:
                found.append(run)
    return found


@dataclass(repr=False, eq=False)
class BagOfWords(Encoding):
    """How often each term of the training texts stands in a text: (n, terms) CSR, terms sorted.

    analyzer: "word" (see `words`), "char" (pieces of the text, its white space made single blanks)
    or "char_wb" (pieces of each word with a blank at both ends).  ngram_range: fewest and most
    words or characters to a term.  min_df, max_df: keep terms that stand in at least, at most, so
    many training texts: an int is a number, a float a share.  max_features: keep the most frequent.
    token_pattern: what a word is.  binary: whether a term stands there, not how often.
    Meanings and names are scikit-learn's.  A missing text counts as empty.

    >>> bag = BagOfWords().fit(np.array(["red dress", "red red shoe"], dtype=object))
    >>> bag.transform(np.array(["red red red hat"], dtype=object)).toarray().tolist()
    [[0.0, 3.0, 0.0]]
    >>> bag.outputs("title")
    ["title: 'dress'", "title: 'red'", "title: 'shoe'"]
    """

    learned: ClassVar[tuple[str, ...]] = ("vocabulary",)
    takes = "text"

    ngram_range: tuple[int, int] = (1, 1)
    analyzer: str = "word"
    min_df: int | float = 1
    max_df: int | float = 1.0
    max_features: int | None = None
    token_pattern: str = r"\w+"
    lowercase: bool = True
    binary: bool = False
    vocabulary: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        known = ("word", "char", "char_wb")
        expect(self.analyzer in known, "analyzer", self.analyzer, f"one of {known}")
        n = tuple(self.ngram_range)
        expect(len(n) == 2 and 1 <= n[0] <= n[1], "ngram_range", n, "1 ≤ fewest ≤ most")
        self.ngram_range = (n[0], n[1])  # a file holds a list
        for name in ("min_df", "max_df"):
            df = getattr(self, name)
            right = df >= 0 if isinstance(df, int) else 0 <= df <= 1
            expect(right, name, df, "a number of texts, or a share as a float of 0 to 1")

    def fit(self, column: Array) -> Self:
        self._fit(column)
        return self

    def transform(self, column: Array) -> Any:
        return self._counts(column, self.vocabulary)

    def outputs(self, name: str) -> list[str]:
        return [f"{name}: {term!r}" for term in sorted(self.vocabulary)]

    def terms(self, text: str) -> list[str]:
        """All terms of one text, repeated as often as they stand there.

        >>> BagOfWords(ngram_range=(1, 2)).terms("Very red dress")
        ['very', 'red', 'dress', 'very red', 'red dress']
        """
        text = normalized(text, lowercase=self.lowercase)
        if self.analyzer == "word":
            return _ngrams(words(text, self.token_pattern), *self.ngram_range, " ")
        if self.analyzer == "char":
            return _ngrams(re.sub(r"\s\s+", " ", text), *self.ngram_range)
        pieces = (_pieces(word, *self.ngram_range) for word in text.split())
        return list(chain.from_iterable(pieces))

    def _fit(self, column: Array) -> Array:
        """Learn the vocabulary; the number of training texts that hold each of its terms."""
        index: defaultdict[str, int] = defaultdict()
        index.default_factory = index.__len__  # a new term gets the next number
        counts = self._counts(column, index)
        texts = np.bincount(counts.indices, minlength=len(index))
        least, most = (
            df if isinstance(df, int) else df * len(column) for df in (self.min_df, self.max_df)
        )
        total = np.bincount(counts.indices, weights=counts.data, minlength=len(index))
        kept = [i for _, i in sorted(index.items()) if least <= texts[i] <= most]
        if self.max_features is not None:
            first = np.sort(np.argsort(-total[kept], kind="stable")[: self.max_features])
            kept = [kept[i] for i in first]
        term = list(index)
        self.vocabulary = {term[i]: place for place, i in enumerate(kept)}
        return texts[kept]

    def _counts(self, column: Array, index: dict[str, int]) -> Any:
        from scipy.sparse import csr_array

        growing = isinstance(index, defaultdict)
        find = index.__getitem__ if growing else index.get
        codes, texts = factorize(column)  # titles come again and again: each is read once
        places: list[int] = []
        ends = [0]
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                row = int(np.argmax(codes == i))
                raise ValueError(f"found {text!r} in row {row}; expected text")
            found: Iterable[Any] = map(find, self.terms(text))
            places.extend(found if growing else (i for i in found if i is not None))
            ends.append(len(places))
        ends.append(len(places))  # an empty text, which code −1, missing, takes
        shape = (len(texts) + 1, len(index))
        counts = csr_array((np.ones(len(places)), places, ends), shape=shape)
        counts.sum_duplicates()
        if self.binary:
            counts.data[:] = 1
        return counts[codes]


@dataclass(repr=False, eq=False)
class TfIdf(BagOfWords):
    """Counts weighted by how few training texts hold a term, each row scaled to length 1.

        tf · idf,   idf = ln((1 + n) / (1 + df)) + 1,   tf = count or, sublinear_tf, 1 + ln count

    df of the n training texts hold the term; without smooth_idf idf = ln(n / df) + 1.  norm=None
    leaves the rows as they are.  The other arguments are those of BagOfWords.

    >>> tfidf = TfIdf(norm=None).fit(np.array(["red dress", "red shoe", "red"], dtype=object))
    >>> tfidf.transform(np.array(["red shoe"], dtype=object)).toarray().round(3).tolist()
    [[0.0, 1.0, 1.693]]
    """

    learned = ("vocabulary", "idf")

    norm: str | None = "l2"
    smooth_idf: bool = True
    sublinear_tf: bool = False
    idf: Array = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(self.norm in ("l2", None), "norm", self.norm, "'l2' or None")

    def fit(self, column: Array) -> Self:
        df = self._fit(column)
        self.idf = np.log((len(column) + self.smooth_idf) / (df + self.smooth_idf)) + 1
        return self

    def transform(self, column: Array) -> Any:
        weights = super().transform(column)
        if self.sublinear_tf:
            weights.data = 1 + np.log(weights.data)
        weights.data *= self.idf[weights.indices]
        if self.norm == "l2":
            row = np.repeat(np.arange(len(column)), np.diff(weights.indptr))
            weights.data /= np.sqrt(np.bincount(row, weights.data**2))[row]
        return weights


def _ngrams(tokens: Any, shortest: int, longest: int, blank: str = "") -> list[str]:
    """All runs of shortest to longest of a list of words, or of a string's characters."""
    found = list(tokens) if shortest == 1 else []
    for n in range(max(shortest, 2), longest + 1):
        found += map(blank.join, zip(*(tokens[i:] for i in range(n))))
    return found


@lru_cache(maxsize=2**16)  # a language has fewer words than a shop has texts
def _pieces(word: str, shortest: int, longest: int) -> list[str]:
    """The runs of characters of a word with its blanks; all of it if it is shorter."""
    padded = f" {word} "
    return _ngrams(padded, shortest, longest) if len(padded) >= shortest else [padded]
