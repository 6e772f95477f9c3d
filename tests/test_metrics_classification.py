"""Metrics of classes against scikit-learn, brute force over pairs; every degenerate case."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import assume, given
from hypothesis import strategies as st

from nnrec import metrics
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
    mse,
    precision,
    precision_recall_curve,
    r2,
    recall,
    rmse,
    roc_auc,
    roc_curve,
)
from tests.messages import exactly

LABELS = {
    "strings": ["bird", "cat", "狗", "eel", "fox"],
    "integers": [-3, 0, 2, 7, 11],
    "floats": [-3.0, 0.0, 2.0, 7.0, 11.0],
}
LABEL_METRICS = [accuracy, precision, recall, f1, balanced_accuracy, matthews_corrcoef]
SCORE_METRICS = [roc_auc, average_precision, log_loss, brier, expected_calibration_error]
REGRESSION_METRICS = [mse, rmse, mae, r2]
EVERY_METRIC = LABEL_METRICS + SCORE_METRICS + REGRESSION_METRICS


def near(value: object) -> object:
    return pytest.approx(value, rel=1e-10, abs=1e-12)


@st.composite
def weights(draw: st.DrawFn, n: int) -> np.ndarray | None:
    """None, whole numbers or fractions; some rows may weigh nothing."""
    kind = draw(st.sampled_from([st.integers(0, 3), st.floats(0, 3, width=16), None]))
    if kind is None:
        return None
    w = np.array(draw(st.lists(kind, min_size=n, max_size=n)), dtype=float)
    w[w < 0.01] = 0
    assume(w.any())
    return w


@st.composite
def labelled(draw: st.DrawFn, classes: int):
    """(y_true, y_pred, weight, the labels): at most `classes` of them occur."""
    names = draw(st.sampled_from(list(LABELS.values())))[:classes]
    n = draw(st.integers(1, 23))
    rows = st.lists(st.sampled_from(names), min_size=n, max_size=n)
    return draw(rows), draw(rows), draw(weights(n)), names


@st.composite
def scored(draw: st.DrawFn, both: bool = True):
    """(y_true, probabilities with many ties, weight); both classes have weight if `both`."""
    n = draw(st.integers(2, 23))
    levels = st.sampled_from([0.0, 0.125, 0.25, 0.3, 0.5, 0.7, 0.9, 1.0]) | st.floats(0, 1)
    y = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    p = np.array(draw(st.lists(levels, min_size=n, max_size=n)))
    w = draw(weights(n))
    if both:
        counted = y if w is None else y[w > 0]
        assume(counted.any() and not counted.all())
    return y, p, w


@given(labelled(2), st.integers(0, 1))
def test_binary_label_metrics_equal_scikit_learn(data, which):
    y, z, w, names = data
    positive = names[which]
    here = {*y, *z}
    assume(positive in here or len(here) == 1)
    known = {"sample_weight": w, "zero_division": 0}
    # scikit-learn refuses a positive label that does not occur: one-vs-rest says the same.
    rest = known | {"labels": [positive], "average": "macro"}
    assert precision(y, z, w, positive=positive) == near(sk.precision_score(y, z, **rest))
    assert recall(y, z, w, positive=positive) == near(sk.recall_score(y, z, **rest))
    assert f1(y, z, w, positive=positive) == near(sk.f1_score(y, z, **rest))


@given(labelled(5))
def test_multi_class_label_metrics_equal_scikit_learn(data):
    y, z, w, _ = data
    assert accuracy(y, z, w) == near(sk.accuracy_score(y, z, sample_weight=w))
    for average in ("macro", "micro", "weighted"):
        known = {"average": average, "sample_weight": w, "zero_division": 0}
        assert precision(y, z, w, average=average) == near(sk.precision_score(y, z, **known))
        assert recall(y, z, w, average=average) == near(sk.recall_score(y, z, **known))
        assert f1(y, z, w, average=average) == near(sk.f1_score(y, z, **known))


@given(labelled(5))
def test_balanced_accuracy_and_correlation_equal_scikit_learn(data):
    y, z, w, _ = data
    # Classes without weight exist for scikit-learn, and make it warn.
    rows = np.arange(len(y)) if w is None else np.flatnonzero(w)
    seen, guess, own = np.array(y)[rows], np.array(z)[rows], None if w is None else w[rows]
    recalls = [
        np.average(guess[seen == k] == k, weights=None if own is None else own[seen == k])
        for k in set(seen.tolist())
    ]
    assert balanced_accuracy(y, z, w) == near(np.mean(recalls))
    if len(set(seen.tolist())) > 1 and len(set(guess.tolist())) > 1:
        expected = sk.matthews_corrcoef(seen, guess, sample_weight=own)
        assert matthews_corrcoef(y, z, w) == pytest.approx(expected, abs=1e-9)
    else:
        assert matthews_corrcoef(y, z, w) == 0.0


@given(labelled(5))
def test_confusion_matrix_equals_scikit_learn(data):
    y, z, w, names = data
    for labels in (None, names, names[::-1]):
        got = confusion_matrix(y, z, w, labels=labels)
        if labels is None and len({*y, *z}) == 1:  # scikit-learn warns
            continue
        want = sk.confusion_matrix(y, z, labels=labels, sample_weight=w)
        assert got == near(want)
        assert got.dtype == (np.int64 if w is None else np.float64)


def test_balanced_accuracy_equals_scikit_learn_on_all_classes():
    rng = np.random.default_rng(3)
    y, z, w = rng.integers(0, 5, 101), rng.integers(0, 5, 101), rng.random(101)
    expected = sk.balanced_accuracy_score(y, z, sample_weight=w)
    assert balanced_accuracy(y, z, w) == near(expected)


@given(scored())
def test_curves_and_areas_equal_scikit_learn(data):
    y, p, w = data
    for got, want in zip(
        roc_curve(y, p, w), sk.roc_curve(y, p, sample_weight=w, drop_intermediate=False)
    ):
        assert got == near(want)
    for got, want in zip(
        precision_recall_curve(y, p, w), sk.precision_recall_curve(y, p, sample_weight=w)
    ):
        assert got == near(want)
    assert roc_auc(y, p, w) == near(sk.roc_auc_score(y, p, sample_weight=w))
    assert average_precision(y, p, w) == near(sk.average_precision_score(y, p, sample_weight=w))


@given(scored(both=False), st.sampled_from([np.float32, np.float64]))
def test_probability_metrics_equal_scikit_learn(data, dtype):
    y, p, w = data
    p = p.astype(dtype)
    expected = sk.log_loss(y, p, sample_weight=w, labels=[False, True])
    assert log_loss(y, p, w) == pytest.approx(expected, rel=2e-6 if dtype == np.float32 else 1e-10)
    expected = sk.brier_score_loss(y, p, sample_weight=w, labels=[False, True])
    assert brier(y, p, w) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(scored(), st.integers(1, 7), st.sampled_from(["uniform", "quantile"]))
def test_calibration_equals_scikit_learn(data, bins, strategy):
    from sklearn.calibration import calibration_curve

    y, p, _ = data
    # A quantile that is a score itself is a knife's edge: rounding decides in scikit-learn.
    assume(strategy == "uniform" or all((len(y) - 1) * k % bins for k in range(1, bins)))
    got = calibration(y, p, bins=bins, strategy=strategy)
    observed, predicted = calibration_curve(y, p, n_bins=bins, strategy=strategy)
    assert got.observed == near(observed)
    assert got.predicted == near(predicted)
    assert got.weight.sum() == len(y)
    assert got.error == near((np.abs(observed - predicted) * got.weight).sum() / len(y))


@given(st.data())
def test_multi_class_probabilities_equal_scikit_learn(data):
    names = np.array(["b", "a", "c", "d"])[: data.draw(st.integers(2, 4))]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n = 29
    y = names[np.append(np.arange(len(names)), rng.integers(len(names), size=n - len(names)))]
    p = rng.dirichlet(np.ones(len(names)), n).round(2)
    p[:, 0] = 1 - p[:, 1:].sum(axis=1).clip(0, 1)
    p /= p.sum(axis=1, keepdims=True)
    w = data.draw(st.sampled_from([None, rng.random(n) + 0.1]))
    ordered = sorted(names)
    columns = p[:, [names.tolist().index(name) for name in ordered]]
    for labels, prob in ((None, columns), (names, p)):
        assert log_loss(y, prob, w, labels=labels) == near(sk.log_loss(y, columns, sample_weight=w))
        assert brier(y, prob, w, labels=labels) == near(
            sk.brier_score_loss(y, columns, sample_weight=w)
            if len(names) > 2
            else sk.brier_score_loss(y, columns[:, 1], sample_weight=w, pos_label="b")
        )
        for average in ("macro", "weighted"):
            got = roc_auc(y, prob, w, labels=labels, average=average)
            if len(names) > 2:
                known = {"multi_class": "ovr", "average": average, "sample_weight": w}
                assert got == near(sk.roc_auc_score(y, columns, **known))
            else:
                assert got == near(sk.roc_auc_score(y == "b", columns[:, 1], sample_weight=w))


@given(scored())
def test_auc_is_the_share_of_ordered_pairs_exactly(data):
    y, p, _ = data
    won = sum(Fraction((a > b) * 2 + (a == b), 2) for a in p[y].tolist() for b in p[~y].tolist())
    pairs = int(y.sum()) * int((~y).sum())
    area = roc_auc(y, p)
    assert abs(Fraction(area) - won / pairs) <= Fraction(1, 2**52)
    assert roc_auc(~y, p) == near(1 - area)
    # Only the order counts: ranks give the same bits, and infinities are scores like any other.
    ranks = np.unique(p, return_inverse=True)[1]
    assert roc_auc(y, ranks) == area
    ends = np.where(ranks == ranks.max(), np.inf, np.where(ranks == 0, -np.inf, ranks))
    if ranks.max() > 0:
        assert roc_auc(y, ends) == area


@given(scored(both=False))
def test_weight_two_is_a_row_seen_twice(data):
    y, p, _ = data
    times = np.arange(len(y)) % 3
    assume(times.any())
    yy, pp = np.repeat(y, times), np.repeat(p, times)
    for metric in SCORE_METRICS:
        assert metric(y, p, times) == pytest.approx(metric(yy, pp), nan_ok=True)
    for metric in map(at_threshold, LABEL_METRICS):
        assert metric(y, p, times) == near(metric(yy, pp))
    for metric in (mse, rmse, mae):
        assert metric(y, p, times) == near(metric(yy, pp))


@pytest.mark.parametrize("metric", EVERY_METRIC)
def test_row_order_and_container_do_not_matter(metric):
    rng = np.random.default_rng(5)
    y, w = rng.random(37) < 0.4, rng.random(37)
    p = y * 1 if metric in LABEL_METRICS else rng.random(37).round(1)
    if metric in LABEL_METRICS:
        p[::5] ^= 1
    value = metric(y, p, w)
    order = rng.permutation(37)
    assert metric(y[order], p[order], w[order]) == near(value)
    assert metric(list(y), list(p), list(w)) == value
    assert metric(y[:, None], p[:, None], w[:, None]) == value
    assert metric(y, p, w * 2**600) == near(value)
    assert isinstance(value, float)


@pytest.mark.parametrize("metric", SCORE_METRICS)
def test_positive_label_of_any_kind(metric):
    rng = np.random.default_rng(7)
    y, p = rng.random(41) < 0.3, rng.random(41).round(1)
    expected = metric(y, p)
    for no, yes in ((0, 1), (-1, 1), (0.0, 1.0)):
        assert metric(np.where(y, yes, no), p) == expected
    names = np.where(y, "buys", "leaves")
    assert metric(names, p, positive="buys") == expected
    assert metric(names.astype(object), p, positive="buys") == expected
    assert metric(np.where(y, 1, 2), p, positive=1) == expected
    with pytest.raises(ValueError, match="labels are 'buys', 'leaves': name the positive one"):
        metric(names, p)


@pytest.mark.lesson_6
def test_the_documents_f1_takes_precision_not_accuracy():
    """§5.4 reports accuracy .85, recall .80, F1 .82 and calls F1 a mean of the first two."""
    acc, rec = Fraction("0.85"), Fraction("0.80")
    wrong = 2 * acc * rec / (acc + rec)
    assert (float(wrong), round(float(wrong), 2)) == (pytest.approx(0.82424, abs=1e-5), 0.82)

    def rows(tp, fp, fn, tn):
        return np.repeat([1, 0, 1, 0], [tp, fp, fn, tn]), np.repeat([1, 1, 0, 0], [tp, fp, fn, tn])

    # Many positives: the same accuracy and recall, and F1 happens to round to .82 too.
    y, z = rows(340, 65, 85, 510)
    assert (accuracy(y, z), recall(y, z)) == (0.85, 0.80)
    assert precision(y, z) == near(340 / 405)
    assert f1(y, z) == near(sk.f1_score(y, z)) == near(340 / 415)
    assert round(f1(y, z), 2) == 0.82
    # Few buyers, as in a shop: accuracy and recall are the same again, F1 is not .82 at all.
    y, z = rows(80, 130, 20, 770)
    assert (accuracy(y, z), recall(y, z)) == (0.85, 0.80)
    assert f1(y, z) == near(160 / 310)
    assert 2 * precision(y, z) * 0.8 / (precision(y, z) + 0.8) == near(f1(y, z))


def test_ratios_without_a_case_are_zero():
    assert precision([0, 1], [0, 0]) == recall([0, 0], [0, 1]) == f1([0, 0], [0, 0]) == 0.0
    assert precision(["no"], ["no"], positive="yes") == 0.0
    assert f1(["no"], ["no"], positive="no") == 1.0
    assert matthews_corrcoef([1, 1], [0, 1]) == matthews_corrcoef([0, 1], [1, 1]) == 0.0
    assert balanced_accuracy(["a", "a"], ["a", "b"]) == 0.5
    assert accuracy(["甲"], ["甲"]) == 1.0


def test_areas_with_one_class_are_undefined():
    for y in ([0, 0], [1, 1]):
        assert math.isnan(roc_auc(y, [0.1, 0.2]))
    assert math.isnan(average_precision([0, 0], [0.1, 0.2]))
    assert average_precision([1, 1], [0.1, 0.2]) == 1.0
    assert math.isnan(roc_auc([0, 1], [0.1, 0.2], [1, 0]))
    assert math.isnan(roc_auc([0, 1], [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]], labels=[0, 1, 2]))
    fpr, tpr, _ = roc_curve([1, 1], [0.1, 0.2])
    assert np.isnan(fpr).all() and tpr.tolist() == [0, 0.5, 1]
    precisions, recalls, _ = precision_recall_curve([0], [0.5])
    assert precisions.tolist() == [0, 1] and math.isnan(recalls[0]) and recalls[1] == 0


def test_wrong_certainty_costs_the_precision_of_the_dtype():
    assert log_loss([0], [1.0]) == log_loss([0], [1]) == near(-math.log(2.0**-52))
    assert log_loss([0], np.float32([1])) == near(-math.log(2.0**-23))
    assert log_loss([1], [1.0]) == pytest.approx(2.0**-52, rel=1e-6, abs=0)


def test_sums_accumulate_in_float64():
    """2²⁴ + 1 float32 ones cannot be counted in float32; nor can 0.1 be summed."""
    y = np.full(100_003, 0.1, np.float32)
    exact = float(np.float32(0.1)) ** 2
    assert mse(y, np.zeros_like(y)) == pytest.approx(exact, rel=1e-13)
    assert brier(np.zeros(100_003), y) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("metric", EVERY_METRIC)
def test_every_metric_refuses_bad_rows(metric):
    for y, z, w, message in (
        ([0, 1], [1], None, "y_true has 2 rows, y_pred has 1"),
        ([0, 1], [0, 1], [1, -1], r"weight\[1\] is -1.0, expected a finite number, 0 or more"),
        ([0, 1], [0.0, np.nan], None, r"\[1\] is nan, expected"),
        ([0.0, np.nan], [0, 1], None, r"y_true\[1\] is nan, expected"),
    ):
        with pytest.raises(ValueError, match=message):
            metric(y, z, w)


@pytest.mark.parametrize("metric", LABEL_METRICS)
def test_every_metric_of_labels_refuses_probabilities(metric):
    with pytest.raises(ValueError, match=r"y_pred\[0\] is 0.37, expected a label"):
        metric([0, 1], [0.37, 1])


@pytest.mark.parametrize("metric", [log_loss, brier, expected_calibration_error, calibration])
def test_probabilities_are_probabilities(metric):
    for bad in (-0.1, 1.5, np.inf):
        words = f"prob[1] is {bad}, expected a probability in [0, 1]"
        with pytest.raises(ValueError, match=exactly(words)):
            metric([0, 1, 1], [0.5, bad, 2])
    with pytest.raises(TypeError, match="holds <U1 values, expected numbers"):
        metric([0, 1], ["a", "b"])


def test_at_threshold_predicts_positive_from_the_threshold_on():
    y, p = ["no", "yes", "yes"], [0.2, 0.5, 0.4]
    assert at_threshold(recall, positive="yes")(y, p) == 0.5
    assert at_threshold(recall, 0.4, positive="yes")(y, p) == 1.0
    assert at_threshold(accuracy, positive="yes")(y, p, [1, 1, 3]) == near(2 / 5)


@given(scored(), st.sampled_from([*LABEL_METRICS, "profit"]), st.sampled_from(["f4", "f8"]))
def test_best_threshold_is_the_best_of_all(data, metric, dtype):
    y, p, w = data
    if metric == "profit":  # a buyer reached earns 5, a letter costs 1: whole-number sums

        def metric(true, pred, weight=None):
            weight = np.ones(len(true)) if weight is None else weight
            return float(np.sum(weight * pred * (5 * np.asarray(true) - 1)))

    p = p.astype(dtype)
    threshold = best_threshold(y, p, metric, w)
    value = at_threshold(metric, threshold)(y, p, w)
    every = [at_threshold(metric, float(t))(y, p, w) for t in [*np.unique(p), 2.0]]
    assert value == near(max(every))


@pytest.mark.lesson_6
def test_best_threshold_may_be_to_predict_nobody():
    y, p = [1, 0, 0, 0], [0.1, 0.2, 0.3, 0.9]
    for dtype in (np.float32, np.float64):
        probabilities = np.array(p, dtype)
        threshold = best_threshold(y, probabilities, accuracy)
        assert threshold > probabilities.max()
        assert not (probabilities >= threshold).any()
    assert best_threshold(["b", "a"], [0, 1], positive="a") == 1.0
    # 2 of 3 right at .9 and at .7: among equals the highest.
    assert best_threshold([1, 0, 1], [0.9, 0.8, 0.7], accuracy) == 0.9


def test_every_metric_is_public():
    assert {metric.__name__ for metric in EVERY_METRIC} <= set(metrics.__all__)
