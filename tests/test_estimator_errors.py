"""What estimators refuse: rows, numbers, weights, arguments, labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnrec.data import Features
from tests.test_estimators import classifier, regressor

X2, Y2 = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]), ["a", "b", "a"]


def nan_at(*at: int, value: float = np.nan) -> np.ndarray:
    X = X2.copy()
    X[at] = value
    return X


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (X2, None, "requires y to be passed"),
        (X2[:0], [], "X has 0 rows"),
        ({}, [], "X has 0 rows"),
        ({"a": []}, [], "X has 0 rows"),
        (X2[0], Y2, r"X has shape \(2,\), expected \(n, d\)"),
        (X2[:, :0], Y2, r"0 feature\(s\)"),
        (X2, Y2[:2], "X has 3 rows, y has 2"),
        (X2, ["a", "a", "a"], "y has one class only, 'a'"),
        (X2[:1], ["a"], "y has one class only, 'a'"),
        (X2, ["a", None, "b"], "y is missing in row 1"),
        (X2, [0, np.nan, 1], "y is missing in row 1"),
        (X2, [0, np.inf, 1], "y is inf in row 1"),
        (X2, [0.5, 1, 2], "y is 0.5 in row 0. Unknown label type: continuous"),
        (X2, ["a", 1, "b"], "y, row 1: found 1, expected the type text"),
        (X2, [["a", "b"]] * 3, r"y has shape \(3, 2\)"),
        (X2, np.array(["2020", "2021", "2022"], "M8[D]"), "y holds datetime64"),
        (X2, "label", "y='label' names a column, but X is an array"),
        (nan_at(1, 0), Y2, "X is nan in row 1, column 0; .* no NaN, no infinity"),
        (nan_at(2, 1, value=-np.inf), Y2, "X is -inf in row 2, column 1"),
        (nan_at(2, 1, value=1e200), Y2, "X is 1e.200 in row 2, column 1"),
        (nan_at(0, 1, value=np.inf).astype("f4"), Y2, "X is inf in row 0, column 1"),
        (csr_array(nan_at(2, 1)), Y2, "X is nan in row 2, column 1"),
        (X2.astype(str), Y2, "X: found <U32, expected numbers; other columns need a table"),
        ([[1, "a"], [2, "b"], [3, "c"]], Y2, "X: found <U21, expected numbers"),
        ([[1, 2], [3], [4, 5]], Y2, "X: .*inhomogeneous"),
        (np.array([[1, {}]] * 3, object), Y2, "X: .* must be a string or a real number"),
        ({"a": [1.0, np.inf, 2.0]}, Y2, "column 'a', row 1 of the training rows: found inf"),
        ({"a": [1, 2, 3], "b": [1, 2]}, Y2, "columns of different lengths"),
        ({"a": [1, "x", 3]}, Y2, "column 'a', row 1: found 'x', expected the type integer"),
        ({"a": [4, 4, 4]}, Y2, "no column gives an input .'a': one value only"),
        ({"a": [None] * 3}, Y2, "no column gives an input .'a': no value"),
        ({"id": ["a", "b", "c"]}, Y2, "'id': every value is different"),
    ],
)
def test_bad_rows_are_one_error(X, y, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        classifier().fit(X, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, np.nan, 2], "y is nan in row 1"),
        ([1, -np.inf, 2], "y is -inf in row 1"),
        (["a", "b", "c"], "y: found <U1, expected numbers"),
        (["1", None, "2"], "y is nan in row 1"),
        (np.zeros((3, 0)), r"y has shape \(3, 0\)"),
        (np.zeros((3, 1, 1)), r"y has shape \(3, 1, 1\)"),
    ],
)
def test_bad_numbers_are_one_error(y, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        regressor().fit(X2, y)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, 2], r"sample_weight has shape \(2,\), expected \(3,\)"),
        ([[1], [2], [3]], r"sample_weight has shape \(3, 1\)"),
        ([1, -1, 1], "sample_weight is -1.0 in row 1"),
        ([1, np.nan, 1], "sample_weight is nan in row 1"),
        ([0, 0, 0], "sample_weight is zero in every row"),
        ([1, 0, 1], "y has one class only, 'a'"),
    ],
)
def test_bad_weights_are_one_error(weight, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier().fit(X2, Y2, weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 64}, "hidden=64, expected units by layer"),
        ({"hidden": (0,)}, "hidden=0, expected a whole number"),
        ({"hidden": "64"}, "hidden='64', expected units by layer"),
        ({"activation": "gelu"}, "activation='gelu', expected 'relu', 'sigmoid', 'tanh'"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"ensemble": 0}, "ensemble=0"),
        ({"early_stopping": -1}, "early_stopping=-1"),
        ({"validation_split": 1}, "validation_split=1"),
        ({"l2": -1}, "strength=-1"),
        ({"optimizer": "adam"}, "optimizer='adam', expected a Optimizer or None"),
        ({"cleaning": []}, r"cleaning=\[\], expected a Cleaning or None"),
        ({"features": {}}, "features={}, expected a Features or None"),
        ({"threshold": "roc_auc"}, "threshold='roc_auc', expected a number, 'accuracy'"),
        ({"threshold": -1}, "threshold=-1"),
        ({"class_weight": "equal"}, "class_weight='equal'"),
        ({"dtype": "float16"}, "dtype='float16'"),
        ({"features": Features()}, "cleaning and features are of a table's columns"),
    ],
)
def test_bad_arguments_are_one_error(arguments, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        classifier(**arguments).fit(X2, Y2)


@pytest.mark.oracle
def test_two_columns_of_one_name_are_an_error() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas: a dict has no name twice")
    frame = pandas.DataFrame(X2, columns=["a", "a"])
    with pytest.raises(ValueError, match="column name 'a' stands 2 times"):
        classifier().fit(frame, Y2)


def test_threshold_by_metric_is_for_two_classes() -> None:
    with pytest.raises(ValueError, match="threshold='f1' is for two classes; y has 3"):
        classifier(threshold="f1").fit(X2, [0, 1, 2], validation_data=(X2, [0, 1, 2]))


def test_labels_unknown_to_training_are_an_error() -> None:
    fitted = classifier().fit(X2, Y2)
    with pytest.raises(ValueError, match="y holds 'c', which is none of the classes 'a', 'b'"):
        fitted.evaluate(X2, ["a", "b", "c"])
    with pytest.raises(ValueError, match="y holds 'c'"):
        classifier().fit(X2, Y2, validation_data=(X2, ["a", "b", "c"]))
