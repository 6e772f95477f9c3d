"""Layers: pure functions of a flat parameter vector θ, each with its derivative right below it.

    y, back = layer(theta, *inputs, rng=None)     # forward; rng: a Generator means training
    dx = back(dy, g)                              # adds ∂L/∂θ into g, returns ∂L/∂x

A layer keeps no state: `back` is a closure over the forward's own names.  It never writes into θ,
its inputs, `dy` or an array it has returned; `back` only adds to `g`.  `d…` always means ∂L/∂….
Here are the document's equations 1 to 5, and what it leaves out: ∂E/∂W = xᵀ δ, ∂E/∂x = δ Wᵀ.
"""

import copy
from collections.abc import Callable
from functools import cached_property, lru_cache, partial
from math import prod
from typing import Any, Self

import numpy as np

from nnrec.nn import activations as act
from nnrec.nn.arguments import Array, Described, real_number, whole_number
from nnrec.nn.initializers import Generator, Initializer, Normal, draw

Shape = tuple[int, ...]
Rng = Generator | None
Back = Callable[[Any, Array], Any]
Result = tuple[Any, Back]
ones = lru_cache(maxsize=4)(np.ones)  # kept from step to step; not to be written into


class Layer(Described):
    """What every layer has: named shapes, first values, and a call, which each class writes.

    >>> class Double(Layer):
    ...     def __call__(self, theta, x, rng=None):
    ...         return 2 * x, lambda dy, g: 2 * dy
    >>> y, back = Double()(np.empty(0), np.ones((1, 2)))
    >>> back(np.ones((1, 2)), np.empty(0))
    array([[2., 2.]])
    """

    takes_ids = False  # True: integer inputs are ids, and stay integers at the Network's border
    initializer: str | Initializer = "zeros"  # of parameters with two or more axes
    data_gradient = True  # False: `back` may return None for ∂L/∂x, which nobody asks for

    def __call__(self, theta: Array, *inputs: Any, **rng: Any) -> Result:
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")

    @property
    def shapes(self) -> dict[str, Shape]:
        """The parameters' shapes by name, in the order in which they stand in θ."""
        return {}

    @cached_property
    def places(self) -> dict[str, tuple[int, int, Shape]]:
        """Each parameter's start and stop in θ, and its shape."""
        places, start = {}, 0
        for name, shape in self.shapes.items():
            places[name] = (start, start + prod(shape), shape)
            start += prod(shape)
        return places

    @cached_property
    def size(self) -> int:
        """The number of parameters."""
        return sum(map(prod, self.shapes.values()))

    def init(self, rng: Generator) -> Array:
        """The layer's first θ, float64, shape (size,): weights by the initializer, biases zero."""
        theta = np.zeros(self.size)
        for part in self.split(theta):
            if part.ndim > 1:
                part[...] = draw(self.initializer, rng, part.shape)
        return theta

    def split(self, theta: Array) -> list[Array]:
        """θ's parts as views in their shapes; of g too, so that `dW += …` adds into g."""
        return [theta[a:b].reshape(shape) for a, b, shape in self.places.values()]

    def rows(self, *inputs: Any) -> dict[str, Array]:
        """The table rows that these inputs touch, by parameter name; none: all of θ is dense."""
        return {}

    def without_data_gradient(self) -> Self:
        """A twin that need not compute ∂L/∂x, as of the data."""
        twin = copy.copy(self)
        twin.data_gradient = False
        return twin


def several(x: Any) -> tuple[Any, ...]:
    """A layer's outputs or gradients as a tuple, of one or of many."""
    return x if isinstance(x, tuple) else (x,)


class Dense(Layer):
    """z = x W + b: x (n, inputs) dense or CSR, W (inputs, outputs), b (outputs,), z (n, outputs).

        z  = x W + b            the document's equation 1, for n rows at once
        dW = xᵀ dz
        db = Σ_rows dz
        dx = dz Wᵀ              None where x is CSR, or with data_gradient=False

    >>> layer = Dense(2, 1)
    >>> z, back = layer(np.array([3.0, 4.0, 5.0]), np.array([[1.0, 10.0]]))
    >>> g = np.zeros(3)
    >>> z, back(np.array([[2.0]]), g), g
    (array([[48.]]), array([[6., 8.]]), array([ 2., 20.,  2.]))
    """

    def __init__(
        self, inputs: int, outputs: int, initializer: Any = "glorot", data_gradient: bool = True
    ):
        self.inputs = whole_number("Dense", "inputs", inputs)
        self.outputs = whole_number("Dense", "outputs", outputs)
        self.initializer, self.data_gradient = initializer, data_gradient

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"W": (self.inputs, self.outputs), "b": (self.outputs,)}

    def __call__(self, theta: Array, x: Any, rng: Rng = None) -> Result:
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"{self!r}: x has shape {x.shape}, expected (n, {self.inputs})")
        if x.dtype.kind in "iub":
            raise TypeError(f"{self!r}: x is {x.dtype}; integers are ids here, pass floats")
        W, b = self.split(theta)
        y = x @ W
        y += b

        def back(dy: Array, g: Array) -> Array | None:
            dW, db = self.split(g)
            dW += x.T @ dy
            db += ones(len(dy), dy.dtype) @ dy
            if not self.data_gradient or not isinstance(x, np.ndarray):
                return None
            return dy @ W.T if self.outputs > 1 else dy * W.T  # BLAS is slow with one column

        return y, back

    def split(self, theta: Array) -> list[Array]:  # as any layer's, in a quarter of the time
        W, b = theta[: -self.outputs], theta[-self.outputs :]
        return [W.reshape(self.inputs, self.outputs), b]


