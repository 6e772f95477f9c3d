"""fit: what a training must equal, bit for bit where that is promised; batch sources, weights,
validation, callbacks, progress; and what stops it: NaN, Ctrl-C, wrong arguments."""

from __future__ import annotations

import copy
import io
import re
import sys
import types
import warnings
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from nnrec import (
    L1,
    L2,
    MSE,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Add,
    Batches,
    Composite,
    Dense,
    Dropout,
    EarlyStopping,
    Embedding,
    GaussianNoise,
    History,
    Layer,
    LinearDecay,
    Loss,
    Mixup,
    Multiply,
    Network,
    ReLU,
    RMSProp,
    Sequential,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Tanh,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(101, 5))
Y = (X @ [1.0, -2.0, 0.5, 0.0, 1.0] + RNG.normal(size=101) > 0).astype(int)
USERS, ITEMS = RNG.integers(0, 11, 101), RNG.integers(0, 13, 101)


def classifier(**settings) -> Network:
    layers = [Dense(5, 7), Tanh(), Dropout(0.3), Dense(7, 1)]
    return Network(layers, SigmoidCrossEntropy(), **{"rng": 0} | settings)


def plain(**settings) -> Network:
    """Without dropout, float64: what is compared with other arithmetic."""
    layers = [Dense(5, 7), Tanh(), Dense(7, 1)]
    return Network(layers, SigmoidCrossEntropy(), **{"rng": 0, "dtype": "float64"} | settings)


def trained(net: Network, *data, **settings) -> np.ndarray:
    net.fit(*(data or (X, Y)), **{"verbose": 0} | settings)
    return net.theta


def accuracy(truth, estimate) -> float:
    return float((truth == (estimate > 0.5)).mean())


class Tower(Composite):
    """An Embedding of users and a Sequential over items, added: nested parts."""

    def __init__(self, users: Layer | None = None, items: Layer | None = None) -> None:
        super().__init__(
            user=users or Embedding(11, 3),
            item=items or Embedding(13, 3),
            times=Multiply(),
            mlp=Sequential([Dense(3, 5), Tanh(), Dropout(0.2), Dense(5, 1)]),
        )

    def __call__(self, theta, users, items, rng=None):
        on = self.bind(theta, rng)
        p, back_p = on.user(users)
        q, back_q = on.item(items)
        pq, back_pq = on.times(p, q)
        y, back_y = on.mlp(pq)

        def back(dy, g):
            dp, dq = back_pq(back_y(dy, g), g)
            return back_p(dp, g), back_q(dq, g)

        return y, back

    def rows(self, users, items):
        return self.part_rows("user", users) | self.part_rows("item", items)


class DenseTower(Tower):
    """The same, never saying which rows it touches."""

    def rows(self, users, items):
        return {}


class Linear(Loss):
    """L = mean over rows of pred · target: the gradient doesn't depend on pred."""

    def __call__(self, pred, target, weight=None):
        return (pred * target).sum() / len(pred), target / len(pred)


# What a training equals.


def by_hand(net: Network, x, y, rate: float, epochs: int, batch_size: int) -> list[float]:
    """Plain SGD without a shuffle, one line a step; each epoch's mean loss."""
    losses = []
    for _ in range(epochs):
        total = 0.0
        for at in range(0, len(x), batch_size):
            part = slice(at, at + batch_size)
            value, g = net.loss_and_grad(x[part], y[part])
            net.theta -= rate * g
            total += len(x[part]) * value
        losses.append(total / len(x))
    return losses


@pytest.mark.parametrize("batch_size", [1, 7, 101, 997])
def test_fit_is_the_loop_by_hand(batch_size) -> None:
    """The last batch is kept; an epoch's loss weighs each batch by its rows."""
    net, twin = plain(), plain()
    history = net.fit(
        X, Y, optimizer=SGD(0.3), epochs=3, batch_size=batch_size, shuffle=False, verbose=0
    )
    losses = by_hand(twin, X, Y, 0.3, 3, batch_size)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-12)


def test_the_loss_is_the_weighted_mean() -> None:
    weight = np.linspace(0, 3, 101)
    history = plain().fit(X, Y, sample_weight=weight, optimizer=SGD(0.0), batch_size=7, verbose=0)
    assert history["loss"] == [pytest.approx(plain().loss_and_grad(X, Y, weight)[0], rel=1e-12)]


def test_penalties_train_the_objective_and_stay_out_of_the_loss() -> None:
    penalty = [L1(0.01), L2(0.1)]
    net, twin = plain(penalty=penalty), plain()
    history = net.fit(X, Y, optimizer=SGD(0.3), epochs=3, batch_size=101, shuffle=False, verbose=0)
    losses = []
    for _ in range(3):
        value, g = twin.loss_and_grad(X, Y)
        losses.append(value)
        for name, dW in twin.parameters(g).items():
            W = twin.parameters()[name]
            if name.endswith("W"):
                dW += 0.01 * np.sign(W) + 0.1 * W
        twin.theta -= 0.3 * g
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(net.theta, twin.theta, rtol=1e-12)


