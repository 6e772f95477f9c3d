"""Encodings: what a network sees of one column (document §3.2.3).  Text is in `text`.

Each is a small class: `fit(column)` learns its statistics from the training part, `transform` gives
one matrix row per table row, `outputs(column's name)` names the matrix columns.  What was learned
stands in the attributes that `learned` names, which is all that a model file needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np

from nnrec.data.columns import Array, factorize

LARGEST = 1e150  # a square of it still is a float64


class Encoding:
    """One way to turn a column into numbers.

    takes: the kind of column it can read, "number" (integers and booleans too), "text", "datetime"
    or "category" (number or text).  has_unknown: whether it has a place of its own for a missing
    value; without one it wants a column in which nothing is missing.
    """

    learned: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[str] = "number"
    has_unknown: ClassVar[bool] = False

    def fit(self, column: Array) -> Self:
        """Learn from the training part."""
        return self

    def transform(self, column: Array) -> Any:
        """(n, d) float64, dense, or CSR for text."""
        raise NotImplementedError

    def outputs(self, name: str) -> list[str]:
        """The d names of the matrix columns made of the column `name`; a single one keeps it."""
        return [name]

    def __repr__(self) -> str:
        arguments = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
            if f.init and getattr(self, f.name) != f.default
        ]
        return f"{type(self).__name__}({', '.join(arguments)})"


@dataclass(repr=False, eq=False)
class Standardize(Encoding):
    """(x − mean) / standard deviation, cut off at ±clip; a constant column becomes zeros.

    >>> Standardize().fit(np.array([1.0, 3.0])).transform(np.array([5, 2])).tolist()
    [[3.0], [0.0]]
    """

    learned: ClassVar[tuple[str, ...]] = ("center", "scale")

    clip: float | None = None
    center: float = field(init=False)
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        expect(self.clip is None or self.clip > 0, "clip", self.clip, "a number above 0, or None")

    def fit(self, column: Array) -> Self:
        x = finite(column)
        self.center, scale = (float(x[0]), 0.0) if x.min() == x.max() else self._statistics(x)
        self.scale = scale if scale > 0 else 1.0
        return self

    def _statistics(self, x: Array) -> tuple[float, float]:
        return float(x.mean()), float(x.std())

    def transform(self, column: Array) -> Array:
        most = LARGEST if self.clip is None else self.clip
        with np.errstate(over="ignore"):  # a scale near 0
            z = (finite(column) - self.center) / self.scale
        return z.clip(-most, most)[:, None]


@dataclass(repr=False, eq=False)
class Robust(Standardize):
    """(x − median) / interquartile range, cut off at ±clip: outliers don't move the scale.

    >>> Robust(clip=9).fit(np.arange(5.0)).transform(np.array([2, 1000])).tolist()
    [[0.0], [9.0]]
    """

    def _statistics(self, x: Array) -> tuple[float, float]:
        low, median, high = np.percentile(x, [25, 50, 75])
        return float(median), float(high - low)

    def outputs(self, name: str) -> list[str]:
        return [f"{name} robust"]


@dataclass(repr=False, eq=False)
class Log(Standardize):
    """sign(x) · ln(1 + |x|), standardised; and, where training has zeros, whether x = 0.

    For counts, prices and durations: many small, a few huge, and a zero that means "never".

    >>> Log().fit(np.array([0, 0, 9, 99])).transform(np.array([0, 30])).round(2).tolist()
    [[-0.9, 1.0], [0.89, 0.0]]
    """

    learned = ("center", "scale", "flag")

    flag: bool = field(init=False)

    def fit(self, column: Array) -> Self:
        x = finite(column)
        self.flag = bool((x == 0).any() and (x != 0).any())
        return super().fit(_signed_log(x))

    def transform(self, column: Array) -> Array:
        x = finite(column)
        z = super().transform(_signed_log(x))
        return np.column_stack([z, x == 0]) if self.flag else z

    def outputs(self, name: str) -> list[str]:
        return [f"log {name}"] + [f"{name} = 0"] * self.flag


@dataclass(repr=False, eq=False)
class Thermometer(Encoding):
    """bins − 1 columns, 1 where x ≥ the training part's 1/bins, 2/bins, … quantile, else 0.

    A first layer can bend at every edge.  Equal edges, and the minimum as an edge, are left out.

    >>> Thermometer(3).fit(np.arange(7)).transform(np.array([1, 2, 9])).tolist()
    [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    """

    learned = ("edges",)

    bins: int = 6
    edges: list[float] = field(init=False)

    def __post_init__(self) -> None:
        expect(self.bins >= 2, "bins", self.bins, "2 or more")

    def fit(self, column: Array) -> Self:
        x = finite(column)
        edges = np.unique(np.quantile(x, np.arange(1, self.bins) / self.bins))
        self.edges = edges[edges > x.min()].tolist()
        return self

    def transform(self, column: Array) -> Array:
        return (finite(column)[:, None] >= np.array(self.edges)).astype(float)

    def outputs(self, name: str) -> list[str]:
        return [f"{name} ≥ {edge:.6g}" for edge in self.edges]


@dataclass(repr=False, eq=False)
class OneHot(Encoding):
    """One column per category of the training part, in order, and a last one for "unknown".

    Unknown are a missing value, a category never seen, and those that training has fewer than
    `min_count` times or that are not among its `max_categories` most frequent (of equally frequent
    ones the first in order stays).  With a min_count of 2 or more the rare ones train the slot that
    new ones will use.

    >>> encoding = OneHot(min_count=2).fit(np.array(["b", "a", "b", "a", "c"], dtype=object))
    >>> encoding.transform(np.array(["a", "c", None], dtype=object)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    >>> encoding.outputs("page")
    ['page = a', 'page = b', 'page unknown']
    """

    learned = ("categories",)
    takes = "category"
    has_unknown = True

    min_count: int = 2
    max_categories: int | None = 100
    categories: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        most = self.max_categories
        expect(most is None or most >= 1, "max_categories", most, "1 or more, or None")

    def fit(self, column: Array) -> Self:
        codes, values = factorize(column)
        count = np.bincount(codes[codes >= 0], minlength=len(values))
        order = np.argsort(values, kind="stable")
        kept = order[np.argsort(-count[order], kind="stable")][: self.max_categories]
        self.categories = sorted(values[kept[count[kept] >= self.min_count]].tolist())
        return self

    def transform(self, column: Array) -> Array:
        return _indicators(column, self.categories)

    def outputs(self, name: str) -> list[str]:
        return [f"{name} = {_label(c)}" for c in self.categories] + [f"{name} unknown"]


@dataclass(repr=False, eq=False)
class Ordinal(Encoding):
    """The place in a given order, 0 for the first to 1 for the last, and an "unknown" column.

    A value outside the order or a missing one has place 0 and unknown 1.

    >>> sizes = Ordinal(["S", "M", "L"])
    >>> sizes.transform(np.array(["L", "M", "XL"], dtype=object)).tolist()
    [[1.0, 0.0], [0.5, 0.0], [0.0, 1.0]]
    """

    takes = "category"
    has_unknown = True

    order: Sequence[Any]

    def __post_init__(self) -> None:
        right = len(set(self.order)) == len(self.order) >= 2
        expect(right, "order", self.order, "two or more different values")

    def transform(self, column: Array) -> Array:
        indicators = _indicators(column, self.order)
        places = np.append(np.linspace(0, 1, len(self.order)), 0)
        return np.column_stack([indicators @ places, indicators[:, -1]])

    def outputs(self, name: str) -> list[str]:
        return [name, f"{name} unknown"]


@dataclass(repr=False, eq=False)
class Boolean(Encoding):
    """0 or 1.

    >>> Boolean().transform(np.array([True, False])).tolist()
    [[1.0], [0.0]]
    """

    def fit(self, column: Array) -> Self:
        self.transform(column)
        return self

    def transform(self, column: Array) -> Array:
        x = finite(column)
        _refuse(~np.isin(x, (0, 1)), x, "0 or 1")
        return x[:, None]


_PERIODS = {"month": 12, "day": 31, "weekday": 7, "hour": 24}


@dataclass(repr=False, eq=False)
class Dates(Encoding):
    """Parts of a date: the year standardised, of each other part k the sine and cosine of
    2π k / period, so that December is next to January; "month", "day", "weekday" and "hour" have
    the periods 12, 31, 7 and 24.  Times are taken as they stand, without a zone.

    >>> christmas = np.array(["2010-12-25T18:00"], dtype="datetime64[us]")
    >>> Dates(["hour"]).fit(christmas).transform(christmas).round(6).tolist()
    [[-1.0, -0.0]]
    """

    learned = ("center", "scale")
    takes = "datetime"

    parts: Sequence[str] = ("year", "month", "weekday", "hour")
    center: float = field(init=False)
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        known = ["year", *_PERIODS]
        right = len(self.parts) > 0 and set(self.parts) <= set(known)
        expect(right, "parts", self.parts, f"some of {', '.join(known)}")

    def fit(self, column: Array) -> Self:
        year = _date_parts(column)["year"]
        self.center, self.scale = float(year.mean()), float(year.std()) or 1.0
        return self

    def transform(self, column: Array) -> Array:
        found = _date_parts(column)
        columns = []
        for part in self.parts:
            if part == "year":
                columns.append((found["year"] - self.center) / self.scale)
            else:
                angle = found[part] * (2 * np.pi / _PERIODS[part])
                columns += [np.sin(angle), np.cos(angle)]
        return np.column_stack(columns)

    def outputs(self, name: str) -> list[str]:
        names = []
        for part in self.parts:
            waves = ["year"] if part == "year" else [f"{part} sin", f"{part} cos"]
            names += [f"{name} {wave}" for wave in waves]
        return names


def finite(column: Array) -> Array:
    """The column as float64; ValueError that names a missing, infinite or huge value's row."""
    x = np.asarray(column)
    if x.dtype.kind not in "biuf":
        raise ValueError(f"found values of type {x.dtype}; expected numbers")
    x = x.astype(np.float64)
    _refuse(~(np.abs(x) <= LARGEST), x, f"a number within ±{LARGEST:g}")
    return x


def _label(value: Any) -> str:
    """A category as text: 3.0, which 3 becomes beside a missing value, is written as 3."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def expect(right: bool, name: str, found: Any, expected: str) -> None:
    if not right:
        raise ValueError(f"{name}={found!r}: expected {expected}")


def _refuse(bad: Array, column: Array, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"found {column[row]} in row {row}; expected {expected}")


def _signed_log(x: Array) -> Array:
    return np.sign(x) * np.log1p(np.abs(x))


def _indicators(column: Array, categories: Iterable[Any]) -> Array:
    """(n, categories + 1): a 1 in each row at its category, or last."""
    place = {category: i for i, category in enumerate(categories)}
    codes, values = factorize(column)
    places = [place.get(value, len(place)) for value in values.tolist()] + [len(place)]
    rows = np.zeros((len(column), len(place) + 1))
    rows[np.arange(len(column)), np.array(places)[codes]] = 1  # code −1, missing, takes the last
    return rows


def _date_parts(column: Array) -> dict[str, Array]:
    """Numbers of year (such as 2010), month, day (from 0), weekday (Monday is 0) and hour."""
    _refuse(np.isnat(column), column, "a date")
    month, day = column.astype("M8[M]"), column.astype("M8[D]")
    return {
        "year": column.astype("M8[Y]").astype(np.int64) + 1970,
        "month": month.astype(np.int64) % 12,
        "day": (day - month).astype(np.int64),
        "weekday": (day.astype(np.int64) + 3) % 7,  # 1970-01-01 was a Thursday
        "hour": (column.astype("M8[h]") - day).astype(np.int64),
    }
