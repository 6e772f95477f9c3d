"""Network: what goes in (casts, shapes, errors) and what comes out: predictions and figures."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array, csr_matrix

from nnrec import L2, MSE, Dense, Dropout, Layer, Loss, Network, SoftmaxCrossEntropy
from tests.trainings import ITEMS, USERS, X, Y, factors, plain

CLASSES = np.random.default_rng(0).integers(0, 3, 101)


@pytest.mark.parametrize("batch_size", [1, 7, 100, 101, 4096])
def test_predict_in_blocks_equals_at_once(batch_size) -> None:
    net = plain()
    W1, b1, W2, b2 = net.parameters().values()
    z = np.tanh(X @ W1 + b1) @ W2 + b2
    raw = net.predict(X, batch_size=batch_size, link=False)
    np.testing.assert_allclose(raw, z, rtol=1e-12)
    estimate = net.predict(X, batch_size=batch_size)
    np.testing.assert_allclose(estimate, 1 / (1 + np.exp(-z)), rtol=1e-12)


def test_predict_and_evaluate_work_by_blocks_of_4096_rows() -> None:
    blocks = []

    class Spy(Layer):
        def __call__(self, theta, x, rng=None):
            blocks.append(len(x))
            return x, lambda dy, g: dy

    net, x = Network(Spy(), MSE()), np.ones((4099, 1))
    net.predict(x)
    net.evaluate(x, x)
    net.predict(x[:8], batch_size=4)
    net.predict(x[:1], batch_size=1)
    assert blocks == [4096, 3, 4096, 3, 4, 4, 1]


def test_predict_and_evaluate_keep_dropout_out() -> None:
    net = Network([Dense(5, 7), Dropout(0.5), Dense(7, 1)], MSE(), rng=0)
    bare = Network([Dense(5, 7), Dense(7, 1)], MSE(), rng=0)
    np.testing.assert_array_equal(net.predict(X), bare.predict(X))
    assert net.evaluate(X, Y) == bare.evaluate(X, Y)


def test_predict_of_no_rows_is_no_rows() -> None:
    net = plain(dtype="float32")
    none = net.predict(X[:0])
    assert none.shape == (0, 1) and none.dtype == np.float32
    assert net.predict(csr_array(X[:0])).shape == (0, 1)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_a_bad_batch_size_is_named(batch_size) -> None:
    net = plain()
    for work in (net.predict, lambda x, batch_size: net.evaluate(x, Y, batch_size=batch_size)):
        message = f"Network: batch_size={batch_size}, expected a whole number ≥ 1"
        with pytest.raises(ValueError, match=message):
            work(X, batch_size=batch_size)


class Pair(Layer):
    """Two outputs, x and 2 x."""

    def __call__(self, theta, x, rng=None):
        return (x, 2 * x), lambda dy, g: dy[0] + 2 * dy[1]


class PairLoss(Loss):
    def __call__(self, pred, target, weight=None):
        a, b = pred
        return (a + b).sum() / len(a), (np.ones_like(a) / len(a), np.ones_like(b) / len(b))


def test_several_outputs_are_a_tuple() -> None:
    net = Network([Dense(5, 1), Pair()], PairLoss(), rng=0, dtype="float64")
    a, b = net.predict(X, batch_size=13)
    assert a.shape == (101, 1)
    np.testing.assert_array_equal(b, 2 * a)
    assert net.evaluate(X, batch_size=13)["loss"] == pytest.approx(3 * a.mean())
    assert net.fit(X, verbose=0, epochs=2)["loss"][1] < 3 * a.mean()


NUMBERS = np.arange(15).reshape(3, 5) % 4


@pytest.mark.parametrize(
    "x",
    [
        NUMBERS.tolist(),
        NUMBERS,
        NUMBERS.astype(np.uint8),
        NUMBERS.astype(np.float32),
        NUMBERS.astype(object),
        NUMBERS[:, ::-1][:, ::-1],
        csr_array(NUMBERS),
        csr_matrix(NUMBERS),
        coo_array(NUMBERS),
        csr_array(NUMBERS.astype(np.float32)),
        csr_array(NUMBERS.astype(np.int8)),
    ],
    ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')}",
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_input_is_cast_once_at_the_border(x, dtype) -> None:
    net = plain(dtype=dtype)
    y = [0, 1, 1]
    expected = net.predict(NUMBERS.astype(dtype))
    assert net.predict(x).dtype == dtype
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-6)
    value, g = net.loss_and_grad(x, y)
    assert value.dtype == g.dtype == dtype
    assert value == pytest.approx(net.loss_and_grad(NUMBERS.astype(dtype), y)[0], rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_layer_and_loss_get_real_numbers_in_the_dtype_of_theta(dtype) -> None:
    """Under the complex step data stay real."""
    seen = []

    class Spy(MSE):
        def __call__(self, pred, target, weight=None):
            seen.extend([target.dtype, weight.dtype])
            return super().__call__(pred, target, weight)

    class First(Layer):
        def __call__(self, theta, x, rng=None):
            seen.append(x.dtype)
            return x, lambda dy, g: dy

    net = Network([First(), Dense(5, 1)], Spy(), rng=0)
    net.loss_and_grad(NUMBERS, [0, 1, 1], [1, 2, 0], theta=np.ones(6, dtype))
    assert seen == ["float64" if dtype == "complex128" else dtype] * 3


def test_what_has_the_dtype_already_is_not_copied() -> None:
    xs, y, weight = plain().batch(X, X[:, :1], X[:, 0])
    assert xs[0] is X and y.base is weight.base is X


def test_booleans_are_numbers() -> None:
    net = plain()
    np.testing.assert_array_equal(net.predict(NUMBERS > 1), net.predict((NUMBERS > 1) * 1.0))


@pytest.mark.parametrize("y", [Y, Y.tolist(), Y[:, None], Y == 1, Y.astype(float), Y.astype("u1")])
def test_one_output_takes_y_with_one_axis_or_two(y) -> None:
    net = plain()
    assert net.loss_and_grad(X, y)[0] == net.loss_and_grad(X, Y)[0]
    assert net.evaluate(X, y) == net.evaluate(X, Y)


@pytest.mark.parametrize(
    "y",
    [CLASSES, np.eye(3)[CLASSES], csr_array(np.eye(3)[CLASSES]), CLASSES.astype("u1")],
    ids=["labels", "one-hot", "CSR", "bytes"],
)
def test_class_targets_in_every_form(y) -> None:
    net = Network([Dense(5, 3)], SoftmaxCrossEntropy(), rng=0, dtype="float64")
    expected, g = net.loss_and_grad(X, CLASSES)
    value, other = net.loss_and_grad(X, y)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(other, g, atol=1e-14)
    assert net.evaluate(X, y, batch_size=7)["loss"] == pytest.approx(expected, rel=1e-12)


def test_ids_stay_integers_where_a_part_takes_them() -> None:
    net = Network(factors(), MSE(), rng=0)
    pred = net.predict((USERS, ITEMS))
    assert pred.dtype == np.float32
    E, F, W, b = net.parameters().values()
    np.testing.assert_allclose(pred, (E[USERS] * F[ITEMS]) @ W + b, rtol=1e-5, atol=1e-7)
    with pytest.raises(TypeError, match="ids"):
        net.predict((USERS.astype(float), ITEMS))
    with pytest.raises(TypeError, match=r"x\[1\] holds <U1, such as .*'a'"):
        net.predict((USERS, np.full(101, "a")))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([X, X], TypeError, r"list of arrays: several inputs are a tuple, \(a, b\)"),
        ([csr_array(X)], TypeError, "list of arrays"),
        ([[1.0, "a", 0, 0, 0]], TypeError, r"x holds .*'1.0'.*expected real numbers"),
        (np.array([["a"] * 5], object), TypeError, "x holds object, such as 'a'"),
        (np.zeros((2, 5), complex), TypeError, "x holds complex128"),
        (np.zeros((0, 5), "U1"), TypeError, "x holds <U1"),
        (np.zeros((2, 5), "M8[s]"), TypeError, "x holds datetime64"),
        (csr_array(np.zeros((2, 5), complex)), TypeError, "x holds complex128"),
        (X[:, :4], ValueError, r"Dense\(5, 7\): x has shape \(101, 4\), expected \(n, 5\)"),
        (X[0], ValueError, r"Dense\(5, 7\): x has shape \(5,\)"),
        (3.0, ValueError, r"shapes \[\(\)\]"),
        ((), ValueError, "inputs"),
    ],
    ids=str,
)
def test_bad_input_is_named(x, error, message) -> None:
    with pytest.raises(error, match=message):
        plain().predict(x)


def test_inputs_have_equally_many_rows() -> None:
    net = Network(factors(), MSE(), rng=0)
    message = re.escape("[(101,), (97,)]")
    with pytest.raises(ValueError, match=message):
        net.predict((USERS, ITEMS[:97]))
    with pytest.raises(ValueError, match=message):
        net.fit((USERS, ITEMS[:97]), Y, verbose=0)


@pytest.mark.parametrize(
    ("y", "weight", "error", "message"),
    [
        (Y[:97], None, ValueError, r"y has shape \(97, 1\), x has 101 rows"),
        (1.0, None, ValueError, r"y has shape \(\), x has 101 rows"),
        (Y, np.ones(97), ValueError, r"weight has shape \(97,\), x has 101 rows"),
        (Y, 2.0, ValueError, r"weight has shape \(\), x has 101 rows"),
        (Y, np.ones((101, 1)), ValueError, r"weight has shape \(\d+, 1\)"),
        (Y, -np.ones(101), ValueError, "weight -1.0 in row 0, expected ≥ 0"),
        (np.full(101, "yes"), None, TypeError, "y holds <U3, such as .*'yes'"),
        (Y * 1j, None, TypeError, "y holds complex128"),
        (Y, Y * 1j, TypeError, "weight holds complex128"),
        (np.ones((101, 2)), None, ValueError, r"pred has shape \(\d+, 1\) and target \(\d+, 2\)"),
        (Y + 1, None, ValueError, "target.* 2.0 in row"),
        (None, None, ValueError, r"target \(\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_targets_and_weights_are_named(y, weight, error, message) -> None:
    net, theta = plain(), plain().theta
    for work in (
        lambda: net.evaluate(X, y, weight),
        lambda: net.loss_and_grad(X, y, weight),
        lambda: net.fit(X, y, sample_weight=weight, verbose=0),
    ):
        with pytest.raises(error, match=message):
            work()
    np.testing.assert_array_equal(net.theta, theta)


@pytest.mark.parametrize("batch_size", [1, 7, 4096])
def test_evaluate_is_the_loss_without_penalties(batch_size) -> None:
    net, weight = plain(penalty=L2(0.7)), np.linspace(0, 2, 101)
    for w in (None, weight):
        expected = plain().loss_and_grad(X, Y, w)[0]
        assert net.evaluate(X, Y, w, batch_size=batch_size) == {"loss": pytest.approx(expected)}
    assert net.evaluate(X, Y, 0 * weight) == {"loss": 0}


def test_metrics_get_vectors_from_one_output_and_y_as_it_came() -> None:
    seen = []

    def metric(truth, estimate):
        seen.append((truth, estimate))
        return np.float32(0.5)

    net = plain(dtype="float32")
    for y in (Y, Y[:, None], Y.tolist()):
        result = net.evaluate(X, y, metrics={"half": metric}, batch_size=7)
        assert result["half"] == 0.5 and type(result["half"]) is float
        assert result.keys() == {"loss", "half"}
        truth, estimate = seen.pop()
        np.testing.assert_array_equal(truth, Y)
        np.testing.assert_array_equal(estimate, net.predict(X, batch_size=7)[:, 0])
        assert truth.dtype == Y.dtype and estimate.shape == (101,)


@pytest.mark.parametrize(
    "y",
    [CLASSES, np.eye(3)[CLASSES], csr_array(np.eye(3)[CLASSES])],
    ids=["labels", "one-hot", "CSR"],
)
def test_metrics_get_all_columns_of_several_outputs(y) -> None:
    seen = []
    net = Network([Dense(5, 3)], SoftmaxCrossEntropy(), rng=0)
    net.evaluate(X, y, metrics={"half": lambda *args: seen.append(args) or 0.5})
    [(truth, estimate)] = seen
    assert truth.shape == y.shape and estimate.shape == (101, 3)


def test_evaluate_needs_a_row() -> None:
    with pytest.raises(ValueError, match="n ≥ 1"):
        plain().evaluate(X[:0], Y[:0])
