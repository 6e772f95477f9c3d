"""The errata of docs/equations.md, each proved by a computation."""

import numpy as np
import pytest

from nnrec import MSE, SGD, BinaryCrossEntropy, CategoricalCrossEntropy, Dense, Network, Sigmoid
from nnrec.metrics import accuracy, f1, precision, recall
from nnrec.nn.activations import sigmoid, sigmoid_derivative

Y, Y_HAT = np.array([[0.1, 0.9]]), np.array([[0.2, 0.8]])  # the document's §4.2.2
Z = np.log(Y_HAT / (1 - Y_HAT))


def document_network(seed=0):
    layers = [Dense(3, 4), Sigmoid(), Dense(4, 2), Sigmoid()]
    return Network(layers, MSE(), rng=seed, dtype="float64")


def rows(n=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), rng.uniform(size=(n, 2))


def losses(sign, steps=60, rate=0.2):
    net, (x, y) = document_network(), rows()
    seen = []
    for _ in range(steps):
        loss, g = net.loss_and_grad(x, y)
        seen.append(loss)
        SGD(rate).step(net.theta, sign * g)
    return np.array(seen)


@pytest.mark.lesson_1
def test_01_sign_climbs():
    assert (np.diff(losses(+1)) < 0).all()  # δ = (ŷ − y)…: descends at every step
    assert (np.diff(losses(-1)) > 0).all()  # the document's δ = (y − ŷ)…: climbs at every step


@pytest.mark.lesson_2
def test_02_recursion_needs_the_weights():
    net, (x, y) = document_network(), rows()
    before = net.loss_and_grad(x, y)[1]
    net.parameters()["dense_2.W"][:] *= -1
    net.parameters()["dense_2.b"][:] *= -1
    # With the output weights turned round, the hidden layer's gradient must change beyond the
    # factor that δ_2 gives it; a recursion without W_2 could not tell.
    after = net.loss_and_grad(x, y)[1]
    hidden = slice(*net.layer.places["dense_1.W"][:2])
    a1 = sigmoid(x @ net.parameters()["dense_1.W"] + net.parameters()["dense_1.b"])
    a2 = sigmoid(a1 @ net.parameters()["dense_2.W"] + net.parameters()["dense_2.b"])
    d2 = (a2 - y) * sigmoid_derivative(a2) / len(x)
    d1 = d2 @ net.parameters()["dense_2.W"].T * sigmoid_derivative(a1)
    assert np.allclose(after[hidden], (x.T @ d1).ravel(), rtol=1e-12)
    assert not np.allclose(after[hidden], before[hidden])
    assert d2.shape != a1.shape  # δ_2 · σ′(z_1) without W_2 can't even be multiplied: (5,2), (5,4)


@pytest.mark.lesson_1
def test_03_worked_example():
    assert np.allclose(sigmoid(Z), [[0.2, 0.8]])
    assert np.allclose(sigmoid_derivative(sigmoid(Z)), [[0.16, 0.16]])
    layer = Sigmoid()
    a, back = layer(np.empty(0), Z)
    loss, da = MSE()(a, Y)
    dz = back(da, np.empty(0))
    assert loss == pytest.approx(0.01, rel=1e-12)
    assert np.allclose(dz, [[0.016, -0.016]], rtol=1e-12)
    printed = -0.1 * 0.6 + 0.1 * 0.2
    assert printed == pytest.approx(-0.04)
    assert not np.isclose(dz, printed).any()
    with_sigma = (Y - Y_HAT) * sigmoid(Z)  # even by its own formula, σ in place of σ′
    assert not np.isclose(with_sigma.sum(), printed)


@pytest.mark.lesson_4
def test_04_half_a_cross_entropy():
    rng = np.random.default_rng(0)
    y, y_hat = rng.integers(0, 2, (97, 1)).astype(float), rng.uniform(0.01, 0.99, (97, 1))
    _, da = CategoricalCrossEntropy()(y_hat, y)
    db = (da * sigmoid_derivative(y_hat)).sum()
    assert db == pytest.approx(-(y * (1 - y_hat)).mean(), rel=1e-12)
    assert db < 0
    _, da = BinaryCrossEntropy()(y_hat, y)
    assert (da * sigmoid_derivative(y_hat)).sum() == pytest.approx((y_hat - y).mean(), rel=1e-9)
    b = {}
    for loss in (CategoricalCrossEntropy(), BinaryCrossEntropy()):
        b[loss], z = [], np.zeros((97, 1))
        for _ in range(300):
            a, back = Sigmoid()(np.empty(0), z)
            z = z - back(loss(a, y)[1], np.empty(0)).sum()
            b[loss].append(z[0, 0])
    half, whole = b.values()
    assert (np.diff(half) > 0).all() and half[-1] > 4  # grows, and never stops
    assert whole[-1] == pytest.approx(np.log(y.mean() / (1 - y.mean())), abs=1e-6)


