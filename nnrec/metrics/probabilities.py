"""Metrics of probabilities and scores: ranking (ROC, precision-recall) and honesty (log loss,
Brier, calibration).

Each is `metric(y_true, prob, weight=None)`; labels of any kind, the positive one is `positive=` (1
or True if the labels are 0/1, -1/1 or booleans). Curves and areas need only an order, so any score
will do, infinite ones included; log loss, Brier and calibration need probabilities in [0, 1].
Ties are exact: equal scores are one step of a curve. Areas that are undefined (one class only) are
NaN, as there is no pair to order; a missing score is an error. O(n log n).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nnrec.metrics.arguments import Array, checked, first_bad, is_positive, numbers, scaled
from nnrec.metrics.arguments import labels as as_labels


def _steps(y_true: Any, score: Any, weight: Any, positive: Any) -> tuple[Array, Array, Array]:
    """Weights above each distinct score, falling: (true positives, false positives, scores)."""
    true, pred, w = checked(y_true, score, weight)
    s, pos = numbers(pred, "score"), is_positive(true, positive)
    order = np.argsort(-s, kind="stable")
    order = order[w[order] > 0]
    s, pos, w = s[order], pos[order], scaled(w[order])
    ends = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
    return np.cumsum(w * pos)[ends], np.cumsum(w * ~pos)[ends], s[ends]


def roc_curve(
    y_true: Any, score: Any, weight: Any = None, *, positive: Any = None
) -> tuple[Array, Array, Array]:
    """False and true positive rates where `score >= threshold` is positive, and the thresholds.

    FPR = FP / N, TPR = TP / P; from (0, 0) at threshold ∞ to (1, 1), one point per distinct score
    (scikit-learn's `drop_intermediate=False`). One class only: the other's rate is NaN.

    >>> [values.tolist() for values in roc_curve([0, 1, 1], [0.2, 0.2, 0.7])]
    [[0.0, 0.0, 1.0], [0.0, 0.5, 1.0], [inf, 0.7, 0.2]]
    """
    tp, fp, threshold = _steps(y_true, score, weight, positive)
    fpr, tpr = (np.append(0, a) / (a[-1] or np.nan) for a in (fp, tp))
    return fpr, tpr, np.append(np.inf, threshold)


def roc_auc(
    y_true: Any,
    score: Any,
    weight: Any = None,
    *,
    positive: Any = None,
    labels: Any = None,
    average: str = "macro",
) -> float:
    """The probability that a positive row outranks a negative one, a tie counting ½.

    Σ w_i w_j ([s_i > s_j] + ½ [s_i = s_j]) / Σ w_i w_j over positives i and negatives j: the area
    under the ROC curve by trapezoids. For scores (n, k), one column per class in sorted order (or
    that of `labels`): each class against the rest, their plain mean, or "weighted" by their rows.

    >>> roc_auc([0, 1, 1], [0.2, 0.2, 0.7])
    0.75
    """
    if average not in ("macro", "weighted"):
        raise ValueError(f"average={average!r}: expected 'macro' or 'weighted'")
    true, s, w = checked(y_true, score, weight, matrix=True)
    if s.ndim == 2:
        codes = _columns(true, s, labels)
        areas = [roc_auc(codes == k, s[:, k], w) for k in range(s.shape[1])]
        share = np.bincount(codes, weights=w, minlength=len(areas))
        return float(np.average(areas, weights=share if average == "weighted" else None))
    tp, fp, _ = _steps(true, s, w, positive)
    if not (tp[-1] and fp[-1]):
        return float("nan")
    twice = np.diff(fp, prepend=0) @ (tp + np.append(0, tp[:-1]))
    return float(twice / 2 / tp[-1] / fp[-1])


def precision_recall_curve(
    y_true: Any, score: Any, weight: Any = None, *, positive: Any = None
) -> tuple[Array, Array, Array]:
    """Precision and recall where `score >= threshold` is positive, and the thresholds, rising.

    In scikit-learn's layout: a last point (precision 1, recall 0) has no threshold. Without a
    positive row recall is NaN.

    >>> [values.tolist() for values in precision_recall_curve([0, 1, 1], [0.2, 0.5, 0.7])]
    [[0.6666666666666666, 1.0, 1.0, 1.0], [1.0, 1.0, 0.5, 0.0], [0.2, 0.5, 0.7]]
    """
    tp, fp, threshold = _steps(y_true, score, weight, positive)
    precision, recall = tp / (tp + fp), tp / (tp[-1] or np.nan)
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), threshold[::-1]


def average_precision(
    y_true: Any, score: Any, weight: Any = None, *, positive: Any = None
) -> float:
    """The mean precision over the recall gained: Σ (R_k - R_{k-1}) P_k over distinct scores.

    Not the trapezoid area, which is too optimistic between points (Davis & Goadrich 2006). A
    constant score gets the positives' share; NaN without a positive.

    >>> round(average_precision([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.8]), 4)
    0.8333
    """
    tp, fp, _ = _steps(y_true, score, weight, positive)
    if not tp[-1]:
        return float("nan")
    return float(np.diff(tp, prepend=0) @ (tp / (tp + fp)) / tp[-1])


def log_loss(
    y_true: Any, prob: Any, weight: Any = None, *, positive: Any = None, labels: Any = None
) -> float:
    """The mean of -ln p(true class), in nats; ln 2 is a coin's.

    prob: (n,) of the positive class, or (n, k), rows summing to 1, one column per class in sorted
    order (or that of `labels`). Probabilities are kept within [ε, 1-ε], ε of their own dtype
    (float64 for integers), as in scikit-learn: certainty that was wrong costs 36 nats, not ∞.

    >>> round(log_loss([0, 1], [0.2, 0.5]), 4)
    0.4581
    """
    true, p, w = checked(y_true, prob, weight, matrix=True)
    eps = np.finfo(p.dtype if p.dtype.kind == "f" else np.float64).eps
    p = _probabilities(p)
    if p.ndim == 2:
        own = p[np.arange(len(p)), _columns(true, p, labels, sums_to_one=True)]
    else:
        own = np.where(is_positive(true, positive), p, 1 - p)
    return float(np.average(-np.log(np.clip(own, eps, 1 - eps)), weights=w))


def brier(
    y_true: Any, prob: Any, weight: Any = None, *, positive: Any = None, labels: Any = None
) -> float:
    """The mean squared error of the probabilities: mean (p - [y positive])² (Brier 1950).

    For (n, k) Σ_k (p_k - [y = k])², for k = 2 half of it, which is the same as (n,) gives.

    >>> round(brier([0, 1], [0.2, 0.5]), 4)
    0.145
    """
    true, p, w = checked(y_true, prob, weight, matrix=True)
    p = _probabilities(p)
    if p.ndim == 1:
        return float(np.average((p - is_positive(true, positive)) ** 2, weights=w))
    codes = _columns(true, p, labels, sums_to_one=True)
    squares = ((p - np.eye(p.shape[1])[codes]) ** 2).sum(axis=1)
    return float(np.average(squares, weights=w)) / (2 if p.shape[1] == 2 else 1)


def _probabilities(prob: Array) -> Array:
    p = numbers(prob, "prob")
    first_bad((p < 0) | (p > 1), p, "prob", "a probability in [0, 1]")
    return p


def _columns(true: Array, p: Array, labels: Any, *, sums_to_one: bool = False) -> Array:
    """(n,) the column of each row's own class."""
    true = as_labels(true, "y_true")
    classes = np.unique(true) if labels is None else as_labels(np.asarray(labels), "labels")
    if len(classes) != p.shape[1]:
        raise ValueError(
            f"prob has {p.shape[1]} columns for {len(classes)} classes: name them with labels="
        )
    if len(np.unique(classes)) < len(classes):
        raise ValueError(f"labels={classes.tolist()} names a label twice")
    if sums_to_one:
        total = p.sum(axis=1)
        # Rows of float32 softmax outputs sum to 1 within a few of their ε.
        first_bad(np.abs(total - 1) > 1e-5, total, "the sum of prob", "1")
    order = np.argsort(classes)
    place = np.minimum(np.searchsorted(classes[order], true), len(classes) - 1)
    codes: Array = order[place]
    first_bad(classes[codes] != true, true, "y_true", f"one of the labels {classes.tolist()}")
    return codes


class Calibration(NamedTuple):
    """Per bin that holds rows: mean predicted probability, observed rate, weight of the rows."""

    predicted: Array
    observed: Array
    weight: Array

    @property
    def error(self) -> float:
        """The expected calibration error, Σ_b (w_b / W) |observed_b - predicted_b|."""
        return float(np.average(np.abs(self.observed - self.predicted), weights=self.weight))


def calibration(
    y_true: Any,
    prob: Any,
    weight: Any = None,
    *,
    bins: int = 10,
    strategy: str = "uniform",
    positive: Any = None,
) -> Calibration:
    """The reliability diagram: how often it happened when p was predicted.

    Bins (a, b] of equal width, or of about equal numbers of rows ("quantile"); empty ones are left
    out. ECE (Naeini et al. 2015) depends on the bins: quote their number with it.

    >>> [a.tolist() for a in calibration([0, 1, 0, 1], [0.125, 0.25, 0.375, 0.75], bins=2)]
    [[0.25, 0.75], [0.3333333333333333, 1.0], [3.0, 1.0]]
    """
    if bins < 1:
        raise ValueError(f"bins={bins}: expected 1 or more")
    true, p, w = checked(y_true, prob, weight)
    p, pos = _probabilities(p), is_positive(true, positive)
    grid = np.linspace(0, 1, bins + 1)
    if strategy == "quantile":
        grid = np.quantile(p, grid)
    elif strategy != "uniform":
        raise ValueError(f"strategy={strategy!r}: expected 'uniform' or 'quantile'")
    where = np.searchsorted(grid[1:-1], p)
    total, predicted, observed = (
        np.bincount(where, weights=values, minlength=bins) for values in (w, w * p, w * pos)
    )
    full = total > 0
    return Calibration(predicted[full] / total[full], observed[full] / total[full], total[full])


def expected_calibration_error(
    y_true: Any, prob: Any, weight: Any = None, *, bins: int = 10, positive: Any = None
) -> float:
    """`calibration(…).error` in bins of equal width, as a metric; 0 is perfectly honest.

    >>> round(expected_calibration_error([0, 1], [0.2, 0.9]), 4)
    0.15
    """
    return calibration(y_true, prob, weight, bins=bins, positive=positive).error
