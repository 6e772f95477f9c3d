"""Network: its objective and penalties, parameters, summary; and what stands on a pure objective:
L-BFGS, copies, threads."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from nnrec import (
    L1,
    L2,
    MSE,
    SGD,
    Adam,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    Network,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    Tanh,
    check_gradients,
)
from nnrec.nn.losses import Penalty
from tests.trainings import ITEMS, USERS, X, Y, factors, plain


def test_theta_is_drawn_from_the_seed_and_cast_once() -> None:
    wide, narrow = plain(), plain(dtype="float32")
    assert (wide.theta.dtype, narrow.theta.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(narrow.theta, wide.theta.astype(np.float32))
    np.testing.assert_array_equal(plain().theta, wide.theta)
    np.testing.assert_array_equal(plain(rng=np.random.default_rng(0)).theta, wide.theta)
    assert (plain(rng=1).theta != wide.theta).any()
    assert (plain(rng=None).theta != plain(rng=None).theta).any()
    assert Network([Dense(2, 1)], MSE(), rng=0).dtype == "float32"


def test_a_seed_gives_the_same_streams_for_good() -> None:
    net = plain(rng=7)
    assert net.entropy == int(np.random.default_rng(7).integers(2**63))
    first = net.layer.init(np.random.default_rng([net.entropy, 2]))
    np.testing.assert_array_equal(net.theta, first)
    assert net.rng == 7 and plain(rng=np.random.default_rng(7)).rng is None


@pytest.mark.parametrize("dtype", ["int8", "float16", "complex128", object])
def test_other_dtypes_are_refused(dtype) -> None:
    with pytest.raises(ValueError, match=r"Network: dtype=.*expected float32 or float64"):
        plain(dtype=dtype)


@pytest.mark.parametrize("loss", [MSE, None, np.subtract])
def test_a_loss_is_an_instance(loss) -> None:
    with pytest.raises(TypeError, match="Network: loss=.*expected a Loss, such as MSE()"):
        Network([Dense(5, 1)], loss)


def test_a_list_is_a_sequential_and_no_list_is_none() -> None:
    one = Network(Sequential([Dense(5, 1)]), MSE(), rng=0)
    other = Network([Dense(5, 1)], MSE(), rng=0)
    np.testing.assert_array_equal(one.theta, other.theta)
    with pytest.raises(ValueError, match="Sequential"):
        Network([], MSE())


def test_parameters_are_views() -> None:
    net = plain()
    parts = net.parameters()
    shapes = {name: part.shape for name, part in parts.items()}
    assert shapes == {
        "dense_1.W": (5, 7), "dense_1.b": (7,), "dense_2.W": (7, 1), "dense_2.b": (1,)
    }  # fmt: skip
    assert all(np.shares_memory(part, net.theta) for part in parts.values())
    np.testing.assert_array_equal(np.concatenate([p.ravel() for p in parts.values()]), net.theta)
    before = net.predict(X)
    parts["dense_2.b"] += 3.0
    assert net.theta[-1] == 3.0 and (net.predict(X) > before).all()
    net.theta = np.zeros_like(net.theta)  # no view is held: a fresh θ simply takes over
    np.testing.assert_array_equal(net.predict(X), 0.5)
    g = np.arange(net.theta.size, dtype=float)
    np.testing.assert_array_equal(net.parameters(g)["dense_1.b"], g[35:42])


def test_the_objective_is_the_written_out_one() -> None:
    net = plain(penalty=[L1(0.3), L2(0.7)])
    W1, b1, W2, b2 = net.parameters().values()
    b1 += 0.5  # biases carry no penalty
    loss = logistic_loss(np.tanh(X @ W1 + b1) @ W2 + b2)
    size = np.abs(W1).sum() + np.abs(W2).sum()
    squares = (W1**2).sum() + (W2**2).sum()
    value, _ = net.loss_and_grad(X, Y)
    assert value == pytest.approx(loss + 0.3 * size + 0.35 * squares, rel=1e-12)


def logistic_loss(z: np.ndarray) -> float:
    p = 1 / (1 + np.exp(-z[:, 0]))
    return float(-np.mean(Y * np.log(p) + (1 - Y) * np.log(1 - p)))


@pytest.mark.parametrize("penalty", [L1(0.3), L2(0.7)], ids=repr)
def test_penalty_gradients_are_written_out(penalty) -> None:
    bare, net = plain(), plain(penalty=penalty)
    added = net.loss_and_grad(X, Y)[1] - bare.loss_and_grad(X, Y)[1]
    for name, W in net.parameters().items():
        expected = 0 * W
        if name.endswith("W"):
            expected = 0.3 * np.sign(W) if isinstance(penalty, L1) else 0.7 * W
        np.testing.assert_allclose(net.parameters(added)[name], expected, atol=1e-14)


def test_penalties_skip_the_frozen() -> None:
    net = plain(penalty=L2(0.7), frozen=["dense_1.*"])
    W2 = net.parameters()["dense_2.W"]
    added = net.loss_and_grad(X, Y)[0] - plain().loss_and_grad(X, Y)[0]
    assert added == pytest.approx(0.35 * (W2**2).sum(), rel=1e-12)


def test_a_penalty_on_a_table_covers_the_rows_of_the_batch() -> None:
    net = Network(factors(), MSE(), rng=0, dtype="float64", penalty=L2(0.7))
    plain = Network(factors(), MSE(), rng=0, dtype="float64")
    users, items, y = np.array([2, 7, 2]), np.array([5, 5, 1]), np.ones(3)
    value, g = net.loss_and_grad((users, items), y)
    bare, g0 = plain.loss_and_grad((users, items), y)
    parts, added = net.parameters(), net.parameters(g - g0)
    rows = {"user.E": [2, 7], "item.E": [1, 5], "mlp.W": slice(None)}
    squares = sum((parts[name][at] ** 2).sum() for name, at in rows.items())
    assert value - bare == pytest.approx(0.35 * squares, rel=1e-9)
    for name, part in parts.items():
        expected = np.zeros_like(part)
        if name in rows:
            expected[rows[name]] = 0.7 * part[rows[name]]
        np.testing.assert_allclose(added[name], expected, atol=1e-14)


def test_a_penalty_gets_parameters_in_their_shape_and_of_a_table_its_rows() -> None:
    seen = []

    class Seen(Penalty):
        def __call__(self, W):
            seen.append(W.shape)
            return 0.0, 0 * W

    net = Network(factors(), MSE(), penalty=Seen(1.0))
    net.loss_and_grad((np.array([2, 7, 2]), np.array([5, 5, 5])), np.ones(3))
    assert seen == [(2, 3), (1, 3), (3, 1)]


def test_a_step_works_on_as_few_segments_as_there_are_rates_and_tables() -> None:
    def found(net: Network, rate, rows=()) -> list[tuple]:
        segments = net.segments(SGD(rate), dict(rows))
        return [(s.start, s.stop, s.rate, None if s.rows is None else [*s.rows]) for s in segments]

    assert found(plain(), 0.1) == [(0, 50, 0.1, None)]
    assert found(plain(frozen="dense_1.b"), 0.1) == [(0, 35, 0.1, None), (42, 50, 0.1, None)]
    rates = {"*.W": 0.2, "dense_1.b": 0.3, "*": 0.4}
    assert found(plain(), rates) == [
        (0, 35, 0.2, None), (35, 42, 0.3, None), (42, 49, 0.2, None), (49, 50, 0.4, None)
    ]  # fmt: skip
    tables = Network(factors(), MSE())
    assert found(tables, 0.1) == [(0, 76, 0.1, None)]
    assert found(tables, 0.1, {"user.E": [2]}) == [(0, 33, 0.1, [2]), (33, 76, 0.1, None)]
    assert found(tables, 0.1, {"item.E": [3]}) == [
        (0, 33, 0.1, None), (33, 72, 0.1, [3]), (72, 76, 0.1, None)
    ]  # fmt: skip


def test_the_check_covers_the_penalties() -> None:
    net = Network(factors(), MSE(), rng=0, dtype="float64", penalty=[L1(0.3), L2(0.7)])
    report = check_gradients(net, USERS, ITEMS, target=X[:, :1])
    assert report and report.error <= 1e-12, str(report)


def test_loss_and_grad_is_pure() -> None:
    net = Network([Dense(5, 7), Dropout(0.4), Dense(7, 1)], MSE(), rng=0, penalty=L2(0.1))
    theta = net.theta.copy()
    x, y, weight = X.copy(), X[:, :1].copy(), np.linspace(0, 1, 101)
    for a in (x, y, weight, net.theta):
        a.flags.writeable = False
    one, other = (net.loss_and_grad(x, y, weight, rng=3) for _ in range(2))
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])
    assert net.loss_and_grad(x, y, weight, rng=4)[0] != one[0]
    assert net.loss_and_grad(x, y, weight)[0] == net.loss_and_grad(x, y, weight)[0] != one[0]
    net.theta.flags.writeable = True
    np.testing.assert_array_equal(net.theta, theta)
    assert net.epochs == 0


def test_theta_and_g_can_be_given() -> None:
    net, other = plain(), plain(rng=1)
    value, g = net.loss_and_grad(X, Y, theta=other.theta)
    assert value == other.loss_and_grad(X, Y)[0] != net.loss_and_grad(X, Y)[0]
    buffer = np.ones_like(net.theta)
    _, same = net.loss_and_grad(X, Y, theta=other.theta, g=buffer)
    assert same is buffer
    np.testing.assert_allclose(buffer, g + 1, rtol=1e-12)
    generator = np.random.default_rng(3)
    net = Network([Dense(5, 7), Dropout(0.4), Dense(7, 1)], MSE(), rng=0)
    first, second = (net.loss_and_grad(X, Y, rng=generator)[0] for _ in range(2))
    assert first != second and first == net.loss_and_grad(X, Y, rng=3)[0]


def test_a_theta_of_float64_lifts_a_float32_network() -> None:
    """SciPy's optimisers pass float64."""
    net = plain(dtype="float32")
    value, g = net.loss_and_grad(X, Y, theta=net.theta.astype(float))
    wide = plain()
    wide.theta[:] = net.theta
    expected, expected_g = wide.loss_and_grad(X, Y)
    assert value.dtype == g.dtype == np.float64
    assert value == expected
    np.testing.assert_array_equal(g, expected_g)


