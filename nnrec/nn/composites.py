"""Composites: layers made of named parts, each of which gets its own slice of θ and of g.

A composite reaches its children only through `self.parts`, inside `__call__`, and asks nothing
about their class; so a trace, a timer or a search for a NaN can wrap them from outside.  Sharing
weights is calling the same part twice.  The arithmetic between parts is a part too: `Add`,
`Multiply`, `Concatenate`, `Dot`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from nnrec.nn.layers import Array, Back, Generator, Layer


class Composite(Layer):
    """A layer of named parts: write `__call__`, in which `self.bind(theta, rng)` gives them.

    A bound part takes its inputs alone, and its back takes the composite's whole `g`:

    >>> from nnrec.nn import Dense, Dot
    >>> class Siamese(Composite):
    ...     def __init__(self, inputs, dim):
    ...         super().__init__(tower=Dense(inputs, dim), dot=Dot())
    ...     def __call__(self, theta, a, b, rng=None):
    ...         on = self.bind(theta, rng)
    ...         p, back_p = on.tower(a)
    ...         q, back_q = on.tower(b)             # the same weights, shared
    ...         y, back_y = on.dot(p, q)
    ...         def back(dy, g):
    ...             dp, dq = back_y(dy, g)
    ...             return back_p(dp, g), back_q(dq, g)
    ...         return y, back
    >>> Siamese(3, 2).shapes
    {'tower.W': (3, 2), 'tower.b': (2,)}
    """

    def __init__(self, **parts: Layer):
        self.parts = parts
        seen: dict[int, str] = {}
        for path, part in walk(self):
            if not isinstance(part, Layer):
                raise TypeError(f"{type(self).__name__}: part {path} is {part!r}, not a Layer")
            if part.size and not isinstance(part, Composite):
                if id(part) in seen:
                    raise ValueError(
                        f"{type(self).__name__}: {part!r} stands twice, as {seen[id(part)]} and "
                        f"{path}: two sets of weights. To share it, call it twice"
                    )
                seen[id(part)] = path

    @property
    def takes_ids(self) -> bool:  # type: ignore[override]
        return any(part.takes_ids for part in self.parts.values())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            f"{name}.{inner}": shape
            for name, part in self.parts.items()
            for inner, shape in part.shapes.items()
        }

    def init(self, rng: Generator) -> Array:
        return np.concatenate([np.empty(0), *(part.init(rng) for part in self.parts.values())])

    def bind(self, theta: Array, rng: Generator | None = None) -> Any:
        """The parts as attributes, each bound to its slice: `y, back = bound.name(*inputs)`."""
        bound, start = {}, 0
        for name, part in self.parts.items():
            stop = start + part.size
            bound[name] = _bind(part, theta, start, stop, rng)
            start = stop
        return SimpleNamespace(**bound)

    def part_rows(self, name: str, *inputs: Any) -> dict[str, Array]:
        """The rows that `inputs` touch in one part, under the composite's parameter names."""
        return {f"{name}.{k}": rows for k, rows in self.parts[name].rows(*inputs).items()}

    def with_parts(self, parts: Mapping[str, Layer]) -> Composite:
        """A twin with other parts of the same shapes, as a trace that wraps them needs."""
        twin = copy.copy(self)
        twin.parts = dict(parts)
        return twin

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={part!r}" for name, part in self.parts.items())
        return f"{type(self).__name__}({parts})"


def _bind(
    part: Layer, theta: Array, start: int, stop: int, rng: Generator | None
) -> Callable[..., tuple[Any, Back]]:
    def bound(*inputs: Any) -> tuple[Any, Back]:
        y, back = part(theta[start:stop], *inputs, rng=rng)
        return y, lambda dy, g: back(dy, g[start:stop])

    return bound


