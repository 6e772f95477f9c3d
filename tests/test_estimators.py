"""Estimators: scikit-learn's own checks, what they promise for tables, and every bad input."""

from __future__ import annotations

import json
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nnrec
from nnrec.data import (
    Cleaning,
    DropDuplicates,
    Features,
    Fill,
    Log,
    OneHot,
    Standardize,
    Table,
    TfIdf,
    equal_rows,
    folds,
    split,
)
from nnrec.estimators import NeuralClassifier, NeuralRegressor
from nnrec.metrics import accuracy, best_threshold, f1, roc_auc
from nnrec.nn import (
    L2,
    MSE,
    SGD,
    Adam,
    AdamW,
    Dense,
    Dropout,
    LinearDecay,
    Network,
    ReLU,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Tanh,
)
from nnrec.nn.activations import sigmoid

CHECKS = {"1.9": {"NeuralClassifier": 62, "NeuralRegressor": 59}}  # passed, of scikit-learn's
MINIBATCHES = {
    f"check_sample_weight_equivalence_on_{kind}_data": "weights are not rows in mini-batches"
    for kind in ("dense", "sparse")
}


def classifier(**arguments) -> NeuralClassifier:
    """A small one."""
    return NeuralClassifier(
        **{"hidden": (7,), "epochs": 2, "batch_size": 13, "random_state": 0, **arguments}
    )


def regressor(**arguments) -> NeuralRegressor:
    return NeuralRegressor(
        **{"hidden": (7,), "epochs": 2, "batch_size": 13, "random_state": 0, **arguments}
    )


def shop(n: int = 101, seed: int = 0) -> tuple[Table, np.ndarray]:
    """Visits, and whether they ended in a purchase ("yes", "no")."""
    rng = np.random.default_rng(seed)
    pages = rng.poisson(7, n)
    month = rng.choice(["May", "Nov", "Dec"], n).astype(object)
    price = rng.gamma(2, 30, n)
    price[rng.random(n) < 0.1] = np.nan
    logit = pages - 7 + 2 * (month == "Nov")
    bought = np.where(rng.random(n) < sigmoid(logit * 1.0), "yes", "no")
    return Table({"pages": pages, "month": month, "price": price}), bought


# -- scikit-learn's protocol ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.parametrize("name", ["NeuralClassifier", "NeuralRegressor"])
def test_check_estimator_passes_every_check(name: str, python, monkeypatch) -> None:
    pytest.importorskip("pandas", reason="without pandas scikit-learn skips a check")
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it scikit-learn skips a check
    code = f"""
import json, warnings
warnings.filterwarnings("ignore", message="Estimator .* does not inherit from")
warnings.filterwarnings("ignore", category=FutureWarning)
from sklearn.utils.estimator_checks import check_estimator
from nnrec.estimators import {name}
results = check_estimator({name}(epochs=50), expected_failed_checks={MINIBATCHES}, on_fail=None)
print(json.dumps([[r["check_name"], r["status"], str(r["exception"])] for r in results]))
"""
    results = json.loads(python("-c", code))
    assert not [result for result in results if result[1] not in ("passed", "xfail")]
    assert {check for check, status, _ in results if status == "xfail"} == set(MINIBATCHES)
    version = ".".join(sklearn.__version__.split(".")[:2])
    passed = len(results) - len(MINIBATCHES)
    assert passed == CHECKS.get(version, {}).get(name, passed) > 50


def test_importing_and_fitting_need_no_scikit_learn(python) -> None:
    code = """
import sys
from nnrec import NeuralClassifier, NeuralRegressor
X = [[0.0], [1.0], [2.0]]
NeuralClassifier((2,), epochs=1).fit(X, ["a", "b", "a"]).predict(X)
NeuralRegressor((2,), epochs=1).fit(X, [1, 2, 3]).predict(X)
try:
    NeuralClassifier().predict(X)
except ValueError as error:
    print(error)
print("sklearn" in sys.modules, "pandas" in sys.modules)
"""
    message, loaded = python("-c", code).splitlines()
    assert message == "this NeuralClassifier is not fitted yet; call fit first"
    assert loaded == "False False"


