"""First values of the weights: callables `(rng, shape) -> float64 array`, or their names.

`shape` is (inputs, outputs); the variance keeps the size of the signal through the layer.
"""

from collections.abc import Callable

import numpy as np

from nnrec.nn.arguments import Array, Described, real_number

Generator = np.random.Generator
Initializer = Callable[[Generator, tuple[int, ...]], Array]

BY_NAME: dict[str, Initializer] = {
    # for tanh and sigmoid: variance 2 / (inputs + outputs) (Glorot & Bengio 2010, equation 16)
    "glorot": lambda rng, s: rng.uniform(-1, 1, s) * (6 / (s[0] + s[-1])) ** 0.5,
    # for ReLU: variance 2 / inputs (He et al. 2015, equation 10)
    "he": lambda rng, s: rng.normal(0, (2 / s[0]) ** 0.5, s),
    # for the linear unit: variance 1 / inputs (LeCun et al. 1998, equation 16)
    "lecun": lambda rng, s: rng.normal(0, (1 / s[0]) ** 0.5, s),
    # hidden units that start alike stay alike: for output layers only
    "zeros": lambda rng, s: np.zeros(s),
}


class Normal(Described):
    """Normal with mean 0 and standard deviation `std`, for tables of factors.

    >>> Normal(0.1)(np.random.default_rng(0), (1, 2)).round(3)
    array([[ 0.013, -0.013]])
    """

    def __init__(self, std: float):
        self.std = real_number("Normal", "std", std)

    def __call__(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        return rng.normal(0, self.std, shape)


def draw(init: str | Initializer, rng: Generator, shape: tuple[int, ...]) -> Array:
    """The first values of one parameter, by an initialiser or its name."""
    function = BY_NAME.get(init) if isinstance(init, str) else init
    if function is None:
        raise ValueError(f"initializer {init!r}: expected {', '.join(BY_NAME)}, or a callable")
    values = np.asarray(function(rng, shape))
    if values.shape != shape:
        raise ValueError(f"initializer {init!r} drew shape {values.shape}, expected {shape}")
    return values