def test_what_is_checked_is_what_is_trained() -> None:
    """A step on a batch of a table takes loss_and_grad's gradient, penalty included."""
    users, items, y = np.array([2, 7, 2]), np.array([5, 5, 1]), np.ones(3)
    layers = {"dtype": "float64", "penalty": L2(0.5), "rng": 0}
    net = Network(Tower(), MSE(), **layers)
    mlp = [part for part in net.layer.parts["mlp"].layers if not isinstance(part, Dropout)]
    net.layer.parts["mlp"] = Sequential(mlp)
    net = Network(net.layer, MSE(), **layers)
    theta, (_, g) = net.theta.copy(), net.loss_and_grad((users, items), y)
    trained(net, (users, items), y, optimizer=SGD(0.25))
    np.testing.assert_allclose(net.theta, theta - 0.25 * g, rtol=1e-12, atol=1e-15)


def test_epochs_go_on_where_the_last_fit_ended() -> None:
    for optimizer in (Adam(0.05), SGD(LinearDecay(0.3, steps=9), momentum=0.9)):
        once, twice = classifier(), classifier()
        trained(once, optimizer=copy.deepcopy(optimizer), epochs=2)
        history = [twice.fit(X, Y, optimizer=optimizer, verbose=0) for _ in range(2)]
        np.testing.assert_array_equal(once.theta, twice.theta)
        assert [len(part["loss"]) for part in history] == [1, 1]
    before = twice.theta.copy()
    assert twice.fit(X, Y, epochs=0, verbose=0) == {}
    np.testing.assert_array_equal(twice.theta, before)


def test_adam_is_the_default() -> None:
    np.testing.assert_array_equal(
        trained(classifier()), trained(classifier(), optimizer=Adam(0.001), batch_size=32)
    )


def test_equal_seeds_give_equal_bits() -> None:
    bare = trained(classifier(), epochs=3)
    assert (trained(classifier(rng=1), epochs=3) != bare).any()
    watched = classifier()
    watched.fit(
        X,
        Y,
        epochs=3,
        validation_data=(X[:29], Y[:29]),
        metrics={"accuracy": accuracy},
        callbacks=[lambda run: run.network.predict(X), lambda run: np.random.default_rng(0)],
        verbose=0,
    )
    np.testing.assert_array_equal(watched.theta, bare)


def test_monitoring_during_an_epoch_changes_no_bit() -> None:
    class Monitor:
        def on_step(self, run):
            run.network.evaluate(X, Y)
            run.network.loss_and_grad(X, Y, rng=0)

    np.testing.assert_array_equal(
        trained(classifier(), callbacks=[Monitor()]), trained(classifier())
    )


def test_the_validation_split_trains_on_the_first_rows() -> None:
    part = trained(classifier(), validation_split=0.3, epochs=2)
    np.testing.assert_array_equal(part, trained(classifier(), X[:70], Y[:70], epochs=2))


def order_of(**settings) -> list[np.ndarray]:
    """The rows of each batch, as the layer saw them."""
    seen: list[np.ndarray] = []

    class Spy(Layer):
        def __call__(self, theta, x, rng=None):
            seen.append(x[:, 0].astype(int))
            return x, lambda dy, g: dy

    net = Network([Spy(), Dense(1, 1)], Linear(), rng=settings.pop("rng", 0))
    net.fit(np.arange(23)[:, None], np.zeros(23), verbose=0, batch_size=5, **settings)
    return seen


def test_the_shuffle_depends_on_the_seed_alone() -> None:
    batches = order_of(epochs=2)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3] * 2
    first, second = np.concatenate(batches[:5]), np.concatenate(batches[5:])
    for epoch in (first, second):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(23))
    assert (first != second).any() and (first != np.arange(23)).any()
    np.testing.assert_array_equal(np.concatenate(order_of(epochs=2, optimizer=SGD(0.5))[:5]), first)
    assert (np.concatenate(order_of(rng=1)) != first).any()
    np.testing.assert_array_equal(np.concatenate(order_of(shuffle=False)), np.arange(23))


def test_dropout_draws_apart_from_the_shuffle() -> None:
    """Without a shuffle the masks are the same: each has its own stream."""
    layers = [Dropout(0.5), Dense(5, 1)]
    nets = [Network(layers, Linear(), rng=0, dtype="float64") for _ in range(2)]
    for net, shuffle in zip(nets, (True, False)):
        net.fit(np.ones((101, 5)), np.ones(101), batch_size=7, shuffle=shuffle, verbose=0)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


def test_layers_and_source_draw_from_different_streams() -> None:
    draws: dict[str, list[int]] = {"layer": [], "source": []}

    class Draw(Layer):
        def __call__(self, theta, x, rng=None):
            draws["layer"].append(int(rng.integers(2**62)))
            return x, lambda dy, g: dy

    def source(rng):
        draws["source"].append(int(rng.integers(2**62)))
        yield X, Y

    Network([Draw(), Dense(5, 1)], MSE(), rng=0).fit(source, epochs=3, verbose=0)
    assert len({*draws["layer"], *draws["source"]}) == 6


def test_a_leading_dense_declines_the_data_gradient_in_fit_alone() -> None:
    given = []

    class Spy(Dense):
        def __call__(self, theta, x, rng=None):
            y, back = super().__call__(theta, x, rng=rng)

            def spying(dy, g):
                given.append(back(dy, g) is not None)
                return back(dy, 0 * g)

            return y, spying

    layers = Sequential([Spy(5, 3), Tanh(), Spy(3, 1)])
    net = Network(Sequential([layers, Tanh()]), MSE(), rng=0)
    net.fit(X, Y, batch_size=101, verbose=0)
    assert given == [True, False], "the last layer first"
    given.clear()
    net.loss_and_grad(X, Y)
    assert given == [True, True]


