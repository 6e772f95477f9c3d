"""Features: from a table to the matrix a network reads (document §3.2.3).

`Features` decides how each column is encoded, or is told, learns all statistics from the training
part and keeps them, so that serving does what training did ("与训练阶段一致", the document's own
warning).  The encodings themselves are in `encodings` and `text`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from nnrec.data.columns import Array, factorize, missing
from nnrec.data.encodings import (
    LARGEST,
    Boolean,
    Dates,
    Encoding,
    Log,
    OneHot,
    Standardize,
    Thermometer,
)
from nnrec.data.tables import Table, grid
from nnrec.data.text import TfIdf, words

Encodings = Encoding | Sequence[Encoding] | None


class Features:
    """Turns a table into a matrix; what it learns, it learns from the table given to `fit`.

    encodings: column → an encoding, several of them side by side, or None to leave the column out.
    "a + b" reads the text columns a and b as one, with a blank between.  The columns not named are
    encoded by what they hold, or left out with infer=False (see `inferred`).

    `transform` gives (n, d) float64, or CSR if a text encoding is among them.  A missing number or
    date becomes the training part's (lower) median and a missing text is empty; a "missing" column
    says so if training had any.  A category not seen in training is "unknown" (see `OneHot`); a
    column that training did not have is ignored; one that it had and that is absent is a
    ValueError, as is an infinite number, or a value that is not of the column's type in training.

    >>> table = Table({"pages": [1, 4, 2, 30], "month": ["May", "Nov", "May", "Nov"]})
    >>> features = Features({"pages": [Log(), Thermometer(2)]}).fit(table)
    >>> print(features)
    2 columns → 5 inputs, dense
    column  type    encoding                    inputs
    pages   number  Log(), Thermometer(bins=2)       2
    month   text    OneHot()                         3
    >>> features.names
    ['log pages', 'pages ≥ 3', 'month = May', 'month = Nov', 'month unknown']
    >>> features.transform(Table({"month": ["Dec"], "pages": [4]})).round(3).tolist()
    [[-0.095, 1.0, 0.0, 0.0, 1.0]]
    """

    learned = ("columns",)

    columns: list[Column]

    def __init__(
        self, encodings: Mapping[str, Encodings] | None = None, infer: bool = True
    ) -> None:
        self.encodings = encodings
        self.infer = infer

    def fit(self, table: Any) -> Self:
        """Choose the encodings and learn their statistics; `table` is the training part only."""
        table = Table.of(table)
        if not len(table):
            raise ValueError("a table of no rows: there is nothing to learn from")
        given = {name: _listed(name, value) for name, value in (self.encodings or {}).items()}
        sources = {name: _sources(name, table) for name in given}
        joined = {source for parts in sources.values() if len(parts) > 1 for source in parts}
        names = [name for name in table.names if name in given or self.infer and name not in joined]
        self.columns = []
        for name in names + [name for name in given if name not in table]:
            if name in given:
                column = Column(name, sources[name], deepcopy(given[name]), "left out")
            else:
                column = Column(name, [name], *inferred(table[name]))
            self.columns.append(column.fit(table))
        if not self.names:
            why = ", ".join(f"{column.name!r}: {column.note}" for column in self.columns)
            raise ValueError(f"no column gives an input ({why or 'the table has no column'})")
        return self

    def transform(self, table: Any) -> Any:
        """(n, d) float64 matrix, dense or CSR; the columns may stand in any order."""
        table = Table.of(table)
        used = [column for column in self._fitted() if column.encodings or column.flag]
        absent = {source for column in used for source in column.sources if source not in table}
        if absent:
            expected = ", ".join(repr(name) for name in sorted(absent))
            raise ValueError(f"the table lacks {expected}; it has {', '.join(table.names)}")
        blocks = [block for column in used for block in column.transform(table)]
        if all(isinstance(block, np.ndarray) for block in blocks):
            return np.hstack(blocks)
        from scipy.sparse import csr_array, hstack

        return hstack([csr_array(block) for block in blocks], format="csr")

    def fit_transform(self, table: Any) -> Any:
        """`fit` and then `transform` of the same table."""
        table = Table.of(table)
        return self.fit(table).transform(table)

    @property
    def names(self) -> list[str]:
        """The d names of the matrix columns."""
        return [output for column in self._fitted() for output in column.outputs]

    @property
    def groups(self) -> dict[str, slice]:
        """Which matrix columns come from which column: shuffle these together to see its worth.

        >>> Features({"x": [Log(), OneHot()]}).fit({"x": [1, 2, 1], "y": [2.5, 1.5, 2.5]}).groups
        {'x': slice(0, 3, None), 'y': slice(3, 4, None)}
        """
        ends = np.cumsum([0] + [len(column.outputs) for column in self._fitted()]).tolist()
        slices = zip(self.columns, ends, ends[1:])
        return {column.name: slice(start, end) for column, start, end in slices if end > start}

    def _fitted(self) -> list[Column]:
        if not hasattr(self, "columns"):
            raise ValueError("these features are not fitted; call fit with the training part first")
        return self.columns

    def __repr__(self) -> str:
        infer = "" if self.infer else ", infer=False"
        return f"Features({'' if self.encodings is None else self.encodings}{infer})"

    def __str__(self) -> str:
        if not hasattr(self, "columns"):
            return repr(self)
        lines = [("column", "type", "encoding", "inputs")]
        lines += [(c.name, c.type, str(c), f"{len(c.outputs):,}") for c in self.columns]
        sparse = any(e.takes == "text" for column in self.columns for e in column.encodings)
        inputs = f"{len(self.names):,} inputs, {'sparse' if sparse else 'dense'}"
        return f"{len(self.columns)} columns → {inputs}\n{grid(lines, '<<<>')}"


@dataclass(eq=False)
class Column:
    """One column of `Features`, or text columns read as one, and its encodings side by side.

    type: "number" (integers and booleans too), "text" or "datetime", as in training.  fill: what
    stands in for a missing value, a datetime in µs since 1970.  flag: whether a column says so.
    """

    learned: ClassVar[tuple[str, ...]] = ("type", "fill", "flag")

    name: str
    sources: list[str]
    encodings: list[Encoding]
    note: str = ""
    type: str = field(init=False)
    fill: Any = field(init=False)
    flag: bool = field(init=False)

    def fit(self, table: Table) -> Self:
        types = {_family(table.types[source]) for source in self.sources}
        self.type = "text" if len(self.sources) > 1 else types.pop()
        for encoding in self.encodings:
            wanted = {"category": ("number", "text")}.get(encoding.takes, (encoding.takes,))
            if self.type not in wanted:
                raise ValueError(
                    f"column {self.name!r} is {self.type}; {encoding} takes {' or '.join(wanted)}"
                )
        values, gaps = self._read(table, " of the training rows")
        self.fill = ""
        if self.type != "text":
            present = np.sort(values[~gaps]).astype(float if self.type == "number" else int)
            middle = present[(len(present) - 1) // 2 :][:1]
            self.fill = middle.sum().item()  # 0 if all are missing
        own = any(encoding.has_unknown for encoding in self.encodings)
        self.flag = bool(gaps.any() and not gaps.all() and not own)
        with _named(self.name):
            for encoding in self.encodings:
                encoding.fit(self._seen_by(encoding, values, gaps))
        return self

    def transform(self, table: Table) -> list[Any]:
        """One block of matrix columns per encoding, and last the column that says "missing"."""
        values, gaps = self._read(table)
        with _named(self.name):
            blocks = [e.transform(self._seen_by(e, values, gaps)) for e in self.encodings]
        return blocks + [gaps[:, None].astype(float)] * self.flag

    @property
    def outputs(self) -> list[str]:
        """The names of the matrix columns."""
        names = [output for encoding in self.encodings for output in encoding.outputs(self.name)]
        return names + [f"{self.name} missing"] * self.flag

    def __str__(self) -> str:
        parts = [str(encoding) for encoding in self.encodings] + ["missing"] * self.flag
        return ", ".join(parts) or f"none: {self.note}"

    def _read(self, table: Table, which: str = "") -> tuple[Array, Array]:
        """The column, of the training part's type, and where it is missing."""
        other = [name for name in self.sources if _family(table.types[name]) != self.type]
        table = table.cast(dict.fromkeys(other, self.type))
        values = table[self.sources[0]]
        if len(self.sources) > 1:
            rows = zip(*(table[source] for source in self.sources))
            texts = [" ".join(filter(None, row)) or None for row in rows]
            values = np.array(texts, dtype=object)
        gaps = missing(values)
        if self.type == "number":
            far = ~(np.abs(values.astype(float)) <= LARGEST) & ~gaps
            if far.any():
                row = int(np.argmax(far))
                raise ValueError(
                    f"column {self.name!r}, row {row}{which}: found {values[row]}, "
                    f"expected a number within ±{LARGEST:g}"
                )
        return values, gaps

    def _seen_by(self, encoding: Encoding, values: Array, gaps: Array) -> Array:
        if encoding.has_unknown or not gaps.any():
            return values
        fill = np.datetime64(self.fill, "us") if self.type == "datetime" else self.fill
        return np.where(gaps, fill, values)


