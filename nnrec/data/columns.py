"""One column of a table: its five types, and how values and strings become one of them.

========  =================  =======================================================
type      array              a missing value is
========  =================  =======================================================
integer   int64              not possible: the column becomes a number
number    float64            NaN
boolean   bool               not possible: the column becomes a number (0, 1 or NaN)
datetime  datetime64[us]     NaT; a time with a zone is turned into UTC
text      object, of str     None
========  =================  =======================================================
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from numbers import Integral, Real
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_DTYPES = {"integer": "i8", "number": "f8", "boolean": "?", "datetime": "M8[us]", "text": "O"}
_KINDS = {np.dtype(dtype).kind: type_ for type_, dtype in _DTYPES.items()}
_EXACT = 2**53  # up to here float64 holds every integer
_LARGEST = float(np.finfo(np.float64).max)
_RANGES = {
    "integer": (-(2**63), 2**63 - 1, "an integer of 64 bits"),
    "number": (-_LARGEST, _LARGEST, "a number that float64 can hold"),
}


def type_of(column: Array) -> str:
    """The name of a column's type."""
    return _KINDS[column.dtype.kind]


def to_column(values: Any, type: str | None = None) -> Array:
    """Values, one-dimensional, as an array of the given type or else of the one they have.

    Lists and object arrays may hold numbers, booleans, dates and times or strings, of one kind;
    None, NaN, NaT and pandas' NA are missing; without any value they are a number, but an object
    array of None only is text, as one with strings is.  `type` is one of the five, or a format of
    `datetime.strptime`; what is not of it already is read from its spelling, where a whole number
    is spelled as an integer ("3", not "3.0"), since a missing value turns integers into numbers.

    Raises `Misfit`, which knows the row, when a value does not fit.

    >>> to_column([3, None]), to_column([3, None], "text"), to_column(["1.12.2009"], "datetime")
    (array([ 3., nan]), array(['3', None], dtype=object),
     array(['2009-12-01T00:00:00.000000'], dtype='datetime64[us]'))
    """
    array = _typed(values, mixed=type is not None)
    if type is None or type_of(array) == ("datetime" if "%" in type else type):
        return array
    if array.dtype.kind == "b" and type in ("integer", "number"):
        return array.astype(_DTYPES[type])
    codes, distinct = factorize(array)
    words = [spelled(value) for value in distinct.tolist()]
    try:
        return parse([*words, None] if (codes < 0).any() else words, type)[codes]
    except Misfit as misfit:
        row = int(np.argmax(codes == misfit.row))
        raise Misfit(row, misfit.value, misfit.expected) from None


def parse(words: Sequence[str | None], type: str | None = None) -> Array:
    """Strings (None: missing) as an array of the given or else of the first fitting type.

    The types are tried as they stand in this module's table, all values must fit, and a column
    without any is a number.  Codes with leading zeros are text, as are whole numbers that the
    array would not hold exactly.  Without `type`, a boolean is spelled true or false (in any case);
    "boolean" takes yes/no, y/n, t/f and 1/0 too.  A date stands with its year first (ISO 8601,
    2009/12/1, 2009年12月1日) or as day.month.year; day/month/year and month/day/year are told apart
    by a number above 12 somewhere in the column, and are no dates without one.

    >>> parse(["1", None]), parse(["007", "8"]), parse(["True", "FALSE"])
    (array([ 1., nan]), array(['007', '8'], dtype=object), array([ True, False]))
    """
    if type is None:
        known = [word.strip() for word in words if word is not None]
        for type, spelling in _SPELLINGS.items() if known else ():
            if all(map(spelling.fullmatch, known)):
                try:
                    return parse(words, type)
                except Misfit:
                    continue
        type = "text" if known else "number"
    convert, expected = _reader(type, words)
    values = []
    for row, word in enumerate(words):
        try:
            values.append(None if word is None else convert(word))
        except (ValueError, KeyError, OverflowError):
            raise Misfit(row, word, expected) from None
    return _array(values, "datetime" if "%" in type else type)


def spelled(value: Any) -> str:
    """A value as text, such that `parse` finds it again.

    >>> spelled(3.0), spelled(0.1), spelled(True), spelled(np.datetime64("2009-12-01T07:45"))
    ('3', '0.1', 'True', '2009-12-01T07:45')
    """
    if isinstance(value, float | np.floating):
        number = float(value)
        whole = abs(number) <= _EXACT and number.is_integer()
        return str(int(number)) if whole else repr(number)
    return str(value)


def factorize(column: Array) -> tuple[Array, Array]:
    """Codes (n,) and distinct values (k,) with `values[codes]` the column; −1 is missing.

    Text stands in the order of its first appearance, everything else ascending.

    >>> factorize(to_column(["S", None, "M", "S"]))
    (array([ 0, -1,  1,  0]), array(['S', 'M'], dtype=object))
    """
    if column.dtype.kind != "O":
        values, codes = np.unique(column, return_inverse=True)
        gaps = values != values
        return np.where(gaps[codes], -1, codes), values[~gaps]
    index: defaultdict[Any, int] = defaultdict(count().__next__)
    index[None] = -1
    codes = np.fromiter(map(index.__getitem__, column), np.intp, len(column))
    del index[None]
    return codes, _objects(index)


