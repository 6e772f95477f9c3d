"""Augmentation: batch sources that vary the batches of another, the document's §9 on overfitting.

A batch source is a callable `rng -> iterable of (x, y[, weight])`, as `Network.fit` takes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Source = Callable[[np.random.Generator], Iterable[Any]]


@dataclass
class GaussianNoise:
    """Adds N(0, std²) to the real inputs of each batch, an array or a tuple of them; ids stay.

    >>> source = GaussianNoise(lambda rng: [(np.zeros((1, 2)), np.ones(1))], std=0.1)
    >>> [(x, y)] = source(np.random.default_rng(0))
    >>> x.shape, bool((x != 0).all()), y
    ((1, 2), True, array([1.]))
    """

    source: Source
    std: float

    def __post_init__(self) -> None:
        if not self.std >= 0:
            raise ValueError(f"GaussianNoise: std={self.std!r}, expected a number ≥ 0")

    def __call__(self, rng: np.random.Generator) -> Iterator[Any]:
        inner, noise = rng.spawn(2)

        def noisy(x: Array) -> Array:
            if x.dtype.kind in "iu":
                return x
            return np.asarray(x + np.asarray(noise.normal(0, self.std, x.shape), x.dtype))

        for x, *rest in self.source(inner):
            yield (tuple(map(noisy, x)) if isinstance(x, tuple) else noisy(x), *rest)


@dataclass
class Mixup:
    """Mixes each row with another: λ (x, y) + (1 − λ) (x′, y′), one λ ~ Beta(α, α) a batch.

    Zhang et al. 2018, equation 1.  Real inputs and targets only: class labels as one-hot rows.

    >>> source = Mixup(lambda rng: [(np.eye(2), np.array([[0.0], [1.0]]))], alpha=0.4)
    >>> [(x, y)] = source(np.random.default_rng(0))
    >>> bool(np.allclose(x.sum(axis=1), 1)), bool(np.allclose(y[:, 0], x[:, 1]))
    (True, True)
    """

    source: Source
    alpha: float = 0.2

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"Mixup: alpha={self.alpha!r}, expected a number > 0")

    def __call__(self, rng: np.random.Generator) -> Iterator[Any]:
        inner, mixing = rng.spawn(2)
        for x, *rest in self.source(inner):
            share = float(mixing.beta(self.alpha, self.alpha))
            order = mixing.permutation(len(rest[0]))

            def mixed(a: Any, share: float = share, order: Array = order) -> Any:
                if a.dtype.kind in "iub":
                    raise TypeError(f"Mixup: can't mix {a.dtype}; labels as one-hot rows of floats")
                return a * share + a[order] * (1 - share)

            yield (tuple(map(mixed, x)) if isinstance(x, tuple) else mixed(x), *map(mixed, rest))
