"""Composites: layers made of named parts, each of which gets its own slice of θ and of g.

A composite reaches its children only through `self.parts`, inside `__call__`, and asks nothing
about their class; so a trace, a timer or a search for a NaN can wrap them from outside.  Sharing
weights is calling a part twice; arithmetic is a part too: `Add`, `Multiply`, `Concatenate`, `Dot`.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from types import SimpleNamespace
from typing import Any, Self

import numpy as np

from nnrec.nn.layers import Array, Dropout, Generator, Layer, ReLU, Result, Rng, Shape, several


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
        self.parts, name = parts, type(self).__name__
        paths: dict[int, str] = {}
        for path, part in walk(self):
            if not isinstance(part, Layer):
                raise TypeError(f"{name}: part {path} is {part!r}, expected a Layer")
            if part.size and not isinstance(part, Composite):
                first = paths.setdefault(id(part), path)
                if first != path:
                    twice = f"{part!r} stands twice, as {first} and {path}: two sets of weights"
                    raise ValueError(f"{name}: {twice}. To share it, call it twice")
        self.takes_ids = any(part.takes_ids for part in parts.values())

    @property
    def shapes(self) -> dict[str, Shape]:
        parts = self.parts.items()
        return {f"{name}.{k}": shape for name, part in parts for k, shape in part.shapes.items()}

    def init(self, rng: Generator) -> Array:
        return np.concatenate([np.empty(0), *(part.init(rng) for part in self.parts.values())])

    def bind(self, theta: Array, rng: Rng = None) -> Any:
        """The parts as attributes, each bound to its slice: `y, back = bound.name(*inputs)`."""
        bound, start = SimpleNamespace(), 0
        for name, part in self.parts.items():
            setattr(bound, name, bind(part, theta, slice(start, start := start + part.size), rng))
        return bound

    def part_rows(self, name: str, *inputs: Any) -> dict[str, Array]:
        """The rows that `inputs` touch in one part, under the composite's parameter names.

        Of a part that is called twice, name the rows of both calls: pass it their ids joined.
        """
        return {f"{name}.{k}": rows for k, rows in self.parts[name].rows(*inputs).items()}

    def with_parts(self, parts: Mapping[str, Layer]) -> Self:
        """A twin with other parts of the same shapes, as a trace that wraps them needs."""
        twin = copy.copy(self)
        twin.parts = dict(parts)
        return twin

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={part!r}" for name, part in self.parts.items())
        return f"{type(self).__name__}({parts})"


def bind(part: Layer, theta: Array, at: slice, rng: Rng) -> Callable[..., Result]:
    """A part on its slice of θ; its back takes the whole g, and adds into the same slice of it."""

    def bound(*inputs: Any) -> Result:
        y, back = part(theta[at], *inputs, rng=rng)
        return y, lambda dy, g: back(dy, g[at])

    return bound


def walk(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Every part below a layer with its path, parents before children."""
    for name, part in getattr(layer, "parts", {}).items():
        yield path + name, part
        yield from walk(part, f"{path}{name}.")


