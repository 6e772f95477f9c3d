"""Splits: which rows train, which choose, which test; by class, by group, by time, and folds.

The document splits once and at random (§5); on a shop's data that flatters, because equal rows and
one customer's rows land on both sides and tomorrow explains today.  Every split here is one answer
to one question: to which part goes each group of rows that must stay together?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from operator import index
from typing import Any

import numpy as np

from nnrec.data.columns import Array, factorize
from nnrec.data.tables import Table

Seed = int | np.random.Generator | None

THREE_PARTS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def split(
    rows: int | Sized,
    parts: Mapping[str, float] = THREE_PARTS,
    *,
    stratify: Any = None,
    groups: Any = None,
    time: Any = None,
    rng: Seed = 0,
) -> dict[str, Array]:
    """Divide rows into named parts of given shares: name → row numbers, ascending.

    rows: their number, or anything with a length.  parts: name → share, shares sum to 1.
    stratify: (n,) classes whose proportions every part keeps, and each part gets some of each.
    groups: (n,) ids; the rows of one group stay together (see `equal_rows`).
    time: (n,) numbers or datetime64; the parts follow one another in the order given, and rows of
    one moment stay together.  It leaves no choice, so neither of the other two may be given too.

    Choose models and thresholds on "validation" (or by `folds` of "train") and look at "test" once.
    ValueError if a part would be empty, or would have no row of a class.

    >>> split(10, {"train": 0.8, "test": 0.2})["test"]
    array([1, 8])
    >>> bought = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    >>> train, test = split(9, {"train": 2 / 3, "test": 1 / 3}, stratify=bought).values()
    >>> bought[train], bought[test]
    (array([0, 0, 0, 0, 1, 1]), array([0, 0, 1]))
    """
    names, shares = list(parts), np.array(list(parts.values()), float)
    if not len(names) or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-9:
        raise ValueError(f"parts: {dict(parts)}; expected shares above 0 that sum to 1")
    part = _part_of_rows(rows, names, shares, stratify, groups, time, rng)
    return {name: np.flatnonzero(part == p) for p, name in enumerate(names)}


def folds(
    rows: int | Sized,
    k: int = 10,
    *,
    stratify: Any = None,
    groups: Any = None,
    time: Any = None,
    rng: Seed = 0,
) -> list[tuple[Array, Array]]:
    """k pairs (train rows, test rows); every row is tested once.  Arguments as for `split`.

    By time there are k + 1 blocks of equal size; fold i trains on the first i and tests on the next
    one, so the first block is never tested.

    >>> [test.tolist() for _, test in folds(7, 3)]
    [[2, 3, 4], [5, 6], [0, 1]]
    >>> [(train.tolist(), test.tolist()) for train, test in folds(6, 2, time=[1, 2, 3, 4, 5, 6])]
    [([0, 1], [2, 3]), ([0, 1, 2, 3], [4, 5])]
    """
    least = 1 if time is not None else 2
    if k < least:
        raise ValueError(f"k={k}: expected at least {least} folds")
    blocks = k if time is None else k + 1
    names = [f"fold {i + 1}" if time is None else f"block {i + 1}" for i in range(blocks)]
    shares = np.full(blocks, 1 / blocks)
    part = _part_of_rows(rows, names, shares, stratify, groups, time, rng)
    if time is not None:
        return [(np.flatnonzero(part < i), np.flatnonzero(part == i)) for i in range(1, blocks)]
    return [(np.flatnonzero(part != i), np.flatnonzero(part == i)) for i in range(k)]


def equal_rows(table: Table) -> Array:
    """(n,) int64: equal rows of a table have equal ids, for `groups`.  Missing equals missing.

    Leave the label out if a row that differs in nothing else should not stand on both sides.

    >>> from nnrec.data.tables import Table
    >>> equal_rows(Table({"page": ["a", "b", "a", "a"], "seconds": [3, 5, 3, 4]}))
    array([0, 2, 0, 1])
    """
    ids = np.zeros(len(table), np.int64)
    for name in table.names:
        codes, values = factorize(table[name])
        _, ids = np.unique(ids * (len(values) + 1) + codes, return_inverse=True)
    return ids


def _part_of_rows(
    rows: int | Sized,
    names: Sequence[str],
    shares: Array,
    stratify: Any,
    groups: Any,
    time: Any,
    rng: Seed,
) -> Array:
    """(n,): the part of each row."""
    n = len(rows) if isinstance(rows, Sized) else index(rows)
    if time is None:
        one_class = np.zeros(n, np.int64)
        label, classes = _checked(one_class if stratify is None else stratify, n, "stratify")
        group, _ = _checked(np.arange(n) if groups is None else groups, n, "groups")
        return _allot(label, classes, group, names, shares, np.random.default_rng(rng))
    if stratify is not None or groups is not None:
        raise ValueError("a split by time leaves no choice: give neither stratify nor groups")
    moments = np.asarray(time)
    if moments.shape != (n,) or moments.dtype.kind not in "iufM":
        raise ValueError(
            f"time: {moments.dtype} of shape {moments.shape}; expected {n} numbers or datetime64"
        )
    _refuse(moments != moments, moments, "time")  # NaN, NaT
    if n < len(names):
        raise ValueError(f"{n} rows are too few for {len(names)} parts")
    starts = np.rint(np.cumsum(shares)[:-1] * n).astype(int)
    # A row belongs to the last part whose first moment is not after it: ties can't be torn apart.
    part = np.searchsorted(np.sort(moments)[np.minimum(starts, n - 1)], moments, side="right")
    sizes = np.bincount(part, minlength=len(names))
    if not sizes.all():
        name = names[int(np.argmin(sizes))]
        raise ValueError(f"{name!r} gets no row: too few different times among {n} rows")
    return part


def _allot(
    label: Array,
    classes: Array,
    group: Array,
    names: Sequence[str],
    shares: Array,
    rng: np.random.Generator,
) -> Array:
    """Deal groups to parts, the largest first, each where it most lowers Pearson's

        χ² = Σ_p Σ_c (got_pc − goal_pc)² / goal_pc,    goal_pc = share_p · rows of class c,

    with one more c for all rows, which weighs a tenth.  Groups with the same class counts are dealt
    together, so the work grows with the number of different counts, not of groups or rows.
    """
    P, C = len(names), len(classes)
    n_groups = int(group.max(initial=-1)) + 1
    if n_groups < P:
        what = "groups" if n_groups < len(group) else "rows"
        raise ValueError(f"{n_groups} {what} are too few for {P} parts")
    # Equal class counts ⇔ equal sums of one random 64-bit number per class (but for odds of 2⁻⁶⁴).
    signs = np.random.default_rng(0).integers(2**64, size=C, dtype=np.uint64)
    signature = np.zeros(n_groups, np.uint64)
    np.add.at(signature, group, signs[label])
    _, example, kind, copies = np.unique(signature, True, True, True)
    counts = np.zeros((len(example), C + 1))
    rows = example[kind[group]] == group
    np.add.at(counts, (kind[group[rows]], label[rows]), 1)
    counts[:, -1] = counts.sum(axis=1)

    goal = shares[:, None] * (copies @ counts)
    cost = 1 / goal
    cost[:, -1] /= 10
    got = np.zeros_like(goal)
    members = rng.permutation(n_groups)
    members = members[np.argsort(kind[members], kind="stable")]
    start = np.concatenate([[0], np.cumsum(copies)])
    part = np.empty(n_groups, np.int64)
    for t in np.argsort(-counts[:, -1], kind="stable"):
        v = counts[t]
        first = (v + 2 * (got - goal)) * cost @ v
        dealt = _cheapest(first, 2 * cost @ (v * v), copies[t])
        part[members[start[t] : start[t + 1]]] = np.repeat(np.arange(P), dealt)
        got += dealt[:, None] * v
    for p, c in np.argwhere(got == 0)[::-1]:
        if c == C:
            raise ValueError(f"{names[p]!r} gets no row of {len(label)}: its share is too small")
        theirs = label == c
        raise ValueError(
            f"{names[p]!r} gets no row of class {classes.tolist()[c]!r}: its {theirs.sum()} rows "
            f"in {len(np.unique(group[theirs]))} groups are too few for {P} parts"
        )
    return part[group]


def _cheapest(first: Array, slope: Array, m: int) -> Array:
    """How often each part is taken if m times the cheapest is: its x-th copy costs first + slope·x.

    >>> _cheapest(np.array([0.0, 2.5]), np.array([1.0, 1.0]), 5)
    array([4, 1])
    """
    before = first - slope
    order = np.argsort(before, kind="stable")
    a, b = before[order], slope[order]
    # Copies to be had below a common price, were they divisible, if only the first 1, 2, … parts
    # give any; whole ones are no more than that, and what is left is bought one at a time.
    price = (m + np.cumsum(a / b)) / np.cumsum(1 / b)
    level = price[np.flatnonzero(price >= a)[-1]]
    taken: Array = np.maximum(np.floor((level - before) / slope), 0).astype(np.int64)
    for _ in range(m - int(taken.sum())):
        taken[np.argmin(first + slope * taken)] += 1
    return taken


def _checked(values: Any, n: int, name: str) -> tuple[Array, Array]:
    """Codes (n,) of ids and the different ids; ValueError for a missing one."""
    values = np.asarray(values)
    if values.shape != (n,):
        raise ValueError(f"{name} has shape {values.shape}; expected ({n},)")
    codes, distinct = factorize(values)
    _refuse(codes < 0, values, name)
    return codes, distinct


def _refuse(missing: Array, values: Array, name: str) -> None:
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(f"{name} is missing in row {row}: found {values[row]}")
