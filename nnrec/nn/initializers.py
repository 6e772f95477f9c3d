"""First values of the weights: callables `(rng, shape) -> float64 array`, or their names.

`shape` is (inputs, outputs).  The variance keeps the size of the signal through the layer: Glorot's
for tanh and sigmoid, He's for ReLU, LeCun's for the linear unit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnrec.nn.arguments import Array, Described, real_number

Generator = np.random.Generator
Initializer = Callable[[Generator, tuple[int, ...]], Array]


def glorot(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Uniform on ±√(6 / (inputs + outputs)) (Glorot & Bengio 2010, equation 16)."""
    limit = (6 / (shape[0] + shape[-1])) ** 0.5
    return rng.uniform(-limit, limit, shape)


def he(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Normal with variance 2 / inputs (He et al. 2015, equation 10)."""
    return rng.normal(0, (2 / shape[0]) ** 0.5, shape)


def lecun(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Normal with variance 1 / inputs (LeCun et al. 1998, equation 16)."""
    return rng.normal(0, (1 / shape[0]) ** 0.5, shape)


def zeros(rng: Generator, shape: tuple[int, ...]) -> Array:
    """All zero.  Hidden weights that start so stay alike: each unit gets the same gradient."""
    return np.zeros(shape)


class Normal(Described):
    """Normal with mean 0 and standard deviation `std`, for tables of factors.

    >>> Normal(0.1)(np.random.default_rng(0), (2, 1)).round(3)
    array([[ 0.013],
           [-0.013]])
    """

    def __init__(self, std: float):
        self.std = real_number("Normal", "std", std)

    def __call__(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        return rng.normal(0, self.std, shape)


BY_NAME: dict[str, Initializer] = {f.__name__: f for f in (glorot, he, lecun, zeros)}


def draw(init: str | Initializer, rng: Generator, shape: tuple[int, ...]) -> Array:
    """Draw one parameter by an initialiser or its name: "glorot", "he", "lecun", "zeros".

    >>> draw("zeros", np.random.default_rng(0), (1, 2))
    array([[0., 0.]])
    """
    if isinstance(init, str) and init not in BY_NAME:
        raise ValueError(f"initializer {init!r}: expected {', '.join(BY_NAME)}, or a callable")
    values = np.asarray((BY_NAME[init] if isinstance(init, str) else init)(rng, shape), float)
    if values.shape != shape:
        raise ValueError(f"initializer {init!r} drew shape {values.shape}, expected {shape}")
    return values