def rewired(layer: Layer, change: Callable[[str, Layer], Layer], path: str = "") -> Layer:
    """A twin in which change(path, part) stands for every part that has no parts of its own."""
    if not isinstance(layer, Composite):
        return change(path, layer)
    under = f"{path}." if path else ""
    return layer.with_parts({k: rewired(p, change, under + k) for k, p in layer.parts.items()})


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
        if not isinstance(layers, Sequence) or not layers:
            raise ValueError(f"Sequential: layers={layers!r}, expected a list of layers")
        words = r"(?<=[a-z])(?=[A-Z][a-z])"  # LayerNorm: layer_norm; ReLU: relu
        kinds = [re.sub(words, "_", type(layer).__name__).lower() for layer in layers]
        names = [f"{kind}_{kinds[: i + 1].count(kind)}" for i, kind in enumerate(kinds)]
        super().__init__(**dict(zip(names, layers)))
        self.takes_ids = layers[0].takes_ids

    @property
    def layers(self) -> list[Layer]:
        """The parts, in order."""
        return list(self.parts.values())

    def __call__(self, theta: Array, *inputs: Any, rng: Rng = None) -> Result:
        y: Any = inputs
        backs, start = [], 0
        for part in self.parts.values():
            at = slice(start, start := start + part.size)
            y, back_part = part(theta[at], *several(y), rng=rng)
            backs.append((back_part, at))

        def back(dy: Any, g: Array) -> Any:
            for back_part, at in reversed(backs):
                dy = back_part(dy, g[at])
                dy = dy[0] if isinstance(dy, tuple) and len(dy) == 1 else dy
            return dy

        return y, back

    def rows(self, *inputs: Any) -> dict[str, Array]:
        return self.part_rows(next(iter(self.parts)), *inputs)

    def without_data_gradient(self) -> Self:
        """The twin to train, to the same bits: also takes ReLU and Dropout under one mask."""
        if type(self).__call__ is not Sequential.__call__:
            return self  # a call of its own may need the first part's gradient
        name, first = next(iter(self.parts.items()))
        parts = self.parts | {name: first.without_data_gradient()}
        for (before, layer), (name, after) in pairwise(self.parts.items()):
            if (type(layer), type(after)) == (ReLU, Dropout):
                del parts[before]
                twin: Any = copy.copy(after)
                twin.with_relu = True
                parts[name] = twin
        return self.with_parts(parts)

    def __repr__(self) -> str:
        return f"Sequential({self.layers!r})"


class Concatenate(Layer):
    """y = [x₁ | x₂ | …] along the last axis; dy is cut at the same places.

    >>> y, back = Concatenate()(np.empty(0), np.ones((1, 2)), np.zeros((1, 1)))
    >>> y, back(y, np.empty(0))
    (array([[1., 1., 0.]]), (array([[1., 1.]]), array([[0.]])))
    """

    def __call__(self, theta: Array, *xs: Any, rng: Rng = None) -> Result:
        if not xs or len({x.shape[:-1] for x in xs}) > 1 or not xs[0].ndim:
            raise ValueError(f"{self!r}: x has shapes {[x.shape for x in xs]}")
        cuts = np.cumsum([x.shape[-1] for x in xs])[:-1]
        y = np.concatenate(xs, axis=-1)
        return y, lambda dy, g: tuple(np.split(dy, cuts, axis=-1))


class Add(Layer):
    """y = x₁ + x₂ + …, equal shapes; dx_i = dy for each.

    >>> Add()(np.empty(0), np.ones(2), np.ones(2), np.ones(2))[0]
    array([3., 3.])
    """

    def __call__(self, theta: Array, *xs: Any, rng: Rng = None) -> Result:
        equal_shapes(self, xs)
        return sum(xs[1:], start=xs[0]), lambda dy, g: (dy,) * len(xs)


class Multiply(Layer):
    """y = x₁ x₂ …, elementwise, equal shapes; dx_i = dy · Π_{j≠i} x_j.

    >>> y, back = Multiply()(np.empty(0), np.array([2.0]), np.array([3.0]), np.array([0.0]))
    >>> back(np.ones(1), np.empty(0))
    (array([0.]), array([0.]), array([6.]))
    """

    def __call__(self, theta: Array, *xs: Any, rng: Rng = None) -> Result:
        equal_shapes(self, xs)

        def back(dy: Array, g: Array) -> tuple[Array, ...]:
            return tuple(prod(xs[:i] + xs[i + 1 :], start=dy) for i in range(len(xs)))

        return prod(xs[1:], start=xs[0]), back


class Dot(Layer):
    """y = Σ_k a_k b_k over the last axis, kept: a, b (..., d), y (..., 1); da = dy b, db = dy a.

    >>> Dot()(np.empty(0), np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))[0]
    array([[11.]])
    """

    def __call__(self, theta: Array, a: Any, b: Any = None, rng: Rng = None) -> Result:
        equal_shapes(self, (a, b))
        y = (a * b).sum(axis=-1, keepdims=True)
        return y, lambda dy, g: (dy * b, dy * a)


def equal_shapes(layer: Layer, xs: Sequence[Any]) -> None:
    """Raise unless there are two inputs or more, of one shape: nothing is broadcast here."""
    shapes = [np.shape(x) for x in xs]
    if len(shapes) < 2 or len(set(shapes)) > 1:
        raise ValueError(f"{layer!r}: x has shapes {shapes}, expected two or more equal ones")