def test_clone_and_parameters() -> None:
    given = classifier(optimizer=SGD(0.1), features=Features({"pages": Log()}), class_weight={0: 1})
    copy = clone(given)
    assert copy is not given and copy.get_params().keys() == given.get_params().keys()
    assert repr(copy) == repr(given)
    assert "optimizer=SGD(" in repr(given)
    assert copy.set_params(hidden=(3,), dropout=0) is copy and copy.hidden == (3,)
    with pytest.raises(ValueError, match="no argument 'learning_rate'; it has hidden, activ"):
        copy.set_params(learning_rate=1)


def test_pipeline_grid_search_and_cross_validation() -> None:
    table, y = shop(67)
    X = np.column_stack([table["pages"], table["pages"] ** 2.0])
    pipe = make_pipeline(StandardScaler(), classifier(epochs=20, optimizer=Adam(0.02)))
    grid = {"neuralclassifier__hidden": [(), (5,)], "neuralclassifier__dropout": [0, 0.1]}
    search = GridSearchCV(pipe, grid, cv=3, scoring="roc_auc", error_score="raise").fit(X, y)
    assert search.best_score_ > 0.8
    assert set(search.predict(X)) == {"no", "yes"}
    scores = cross_val_score(regressor(epochs=30, optimizer=Adam(0.02)), X, X[:, 0], cv=3)
    assert scores.shape == (3,) and (scores > 0.5).all()


@pytest.mark.oracle
def test_data_frames_of_three_libraries_give_the_same_bits() -> None:
    pandas = pytest.importorskip("pandas", reason="compares its data frames")
    polars = pytest.importorskip("polars", reason="compares its data frames")
    pyarrow = pytest.importorskip("pyarrow", reason="compares its tables")
    table, y = shop()
    columns = {name: table[name] for name in table.names}
    expected = classifier().fit(table, y).predict_proba(table)
    frame = pandas.DataFrame(columns)
    for data in (columns, frame, polars.from_pandas(frame), pyarrow.Table.from_pandas(frame)):
        fitted = classifier().fit(data, y)
        np.testing.assert_array_equal(fitted.predict_proba(data), expected)
        assert fitted.feature_names_in_.tolist() == ["pages", "month", "price"]
    scores = cross_val_score(classifier(), frame, pandas.Series(y), cv=3, error_score="raise")
    assert len(scores) == 3


# -- what is computed ----------------------------------------------------------------------------


def by_hand(X: np.ndarray, y: np.ndarray, rng, optimizer, **fit) -> Network:
    """The network of `classifier`, in the words of nnrec.nn."""
    layers = [Dense(X.shape[1], 7, "he"), ReLU(), Dropout(0.2), Dense(7, 1)]
    network = Network(layers, SigmoidCrossEntropy(), rng=rng, dtype="float64")
    network.fit(X, y, optimizer=optimizer, epochs=2, batch_size=13, verbose=0, **fit)
    return network


def test_array_is_standardised_and_one_network_trained_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(3, 5, (41, 3)), rng.integers(0, 2, 41)
    X[:, 1] = 4.0  # constant: zeros
    Z = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
    network = by_hand(Z, y, 0, Adam(LinearDecay(0.001, 2 * 4)))  # 41 rows are four batches
    fitted = classifier().fit(X, y)
    np.testing.assert_array_equal(fitted.networks_[0].theta, network.theta)
    assert not fitted.scale_[1] != 1
    np.testing.assert_array_equal(fitted.predict_proba(X)[:, 1], network.predict(Z)[:, 0])
    steady = classifier(decay=False, optimizer=SGD(0.5)).fit(X, y)
    np.testing.assert_array_equal(steady.networks_[0].theta, by_hand(Z, y, 0, SGD(0.5)).theta)


def test_table_goes_through_features_bit_for_bit() -> None:
    table, y = shop()
    features = Features({"pages": Log(), "price": Standardize(), "month": OneHot()})
    fitted = classifier(features=features).fit(table, y)
    Z = features.fit_transform(table)
    network = by_hand(Z, y == "yes", 0, Adam(LinearDecay(0.001, 2 * 8)))
    np.testing.assert_array_equal(fitted.networks_[0].theta, network.theta)
    given = Features({"month": OneHot()})
    classifier(features=given).fit(table, y)
    assert not hasattr(given, "columns"), "the description that was given stays unfitted"


