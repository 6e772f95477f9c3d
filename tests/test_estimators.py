"""Estimators: scikit-learn's own checks, what they compute, held-out rows, real data."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nnrec.data import Features, Log, OneHot, Standardize, Table, equal_rows, folds, split
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


def test_labels_of_any_kind_come_back_as_they_were() -> None:
    for labels in (["ja", "nein"], [True, False], [3, -8], ["好", "Ü"], [2.0, 1.0]):
        y = np.array(labels * 3)
        fitted = classifier().fit(np.arange(6.0)[:, None], y)
        assert fitted.predict([[0.5]]).dtype == y.dtype
        assert fitted.classes_.tolist() == sorted(labels)


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
