"""Activation functions and their derivatives, each derivative read off the *output*.

The document's §4.1.1: sigmoid (its equation 2), ReLU (3) and tanh (4); and softmax, which its
cross-entropy over classes (11) needs and which it never defines.  The same lines run in float32,
float64 and complex128, ReLU also on fractions: nothing casts, and a branch looks at `.real` only,
so that the complex step passes through.
"""

import numpy as np

from nnrec.nn.arguments import Array


def sigmoid(z: Array) -> Array:
    """σ(z) = 1 / (1 + e^{−z}), elementwise (the document's equation 2).

    Written as e^{z} / (1 + e^{z}) where z < 0: no exponential overflows, small values keep their
    digits.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    z = np.asarray(z)
    positive = z.real >= 0
    e = np.exp(np.where(positive, -z, z))
    return np.asarray(np.where(positive, 1, e) / (1 + e))


def sigmoid_derivative(y: Array) -> Array:
    """dσ/dz = y (1 − y), from y = σ(z)."""
    return np.asarray(y * (1 - y))


def relu(z: Array) -> Array:
    """max(0, z), elementwise (the document's equation 3); right for complex numbers and fractions.

    >>> relu(np.array([-2.0, 0.0, 3.0])) + 0
    array([0., 0., 3.])
    """
    z = np.asarray(z)
    return np.asarray(z * relu_derivative(z))


def relu_derivative(y: Array) -> Array:
    """1 where y > 0, else 0 (at the kink too), from y or z, in its dtype: booleans cost twice."""
    return np.asarray((y.real > 0).astype(y.real.dtype))


def tanh(z: Array) -> Array:
    """(e^z − e^{−z}) / (e^z + e^{−z}), elementwise (the document's equation 4).

    >>> tanh(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    return np.asarray(np.tanh(z))


def tanh_derivative(y: Array) -> Array:
    """d tanh/dz = 1 − y², as (1 − y)(1 + y), which keeps its digits near ±1."""
    return np.asarray((1 - y) * (1 + y))


def softmax(z: Array) -> Array:
    """y_i = e^{z_i} / Σ_j e^{z_j} along the last axis; z finite.

    >>> softmax(np.array([[1000.0, 1000.0], [0.0, -1000.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    e, _, _ = exp_shifted(z)
    e /= e.sum(axis=-1, keepdims=True)
    return e


def softmax_derivative(y: Array) -> Array:
    """The Jacobian ∂y_i/∂z_j = y_i (1_{i=j} − y_j), shape (..., k, k), from y (..., k)."""
    return np.asarray(y[..., :, None] * (np.eye(y.shape[-1], dtype=y.dtype) - y[..., None, :]))


def exp_shifted(z: Array) -> tuple[Array, Array, Array]:
    """e^{z − m}, m = max z, and the index of m, each with the last axis kept.

    z − m is rounded by up to half a unit of the difference, which the exponential magnifies by its
    size; `lost` is that error, exactly (Knuth's two-sum), and e is mended by it.
    """
    z = np.ascontiguousarray(z)  # sums along a contiguous axis are pairwise, and keep their digits
    top = z.real.argmax(axis=-1, keepdims=True)
    m = np.take_along_axis(z, top, axis=-1)
    d = z - m
    back = d - z
    lost = (z - (d - back)) - (m + back)
    e = np.exp(d)
    e += lost * e
    return e, m, top