def test_ensemble_averages_logits_of_different_networks() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(0, 1, (41, 3)), rng.integers(0, 2, 41)
    fitted = classifier(ensemble=3).fit(X, y)
    stream = np.random.default_rng(0)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    networks = [by_hand(Z, y, stream, Adam(LinearDecay(0.001, 2 * 4))) for _ in range(3)]
    logits = np.mean([network.predict(Z, link=False)[:, 0] for network in networks], axis=0)
    np.testing.assert_array_equal(fitted.predict_proba(X)[:, 1], sigmoid(logits))
    assert len({network.entropy for network in fitted.networks_}) == 3


def test_arguments_reach_network_and_training() -> None:
    table, y = shop(29)
    fitted = classifier(hidden=(5, 3), activation="tanh", dropout=0, l2=0.1, dtype="float32")
    (network,) = fitted.fit(table, y).networks_
    kinds = [type(layer) for layer in network.layer.layers]
    assert kinds == [Dense, Tanh, Dense, Tanh, Dense]
    assert [layer.outputs for layer in network.layer.layers[::2]] == [5, 3, 1]
    assert repr(network.penalty) == repr([L2(0.1)]) and network.dtype == "float32"
    assert network.epochs == 2
    assert classifier(hidden=()).fit(table, y).networks_[0].layer.shapes.keys() == {
        "dense_1.W",
        "dense_1.b",
    }
    three = np.resize(["a", "b", "c"], 29)
    network = classifier().fit(table, three).networks_[0]
    assert isinstance(network.loss, SoftmaxCrossEntropy) and network.layer.layers[-1].outputs == 3
    assert isinstance(regressor().fit(table, np.arange(29)).networks_[0].loss, MSE)


def test_few_rows_are_trained_for_at_least_so_many_steps() -> None:
    table, y = shop(41)
    assert classifier(epochs=None).fit(table, y).networks_[0].epochs == 125  # of 4 batches
    table, y = shop(701)
    assert classifier(epochs=None, batch_size=7).fit(table, y).networks_[0].epochs == 10


def test_equal_seeds_give_equal_bits_and_a_refit_forgets() -> None:
    table, y = shop()
    first = classifier(validation_split=0.3, threshold="f1", ensemble=2).fit(table, y)
    p = first.predict_proba(table)
    np.testing.assert_array_equal(first.fit(table, y).predict_proba(table), p)
    assert (first.set_params(random_state=1).fit(table, y).predict_proba(table) != p).any()
    first.fit(np.c_[table["pages"]], y)
    assert not hasattr(first, "feature_names_in_") and first.n_features_in_ == 1


@pytest.mark.parametrize("kind", [csr_array, csr_matrix])
def test_sparse_stays_sparse_and_as_it_is(kind) -> None:
    rng = np.random.default_rng(3)
    X = rng.poisson(0.5, (37, 11)).astype(float)
    y = rng.integers(0, 2, 37)
    fitted = classifier().fit(kind(X), y)
    network = by_hand(X, y, 0, Adam(LinearDecay(0.001, 2 * 3)))
    np.testing.assert_allclose(fitted.networks_[0].theta, network.theta, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        fitted.predict_proba(kind(X)), fitted.predict_proba(X), rtol=0, atol=1e-12
    )
    dense = classifier().fit(X, y)
    np.testing.assert_array_equal(dense.predict_proba(kind(X)), dense.predict_proba(X))


def test_balanced_weights_are_those_written_out() -> None:
    rng = np.random.default_rng(4)
    X, y = rng.normal(0, 1, (53, 2)), (np.arange(53) < 11) * 1
    own = rng.uniform(0.5, 2, 53)
    factors = {k: own.sum() / 2 / own[y == k].sum() for k in (0, 1)}
    written = own * np.where(y == 1, factors[1], factors[0])
    expected = classifier().fit(X, y, sample_weight=written).networks_[0].theta
    for class_weight in ("balanced", factors):
        fitted = classifier(class_weight=class_weight).fit(X, y, sample_weight=own)
        np.testing.assert_allclose(fitted.networks_[0].theta, expected, rtol=1e-12)
    assert (classifier().fit(X, y, own).networks_[0].theta != expected).any()
    with pytest.raises(ValueError, match="no entry for the class 0"):
        classifier(class_weight={1: 2.0}).fit(X, y)


