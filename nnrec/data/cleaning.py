"""Cleaning: rules applied in order, learned from the training part, and a report (§3.2.2).

Row rules take rows out of the training table; of a table that is to be predicted they only count
the rows, since each of them gets its prediction.  Cell rules change values, everywhere by the
training part's statistics.  The rules themselves are in `rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrec.data.columns import Array
from nnrec.data.rules import CellRule, RowRule
from nnrec.data.tables import Table, grid


class Cleaning:
    """Rules, applied one after the other: each sees what the ones before it have left.

    label: a column that cell rules leave alone and that a table to be predicted need not have.

    >>> from nnrec.data.rules import DropDuplicates, DropWhere, Fill
    >>> orders = Table({"order": ["1", "1", "C2", "3", "4"], "pieces": [2, 2, -1, None, 8]})
    >>> rules = [DropWhere("order", "starts with", "C"), DropDuplicates(), Fill("pieces")]
    >>> cleaning = Cleaning(rules)
    >>> table, report = cleaning.fit_transform(orders)
    >>> report.kept
    array([0, 3, 4])
    >>> print(report)
    5 rows came, 3 are left
    rule                              rows  cells  columns
    drop where order starts with 'C'     1
    drop repeated rows                   1
    fill missing values                  1      1  pieces 1
    >>> table["pieces"], table["pieces missing"]
    (array([2., 5., 8.]), array([False,  True, False]))
    >>> table, report = cleaning.transform({"order": ["C5"], "pieces": [None]})
    >>> len(table), table["pieces"], report.lines[0]
    (1, array([5.]), Touched(rule="drop where order starts with 'C'", rows=1, cells={},
     note='matched and kept'))
    """

    learned = ("types", "fitted")

    types: dict[str, str]
    fitted: list[RowRule | CellRule]

    def __init__(self, rules: Sequence[RowRule | CellRule], label: str | None = None) -> None:
        for rule in rules:
            if not isinstance(rule, RowRule | CellRule):
                raise TypeError(f"{rule!r} is no rule, such as Fill()")
        self.rules = list(rules)
        self.label = label

    def __repr__(self) -> str:
        label = "" if self.label is None else f", label={self.label!r}"
        return f"Cleaning({self.rules}{label})"

    def fit_transform(self, table: Any) -> tuple[Table, CleaningReport]:
        """Learn from the training part and clean it; a ValueError if no row is left for that."""
        table = Table.of(table)
        if self.label is not None:
            table[self.label]
        self.types = table.types
        self.fitted = deepcopy(list(self.rules))
        return self._run(table, training=True)

    def transform(self, table: Any) -> tuple[Table, CleaningReport]:
        """Clean any other table: as many rows come out as went in, in the same order.

        Its columns are cast to their types in the training part.  A column that a cell rule learned
        and that is absent is a ValueError; additional columns stay as they are.
        """
        if not hasattr(self, "fitted"):
            raise ValueError("this cleaning has learned nothing; call fit_transform first")
        table = Table.of(table)
        known = {name: type_ for name, type_ in self.types.items() if name in table}
        return self._run(table.cast(known), training=False)

    def _run(self, table: Table, training: bool) -> tuple[Table, CleaningReport]:
        lines, came = [], len(table)
        kept = np.arange(came)
        for rule in self.fitted:
            if isinstance(rule, RowRule):
                touched, stay = _drop(rule, table, training)
                if not stay.all():
                    table, kept = table.take(stay), kept[stay]
            else:
                if training and not len(table):
                    raise ValueError(f"{rule}: no row is left to learn from")
                if training:
                    rule.fit(table, self.label)
                table, touched = _change(rule, table)
            lines.append(touched)
        return table, CleaningReport(came, kept, lines)


@dataclass
class Touched:
    """What one rule did: rows dropped or changed, and cells changed in each column."""

    rule: str
    rows: int
    cells: dict[str, int]
    note: str = ""


@dataclass(eq=False)
class CleaningReport:
    """How many rows and cells each rule touched, in order; prints as a table.

    kept: the numbers of the rows that are left, in the table that came, ascending.
    """

    rows_before: int
    kept: Array
    lines: list[Touched]

    @property
    def rows_after(self) -> int:
        return len(self.kept)

    def __str__(self) -> str:
        lines = [("rule", "rows", "cells", "columns")]
        for line in self.lines:
            counts = [f"{name} {count:,}" for name, count in line.cells.items()]
            cells = f"{sum(line.cells.values()):,}" if line.cells else ""
            columns = "; ".join(filter(None, [", ".join(counts), line.note]))
            lines.append((line.rule, f"{line.rows:,}", cells, columns))
        came = f"{self.rows_before:,} rows came, {self.rows_after:,} are left"
        return f"{came}\n{grid(lines, '<>><')}"


def _drop(rule: RowRule, table: Table, training: bool) -> tuple[Touched, Array]:
    """What the rule matches, and which rows stay, (n,) bool."""
    all_stay = np.ones(len(table), dtype=bool)
    absent = [name for name in rule.needs() if name not in table]
    if absent and not training:  # the label, for one
        return Touched(str(rule), 0, {}, f"not looked for: no column {absent[0]!r}"), all_stay
    matches = rule.matches(table)
    touched = Touched(str(rule), int(matches.sum()), {}, "" if training else "matched and kept")
    return touched, ~matches if training else all_stay


def _change(rule: CellRule, table: Table) -> tuple[Table, Touched]:
    new = rule.transform(table)
    changed = {name: _changed(table[name], new[name]) for name in new if name in table}
    cells = {name: int(mask.sum()) for name, mask in changed.items() if mask.any()}
    rows = int(np.sum(np.logical_or.reduce(list(changed.values()), axis=0)))
    note = "; ".join(f"{name} left alone: {why}" for name, why in rule.skipped.items())
    return table.with_columns(new), Touched(str(rule), rows, cells, note)


def _changed(old: Array, new: Array) -> Array:
    """Where values differ; missing equals missing."""
    return np.asarray((old != new) & ((old == old) | (new == new)), dtype=bool)
