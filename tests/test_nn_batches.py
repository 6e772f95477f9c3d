"""What fit trains and validates on: batch sources, CSR, weights, augmentation, held-out rows."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from nnrec import (
    MSE,
    SGD,
    Batches,
    Dense,
    GaussianNoise,
    Layer,
    Loss,
    Mixup,
    Network,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from tests.trainings import ITEMS, USERS, Tower, X, Y, accuracy, classifier, plain, trained


def test_a_batch_source_is_called_once_an_epoch() -> None:
    calls = []

    def source(rng):
        calls.append(rng)
        for at in range(0, 101, 7):
            yield X[at : at + 7], Y[at : at + 7]

    net = plain()
    history = net.fit(source, optimizer=SGD(0.3), epochs=3, verbose=0)
    np.testing.assert_array_equal(
        net.theta, trained(plain(), optimizer=SGD(0.3), epochs=3, batch_size=7, shuffle=False)
    )
    assert len(history["loss"]) == 3
    draws = [rng.integers(2**62) for rng in calls]
    assert len(set(draws)) == 3, "each epoch has a Generator of its own"
    net = plain()
    calls.clear()
    net.fit(source, epochs=3, verbose=0)
    assert [rng.integers(2**62) for rng in calls] == draws, "made from the seed"


def test_arrays_become_a_batch_source() -> None:
    source = Batches(X.astype(np.float32), Y, batch_size=7)
    np.testing.assert_array_equal(
        trained(classifier(), source, epochs=2), trained(classifier(), epochs=2, batch_size=7)
    )


def test_batches_keep_rows_together() -> None:
    weight = np.arange(101)
    source = Batches((X, csr_array(X)), Y, weight, batch_size=13)
    parts = list(source(np.random.default_rng(0)))
    order = np.concatenate([w for *_, w in parts])
    np.testing.assert_array_equal(np.sort(order), weight)
    assert (order != weight).any() and len(parts[-1][2]) == 101 % 13
    for (a, b), y, w in parts:
        np.testing.assert_array_equal(a, X[w])
        np.testing.assert_array_equal(b.toarray(), X[w])
        np.testing.assert_array_equal(y, Y[w])
    np.testing.assert_array_equal(next(iter(source()))[2], weight[:13])
    assert next(iter(Batches(X, None)()))[1] is None


def test_a_source_gives_weights_and_tuples() -> None:
    weight = np.linspace(0, 3, 101)
    given = trained(
        Network(Tower(), MSE(), rng=0), lambda rng: [((USERS, ITEMS), Y, weight)], epochs=2
    )
    arrays = Network(Tower(), MSE(), rng=0)
    trained(
        arrays, (USERS, ITEMS), Y, sample_weight=weight, epochs=2, batch_size=101, shuffle=False
    )
    np.testing.assert_array_equal(given, arrays.theta)


def test_a_target_may_be_none() -> None:
    class Size(Loss):
        """½ Σ pred², mean over rows: no target."""

        def __call__(self, pred, target, weight=None):
            assert target is None
            return (pred * pred).sum() / (2 * len(pred)), pred / len(pred)

    def net() -> Network:
        return Network([Dense(5, 2)], Size(), rng=0, dtype="float64")

    history = net().fit(X, optimizer=SGD(0.1), epochs=5, verbose=0)
    assert (np.diff(history["loss"]) < 0).all()
    source = net().fit(lambda rng: [(X,)], optimizer=SGD(0.1), epochs=5, verbose=0)
    assert (np.diff(source["loss"]) < 0).all()


def test_a_split_needs_no_target() -> None:
    class Size(Loss):
        def __call__(self, pred, target, weight=None):
            return (pred * pred).sum() / (2 * len(pred)), pred / len(pred)

    split = Network([Dense(5, 2)], Size(), rng=0).fit(X, validation_split=0.3, verbose=0)
    assert list(split) == ["loss", "val_loss"]


def test_csr_input_equals_dense_input() -> None:
    x = X * (np.abs(X) > 0.7)
    dense, sparse = plain(), plain()
    one = dense.fit(x, Y, epochs=3, validation_split=0.2, verbose=0)
    other = sparse.fit(csr_array(x), Y, epochs=3, validation_split=0.2, verbose=0)
    np.testing.assert_allclose(sparse.theta, dense.theta, rtol=1e-9, atol=1e-12)
    assert other == {name: pytest.approx(values) for name, values in one.items()}


@settings(max_examples=20)
@given(st.integers(0, 99))
def test_weights_equal_repeated_rows(seed) -> None:
    counts = np.random.default_rng(seed).integers(0, 4, 101)
    options = {"optimizer": SGD(0.5), "epochs": 3, "batch_size": 997}
    weighted = trained(plain(), sample_weight=counts, **options)
    repeated = trained(plain(), np.repeat(X, counts, axis=0), np.repeat(Y, counts), **options)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "y", [Y, Y[:, None], Y.tolist(), Y == 1], ids=["1-D", "2-D", "list", "bool"]
)
def test_class_weights_multiply_the_rows(y) -> None:
    own = np.linspace(1, 2, 101)
    by_class = trained(plain(), X, y, class_weight={0: 0.5, 1: 3.0}, sample_weight=own)
    rows = trained(plain(), sample_weight=np.where(Y, 3.0, 0.5) * own)
    np.testing.assert_array_equal(by_class, rows)
    alone = trained(plain(), X, y, class_weight={0: 0.5, 1: 3.0})
    np.testing.assert_array_equal(alone, trained(plain(), sample_weight=np.where(Y, 3.0, 0.5)))
    narrow = trained(classifier(), X, y, class_weight={0: 0.1, 1: 0.3})
    rows = trained(classifier(), sample_weight=np.where(Y, 0.3, 0.1))
    np.testing.assert_array_equal(narrow, rows)


def test_noise_has_its_size_and_a_stream_of_its_own() -> None:
    source = GaussianNoise(Batches(np.zeros((10_007, 3)), None, batch_size=10_007), std=0.5)
    [(x, _)] = source(np.random.default_rng(0))
    assert abs(x.std() - 0.5) < 0.01 and abs(x.mean()) < 0.01
    order = [y for _, y in Batches(X, np.arange(101))(np.random.default_rng(0).spawn(2)[0])]
    noisy = GaussianNoise(Batches(X.astype(np.float32), np.arange(101)), std=np.float64(0.5))
    batches = list(noisy(np.random.default_rng(0)))
    assert {x.dtype for x, _ in batches} == {np.dtype("float32")}
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), np.concatenate(order))


def test_augmented_training_is_reproducible() -> None:
    for augment in (
        GaussianNoise(Batches((X, USERS), Y[:, None] * 1.0), std=0.1),
        GaussianNoise(Batches(X, Y), std=0.1),
        Mixup(Batches(X, Y[:, None] * 1.0, np.ones(101)), alpha=0.3),
    ):
        several = isinstance(augment.source.x, tuple)

        class First(Layer):
            takes_ids = True

            def __call__(self, theta, *xs, rng=None):
                return xs[0], lambda dy, g: (dy,) + (None,) * (len(xs) - 1)

        layers = [First()] * several + [Dense(5, 1)]
        nets = [Network(layers, SigmoidCrossEntropy(), rng=0) for _ in range(2)]
        one, other = (trained(net, augment, epochs=3) for net in nets)
        np.testing.assert_array_equal(one, other)


@given(st.integers(2, 997), st.floats(0.001, 0.999))
def test_the_validation_split_begins_at_the_floor(n, share) -> None:
    cut = int(np.floor(n * (1 - share)))
    x, y = np.arange(n)[:, None] / n, np.arange(n) % 2.0
    net, sizes = Network([Dense(1, 1)], MSE(), rng=0), []

    def rows(truth, estimate):
        sizes.append(truth)
        return 0.0

    if cut == 0:
        with pytest.raises(ValueError, match="validation_split"):
            net.fit(x, y, validation_split=share, verbose=0)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(x, y, validation_split=share, metrics={"rows": rows}, verbose=0)
    train, held = sizes
    np.testing.assert_array_equal(train, y[:cut])
    np.testing.assert_array_equal(held, y[cut:])


def test_a_split_takes_targets_of_any_form() -> None:
    hot = np.eye(2)[Y]
    expected, *others = (
        Network([Dense(5, 2)], SoftmaxCrossEntropy(), rng=0, dtype="float64").fit(
            X, y, validation_split=0.3, metrics={"rows": lambda t, p: t.shape[0]}, verbose=0
        )
        for y in (hot, hot.tolist(), tuple(map(tuple, hot)), csr_array(hot))
    )
    assert (expected["rows"], expected["val_rows"]) == ([70], [31])
    assert others == [expected] * 3


def test_validation_figures_are_those_of_evaluate() -> None:
    weight = np.linspace(1, 2, 101)
    net = plain()
    history = net.fit(
        X, Y, sample_weight=weight, validation_split=0.3, metrics={"accuracy": accuracy}, verbose=0
    )
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    held = net.evaluate(X[70:], Y[70:], weight[70:], metrics={"accuracy": accuracy})
    assert {name: history[f"val_{name}"] for name in held} == {k: [v] for k, v in held.items()}
    assert history["accuracy"] == [accuracy(Y[:70], net.predict(X[:70])[:, 0])]
    assert history["loss"] != [net.evaluate(X[:70], Y[:70], weight[:70])["loss"]]


@pytest.mark.parametrize("data", [(X, Y), [X, Y], (X, Y, np.linspace(0, 1, 101))])
def test_validation_data(data) -> None:
    net = plain()
    history = net.fit(
        lambda rng: [(X, Y)], validation_data=data, metrics={"accuracy": accuracy}, verbose=0
    )
    assert list(history) == ["loss", "val_loss", "val_accuracy"]
    assert history["val_loss"] == [net.evaluate(*data)["loss"]]


def test_metrics_get_vectors_and_labels_as_they_came() -> None:
    seen = []

    def metric(truth, estimate):
        seen.append((truth, estimate))
        return 0.5

    for y in (Y, Y[:, None]):
        classifier().fit(X, y, validation_split=0.3, metrics={"half": metric}, verbose=0)
    for (truth, estimate), n in zip(seen, [70, 31] * 2):
        assert truth.shape == estimate.shape == (n,)
        assert truth.dtype == Y.dtype and estimate.dtype == np.float32


def test_a_drift_of_labels_is_warned_of() -> None:
    ordered = np.sort(Y)
    before = f"{ordered[:70].mean():.1%} before; shuffle, or give validation_data"
    with pytest.warns(UserWarning, match=f"the last rows: 100.0% of them are 1, {before}$"):
        classifier().fit(X, ordered, validation_split=0.3, verbose=0)
    for y in (ordered[:, None], ordered.astype(float), ordered == 1):
        with pytest.warns(UserWarning, match="of them are 1"):
            classifier().fit(X, y, validation_split=0.3, verbose=0)
    net = Network([Dense(5, 2)], SoftmaxCrossEntropy(), rng=0)
    with pytest.warns(UserWarning, match="of them are"):
        net.fit(X, ordered, validation_split=0.3, verbose=0)


def test_a_drift_is_warned_of_from_e_to_the_minus_12() -> None:
    """20 of 100 rows before are 1, then 68 or 69 of 100: Chernoff's bound is e^−11.7 or e^−12.2."""
    x, first = np.zeros((200, 1)), np.arange(100) < 20
    for ones, text in ((68, None), (69, r"31\.0% of them are 0, 80\.0% before")):
        y = np.concatenate([first, np.arange(100)[::-1] < ones]) * 1
        net = Network([Dense(1, 1)], SigmoidCrossEntropy(), rng=0)
        with pytest.warns(UserWarning, match=text) if text else contextlib.nullcontext():
            net.fit(x, y, validation_split=0.5, verbose=0)