# float32 stays float32.


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(np.float64(0.1), momentum=np.float64(0.9)),
        Adagrad(np.float64(0.1)),
        RMSProp(np.float64(0.01), momentum=0.5),
        Adam(lambda step: np.float64(0.01)),
        AdamW({"*": np.float64(0.01)}, clip_norm=np.float64(1)),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
@pytest.mark.parametrize(
    ("x", "y", "layer", "loss"),
    [
        (X, Y, Dense(5, 1), SigmoidCrossEntropy()),
        (csr_array((np.abs(X) > 1).astype(int)), Y, Dense(5, 2), SoftmaxCrossEntropy()),
        (X, csr_array(np.eye(2)[Y].astype(int)), Dense(5, 2), SoftmaxCrossEntropy()),
        ((USERS, ITEMS), Y, Tower(), SigmoidCrossEntropy()),
    ],
    ids=["float64", "int CSR", "CSR target", "ids"],
)
def test_float32_stays_float32(x, y, layer, loss, optimizer) -> None:
    optimizer = copy.deepcopy(optimizer)
    net, seen = Network(layer, loss, rng=0, penalty=[L1(0.01), L2(0.01)]), set()

    class Look(Loss):
        takes_labels = loss.takes_labels

        def __call__(self, pred, target, weight=None):
            value, dpred = loss(pred, target, weight)
            seen.update({pred.dtype, value.dtype, dpred.dtype, weight.dtype})
            return value, dpred

        def inverse_link(self, pred):
            return loss.inverse_link(pred)

    net.loss = Look()
    net.fit(x, y, optimizer=optimizer, sample_weight=np.ones(101), epochs=2, verbose=0)
    slots = optimizer.state_dict()["slots"].values()
    value, g = net.loss_and_grad(x, y, np.ones(101))
    arrays = [net.theta, g, value, net.predict(x), net.predict(x, link=False), *slots]
    assert {a.dtype for a in arrays} | seen == {np.dtype("float32")}


# Batches and weights.


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


# Augmentation.


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


# Validation, metrics, history.


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
    with pytest.warns(UserWarning, match=r"100\.0% of them are 1, \d\d\.\d% before") as caught:
        classifier().fit(X, ordered, validation_split=0.3, verbose=0)
    assert caught[0].filename == __file__, "it points at the caller's line"
    for y in (ordered[:, None], ordered.astype(float), ordered == 1):
        with pytest.warns(UserWarning, match="of them are 1"):
            classifier().fit(X, y, validation_split=0.3, verbose=0)
    net = Network([Dense(5, 2)], SoftmaxCrossEntropy(), rng=0)
    with pytest.warns(UserWarning, match="of them are"):
        net.fit(X, ordered, validation_split=0.3, verbose=0)


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


def test_history_prints_as_a_table() -> None:
    history = History(loss=[0.5, 0.25], val_auc=[1 / 3, 1e-7])
    check_table(history, "val_auc")
    history.interrupted = True
    assert str(history).splitlines()[-1] == "interrupted"
    assert str(History()) == "epoch"


def check_table(history: History, name: str) -> None:
    heads, *rows = [re.split(r" +", line.strip()) for line in str(history).splitlines()]
    assert heads == ["epoch", "loss", name]
    assert rows == [["1", "0.5", "0.33333"], ["2", "0.25", "1e-07"]]
    assert len({len(line) for line in str(history).splitlines()}) == 1, "columns are aligned"


def test_history_keeps_long_names_apart() -> None:
    name = "val_average_precision"
    check_table(History({"loss": [0.5, 0.25], name: [1 / 3, 1e-7]}), name)


# Callbacks.


class Log:
    """Notes what fit calls, in order."""

    def __init__(self, name: str, calls: list) -> None:
        self.name, self.calls = name, calls

    def on_start(self, run):
        self.calls.append((self.name, "start", run.epoch, run.step))

    def on_step(self, run):
        self.calls.append((self.name, "step", run.epoch, run.step))

    def on_epoch(self, run):
        self.calls.append((self.name, "epoch", run.epoch, run.step))

    def on_end(self, run):
        self.calls.append((self.name, "end", run.epoch, run.step))


def test_callbacks_are_called_in_order() -> None:
    calls: list = []
    classifier().fit(
        X, Y, batch_size=53, epochs=2, callbacks=[Log("a", calls), Log("b", calls)], verbose=0
    )
    expected = [("start", 0, 0), ("step", 0, 1), ("step", 0, 2), ("epoch", 1, 2)]
    expected += [("step", 1, 3), ("step", 1, 4), ("epoch", 2, 4), ("end", 2, 4)]
    assert calls == [(name, *call) for call in expected for name in "ab"]


def test_a_function_is_called_after_each_epoch() -> None:
    seen = []
    net, optimizer = classifier(), Adam()
    history = net.fit(
        X,
        Y,
        epochs=3,
        optimizer=optimizer,
        callbacks=[lambda run: seen.append((run.epoch, run.epochs, run.history["loss"][-1]))],
        verbose=0,
    )
    assert seen == [(i + 1, 3, loss) for i, loss in enumerate(history["loss"])]

    def same(run):
        assert run.network is net and run.optimizer is optimizer

    net.fit(X, Y, optimizer=optimizer, callbacks=[same], verbose=0)


def test_a_callback_that_hears_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match="fit: callback 'checkpoint' is no function"):
        classifier().fit(X, Y, callbacks=["checkpoint"], verbose=0)