@pytest.mark.parametrize("size", [10, 49, 51])
def test_theta_and_g_of_another_size_are_refused(size) -> None:
    net = plain()
    assert net.theta.size == 50
    for name in ("theta", "g"):
        message = rf"Network: {name} has shape \({size},\), expected \(50,\)$"
        with pytest.raises(ValueError, match=message):
            net.loss_and_grad(X, Y, **{name: np.zeros(size)})


@given(st.integers(1, 23), st.integers(0, 99))
def test_the_gradient_of_weighted_rows_is_the_mean_of_rows(n, seed) -> None:
    net, rng = plain(), np.random.default_rng(seed)
    x, y, weight = X[:n], Y[:n], rng.uniform(0, 3, n)
    value, g = net.loss_and_grad(x, y, weight)
    alone = [net.loss_and_grad(x[i : i + 1], y[i : i + 1]) for i in range(n)]
    shares = weight / weight.sum()
    assert value == pytest.approx(sum(w * v for w, (v, _) in zip(shares, alone)), rel=1e-9)
    expected = sum(w * part for w, (_, part) in zip(shares, alone))
    np.testing.assert_allclose(g, expected, rtol=1e-9, atol=1e-12)


def test_frozen_patterns_must_fit() -> None:
    with pytest.raises(ValueError, match=r"frozen='user.\*' fits none of dense_1.W, dense_1.b"):
        plain(frozen=["dense_1.W", "user.*"])
    assert plain(frozen="dense_1.W").frozen == ["dense_1.W"]


