"""The tester is tested: what is right is accepted, what is wrong is found, where it is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from nnrec import (
    MSE,
    Add,
    Composite,
    Dense,
    Dropout,
    Layer,
    Network,
    ReLU,
    Sequential,
    Sigmoid,
    check_gradients,
)
from nnrec.teach import SPECIMENS

X = np.random.default_rng(0).normal(size=(5, 3))
METHODS = ("complex", "central", "taylor")
BY_METHOD = [(name, method) for name, s in SPECIMENS.items() for method in s.methods]


class Pointwise(Layer):
    """A user's layer: y = f(x), and whatever `back` says."""

    def __init__(self, forward: Callable[..., Any], derivative: Callable[..., Any]):
        self.forward, self.derivative = forward, derivative

    def __call__(self, theta, x, rng=None):
        return self.forward(x), lambda dy, g: dy * self.derivative(x)


class Tampered(Dense):
    """A Dense whose gradient in θ is tampered with."""

    def __init__(self, inputs, outputs, tamper):
        super().__init__(inputs, outputs)
        self.tamper = tamper

    def __call__(self, theta, x, rng=None):
        y, real_back = super().__call__(theta, x)

        def back(dy, g):
            own = np.zeros_like(g)
            dx = real_back(dy, own)
            self.tamper(own)
            g += own
            return dx

        return y, back


@pytest.mark.parametrize(("name", "method"), BY_METHOD)
@pytest.mark.parametrize("plain", [False, True])
def test_right_gradients_are_accepted(name: str, method: str, plain: bool) -> None:
    report = SPECIMENS[name].case(seed=1, plain=plain).check(method)
    assert report.ok, str(report)
    assert report.method == method
    if method == "complex":
        assert report.error <= 1e-12
    if method == "exact":
        assert report.error == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["complex", "central"])
@pytest.mark.parametrize("name", SPECIMENS)
def test_right_gradients_are_accepted_every_time(name: str, method: str) -> None:
    whole = isinstance(SPECIMENS[name].case().subject, Network | Composite)
    times = 25 if whole else 200
    rejected = []
    for seed in range(times):
        report = SPECIMENS[name].case(seed, plain=seed % 2 == 0).check(method)
        if not report or (method == "complex" and report.error > 1e-12):
            rejected.append(f"seed {seed}: {report}")
    assert not rejected


def test_every_array_is_checked() -> None:
    case = SPECIMENS["siamese"].case()
    findings = case.check().findings
    shapes = {
        **case.subject.layer.shapes,
        "x[0]": case.inputs[0].shape,
        "x[1]": case.inputs[1].shape,
    }
    assert {f.name: f.shape for f in findings} == shapes


@pytest.mark.lesson_5
def test_relu_is_exact_at_its_kink() -> None:
    assert check_gradients(ReLU(), np.zeros((3, 2)), method="complex").error == 0


def test_dropout_is_checked_under_one_mask_with_a_live_generator() -> None:
    rng = np.random.default_rng(3)
    net = Network([Dense(3, 7), Dropout(0.5), Dense(7, 1)], MSE(), rng=0)
    for _ in range(5):
        report = check_gradients(net, X, target=X[:, :1], rng=rng)
        assert report.ok, str(report)


@pytest.mark.parametrize("method", METHODS)
def test_a_users_layer_and_a_users_loss(method: str) -> None:
    def quartic(pred, target, weight=None):
        return ((pred - target) ** 4).sum(), 4 * (pred - target) ** 3

    layer = Pointwise(np.exp, np.exp)
    assert check_gradients(layer, X, method=method).ok
    assert check_gradients(quartic, X, target=X[::-1], method=method).ok
    assert not check_gradients(lambda *a: (quartic(*a)[0], X), X, target=X[::-1], method=method).ok
    assert not check_gradients(Pointwise(np.exp, np.sin), X, method=method).ok


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_check_itself_is_in_double_precision(dtype: str) -> None:
    net = Network([Dense(3, 5), Sigmoid(), Dense(5, 2)], MSE(), rng=0, dtype=dtype)
    x = X.astype(dtype)
    assert check_gradients(net, x, target=X[:, :2]).error < 1e-14
    assert net.theta.dtype == x.dtype == dtype


def test_the_callers_arrays_and_the_network_stay_as_they_are() -> None:
    net = Network([Dense(3, 5), Sigmoid(), Dense(5, 2)], MSE(), rng=0)
    kept = [net.theta.copy(), X.copy()]
    check_gradients(net, X, target=X[:, :2])
    assert np.array_equal(net.theta, kept[0]) and np.array_equal(X, kept[1])