def test_stop_ends_training_after_the_epoch_or_the_step() -> None:
    def at_two(run):
        run.stop = run.epoch == 2

    assert len(classifier().fit(X, Y, epochs=9, callbacks=[at_two], verbose=0)["loss"]) == 2

    class AtStep:
        def on_step(self, run):
            run.stop = run.step == 3

        def on_end(self, run):
            self.steps = run.step

    callback = AtStep()
    history = classifier().fit(X, Y, epochs=9, batch_size=7, callbacks=[callback], verbose=0)
    assert callback.steps == 3 and len(history["loss"]) == 1


SCORES = [5.0, 3.0, 7.0, 2.5, 2.5, 6.0, 4.0, 3.5, 1.0, 9.0, 9.0]


@pytest.mark.lesson_6
@pytest.mark.parametrize(
    ("settings", "best"),
    [
        ({"patience": 1}, 2),
        ({"patience": 2}, 4),
        ({"patience": 3}, 4),
        ({"patience": 2, "min_delta": 0.6}, 2),
        ({"patience": 4, "mode": "max"}, 3),
        ({"patience": 5}, 9),
    ],
)
def test_early_stopping_restores_the_best(settings, best) -> None:
    thetas = []

    def score(run):
        run.history.setdefault("score", []).append(SCORES[run.epoch - 1])
        thetas.append(run.network.theta.copy())

    net, stopping = classifier(), EarlyStopping("score", **settings)
    history = net.fit(X, Y, epochs=11, callbacks=[score, stopping], verbose=0)
    assert len(history["loss"]) == min(11, best + settings["patience"])
    np.testing.assert_array_equal(net.theta, thetas[best - 1])
    thetas.clear()
    net.fit(X, Y, epochs=3, callbacks=[score, stopping], verbose=0)  # it starts afresh
    np.testing.assert_array_equal(net.theta, thetas[2 if stopping.mode == "max" else 1])


@pytest.mark.lesson_6
def test_early_stopping_watches_the_validation_loss() -> None:
    net = plain()
    noise = RNG.integers(0, 2, 101)  # nothing to learn: the validation loss soon rises
    history = net.fit(
        X, noise, epochs=997, optimizer=SGD(1.0), validation_data=(X[:29], 1 - noise[:29]),
        callbacks=[EarlyStopping()], verbose=0,
    )  # fmt: skip
    best = int(np.argmin(history["val_loss"]))
    assert len(history["val_loss"]) == best + 6
    assert net.evaluate(X[:29], 1 - noise[:29])["loss"] == min(history["val_loss"])


def test_early_stopping_on_nan_keeps_what_there_is() -> None:
    def score(run):
        run.history.setdefault("score", []).append(float("nan"))

    net, twin = classifier(), classifier()
    stopping = EarlyStopping("score", patience=2)
    assert len(net.fit(X, Y, epochs=9, callbacks=[score, stopping], verbose=0)["loss"]) == 2
    np.testing.assert_array_equal(net.theta, trained(twin, epochs=2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "up"}, "EarlyStopping: mode='up', expected 'min' or 'max'"),
        ({"patience": 0}, "EarlyStopping: patience=0, expected a whole number ≥ 1"),
        ({"patience": 1.5}, "EarlyStopping: patience=1.5"),
        ({"min_delta": -1.0}, "EarlyStopping: min_delta=-1.0"),
    ],
)
def test_bad_early_stopping_is_named(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**settings)


def test_a_missing_monitor_is_named() -> None:
    with pytest.raises(ValueError, match="EarlyStopping: 'val_loss' is none of loss"):
        classifier().fit(X, Y, callbacks=[EarlyStopping()], verbose=0)


# Interruption and progress.


class InterruptAt:
    """Ctrl-C, at one of fit's events."""

    def __init__(self, event: str, epoch: int = 2) -> None:
        self.epoch, self.ended = epoch, 0
        setattr(self, event, self.interrupt)

    def interrupt(self, run):
        if run.epoch == self.epoch:
            raise KeyboardInterrupt

    def on_end(self, run):
        self.ended += 1


@pytest.mark.parametrize("event", ["on_step", "on_epoch"])
def test_ctrl_c_returns_the_history_so_far(event) -> None:
    net, callback = classifier(), InterruptAt(event)
    history = net.fit(X, Y, epochs=9, validation_split=0.2, callbacks=[callback], verbose=0)
    assert history.interrupted and callback.ended == 1
    assert [len(values) for values in history.values()] == [2, 2]
    assert str(history).splitlines()[-1] == "interrupted"
    assert np.isfinite(net.theta).all() and (net.theta != classifier().theta).any()
    assert not net.fit(X, Y, verbose=0).interrupted, "and training can go on"


def test_ctrl_c_before_the_first_step_leaves_the_network() -> None:
    net = classifier()
    history = net.fit(X, Y, callbacks=[InterruptAt("on_start", 0)], verbose=0)
    assert history == {} and history.interrupted
    np.testing.assert_array_equal(net.theta, classifier().theta)


def test_ctrl_c_inside_a_source_leaves_a_clean_gradient() -> None:
    def source(rng):
        yield X, Y
        raise KeyboardInterrupt

    net, twin = plain(), plain()
    assert net.fit(source, optimizer=SGD(0.1), verbose=0).interrupted
    trained(twin, lambda rng: [(X, Y)], optimizer=SGD(0.1))
    np.testing.assert_array_equal(net.theta, twin.theta)


