"""Writing: columns as CSV, such that `Table.read` reads them again, and the folder for files."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO


def write_csv(to: Path | TextIO, columns: Mapping[str, Iterable[Any]]) -> None:
    """Write columns of equal length under their names; missing values are empty.

    >>> import sys
    >>> write_csv(sys.stdout, {"item": ["mug", None], "price": [9.5, float("nan")]})
    item,price
    mug,9.5
    ,
    """
    if isinstance(to, Path):
        with to.open("w", encoding="utf-8", newline="") as file:
            return write_csv(file, columns)
    writer = csv.writer(to, lineterminator="\n")
    writer.writerow(columns)
    cells = [["" if v is None or v != v else v for v in column] for column in columns.values()]
    writer.writerows(zip(*cells))


def make_folder(out: Path) -> None:
    """Make the folder, or fail before the work and not after it."""
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(out))