def test_regressor_does_not_depend_on_units() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(0, 1, (43, 2))
    y = np.column_stack([X[:, 0], X[:, 1] ** 2, np.full(43, 7.0)])
    fitted = regressor(epochs=30).fit(X, y)
    other = regressor(epochs=30).fit(X, 1024 * y + 4096)
    np.testing.assert_allclose(other.predict(X), 1024 * fitted.predict(X) + 4096, rtol=1e-9)
    assert fitted.predict(X).shape == (43, 3)
    np.testing.assert_array_equal(fitted.predict(X)[:, 2], 7)  # constant: as it is
    assert regressor().fit(X, y[:, :1]).predict(X).shape == (43, 1)
    figures = fitted.evaluate(X, y)
    assert figures["r2"] == fitted.score(X, y) and set(figures) == {"rmse", "mae", "r2"}


def test_evaluate_names_its_figures() -> None:
    table, y = shop()
    fitted = classifier(epochs=20).fit(table, y)
    figures = fitted.evaluate(table, y)
    assert figures["roc_auc"] == roc_auc(y == "yes", fitted.predict_proba(table)[:, 1])
    assert figures["accuracy"] == fitted.score(table, y) == np.mean(fitted.predict(table) == y)
    assert figures["f1"] == f1(y, fitted.predict(table), positive="yes")
    assert len(figures) == 10
    three = np.resize(["a", "b", "c"], len(y))
    assert "average_precision" not in classifier().fit(table, three).evaluate(table, three)
    weight = (y == "yes") * 1.0
    recall = fitted.evaluate(table, y)["recall"]
    assert fitted.score(table, y, weight) == pytest.approx(recall)


# -- held-out rows, threshold ----------------------------------------------------------------------


def test_threshold_is_the_best_on_held_out_rows_and_is_used() -> None:
    table, y = shop(211)
    later, y_later = shop(97, seed=1)
    y_later = np.where(np.arange(97) % 3, y_later, "no")  # fewer, and harder to tell
    fitted = classifier(threshold="f1", epochs=20)
    fitted.fit(table, y, validation_data=(later, y_later))
    p = fitted.predict_proba(later)[:, 1]
    assert fitted.threshold_ == best_threshold(y_later == "yes", p, f1) != 0.5
    assert fitted.threshold_ != best_threshold(y_later == "yes", p, accuracy)
    np.testing.assert_array_equal(fitted.predict(later) == "yes", p >= fitted.threshold_)
    fitted.threshold_ = 0.0
    assert set(fitted.predict(later)) == {"yes"}
    assert classifier(threshold=0.9).fit(table, y).threshold_ == 0.9


def test_held_out_rows_teach_nothing_but_when_to_stop() -> None:
    table, y = shop(211)
    far = table.with_columns({"pages": table["pages"] * 1000, "month": ["Jan"] * 211})
    alone = classifier(epochs=3).fit(table, y)
    held = classifier(epochs=3).fit(table, y, validation_data=(far, y))
    np.testing.assert_array_equal(held.networks_[0].theta, alone.networks_[0].theta)
    assert str(held.features_) == str(alone.features_)
    assert list(held.histories_[0]) == ["loss", "val_loss"]
    stopped = classifier(epochs=50, early_stopping=2, optimizer=Adam(0.1), decay=False)
    stopped.fit(table, y, validation_data=(table, np.roll(y, 1)))
    assert 3 <= stopped.networks_[0].epochs < 50


def test_split_keeps_equal_rows_together_and_classes_in_proportion() -> None:
    table, _ = shop(31)
    table, y = table.take(np.arange(93) % 31), np.resize(np.arange(31) < 3, 93)
    shares = {"train": 0.6, "held": 0.4}
    rng = np.random.default_rng(0).spawn(1)[0]
    rows = split(93, shares, stratify=y, groups=equal_rows(table), rng=rng)
    assert y[rows["held"]].sum() == 3  # of 9; without classes it were 6
    expected = classifier().fit(table.take(rows["train"]), y[rows["train"]])
    fitted = classifier(validation_split=0.4).fit(table, y)
    np.testing.assert_array_equal(fitted.networks_[0].theta, expected.networks_[0].theta)


@pytest.mark.parametrize("arguments", [{"threshold": "f1"}, {"early_stopping": 3}])
def test_what_needs_held_out_rows_says_so(arguments) -> None:
    with pytest.raises(ValueError, match="needs validation_split > 0, or fit"):
        classifier(**arguments).fit([[0.0], [1.0]], [0, 1])


# -- tables ----------------------------------------------------------------------------------------


