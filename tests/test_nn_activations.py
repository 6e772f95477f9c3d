"""Activation functions: values, derivatives from the output, dtypes, and what relates them."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nnrec import relu, sigmoid, softmax, tanh
from nnrec.nn import activations as act

ELEMENTWISE: dict[str, tuple[Callable, Callable, Callable[[float], float]]] = {
    "sigmoid": (sigmoid, act.sigmoid_derivative, lambda z: 1 / (1 + math.exp(-z))),
    "relu": (relu, act.relu_derivative, lambda z: max(0.0, z)),
    "tanh": (tanh, act.tanh_derivative, math.tanh),
}
elementwise = pytest.mark.parametrize("name", ELEMENTWISE)
every = pytest.mark.parametrize("f", [sigmoid, relu, tanh, softmax])
moderate = arrays(float, array_shapes(max_dims=3, max_side=5), elements=st.floats(-30, 30))
rows = arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=st.floats(-300, 300))
pytestmark = pytest.mark.usefixtures("strict_arithmetic")


@elementwise
@given(z=moderate)
def test_values_are_the_definition(name: str, z: np.ndarray) -> None:
    f, _, plain = ELEMENTWISE[name]
    y = f(z)
    assert y.shape == z.shape
    for index in np.ndindex(z.shape):
        assert y[index] == pytest.approx(plain(z[index]), rel=1e-14, abs=0)


@elementwise
@given(z=moderate)
def test_derivative_from_the_output_is_the_complex_step(name: str, z: np.ndarray) -> None:
    f, derivative, _ = ELEMENTWISE[name]
    step = f(z + 1e-100j).imag / 1e-100
    np.testing.assert_allclose(derivative(f(z)), step, rtol=1e-12, atol=1e-15)


@pytest.mark.lesson_3
@given(z=moderate)
def test_sigmoid_and_tanh_are_one_curve(z: np.ndarray) -> None:
    np.testing.assert_allclose(2 * sigmoid(2 * z) - 1, tanh(z), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(sigmoid(z) + sigmoid(-z), np.ones(z.shape), rtol=1e-15)
    np.testing.assert_array_equal(tanh(-z), -tanh(z))
    np.testing.assert_array_equal(relu(z) - relu(-z), z)


@given(z=rows, shift=st.integers(-1000, 1000))
def test_softmax_rows_sum_to_one_and_ignore_a_shift(z: np.ndarray, shift: int) -> None:
    y = softmax(z)
    assert (y >= 0).all()
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-14)
    np.testing.assert_allclose(softmax(z + shift), y, rtol=1e-11, atol=1e-300)
    whole = np.round(z)  # where the shift rounds nothing, every bit stays
    np.testing.assert_array_equal(softmax(whole + shift), softmax(whole))


@given(z=rows)
def test_softmax_is_the_definition_and_goes_with_the_columns(z: np.ndarray) -> None:
    y = softmax(z)
    for row, out in zip(z, y):
        parts = [math.exp(v - max(row)) for v in row]
        np.testing.assert_allclose(out, np.divide(parts, sum(parts)), rtol=1e-11)
    order = np.random.default_rng(0).permutation(z.shape[1])
    np.testing.assert_allclose(softmax(z[:, order]), y[:, order], rtol=1e-14)


@pytest.mark.lesson_4
@given(z=arrays(float, (7, 2), elements=st.floats(-300, 300)))
def test_softmax_of_two_is_the_sigmoid_of_their_difference(z: np.ndarray) -> None:
    difference = z[:, 0] - z[:, 1]
    expected = np.stack([sigmoid(difference), sigmoid(-difference)], axis=1)
    np.testing.assert_allclose(softmax(z), expected, rtol=1e-12)


def test_softmax_derivative_is_the_jacobian() -> None:
    z = np.random.default_rng(0).normal(size=(3, 5))
    J = act.softmax_derivative(softmax(z))
    assert J.shape == (3, 5, 5)
    for j in range(5):
        step = softmax(z + 1e-100j * np.eye(5)[j]).imag / 1e-100
        np.testing.assert_allclose(J[:, :, j], step, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5)])
@every
def test_shape_and_dtype_stay_and_the_input_too(f: Callable, shape: tuple, dtype: str) -> None:
    z = np.random.default_rng(0).normal(size=shape).astype(dtype)
    z.flags.writeable = False
    y = f(z)
    assert isinstance(y, np.ndarray) and y.dtype == dtype and y.shape == shape
    assert y.flags.writeable and not np.shares_memory(y, z)


@elementwise
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_keep_the_dtype_they_multiply(name: str, dtype: str) -> None:
    f, derivative, _ = ELEMENTWISE[name]
    y = f(np.linspace(-2, 2, 7, dtype=dtype))
    y.flags.writeable = False
    d = derivative(y)
    assert isinstance(d, np.ndarray) and d.shape == (7,) and (d * y).dtype == dtype
    assert act.softmax_derivative(y).dtype == dtype


@elementwise
def test_a_number_alone_is_taken(name: str) -> None:
    f, _, plain = ELEMENTWISE[name]
    assert f(0.5) == pytest.approx(plain(0.5), rel=1e-15)
    assert np.shape(f(0.5)) == ()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every
def test_the_largest_numbers_raise_nothing(f: Callable, dtype: str) -> None:
    most = np.finfo(dtype).max
    z = np.array([[-most, -1000, 0, 1000], [most / 2, 1000, -1000, -most / 2]], dtype)
    with np.errstate(all="raise", under="ignore"):
        y = f(z)
    assert np.isfinite(y).all()
    ends = {relu: [0, most / 2], softmax: [0, 1], tanh: [-1, 1], sigmoid: [0, 1]}[f]
    np.testing.assert_array_equal(y[:, 0], np.array(ends, dtype))


def test_infinite_logits_saturate() -> None:
    z = np.array([-np.inf, np.inf])
    np.testing.assert_array_equal(sigmoid(z), [0, 1])
    np.testing.assert_array_equal(tanh(z), [-1, 1])


def test_nan_stays_nan() -> None:
    z = np.array([np.nan, 1.0])
    for f in (sigmoid, relu, tanh):
        assert np.isnan(f(z)).tolist() == [True, False]
    assert np.isnan(softmax(z)).all()


@pytest.mark.lesson_3
def test_relu_takes_fractions_and_is_flat_at_the_kink() -> None:
    z = np.array([Fraction(-1, 3), Fraction(0), Fraction(2, 7)])
    assert relu(z).tolist() == [0, 0, Fraction(2, 7)]
    assert act.relu_derivative(relu(z)).tolist() == [False, False, True]
    assert relu(np.array([0j + 1e-100j])).imag == 0


@pytest.mark.lesson_3
def test_tanh_derivative_keeps_its_digits_where_tanh_nears_one() -> None:
    y = 1 - np.array([2.0**-52, 2.0**-30])
    exact = [Fraction(1) - Fraction(v) ** 2 for v in y]
    for got, true in zip(act.tanh_derivative(y), exact):
        assert abs(Fraction(got) - true) <= true * Fraction(2) ** -52