def walk(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Every part below a layer with its path, parents before children.

    >>> from nnrec.nn import Dense, ReLU
    >>> [path for path, _ in walk(Sequential([Dense(2, 3), ReLU()]))]
    ['dense_1', 'relu_1']
    """
    for name, part in getattr(layer, "parts", {}).items():
        yield path + name, part
        yield from walk(part, f"{path}{name}.")


class Sequential(Composite):
    """Layers in a chain: each takes the previous one's output, the first takes the inputs.

    A part's name is its class in snake case and its count: `dense_1`, `relu_1`, `dense_2`.  A
    tuple, from a layer with several outputs, feeds a layer with several inputs.

    >>> from nnrec.nn import Dense, ReLU
    >>> net = Sequential([Dense(2, 3), ReLU(), Dense(3, 1)])
    >>> list(net.shapes)
    ['dense_1.W', 'dense_1.b', 'dense_2.W', 'dense_2.b']
    >>> y, back = net(net.init(np.random.default_rng(0)), np.ones((5, 2)))
    >>> y.shape, back(y, np.zeros(net.size)).shape
    ((5, 1), (5, 2))
    """

    def __init__(self, layers: Sequence[Layer]):
        if isinstance(layers, Layer) or not layers:
            raise ValueError(f"Sequential: layers={layers!r}, expected a list of layers")
        counts: dict[str, int] = {}
        parts = {}
        for layer in layers:
            kind = snake_case(type(layer).__name__)
            counts[kind] = counts.get(kind, 0) + 1
            parts[f"{kind}_{counts[kind]}"] = layer
        super().__init__(**parts)

    @property
    def layers(self) -> list[Layer]:
        """The parts, in order."""
        return list(self.parts.values())

    @property
    def takes_ids(self) -> bool:  # type: ignore[override]
        return self.layers[0].takes_ids

    def __call__(
        self, theta: Array, *inputs: Any, rng: Generator | None = None
    ) -> tuple[Any, Back]:
        y: Any = inputs
        backs = []
        for part in vars(self.bind(theta, rng)).values():
            y, back_part = part(*y) if isinstance(y, tuple) else part(y)
            backs.append(back_part)

        def back(dy: Any, g: Array) -> Any:
            for back_part in reversed(backs):
                dy = back_part(dy, g)
            return dy

        return y, back

    def rows(self, *inputs: Any) -> dict[str, Array]:
        return self.part_rows(next(iter(self.parts)), *inputs)

    def without_data_gradient(self) -> Composite:
        first, *_ = self.parts
        return self.with_parts({**self.parts, first: self.parts[first].without_data_gradient()})

    def __repr__(self) -> str:
        return f"Sequential({self.layers!r})"


def snake_case(name: str) -> str:
    """A class name as a part's name.

    >>> [snake_case(name) for name in ("Dense", "ReLU", "LayerNorm")]
    ['dense', 'relu', 'layer_norm']
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", name).lower()


class Concatenate(Layer):
    """y = [x₁ | x₂ | …] along the last axis; dy is cut at the same places.

    >>> y, back = Concatenate()(np.empty(0), np.ones((1, 2)), np.zeros((1, 1)))
    >>> y, back(y, np.empty(0))
    (array([[1., 1., 0.]]), (array([[1., 1.]]), array([[0.]])))
    """

    def __call__(self, theta: Array, *xs: Any, rng: Generator | None = None) -> tuple[Array, Back]:
        if not xs or len({x.shape[:-1] for x in xs}) > 1 or not xs[0].ndim:
            raise ValueError(f"{self!r}: x has shapes {[x.shape for x in xs]}")
        y = np.concatenate(xs, axis=-1)
        cuts = np.cumsum([x.shape[-1] for x in xs])[:-1]

        def back(dy: Array, g: Array) -> tuple[Array, ...]:
            return tuple(np.split(dy, cuts, axis=-1))

        return y, back


class Add(Layer):
    """y = x₁ + x₂ + …, equal shapes; dx_i = dy for each.

    >>> Add()(np.empty(0), np.ones(2), np.ones(2), np.ones(2))[0]
    array([3., 3.])
    """

    def __call__(self, theta: Array, *xs: Any, rng: Generator | None = None) -> tuple[Array, Back]:
        equal_shapes(self, xs)
        y = xs[0]
        for x in xs[1:]:
            y = y + x
        return y, lambda dy, g: (dy,) * len(xs)


class Multiply(Layer):
    """y = x₁ x₂ …, elementwise, equal shapes; dx_i = dy · Π_{j≠i} x_j.

    >>> y, back = Multiply()(np.empty(0), np.array([2.0]), np.array([3.0]), np.array([0.0]))
    >>> back(np.ones(1), np.empty(0))
    (array([0.]), array([0.]), array([6.]))
    """

    def __call__(self, theta: Array, *xs: Any, rng: Generator | None = None) -> tuple[Array, Back]:
        equal_shapes(self, xs)
        y = product(xs)

        def back(dy: Array, g: Array) -> tuple[Array, ...]:
            return tuple(dy * product(xs[:i] + xs[i + 1 :]) for i in range(len(xs)))

        return y, back


class Dot(Layer):
    """y = Σ_k a_k b_k over the last axis, kept: a, b (..., d), y (..., 1); da = dy b, db = dy a.

    >>> Dot()(np.empty(0), np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))[0]
    array([[11.]])
    """

    def __call__(
        self, theta: Array, a: Any, b: Any = None, rng: Generator | None = None
    ) -> tuple[Array, Back]:
        equal_shapes(self, (a, b))
        y = (a * b).sum(axis=-1, keepdims=True)
        return y, lambda dy, g: (dy * b, dy * a)


def product(xs: Sequence[Any]) -> Any:
    """The product of arrays; of none: 1.

    >>> product([2, 3])
    6
    """
    return prod(xs[1:], start=xs[0]) if xs else 1


def equal_shapes(layer: Layer, xs: Sequence[Any]) -> None:
    """Raise unless there are two inputs or more, of one shape: arithmetic never broadcasts here.

    >>> equal_shapes(Add(), [np.ones(2), np.ones(3)])
    Traceback (most recent call last):
    ValueError: Add(): x has shapes [(2,), (3,)], expected two or more equal ones
    """
    shapes = [np.shape(x) for x in xs]
    if len(shapes) < 2 or len(set(shapes)) > 1:
        raise ValueError(f"{layer!r}: x has shapes {shapes}, expected two or more equal ones")