def missing(column: Array) -> Array:
    """Where a column has no value, (n,) bool.

    >>> missing(to_column(["S", None]))
    array([False,  True])
    """
    gaps: Array = column == np.array(None) if column.dtype.kind == "O" else column != column
    return gaps


class Misfit(ValueError):
    """A value that a column cannot hold: its row, itself, and what was expected."""

    def __init__(self, row: int, value: Any, expected: str) -> None:
        super().__init__(f"found {short(value)}, expected {expected}")
        self.row, self.value, self.expected = row, value, expected


def short(value: Any) -> str:
    """A value in a few letters of one line, whatever it holds.

    >>> short("two\\nlines"), short(1 / 3), short(np.datetime64("2009-12-01T07:45:00.000000"))
    ("'two\\\\nlines'", '0.333333', '2009-12-01 07:45:00')
    """
    if isinstance(value, np.datetime64):
        return str(value.astype("M8[s]")).replace("T", " ")
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else f"{text[:38]}…'"


def check_types(types: Mapping[str, str], names: Iterable[str]) -> None:
    """Raise a ValueError unless every key is one of `names` and every value a type."""
    known = list(names)
    for name, type in types.items():
        if name not in known:
            raise ValueError(f"types: no column {name!r} among {listed(known)}")
        if type not in _DTYPES and "%" not in type:
            expected = f"{', '.join(_DTYPES)} or a strptime format"
            raise ValueError(f"types: column {name!r}: found {type!r}, expected {expected}")


def listed(names: Sequence[str]) -> str:
    """The first twenty names, quoted."""
    return ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "") or "no columns"


def _typed(values: Any, mixed: bool) -> Array:
    """Anything one-dimensional as one of the five arrays; `mixed`: a mixture becomes text."""
    array = _as_array(values)
    if array.ndim != 1:
        raise ValueError(f"found an array of shape {array.shape}, expected one dimension")
    kind = array.dtype.kind
    if kind in "ib" or (kind == "u" and not (array > np.iinfo(np.int64).max).any()):
        return array.astype(bool if kind == "b" else np.int64, copy=False)
    if kind == "f":
        return array.astype(np.float64, copy=False)
    if kind == "M":
        return _microseconds(array)
    if kind == "O" and (found := set(map(type, array))) <= {str, type(None)}:
        if str in found or isinstance(values, np.ndarray):
            return array
    if kind in "OUT":
        return _from_objects(array.astype(object, copy=False), mixed)
    raise ValueError(f"found {array.dtype}, expected integers, numbers, booleans, times or text")


def _as_array(values: Any) -> Array:
    if isinstance(values, np.ma.MaskedArray):
        array = values.data.astype(object)
        array[np.ma.getmaskarray(values)] = None
        return array
    if not hasattr(values, "__array__"):
        return _objects(values)
    array = np.asarray(values)
    # As arrays, pyarrow's dictionaries take a missing value for the last word, and integers with
    # missing values become floats unseen, in polars too.
    source = str(getattr(values, "type", getattr(values, "dtype", "")))
    integers = array.dtype.kind == "f" and re.match("u?int", source, re.IGNORECASE)
    if source.startswith("dictionary") or integers and (np.abs(array) >= _EXACT).any():
        return _objects(values.to_pylist() if hasattr(values, "to_pylist") else values)
    return array


def _microseconds(array: Array) -> Array:
    exact = array.astype("M8[us]")
    # A coarse unit reaches further than microseconds do, and NumPy wraps around in silence.
    wrapped = (exact.astype("M8[D]") != array.astype("M8[D]")) & ~np.isnat(array)
    if wrapped.any():
        row = int(np.argmax(wrapped))
        raise Misfit(row, str(array[row]), "a time that fits datetime64[us]")
    return exact


