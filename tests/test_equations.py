"""docs/equations.md: every row names a symbol and a test that exist, and the tests themselves."""

import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from nnrec import MSE, SGD, CategoricalCrossEntropy, Dense, Network, Sequential, Sigmoid
from nnrec.nn.activations import relu, sigmoid, sigmoid_derivative, tanh

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| \d", line)
]


def test_every_equation_has_its_row_in_order():
    assert [row[0] for row in ROWS] == [str(i) for i in range(1, 25)]
    assert all(len(row) == 6 and all(row) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_symbol_and_test_exist(row):
    module, name = row[4].strip("`").rsplit(".", 1)
    assert hasattr(import_module(module), name)
    path, function = row[5].strip("`").split("::")
    assert f"\ndef {function}(" in (ROOT / path).read_text(encoding="utf-8")


def test_every_erratum_names_a_test_that_exists():
    errata = PAGE.split("## Errata")[1]
    numbers = re.findall(r"^(\d+)\. ", errata, re.M)
    named = re.findall(r"`(test_\d+_\w+)`", errata)
    source = (ROOT / "tests" / "test_errata.py").read_text(encoding="utf-8")
    written = re.findall(r"^def (test_\w+)\(", source, re.M)
    assert numbers == [str(i) for i in range(1, 13)]
    assert named == written
    used = set("".join(cell for row in ROWS for cell in row[3]))
    assert used >= set("⁰¹²³⁴⁵⁶⁹") - {"⁰"}  # the table points to them


def layer_of(W, b):
    return Dense(*np.shape(W)), np.concatenate([np.ravel(W), b])


def network(x_size=3, hidden=4, outputs=2, seed=1):
    chain = [Dense(x_size, hidden), Sigmoid(), Dense(hidden, outputs), Sigmoid()]
    return Network(chain, MSE(), rng=seed, dtype="float64")


X, Y = np.array([[0.5, -1.0, 2.0]]), np.array([[0.1, 0.9]])


def by_hand(net, x=X, y=Y):
    """The forward and backward pass of the 3-4-2 network, written out unit by unit."""
    p = net.parameters()
    W1, b1, W2, b2 = (p[k] for k in ("dense_1.W", "dense_1.b", "dense_2.W", "dense_2.b"))
    z1 = [sum(x[0, i] * W1[i, j] for i in range(3)) + b1[j] for j in range(4)]
    a1 = [1 / (1 + np.exp(-z)) for z in z1]
    z2 = [sum(a1[j] * W2[j, k] for j in range(4)) + b2[k] for k in range(2)]
    a2 = [1 / (1 + np.exp(-z)) for z in z2]
    d2 = [(a2[k] - y[0, k]) * a2[k] * (1 - a2[k]) for k in range(2)]
    d1 = [sum(d2[k] * W2[j, k] for k in range(2)) * a1[j] * (1 - a1[j]) for j in range(4)]
    return {"z1": z1, "a1": a1, "z2": z2, "a2": a2, "d1": d1, "d2": d2}


@pytest.mark.lesson_2
def test_01_affine():
    layer, theta = layer_of([[1, 2], [3, 4], [5, 6]], [10.0, 20.0])
    z, _ = layer(theta, np.array([[1.0, 0.0, -1.0], [0.5, 0.5, 0.5]]))
    assert z.tolist() == [[6.0, 16.0], [14.5, 26.0]]


@pytest.mark.lesson_1
def test_02_sigmoid():
    z = np.array([-2.0, 0.0, 3.0])
    assert np.allclose(sigmoid(z), 1 / (1 + np.exp(-z)), rtol=1e-15)


@pytest.mark.lesson_3
def test_03_relu():
    assert np.abs(relu(np.array([-2.0, 0.0, 3.0]))).tolist() == [0.0, 0.0, 3.0]


@pytest.mark.lesson_3
def test_04_tanh():
    z = np.array([-2.0, 0.0, 3.0])
    e = np.exp(z)
    assert np.allclose(tanh(z), (e - 1 / e) / (e + 1 / e), rtol=1e-14)


@pytest.mark.lesson_2
def test_05_forward():
    net = network()
    assert isinstance(net.layer, Sequential)
    assert np.allclose(net.predict(X), [by_hand(net)["a2"]], rtol=1e-14)


@pytest.mark.lesson_1
def test_06_output_delta():
    z = np.log([[0.2 / 0.8, 0.8 / 0.2]])
    a, back = Sigmoid()(np.empty(0), z)
    delta = back(MSE()(a, Y)[1], np.empty(0))
    assert np.allclose(delta, (a - Y) * a * (1 - a), rtol=1e-14)


@pytest.mark.lesson_2
def test_07_hidden_delta():
    net, hand = network(), by_hand(network())
    g = net.parameters(net.loss_and_grad(X, Y)[1])
    assert np.allclose(g["dense_1.b"], hand["d1"], rtol=1e-13)


@pytest.mark.lesson_1
def test_08_weight_update():
    net, hand = network(), by_hand(network())
    before = net.parameters()["dense_2.W"].copy()
    SGD(0.5).step(net.theta, net.loss_and_grad(X, Y)[1])
    expected = before - 0.5 * np.outer(hand["a1"], hand["d2"])
    assert np.allclose(net.parameters()["dense_2.W"], expected, rtol=1e-13)


@pytest.mark.lesson_1
def test_09_bias_update():
    net, hand = network(), by_hand(network())
    before = net.parameters()["dense_2.b"].copy()
    SGD(0.5).step(net.theta, net.loss_and_grad(X, Y)[1])
    assert np.allclose(
        net.parameters()["dense_2.b"], before - 0.5 * np.array(hand["d2"]), rtol=1e-13
    )


@pytest.mark.lesson_1
def test_10_squared_error():
    pred, target = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[0.0, 4.0], [3.0, 4.0]])
    assert MSE()(pred, target)[0] == ((1 + 4) / 2 + (0 + 1) / 2) / 2


