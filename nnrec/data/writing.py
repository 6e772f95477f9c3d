"""Writing: columns as a CSV file or on a stream, such that `Table.read` reads them again."""

from __future__ import annotations

import csv
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
