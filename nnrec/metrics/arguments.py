"""What a metric accepts: rows that match, labels of any two kinds, weights that can be summed.

Every metric begins here, so bad input gets the same one error everywhere, before any work is done.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def checked(
    y_true: Any, y_pred: Any, weight: Any = None, *, matrix: bool = False
) -> tuple[Array, Array, Array]:
    """(n,) truth, (n,) prediction, (n,) float64 weights (ones for None), or a `ValueError`.

    A column (n, 1), as a one-output network predicts it, is taken as (n,). With `matrix` both may
    keep k > 1 columns. Weights are finite, not negative, and not all zero.

    >>> checked([0, 1], [[0.2], [0.9]])[1]
    array([0.2, 0.9])
    """
    true, pred = (
        _rows(name, values, matrix) for name, values in (("y_true", y_true), ("y_pred", y_pred))
    )
    if len(true) != len(pred):
        raise ValueError(f"y_true has {len(true)} rows, y_pred has {len(pred)}")
    if not len(true):
        raise ValueError("y_true is empty: a metric needs at least one row")
    if weight is None:
        return true, pred, np.ones(len(true))
    w = np.asarray(_rows("weight", weight, False), dtype=np.float64)
    if len(w) != len(true):
        raise ValueError(f"weight has {len(w)} rows, y_true has {len(true)}")
    first_bad(~(np.isfinite(w) & (w >= 0)), w, "weight", "a finite number, 0 or more")
    if not w.any():
        raise ValueError("weight is zero in every row: there is nothing to average")
    return true, pred, w


def _rows(name: str, values: Any, matrix: bool) -> Array:
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 and not (matrix and array.ndim == 2 and array.shape[1]):
        expected = "(n,) or (n, k)" if matrix else "(n,)"
        raise ValueError(f"{name} has shape {array.shape}, expected {expected}")
    return array


def scaled(weight: Array) -> Array:
    """Weights over a power of two, to at most 1: exact, and products of sums cannot overflow.

    >>> scaled(np.array([1.0, 3.0, 12.0]))
    array([0.0625, 0.1875, 0.75  ])
    """
    return np.ldexp(weight, -int(np.frexp(weight.max())[1]))


def numbers(values: Array, name: str) -> Array:
    """The array as float64; missing or not a number: one error with the row.

    >>> numbers(np.array([1, 2]), "y_true")
    array([1., 2.])
    """
    try:
        array = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} holds {values.dtype} values, expected numbers ({error})") from None
    first_bad(np.isnan(array), array, name, "a number")
    return array


def first_bad(bad: Array, values: Array, name: str, expected: str) -> None:
    """`ValueError` with the place and the value of the first True in `bad`, if there is one."""
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        place = ", ".join(map(str, at))
        raise ValueError(f"{name}[{place}] is {values[at]}, expected {expected}")


def labels(values: Array, name: str) -> Array:
    """Labels as an array that can be sorted: whole numbers, booleans or strings.

    A missing label, a fraction (a probability, most likely) or a mixture is an error with the row.

    >>> labels(np.array(["no", "yes"], dtype=object), "y_true").tolist()
    ['no', 'yes']
    """
    kind = values.dtype.kind
    if kind == "f":
        first_bad(~np.isfinite(values), values, name, "a label, not a missing value")
        hint = "a label (for probabilities: at_threshold(metric))"
        first_bad(values != np.floor(values), values, name, hint)
    if kind in "biufU":
        return values
    listed = values.tolist()
    for at, value in enumerate(listed):
        if not isinstance(value, (str, bool, int, float, np.bool_, np.number)):
            raise ValueError(f"{name}[{at}] is {value!r}, expected a label (str, bool or number)")
    strings = sum(isinstance(value, str) for value in listed)
    if strings == len(listed):
        return values.astype(str)
    if strings:
        raise ValueError(f"{name} mixes {strings} strings with {len(listed) - strings} numbers")
    return labels(np.array(listed), name)


def encode(true: Array, pred: Array) -> tuple[Array, Array, Array]:
    """The sorted classes of both, and the (n,) class indices of each.

    >>> encode(np.array(["b", "a"]), np.array(["b", "c"]))[1:]
    (array([1, 0]), array([1, 2]))
    """
    true, pred = labels(true, "y_true"), labels(pred, "y_pred")
    if (true.dtype.kind == "U") != (pred.dtype.kind == "U"):
        raise ValueError(f"y_true holds {true.dtype} labels, y_pred {pred.dtype}")
    classes, codes = np.unique(np.concatenate([true, pred]), return_inverse=True)
    return classes, codes[: len(true)], codes[len(true) :]


def positive_code(classes: Array, positive: Any) -> int:
    """The index of the positive class among the sorted classes; -1 when no row has it.

    `positive=None` means 1 (or True), and only where the labels are 0/1, -1/1 or booleans.

    >>> positive_code(np.array(["no", "yes"]), "yes")
    1
    """
    known: list[Any] = classes.tolist()
    if positive is None:
        if not (set(known) <= {0, 1} or set(known) <= {-1, 1}):
            shown = ", ".join(map(repr, known[:5])) + (", …" if len(known) > 5 else "")
            raise ValueError(f"the labels are {shown}: name the positive one with positive=")
        positive = 1
    if positive in known:
        return known.index(positive)
    # With one class present, the other may simply be the positive one; with two, it is a typo.
    if len(known) > 1:
        raise ValueError(f"positive={positive!r} is not among the labels {known[:5]}")
    return -1


def is_positive(true: Array, positive: Any) -> Array:
    """(n,) bool: which rows carry the positive label.

    >>> is_positive(np.array([0, 1, 1]), None)
    array([False,  True,  True])
    """
    classes, codes = np.unique(labels(true, "y_true"), return_inverse=True)
    found: Array = codes == positive_code(classes, positive)
    return found
