"""Metrics of predicted labels, and the threshold that turns probabilities into labels.

Accuracy, precision, recall and F1 (document §3.2.5 and §5.4), Matthews' correlation (§9), balanced
accuracy, the confusion matrix. The document explains F1 as combining *accuracy* and recall; it is
the harmonic mean of *precision* and recall. Each is `metric(y_true, y_pred, weight=None)` on labels
of any kind (strings, booleans, whole numbers); weights multiply rows: weight 2 is a row seen twice.

Conventions, scikit-learn's: with `average="binary"` the positive label counts alone (`positive=`;
1 or True if the labels are 0/1, -1/1 or booleans); "macro" is the plain mean over the classes that
stand in `y_true` or `y_pred`, "weighted" that by their true weight, "micro" pools all decisions.
A ratio 0/0 (nothing predicted positive, nothing positive) is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnrec.metrics.arguments import (
    Array,
    checked,
    encode,
    first_bad,
    is_positive,
    numbers,
    positive_code,
    scaled,
)
from nnrec.metrics.arguments import labels as as_labels

Metric = Callable[..., float]


def accuracy(y_true: Any, y_pred: Any, weight: Any = None) -> float:
    """The share of rows whose predicted label is right: Σ w [ŷ = y] / Σ w.

    >>> accuracy(["no", "no", "yes"], ["no", "yes", "yes"])
    0.6666666666666666
    """
    true, pred, w = checked(y_true, y_pred, weight)
    _, t, p = encode(true, pred)
    return float(np.average(t == p, weights=w))


def precision(
    y_true: Any, y_pred: Any, weight: Any = None, *, positive: Any = None, average: str = "binary"
) -> float:
    """The share of positive predictions that are right: TP / (TP + FP); 0 if there are none.

    >>> precision([0, 0, 1, 1], [0, 1, 1, 1])
    0.6666666666666666
    """
    hit, true, predicted = _tally(y_true, y_pred, weight, positive, average)
    return _mean_ratio(hit, predicted, true, average)


def recall(
    y_true: Any, y_pred: Any, weight: Any = None, *, positive: Any = None, average: str = "binary"
) -> float:
    """The share of positive rows that are found: TP / (TP + FN); 0 if there are none.

    >>> recall(["cat", "dog", "dog"], ["cat", "cat", "dog"], positive="dog")
    0.5
    """
    hit, true, _ = _tally(y_true, y_pred, weight, positive, average)
    return _mean_ratio(hit, true, true, average)


def f1(
    y_true: Any, y_pred: Any, weight: Any = None, *, positive: Any = None, average: str = "binary"
) -> float:
    """The harmonic mean of precision P and recall R: 2PR / (P + R) = 2TP / (2TP + FP + FN).

    0 if nothing is positive and nothing predicted so. Accuracy does not enter (document §5.4).

    >>> f1([0, 0, 1, 1], [0, 1, 1, 1])
    0.8
    """
    hit, true, predicted = _tally(y_true, y_pred, weight, positive, average)
    return _mean_ratio(2 * hit, true + predicted, true, average)


def _tally(
    y_true: Any, y_pred: Any, weight: Any, positive: Any, average: str
) -> tuple[Array, Array, Array]:
    """Weights of hits (TP), true rows (TP + FN), predicted rows (TP + FP) for each class counted.

    Marginals only: a confusion matrix of 10⁵ classes would not fit in memory.
    """
    if average not in ("binary", "macro", "micro", "weighted"):
        raise ValueError(f"average={average!r}: expected 'binary', 'macro', 'micro' or 'weighted'")
    if positive is not None and average != "binary":
        raise ValueError(f"positive={positive!r} belongs to average='binary', not {average!r}")
    y, z, w = checked(y_true, y_pred, weight)
    classes, t, p = encode(y, z)
    hit, true, predicted = _marginals(len(classes), t, p, w)
    if average == "binary":
        if positive is None and len(classes) > 2:
            raise ValueError(
                f"{len(classes)} classes: choose average='macro', 'micro' or 'weighted', "
                "or name one with positive="
            )
        k = positive_code(classes, positive)
        chosen = slice(k, k + 1)  # of -1, none
        hit, true, predicted = hit[chosen], true[chosen], predicted[chosen]
    if average in ("binary", "micro"):
        hit, true, predicted = (np.atleast_1d(a.sum()) for a in (hit, true, predicted))
    return hit, true, predicted


def _marginals(k: int, t: Array, p: Array, w: Array) -> tuple[Array, Array, Array]:
    right = t == p
    return (
        np.bincount(t[right], weights=w[right], minlength=k),
        np.bincount(t, weights=w, minlength=k),
        np.bincount(p, weights=w, minlength=k),
    )


def _mean_ratio(part: Array, whole: Array, support: Array, average: str) -> float:
    ratio = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return float(np.average(ratio, weights=support if average == "weighted" else None))


def balanced_accuracy(y_true: Any, y_pred: Any, weight: Any = None) -> float:
    """The mean recall of the classes in `y_true`; ½ is what a constant guess of two gets.

    A class that is only predicted has no recall and is left out, as in scikit-learn.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    true, pred, w = checked(y_true, y_pred, weight)
    classes, t, p = encode(true, pred)
    hit, total, _ = _marginals(len(classes), t, p, w)
    present = total > 0
    return float(np.mean(hit[present] / total[present]))