class Sigmoid(Layer):
    """y = σ(x), elementwise;  dx = dy · y (1 − y).  The document's equation 2.

    >>> Sigmoid()(np.empty(0), np.zeros(1))[0]
    array([0.5])
    """

    def __call__(self, theta: Array, x: Array, rng: Rng = None) -> Result:
        y = act.sigmoid(x)
        return y, lambda dy, g: dy * act.sigmoid_derivative(y)


class ReLU(Layer):
    """y = max(0, x), elementwise;  dx = dy where y > 0, else 0.  The document's equation 3.

    >>> ReLU()(np.empty(0), np.array([-1.0, 2.0]))[0] + 0
    array([0., 2.])
    """

    def __call__(self, theta: Array, x: Array, rng: Rng = None) -> Result:
        slope = act.relu_derivative(x)
        return x * slope, lambda dy, g: dy * slope


class Tanh(Layer):
    """y = tanh x, elementwise;  dx = dy · (1 − y²).  The document's equation 4.

    >>> Tanh()(np.empty(0), np.zeros(1))[0]
    array([0.])
    """

    def __call__(self, theta: Array, x: Array, rng: Rng = None) -> Result:
        y = act.tanh(x)
        return y, lambda dy, g: dy * act.tanh_derivative(y)


class Softmax(Layer):
    """y_i = e^{x_i} / Σ_j e^{x_j} along the last axis; dx = y · (dy − Σ_j dy_j y_j).

    The product of `dy` with the symmetric Jacobian diag(y) − y yᵀ, without building it.

    >>> Softmax()(np.empty(0), np.zeros((1, 4)))[0]
    array([[0.25, 0.25, 0.25, 0.25]])
    """

    def __call__(self, theta: Array, x: Array, rng: Rng = None) -> Result:
        y = act.softmax(x)
        return y, lambda dy, g: y * (dy - (dy * y).sum(axis=-1, keepdims=True))


