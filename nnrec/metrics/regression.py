"""Metrics of predicted numbers: MSE, RMSE, MAE and R².

`metric(y_true, y_pred, weight=None)` on (n,), or (n, k) for k outputs: then the plain mean of the
outputs' metrics. A missing value is an error with its row; squares beyond 1e308 are infinite.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrec.metrics.arguments import Array, checked, first_bad, numbers


def _outputs(y_true: Any, y_pred: Any, weight: Any) -> tuple[Array, Array, Array]:
    """Truth and error (prediction - truth), both (n, k), and the weights (n,)."""
    y, z, w = checked(y_true, y_pred, weight, matrix=True)
    if y.shape != z.shape:
        raise ValueError(f"y_true has shape {y.shape}, y_pred {z.shape}")
    true, pred = numbers(y, "y_true"), numbers(z, "y_pred")
    for name, values in (("y_true", true), ("y_pred", pred)):
        first_bad(np.isinf(values), values, name, "a finite number")
    true = true.reshape(len(true), -1)
    with np.errstate(over="ignore"):
        return true, pred.reshape(true.shape) - true, w


def _mean_squares(error: Array, w: Array) -> Array:
    with np.errstate(over="ignore"):
        mean: Array = np.average(error**2, axis=0, weights=w)
    return mean


def mse(y_true: Any, y_pred: Any, weight: Any = None) -> float:
    """The mean squared error Σ w (ŷ - y)² / Σ w (the document's loss §4.2 has a factor ½ more).

    >>> mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    _, error, w = _outputs(y_true, y_pred, weight)
    return float(_mean_squares(error, w).mean())


def rmse(y_true: Any, y_pred: Any, weight: Any = None) -> float:
    """√MSE, in the target's units.

    >>> rmse([1.0, 2.0], [4.0, 5.0])
    3.0
    """
    _, error, w = _outputs(y_true, y_pred, weight)
    return float(np.sqrt(_mean_squares(error, w)).mean())


def mae(y_true: Any, y_pred: Any, weight: Any = None) -> float:
    """The mean absolute error Σ w |ŷ - y| / Σ w.

    >>> mae([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    _, error, w = _outputs(y_true, y_pred, weight)
    return float(np.average(np.abs(error), axis=0, weights=w).mean())


def r2(y_true: Any, y_pred: Any, weight: Any = None) -> float:
    """The share of the variance explained, 1 - Σ w (ŷ - y)² / Σ w (y - ȳ)²; 0 is the mean's.

    A constant target has no variance: 1 if met exactly, else 0; one row: NaN (as scikit-learn).

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.5
    """
    true, error, w = _outputs(y_true, y_pred, weight)
    if len(true) < 2:
        return float("nan")
    unexplained = _mean_squares(error, w)
    variance = _mean_squares(true - np.average(true, axis=0, weights=w), w)
    seen = true[w > 0]
    # Rounding of the mean may leave a constant column a tiny variance.
    varies = (seen.max(axis=0) > seen.min(axis=0)) & (variance > 0)
    share = np.where(unexplained > 0, 0.0, 1.0)
    share[varies] = 1 - unexplained[varies] / variance[varies]
    return float(share.mean())
