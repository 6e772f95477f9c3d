"""Metrics of predicted numbers: a few rows by hand, any against scikit-learn, no variance."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from nnrec.metrics import mae, mse, r2, rmse


def near(value):
    return pytest.approx(value, rel=1e-14, abs=0)


def test_numbers_of_three_rows():
    three = [1, 2, 4], [2, 2, 1], [1, 2, 3]
    assert mse(*three) == near(28 / 6)
    assert rmse(*three) == near(math.sqrt(14 / 3))
    assert mae(*three) == near(10 / 6)
    assert r2(*three) == near(-115 / 53)
    assert r2([1, 3], [1, 2]) == 0.5  # the fewest rows that have a variance
    y, z = np.zeros((2, 2)), [[3, 0], [3, 8]]
    assert mse(y, z) == near((9 + 32) / 2)
    assert rmse(y, z) == near((3 + math.sqrt(32)) / 2)
    assert mae(y, z) == near(3.5)
    assert mse([-1.7e308], [1.7e308]) == math.inf
    assert r2([0, 1e-200], [0, 1e-200]) == 1.0  # the variance is too small for a float
    y = np.column_stack([[0.1] * 3, [1, 2, 3], [-3, -2, -1]])  # the first column's is by rounding
    assert r2(y, y + [[0, 0, 0], [0, 0, 0], [0.1, 0, 0]]) == near(2 / 3)
    constant = [[1, 5], [3, 5]]
    assert r2(constant, [[1, 5], [2, 5]]) == 0.75 and r2(constant, [[1, 5], [2, 6]]) == 0.25


def test_r2_of_a_target_without_variance():
    assert r2([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert r2([2.0, 2.0], [2.0, 3.0]) == 0.0
    assert r2([0.1] * 3, [0.1, 0.1, 0.3]) == 0.0
    assert r2([1.0, 2.0, 2.0], [1.0, 2.0, 3.0], [0, 1, 1]) == 0.0
    assert r2([9.0, 0.1, 0.1, 0.1], [9.0, 0.1, 0.1, 0.3], [0, 1, 1, 1]) == 0.0
    assert math.isnan(r2([1.0], [1.0]))
    assert r2([1.0, 3.0], [2.0, 2.0]) == 0.0
    assert mse([1e200], [-1e200]) == math.inf


@given(st.integers(0, 2**32), st.sampled_from([1, 3]), st.booleans())
def test_regression_metrics_equal_scikit_learn(seed, outputs, weighted):
    close = partial(pytest.approx, rel=1e-10, abs=1e-12)
    rng = np.random.default_rng(seed)
    y, z = rng.normal(size=(2, 17, outputs)) * [[[1]], [[3]]]
    w = rng.random(17) * (rng.random(17) < 0.8) + 1e-3 if weighted else None
    if outputs == 1:
        y, z = y[:, 0], z[:, 0]
    assert mse(y, z, w) == close(sk.mean_squared_error(y, z, sample_weight=w))
    assert rmse(y, z, w) == close(sk.root_mean_squared_error(y, z, sample_weight=w))
    assert mae(y, z, w) == close(sk.mean_absolute_error(y, z, sample_weight=w))
    assert r2(y, z, w) == close(sk.r2_score(y, z, sample_weight=w))