def test_summary_counts_parameters_and_flops() -> None:
    frozen = ["dense_1.W", "dense_2.b"]
    net = Network([Dense(5, 7), Tanh(), Dense(7, 1)], MSE(), rng=0, frozen=frozen)
    # Forward 2·5·7 + 2·7·1; backward the weights again, and the inputs of the second alone.
    flops = 2 * (2 * 5 * 7 + 2 * 7 * 1) + 2 * 7 * 1
    assert net.summary().splitlines() == [
        "part                    layer                               parameters",
        "dense_1                 Dense(5, 7)                                 42",
        "tanh_1                  Tanh()                                       0",
        "dense_2                 Dense(7, 1)                                  8",
        "total                                                               50, 36 frozen",
        f"MSE(), float32, {flops} FLOPs a row and step",
    ]
    assert "frozen" not in plain().summary()


def test_summary_knows_parts_below_parts() -> None:
    lines = Network(factors(), MSE(), rng=0).summary().splitlines()
    assert [line.split()[0] for line in lines] == [
        "part", "user", "item", "times", "mlp", "total", "MSE(),"
    ]  # fmt: skip
    assert lines[-2].split()[-1] == str(11 * 3 + 13 * 3 + 3 + 1)
    assert f" {6 * 3} FLOPs" in lines[-1]
    nested = Network([Sequential([Dense(5, 1_000)]), Dense(1_000, 1)], MSE(), rng=0).summary()
    names = [line.split()[0] for line in nested.splitlines()]
    assert names == ["part", "sequential_1.dense_1", "dense_1", "total", "MSE(),"]
    assert "7,001" in nested


