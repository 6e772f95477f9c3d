"""Network: θ, a layer and a loss; what users touch most.

The border of the mathematics.  Here, and only here, arrays are cast (real inputs, targets and
weights to the network's dtype; integer ids and class labels stay), seeds become Generators, and
input is checked before any work.  Training itself is in `training`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from nnrec.nn.composites import Sequential, walk
from nnrec.nn.layers import Array, Dense, Generator, Layer
from nnrec.nn.losses import Loss, Penalty
from nnrec.nn.optimizers import Optimizer, Segment
from nnrec.nn.training import fit

Metric = Callable[[Any, Any], float]


class Network:
    """A layer and a loss with their parameters: loss_and_grad, fit, predict, evaluate.

    layer: a Layer, or a list, which becomes a Sequential.  dtype: float32 or float64.  frozen:
    patterns of parameter paths that training leaves still, `["user.*"]`.  penalty: L1 or L2 (or
    several) on parameters with two or more axes.  rng: a seed or a Generator.  Several inputs are
    a tuple `x = (a, b)`.

    >>> from nnrec.nn import Dense, MSE, SGD, Tanh
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> net = Network([Dense(2, 4), Tanh(), Dense(4, 1)], MSE(), rng=0, dtype="float64")
    >>> history = net.fit(x, [0, 1, 1, 0], optimizer=SGD(0.5), epochs=1500, verbose=0)
    >>> net.predict(x).round(2).ravel() + 0
    array([0., 1., 1., 0.])
    """

    learned = ("theta", "entropy", "epochs")

    def __init__(
        self,
        layer: Layer | Sequence[Layer],
        loss: Loss,
        rng: int | Generator | None = None,
        dtype: Any = "float32",
        frozen: Sequence[str] = (),
        penalty: Penalty | Sequence[Penalty] = (),
    ):
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"Network: dtype={dtype!r}, expected float32 or float64")
        self.layer = layer if isinstance(layer, Layer) else Sequential(layer)
        self.loss = loss
        self.dtype = np.dtype(dtype).name
        self.frozen = [frozen] if isinstance(frozen, str) else list(frozen)
        self.penalty = [penalty] if isinstance(penalty, Penalty) else list(penalty)
        for pattern in self.frozen:
            if not any(fnmatchcase(name, pattern) for name in self.places):
                raise ValueError(f"Network: frozen={pattern!r} fits none of {list(self.places)}")
        generator = np.random.default_rng(rng)
        self.rng = rng if isinstance(rng, int) else None
        self.entropy = int(generator.integers(2**63))  # of the streams of shuffle, dropout, …
        self.epochs = 0
        self.theta = self.layer.init(generator).astype(self.dtype)

    @cached_property
    def places(self) -> dict[str, tuple[int, int, tuple[int, ...]]]:
        """Each parameter's path with its start and stop in θ, and its shape."""
        places, start = {}, 0
        for name, shape in self.layer.shapes.items():
            places[name] = (start, start + prod(shape), shape)
            start += prod(shape)
        return places

    def is_frozen(self, name: str) -> bool:
        """Whether training leaves the parameter of this path still."""
        return any(fnmatchcase(name, pattern) for pattern in self.frozen)

    def parameters(self, theta: Array | None = None) -> dict[str, Array]:
        """Views of θ (or of another vector of its size) by path; writing into one changes it."""
        theta = self.theta if theta is None else theta
        return {name: theta[a:b].reshape(shape) for name, (a, b, shape) in self.places.items()}

    def loss_and_grad(
        self,
        x: Any,
        y: Any = None,
        weight: Any = None,
        theta: Array | None = None,
        rng: int | Generator | None = None,
        g: Array | None = None,
    ) -> tuple[Any, Array]:
        """The objective (loss and penalties) and its gradient, which is added into g if given.

        rng given: training, with its draws; theta: another point; the network stays as it is.
        """
        value, g, _ = self.backprop(self.batch(x, y, weight, theta), theta, rng, g)
        return value, g

    def objective(
        self,
        x: Any,
        y: Any = None,
        weight: Any = None,
        theta: Array | None = None,
        rng: int | Generator | None = None,
    ) -> Any:
        """The value that `loss_and_grad` gives, by the forward pass alone."""
        xs, y, weight = self.batch(x, y, weight, theta)
        theta = self.theta if theta is None else theta
        pred, _ = self.layer(theta, *xs, rng=None if rng is None else np.random.default_rng(rng))
        return self.loss(pred, y, weight)[0] + self.penalties(theta, self.layer.rows(*xs))

    def backprop(
        self,
        batch: tuple[tuple[Any, ...], Any, Any],
        theta: Array | None = None,
        rng: int | Generator | None = None,
        g: Array | None = None,
        layer: Layer | None = None,
        rows: Mapping[str, Array] | None = None,
    ) -> tuple[Any, Array, Any]:
        """Forward, loss, backward on a batch that has passed the border: value, g, ∂L/∂x."""
        xs, y, weight = batch
        theta = self.theta if theta is None else theta
        layer = self.layer if layer is None else layer
        pred, back = layer(theta, *xs, rng=None if rng is None else np.random.default_rng(rng))
        value, dpred = self.loss(pred, y, weight)
        g = np.zeros_like(theta) if g is None else g
        dx = back(dpred, g)
        if self.penalty:
            value = value + self.penalties(theta, layer.rows(*xs) if rows is None else rows, g)
        return value, g, dx

    def penalties(self, theta: Array, rows: Mapping[str, Array], g: Array | None = None) -> Any:
        """The penalties' value, their gradient added into g; of a table, the batch's rows only."""
        total = 0
        for name, (start, stop, shape) in self.places.items() if self.penalty else ():
            if len(shape) < 2 or self.is_frozen(name):
                continue
            at = rows.get(name, slice(None))
            W = theta[start:stop].reshape(shape)[at]
            for penalty in self.penalty:
                value, dW = penalty(W)
                total = total + value
                if g is not None:
                    g[start:stop].reshape(shape)[at] += dW
        return total

    fit = fit

    def outputs(self, xs: tuple[Any, ...], batch_size: int) -> Iterator[tuple[slice, Any]]:
        """The layer's outputs outside training, block of rows by block."""
        for start in range(0, max(1, xs[0].shape[0]), batch_size):
            at = slice(start, start + batch_size)
            yield at, self.layer(self.theta, *(a[at] for a in xs))[0]

    def predict(self, x: Any, batch_size: int = 4096, link: bool = True) -> Any:
        """The estimates in the target's units, by blocks of rows; link=False: the raw outputs."""
        preds = [pred for _, pred in self.outputs(self.inputs(x), batch_size)]
        pred = tuple(map(np.concatenate, zip(*preds))) if isinstance(preds[0], tuple) else None
        pred = np.concatenate(preds) if pred is None else pred
        return self.loss.inverse_link(pred) if link else pred

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        weight: Any = None,
        metrics: Mapping[str, Metric] | None = None,
        batch_size: int = 4096,
    ) -> dict[str, float]:
        """{"loss": …} without penalties, and each metric(y, estimate) over all rows at once.

        To metrics y goes as it came, and both are 1-D where the network has one output.
        """
        xs, target, weight = self.batch(x, y, weight)
        total, mass, estimates = 0.0, 0.0, []
        for at, pred in self.outputs(xs, batch_size):
            t, w = (None if a is None else a[at] for a in (target, weight))
            share = xs[0][at].shape[0] if w is None else float(w.sum())
            total += share * float(self.loss(pred, t, w)[0])
            mass += share
            estimates.append(self.loss.inverse_link(pred) if metrics else None)
        result = {"loss": total / (mass or 1)}
        if metrics:
            truth, estimate = np.asarray(y), np.concatenate(estimates)
            if estimate.shape[1:] == (1,):
                truth, estimate = truth.ravel(), estimate.ravel()
            result |= {name: float(metric(truth, estimate)) for name, metric in metrics.items()}
        return result

    def batch(
        self, x: Any, y: Any = None, weight: Any = None, theta: Array | None = None
    ) -> tuple[tuple[Any, ...], Any, Any]:
        """Inputs, target and weight as the layer and the loss take them, checked and cast."""
        dtype = self.dtype if theta is None else theta.dtype
        xs = self.inputs(x, dtype)
        n = xs[0].shape[0]
        if y is not None:
            y = cast("y", y, dtype, integers_stay=self.loss.takes_labels)
            if y.ndim == 1 and not (self.loss.takes_labels and y.dtype.kind in "iub"):
                y = y.reshape(-1, 1)
        if weight is not None:
            weight = cast("weight", weight, dtype)
        for name, a in (("y", y), ("weight", weight)):
            if a is not None and a.shape[0] != n:
                raise ValueError(f"{name} has {a.shape[0]} rows, x has {n}")
        return xs, y, weight

    def inputs(self, x: Any, dtype: Any = None) -> tuple[Any, ...]:
        """The inputs as a tuple of arrays (or CSR matrices) of equally many rows."""
        if isinstance(x, list) and any(hasattr(part, "ndim") and part.ndim for part in x):
            raise TypeError("x is a list of arrays: several inputs are a tuple, (a, b)")
        xs = x if isinstance(x, tuple) else (x,)
        dtype = self.dtype if dtype is None else dtype
        xs = tuple(
            cast("x" if len(xs) == 1 else f"x[{i}]", a, dtype, self.layer.takes_ids)
            for i, a in enumerate(xs)
        )
        rows = [a.shape[0] if a.ndim else None for a in xs]
        if len(set(rows)) != 1 or rows[0] is None:
            raise ValueError(f"inputs have {rows} rows, expected equally many")
        return xs

    def segments(self, optimizer: Optimizer, rows: Mapping[str, Array]) -> list[Segment]:
        """The parts of θ that a step touches: all but the frozen; of the tables in rows, these."""
        segments: list[Segment] = []
        for name, (start, stop, shape) in self.places.items():
            if self.is_frozen(name):
                continue
            rate = rate_of(name, optimizer)
            last = segments[-1] if segments else None
            if name in rows:
                segments.append(Segment(start, stop, rate, rows[name], prod(shape[1:])))
            elif last and last.rows is None and last.stop == start and last.rate is rate:
                segments[-1] = Segment(last.start, stop, rate)
            else:
                segments.append(Segment(start, stop, rate))
        return segments

    def summary(self) -> str:
        """The parts with their parameters' shapes and counts, and the FLOPs of a training step.

        FLOPs count the matrix products, for one row: 2 · inputs · outputs forward, and as many for
        each of ∂L/∂W and ∂L/∂x, which the first layer of a chain does not need.
        """
        lines = [f"{'part':<24}{'layer':<28}{'parameters':>12}"]
        parts = list(walk(self.layer)) or [("", self.layer)]
        leaves = [(path, part) for path, part in parts if not getattr(part, "parts", None)]
        flops = 0
        for i, (path, part) in enumerate(leaves):
            lines.append(f"{path:<24}{part!r:<28}{part.size:>12,}")
            if isinstance(part, Dense):
                flops += (4 if i == 0 else 6) * part.inputs * part.outputs
        still = sum(b - a for name, (a, b, _) in self.places.items() if self.is_frozen(name))
        lines.append(f"{'total':<52}{self.theta.size:>12,}" + (f", {still:,} frozen" * (still > 0)))
        lines.append(f"{self.loss!r}, {self.dtype}, {flops:,} FLOPs a row and training step")
        return "\n".join(lines)


