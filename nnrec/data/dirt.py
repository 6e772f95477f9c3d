"""Dirt planted in a table, with a ledger of it: what cleaning (document §3.2.2) has to find.

Duplicated rows, missing cells, outliers and invalid categories, each in a known number at known
places, so that a cleaning report can be checked against the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnrec.data.columns import Array, factorize
from nnrec.data.tables import Table


@dataclass(frozen=True)
class Ledger:
    """What `plant_dirt` did. Rows are rows of the dirty table; `source` are rows of the clean one.

    source      (rows of the dirty table,) which clean row each is: `probability[ledger.source]`
    duplicates  the rows that copy the row before them
    missing, outliers, invalid   per column, the rows whose cell was spoilt
    """

    source: Array
    duplicates: Array
    missing: Mapping[str, Array] = field(default_factory=dict)
    outliers: Mapping[str, Array] = field(default_factory=dict)
    invalid: Mapping[str, Array] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """How many rows were doubled, and how many cells spoilt in each way, in all columns."""
        cells = {"missing": self.missing, "outliers": self.outliers, "invalid": self.invalid}
        found = {kind: sum(map(len, columns.values())) for kind, columns in cells.items()}
        return {"duplicates": len(self.duplicates)} | found


def plant_dirt(
    table: Table,
    *,
    duplicates: float = 0.01,
    missing: float = 0.001,
    outliers: float = 0.0005,
    invalid: float = 0.0005,
    keep: tuple[str, ...] = (),
    rng: Any = 0,
) -> tuple[Table, Ledger]:
    """A spoilt copy of the table, and the ledger of what was spoilt where.

    Each rate is a share, rounded to a whole number: of the rows for `duplicates`, of the cells with
    a value of every column that can be spoilt so for the rest. Missing: numbers, times and text.
    Outliers, beyond the clean maximum by 10 to 100 times the column's range: numbers and integers.
    Invalid categories: text of at most 30 values. No cell is spoilt twice, spoilt rows are not
    doubled, and booleans (a label, say) and the columns in `keep` stay as they are.

    >>> clean = Table({"price": np.arange(100.0), "purchase": np.arange(100) % 2 == 0})
    >>> dirty, ledger = plant_dirt(clean, missing=0.03, outliers=0.02, duplicates=0.05)
    >>> len(dirty), ledger.counts()
    (105, {'duplicates': 5, 'missing': 3, 'outliers': 2, 'invalid': 0})
    """
    rates = {"missing": missing, "outliers": outliers, "invalid": invalid}
    for name, rate in ({"duplicates": duplicates} | rates).items():
        if not 0 <= rate <= 1:
            raise ValueError(f"{name}={rate}: expected a share between 0 and 1")
    if missing + max(outliers, invalid) > 1:
        raise ValueError(f"{rates}: more cells than a column has")
    unknown = [name for name in keep if name not in table.names]
    if unknown:
        raise ValueError(f"keep={keep}: no column {unknown[0]!r}; the table has {table.names}")
    rng = np.random.default_rng(rng)
    n = len(table)
    spoilt: dict[str, Array] = {}
    cells: dict[str, dict[str, Array]] = {kind: {} for kind in rates}
    touched = np.zeros(n, dtype=bool)
    for name in table.names:
        column = spoilt[name] = table[name].copy()
        codes, values = factorize(column)
        shuffled, done = rng.permutation(np.flatnonzero(codes >= 0)), 0
        for kind in [] if name in keep else _ways_to_spoil(values):
            rows = np.sort(shuffled[done : done + round(rates[kind] * len(shuffled))])
            done += len(rows)
            if len(rows):
                column[rows] = _spoilt_cells(kind, values, len(rows), rng)
                cells[kind][name], touched[rows] = rows, True
    free, extra = np.flatnonzero(~touched), round(duplicates * n)
    if extra > len(free):
        raise ValueError(
            f"duplicates={duplicates}: {extra} rows, but only {len(free)} are unspoilt"
        )
    copied = np.sort(rng.choice(free, extra, replace=False))
    source = np.sort(np.concatenate([np.arange(n), copied]))
    place = {
        kind: {name: rows + np.searchsorted(copied, rows) for name, rows in columns.items()}
        for kind, columns in cells.items()
    }
    doubled = np.flatnonzero(np.diff(source, prepend=-1) == 0)
    return Table(spoilt).take(source), Ledger(source, doubled, **place)


def _ways_to_spoil(values: Array) -> list[str]:
    """The kinds of dirt that a column of these distinct values can hold."""
    text = ["missing", "invalid"] if len(values) <= 30 else ["missing"]
    ways = {"O": text, "f": ["missing", "outliers"], "i": ["outliers"], "M": ["missing"]}
    return ways.get(values.dtype.kind, [])


def _spoilt_cells(kind: str, values: Array, size: int, rng: np.random.Generator) -> Array:
    if kind == "invalid":
        known = {*values.tolist()}
        wrong = [word for word in ("???", "test", "錯誤", "Ünknown") if word not in known]
        return np.array(wrong, dtype=object)[rng.integers(len(wrong), size=size)]
    if kind == "outliers":
        low, high = float(values[0]), float(values[-1])
        far = high + (high - low or 1.0) * rng.uniform(10, 100, size)
        return far if values.dtype.kind == "f" else np.ceil(far).astype(np.int64)
    gap = {"O": None, "M": np.datetime64("NaT")}.get(values.dtype.kind, np.nan)
    return np.full(size, gap, dtype=values.dtype)