def matthews_corrcoef(y_true: Any, y_pred: Any, weight: Any = None) -> float:
    """Matthews' correlation of truth and prediction, in [-1, 1]; 0 if either has one class only.

    (TP·TN - FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)) for two classes; in general, with c the
    weight of right rows, s of all, t_k and p_k of true and predicted class k (Gorodkin 2004),
    (c s - Σ t_k p_k) / √((s² - Σ p_k²)(s² - Σ t_k²)). The document's §9 recommends it.

    >>> round(matthews_corrcoef([0, 0, 1, 1], [0, 1, 1, 1]), 4)
    0.5774
    """
    true, pred, w = checked(y_true, y_pred, weight)
    classes, t, p = encode(true, pred)
    hit, true_k, pred_k = _marginals(len(classes), t, p, scaled(w))
    if np.count_nonzero(true_k) < 2 or np.count_nonzero(pred_k) < 2:
        return 0.0
    s = true_k.sum()
    spread = np.sqrt(s * s - pred_k @ pred_k) * np.sqrt(s * s - true_k @ true_k)
    return float((hit.sum() * s - true_k @ pred_k) / spread)


def confusion_matrix(y_true: Any, y_pred: Any, weight: Any = None, *, labels: Any = None) -> Array:
    """(k, k): row = true class, column = predicted class, in the order of `labels` (else sorted).

    int64 counts without weights, float64 sums with. A row whose label is not in `labels` is an
    error (scikit-learn drops it silently).

    >>> confusion_matrix(["no", "no", "yes"], ["no", "yes", "yes"], labels=["yes", "no"])
    array([[1, 0],
           [1, 1]])
    """
    true, pred, w = checked(y_true, y_pred, weight)
    classes, t, p = encode(true, pred)
    if labels is not None:
        wanted: list[Any] = as_labels(np.asarray(labels), "labels").tolist()
        if len(set(wanted)) < len(wanted):
            raise ValueError(f"labels={wanted} names a label twice")
        unknown = [label for label in classes.tolist() if label not in wanted]
        if unknown:
            raise ValueError(f"the label {unknown[0]!r} occurs but is not in labels={wanted}")
        place = np.array([wanted.index(label) for label in classes.tolist()])
        classes, t, p = np.asarray(wanted), place[t], place[p]
    k = len(classes)
    cells = np.bincount(t * k + p, weights=w, minlength=k * k).reshape(k, k)
    return cells.astype(np.int64) if weight is None else cells


def at_threshold(metric: Metric, threshold: float = 0.5, *, positive: Any = None) -> Metric:
    """The same metric on probabilities: positive is predicted where `prob >= threshold`.

    So a network's history can show it: `metrics={"accuracy": at_threshold(accuracy)}`. The labels
    reach the metric as 0 and 1, the positive one as 1.

    >>> at_threshold(accuracy)([0, 1, 1], [0.2, 0.5, 0.4])
    0.6666666666666666
    """

    def metric_at_threshold(y_true: Any, prob: Any, weight: Any = None) -> float:
        true, p, _ = checked(y_true, prob, weight)
        numbers(p, "y_pred")
        return metric(is_positive(true, positive) * 1, (p >= threshold) * 1, weight)

    return metric_at_threshold


def best_threshold(
    y_true: Any, prob: Any, metric: Metric = f1, weight: Any = None, *, positive: Any = None
) -> float:
    """The threshold on `prob` that maximises `metric` when `prob >= threshold` means positive.

    Choose it on validation rows, never on the test part. Candidates are the probabilities
    themselves, and one just above the largest (nothing positive); among equals the highest wins.
    A metric that is no worse for one more right row is best just before a row that would be a
    false positive, so only those candidates are tried, on their four confusion counts as weights:
    O(n log n) and one call per candidate, whatever the metric (also your own, of profit say).
    Rows of one class only: an error.

    >>> best_threshold([0, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.9])
    0.3
    """
    true, p, w = checked(y_true, prob, weight)
    if p.dtype.kind != "f":
        p = numbers(p, "prob")
    first_bad(~np.isfinite(p), p, "prob", "a finite number")
    pos = is_positive(true, positive)
    order = np.argsort(-p, kind="stable")
    order = order[w[order] > 0]
    p, pos, w = p[order], pos[order], w[order]
    if pos.all() or not pos.any():
        raise ValueError("y_true holds one class only: no threshold is better than another")
    ends = np.append(np.flatnonzero(p[1:] != p[:-1]), len(p) - 1)
    tp = np.append(0, np.cumsum(w * pos)[ends])
    fp = np.append(0, np.cumsum(w * ~pos)[ends])
    # Worth trying: a group of equal probabilities with a positive, before one with a negative.
    corner = np.append(True, np.diff(tp) > 0) & np.append(np.diff(fp) > 0, True)
    cuts = np.append(np.nextafter(p[0], p.dtype.type(np.inf)), p[ends])
    best, chosen = -np.inf, cuts[0]
    for cut, hit, false in zip(cuts[corner], tp[corner], fp[corner]):
        counts = np.array([fp[-1] - false, false, tp[-1] - hit, hit])
        value = metric(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), counts)
        if value > best:
            best, chosen = value, cut
    return float(chosen)
