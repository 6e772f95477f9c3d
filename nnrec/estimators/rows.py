"""Rows: what an estimator is given, X, y and weights, checked before any work is done."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrec.data import Table
from nnrec.data.columns import Misfit, missing, to_column
from nnrec.data.encodings import LARGEST
from nnrec.nn.arguments import Array


@dataclass
class Rows:
    """Rows of a table or of a matrix, with their target and weights.

    >>> Rows(np.eye(3), np.arange(3), None).take(np.array([2])).y
    array([2])
    """

    X: Any
    y: Array
    weight: Array | None

    def __post_init__(self) -> None:
        n = len(self)
        if not n:
            raise ValueError("X has 0 rows, expected at least one")
        if len(self.y) != n:
            raise ValueError(f"X has {n} rows, y has {len(self.y)}")
        if self.weight is not None:
            self.weight = np.asarray(self.weight, float)
            if self.weight.shape != (n,):
                raise ValueError(f"sample_weight has shape {self.weight.shape}, expected ({n},)")
            if (bad := ~(np.isfinite(self.weight) & (self.weight >= 0))).any():
                row = int(np.argmax(bad))
                raise ValueError(f"sample_weight is {self.weight[row]} in row {row}, expected ≥ 0")
            if not self.weight.any():
                raise ValueError("sample_weight is zero in every row")

    def __len__(self) -> int:
        return len(self.X) if isinstance(self.X, Table) else int(self.X.shape[0])

    def take(self, rows: Array) -> Rows:
        """Some of the rows."""
        X = self.X.take(rows) if isinstance(self.X, Table) else self.X[rows]
        return Rows(X, self.y[rows], None if self.weight is None else self.weight[rows])


def is_table(X: Any) -> bool:
    """Whether X has named columns.

    >>> is_table({"a": [1]}), is_table([[1, 2]]), is_table(np.zeros((1, 2)))
    (True, False, False)
    """
    if isinstance(X, list | tuple) or hasattr(X, "tocsr"):
        return False
    if isinstance(X, np.ndarray):
        return X.dtype.names is not None
    names = getattr(X, "column_names", getattr(X, "columns", ()))
    return not hasattr(X, "__array__") or any(isinstance(name, str) for name in names)


def matrix(X: Any) -> Any:
    """An array or CSR matrix (n, d) of finite floats, d ≥ 1.

    >>> matrix([[1, 2]])
    array([[1., 2.]])
    """
    try:
        a = X.tocsr() if hasattr(X, "tocsr") else np.asarray(X)
        if a.dtype.kind == "c":
            raise ValueError(f"Complex data not supported: found {a.dtype}")
        if a.dtype.kind not in "biufO":
            raise TypeError(f"found {a.dtype}, expected numbers; other columns need a table")
        a = a if a.dtype.kind == "f" else a.astype(float)
    except (TypeError, ValueError) as error:
        raise type(error)(f"X: {error}") from None
    if a.ndim != 2:
        expected = "expected (n, d). Reshape your data: X.reshape(1, -1) is one row"
        raise ValueError(f"X has shape {a.shape}, {expected}")
    if not a.shape[1]:
        raise ValueError(f"X has 0 feature(s) (shape={a.shape}) while a minimum of 1 is required.")
    values = a if isinstance(a, np.ndarray) else a.data
    limit = min(LARGEST, float(np.finfo(values.dtype).max))
    if (bad := ~(np.abs(values) <= limit)).any():
        at = tuple(np.argwhere(bad)[0].tolist())
        row, column = at if isinstance(a, np.ndarray) else (c[at] for c in a.tocoo().coords)
        found = f"X is {values[at]} in row {row}, column {column}"
        raise ValueError(f"{found}; expected numbers within ±{limit:g}, no NaN, no infinity")
    return a


def class_labels(y: Any) -> Array:
    """Labels (n,), none missing: an array of text, booleans or whole numbers.

    >>> class_labels(["no", None])
    Traceback (most recent call last):
    ValueError: y is missing in row 1; leave rows without a label out
    """
    shape = np.shape(y) if isinstance(y, list | tuple) else np.asarray(y).shape
    if len(shape) == 2 and shape[1] == 1:
        text = "A column-vector y was passed when a 1d array was expected: (n, 1) is taken as (n,)"
        warnings.warn(text, scikit_learns("DataConversionWarning", UserWarning), stacklevel=4)
        y = np.asarray(y)[:, 0]
    elif len(shape) != 1:
        raise ValueError(f"y has shape {shape}; y should be a 1d array of labels")
    if not (isinstance(y, np.ndarray) and y.dtype.kind in "biufU"):
        try:
            y = to_column(y)
        except Misfit as misfit:
            raise ValueError(f"y, row {misfit.row}: {misfit}") from None
        except (TypeError, ValueError) as error:
            raise type(error)(f"y: {error}") from None
    if (gaps := missing(y)).any():
        row = int(np.argmax(gaps))
        raise ValueError(f"y is missing in row {row}; leave rows without a label out")
    if y.dtype.kind == "M":
        raise ValueError(f"y holds {y.dtype}. Unknown label type: expected text or whole numbers")
    if y.dtype.kind == "f" and (bad := ~np.isfinite(y) | (y != np.rint(y))).any():
        row = int(np.argmax(bad))
        found = f"y is {y[row]} in row {row}. Unknown label type: continuous"
        raise ValueError(f"{found}; a number to be predicted needs NeuralRegressor")
    return np.asarray(y)


def numbers(y: Any) -> Array:
    """Numbers (n,) or (n, k), float64, finite, none missing.

    >>> numbers([1, 2])
    array([1., 2.])
    """
    try:
        y = np.asarray(y)
        if y.dtype.kind not in "biufO":
            raise TypeError(f"found {y.dtype}, expected numbers")
        y = y.astype(float)
    except (TypeError, ValueError) as error:
        raise type(error)(f"y: {error}") from None
    if y.ndim not in (1, 2) or y.shape[1:] == (0,):
        raise ValueError(f"y has shape {y.shape}, expected (n,) or (n, k)")
    if (bad := ~(np.abs(y) <= LARGEST)).any():
        row = int(np.argwhere(bad)[0, 0])
        raise ValueError(
            f"y is {y[row]} in row {row}; expected numbers within ±{LARGEST:g}, none missing"
        )
    return np.asarray(y)


def warn_of_label(rows: Rows) -> None:
    """Warn when a column of a table equals the target, in so many rows that it can't be chance."""
    for name in rows.X.names if len(rows) >= 20 and rows.y.ndim == 1 else ():
        column = rows.X[name]
        if column.dtype.kind != "M" and np.array_equal(column, rows.y):
            text = f"column {name!r} equals y in every row: is the label among the features?"
            warnings.warn(f"{text} fit(table, {name!r}) takes it out", stacklevel=4)


def scikit_learns(name: str, otherwise: type) -> Any:
    """scikit-learn's exception of this name where scikit-learn is loaded.

    >>> scikit_learns("NoSuchError", ValueError)
    <class 'ValueError'>
    """
    return getattr(sys.modules.get("sklearn.exceptions"), name, otherwise)
