"""Bootstrap intervals: how far a metric would move on another sample of the same size.

Rows are drawn with replacement, the metric is taken again, and the interval is where the middle
`level` of those values lies (the percentile method; Efron & Tibshirani 1993, ch. 13).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from nnrec.metrics.arguments import Array, checked, labels
from nnrec.metrics.classification import Metric


class Interval(NamedTuple):
    """The metric on the rows themselves, and the interval's ends. Prints as `0.91 [0.90, 0.92]`."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def bootstrap(
    metric: Metric,
    y_true: Any,
    y_pred: Any,
    weight: Any = None,
    *,
    n: int = 1000,
    level: float = 0.95,
    stratify: bool = False,
    rng: Any = 0,
) -> Interval:
    """`metric(y_true, y_pred)` with its interval from `n` resamples of the rows.

    `stratify` resamples within each label, so that every resample has every class. Without it a
    resample may lack one: then the metric is NaN there, and that is an error which says so. Rows
    must be independent: many rows of one customer make the interval too narrow.

    >>> from nnrec.metrics import accuracy
    >>> bootstrap(accuracy, [0, 0, 1, 1, 1], [0, 0, 1, 1, 1])
    Interval(value=1.0, low=1.0, high=1.0)
    """
    return _interval(metric, y_true, (y_pred,), weight, n, level, stratify, rng)


def bootstrap_difference(
    metric: Metric,
    y_true: Any,
    y_pred: Any,
    other: Any,
    weight: Any = None,
    *,
    n: int = 1000,
    level: float = 0.95,
    stratify: bool = False,
    rng: Any = 0,
) -> Interval:
    """`metric(y_true, y_pred) - metric(y_true, other)`: two models on the same rows.

    Both are taken on the same resample (paired): what makes a row hard for both cancels, and the
    interval is far narrower than two intervals side by side suggest.

    >>> from nnrec.metrics import accuracy
    >>> bootstrap_difference(accuracy, [0, 1], [0, 1], [1, 0])
    Interval(value=1.0, low=1.0, high=1.0)
    """
    return _interval(metric, y_true, (y_pred, other), weight, n, level, stratify, rng)


def _interval(
    metric: Metric,
    y_true: Any,
    predictions: tuple[Any, ...],
    weight: Any,
    n: int,
    level: float,
    stratify: bool,
    rng: Any,
) -> Interval:
    if n < 1 or not 0 < level < 1:
        raise ValueError(f"n={n}, level={level}: expected n ≥ 1 and a level between 0 and 1")
    checks = [checked(y_true, pred, weight, matrix=True) for pred in predictions]
    true, w = checks[0][0], None if weight is None else checks[0][2]

    def value(rows: Any) -> float:
        own = None if w is None else w[rows]
        first, *second = (metric(true[rows], pred[rows], own) for _, pred, _ in checks)
        return first - second[0] if second else first

    draws = _resamples(true, n, stratify, np.random.default_rng(rng))
    values = np.array([value(rows) for rows in draws])
    if undefined := np.count_nonzero(np.isnan(values)):
        raise ValueError(
            f"the metric is not defined on {undefined} of {n} resamples (one class only?): "
            "stratify=True keeps every class in every resample"
        )
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value(slice(None)), float(low), float(high))


def _resamples(true: Array, n: int, stratify: bool, rng: np.random.Generator) -> Iterator[Array]:
    if stratify:
        _, codes, sizes = np.unique(labels(true, "y_true"), return_inverse=True, return_counts=True)
        members, starts = np.argsort(codes, kind="stable"), np.cumsum(sizes) - sizes
        first, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
        for _ in range(n):
            yield members[rng.integers(first, first + size)]
    else:
        for _ in range(n):
            yield rng.integers(len(true), size=len(true))