def _objects(values: Iterable[Any]) -> Array:
    """A one-dimensional object array, whatever the values are."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"found {short(values)}, expected a column of values")
    items = list(values)
    return np.fromiter(items, dtype=object, count=len(items))


def _kind(value: Any) -> str | None:
    """The type of a Python object, None for a missing value."""
    if isinstance(value, str):
        return "text"
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, bool | np.bool_):
        return "boolean"
    if isinstance(value, Integral):
        return "integer"
    if isinstance(value, Decimal):
        return None if value.is_nan() else "number"
    if isinstance(value, Real):
        return None if value != value else "number"
    if isinstance(value, date | np.datetime64):
        return None if value != value else "datetime"
    return type(value).__name__


def _from_objects(array: Array, mixed: bool) -> Array:
    kinds = list(map(_kind, array))
    first = next((kind for kind in kinds if kind is not None), "number")
    allowed = {first}
    if first in ("integer", "number") and "number" in kinds:
        first, allowed = "number", {"integer", "number"}
    for row, kind in enumerate(kinds):
        if kind is not None and kind not in _DTYPES:
            raise Misfit(row, array[row], f"one of the types {', '.join(_DTYPES)}")
        if kind is not None and kind not in allowed:
            if not mixed:
                raise Misfit(row, array[row], f"the type {first}, as in the rows before it")
            first = "text"
    if first == "text":
        array = _objects(kind and spelled(value) for kind, value in zip(kinds, array))
    return _array([kind and value for kind, value in zip(kinds, array)], first)


def _array(values: list[Any], type: str) -> Array:
    """Python values of one type, None where missing, as an array."""
    if type == "datetime":
        values = [_without_zone(value) for value in values]
    if type == "text":
        return _objects(value if value is None else str(value) for value in values)
    present = [value for value in values if value is not None]
    if type in _RANGES:
        low, high, expected = _RANGES[type]
        if type == "integer" and len(present) < len(values):
            low, high, expected = -_EXACT, _EXACT, "at most 2**53 beside missing values, or text"
        for row, value in enumerate(values):
            if value is not None and not low <= value <= high and abs(value) != np.inf:
                raise Misfit(row, value, expected)
    array = np.array(present, dtype=_DTYPES[type])
    if len(present) == len(values):
        return array
    if type == "datetime":
        whole = np.full(len(values), np.datetime64("NaT"), dtype=array.dtype)
    else:
        whole = np.full(len(values), np.nan)
    whole[[value is not None for value in values]] = array
    return whole


def _without_zone(value: Any) -> Any:
    aware = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC).replace(tzinfo=None) if aware else value


# The spellings that `parse` takes for a type by itself; a number that is a code loses by its value.
_SPELLINGS = {
    "integer": re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII),
    "number": re.compile(r"(?![+-]?(0\d|\d{16})\d*$).*", re.ASCII),
    "boolean": re.compile(r"true|false", re.ASCII | re.IGNORECASE),
    "datetime": re.compile(r"\d.*", re.ASCII),
}
_WHOLE = re.compile(r"[+-]?0*\d{1,19}(\.0*)?", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?", re.ASCII)
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T]+(\d{1,2})(:.*))?", re.ASCII)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(\D.*)?", re.ASCII)
_TRUTH = {"true": True, "yes": True, "y": True, "t": True, "1": True}
_TRUTH |= {"false": False, "no": False, "n": False, "f": False, "0": False}


def _reader(type: str, words: Iterable[str | None]) -> tuple[Callable[[str], Any], str]:
    """The function that reads a word as a value of the type, and what it expects to see."""
    if type == "text":
        return str, "text"
    if type == "integer":
        return _integer, "an integer of 64 bits"
    if type == "number":
        return _number, "a number"
    if type == "boolean":
        return lambda word: _TRUTH[word.strip().lower()], "true or false"
    if "%" in type:
        return lambda word: datetime.strptime(word.strip(), type), f"a time written as {type!r}"
    order = _order(words)
    if order is None:
        expected = "a date whose day and month can be told apart (or a type such as '%d/%m/%Y')"
        return lambda word: _datetime(word, ""), expected
    return lambda word: _datetime(word, order), "a date or time, year first or last"


def _integer(word: str) -> int:
    word = word.strip()
    if not _WHOLE.fullmatch(word):
        raise ValueError
    return int(word.partition(".")[0])


def _number(word: str) -> float:
    word = word.strip()
    value = float(word)
    if "_" in word or (value in (np.inf, -np.inf) and word[-1].isdigit()):
        raise ValueError  # 1_000 is Python's spelling only, and 1e400 is not infinite
    return value


def _order(words: Iterable[str | None]) -> str | None:
    """How dates with the year last begin, with "day" or "month"; None if nothing tells."""
    dates = [match for word in words if word and (match := _YEAR_LAST.fullmatch(word.strip()))]
    day = any(int(match[1]) > 12 or match[2] == "." for match in dates)
    month = any(int(match[3]) > 12 for match in dates)
    return None if dates and day == month else "month" if month else "day"


def _datetime(word: str, order: str) -> datetime:
    word = word.strip()
    if _ISO.fullmatch(word):
        return datetime.fromisoformat(word)
    if order and (match := _YEAR_LAST.fullmatch(word)):
        day, _, month, year, rest = match.groups("")
        if order == "month":
            day, month = month, day
        word = f"{year}-{month}-{day}{rest}"
    if not (match := _DATE.fullmatch(word)):
        raise ValueError
    year, month, day, hour, rest = match.groups("")
    clock = f"T{hour:0>2}{rest}" if hour else ""
    return datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}{clock}")
