"""What every metric accepts and what it refuses, in the words of the errors."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from nnrec.metrics import (
    at_threshold,
    best_threshold,
    bootstrap,
    bootstrap_difference,
    brier,
    calibration,
    confusion_matrix,
    f1,
    log_loss,
    mse,
    precision,
    roc_auc,
)
from nnrec.metrics.arguments import (
    checked,
    encode,
    first_bad,
    is_positive,
    labels,
    numbers,
    positive_code,
    scaled,
)
from nnrec.metrics.classification import accuracy
from tests.messages import exactly

ROWS = [
    ([], [], None, "y_true is empty: a metric needs at least one row"),
    ([0, 1, 2], [1, 2], None, "y_true has 3 rows, y_pred has 2"),
    ([0, 1], [0, 1], [1, 2, 3], "weight has 3 rows, y_true has 2"),
    ([0, 1], [0, 1], [1, -1], "weight[1] is -1.0, expected a finite number, 0 or more"),
    ([0, 1], [0, 1], [np.inf, 1], "weight[0] is inf, expected a finite number, 0 or more"),
    ([0, 1], [0, 1], [1, np.nan], "weight[1] is nan, expected a finite number, 0 or more"),
    ([0, 1], [0, 1], [0, 0], "weight is zero in every row: there is nothing to average"),
    ([0, 1], [0, 1], [[0, 1], [1, 0]], "weight has shape (2, 2), expected (n,)"),
]
SHAPES = [
    ([[[0]]], [0], "y_true has shape (1, 1, 1), expected {}"),
    ([0], [[[0]]], "y_pred has shape (1, 1, 1), expected {}"),
    (0, [0], "y_true has shape (), expected {}"),
    (np.zeros((2, 0)), [0, 1], "y_true has shape (2, 0), expected {}"),
]


@pytest.mark.parametrize("matrix", [False, True])
@pytest.mark.parametrize(
    ("y", "z", "w", "words"), [*ROWS, *((y, z, None, words) for y, z, words in SHAPES)]
)
def test_rows_that_no_metric_takes(matrix, y, z, w, words):
    words = words.format("(n,) or (n, k)" if matrix else "(n,)")
    with pytest.raises(ValueError, match=exactly(words)):
        checked(y, z, w, matrix=matrix)


def test_rows_that_a_metric_takes():
    true, pred, w = checked([[3], [5]], [[0.5], [0.25]])
    assert (true.tolist(), pred.tolist()) == ([3, 5], [0.5, 0.25])
    assert w.tolist() == [1.0, 1.0] and w.dtype == np.float64
    w = checked([3, 5], [1, 2], [[0], [2]])[2]
    assert w.tolist() == [0.0, 2.0] and w.dtype == np.float64
    true, pred, _ = checked(np.eye(2), np.ones((2, 3)), matrix=True)
    assert (true.shape, pred.shape) == ((2, 2), (2, 3))
    assert checked([[7]], [[9]], matrix=True)[0].tolist() == [7]
    with pytest.raises(ValueError, match=exactly("y_pred has shape (2, 2), expected (n,)")):
        checked([0, 1], np.eye(2))


@pytest.mark.parametrize("w", [[1.0, 3.0, 12.0], [0.5], [2.0**1000, 2.0**-50], [0.0, 1.0, 0.75]])
def test_scaled_weights_are_between_a_half_and_1_exactly(w):
    found = scaled(np.array(w))
    assert 0.5 <= found.max() < 1
    ratios = {Fraction(b) / Fraction(a) for a, b in zip(w, found.tolist()) if a}
    assert len(ratios) == 1


def test_numbers_are_float64_and_there():
    found = numbers(np.array([True, False]), "x")
    assert found.tolist() == [1.0, 0.0] and found.dtype == np.float64
    with pytest.raises(ValueError, match=exactly("x[1, 0] is nan, expected a number")):
        numbers(np.array([[1, 2], [np.nan, np.nan]]), "x")
    with pytest.raises(TypeError, match=exactly("x holds <U1 values, expected numbers (could …")):
        numbers(np.array(["a"]), "x")
    with pytest.raises(TypeError, match=exactly("x holds object values, expected numbers (setti…")):
        numbers(np.array([1, []], object), "x")
    with pytest.raises(ValueError, match=exactly("x[1] is nan, expected a number")):
        numbers(np.array([1, None], object), "x")


def test_first_bad_names_the_first():
    values = np.array([[1, 2], [3, 4], [5, 6]])
    first_bad(values > 6, values, "x", "at most 6")
    with pytest.raises(ValueError, match=exactly("x[1, 1] is 4, expected at most 3")):
        first_bad(values > 3, values, "x", "at most 3")
    with pytest.raises(ValueError, match=exactly("x[2] is 5, expected at most 3")):
        first_bad(values[:, 0] > 3, values[:, 0], "x", "at most 3")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([True, False]), "b"), (np.array([3, -1]), "i"), (np.array([3], "u1"), "u"),
        (np.array([3.0, -2.0]), "f"), (np.array(["a", "中"]), "U"),
        (np.array(["a", "中"], object), "U"), (np.array([3, -1], object), "i"),
        (np.array([True, np.False_], object), "b"), (np.array([3.0, 2], object), "f"),
        (np.array([np.int8(3), 2], object), "i"), (np.array([], object), "U"),
    ],
)  # fmt: skip
def test_labels_of_every_kind(values, kind):
    found = labels(values, "y")
    assert found.dtype.kind == kind and found.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, np.nan], "y[1] is nan, expected a label, not a missing value"),
        ([np.inf, 1.0], "y[0] is inf, expected a label, not a missing value"),
        ([1.0, 0.37], "y[1] is 0.37, expected a label (for probabilities: at_threshold(metric))"),
        (np.array([0, None], object), "y[1] is None, expected a label (str, bool or number)"),
        (np.array(["2020"], "M8[D]"), "y[0] is datetime.date(2020, 1, 1), expected a label "
         "(str, bool or number)"),
        (np.array([b"a"]), "y[0] is b'a', expected a label (str, bool or number)"),
        (np.array(["a", 1, 2], object), "y mixes 1 strings with 2 numbers"),
        (np.array(["a", "b", np.nan], object), "y mixes 2 strings with 1 numbers"),
        (np.array([0, np.nan], object), "y[1] is nan, expected a label, not a missing value"),
        (np.array([0, 0.5], object),
         "y[1] is 0.5, expected a label (for probabilities: at_threshold(metric))"),
    ],
)  # fmt: skip
def test_labels_that_are_none(values, words):
    with pytest.raises(ValueError, match=exactly(words)):
        labels(np.asarray(values), "y")
    for pair, name in (((values, [0]), "y_true"), (([0], values), "y_pred")):
        with pytest.raises(ValueError, match=exactly(name + words[1:])):
            encode(*map(np.asarray, pair))


def test_classes_of_both_are_coded_together():
    classes, true, pred = encode(np.array([7, 3, 7]), np.array([5, 3]))
    assert (classes.tolist(), true.tolist(), pred.tolist()) == ([3, 5, 7], [2, 0, 2], [1, 0])
    for true, pred, words in (
        (["a"], [1], "y_true holds <U1 labels, y_pred int64"),
        ([True], ["ab"], "y_true holds bool labels, y_pred <U2"),
    ):
        with pytest.raises(ValueError, match=exactly(words)):
            encode(np.array(true), np.array(pred))


@pytest.mark.parametrize(
    ("classes", "positive", "code"),
    [
        ([0, 1], None, 1), ([-1, 1], None, 1), ([False, True], None, 1), ([1], None, 0),
        ([0], None, -1), ([-1], None, -1), ([0.0, 1.0], None, 1), (["a", "b", "c"], "c", 2),
        ([2, 3, 5], 2, 0), (["a"], "b", -1),
    ],
)  # fmt: skip
def test_positive_class(classes, positive, code):
    assert positive_code(np.array(classes), positive) == code
    right = [i == code for i in range(len(classes))]
    assert is_positive(np.array(classes), positive).tolist() == right


@pytest.mark.parametrize(
    ("classes", "positive", "words"),
    [
        ([0, 2], None, "the labels are 0, 2: name the positive one with positive="),
        ([-1, 0, 1], None, "the labels are -1, 0, 1: name the positive one with positive="),
        (list("abcde"), None,
         "the labels are 'a', 'b', 'c', 'd', 'e': name the positive one with positive="),
        ([2, 3, 5, 7, 11, 13], None,
         "the labels are 2, 3, 5, 7, 11, …: name the positive one with positive="),
        ([0, 1], "1", "positive='1' is not among the labels [0, 1]"),
        ([2, 3, 5, 7, 11, 13], 17, "positive=17 is not among the labels [2, 3, 5, 7, 11]"),
    ],
)  # fmt: skip
def test_positive_class_that_is_none(classes, positive, words):
    with pytest.raises(ValueError, match=exactly(words)):
        positive_code(np.array(classes), positive)
    with pytest.raises(ValueError, match=exactly(words)):
        is_positive(np.array(classes), positive)


COLUMNS = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]
THREE = "3 classes: choose average='macro', 'micro' or 'weighted', or name one with positive="
DRAWS = "n={}, level={}: expected n ≥ 1 and a level between 0 and 1"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: precision([0, 1, 2], [0, 1, 2]), THREE),
        (lambda: f1([0, 1], [0, 1], average="mean"),
         "average='mean': expected 'binary', 'macro', 'micro' or 'weighted'"),
        (lambda: f1([0, 1], [0, 1], average="macro", positive=0),
         "positive=0 belongs to average='binary', not 'macro'"),
        (lambda: confusion_matrix(list("acb"), list("aab"), labels=["a", "b"]),
         "the label 'c' occurs but is not in labels=['a', 'b']"),
        (lambda: confusion_matrix(["a"], ["a"], labels=["a", "b", "a"]),
         "labels=['a', 'b', 'a'] names a label twice"),
        (lambda: confusion_matrix(["a"], ["a"], labels=["a", "b", None]),
         "labels[2] is None, expected a label (str, bool or number)"),
        (lambda: at_threshold(accuracy)([0, 1], [np.nan, 1]),
         "y_pred[0] is nan, expected a number"),
        (lambda: best_threshold([1, 0], [0.5, np.inf]), "prob[1] is inf, expected a finite number"),
        (lambda: best_threshold([1, 0], [0.5, None]), "prob[1] is nan, expected a number"),
        (lambda: at_threshold(lambda *_: 0.0)([0, 1], [0, 1], [1, -1]),
         "weight[1] is -1.0, expected a finite number, 0 or more"),
        (lambda: best_threshold([1, 1], [0.5, 0.5]),
         "y_true holds one class only: no threshold is better than another"),
        (lambda: best_threshold([0, 1], [0.5, 0.5], weight=[1, 0]),
         "y_true holds one class only: no threshold is better than another"),
        (lambda: best_threshold([0, 0], [0.5, 0.5]),
         "y_true holds one class only: no threshold is better than another"),
        (lambda: roc_auc([0, 1], [0, 1], average="micro"),
         "average='micro': expected 'macro' or 'weighted'"),
        (lambda: roc_auc([0, 1], [0, np.nan]), "score[1] is nan, expected a number"),
        (lambda: roc_auc([0, 1], COLUMNS),
         "prob has 3 columns for 2 classes: name them with labels="),
        (lambda: brier([0, 1], COLUMNS, labels=[0, 1, 0]), "labels=[0, 1, 0] names a label twice"),
        (lambda: brier([0, 5], COLUMNS, labels=[0, 1, 2]),
         "y_true[1] is 5, expected one of the labels [0, 1, 2]"),
        (lambda: brier(["a", "b"], COLUMNS, labels=[0, 1, 2]),
         "y_true[0] is a, expected one of the labels [0, 1, 2]"),
        (lambda: brier([0, 2], COLUMNS, labels=[0, 1, 3]),
         "y_true[1] is 2, expected one of the labels [0, 1, 3]"),
        (lambda: brier([0, 0.5], COLUMNS, labels=[0, 1, 2]),
         "y_true[1] is 0.5, expected a label (for probabilities: at_threshold(metric))"),
        (lambda: brier([0, 1], COLUMNS, labels=[0, 1, 2.5]),
         "labels[2] is 2.5, expected a label (for probabilities: at_threshold(metric))"),
        (lambda: log_loss([0, 1], [[0.5, 0.5], [0.75, 0.5]]),
         "the sum of prob[1] is 1.25, expected 1"),
        (lambda: log_loss([0, 1], [[0.5, 0.25], [0.75, 0.25]]),
         "the sum of prob[0] is 0.75, expected 1"),
        (lambda: calibration([0], [0.5], bins=0), "bins=0: expected 1 or more"),
        (lambda: calibration([0], [0.5], strategy="equal"),
         "strategy='equal': expected 'uniform' or 'quantile'"),
        (lambda: mse([0, 1], np.eye(2)), "y_true has shape (2,), y_pred (2, 2)"),
        (lambda: mse([0, np.inf], [0, 1]), "y_true[1] is inf, expected a finite number"),
        (lambda: mse(np.eye(2), [[0, 1], [-np.inf, 1]]),
         "y_pred[1, 0] is -inf, expected a finite number"),
        (lambda: mse([0, np.nan], [0, 1]), "y_true[1] is nan, expected a number"),
        (lambda: mse([0, 1], [np.nan, 1]), "y_pred[0] is nan, expected a number"),
        (lambda: bootstrap(accuracy, [0], [0], n=0), DRAWS.format(0, 0.95)),
        (lambda: bootstrap(accuracy, [0], [0], level=0), DRAWS.format(1000, 0)),
        (lambda: bootstrap(accuracy, [0], [0], level=1), DRAWS.format(1000, 1)),
        (lambda: bootstrap_difference(accuracy, [0], [0], [0], n=0), DRAWS.format(0, 0.95)),
        (lambda: bootstrap_difference(accuracy, [0], [0], [0, 1]),
         "y_true has 1 rows, y_pred has 2"),
        (lambda: bootstrap(accuracy, [0.5], [0], stratify=True),
         "y_true[0] is 0.5, expected a label (for probabilities: at_threshold(metric))"),
        (lambda: bootstrap(lambda *_: math.nan, [0], [0], n=7),
         "the metric is not defined on 7 of 7 resamples (one class only?): "
         "stratify=True keeps every class in every resample"),
    ],
)  # fmt: skip
def test_arguments_that_a_metric_refuses(call, words):
    with pytest.raises(ValueError, match=exactly(words)):
        call()
