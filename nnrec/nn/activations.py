"""Activation functions and their derivatives, each derivative read off the *output*.

The document's §4.1.1: sigmoid (its equation 2), ReLU (3) and tanh (4); softmax, which its
cross-entropy over classes (equation 10) needs and which it never defines.  The same lines run in
float32, float64 and complex128 (and ReLU on fractions): nothing here casts, and a branch looks at
`.real` only, so that the complex step passes through.
"""

from __future__ import annotations

import numpy as np

from nnrec.nn.arguments import Array


def sigmoid(z: Array) -> Array:
    """σ(z) = 1 / (1 + e^{−z}), elementwise, any shape (the document's equation 2).

    Written as e^{z} / (1 + e^{z}) where z < 0, so that no exponential overflows and small values
    keep their digits: within 4 units in the last place everywhere.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    z = np.asarray(z)
    positive = z.real >= 0
    e = np.exp(np.where(positive, -z, z))
    return np.where(positive, 1, e) / (1 + e)


def sigmoid_derivative(y: Array) -> Array:
    """dσ/dz = y (1 − y), from the output y = σ(z).

    >>> sigmoid_derivative(np.array([0.2, 0.8])).round(2)
    array([0.16, 0.16])
    """
    return y * (1 - y)


def relu(z: Array) -> Array:
    """max(0, z), elementwise (the document's equation 3); right for complex numbers and fractions.

    >>> relu(np.array([-2.0, 0.0, 3.0])) + 0
    array([0., 0., 3.])
    """
    z = np.asarray(z)
    return z * (z.real > 0)


def relu_derivative(y: Array) -> Array:
    """1 where y > 0, else 0 (at the kink too), as booleans, which keep the dtype they multiply.

    >>> relu_derivative(np.array([0.0, 3.0]))
    array([False,  True])
    """
    return np.asarray(y.real > 0)


def tanh(z: Array) -> Array:
    """(e^z − e^{−z}) / (e^z + e^{−z}), elementwise (the document's equation 4).

    >>> tanh(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    return np.asarray(np.tanh(z))


def tanh_derivative(y: Array) -> Array:
    """d tanh/dz = 1 − y², from the output; written (1 − y)(1 + y), which keeps its digits at ±1.

    >>> tanh_derivative(np.array([0.0, 0.5]))
    array([1.  , 0.75])
    """
    return (1 - y) * (1 + y)


def softmax(z: Array) -> Array:
    """y_i = e^{z_i} / Σ_j e^{z_j} along the last axis; z finite.

    >>> softmax(np.array([[1000.0, 1000.0], [0.0, -1000.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    e, _, _ = exp_shifted(np.asarray(z))
    e /= e.sum(axis=-1, keepdims=True)
    return e


def softmax_derivative(y: Array) -> Array:
    """The Jacobian ∂y_i/∂z_j = y_i (1_{i=j} − y_j), shape (..., k, k), from the output (..., k).

    >>> softmax_derivative(np.array([0.25, 0.75]))
    array([[ 0.1875, -0.1875],
           [-0.1875,  0.1875]])
    """
    return np.asarray(y[..., :, None] * (np.eye(y.shape[-1], dtype=y.dtype) - y[..., None, :]))


def exp_shifted(z: Array) -> tuple[Array, Array, Array]:
    """e^{z − m}, m = max z and its index, both with the last axis kept.

    The shift is exact: z − m is rounded by up to half a unit of the difference, which the
    exponential would magnify by its size; `lost` is that error (Knuth's two-sum).

    >>> exp_shifted(np.array([0.0, -1.0]))[0].round(3)
    array([1.   , 0.368])
    """
    top = z.real.argmax(axis=-1, keepdims=True)
    m = np.take_along_axis(z, top, axis=-1)
    d = z - m
    back = d - z
    lost = (z - (d - back)) - (m + back)
    e = np.exp(d)
    lost *= e
    e += lost
    return e, m, top