FEW = 20
"""A whole number with at most so many values may be a code as well as a count."""


def inferred(column: Array) -> tuple[list[Encoding], str]:
    """The encodings of a column of a table by what it holds, or none and the reason.

    - No value, or one and the same: none.  Two numbers: one column, 0 and 1 as they are.
    - Numbers: `Log` if none is negative and they are skewed to the right (third standardised moment
      above 1), else `Standardize`, both cut off at ±5; beside it a `Thermometer` of 6 bins, or for
      whole numbers with at most 20 values, which may be codes, a `OneHot`.
    - Dates: `Dates`.
    - Text: `TfIdf` of words and pairs of words if there are two words or more to a text and over
      100 different texts or more different ones than half the rows; none if no text stands there
      twice (an identifier); else `OneHot`.

    >>> inferred(Table({"price": [1.5, 2, 2.5, 90]})["price"])
    ([Log(clip=5.0), Thermometer()], '')
    >>> inferred(Table({"order": ["a7", "a8", "b1"]})["order"])
    ([], 'every value is different')
    """
    codes, values = factorize(column)
    if len(values) < 2:
        return [], "one value only" if len(values) else "no value"
    if column.dtype.kind == "M":
        return [Dates()], ""
    if column.dtype.kind == "O":
        length = np.mean([len(words(value)) for value in values[:1000]])
        if length >= 2 and (len(values) > 100 or 2 * len(values) > len(column)):
            return [TfIdf(ngram_range=(1, 2), min_df=2, sublinear_tf=True)], ""
        if len(values) == np.count_nonzero(codes >= 0):
            return [], "every value is different"
        return [OneHot()], ""
    if len(values) == 2:
        return [Boolean() if set(values.tolist()) == {0, 1} else Standardize()], ""
    x = column[codes >= 0].astype(float)
    with np.errstate(all="ignore"):  # infinities are refused, with their row, by Column
        skewness = np.mean(((x - x.mean()) / x.std()) ** 3)
    scaled = Log(clip=5.0) if x.min() >= 0 and skewness > 1 else Standardize(clip=5.0)
    if column.dtype.kind == "i" and len(values) <= FEW:
        return [scaled, OneHot()], ""
    return [scaled, Thermometer()], ""


def _family(type_: str) -> str:
    return "number" if type_ in ("integer", "boolean") else type_


def _listed(name: str, encodings: Encodings) -> list[Encoding]:
    some: Any = () if encodings is None else encodings
    given: list[Any] = list(some) if isinstance(some, list | tuple) else [some]
    for encoding in given:
        if not isinstance(encoding, Encoding):
            raise TypeError(f"column {name!r}: {encoding!r} is not an encoding such as OneHot()")
    return given


def _sources(name: str, table: Table) -> list[str]:
    sources = [name] if name in table else name.split(" + ")
    absent = [source for source in sources if source not in table]
    if absent:
        known = ", ".join(table.names)
        raise ValueError(f"encodings name a column {absent[0]!r}; the table has {known}")
    return sources


@contextmanager
def _named(column: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"column {column!r}: {error}") from None
