"""Traces: the library's own numbers, bit for bit, each step with its form and its check."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from nnrec import nn
from nnrec.nn.composites import walk
from nnrec.nn.losses import Penalty
from nnrec.teach import MISTAKES, SPECIMENS, trace, verify
from nnrec.teach.specimens import GaussianLikelihood
from nnrec.teach.symbols import TABLE, forms_of, register
from nnrec.teach.traces import Trace
from tests.traced import OPTIMIZERS, document, drawn, random_network

NETWORKS = [name for name, specimen in SPECIMENS.items() if specimen.kind == "network"]


def state(network: nn.Network, optimizer: nn.Optimizer) -> Any:
    counts = network.entropy, network.epochs, repr(network.layer), repr(network.loss)
    return network.theta.copy(), counts, optimizer.state_dict(), repr(optimizer)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("name", NETWORKS)
def test_bits_are_those_of_the_untraced_pass(name: str, optimizer: nn.Optimizer) -> None:
    network, x, y, weight = drawn(name)
    optimizer = copy.deepcopy(optimizer)
    for _ in range(2):  # the second time with slots that are not zero
        before = state(network, optimizer)
        t = trace(network, x, y, optimizer, weight, rng=11)
        np.testing.assert_equal(state(network, optimizer), before)
        value, g = network.loss_and_grad(x, y, weight, rng=11)
        rows = network.layer.rows(*network.batch(x, y, weight)[0])
        optimizer.step(network.theta, g.copy(), network.segments(optimizer, rows))
        assert t.values["E"].tobytes() == value.tobytes()
        symbols = {about: symbol for symbol, about in t.given.items()}
        for path, part in network.parameters(g).items():
            symbol = symbols[path]
            assert t.values[f"∂{symbol}"].tobytes() == part.tobytes()
            stepped, at = network.parameters()[path], rows.get(path, ...)
            new = f"{symbol}[rows({symbol})]+" if path in rows else f"{symbol}+"
            np.testing.assert_array_equal(t.values[new], stepped[at])
        assert t.ok, [step for step in t.steps if not t.agrees(step)]
        assert all(step.check is not None for step in t.steps)
        assert verify(t.to_json()).to_json() == t.to_json()


def test_a_shared_part_has_one_weight_and_a_gradient_for_each_use() -> None:
    network, x, y, weight = drawn("siamese")
    t = trace(network, x, y, weight=weight)
    total = t.step("∂W_1")
    assert total.form == "u1 + u2"
    parts = [t.values[name] for name in total.operands.values()]
    np.testing.assert_allclose(sum(parts), total.value, rtol=1e-14)
    assert all(np.abs(part).max() > 1e-6 for part in parts)
    assert [s.form for s in t.steps if s.name in ("z_1", "z_3")] == ["x @ W + b"] * 2
    assert t.step("z_1").operands["W"] == t.step("z_3").operands["W"] == "W_1"


def test_a_value_that_goes_two_ways_gets_the_sum_of_what_comes_back() -> None:
    t = trace(*drawn("two outputs")[:3])
    assert t.step("∂a_1").form == "u1 + u2"
    assert set(t.step("∂a_1").operands.values()) == {"∂a_1.1", "∂a_1.2"}
    assert t.step("∂a_1").method == "complex step"


def test_one_array_as_two_inputs_is_told_apart() -> None:
    network = nn.Network(SPECIMENS["Siamese"].case(1).subject, nn.MSE(), 1, dtype="float64")
    a = np.random.default_rng(2).normal(size=(5, network.layer.parts["tower"].inputs))
    t = trace(network, (a, a), np.ones(5))
    assert {"x_1", "x_2", "∂x_1", "∂x_2"} <= set(t.values)
    assert t.ok


class Scaled(nn.Composite):
    """A composite with arithmetic of its own between its parts, in both directions."""

    def __init__(self) -> None:
        super().__init__(first=nn.Dense(3, 2), last=nn.Dense(2, 1))

    def __call__(self, theta: Any, *inputs: Any, rng: Any = None) -> Any:
        on = self.bind(theta, rng)
        h, back_h = on.first(*inputs)
        y, back_y = on.last(3 * h)
        return y, lambda dy, g: back_h(3 * back_y(dy, g), g)


def test_a_composites_own_arithmetic_is_shown_as_its() -> None:
    network = nn.Network(Scaled(), nn.MSE(), rng=3, dtype="float64")
    t = trace(network, np.ones((1, 3)), [[2.0]])
    assert t.given["v_1"] == "made between parts"
    assert t.step("∂z_1").form == "Scaled_back()"
    assert t.step("∂z_1").method == "complex step"
    assert t.ok
    verify(t.to_json())


class Cube(nn.Layer):
    """y = x³, of a user."""

    def __call__(self, theta: Any, x: Any, rng: Any = None) -> Any:
        return x * x * x, lambda dy, g: 3 * dy * x * x


class Magnitude(nn.Layer):
    """y = |x|, by a function that drops imaginary parts."""

    def __call__(self, theta: Any, x: Any, rng: Any = None) -> Any:
        return np.abs(x), lambda dy, g: dy * np.sign(x)


class Wrong(nn.Layer):
    """y = x², with half of its derivative."""

    def __call__(self, theta: Any, x: Any, rng: Any = None) -> Any:
        return x * x, lambda dy, g: dy * x


def with_layer(layer: nn.Layer) -> Trace:
    network = nn.Network([nn.Dense(3, 2), layer], nn.MSE(), rng=3, dtype="float64")
    return trace(network, np.eye(3), np.ones((3, 2)))


def test_a_users_layer_is_traced_with_its_form_or_without(monkeypatch: Any) -> None:
    t = with_layer(Cube())
    assert t.step("y_1").form == "Cube(x)"
    assert t.step("∂z_1").form.startswith("Cube_back(")
    assert t.ok
    verify(t.to_json())
    with pytest.raises(ValueError, match="Cube"):
        t.replay()
    monkeypatch.setattr("nnrec.teach.symbols.TABLE", TABLE)
    try:
        register(Cube, forward="x ** 3", backward="3 * dy * x ** 2", letter="q")
        t = with_layer(Cube())
        assert t.step("q_1").form == "x ** 3"
        assert t.ok
        assert t.step("q_1").method == "formula evaluated apart"
    finally:
        TABLE.pop(Cube, None)


def test_a_layer_that_refuses_complex_numbers_is_checked_by_differences() -> None:
    t = with_layer(Magnitude())
    assert t.step("∂z_1").method == "central difference"
    assert t.ok


def test_a_wrong_backward_is_seen() -> None:
    t = with_layer(Wrong())
    assert not t.ok
    assert not t.agrees(t.step("∂z_1"))
    network, x, y = document()
    planted = MISTAKES["derivative-forgotten"].plant(network)
    t = trace(planted, x, y)
    assert [s.name for s in t.steps if not t.agrees(s)][0] == "∂z_2"


def test_a_loss_without_a_form_is_traced() -> None:
    t = trace(*drawn("two outputs")[:3])
    assert forms_of(GaussianLikelihood()) is None
    assert t.step("E").form == "GaussianLikelihood(p1, p2, t)"
    assert t.ok


class Quartic(Penalty):
    def __call__(self, W: Any) -> Any:
        return (W * W * W * W).sum() * self.strength, 4 * self.strength * W * W * W


class Signs(nn.Optimizer):
    def update(self, theta: Any, g: Any, *slots: Any, rate: float, t: Any) -> None:
        theta -= rate * np.sign(g)


def test_a_users_penalty_and_optimizer_are_traced() -> None:
    network, x, y = document()
    network.penalty = [Quartic(0.5)]
    t = trace(network, x, y, Signs(0.25))
    assert t.step("R_1").form == "Quartic(W)"
    assert t.step("∂W_1").form == "u1 + u2"
    assert t.step("W_1+").form == "Signs(theta, g)"
    assert t.ok
    moved = network.parameters()["dense_1.W"] - 0.25 * np.sign(t.values["∂W_1"])
    np.testing.assert_array_equal(t.values["W_1+"], moved)
    verify(t.to_json())


def test_dropout_keeps_its_mask_and_a_generator_its_place() -> None:
    network, x, y, weight = drawn("LayerNorm, Dropout")
    rng = np.random.default_rng(8)
    state = rng.bit_generator.state
    t = trace(network, x, y, weight=weight, rng=rng)
    assert rng.bit_generator.state == state
    assert 0 < (t.values["m_1"] == 0).mean() < 1
    assert t.values["E"] == network.loss_and_grad(x, y, weight, rng=rng)[0]
    quiet = trace(network, x, y, weight=weight)
    assert (quiet.values["m_1"] == 1).all()


def test_frozen_parameters_have_a_gradient_and_no_update() -> None:
    network = nn.Network([nn.Dense(2, 3)], nn.MSE(), rng=0, dtype="float64", frozen=["*.b"])
    names = {step.name for step in trace(network, np.ones((1, 2)), np.ones((1, 3))).steps}
    assert {"∂b_1", "W_1+"} <= names
    assert "b_1+" not in names


@pytest.mark.parametrize("name", ["Dense, ReLU, MSE", "siamese", "NeuMF, MSE"])
def test_fractions_are_exact(name: str) -> None:
    network, x, y, weight = drawn(name)
    network.theta, y = network.theta.round(2), np.asarray(y).round(2)
    x = tuple(a if a.dtype.kind == "i" else a.round(1) for a in x)
    optimizer = nn.SGD(0.5, momentum=0.9, weight_decay=0.01)
    network.penalty = [nn.L2(0.1), nn.L1(0.1)]
    t = trace(network, x, y, optimizer, weight.round(1), exact=True)
    for step in t.steps:
        assert (step.value == step.check).all(), step
        assert all(isinstance(number, Fraction | int) for number in step.value.flat)
    assert verify(t.to_json()).to_json() == t.to_json()
    floats = trace(network, x, y, optimizer, weight.round(1))
    for step in floats.steps:
        np.testing.assert_allclose(t.values[step.name].astype(float), step.value, atol=1e-12)


@pytest.mark.parametrize(
    ("layers", "optimizer", "rng", "message"),
    [
        ([nn.Dense(2, 1), nn.Sigmoid()], nn.SGD(0.5), None, "rational arithmetic only"),
        ([nn.Dense(2, 1)], nn.Adam(0.5), None, "rational arithmetic only"),
        ([nn.Dense(2, 1)], nn.SGD(0.5, clip_norm=0.1), None, "a root for clip_norm"),
        ([nn.Dropout(0.4), nn.Dense(2, 1)], nn.SGD(0.5), 1, "Dropout.* gives floats"),
    ],
)
def test_what_is_not_rational_has_no_fractions(
    layers: Any, optimizer: Any, rng: Any, message: str
) -> None:
    network = nn.Network(layers, nn.MSE(), rng=0, dtype="float64")
    with pytest.raises(TypeError, match=message):
        trace(network, [[1.0, 2.0]], [1.0], optimizer, rng=rng, exact=True)


def test_bad_input_is_named() -> None:
    network, x, y = document()
    with pytest.raises(TypeError, match="optimizer='sgd', expected an Optimizer"):
        trace(network, x, y, "sgd")
    with pytest.raises(ValueError, match="x is nan in row 0, column 1"):
        trace(network, [[1.0, np.nan, 2.0]], y)
    with pytest.raises(ValueError, match="y is inf in row 0, column 0"):
        trace(network, x, [[np.inf, 1.0]])
    with pytest.raises(ValueError, match="n ≥ 1"):
        trace(network, np.ones((0, 3)), np.ones((0, 2)))
    with pytest.raises(ValueError, match="x has shape"):
        trace(network, [[1.0]], y)


def test_a_large_array_is_probed_in_part() -> None:
    network = nn.Network(nn.Dense(41, 31), nn.MSE(), rng=0, dtype="float64")
    t = trace(network, np.ones((1, 41)), np.ones((1, 31)))
    probed = ~np.isnan(t.step("∂W_1").check.astype(float))
    assert probed.sum() == 1000
    assert t.ok
    assert verify(t.to_json()).to_json() == t.to_json()


@pytest.mark.slow
def test_two_hundred_random_networks_agree_with_their_checks() -> None:
    depths, kinds = set(), set()
    for seed in range(200):
        network, x, y, weight = random_network(seed)
        optimizer = OPTIMIZERS[seed % len(OPTIMIZERS)]
        t = trace(network, x, y, optimizer, weight, rng=seed)
        depths.add(sum(isinstance(part, nn.Dense) for part in network.layer.layers))
        kinds |= {type(part) for _, part in walk(network.layer)} | {type(network.loss)}
        for step in t.steps:
            assert step.method in ("complex step", "formula evaluated apart"), (seed, step)
            assert step.error < 1e-10, (seed, step)
        assert t.values["E"] == network.loss_and_grad(x, y, weight, rng=seed)[0]
        assert verify(t.to_json()).to_json() == t.to_json()
    assert depths == {1, 2, 3, 4, 5}
    every = {kind for kind in TABLE if kind.__module__.startswith("nnrec.nn")}
    assert {kind for kind in every if issubclass(kind, nn.Layer | nn.Loss)} <= kinds


@pytest.mark.slow
def test_sixty_rational_networks_are_exact() -> None:
    for seed in range(60):
        rng = np.random.default_rng([seed, 29])
        sizes = rng.choice([1, 2, 3, 5], size=rng.integers(2, 7)).tolist()
        layers: list[nn.Layer] = []
        for a, b in zip(sizes, sizes[1:]):
            layers += [nn.Dense(a, b), *[nn.ReLU()] * bool(rng.integers(2))]
        network = nn.Network(layers, nn.MSE(bool(seed % 2)), rng, "float64", penalty=nn.L2(0.1))
        network.theta[:] = rng.integers(-9, 10, network.theta.size) / 10
        x, y = (rng.integers(-9, 10, (2, size)) / 10 for size in (sizes[0], sizes[-1]))
        for step in trace(network, x, y, exact=True).steps:
            assert (step.value == step.check).all(), (seed, step)