def test_early_stopping_restores_the_best_after_ctrl_c() -> None:
    kept = []
    net = classifier()
    watch = [
        lambda run: run.history.setdefault("score", []).append(-float(run.epoch == 1)),
        lambda run: kept.append(run.network.theta.copy()),
        EarlyStopping("score", patience=5),
        InterruptAt("on_epoch"),
    ]
    net.fit(X, Y, epochs=9, callbacks=watch, verbose=0)
    np.testing.assert_array_equal(net.theta, kept[0])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Bar:
    """What fit uses of tqdm."""

    made: list[Bar] = []

    def __init__(self, total, **settings) -> None:
        self.total, self.settings, self.done, self.closed = total, settings, 0, False
        self.said: list[str] = []
        Bar.made.append(self)

    def set_postfix_str(self, text, refresh=True) -> None:
        self.said.append(text)

    def update(self, n=1) -> None:
        self.done += n

    def close(self) -> None:
        self.closed = True


def at_a_terminal(monkeypatch) -> list[Bar]:
    """From here on stderr is a terminal; the bars that its tqdm makes are in this list."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    tqdm = types.ModuleType("tqdm")
    tqdm.__spec__, tqdm.tqdm = ModuleSpec("tqdm", None), Bar
    monkeypatch.setitem(sys.modules, "tqdm", tqdm)
    monkeypatch.setattr(Bar, "made", [])
    return Bar.made


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys) -> None:
    history = classifier().fit(X, Y, epochs=3, validation_split=0.2)
    out, err = capsys.readouterr()
    assert out == ""
    *_, last = err.splitlines()
    figures = f"loss {history['loss'][-1]:.5g}  val_loss {history['val_loss'][-1]:.5g}"
    assert re.fullmatch(rf"epoch 3/3  \d+\.\d s  {re.escape(figures)}", last)


def test_progress_says_at_most_a_line_a_second(capsys, monkeypatch) -> None:
    clock = iter(np.arange(0, 99, 0.3))  # start, then every epoch
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    classifier().fit(X, Y, epochs=10)
    said = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert said == ["4/10", "8/10", "10/10"]


def test_progress_says_the_last_epoch_of_a_stopped_training(capsys) -> None:
    def stop(run):
        run.stop = run.epoch == 2

    classifier().fit(X, Y, epochs=9, callbacks=[stop])
    assert "epoch 2/9" in capsys.readouterr().err


def test_verbose_0_is_silent(capsys, monkeypatch) -> None:
    classifier().fit(X, Y, epochs=2, verbose=0)
    assert capsys.readouterr() == ("", "")
    bars = at_a_terminal(monkeypatch)
    classifier().fit(X, Y, epochs=2, verbose=0)
    assert sys.stderr.getvalue() == "" and not bars


def test_progress_is_tqdms_bar_at_a_terminal(monkeypatch) -> None:
    bars = at_a_terminal(monkeypatch)
    history = classifier().fit(X, Y, epochs=3)
    (bar,) = bars
    assert (bar.total, bar.done, bar.closed) == (3, 3, True)
    assert bar.settings.get("file") is None, "which is stderr to tqdm"
    assert bar.said == [f"loss {loss:.5g}" for loss in history["loss"]]
    assert sys.stderr.getvalue() == ""


def test_the_bar_is_closed_after_ctrl_c(monkeypatch) -> None:
    bars = at_a_terminal(monkeypatch)
    classifier().fit(X, Y, epochs=3, callbacks=[InterruptAt("on_epoch", 1)])
    assert [bar.closed for bar in bars] == [True]


def test_the_bar_is_closed_after_an_error(monkeypatch) -> None:
    bars = at_a_terminal(monkeypatch)
    with pytest.raises(FloatingPointError):
        Network([Dense(5, 1)], MSE(), rng=0).fit(X, Y, optimizer=SGD(1e30), epochs=3)
    assert [bar.closed for bar in bars] == [True]


def test_without_tqdm_a_terminal_gets_plain_lines(monkeypatch) -> None:
    bars = at_a_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    classifier().fit(X, Y, epochs=3)
    assert "epoch 3/3" in sys.stderr.getvalue() and not bars


# NaN and infinity.


def spoilt(array: np.ndarray, at, value) -> np.ndarray:
    array = array.astype(float)
    array[at] = value
    return array


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named_with_their_place(value) -> None:
    inputs = {
        f"x.* is {value} in row 17, column 3": ((spoilt(X, (17, 3), value), Y), {}),
        f"y is {value} in row 23, column 0": ((X, spoilt(Y, 23, value)), {}),
        f"weight is {value} in row 29": ((X, Y), {"sample_weight": spoilt(Y, 29, value)}),
        f"x.* is {value} in row 17, column 3; expected finite": (
            (csr_array(spoilt(X, (17, 3), value)), Y),
            {},
        ),
    }
    for message, (data, options) in inputs.items():
        net, calls = classifier(), []
        with pytest.raises(ValueError, match=message):
            net.fit(*data, callbacks=[Log("a", calls)], verbose=0, **options)
        np.testing.assert_array_equal(net.theta, classifier().theta)
        assert not calls, "before any work"


def test_a_lone_input_is_called_x() -> None:
    with pytest.raises(ValueError, match="x is nan in row 17, column 3"):
        classifier().fit(spoilt(X, (17, 3), np.nan), Y, verbose=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_validation_data_that_are_not_finite_are_named(value) -> None:
    for data in [(spoilt(X, (17, 3), value), Y), (X, spoilt(Y, 17, value))]:
        with pytest.raises(ValueError, match=f"{value} in row 17"):
            classifier().fit(X, Y, validation_data=data, verbose=0)


def test_values_too_large_for_float32_are_named() -> None:
    with pytest.raises(ValueError, match="x.* is inf in row 17, column 3"):
        classifier().fit(spoilt(X, (17, 3), 1e300), Y, verbose=0)
    assert np.isfinite(trained(classifier(dtype="float64"), spoilt(X, (17, 3), 1e300), Y)).all()


def test_several_inputs_are_told_apart() -> None:
    class Sides(Composite):
        def __init__(self):
            super().__init__(a=Dense(5, 1), b=Dense(5, 1), add=Add())

        def __call__(self, theta, a, b, rng=None):
            on = self.bind(theta, rng)
            (p, back_p), (q, back_q) = on.a(a), on.b(b)
            y, back_y = on.add(p, q)

            def back(dy, g):
                dp, dq = back_y(dy, g)
                return back_p(dp, g), back_q(dq, g)

            return y, back

    net = Network(Sides(), SigmoidCrossEntropy(), rng=0)
    with pytest.raises(ValueError, match=r"x\[1\] is nan in row 17, column 3"):
        net.fit((X, spoilt(X, (17, 3), np.nan)), Y, verbose=0)


class Bad(Layer):
    """x, until the `when`th call in training: then an infinity in the output or in the gradient."""

    def __init__(self, where: str, when: int) -> None:
        self.where, self.when, self.calls = where, when, 0

    def spoil(self, a: np.ndarray, where: str) -> np.ndarray:
        return spoilt(a, (2, 0), np.inf) if self.where == where and self.calls >= self.when else a

    def __call__(self, theta, x, rng=None):
        self.calls += rng is not None
        return self.spoil(x, "output"), lambda dy, g: self.spoil(dy, "gradient")


def test_a_bad_draw_is_found_again() -> None:
    """The step is repeated, watched, with the same draws: what only they cause is named."""

    class Lottery(Layer):
        def __call__(self, theta, x, rng=None):
            lost = rng.random() < 0.1
            return spoilt(x, (2, 0), np.nan) if lost else x, lambda dy, g: dy

    layers = [Dense(5, 7), Dropout(0.3), Lottery(), Dense(7, 1)]
    for seed in range(5):
        net = Network(layers, SigmoidCrossEntropy(), rng=seed)
        with pytest.raises(FloatingPointError, match="the output of lottery_1 is not finite"):
            net.fit(X, Y, batch_size=7, epochs=97, verbose=0)


class BadTable(Embedding):
    """An Embedding that adds a NaN into ∂L/∂E."""

    def __call__(self, theta, ids, rng=None):
        y, back = super().__call__(theta, ids, rng=rng)

        def bad_back(dy, g):
            back(dy, g)
            g[:3] = np.nan

        return y, bad_back


@pytest.mark.parametrize("where", ["output", "gradient"])
def test_the_first_bad_part_is_named_and_theta_unharmed(where) -> None:
    bad = Bad(where, when=6)  # 101 rows in batches of 29: epoch 2, its second step
    inner = Sequential([Dense(7, 7), Dropout(0.5), bad, ReLU()])
    net = Network([Dense(5, 7), Dropout(0.3), inner, Dense(7, 1)], SigmoidCrossEntropy(), rng=0)
    thetas = [net.theta.copy()]

    class Keep:
        def on_step(self, run):
            thetas.append(run.network.theta.copy())

    message = f"epoch 2, step 6: the {where} of sequential_1.bad_1 is not finite"
    with pytest.raises(FloatingPointError, match=message):
        net.fit(X, Y, batch_size=29, epochs=3, callbacks=[Keep()], verbose=0)
    assert len(thetas) == 6
    np.testing.assert_array_equal(net.theta, thetas[-1])


def test_a_bad_gradient_of_parameters_is_named() -> None:
    tower = Tower(users=BadTable(11, 3))
    net = Network(tower, SigmoidCrossEntropy(), rng=0)
    theta, users = net.theta.copy(), np.where(USERS == 0, 1, USERS)
    users[5] = 0
    with pytest.raises(FloatingPointError, match="step 1: the gradient of user is not finite"):
        net.fit((users, ITEMS), Y, batch_size=101, verbose=0)
    np.testing.assert_array_equal(net.theta, theta)


def test_a_lone_layer_is_named_by_itself() -> None:
    class Explode(Dense):
        def __call__(self, theta, x, rng=None):
            y, back = super().__call__(theta, x, rng=rng)
            return y + np.inf, back

    net = Network(Explode(5, 1), MSE(), rng=0)
    with pytest.raises(FloatingPointError, match=r"the output of Explode\(5, 1\) is not finite"):
        net.fit(X, Y, verbose=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("last", "loss"),
    [
        ([Dense(7, 1)], MSE()),
        ([Dense(7, 1)], SigmoidCrossEntropy()),
        ([Dense(7, 2)], SoftmaxCrossEntropy()),
    ],
    ids=["MSE", "sigmoid", "softmax"],
)
def test_an_exploding_rate_is_named(last, loss, dtype) -> None:
    net = Network([Dense(5, 7), ReLU(), *last], loss, rng=0, dtype=dtype)
    rate = float(np.finfo(dtype).max) / 1e3
    with pytest.raises(FloatingPointError, match=r"epoch 1, step \d: .* is not finite"):
        net.fit(X, Y, optimizer=SGD(rate), batch_size=7, epochs=2, verbose=0)
    assert np.isfinite(net.theta).all()


def test_a_step_out_of_the_numbers_is_named() -> None:
    """A finite gradient times a huge rate; also where no further step would show it."""
    with pytest.raises(FloatingPointError, match="epoch 1, step 1"):
        classifier().fit(X, Y, optimizer=SGD(1e39), batch_size=101, verbose=0)


@pytest.mark.parametrize(("value", "slope"), [(np.nan, 0), (np.inf, 1), (1, np.nan)])
def test_a_bad_loss_is_named(value, slope) -> None:
    class Infinite(Loss):
        def __init__(self, value, slope):
            self.value, self.slope = value, slope

        def __call__(self, pred, target, weight=None):
            return np.float32(self.value), np.full_like(pred, self.slope)

    net = Network([Dense(5, 7), Tanh(), Dense(7, 1)], Infinite(value, slope), rng=0)
    with pytest.raises(FloatingPointError, match="epoch 1, step 1: the .*loss .*is not finite"):
        net.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(net.theta, classifier().theta)


def test_large_finite_gradients_are_no_error() -> None:
    """The sum of their squares overflows; they themselves do not."""
    net = Network([Dense(5, 1)], Linear(), rng=0)
    trained(net, X, np.full(101, 1e25), optimizer=SGD(1e-27))
    assert np.isfinite(net.theta).all()


# Frozen parameters, rates by path, tables.


def test_frozen_parameters_keep_their_bits() -> None:
    """The others move as they would with a rate of 0 on the frozen."""
    for optimizer in (SGD(0.3, momentum=0.9), Adam(0.05, weight_decay=0.1)):
        net, still = classifier(frozen=["dense_1.*"]), classifier()
        before = net.theta.copy()
        trained(net, optimizer=copy.deepcopy(optimizer), epochs=2)
        rate = optimizer.learning_rate
        optimizer.learning_rate = {"dense_1.*": 0.0, "*": rate}
        trained(still, optimizer=optimizer, epochs=2)
        np.testing.assert_array_equal(net.theta[:42], before[:42])
        np.testing.assert_array_equal(net.theta, still.theta)
        assert (net.theta[42:] != before[42:]).all()


def test_frozen_parameters_do_not_count_in_clipping() -> None:
    net, before = plain(frozen=["dense_2.*"]), plain().theta
    _, g = net.loss_and_grad(X, Y)
    trained(net, optimizer=SGD(1.0, clip_norm=1e-3), batch_size=101, shuffle=False)
    expected = 1e-3 * g[:42] / np.linalg.norm(g[:42])
    np.testing.assert_allclose((before - net.theta)[:42], expected, rtol=1e-9, atol=1e-15)


def test_all_may_be_frozen() -> None:
    net = classifier(frozen="*")
    before = net.theta.copy()
    net.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(net.theta, before)


def test_rates_by_path() -> None:
    """The first pattern that fits counts; each part moves by its own rate, schedules included."""
    net, before = plain(), plain().theta
    _, g = net.loss_and_grad(X, Y)
    rates = {"dense_1.W": 0.5, "dense_1.*": lambda step: 0.25, "*": 0.125}
    trained(net, optimizer=SGD(rates), batch_size=101, shuffle=False)
    rate = np.repeat([0.5, 0.25, 0.125], [35, 7, 8])
    np.testing.assert_allclose(net.theta, before - rate * g, rtol=1e-12)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"dense_1.*": 0.1}, "no learning rate fits the parameter dense_2.W"),
        ({"user.*": 0.1, "*": 0.1}, "'user.*'"),
    ],
)
def test_rates_must_fit_the_paths(rates, message) -> None:
    net = classifier()
    with pytest.raises(ValueError, match=re.escape(message)):
        net.fit(X, Y, optimizer=SGD(rates), verbose=0)
    np.testing.assert_array_equal(net.theta, classifier().theta)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.5), Adagrad(0.1), SGD({"user.*": 0.5, "*": 0.1}), Adagrad(LinearDecay(0.1, steps=20))],
    ids=repr,
)
@pytest.mark.parametrize("frozen", [(), ["item.E"], ["mlp.dense_1.*"]])
def test_sparse_training_equals_dense_training(optimizer, dtype, frozen) -> None:
    """The batch's rows alone are stepped and cleared: SGD and Adagrad can't tell the difference."""
    thetas = [
        trained(
            Network(tower, SigmoidCrossEntropy(), rng=0, dtype=dtype, frozen=frozen),
            (USERS, ITEMS),
            Y,
            optimizer=copy.deepcopy(optimizer),
            epochs=3,
            batch_size=7,
        )
        for tower in (Tower(), DenseTower())
    ]
    np.testing.assert_array_equal(*thetas)


def test_sparse_clipping_equals_dense_clipping() -> None:
    thetas = [
        trained(
            Network(tower, SigmoidCrossEntropy(), rng=0, dtype="float64"),
            (USERS, ITEMS),
            Y,
            optimizer=SGD(0.5, clip_norm=0.05),
            epochs=3,
            batch_size=7,
        )
        for tower in (Tower(), DenseTower())
    ]
    np.testing.assert_allclose(*thetas, rtol=1e-9, atol=1e-12)


def test_adam_on_rows_is_lazy() -> None:
    """Rows of no batch stay, moments or not; a dense Adam would move them on."""
    net = Network(Tower(), SigmoidCrossEntropy(), rng=0)
    optimizer = Adam(0.1)
    trained(net, (USERS, ITEMS), Y, optimizer=optimizer)
    before = net.parameters()["user.E"].copy()
    some = USERS < 4
    trained(net, (USERS[some], ITEMS[some]), Y[some], optimizer=optimizer)
    moved = (net.parameters()["user.E"] != before).any(axis=1)
    np.testing.assert_array_equal(moved, np.arange(11) < 4)


# Wrong arguments.


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ((X, Y), {"epochs": -1}, "fit: epochs=-1, expected a whole number ≥ 0"),
        ((X, Y), {"epochs": 1.5}, "fit: epochs=1.5"),
        ((X, Y), {"batch_size": 0}, "fit: batch_size=0, expected a whole number ≥ 1"),
        ((X, Y), {"validation_split": 1.0}, r"validation_split=1\.0 of 101 rows leaves none"),
        ((X, Y), {"validation_split": -0.1}, r"validation_split=-0\.1"),
        ((X, Y), {"validation_split": float("nan")}, "validation_split=nan"),
        ((X[:1], Y[:1]), {"validation_split": 0.5}, "of 1 rows leaves none"),
        ((X[:0], Y[:0]), {}, "0 rows"),
        ((X, Y), {"validation_split": 0.1, "validation_data": (X, Y)}, "validation_data"),
        ((X, Y), {"sample_weight": np.zeros(101)}, "positive weight"),
        ((X, Y), {"sample_weight": np.ones((101, 1))}, r"weight has shape \(101, 1\)"),
        ((X, Y), {"sample_weight": np.where(np.arange(101) == 17, -1, 1)}, "weight -1.0 in row 17"),
        ((X, Y), {"class_weight": {1: 2.0}}, r"class_weight has no entry for \[0\]"),
        ((X, Y), {"class_weight": {0: -1.0, 1: 1.0}}, "weight"),
        ((X, Y), {"class_weight": {0: np.nan, 1: 1.0}}, "weight"),
        ((X, X[:, :1]), {"class_weight": {0: 1.0}}, "class_weight has no entry for"),
        ((X, np.eye(5)[Y]), {"class_weight": {0: 1.0, 1: 1.0}}, "class_weight"),
        ((X, csr_array(np.eye(5)[Y])), {"class_weight": {0: 1.0, 1: 1.0}}, "class_weight"),
        ((X,), {"class_weight": {0: 1.0, 1: 1.0}}, "class_weight"),
        ((lambda rng: [], Y), {}, "a batch source"),
        ((lambda rng: [],), {"sample_weight": Y}, "a batch source"),
        ((lambda rng: [],), {"class_weight": {0: 1}}, "a batch source"),
        ((lambda rng: [],), {"validation_split": 0.1}, "a batch source"),
        ((lambda rng: [],), {}, "no row with a positive weight"),
        ((lambda rng: [X],), {}, "batch source"),
        ((lambda rng: [(X, Y, None, None)],), {}, "batch source"),
    ],
)
def test_bad_arguments_are_named(data, options, message) -> None:
    net = Network([Dense(5, 5)], SoftmaxCrossEntropy(), rng=0)
    theta = net.theta.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(*data, verbose=0, **options)
    np.testing.assert_array_equal(net.theta, theta)


def test_class_weights_stay_out_of_the_validation() -> None:
    """As in Keras: they are how to train, not what is measured."""
    net, weights = plain(), {0: 0.5, 1: 3.0}
    history = net.fit(X, Y, validation_split=0.3, class_weight=weights, verbose=0)
    assert history["val_loss"] == [net.evaluate(X[70:], Y[70:])["loss"]]


@pytest.mark.parametrize(
    "setting",
    [
        {"optimizer": "adam"},
        {"optimizer": Adam},
        {"metrics": [len]},
        {"callbacks": EarlyStopping()},
        {"validation_data": np.ones((5, 3))},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_settings_of_the_wrong_kind_are_named_before_any_work(setting) -> None:
    net = Network([Dense(3, 1)], MSE(), rng=0)
    before = net.theta.copy()
    with pytest.raises(TypeError, match=f"fit: {next(iter(setting))}="):
        net.fit(np.ones((5, 3)), np.ones(5), verbose=0, **setting)
    assert (net.theta == before).all()


def test_a_chain_with_a_call_of_its_own_keeps_its_first_gradient() -> None:
    class Residual(Sequential):
        def __call__(self, theta, x, rng=None):
            y, back = super().__call__(theta, x, rng=rng)
            return x + y, lambda dy, g: dy + back(dy, g)

    net = Network([Residual([Dense(3, 3), Tanh()]), Dense(3, 1)], MSE(), rng=0)
    x = np.random.default_rng(0).normal(size=(7, 3))
    history = net.fit(x, x[:, 0], optimizer=SGD(0.1), epochs=50, verbose=0)
    assert history["loss"][-1] < history["loss"][0] / 2


def test_a_step_that_ruins_theta_is_blamed_on_the_rate() -> None:
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    net = Network([Dense(3, 1)], MSE(), rng=0)
    with pytest.raises(FloatingPointError, match="step 2: θ is not finite: the learning rate"):
        net.fit(x, 1e3 * x[:, 0], optimizer=SGD(1e38), batch_size=2, verbose=0, shuffle=False)