def test_label_may_be_a_column_and_is_no_feature() -> None:
    table, y = shop()
    whole = table.with_columns({"bought": y})
    fitted = classifier().fit(whole, "bought")
    expected = classifier().fit(table, y)
    np.testing.assert_array_equal(fitted.predict_proba(whole), expected.predict_proba(table))
    assert fitted.feature_names_in_.tolist() == table.names and fitted.n_features_in_ == 3
    assert fitted.score(whole, "bought") == fitted.score(table, y)
    assert fitted.classes_.tolist() == ["no", "yes"]
    with pytest.warns(UserWarning, match="column 'bought' equals y in every row"):
        classifier().fit(whole, y)
    with pytest.raises(ValueError, match="no column 'Bought'; the table has 'pages', 'month'"):
        classifier().fit(whole, "Bought")


def test_serving_a_row_that_training_did_not_foresee() -> None:
    table, y = shop()
    fitted = classifier().fit(table, y)
    row = {"pages": [5], "month": ["Nov"], "price": [3.0]}
    p = fitted.predict_proba(row)
    turned = {"price": [3.0], "colour": ["red"], "month": ["Nov"], "pages": ["5"]}
    np.testing.assert_array_equal(fitted.predict_proba(turned), p)
    unseen = fitted.predict_proba({**row, "month": ["Smarch"]})
    np.testing.assert_array_equal(unseen, fitted.predict_proba({**row, "month": [None]}))
    assert (unseen != p).any()
    assert np.isfinite(fitted.predict_proba({**row, "pages": [None], "price": [None]})).all()
    with pytest.raises(ValueError, match="lacks 'price'; it has month, pages"):
        fitted.predict({"month": ["Nov"], "pages": [5]})
    with pytest.raises(ValueError, match="'pages', row 0: found 'many', expected a number"):
        fitted.predict({**row, "pages": ["many"]})
    assert fitted.predict(table.take([])).shape == (0,)
    with pytest.raises(ValueError, match="X is an array; .* was fitted on a table"):
        fitted.predict(np.zeros((1, 3)))


def test_cleaning_drops_rows_in_training_only() -> None:
    table, y = shop(60)
    table, y = table.take(np.arange(120) % 60), np.resize(y, 120)
    y[60:90] = np.where(y[:30] == "yes", "no", "yes")  # equal rows of unequal labels stay
    cleaning = Cleaning([DropDuplicates(), Fill()])
    fitted = classifier(cleaning=cleaning).fit(table, y)
    report = fitted.cleaning_report_
    assert (report.rows_before, report.rows_after) == (120, 90)
    clean, _ = Cleaning([Fill()]).fit_transform(table.take(slice(90)))
    expected = classifier().fit(clean, y[:90])
    np.testing.assert_array_equal(fitted.networks_[0].theta, expected.networks_[0].theta)
    assert fitted.predict(table).shape == (120,)
    assert not hasattr(cleaning, "fitted"), "the description that was given stays unfitted"
    weight = np.arange(1.0, 121)
    fitted = classifier(cleaning=cleaning).fit(table, y, weight)
    expected = classifier().fit(clean, y[:90], weight[:90])
    np.testing.assert_array_equal(fitted.networks_[0].theta, expected.networks_[0].theta)


def test_a_table_to_be_predicted_may_hold_any_label_or_none() -> None:
    table, y = shop(60)
    fitted = classifier(cleaning=Cleaning([Fill()])).fit(
        table.with_columns({"bought": y}), "bought"
    )
    p = fitted.predict_proba(table)
    for column in ({"bought": [None] * 60}, {"bought": np.arange(60)}, {"bought": y}):
        np.testing.assert_array_equal(fitted.predict_proba(table.with_columns(column)), p)
    fitted = classifier(cleaning=Cleaning([Fill()])).fit(table, y == y[0])
    text = np.full(60, "why", object)
    found = fitted.predict_proba(table.with_columns({"y": text}))
    np.testing.assert_array_equal(found, fitted.predict_proba(table))


def test_cleaning_never_changes_the_label() -> None:
    table, _ = shop(60)
    y = np.where(np.arange(60) == 7, 1e6, np.arange(60.0))
    from nnrec.data import Clip

    cleaning = Cleaning([Clip(iqr=1.5)], label="price")
    fitted = regressor(cleaning=cleaning).fit(table.without("price"), y)
    assert fitted.y_center_ == y.mean()
    whole = table.with_columns({"price": y})
    again = regressor(cleaning=cleaning).fit(whole, y)
    assert again.feature_names_in_.tolist() == ["pages", "month"]
    np.testing.assert_array_equal(again.networks_[0].theta, fitted.networks_[0].theta)


