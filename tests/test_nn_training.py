"""fit: what a training must equal, bit for bit where that is promised; dtypes, frozen parameters,
rates by path, tables."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnrec import (
    L1,
    L2,
    MSE,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    Dropout,
    Layer,
    LinearDecay,
    Loss,
    Network,
    RMSProp,
    Sequential,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Tanh,
)
from tests.trainings import (
    ITEMS,
    USERS,
    DenseTower,
    Linear,
    Tower,
    X,
    Y,
    accuracy,
    classifier,
    plain,
    trained,
)


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

    net = Network([Draw(), Dense(5, 1)], MSE(), rng=0)
    net.fit(source, epochs=3, verbose=0)
    assert len({*draws["layer"], *draws["source"]}) == 6
    for stream, name in enumerate(("source", "layer")):  # and the same ones for good
        own = [np.random.default_rng([net.entropy, stream, epoch]) for epoch in range(3)]
        assert draws[name] == [rng.integers(2**62) for rng in own]


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


def test_a_chain_with_a_call_of_its_own_keeps_its_first_gradient() -> None:
    class Residual(Sequential):
        def __call__(self, theta, x, rng=None):
            y, back = super().__call__(theta, x, rng=rng)
            return x + y, lambda dy, g: dy + back(dy, g)

    net = Network([Residual([Dense(3, 3), Tanh()]), Dense(3, 1)], MSE(), rng=0)
    x = np.random.default_rng(0).normal(size=(7, 3))
    history = net.fit(x, x[:, 0], optimizer=SGD(0.1), epochs=50, verbose=0)
    assert history["loss"][-1] < history["loss"][0] / 2


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
        (
            {"user.*": 0.1, "*": 0.1},
            "Network: learning_rate='user.*' fits none of dense_1.W, dense_1.b",
        ),
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
