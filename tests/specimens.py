"""The layers that the contract is tested on: a specimen of each, with inputs, and its passes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from nnrec import (
    Add,
    Concatenate,
    Dense,
    Dot,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    Multiply,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from nnrec.nn.layers import several
from nnrec.teach.specimens import NeuMF, Siamese

Draw = Callable[[np.random.Generator, int], object]


class Fork(Layer):
    """(2x, 3x): a layer with several outputs."""

    def __call__(self, theta, x, rng=None):
        return (2 * x, 3 * x), lambda dy, g: 2 * dy[0] + 3 * dy[1]


def real(*sizes: int) -> Draw:
    """Inputs of shapes (n, size); an entry is exactly 0, where ReLU has its kink."""

    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
        xs = tuple(rng.normal(size=(n, size)) for size in sizes)
        xs[0][:1, 1] = 0
        return xs

    return draw


def csr(size: int) -> Draw:
    return lambda rng, n: (sp.random_array((n, size), density=0.5, format="csr", rng=rng),)


def ids(*counts: int, shape: tuple[int, ...] = ()) -> Draw:
    return lambda rng, n: tuple(rng.integers(0, count, (n, *shape)) for count in counts)


EXACT = "exact"  # no transcendentals, no roots: the check in fractions applies

SPECIMENS: dict[str, tuple[Layer, Draw, str]] = {
    "Dense": (Dense(3, 5), real(3), EXACT),
    "Dense on CSR": (Dense(7, 5), csr(7), ""),
    "Dense without ∂L/∂x": (Dense(3, 2, data_gradient=False), real(3), EXACT),
    "Sigmoid": (Sigmoid(), real(5), ""),
    "ReLU": (ReLU(), real(5), EXACT),
    "Tanh": (Tanh(), real(5), ""),
    "Softmax": (Softmax(), real(5), ""),
    "Dropout": (Dropout(0.3), real(5), ""),
    "Dropout of nothing": (Dropout(0), real(5), EXACT),
    "Embedding": (Embedding(7, 3), ids(7), EXACT),
    "Embedding of sets": (Embedding(5, 3), ids(5, shape=(2, 7)), EXACT),
    "LayerNorm": (LayerNorm(5), real(5), ""),
    "Add": (Add(), real(3, 3, 3), EXACT),
    "Multiply": (Multiply(), real(3, 3, 3), EXACT),
    "Concatenate": (Concatenate(), real(2, 5, 3), EXACT),
    "Dot": (Dot(), real(3, 3), EXACT),
    "Sequential": (Sequential([Dense(3, 5), ReLU(), Dense(5, 2)]), real(3), EXACT),
    "deep": (
        Sequential(
            [Dense(3, 7), LayerNorm(7), Tanh(), Dropout(0.4), Dense(7, 5), Sigmoid(), Softmax()]
        ),
        real(3),
        "",
    ),
    "Sequential of tuples": (Sequential([Concatenate(), Fork(), Multiply()]), real(2, 3), EXACT),
    "several outputs": (Sequential([Dense(3, 2), Fork()]), real(3), EXACT),
    "Siamese": (Siamese(Sequential([Dense(3, 5), ReLU(), Dense(5, 2)])), real(3, 3), EXACT),
    "NeuMF": (NeuMF(7, 5, 3), ids(7, 5), EXACT),
}


def cast(x, dtype):
    return x.astype(dtype) if x.dtype.kind in "fc" else x


def locked(x):
    """The same array, which nobody can write into; of CSR, its parts."""
    for array in (x.data, x.indices, x.indptr) if sp.issparse(x) else (x,):
        array.flags.writeable = False
    return x


class Scene:
    """One specimen with θ, inputs and dy drawn from a seed, and its passes."""

    def __init__(self, name: str, seed: int = 0, n: int = 11, dtype: str = "float64"):
        self.layer, draw, _ = SPECIMENS[name]
        self.seed = seed
        rng = np.random.default_rng(seed)
        theta = self.layer.init(rng)
        for bias, (start, stop, _) in self.layer.places.items():
            if bias.endswith("b") and seed % 2:  # every other one starts with zero biases
                theta[start:stop] = rng.normal(size=stop - start)
        self.theta = locked(theta.astype(dtype))
        self.inputs = tuple(locked(cast(x, dtype)) for x in draw(rng, n))
        y = several(self.forward()[0])
        dys = tuple(locked(rng.normal(size=part.shape).astype(dtype)) for part in y)
        self.dy = dys if len(dys) > 1 else dys[0]

    def forward(self, theta=None, inputs=None):
        theta = self.theta if theta is None else theta
        inputs = self.inputs if inputs is None else inputs
        return self.layer(theta, *inputs, rng=np.random.default_rng(self.seed))

    def gradients(self, back=None, dy=None):
        """(dx for each input or None, g), from g = 0."""
        back = back or self.forward()[1]
        g = np.zeros_like(self.theta)
        dx = back(self.dy if dy is None else dy, g)
        return several(dx), g


def assert_close(a, b, tolerance: float = 1e-13) -> None:
    if a is None or b is None:
        assert a is b
        return
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def assert_same(a, b) -> None:
    """Tuples of arrays and None, bit for bit."""
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert (x is None) == (y is None)
        if x is not None:
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


def parts_of(layer: Layer) -> list[Layer]:
    below = getattr(layer, "parts", {}).values()
    return [layer, *(deep for part in below for deep in parts_of(part))]