@pytest.mark.lesson_4
def test_11_cross_entropy():
    pred, target = np.array([[0.25, 0.75], [0.5, 0.5]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    value, dpred = CategoricalCrossEntropy()(pred, target)
    assert value == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2, rel=1e-15)
    assert np.allclose(dpred, [[0, -1 / 0.75 / 2], [-1 / 0.5 / 2, 0]], rtol=1e-15)


@pytest.mark.lesson_2
def test_12_to_15_document_network():
    net, hand = network(), by_hand(network())
    values, x, start = {}, X, 0
    for name, part in net.layer.parts.items():
        x, _ = part(net.theta[start : start + part.size], x)
        values[name], start = x, start + part.size
    pairs = [("dense_1", "z1"), ("sigmoid_1", "a1"), ("dense_2", "z2"), ("sigmoid_2", "a2")]
    for ours, theirs in pairs:
        assert np.allclose(values[ours], [hand[theirs]], rtol=1e-14)
    assert [values[name].shape for name, _ in pairs] == [(1, 4), (1, 4), (1, 2), (1, 2)]


@pytest.mark.lesson_1
def test_16_to_20_worked_example():
    y_hat = np.array([[0.2, 0.8]])
    loss, dy = MSE()(y_hat, Y)
    assert loss == pytest.approx(0.01, rel=1e-12)
    assert np.allclose(sigmoid_derivative(y_hat), [[0.16, 0.16]], rtol=1e-14)
    assert np.allclose(dy * sigmoid_derivative(y_hat), [[0.016, -0.016]], rtol=1e-12)


@pytest.mark.lesson_2
def test_21_to_22_hidden_delta():
    W2 = np.arange(1.0, 9.0).reshape(4, 2)
    z1 = np.array([[0.1, -0.2, 0.3, -0.4]])
    a1, back_sigmoid = Sigmoid()(np.empty(0), z1)
    layer, theta = layer_of(W2, [0.0, 0.0])
    _, back_dense = layer(theta, a1)
    delta = back_sigmoid(back_dense(np.array([[0.016, -0.016]]), np.zeros(10)), np.empty(0))
    assert np.allclose(delta, -0.016 * a1 * (1 - a1), rtol=1e-12)  # each row of W2: 1 apart


@pytest.mark.lesson_2
def test_23_to_24_one_step():
    net, hand, rate = network(), by_hand(network()), 0.1
    before = {name: value.copy() for name, value in net.parameters().items()}
    net.fit(X, Y, optimizer=SGD(rate), epochs=1, verbose=0)
    after = net.parameters()
    steps = {
        "dense_1.W": np.outer(X[0], hand["d1"]),
        "dense_1.b": np.array(hand["d1"]),
        "dense_2.W": np.outer(hand["a1"], hand["d2"]),
        "dense_2.b": np.array(hand["d2"]),
    }
    for name, step in steps.items():
        assert np.allclose(after[name], before[name] - rate * step, rtol=1e-12)