def test_a_drift_points_at_the_callers_line() -> None:
    with pytest.warns(UserWarning, match="of them are 1") as caught:
        classifier().fit(X, np.sort(Y), validation_split=0.3, verbose=0)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        *((kind, share) for kind in ("balanced", "rare", "repeated") for share in (0.02, 0.1, 0.5)),
        ("many classes", 0.5),
        ("many classes", 0.02),
        ("many classes", 0.1),
        ("real", 0.1),
        ("real", 0.5),
        ("real", 0.02),
    ],
)
def test_chance_is_no_drift(kind, share) -> None:
    """Shuffled targets never warn: 200 orders each, warnings being errors."""
    rng = np.random.default_rng(0)
    y = {
        "balanced": np.arange(997) % 2,
        "rare": (np.arange(997) < 5) * 1,
        "repeated": np.arange(997) % 7,
        "many classes": np.arange(997) % 89,
        "real": rng.normal(size=997),
    }[kind]
    net = Network([Dense(1, 89)], SoftmaxCrossEntropy(), rng=0)
    if kind == "real":
        net = Network([Dense(1, 1)], MSE(), rng=0)
    for _ in range(200):
        net.fit(
            np.zeros((997, 1)),
            rng.permutation(y),
            validation_split=share,
            batch_size=997,
            verbose=0,
        )


def test_class_weights_stay_out_of_the_validation() -> None:
    """As in Keras: they are how to train, not what is measured."""
    net, weights = plain(), {0: 0.5, 1: 3.0}
    history = net.fit(X, Y, validation_split=0.3, class_weight=weights, verbose=0)
    assert history["val_loss"] == [net.evaluate(X[70:], Y[70:])["loss"]]