@pytest.mark.lesson_1
def test_05_half_the_sum_is_no_mean():
    half_sum = MSE()(Y_HAT, Y)[0]
    mean = MSE(mean=True)(Y_HAT, Y)[0]
    assert half_sum == pytest.approx(((Y - Y_HAT) ** 2).sum() / 2)
    assert mean == pytest.approx(((Y - Y_HAT) ** 2).mean())
    three = np.ones((1, 3)), np.zeros((1, 3))
    assert MSE()(*three)[0] == 1.5 and MSE(mean=True)(*three)[0] == 1.0


@pytest.mark.lesson_2
def test_06_output_layer_sees_the_hidden_one():
    net, (x, _) = document_network(), rows(1)
    shapes = [p.shape for p in net.parameters().values()]
    assert shapes == [(3, 4), (4,), (4, 2), (2,)]
    before = net.predict(x)
    net.parameters()["dense_1.b"][:] += 1
    assert not np.allclose(net.predict(x), before)


@pytest.mark.lesson_7
def test_07_rows_are_users():
    users = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0]], float)  # rows: users; columns: items
    net = Network([Dense(3, 1), Sigmoid()], BinaryCrossEntropy(), rng=0, dtype="float64")
    predictions = net.predict(users)
    assert predictions.shape == (3, 1)  # one number a row, so one a user
    alone = net.predict(users[1:2])
    assert np.allclose(alone, predictions[1:2], rtol=1e-14)  # and it depends on that row alone


@pytest.mark.lesson_6
def test_08_f1_needs_precision():
    wrong = 2 * 0.85 * 0.80 / (0.85 + 0.80)
    assert round(wrong, 3) == 0.824 and round(wrong, 2) == 0.82
    y = np.array([1] * 10 + [0] * 30)
    p = np.array([1] * 8 + [0] * 2 + [1] * 4 + [0] * 26)
    assert accuracy(y, p) == 0.85 and recall(y, p) == 0.8
    assert precision(y, p) == pytest.approx(2 / 3)
    assert f1(y, p) == pytest.approx(2 * (2 / 3) * 0.8 / (2 / 3 + 0.8))  # .727, far from .824


@pytest.mark.lesson_2
def test_09_gradients_of_weights_and_biases():
    net, (x, y) = document_network(), rows()
    p, g = net.parameters(), net.parameters(net.loss_and_grad(x, y)[1])
    a1 = sigmoid(x @ p["dense_1.W"] + p["dense_1.b"])
    a2 = sigmoid(a1 @ p["dense_2.W"] + p["dense_2.b"])
    d2 = (a2 - y) * a2 * (1 - a2) / len(x)
    d1 = (d2 @ p["dense_2.W"].T) * a1 * (1 - a1)
    expected = [x.T @ d1, d1.sum(axis=0), a1.T @ d2, d2.sum(axis=0)]
    for got, want in zip(g.values(), expected):
        assert np.allclose(got, want, rtol=1e-12, atol=0)


def test_10_derivative_by_z():
    a, back = Sigmoid()(np.empty(0), Z)
    h = 1e-100j
    assert ((a + h).imag / 1e-100 == 1).all()  # ŷ = a_L: ∂ŷ/∂a_L is 1
    by_z = sigmoid(Z + h).imag / 1e-100
    assert np.allclose(by_z, [[0.16, 0.16]])
    assert np.allclose(back(np.ones((1, 2)), np.empty(0)), by_z)


def test_11_indices():
    net = document_network()
    assert net.parameters()["dense_2.b"].shape == (2,)  # one index: a bias belongs to a unit
    x, y = rows(1)
    a1 = sigmoid(x @ net.parameters()["dense_1.W"] + net.parameters()["dense_1.b"])
    assert a1.shape[1] == 4 != y.shape[1]  # the hidden layer's δ has 4 entries, layer 2's has 2


@pytest.mark.lesson_3
def test_12_perceptron():
    """A perceptron's unit is affine, then a function: without that function depth adds nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 3))
    deep = Network([Dense(3, 5), Dense(5, 2)], MSE(), rng=0, dtype="float64")
    p = deep.parameters()
    W = p["dense_1.W"] @ p["dense_2.W"]
    b = p["dense_1.b"] @ p["dense_2.W"] + p["dense_2.b"]
    assert np.allclose(deep.predict(x), x @ W + b, rtol=1e-12)
    bent = Network([Dense(3, 5), Sigmoid(), Dense(5, 2)], MSE(), rng=0, dtype="float64")
    origin = bent.predict(0 * x)
    assert not np.allclose(bent.predict(2 * x) - origin, 2 * (bent.predict(x) - origin))