def test_cleaning_finds_a_name_for_the_label() -> None:
    table, bought = shop(60)
    taken = table.with_columns({"y": table["pages"] + 0.5})
    fitted = classifier(cleaning=Cleaning([Fill()])).fit(taken, bought)
    assert fitted.cleaning_.label == "y'" and "y" in fitted.features_.groups
    assert fitted.predict(taken).shape == (60,)


def test_text_makes_sparse_inputs() -> None:
    texts = np.resize(np.array(["red dress", "blue hat", "red hat 很好", None], object), 40)
    y = np.resize([1, 0, 1, 0], 40)
    fitted = classifier(features=Features({"title": TfIdf()}), optimizer=Adam(0.05), epochs=20).fit(
        {"title": texts}, y
    )
    assert fitted.score({"title": texts}, y) == 1.0
    assert fitted.predict({"title": ["red shoe"]}).tolist() == [1]


# -- bad input ---------------------------------------------------------------------------------

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


def test_labels_of_any_kind_come_back_as_they_were() -> None:
    for labels in (["ja", "nein"], [True, False], [3, -8], ["好", "Ü"], [2.0, 1.0]):
        y = np.array(labels * 3)
        fitted = classifier().fit(np.arange(6.0)[:, None], y)
        assert fitted.predict([[0.5]]).dtype == y.dtype
        assert fitted.classes_.tolist() == sorted(labels)


@pytest.mark.slow
def test_a_hundred_thousand_categories() -> None:
    names = np.array([f"sku{i}" for i in range(100_003)], object)
    table = {"item": np.concatenate([names, names[:7]]), "n": np.arange(100_010) % 11}
    fitted = classifier(batch_size=4096, epochs=1).fit(table, np.arange(100_010) % 2)
    assert len(fitted.features_.names) < 130
    assert len(fitted.predict({"item": ["never seen"], "n": [3]})) == 1


values = {
    "number": st.one_of(st.floats(), st.none(), st.integers(-(2**70), 2**70)),
    "few": st.sampled_from([0, 1, 2]),
    "flag": st.booleans(),
    "text": st.one_of(st.text(max_size=5), st.none()),
    "date": st.one_of(st.dates(), st.none()),
    "mixed": st.one_of(st.integers(), st.text(max_size=2), st.none(), st.just({})),
    "nothing": st.none(),
}


@st.composite
def tables(draw) -> tuple[dict, list]:
    n = draw(st.integers(0, 11))
    kinds = draw(st.lists(st.sampled_from(sorted(values)), max_size=4))
    columns = {
        f"{kind} {i}": draw(st.lists(values[kind], min_size=n, max_size=n))
        for i, kind in enumerate(kinds)
    }
    labels = st.one_of(st.sampled_from(["是", "no"]), st.none())
    return columns, draw(st.lists(labels, min_size=n, max_size=n))


@settings(max_examples=150)
@given(tables())
def test_any_table_is_one_clear_error_or_one_prediction_a_row(given_rows) -> None:
    columns, y = given_rows
    try:
        fitted = classifier(epochs=1).fit(columns, y)
    except (ValueError, TypeError) as error:
        assert str(error)
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        assert Path(nnrec.__file__).parent in raised_in.parents, raised_in
        return
    p = fitted.predict_proba(columns)
    assert p.shape == (len(y), 2) and np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(fitted.predict_proba(Table(columns).take([0])), p[:1], atol=1e-12)


# -- real data -----------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.slow
def test_online_shoppers_are_told_apart(nnrec_data: Path) -> None:
    table = Table.read(nnrec_data / "online_shoppers" / "online_shoppers_intention.csv")
    groups = equal_rows(table.without("Revenue"))
    train, test = folds(len(table), 10, stratify=table["Revenue"], groups=groups, rng=0)[0]
    model = NeuralClassifier(
        (64,), batch_size=128, optimizer=AdamW(0.002, weight_decay=0.1), dtype="float32",
        validation_split=0.1, threshold="f1", random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = model.fit(table.take(train), "Revenue").evaluate(table.take(test), "Revenue")
    assert figures["roc_auc"] > 0.915 and figures["f1"] > 0.62
    assert model.classes_.tolist() == [False, True]