def abs_layer(scale: float = 1.0) -> Layer:
    return Pointwise(np.abs, lambda x: scale * np.sign(x))


REFUSERS = {
    "math.exp": Pointwise(lambda x: np.array([[math.exp(a) for a in row] for row in x]), np.exp),
    "astype": Pointwise(lambda x: np.exp(x.astype(float)), np.exp),
}
DROPPERS = {
    "abs": (abs_layer(), abs_layer(1.0005)),
    "real": (
        Pointwise(lambda x: x * x.real, lambda x: 2 * x),
        Pointwise(lambda x: x * x.real, lambda x: x),  # what the complex step alone would confirm
    ),
}


@pytest.mark.parametrize("name", REFUSERS)
def test_code_that_refuses_complex_numbers_gets_central(name: str) -> None:
    report = check_gradients(REFUSERS[name], X)
    assert report.ok and report.method == "central" and "refused" in report.reason


@pytest.mark.parametrize("name", DROPPERS)
def test_code_that_drops_imaginary_parts_gets_central(name: str) -> None:
    right, wrong = (check_gradients(layer, X) for layer in DROPPERS[name])
    assert right.ok and right.method == "central" and "imaginary" in right.reason
    assert not wrong.ok and wrong.method == "central"


@pytest.mark.parametrize("name", DROPPERS)
def test_complex_alone_rejects_code_that_drops_imaginary_parts(name: str) -> None:
    for layer in DROPPERS[name]:
        assert not check_gradients(layer, X, method="complex").ok


def test_complex_is_chosen_where_it_can_be() -> None:
    assert check_gradients(Dense(3, 2), X).method == "complex"


@pytest.mark.parametrize("method", ["Complex", "", "richardson"])
def test_an_unknown_method_is_an_error_that_lists_the_known(method: str) -> None:
    with pytest.raises(ValueError, match=f"'{method}'.*complex, exact, central, taylor"):
        check_gradients(Dense(3, 2), X, method=method)


@pytest.mark.parametrize(
    "layer",
    [
        Pointwise(lambda x: 0.5 * x, lambda x: Fraction(1, 2)),
        Pointwise(lambda x: x / 3, lambda x: 1 / 3.0),
        Sigmoid(),
    ],
    ids=["forward", "back", "transcendental"],
)
def test_exact_refuses_floats(layer: Layer) -> None:
    with pytest.raises(TypeError, match="[Ff]loat|Fraction|Dual"):
        check_gradients(layer, X, method="exact")


@pytest.mark.lesson_5
def test_exact_sees_what_no_tolerance_can() -> None:
    def off(gap):
        return Pointwise(lambda x: x * 3, lambda x: 3 + gap)

    assert check_gradients(off(Fraction(0)), X, method="exact").ok
    assert not check_gradients(off(Fraction(1, 10**30)), X, method="exact").ok


@pytest.mark.lesson_5
def test_kinks_are_set_aside_and_counted() -> None:
    x = np.random.default_rng(1).normal(size=(25, 5))
    x[0, 0] = 0
    report = check_gradients(abs_layer(), x, method="central")
    assert report.ok and report.kinks == 1 and report.entries == 125
    assert "1 of 125" in str(report)


def test_too_many_kinks_fail() -> None:
    x = np.zeros((5, 3))
    x[0] = 1
    report = check_gradients(abs_layer(), x, method="central")
    assert not report.ok and report.kinks == 12 and "12 of 15" in str(report)


def test_taylor_accepts_a_piecewise_linear_function_across_its_kinks() -> None:
    chain = Sequential([Dense(3, 11), ReLU(), Dense(11, 2)])
    for seed in range(30):
        report = check_gradients(chain, X, method="taylor", rng=seed)
        assert report.ok, str(report)


@pytest.mark.lesson_5
@pytest.mark.parametrize("method", ["complex", "central"])
def test_the_one_wrong_entry_is_named_with_both_values(method: str) -> None:
    def tamper(own):
        own[7] += 0.25

    report = check_gradients(Tampered(3, 5, tamper), X, method=method)
    (worst,) = (f for f in report.findings if f.name == "W")
    assert worst.index == (1, 2)  # entry 7 of 3 × 5
    assert worst.back - worst.check == pytest.approx(0.25)
    assert not report and re.search(r"W\[1, 2\]: back \S+, check \S+", str(report))
    assert all(f.error < 1e-8 for f in report.findings if f.name != "W")