def test_summary_of_a_lone_layer() -> None:
    single = Network(Dense(5, 3), MSE(), rng=0).summary()
    assert "Dense(5, 3)" in single and f"{4 * 15} FLOPs" in single


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["copy", "pickle"],
)
def test_a_duplicate_is_alike_and_apart(duplicate) -> None:
    layers = [Dense(5, 7), Dropout(0.3), Dense(7, 1)]
    net = Network(layers, SigmoidCrossEntropy(), rng=0, penalty=L2(0.1), frozen=["dense_1.b"])
    optimizer = Adam(0.05)
    net.fit(X, Y, optimizer=optimizer, verbose=0)
    twin, twin_optimizer = duplicate(net), duplicate(optimizer)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    net.fit(X, Y, optimizer=optimizer, epochs=2, verbose=0)
    assert (twin.theta != net.theta).any()
    twin.fit(X, Y, optimizer=twin_optimizer, epochs=2, verbose=0)
    np.testing.assert_array_equal(twin.theta, net.theta)


def test_threads_agree_with_one_after_the_other() -> None:
    layer = Sequential([Dense(5, 31), Tanh(), Dropout(0.3), Dense(31, 1)])
    net = Network(layer, MSE(), rng=0, dtype="float64", penalty=L2(0.1))
    parts = [(X[i::7], X[i::7, :1], None) for i in range(7)] * 20
    serial = [net.loss_and_grad(*part, rng=3) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda part: net.loss_and_grad(*part, rng=3), parts))
    for (value, g), (expected, expected_g) in zip(threaded, serial):
        assert value == expected
        np.testing.assert_array_equal(g, expected_g)


def test_probabilities_and_logits_agree() -> None:
    """The document's binary cross-entropy on σ's output is the one on logits."""
    logits = plain()
    on_output = Network([*logits.layer.layers, Sigmoid()], BinaryCrossEntropy(), dtype="float64")
    on_output.theta[:] = logits.theta
    value, g = on_output.loss_and_grad(X, Y)
    expected, expected_g = logits.loss_and_grad(X, Y)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(g, expected_g, atol=1e-14)
    np.testing.assert_allclose(on_output.predict(X), logits.predict(X), rtol=1e-12)


XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def xor_loss(seed: int) -> float:
    """The loss of a 2-4-1 network on XOR after SciPy's L-BFGS, which is one line."""
    x, y = XOR, [0, 1, 1, 0]
    net = Network([Dense(2, 4), Tanh(), Dense(4, 1)], MSE(), rng=seed, dtype="float64")
    net.theta[:] = minimize(
        lambda theta: net.loss_and_grad(x, y, theta=theta),
        net.theta,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-10},
    ).x
    return net.evaluate(x, y)["loss"]


def test_lbfgs_solves_xor() -> None:
    assert sum(xor_loss(seed) < 1e-6 for seed in range(20)) >= 18


def document_network(rng: int = 0) -> Network:
    """The 3-4-2 sigmoid network of the document, with its squared error."""
    layers = [Dense(3, 4), Sigmoid(), Dense(4, 2), Sigmoid()]
    return Network(layers, MSE(), rng=rng, dtype="float64")


@pytest.mark.parametrize("rng", [0, 1, 2])
def test_the_documents_network_descends_and_with_its_sign_climbs(rng) -> None:
    """w ← w − α ∂E/∂w falls at every step.  The document's δ_L = (y − ŷ) … is −∂E/∂z: it climbs."""
    x = np.random.default_rng(rng).normal(size=(7, 3))
    y = np.eye(2)[np.arange(7) % 2]
    down, up = document_network(rng), document_network(rng)
    falling, climbing = [], []
    descent, as_printed = SGD(0.1), SGD(0.1)
    for _ in range(300):
        for net, optimizer, sign, errors in (
            (down, descent, 1, falling),
            (up, as_printed, -1, climbing),
        ):
            E, g = net.loss_and_grad(x, y)
            optimizer.step(net.theta, sign * g)
            errors.append(E)
    assert (np.diff(falling) < 0).all() and (np.diff(climbing) > 0).all()
    assert falling[-1] < 0.95 * falling[0] and climbing[-1] > 1.05 * climbing[0]


@pytest.mark.parametrize("penalty", [0.1, "l2", L2, [L2(0.1), 0.1]])
def test_a_penalty_is_a_penalty(penalty) -> None:
    with pytest.raises(TypeError, match="Network: penalty=.*, expected an L1 or L2"):
        Network([Dense(3, 1)], MSE(), penalty=penalty)
