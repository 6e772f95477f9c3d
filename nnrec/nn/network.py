"""Network: θ, a layer and a loss; what users touch most, and the border of the mathematics.

Here alone arrays are cast (real inputs, targets and weights to the network's dtype; integer ids and
class labels stay) and seeds become Generators.  The loop is in `training`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from nnrec.nn.arguments import Array, whole_number
from nnrec.nn.composites import Sequential, walk
from nnrec.nn.layers import Dense, Generator, Layer, Rng, several
from nnrec.nn.losses import Loss, Penalty
from nnrec.nn.optimizers import Optimizer, Segment
from nnrec.nn.training import fit, rows_of


class Network:
    """A layer (or a list of them, in a chain) and a loss, with their parameters θ.

    dtype: float32 or float64.  frozen: patterns of parameter paths that training leaves still,
    `["user.*"]`.  penalty: L1 or L2, or several, on parameters with two or more axes; of a table,
    on the rows of the batch.  rng: a seed or a Generator.  Several inputs are a tuple, (a, b).

    >>> from nnrec.nn import MSE, SGD, Tanh
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
        if not isinstance(loss, Loss):
            raise TypeError(f"Network: loss={loss!r}, expected a Loss, such as MSE()")
        self.layer = layer if isinstance(layer, Layer) else Sequential(layer)
        self.loss = loss
        self.rng = rng if isinstance(rng, int) else None
        self.dtype = np.dtype(dtype).name
        self.frozen = [frozen] if isinstance(frozen, str) else list(frozen)
        self.penalty: list[Any] = [*penalty] if isinstance(penalty, list | tuple) else [penalty]
        for term in self.penalty:
            if not isinstance(term, Penalty):
                raise TypeError(f"Network: penalty={term!r}, expected an L1 or L2")
        self.check_patterns("frozen", self.frozen)
        self.entropy = int(np.random.default_rng(rng).integers(2**63))  # of every stream to come
        self.epochs = 0

    @cached_property
    def theta(self) -> Array:
        """All parameters in one vector, drawn when it is first asked for."""
        return self.layer.init(np.random.default_rng([self.entropy, 2])).astype(self.dtype)

    def check_patterns(self, argument: str, patterns: Iterable[str]) -> None:
        """Raise unless each pattern fits the path of a parameter."""
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in self.layer.places):
                paths = ", ".join(self.layer.places)
                raise ValueError(f"Network: {argument}={pattern!r} fits none of {paths}")

    def parameters(self, theta: Array | None = None) -> dict[str, Array]:
        """Views of θ (or of a vector like it) by path; writing into one changes the network."""
        return dict(
            zip(self.layer.places, self.layer.split(self.theta if theta is None else theta))
        )

    def is_frozen(self, name: str) -> bool:
        """Whether training leaves the parameter of this path still."""
        return any(fnmatchcase(name, pattern) for pattern in self.frozen)

    def loss_and_grad(
        self,
        x: Any,
        y: Any = None,
        weight: Any = None,
        *,
        theta: Any = None,
        rng: Any = None,
        g: Any = None,
    ) -> tuple[Any, Array]:
        """The objective, loss and penalties, and its gradient, added into g if one is given.

        rng, a seed or a Generator: with training's draws.  theta: at another point.  Pure: nothing
        of the network changes.
        """
        for name, vector in (("theta", theta), ("g", g)):
            if vector is not None and vector.shape != (self.layer.size,):
                wanted = f"expected ({self.layer.size},)"
                raise ValueError(f"Network: {name} has shape {vector.shape}, {wanted}")
        theta = self.theta if theta is None else theta
        generator = None if rng is None else np.random.default_rng(rng)
        batch = self.batch(x, y, weight, theta)
        value, g, _ = self.backprop(batch, theta, generator, g)
        return value + self.penalties(theta, self.layer.rows(*batch[0]), g), g

    def backprop(self, batch: Any, theta: Array, rng: Rng, g: Any, layer: Any = None) -> Any:
        """Forward, loss, backward on a batch inside the border: the loss, g and ∂L/∂x."""
        xs, y, weight = batch
        pred, back = (layer or self.layer)(theta, *xs, rng=rng)
        value, dpred = self.loss(pred, y, weight)
        g = np.zeros_like(theta) if g is None else g
        return value, g, back(dpred, g)

    def penalties(self, theta: Array, rows: Mapping[str, Array], g: Array | None = None) -> Any:
        """The penalties' value, and their gradient added into g."""
        total = 0
        for name, (start, stop, shape) in self.layer.places.items() if self.penalty else ():
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
        size = whole_number("Network", "batch_size", batch_size)
        for start in range(0, max(1, xs[0].shape[0]), size):
            at = slice(start, start + size)
            yield at, self.layer(self.theta, *rows_of(xs, at))[0]

    def predict(self, x: Any, batch_size: int = 4096, link: bool = True) -> Any:
        """The estimates in the target's units, by blocks of rows; link=False: the raw outputs.

        A NaN in x gives NaN in its row.
        """
        pred = joined([pred for _, pred in self.outputs(self.inputs(x), batch_size)])
        return self.loss.inverse_link(pred) if link else pred

    def evaluate(
        self, x: Any, y: Any = None, weight: Any = None, metrics: Any = None, batch_size: int = 4096
    ) -> dict[str, float]:
        """{"loss": …} without penalties, and each metric(y, estimate) over all rows at once.

        metrics: functions by name.  They get y as it came; 1-D arrays from one output.
        """
        xs, target, weight = self.batch(x, y, weight)
        total, mass, preds = 0.0, 0.0, []
        for at, pred in self.outputs(xs, batch_size):
            t, w = rows_of((target, weight), at)
            share = xs[0][at].shape[0] if w is None else float(w.sum())
            total += share * float(self.loss(pred, t, w)[0])
            mass += share
            preds += [pred] if metrics else []
        result = {"loss": total / (mass or 1)}
        if metrics:
            estimate = self.loss.inverse_link(joined(preds))
            truth = y if hasattr(y, "tocsr") else np.asarray(y)
            if np.shape(estimate)[1:] == (1,):
                truth, estimate = truth.ravel(), estimate.ravel()
            result |= {name: float(metric(truth, estimate)) for name, metric in metrics.items()}
        return result

    def batch(self, x: Any, y: Any = None, weight: Any = None, theta: Any = None) -> Any:
        """Inputs (a tuple), target and weight as layer and loss take them, checked and cast."""
        dtype = self.dtype if theta is None else theta.dtype
        xs, labels = self.inputs(x, dtype), self.loss.takes_labels
        n = xs[0].shape[0]
        y, weight = cast("y", y, dtype, labels), cast("weight", weight, dtype)
        if y is not None and y.ndim == 1 and not labels:
            y = y.reshape(-1, 1)
        if y is not None and y.shape[:1] != (n,):
            raise ValueError(f"y has shape {y.shape}, x has {n} rows")
        if weight is not None and weight.shape != (n,):
            raise ValueError(f"weight has shape {weight.shape}, x has {n} rows")
        return xs, y, weight

    def inputs(self, x: Any, dtype: Any = None) -> tuple[Any, ...]:
        """The inputs as a tuple of arrays or CSR matrices of equally many rows."""
        if isinstance(x, list) and any(getattr(part, "ndim", 0) for part in x):
            raise TypeError("x is a list of arrays: several inputs are a tuple, (a, b)")
        name = "x[{}]" if isinstance(x, tuple) else "x"
        wanted, ids = dtype or self.dtype, self.layer.takes_ids
        xs = tuple(cast(name.format(i), a, wanted, ids) for i, a in enumerate(several(x)))
        if len({a.shape[:1] for a in xs}) != 1 or not xs[0].ndim:
            raise ValueError(f"inputs have shapes {[a.shape for a in xs]}, expected equal rows")
        return xs

    def segments(self, optimizer: Optimizer, rows: Mapping[str, Array]) -> list[Segment]:
        """The parts of θ that a step touches: all but the frozen; of the tables in rows, these."""
        rates: Any = r if isinstance(r := optimizer.learning_rate, Mapping) else {"*": r}
        segments: list[Segment] = []
        for name, (start, stop, shape) in self.layer.places.items():
            rate = next((rates[key] for key in rates if fnmatchcase(name, key)), None)
            if rate is None:
                raise ValueError(f"{optimizer!r}: no learning rate fits the parameter {name}")
            if self.is_frozen(name):
                continue
            last = segments[-1] if segments and name not in rows else None
            if last and last.rows is None and last.stop == start and last.rate is rate:
                start = segments.pop().start
            segments.append(Segment(start, stop, rate, rows.get(name), prod(shape[1:])))
        return segments

    def summary(self) -> str:
        """The parts with their counts of parameters, and the FLOPs of a training step for a row.

        FLOPs count Dense products: 2 · inputs · outputs forward, and as many for each of ∂L/∂W
        and ∂L/∂x, of which a leading layer needs only the first.
        """
        parts = [(path, part) for path, part in walk(self.layer) if not hasattr(part, "parts")]
        parts = parts or [("", self.layer)]
        lines = [f"{'part':<24}{'layer':<34}{'parameters':>12}"]
        lines += [f"{path:<24}{part!r:<34}{part.size:>12,}" for path, part in parts]
        flops, lean = 0, self.layer.without_data_gradient()
        for _, part in [("", lean), *walk(lean)]:
            if isinstance(part, Dense):
                flops += (6 if part.data_gradient else 4) * part.inputs * part.outputs
        still = sum(b - a for name, (a, b, _) in self.layer.places.items() if self.is_frozen(name))
        frozen = f", {still:,} frozen" * bool(still)
        lines.append(f"{'total':<58}{self.layer.size:>12,}{frozen}")
        return "\n".join([*lines, f"{self.loss!r}, {self.dtype}, {flops:,} FLOPs a row and step"])


def joined(blocks: Sequence[Any]) -> Any:
    """Blocks of rows as one array; blocks of several outputs as a tuple of arrays."""
    if isinstance(blocks[0], tuple):
        return tuple(map(np.concatenate, zip(*blocks)))
    return np.concatenate(blocks)


def cast(name: str, value: Any, dtype: Any, integers_stay: bool = False) -> Any:
    """Real numbers as an array or CSR matrix of `dtype`; what has a dtype that is wanted stays."""
    if value is None:
        return None
    wanted = np.dtype(dtype)
    a = value.tocsr() if hasattr(value, "tocsr") else np.asarray(value)
    found = a.dtype.kind
    if a.dtype == wanted or (integers_stay and found in "iub"):
        return a
    try:
        if found not in "iubfO":
            raise TypeError
        with np.errstate(over="ignore"):  # what is too large becomes inf, which `fit` will name
            return a.astype(float if wanted.kind == "c" else wanted)
    except (TypeError, ValueError):
        first = f", such as {a.flat[0]!r}" if a.size else ""
        raise TypeError(f"{name} holds {a.dtype}{first}; expected real numbers") from None