@pytest.mark.parametrize("method", ["complex", "central"])
@pytest.mark.parametrize("entry", [0, 1234, 2549])
def test_directions_close_in_on_the_wrong_entry(method: str, entry: int) -> None:
    def tamper(own):
        own[entry] += 3

    x = np.random.default_rng(1).normal(size=(7, 51))
    report = check_gradients(Tampered(51, 50, tamper), x, method=method)  # 51 · 50 entries of W
    (worst,) = (f for f in report.findings if f.name == "W")
    assert worst.index == divmod(entry, 50)
    assert worst.back - worst.check == pytest.approx(3, rel=1e-4)
    assert report.entries < 200


def test_directions_see_two_errors_that_cancel() -> None:
    def tamper(own):
        own[[7, 1501]] = own[[1501, 7]]

    x = np.random.default_rng(1).normal(size=(7, 51))
    layer = Tampered(51, 50, tamper)
    assert not any(check_gradients(layer, x, method="complex", rng=seed).ok for seed in range(40))


def test_a_report_is_a_table_and_false_when_wrong() -> None:
    def tamper(own):
        own *= 1.0005

    right, wrong = check_gradients(Dense(3, 5), X), check_gradients(Tampered(3, 5, tamper), X)
    assert bool(right) and not bool(wrong)
    for report, verdict in ((right, "ok"), (wrong, "WRONG")):
        text = str(report)
        assert verdict in text and "complex" in text
        assert re.search(r"^ +W +3×5 +\d\.\de[-+]\d+$", text, re.M)
        assert re.search(r"^ +b +5 +\d\.\de[-+]\d+$", text, re.M)
    assert "worst" in str(wrong) and "worst" not in str(right)


def test_the_tolerance_can_be_chosen() -> None:
    def tamper(own):
        own *= 1.0005

    assert check_gradients(Tampered(3, 5, tamper), X, tolerance=0.01).ok


class Rational(Layer):
    """y = 1 − x where x < 0 and −x elsewhere: subtraction, negation and both comparisons."""

    def __call__(self, theta, x, rng=None):
        left = x.real < 0
        return (1 - x) * left + -x * (1 - left), lambda dy, g: -dy


def test_exact_carries_negation_and_comparison() -> None:
    report = check_gradients(Rational(), np.array([[-2.0, 3.0, 0.5]]), method="exact")
    assert report.ok and report.error == 0


def test_inputs_may_come_as_one_tuple_as_the_network_takes_them() -> None:
    x = np.random.default_rng(0).normal(size=(3, 5))
    apart, together = check_gradients(Add(), x, x + 1), check_gradients(Add(), (x, x + 1))
    assert together.ok and str(together) == str(apart)


def test_a_theta_of_the_wrong_size_is_named() -> None:
    with pytest.raises(ValueError, match=r"Dense\(2, 3\): theta has shape \(5,\), expected \(9,\)"):
        check_gradients(Dense(2, 3), np.ones((1, 2)), theta=np.zeros(5))


class Refusing(Layer):
    def __call__(self, theta, x, rng=None):
        if np.iscomplexobj(x):
            raise TypeError("real numbers only")
        return x * 2, lambda dy, g: dy * 2


def test_a_refusal_is_passed_on_where_complex_was_asked_for() -> None:
    with pytest.raises(TypeError, match="real numbers only"):
        check_gradients(Refusing(), np.ones((1, 2)), method="complex")


class Raising(Layer):
    def __call__(self, theta, x, rng=None):
        def back(dy, g):
            raise ValueError("an error of its own")

        return x * 2, back


def test_an_error_of_the_layers_own_is_passed_on() -> None:
    with pytest.raises(ValueError, match="an error of its own"):
        check_gradients(Raising(), np.ones((1, 2)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_rejected(bad: float) -> None:
    def loss(pred, target, weight=None):
        return (pred * target).sum(), np.where(target > 0, target, bad)

    def tamper(own):
        own[3] = bad

    with np.errstate(invalid="ignore"):
        assert not check_gradients(loss, X, target=X[::-1]).ok
        assert not check_gradients(Pointwise(np.exp, lambda x: np.exp(x) * bad), X).ok
        assert not check_gradients(Tampered(3, 5, tamper), X).ok
