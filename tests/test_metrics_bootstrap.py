"""Bootstrap intervals: their very draws, how often they hold the truth, and what has none."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from nnrec.metrics import Interval, accuracy, bootstrap, bootstrap_difference, f1, log_loss, roc_auc


def near(value):
    return pytest.approx(value, rel=1e-14, abs=0)


@pytest.mark.parametrize("options", [{}, {"n": 31, "level": 0.8, "rng": 7}])
def test_interval_is_made_of_these_draws(options):
    y, z = np.array([[0, 0, 1, 1, 1, 0, 1], [0, 1, 1, 0, 1, 0, 1]])
    w = np.array([1, 2, 3, 1, 2, 1, 4])
    other = z[::-1]
    rng = np.random.default_rng(options.get("rng", 0))
    rows = [rng.integers(7, size=7) for _ in range(options.get("n", 1000))]
    tail = (1 - options.get("level", 0.95)) / 2
    for weight in None, w:

        def value(z, rows, weight=weight):
            return accuracy(y[rows], z[rows], None if weight is None else weight[rows])

        values = np.array([[value(z, r), value(other, r)] for r in rows])
        ends = [tail, 1 - tail]
        got = bootstrap(accuracy, y, z, weight, **options)
        assert got[1:] == near(tuple(np.quantile(values[:, 0], ends).tolist()))
        assert got.value == accuracy(y, z, weight)
        got = bootstrap_difference(accuracy, y, z, other, weight, **options)
        assert got[1:] == pytest.approx(np.quantile(values @ [1, -1], ends), abs=1e-15)
        assert got.value == accuracy(y, z, weight) - accuracy(y, other, weight)


def test_stratified_interval_draws_within_each_label():
    y, z = np.array(list("babcabb") * 11), np.array(list("bbacacb") * 11)
    rows = [np.flatnonzero(y == label) for label in "abc"]
    members = np.concatenate(rows)  # each label's in their order
    first, size = np.repeat([0, 22, 66], [22, 44, 11]), np.repeat([22, 44, 11], [22, 44, 11])
    rng = np.random.default_rng(0)
    rows = [members[rng.integers(first, first + size)] for _ in range(1000)]
    ends = np.quantile([accuracy(y[r], z[r]) for r in rows], [0.025, 0.975]).tolist()
    assert bootstrap(accuracy, y, z, stratify=True)[1:] == near(tuple(ends))
    difference = bootstrap_difference(accuracy, y, z, y, stratify=True)
    assert difference[1:] == near((ends[0] - 1, ends[1] - 1))


def test_one_draw_weights_that_nobody_gave_and_columns_of_probabilities():
    def metric(true, pred, weight):
        assert weight is None
        return float(pred.sum())

    one = bootstrap(metric, [0, 1], [2, 3], n=1)
    assert one.value == 5 and one.low == one.high
    p = np.array([[0.25, 0.75], [0.5, 0.5], [0.75, 0.25]])
    found = bootstrap(log_loss, [1, 0, 1], p, n=7, stratify=True)
    assert found == bootstrap(log_loss, [1, 0, 1], p[:, 1], n=7, stratify=True)
    y, p = [0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4]  # undefined on draws of one class
    assert bootstrap_difference(roc_auc, y, p, p, n=97, stratify=True) == (0, 0, 0)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """The 90 % interval of a mean holds the truth about 90 % of the time (binomial: 4 sd)."""
    rng = np.random.default_rng(11)
    truth, rounds, held = 0.7, 200, 0
    for _ in range(rounds):
        y = np.ones(101, int)
        z = (rng.random(101) < truth) * 1
        _, low, high = bootstrap(accuracy, y, z, n=199, level=0.9, rng=rng)
        held += low <= truth <= high
    assert abs(held / rounds - 0.9) < 4 * math.sqrt(0.09 / rounds)


def test_a_resample_may_lack_a_class():
    y, p = [0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4]
    with pytest.raises(ValueError, match="not defined on [0-9]+ of 97 resamples .* stratify=True"):
        bootstrap(roc_auc, y, p, n=97)
    assert bootstrap(roc_auc, y, p, n=97, stratify=True) == (1, 1, 1)
    assert bootstrap(partial(f1, positive="y"), ["y", "n"], ["y", "n"], n=3, stratify=True).low == 1


def test_an_interval_prints_as_its_value_and_ends():
    assert str(Interval(0.91234, 0.9, 0.92)) == "0.9123 [0.9000, 0.9200]"