class Dropout(Layer):
    """y = x · m / keep in training, m ~ Bernoulli(keep), keep = 1 − rate; y = x otherwise.

    dx = dy · m / keep under the same mask (inverted dropout, Srivastava et al. 2014, section 10).
    `keep` is rounded to a multiple of 2⁻¹⁶, by which m is scaled too: E[y] = x exactly.

    >>> x = np.ones((2, 3))
    >>> Dropout(0.5)(np.empty(0), x)[0] is x
    True
    >>> Dropout(0.5)(np.empty(0), x, rng=np.random.default_rng(4))[0]
    array([[2., 0., 2.],
           [0., 2., 0.]])
    """

    with_relu = False  # True: does the work of the ReLU before it too, under one mask

    def __init__(self, rate: float):
        self.rate = real_number("Dropout", "rate", rate, below=1)

    def __call__(self, theta: Array, x: Array, rng: Rng = None) -> Result:
        cut = max(1, round((1 - self.rate) * 65536))
        if rng is None or cut == 65536:
            return ReLU()(theta, x) if self.with_relu else (x, lambda dy, g: dy)
        if isinstance(rng.bit_generator, np.random.MT19937):  # its raw draws hold 32 bits only
            words = rng.integers(0, 65536, x.size, dtype=np.uint16)
        else:  # four 16-bit words from each raw draw, at a third of the usual cost
            words = np.asarray(rng.bit_generator.random_raw((x.size + 3) // 4)).view(np.uint16)
        kept = words[: x.size].reshape(x.shape) < cut
        if self.with_relu:
            kept &= x.real > 0
        mask = kept.astype(x.real.dtype)
        mask *= 65536 / cut
        return x * mask, lambda dy, g: dy * mask


class Embedding(Layer):
    """y = E[ids]: integer ids of any shape s, E (count, dim), y (*s, dim); dE[ids] += dy.

    Repeated ids add up.  Ids outside [0, count) are an error.  There is no ∂L/∂ids: None.

    >>> layer = Embedding(3, 2)
    >>> y, back = layer(np.arange(6.0), np.array([2, 0, 2]))
    >>> g = np.zeros(6)
    >>> y.tolist(), back(np.ones((3, 2)), g), g
    ([[4.0, 5.0], [0.0, 1.0], [4.0, 5.0]], None, array([1., 1., 0., 0., 2., 2.]))
    """

    takes_ids = True

    def __init__(self, count: int, dim: int, initializer: str | Initializer = Normal(0.05)):  # noqa: B008
        self.count = whole_number("Embedding", "count", count)
        self.dim = whole_number("Embedding", "dim", dim)
        self.initializer = initializer

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"E": (self.count, self.dim)}

    def __call__(self, theta: Array, ids: Any, rng: Rng = None) -> Result:
        self.check(ids)
        (E,) = self.split(theta)
        y = E.take(ids, axis=0)  # twice as fast as E[ids]

        def back(dy: Array, g: Array) -> None:
            (dE,) = self.split(g)
            add_rows(dE, ids.ravel(), dy.reshape(ids.size, self.dim))

        return y, back

    def check(self, ids: Array) -> None:
        """Raise unless ids are integers that stand in the table."""
        if ids.dtype.kind not in "iu":
            raise TypeError(f"{self!r}: ids are {ids.dtype}, expected integers")
        if ids.size and not 0 <= ids.min() <= ids.max() < self.count:
            wrong = ids[(ids < 0) | (ids >= self.count)].flat[0]
            raise IndexError(f"{self!r}: id {wrong} is outside [0, {self.count})")

    def rows(self, ids: Any) -> dict[str, Array]:
        self.check(ids)
        return {"E": np.unique(ids)}


def add_rows(table: Array, ids: Array, rows: Array) -> None:
    """table[ids] += rows, where repeated ids add up, at the cost of the rows touched.

    One product with a sparse one-hot matrix sums each id's rows, ten times faster than NumPy's
    `add.at`, which is left for exact numbers, since SciPy can't hold them.
    """
    if rows.dtype == object:
        np.add.at(table, ids, rows)
    elif (ids[1:] > ids[:-1]).all():  # no id stands twice
        table[ids] += rows
    elif len(table) > len(ids):
        distinct, places = np.unique(ids, return_inverse=True)
        sums = np.zeros((len(distinct), rows.shape[1]), rows.dtype)
        add_rows(sums, places, rows)
        table[distinct] += sums
    else:
        from scipy.sparse import csc_array

        n, each = len(ids), ones(len(ids), rows.dtype)
        table += csc_array((each, ids, np.arange(n + 1)), shape=(len(table), n)) @ rows


class LayerNorm(Layer):
    """y = gain · x̂ + b, x̂ = (x − mean x) / √(var x + ε) over the last axis (Ba et al. 2016).

        dgain = Σ_rows dy x̂,   db = Σ_rows dy,   dx̂ = dy · gain
        dx = (dx̂ − mean dx̂ − x̂ · mean(dx̂ x̂)) / √(var x + ε)

    x, y (..., dim); gain and b (dim,), one and zero at first; var is the mean of squares.

    >>> layer = LayerNorm(2)
    >>> layer(layer.init(np.random.default_rng(0)), np.array([[1.0, 3.0]]))[0].round(3)
    array([[-1.,  1.]])
    """

    def __init__(self, dim: int, epsilon: float = 1e-5):
        self.dim = whole_number("LayerNorm", "dim", dim)
        self.epsilon = real_number("LayerNorm", "epsilon", epsilon)

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"gain": (self.dim,), "b": (self.dim,)}

    def init(self, rng: Generator) -> Array:
        return np.repeat([1.0, 0.0], self.dim)

    def __call__(self, theta: Array, x: Array, rng: Rng = None) -> Result:
        if x.ndim < 1 or x.shape[-1] != self.dim:
            raise ValueError(f"{self!r}: x has shape {x.shape}, expected (..., {self.dim})")
        gain, b = self.split(theta)
        mean = partial(np.mean, axis=-1, keepdims=True)
        centred = x - mean(x)
        spread = np.sqrt(mean(centred * centred) + self.epsilon)
        normed = centred / spread
        y = normed * gain + b

        def back(dy: Array, g: Array) -> Array:
            dgain, db = self.split(g)
            dgain += (dy * normed).reshape(-1, self.dim).sum(axis=0)
            db += dy.reshape(-1, self.dim).sum(axis=0)
            dnormed = dy * gain
            d = dnormed - mean(dnormed) - normed * mean(dnormed * normed)
            return np.asarray(d / spread)

        return y, back