def cast(name: str, value: Any, dtype: Any, integers_stay: bool = False) -> Any:
    """An array or CSR matrix of real numbers in `dtype`; a complex or object dtype suspends it.

    >>> cast("x", [[1, 2]], "float32").dtype, cast("y", [1, 2], "float32", True).dtype
    (dtype('float32'), dtype('int64'))
    """
    wanted = np.dtype(dtype)
    if hasattr(value, "tocsr"):
        csr = value.tocsr()
        return csr if wanted.kind in "cO" or csr.dtype == wanted else csr.astype(wanted)
    a = np.asarray(value)
    if a.dtype.kind in "iub" and integers_stay:
        return a
    if wanted.kind in "cO" and a.dtype.kind in "cO":
        return a
    wanted = np.dtype(float) if wanted.kind == "c" else wanted
    try:
        if a.dtype.kind not in "iubfO":
            raise TypeError
        with np.errstate(over="ignore"):  # too large becomes inf, which `finite` then names
            return a.astype(wanted, copy=False)
    except (TypeError, ValueError):
        found = f"{a.dtype}, such as {a.flat[0]!r}" if a.size else a.dtype
        raise TypeError(f"{name} holds {found}; expected real numbers") from None


def rate_of(name: str, optimizer: Optimizer) -> Any:
    """The learning rate of one parameter: the first pattern that fits its path.

    >>> from nnrec.nn import SGD
    >>> rate_of("user.E", SGD({"user.*": 0.1, "*": 0.003}))
    0.1
    """
    rates = optimizer.learning_rate
    if not isinstance(rates, Mapping):
        return rates
    for pattern, rate in rates.items():
        if fnmatchcase(name, pattern):
            return rate
    raise ValueError(f"{optimizer!r}: no learning rate fits the parameter {name}")
