"""Publishers' files of interactions: MovieLens, lines of "user item item …", the NCF split.

Plain or .gz.  Each reader checks every line and names file, line and what was expected.  Ids are
the files' whole numbers.
"""

from __future__ import annotations

import gzip
import zlib
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nnrec.data.columns import Array
from nnrec.data.interactions import Interactions, align


def read_movielens(path: str | Path) -> Interactions:
    """MovieLens-100K's u.data, u1.base, … (tabs), or ratings.dat of 1M and 10M ("::").

    Ratings are the values; times are datetime64, UTC.
    """
    return _of_rows(_numbers(path, 4))


def read_lists(*paths: str | Path) -> tuple[Interactions, ...]:
    """Files with lines "user item item …", e.g. train and test, on the same id maps.

    Of a line's items the first is taken for the oldest.  A user without items is in the id map.
    """
    return align(*map(_read_list, paths))


class NCFSplit(NamedTuple):
    """The leave-one-out split of He et al. (WWW 2017) with its candidates.

    candidates      CSR (n_users, n_items) bool: the 99 negatives of each user
    duplicates      how many test items stood among their own negatives and were taken out there
    """

    train: Interactions
    test: Interactions
    candidates: Any
    duplicates: int


def read_ncf(train: str | Path, test: str | Path, negatives: str | Path) -> NCFSplit:
    """The split's three files: X.train.rating (or pairs only), X.test.rating, X.test.negative.

    A line of negatives is "(user,item)", the test pair, then its candidates.  In the published
    ML-1M files 156 of 6,040 test items stand among their own candidates; an evaluator that lets an
    item compete with itself loses them.  They are taken out and counted.
    """
    train_log, test_log = (_of_rows(_numbers(path, 4, 2)) for path in (train, test))
    tested, rows, duplicates = [], [], 0
    for number, line in _lines(negatives):
        pair, *rest = line.split("\t")
        try:
            user, item = map(int, pair.strip("()").split(","))
            tested.append((user, item))
            rows.append([int(word) for word in rest if int(word) != item])
        except ValueError:
            raise _misfit(negatives, number, line, "(user,item), then items, by tabs") from None
        duplicates += len(rest) - len(rows[-1])
    asked = _of_lists([user for user, _ in tested], rows)
    train_log, test_log, asked = align(train_log, test_log, asked)
    users, items = zip(*tested)
    pairs = test_log.users.index(users) * test_log.n_items + test_log.items.index(items)
    if not np.array_equal(np.sort(pairs), np.unique(test_log.pairs())):
        raise ValueError(f"{negatives}: the pairs in brackets are not those of {test}")
    return NCFSplit(train_log, test_log, asked.csr().astype(bool), duplicates)


def _of_rows(rows: Array) -> Interactions:
    """Rows of user, item and perhaps rating and seconds since 1970."""
    whole = rows.astype(np.int64)
    optional = (rows[:, 2], whole[:, 3].astype("M8[s]")) if rows.shape[1] == 4 else ()
    return Interactions.from_columns(whole[:, 0], whole[:, 1], *optional)


def _read_list(path: str | Path) -> Interactions:
    users, items = [], []
    for number, line in _lines(path):
        try:
            user, *rest = map(int, line.split())
        except ValueError:
            raise _misfit(path, number, line, "whole numbers: user item item …") from None
        users.append(user)
        items.append(rest)
    return _of_lists(users, items)


def _of_lists(users: list[int], items: list[list[int]]) -> Interactions:
    user = np.repeat(np.array(users, np.int64), [len(row) for row in items])
    log = Interactions.from_columns(user, list(chain.from_iterable(items)))
    empty = [user for user, row in zip(users, items) if not row]
    return log.including(users=empty) if empty else log


def _numbers(path: str | Path, *widths: int) -> Array:
    """(n, width) float64, finite: the numbers of each line, between tabs, "::" or blanks."""
    lines = [(number, line.replace("::", "\t")) for number, line in _lines(path)]
    try:
        table = np.loadtxt([line for _, line in lines] or ["no line"], ndmin=2, comments=None)
        if table.shape[1] in widths and np.isfinite(table).all():
            if (table[:, :2] % 1 == 0).all():
                return table
    except ValueError:
        pass
    width = len(lines[0][1].split()) if lines else 0

    def fits(line: str) -> bool:
        try:
            numbers = [*map(float, line.split())]
        except ValueError:
            return False
        whole = all(number.is_integer() for number in numbers[:2])
        return whole and all(map(isfinite, numbers)) and len(numbers) == width in widths

    expected = f"{' or '.join(map(str, widths))} numbers, as many in each line, whole ids first"
    for number, line in lines:
        if not fits(line):
            raise _misfit(path, number, line, expected)
    raise ValueError(f"{path}: found no line, expected lines of {expected}")


def _lines(path: str | Path) -> list[tuple[int, str]]:
    return [(n, line) for n, line in enumerate(_text(path).splitlines(), 1) if line.strip()]


def _text(path: str | Path) -> str:
    raw = Path(path).read_bytes()
    try:
        return (gzip.decompress(raw) if str(path).endswith(".gz") else raw).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None


def _misfit(path: str | Path, number: int, line: str, expected: str) -> ValueError:
    return ValueError(f"{path}, line {number}: found {line[:60]!r}, expected {expected}")
