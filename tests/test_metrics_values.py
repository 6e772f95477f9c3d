"""Metrics of labels and probabilities of a few rows, by hand: curves, bins, thresholds."""

from __future__ import annotations

import math
from fractions import Fraction as F

import numpy as np
import pytest

from nnrec.metrics import (
    accuracy,
    at_threshold,
    average_precision,
    balanced_accuracy,
    best_threshold,
    brier,
    calibration,
    confusion_matrix,
    expected_calibration_error,
    f1,
    log_loss,
    mae,
    matthews_corrcoef,
    precision,
    precision_recall_curve,
    recall,
    roc_auc,
    roc_curve,
)


def near(value):
    return pytest.approx(value, rel=1e-14, abs=0)


# TN 1 + 1, FP 2, TP 3 + 2 + 4, FN 1 by weight; 2, 1, 3, 1 by rows.
TWO = ([0, 0, 1, 1, 1, 0, 1], [0, 1, 1, 0, 1, 0, 1])
WEIGHT = [1, 2, 3, 1, 2, 1, 4]
# By weight: hits a 1, b 7, c 0; true a 3, b 7, c 5; predicted a 6, b 9, c 0.
MANY = (list("aabbc"), list("abbba"), [1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("metric", "rows", "weighted"),
    [
        (accuracy, F(5, 7), F(11, 14)),
        (precision, F(3, 4), F(9, 11)),
        (recall, F(3, 4), F(9, 10)),
        (f1, F(3, 4), F(6, 7)),
        (balanced_accuracy, F(17, 24), F(7, 10)),
        (matthews_corrcoef, 5 / 12, 16 / math.sqrt(1320)),
        (mae, F(2, 7), F(3, 14)),
    ],
)
def test_two_classes(metric, rows, weighted):
    assert metric(*TWO) == near(float(rows))
    assert metric(*TWO, WEIGHT) == near(float(weighted))
    assert metric(*TWO, [0.5] * 7) == near(float(rows))


@pytest.mark.parametrize(
    ("metric", "macro", "weighted", "of_b"),
    [
        (precision, F(17, 54), F(107, 270), F(7, 9)),
        (recall, F(4, 9), F(8, 15), F(1)),
        (f1, F(79, 216), F(163, 360), F(7, 8)),
    ],
)
def test_many_classes(metric, macro, weighted, of_b):
    assert metric(*MANY, average="macro") == near(float(macro))
    assert metric(*MANY, average="weighted") == near(float(weighted))
    assert metric(*MANY, average="micro") == near(8 / 15)
    assert metric(*MANY, positive="b") == near(float(of_b))
    assert metric(*MANY, positive="c") == 0.0


def test_many_classes_at_once():
    assert accuracy(*MANY) == near(8 / 15)
    assert balanced_accuracy(*MANY) == near(4 / 9)
    assert matthews_corrcoef(*MANY) == near(39 / math.sqrt(108 * 142))
    by_name = confusion_matrix(*MANY)
    assert by_name.tolist() == [[1, 2, 0], [0, 7, 0], [5, 0, 0]] and by_name.dtype == np.float64
    assert confusion_matrix(*MANY, labels=list("cab")).tolist() == [[0, 5, 0], [0, 1, 2], [0, 0, 7]]
    assert confusion_matrix(*MANY[:2], labels=list("abcd")).tolist() == [
        [1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0],
    ]  # fmt: skip
    assert confusion_matrix(*TWO).tolist() == [[2, 1], [1, 3]]
    assert confusion_matrix(*TWO).dtype == np.int64


def test_curves_of_five_rows():
    five = [0, 1, 1, 0, 1], [0.1, 0.4, 0.4, 0.4, 0.8], [1, 2, 3, 4, 5]
    for got, want in zip(
        roc_curve(*five), ([0, 0, 0.8, 1], [0, 0.5, 1, 1], [np.inf, 0.8, 0.4, 0.1])
    ):
        assert got.tolist() == near(want)
    for got, want in zip(
        precision_recall_curve(*five), ([10 / 15, 10 / 14, 1, 1], [1, 1, 0.5, 0], [0.1, 0.4, 0.8])
    ):
        assert got.tolist() == near(want)
    assert roc_auc(*five) == near(0.8)
    assert average_precision(*five) == near(6 / 7)
    named = np.where(five[0], "yes", "no"), *five[1:]
    for curve in roc_curve, precision_recall_curve:
        for got, want in zip(curve(*named, positive="yes"), curve(*five)):
            assert got.tolist() == want.tolist()
    none = [5, 1, 1, 0, 1], [0.1, 0.4, 0.4, 0.4, 0.8], [0, 2, 3, 4, 5]  # a row without weight
    assert roc_auc(*none, positive=1) == near(0.75)


def test_area_of_each_class_against_the_rest():
    y, w = ["b", "a", "c", "b"], [1, 2, 3, 4]
    p = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3], [0.3, 0.6, 0.1], [0.3, 0.4, 0.3]])
    areas = [1, (1 * 2 + 4 * 2) / (5 * 5), 0]  # a above all, b above a but not c, c below all
    assert roc_auc(y, p, w) == near(sum(areas) / 3)
    assert roc_auc(y, p, w, average="weighted") == near((2 * areas[0] + 5 * areas[1]) / 10)
    assert roc_auc(y, 7 * p, w) == near(sum(areas) / 3)  # any scores
    assert math.isnan(roc_auc(["a", "b"], p[:2], labels=["a", "b", "c"], average="weighted"))
    assert roc_auc(y, p[:, [2, 0, 1]], w, labels=["c", "a", "b"]) == near(sum(areas) / 3)


