"""Tables: ordered, named, typed columns, from a file or from anything with named columns.

The entrance of §3.2.1 (data collection).  The types, and how strings become values, are in
`nnrec.data.columns`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import math
import unicodedata
import zlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from nnrec.data.columns import (
    Array,
    Misfit,
    check_types,
    factorize,
    listed,
    parse,
    short,
    to_column,
    type_of,
)

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "<NA>", "#N/A", r"\N")
"""What a file may write for a missing value.  Not "None": that is often a category."""


class Table:
    """Ordered, named, one-dimensional columns of equal length.

    `columns` maps names to anything one-dimensional; each is turned into one of the five types of
    this module, without a copy if it has it already.  Values that are no numbers, booleans,
    times or strings, or a mixture of those in one column, are a ValueError that names column and
    row, unless `types` (column → type) says how to read them.

    >>> table = Table({"item": ["mug", "pen", None], "price": [4.5, 2, 3]})
    >>> table.names, len(table), table["price"].mean().item()
    (['item', 'price'], 3, 3.1666666666666665)
    >>> print(table.take([0, 2]).with_columns({"sold": [True, False]}))
    2 rows × 3 columns
    column  type     missing  distinct  values
    item    text           1         1  'mug' 1
    price   number         0         2  3 … 4.5, median 3
    sold    boolean        0         2  False 1, True 1
    """

    def __init__(self, columns: Mapping[str, Any], types: Mapping[str, str] | None = None) -> None:
        types = types or {}
        check_types(types, columns)
        self._columns: dict[str, Array] = {}
        for name, values in columns.items():
            if not isinstance(name, str):
                raise TypeError(f"column name {name!r}: expected a str")
            try:
                self._columns[name] = to_column(values, types.get(name))
            except Misfit as misfit:
                raise ValueError(f"column {name!r}, row {misfit.row}: {misfit}") from None
            except (ValueError, TypeError) as error:
                raise type(error)(f"column {name!r}: {error}") from None
        lengths = {name: len(column) for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")

    @classmethod
    def of(cls, data: Any, types: Mapping[str, str] | None = None) -> Table:
        """From a mapping, a record array, a pandas, polars or pyarrow table; narwhals adds others.

        All that is asked of `data` is names (`dtype.names`, `column_names`, `columns` or `keys()`)
        and `data[name]`, which NumPy can turn into an array.

        >>> Table.of(np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f4")])).types
        {'n': 'integer', 'x': 'number'}
        """
        if isinstance(data, Table):
            return data.cast(types) if types else data
        names = None if hasattr(data, "collect") else _names(data)  # a lazy frame has no values yet
        if names is None or not hasattr(data, "__getitem__"):
            data = _through_narwhals(data)
            names = _names(data) or []
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise ValueError(f"column name {twice[0]!r} stands {names.count(twice[0])} times")
        return cls({name: data[name] for name in names}, types)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        types: Mapping[str, str] | None = None,
        missing: Sequence[str] = MISSING,
        delimiter: str | None = None,
        encoding: str = "utf-8",
    ) -> Table:
        """Read .csv, .tsv (also .gz) or .parquet; the first line holds the names.

        Each column gets the first type that fits all its values (see `nnrec.data.columns.parse`),
        or the one that `types` names: {"Browser": "text", "day": "%d/%m/%Y"}.  Values equal to one
        of `missing`, surrounding spaces aside, are missing.  Blank lines are no rows.  A column
        without a name is called column_1 after its place.  Without `delimiter`, a .csv whose header
        has no comma but semicolons, tabs or bars (only one of them) is split there.

        Every error is a ValueError that names file, line (the physical line on which the row
        begins) and column, the value found and what was expected.
        """
        path = Path(path)
        if path.suffix == ".parquet":
            return cls.of(_read_parquet(path), types)
        file = _Delimited(path, delimiter, encoding)
        try:
            check_types(types or {}, file.names)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        columns = {}
        for name, (codes, words) in zip(file.names, file.columns()):
            known = [None if word.strip() in missing else word for word in words]
            try:
                columns[name] = parse(known, (types or {}).get(name))[codes]
            except Misfit as misfit:
                raise file.misfit(misfit, int(np.argmax(codes == misfit.row)), name) from None
        return cls._made(columns)

    @classmethod
    def _made(cls, columns: dict[str, Array]) -> Table:
        """A table of columns that are known to be right."""
        table = cls.__new__(cls)
        table._columns = columns
        return table

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return list(self._columns)

    @property
    def types(self) -> dict[str, str]:
        """The columns' types, as `cast`, `read` and `of` take them."""
        return {name: type_of(column) for name, column in self._columns.items()}

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __getitem__(self, name: str) -> Array:
        if name not in self._columns:
            raise ValueError(f"no column {name!r}; the table has {listed(self.names)}")
        return self._columns[name]

    def take(self, rows: Any) -> Table:
        """The rows of these indices, in this order, or of this mask or slice; all columns.

        >>> Table({"x": [5, 6, 7]}).take([True, False, True])["x"]
        array([5, 7])
        """
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows.astype(np.intp) if rows.size == 0 else rows
            if rows.ndim != 1 or rows.dtype.kind not in "iub":
                raise TypeError(f"rows: {rows.dtype} of shape {rows.shape}; expected indices")
            n, size = len(self), len(rows)
            if rows.dtype.kind == "b" and size != n:
                raise ValueError(f"rows: a mask of {size} for a table of {n} rows")
            if rows.dtype.kind != "b" and size and not -n <= rows.min() <= rows.max() < n:
                raise ValueError(f"rows {rows.min()} … {rows.max()}: the table has {n} rows")
        return self._made({name: column[rows] for name, column in self._columns.items()})

    def without(self, *names: str) -> Table:
        """All columns but these."""
        for name in names:
            self[name]
        return self._made({name: col for name, col in self._columns.items() if name not in names})

    def with_columns(self, columns: Mapping[str, Any] | Table) -> Table:
        """These columns too: in place of those of the same name, or at the end."""
        new = columns if isinstance(columns, Table) else Table(columns)
        if self.names and new.names and len(new) != len(self):
            raise ValueError(f"columns of {len(new)} rows for a table of {len(self)} rows")
        return self._made({**self._columns, **new._columns})

    def cast(self, types: Mapping[str, str]) -> Table:
        """Columns of other types; a value that does not fit is a ValueError that names its row.

        A whole number becomes text as an integer ("3", not "3.0"): an integer column with a
        missing value is a number and must not change its spelling by that.

        >>> Table({"id": [3.0, np.nan]}).cast({"id": "text"})["id"]
        array(['3', None], dtype=object)
        """
        check_types(types, self._columns)
        changed = {name: type_ for name, type_ in types.items() if self.types[name] != type_}
        return self.with_columns(Table({name: self[name] for name in changed}, changed))

    def describe(self) -> str:
        """One line a column: its type, missing and distinct values, range or commonest values."""
        head = f"{len(self):,} row{'s' * (len(self) != 1)} × {len(self.names)} columns"
        lines = [("column", "type", "missing", "distinct", "values")]
        for name, column in self._columns.items():
            codes, distinct = factorize(column)
            counts = np.bincount(codes[codes >= 0], minlength=len(distinct))
            if column.dtype.kind in "Ob":
                order = np.argsort(-counts, kind="stable")[:3]
                values = ", ".join(f"{short(distinct[i])} {counts[i]:,}" for i in order)
            elif len(distinct) == 0:
                values = ""
            else:
                middle = np.sort(column[codes >= 0])[(counts.sum() - 1) // 2]
                low, high = distinct[0], distinct[-1]
                values = f"{short(low)} … {short(high)}, median {short(middle)}"
            missing = f"{np.count_nonzero(codes < 0):,}"
            lines.append((name, type_of(column), missing, f"{len(distinct):,}", values))
        return f"{head}\n{grid(lines, '<<>><')}"

    def __str__(self) -> str:
        return self.describe()

    def __repr__(self) -> str:
        return f"Table({len(self)} rows: {listed(self.names)})"


class _Delimited:
    """A file of delimited text, in memory, which can tell where a value stands."""

    def __init__(self, path: Path, delimiter: str | None, encoding: str) -> None:
        self.path, self.encoding = path, encoding
        self.names: list[str] = []
        suffix = Path(path.name.lower().removesuffix(".gz")).suffix
        self.delimiter = delimiter or {".csv": ",", ".tsv": "\t"}.get(suffix, "")
        if not self.delimiter:
            raise self.error("expected .csv, .tsv or .parquet, or a delimiter")
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise self.error(f"found delimiter {delimiter!r}, expected one character")
        self.raw = path.read_bytes()
        if path.suffix.lower() == ".gz":
            try:
                self.raw = gzip.decompress(self.raw)
            except (OSError, EOFError, zlib.error) as error:
                raise self.error(f"found no whole gzip file: {error}") from None
        if encoding.lower() in ("utf-8", "utf8"):
            self.raw = self.raw.removeprefix(codecs.BOM_UTF8)
        self._check_text()
        header = next(self._rows(), [])
        marks = [mark for mark in ";\t|" if len(header) == 1 and mark in header[0]]
        if delimiter is None and suffix == ".csv" and len(marks) == 1:
            self.delimiter = marks[0]
            header = next(self._rows())
        self.names = [name or f"column_{i}" for i, name in enumerate(header, start=1)]
        if not header:
            raise self.error("found an empty file, expected a line of column names")
        for name, times in Counter(self.names).items():
            if times > 1:
                places = [i for i, other in enumerate(self.names, start=1) if other == name]
                text = f"found this name in the places {places}, expected it once"
                raise self.error(text, self._line(-1), name)

    def columns(self) -> list[tuple[Array, list[str]]]:
        """Each column's codes (n,) and distinct words: `words[codes[row]]` is what stands there."""
        rows = self._rows()
        next(rows)
        indices = [defaultdict[str, int](count().__next__) for _ in self.names]
        blocks: list[list[Array]] = [[] for _ in self.names]
        done = 0
        while block := list(islice(rows, 1_024)):  # small enough to stay in the cache
            if set(map(len, block)) != {len(self.names)}:
                raise self._ragged(block, done)
            for index, codes, words in zip(indices, blocks, zip(*block)):
                codes.append(np.fromiter(map(index.__getitem__, words), np.intp, len(words)))
            done += len(block)
        if not done:
            raise self.error("found a header and no rows, expected at least one")
        return [(np.concatenate(codes), list(index)) for index, codes in zip(indices, blocks)]

    def error(self, text: str, line: int | None = None, name: str | None = None) -> ValueError:
        where = [str(self.path)] + [f"line {line}"] * (line is not None)
        return ValueError(f"{', '.join(where + [f'column {name!r}'] * (name is not None))}: {text}")

    def misfit(self, misfit: Misfit, row: int, name: str) -> ValueError:
        return self.error(str(misfit), self._line(row), name)

    def _rows(self) -> Iterator[list[str]]:
        """The rows, header first, without blank lines."""
        reader = self._reader()
        try:
            yield from filter(None, reader)
        except csv.Error as error:
            raise self._broken(error) from None

    def _text(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(io.BytesIO(self.raw), self.encoding, newline="")

    def _reader(self) -> Any:
        return csv.reader(self._text(), delimiter=self.delimiter, strict=True)

    def _line(self, row: float) -> int:
        """The physical line on which a row begins: −1 is the header, ∞ the unreadable one."""
        reader, at, begin = self._reader(), -2, 1
        while at < row:
            begin = int(reader.line_num) + 1
            try:
                at += bool(next(reader))
            except csv.Error:
                break
        return begin

    def _check_text(self) -> None:
        try:
            text = self.raw.decode(self.encoding)
        except LookupError as error:
            raise self.error(str(error)) from None
        except UnicodeDecodeError as error:
            wide = self.raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            guess = "'utf-16'" if wide else "'latin-1', or 'gb18030' (Chinese)"
            before = self.raw[: error.start].decode(self.encoding)
            found = f"found byte 0x{self.raw[error.start]:02x}, expected {self.encoding}"
            raise self.error(f"{found}; is it encoding={guess}?", *self._place(before)) from None
        if (at := text.find("\0")) >= 0:
            raise self.error("found a NUL byte, expected text", *self._place(text[:at]))

    def _place(self, before: str) -> tuple[int, str | None]:
        """Line and column of the character that follows `before`."""
        line = before.count("\n") + 1
        try:
            names, *rows = self._split(before + "?", strict=False)
        except csv.Error:  # a field that is too long: an open quote, but that is another error
            return line, None
        return line, names[min(len(rows[-1] if rows else names), len(names)) - 1]

    def _ragged(self, block: list[list[str]], done: int) -> ValueError:
        names = self.names
        row, fields = next((i, row) for i, row in enumerate(block) if len(row) != len(names))
        found = f"found {len(fields)} fields, expected {len(names)} between {self.delimiter!r}"
        name = names[min(len(fields), len(names) - 1)]
        return self.error(found, self._line(done + row), name)

    def _broken(self, error: csv.Error) -> ValueError:
        """What is wrong with the quotes, and in which column: the first prefix that fails tells."""
        begin = self._line(math.inf)
        record = "".join(islice(self._text(), begin - 1, None))[: 2 * csv.field_size_limit()]

        def fails(size: int) -> bool:
            try:
                list(self._split(record[:size], strict=True))
            except csv.Error as error:
                return "unexpected end" not in str(error)
            return False

        size = bisect_left(range(len(record) + 1), True, key=fails)
        *_, fields = self._split(record[: size - 1], strict=False)
        what = {"'": "text behind a closing quote", "f": "a field that is too long"}
        found = what.get(str(error)[0], "the end of the file inside quotes")
        expected = f"a closing quote, then {self.delimiter!r} or the end of the line"
        names = self.names or fields  # the header itself may be broken
        name = names[min(len(fields), len(names)) - 1]
        return self.error(f"found {found}, expected {expected}", begin, name)

    def _split(self, text: str, strict: bool) -> Iterator[list[str]]:
        lines = io.StringIO(text, newline="")
        return filter(None, csv.reader(lines, delimiter=self.delimiter, strict=strict))


def _names(data: Any) -> list[str] | None:
    """The names of the columns of `data`; None if it does not say."""
    names = getattr(getattr(data, "dtype", None), "names", None)
    for attribute in ("column_names", "columns", "keys"):
        names = getattr(data, attribute, None) if names is None else names
    names = names() if callable(names) else names
    return None if names is None else list(names)


def _through_narwhals(data: Any) -> Any:
    """The same data as something with columns, if narwhals knows it; lazy frames are computed."""
    found = f"found {type(data).__name__}, expected something with named columns"
    try:
        import narwhals
    except ImportError:
        raise TypeError(f"{found} (narwhals, if installed, knows more of them)") from None
    try:
        frame = narwhals.from_native(data)
    except TypeError:
        raise TypeError(f"{found}: a dict of arrays, a data frame") from None
    return frame.collect() if isinstance(frame, narwhals.LazyFrame) else frame


def _read_parquet(path: Path) -> Any:
    with path.open("rb") as file:
        try:
            from pyarrow.parquet import read_table as read
        except ImportError:
            try:
                from polars import read_parquet as read
            except ImportError:
                text = "reading Parquet takes pyarrow or polars: pip install 'nnrec[tables]'"
                raise ImportError(f"{path}: {text}") from None
        try:
            return read(file)
        except Exception as error:
            raise ValueError(f"{path}: found no Parquet file: {error}") from error


@contextmanager
def about(file: str) -> Iterator[None]:
    """Name the file in what is said of its table."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(file) else f"{file}: {text}") from None


def grid(lines: Sequence[Sequence[str]], align: str) -> str:
    """Lines of cells as text in columns; `align` holds < or > for each column.

    Characters that a terminal draws two wide (Chinese, Japanese, Korean) count as two.
    """

    def width(cell: str) -> int:
        return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in cell)

    widths = [max(map(width, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            cell + " " * (w - width(cell)) if side == "<" else " " * (w - width(cell)) + cell
            for cell, w, side in zip(line, widths, align)
        ).rstrip()
        for line in lines
    )
