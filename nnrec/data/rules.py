"""The rules of cleaning (§3.2.2): what is wrong with rows and with cells, and what becomes of them.

Rows: `DropDuplicates`, `DropMissing`, `DropWhere`.  Cells: `Categories`, `Clip`, `Fill`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from nnrec.data.columns import Array, factorize, missing, short, spelled, to_column, type_of
from nnrec.data.splits import equal_rows
from nnrec.data.tables import Table

Columns = str | Sequence[str] | None


class RowRule:
    """Matches whole rows: they leave the training table."""

    def needs(self) -> list[str]:
        """The columns that must be there for the rule to look at."""
        raise NotImplementedError

    def matches(self, table: Table) -> Array:
        """(n,) bool."""
        raise NotImplementedError


class CellRule:
    """Changes values, by what it learned from the training part.

    skipped: the columns it could have treated and does not, and why.
    """

    skipped: dict[str, str]

    def fit(self, table: Table, label: str | None = None) -> Self:
        raise NotImplementedError

    def transform(self, table: Table) -> dict[str, Array]:
        """The columns of the table that are treated, and new ones."""
        raise NotImplementedError


@dataclass(eq=False)
class DropDuplicates(RowRule):
    """Drops rows equal to an earlier one, in all columns or in some.  Missing equals missing."""

    columns: Columns = None

    def needs(self) -> list[str]:
        return _listed(self.columns)

    def matches(self, table: Table) -> Array:
        names = table.names if self.columns is None else self.needs()
        repeated = np.ones(len(table), dtype=bool)
        ids = equal_rows(Table({name: table[name] for name in names}))
        repeated[np.unique(ids, return_index=True)[1]] = False
        return repeated

    def __str__(self) -> str:
        return "drop repeated rows" + (f" of {', '.join(self.needs())}" if self.columns else "")


@dataclass(eq=False)
class DropMissing(RowRule):
    """Drops rows that lack a value in any of the columns, such as a customer's id.

    >>> DropMissing("id").matches(Table({"id": [7, None], "x": [None, 1]}))
    array([False,  True])
    """

    columns: str | Sequence[str]

    def needs(self) -> list[str]:
        return _listed(self.columns)

    def matches(self, table: Table) -> Array:
        gaps = [missing(table[name]) for name in self.needs()]
        return np.asarray(np.logical_or.reduce(gaps, axis=0))

    def __str__(self) -> str:
        return f"drop where {' or '.join(self.needs())} is missing"


_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SPELLED: Mapping[str, Callable[[str, str], bool]] = {
    "starts with": str.startswith,
    "ends with": str.endswith,
    "contains": str.__contains__,
}


@dataclass(eq=False)
class DropWhere(RowRule):
    """Drops rows by one column's value; a missing value never matches.

    op: ==, !=, <, <=, >, >= with a value of the column's type (a datetime as "2009-12-01"), or
    "starts with", "ends with", "contains" with text, which look at a number's spelling too.

    >>> DropWhere("pieces", "<=", 0).matches(Table({"pieces": [3, 0, None]}))
    array([False,  True, False])
    """

    column: str
    op: str
    value: Any

    def __post_init__(self) -> None:
        if self.op not in {**_COMPARE, **_SPELLED}:
            known = ", ".join([*_COMPARE, *_SPELLED])
            raise ValueError(f"DropWhere: found op {self.op!r}, expected one of {known}")
        if self.op in _SPELLED and not isinstance(self.value, str):
            raise TypeError(f"DropWhere: {self.op!r} takes text, found {self.value!r}")

    def needs(self) -> list[str]:
        return [self.column]

    def matches(self, table: Table) -> Array:
        codes, distinct = factorize(table[self.column])
        if self.op in _SPELLED:
            test = _SPELLED[self.op]
            hits = [test(spelled(value), self.value) for value in distinct.tolist()]
        else:
            hits = _COMPARE[self.op](distinct, _comparable(self.value, table, self.column))
        return np.append(np.asarray(hits, dtype=bool), False)[codes]

    def __str__(self) -> str:
        return f"drop where {self.column} {self.op} {short(self.value)}"


@dataclass(eq=False)
class Categories(CellRule):
    """Replaces the values of columns that are none of the allowed ones, by `other` (None: missing).

    allowed: the valid values; None learns those that at least `min_count` training rows hold.

    >>> table = Table({"size": ["S", "XXL", None]})
    >>> Categories("size", ["S", "M"]).fit(table).transform(table)["size"]
    array(['S', None, None], dtype=object)
    """

    learned: ClassVar[tuple[str, ...]] = ("valid", "skipped")

    columns: str | Sequence[str]
    allowed: Sequence[Any] | None = None
    other: Any = None
    min_count: int = 1
    valid: dict[str, list[Any]] = field(init=False, repr=False)

    def fit(self, table: Table, label: str | None = None) -> Self:
        self.skipped, self.valid = {}, {}
        for name in _chosen(self, self.columns, table, label, "integer number boolean text"):
            values = [*(self.allowed or ()), *([] if self.other is None else [self.other])]
            for value in values:
                _comparable(value, table, name)
            if self.allowed is None:
                codes, distinct = factorize(table[name])
                counts = np.bincount(codes[codes >= 0], minlength=len(distinct))
                values += distinct[counts >= self.min_count].tolist()
            self.valid[name] = values
        return self

    def transform(self, table: Table) -> dict[str, Array]:
        return {name: self._replaced(table[name], valid) for name, valid in self.valid.items()}

    def _replaced(self, column: Array, valid: list[Any]) -> Array:
        codes, distinct = factorize(column)
        allowed = set(valid)
        bad = [value not in allowed for value in distinct.tolist()]
        rows = np.append(np.asarray(bad, dtype=bool), False)[codes]
        if not rows.any():
            return column
        fits = isinstance(self.other, {"i": int, "b": bool}.get(column.dtype.kind, object))
        column = column.astype(column.dtype if fits else np.float64)
        column[rows] = np.nan if self.other is None and column.dtype.kind == "f" else self.other
        return column

    def __str__(self) -> str:
        what = "missing" if self.other is None else short(self.other)
        return f"invalid categories become {what}"


@dataclass(eq=False)
class Clip(CellRule):
    """Moves outliers of numeric columns (all of them by default) to the nearest bound.

    Bounds are two quantiles (observed values), e.g. quantiles=(0.01, 0.99), or else Tukey's fences,
    `iqr` interquartile ranges below the first and above the third quartile; whole numbers for
    integers.  Infinite values are clipped and do not count.  A column whose bounds coincide is left
    alone, since it would become constant: zero in most rows and the rest is not an outlier.

    >>> table = Table({"x": [1, 2, 3, 4, 99]})
    >>> Clip(iqr=1.5).fit(table).transform(table)["x"]
    array([1, 2, 3, 4, 7])
    """

    learned: ClassVar[tuple[str, ...]] = ("bounds", "skipped")

    columns: Columns = None
    quantiles: Sequence[float] | None = None
    iqr: float | None = None
    bounds: dict[str, list[float]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if (self.quantiles is None) == (self.iqr is None):
            raise ValueError("Clip: give either quantiles=(0.01, 0.99) or iqr=1.5")
        if self.iqr is not None and not 0 <= self.iqr < np.inf:
            raise ValueError(f"Clip: found iqr={self.iqr}, expected a finite number ≥ 0")
        if self.quantiles is not None:
            low, high = self.quantiles
            if not 0 <= low < high <= 1:
                raise ValueError(f"Clip: found {self.quantiles}, expected 0 ≤ low < high ≤ 1")

    def fit(self, table: Table, label: str | None = None) -> Self:
        self.skipped, self.bounds = {}, {}
        for name in _chosen(self, self.columns, table, label, "integer number"):
            finite = table[name][np.isfinite(table[name])]
            if not len(finite):
                self.skipped[name] = "no finite value"
                continue
            with np.errstate(all="ignore"):  # quartiles further apart than floats reach
                low, high = self._bounds(finite)
            if table[name].dtype.kind == "i":
                low, high = max(math.ceil(low), -(2**63)), min(math.floor(high), 2**63 - 1)
            if low < high and math.isfinite(high - low):
                self.bounds[name] = [low, high]
            else:
                self.skipped[name] = f"bounds {short(low)} and {short(high)}"
        return self

    def _bounds(self, finite: Array) -> tuple[float, float]:
        if self.quantiles is not None:
            low, high = np.quantile(finite, self.quantiles, method="inverted_cdf").tolist()
            return low, high
        first, third = np.quantile(finite, [0.25, 0.75]).tolist()
        margin = self.iqr * (third - first)
        return first - margin, third + margin

    def transform(self, table: Table) -> dict[str, Array]:
        return {name: np.clip(table[name], low, high) for name, (low, high) in self.bounds.items()}

    def __str__(self) -> str:
        if self.quantiles is not None:
            return "clip to the quantiles {} and {}".format(*self.quantiles)
        return f"clip beyond {self.iqr} interquartile ranges"


@dataclass(eq=False)
class Fill(CellRule):
    """Fills missing values, of all columns by default, and says where in a column "… missing".

    how: "median" (of finite values; of datetimes the lower one), "most frequent" (the smallest of
    several), or None: the median of numbers and datetimes, the most frequent of the others.
    indicator: add the column for those that lack some values in training.  A column without any
    value there is left alone.

    >>> table = Table({"x": [1, None, 4], "size": ["S", "S", None]})
    >>> Fill(indicator=False).fit(table).transform(table)
    {'x': array([1. , 2.5, 4. ]), 'size': array(['S', 'S', 'S'], dtype=object)}
    """

    learned: ClassVar[tuple[str, ...]] = ("values", "flagged", "skipped")

    columns: Columns = None
    how: str | None = None
    indicator: bool = True
    values: dict[str, Any] = field(init=False, repr=False)
    flagged: list[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.how not in (None, "median", "most frequent"):
            raise ValueError(f"Fill: found {self.how!r}, expected 'median' or 'most frequent'")

    def fit(self, table: Table, label: str | None = None) -> Self:
        types = "integer number datetime" + " boolean text" * (self.how != "median")
        self.values, self.flagged, self.skipped = {}, [], {}
        for name in _chosen(self, self.columns, table, label, types):
            column, gaps = table[name], missing(table[name])
            median = self.how == "median" or self.how is None and column.dtype.kind in "ifM"
            present = column[~gaps]
            if median:
                present = np.sort(present[np.isfinite(present)])
            if not len(present):
                if gaps.any():
                    self.skipped[name] = "no finite value" if median else "no value"
                continue
            value = _median(present) if median else _most_frequent(present)
            self.values[name] = spelled(value) if column.dtype.kind == "M" else value
            if self.indicator and gaps.any():
                if f"{name} missing" in table:
                    raise ValueError(f"Fill: the table already has a column '{name} missing'")
                self.flagged.append(name)
        return self

    def transform(self, table: Table) -> dict[str, Array]:
        gaps = {name: missing(table[name]) for name in self.values}
        new = {}
        for name, value in self.values.items():
            new[name] = table[name].copy() if gaps[name].any() else table[name]
            if gaps[name].any():
                new[name][gaps[name]] = value
        return new | {f"{name} missing": gaps[name] for name in self.flagged}

    def __str__(self) -> str:
        return "fill missing values" + (f" with the {self.how}" if self.how else "")


def _median(present: Array) -> Any:
    """The middle of sorted values, halfway between two; the earlier of two datetimes."""
    low, high = present[(len(present) - 1) // 2], present[len(present) // 2]
    if low == high or present.dtype.kind == "M":
        return low if present.dtype.kind == "M" else low.item()
    return low.item() / 2 + high.item() / 2


def _most_frequent(present: Array) -> Any:
    codes, distinct = factorize(present)
    counts = np.bincount(codes)
    value = min(distinct[counts == counts.max()])
    return value.item() if isinstance(value, np.generic) and present.dtype.kind != "M" else value


def _listed(columns: Columns) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns or ())


def _chosen(
    rule: CellRule, columns: Columns, table: Table, label: str | None, types: str
) -> list[str]:
    """The named columns, which must be of one of the types, or all that are."""
    if columns is None:
        return [n for n, type_ in table.types.items() if n != label and type_ in types.split()]
    for name in _listed(columns):
        if (found := type_of(table[name])) not in types.split():
            raise ValueError(f"{rule}: column {name!r} is {found}, expected one of {types}")
        if name == label:
            raise ValueError(f"{rule}: column {name!r} is the label, which rules leave alone")
    return _listed(columns)


def _comparable(value: Any, table: Table, name: str) -> Any:
    """The value, if the column's values can be compared with it."""
    type_ = table.types[name]
    if type_ == "datetime":
        return to_column([value], "datetime")[0]
    if isinstance(value, str) != (type_ == "text"):
        raise ValueError(f"column {name!r} is {type_}, and {value!r} cannot be one of its values")
    return value