def test_probabilities_of_three_rows():
    three = [0, 1, 1], [0.25, 0.5, 0.75], [1, 2, 3]
    assert log_loss(*three) == near(-(4 * math.log(0.75) + 2 * math.log(0.5)) / 6)
    assert brier(*three) == near(0.125)
    pairs = np.column_stack([1 - np.array(three[1]), three[1]])
    for labels, columns in ((None, pairs), ([1, 0], pairs[:, ::-1])):
        assert log_loss(three[0], columns, three[2], labels=labels) == log_loss(*three)
        assert brier(three[0], columns, three[2], labels=labels) == brier(*three)
    columns = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]
    assert log_loss([0, 2], columns, labels=[0, 1, 2]) == near(-(math.log(0.5) + math.log(0.3)) / 2)
    assert brier([0, 2], columns, labels=[0, 1, 2]) == near(0.62)
    assert brier([0, 2], columns, [1, 3], labels=[0, 1, 2]) == near((0.38 + 3 * 0.86) / 4)
    assert brier([0, 1], [0, 1]) == 0.0 and brier([0, 1], [1, 0]) == 1.0


def test_sum_of_a_rows_probabilities_is_1_within_a_hundred_thousandth():
    for off, refused in ((9e-6, False), (-9e-6, False), (1.1e-5, True), (-1.1e-5, True)):
        p = [[0.5, 0.5], [0.5, 0.5 + off]]
        if refused:
            with pytest.raises(ValueError, match=r"^the sum of prob\[1\] is .*, expected 1$"):
                brier([0, 1], p)
        else:
            assert brier([0, 1], p) == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize(
    ("p", "options", "predicted", "observed", "weight"),
    [
        ([0, 0.25, 0.5, 0.75, 1], {"bins": 2}, [0.25, 0.875], [1 / 3, 1], [3, 2]),
        ([0, 0.25, 0.5, 0.75, 1], {"bins": 1}, [0.5], [0.6], [5]),
        ([0.1, 0.2, 0.3, 0.4, 0.9], {"bins": 2}, [0.25, 0.9], [0.5, 1], [4, 1]),
        ([0.1, 0.2, 0.3, 0.4, 0.9], {"bins": 2, "strategy": "quantile"},
         [0.2, 0.65], [1 / 3, 1], [3, 2]),
        ([0.05, 0.095, 0.1, 0.11, 0.95], {}, [0.245 / 3, 0.11, 0.95], [1 / 3, 1, 1], [3, 1, 1]),
    ],
)  # fmt: skip
def test_bins_of_calibration(p, options, predicted, observed, weight):
    y = [0, 1, 0, 1, 1]
    found = calibration(y, p, **options)
    assert found.predicted.tolist() == near(predicted)
    assert found.observed.tolist() == near(observed)
    assert found.weight.tolist() == weight
    gaps = [abs(a - b) * w for a, b, w in zip(predicted, observed, weight)]
    assert found.error == near(sum(gaps) / 5)
    twice = calibration(["no", "yes", "no", "yes", "yes"], p, [2] * 5, positive="yes", **options)
    assert twice.weight.tolist() == [2 * w for w in weight] and twice.error == near(found.error)
    options.pop("strategy", None)
    assert expected_calibration_error(y, p, **options) == calibration(y, p, **options).error


def test_bins_of_weighted_rows():
    three = [0, 1, 1], [0.1, 0.2, 0.9], [1, 3, 2]
    found = calibration(*three, bins=2)
    assert found.predicted.tolist() == near([0.7 / 4, 0.9])
    assert (found.observed.tolist(), found.weight.tolist()) == ([0.75, 1.0], [4.0, 2.0])
    assert expected_calibration_error(*three, bins=2) == near((4 * 0.575 + 2 * 0.1) / 6)


def test_best_threshold_asks_only_where_it_may_pay():
    asked = []

    def metric(true, pred, weight):
        asked.append(weight.tolist())
        assert (true.tolist(), pred.tolist()) == ([0, 0, 1, 1], [0, 1, 0, 1])
        return -weight[1]

    assert best_threshold([1, 0, 1], [0.9, 0.8, 0.7], metric, [2, 3, 5]) == 0.9
    assert asked == [[3, 0, 5, 2], [0, 3, 0, 7]]  # true negatives, false and missed, hits
    asked.clear()
    best_threshold([0, 1, 1, 0, 1], [0.5, 0.5, 0.25, 0.75, 0.125], metric, [1, 2, 3, 4, 0])
    assert asked == [[5, 0, 5, 0], [0, 5, 0, 5]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_best_threshold_is_a_probability_or_just_above_all(dtype):
    above = np.nextafter(dtype(0.5), dtype(1))
    assert best_threshold([1, 0], np.array([0.25, 0.5], dtype), accuracy) == float(above)
    assert best_threshold([0, 1, 0, 1], np.array([0.125, 0.5, 0.25, 0.75], dtype)) == 0.5
    assert best_threshold([0, 1, 0, 1], [1, 3, 2, 4]) == 3.0
    assert best_threshold([0, 1, 0, 1], [1, 3, 2, 4], weight=[1, 1, 1, 0]) == 3.0
    assert at_threshold(accuracy)([0, 1], np.array([0.5, 0.5], dtype)) == 0.5
    # Where no threshold is better than another, nothing is positive.
    p = np.array([0.25, 0.5], dtype)
    assert best_threshold([1, 0], p, lambda *_: math.nan) == float(above)


def test_labels_reach_a_metric_as_whole_numbers():
    def metric(true, pred, weight):
        assert (true.tolist(), pred.tolist(), weight) == ([1, 0], [0, 1], [2, 3])
        assert true.dtype.kind == pred.dtype.kind == "i"
        return 7.0

    assert at_threshold(metric, 0.25, positive="a")(["a", "b"], [0.125, 0.25], [2, 3]) == 7.0
