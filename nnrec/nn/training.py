"""Training: the one loop, batch sources, callbacks, and the history it returns.

A batch source is a callable `rng -> iterable of (x, y[, weight])`, called once an epoch; arrays
become one.  Each epoch has a Generator of its own for the source, and one for the draws inside
layers, both made from the network's entropy and the count of epochs: validation, metrics and
callbacks draw from neither, so that they change no bit of θ.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.nn.arguments import real_number, whole_number
from nnrec.nn.composites import Composite
from nnrec.nn.layers import Array, Back, Generator, Layer
from nnrec.nn.optimizers import Adam, Optimizer, gradients

if TYPE_CHECKING:
    from nnrec.nn.network import Network

Source = Callable[[Generator], Iterable[Any]]


class History(dict[str, list[float]]):
    """Per-epoch figures by name, `history["val_loss"]`; prints as a table.

    >>> print(History(loss=[0.5, 0.25]))
    epoch        loss
        1         0.5
        2        0.25
    """

    interrupted = False

    def add(self, **figures: float) -> None:
        """Append one epoch's figures."""
        for name, value in figures.items():
            self.setdefault(name, []).append(value)

    def __str__(self) -> str:
        lines = ["epoch" + "".join(f"{name:>12}" for name in self)]
        for epoch, figures in enumerate(zip(*self.values()), 1):
            lines.append(f"{epoch:>5}" + "".join(f"{value:>12.5g}" for value in figures))
        return "\n".join(lines + ["interrupted"] * self.interrupted)


class Batches:
    """Arrays as a batch source: shuffled by one gather an epoch, cut into batches, the last partial.

    >>> [len(x) for x, y in Batches(np.zeros((5, 2)), np.zeros(5), batch_size=2)(None)]
    [2, 2, 1]
    """

    def __init__(
        self, x: Any, y: Any, weight: Any = None, batch_size: int = 32, shuffle: bool = True
    ):
        self.x, self.y, self.weight = x, y, weight
        self.batch_size = whole_number("Batches", "batch_size", batch_size)
        self.shuffle = shuffle

    def __call__(self, rng: Generator) -> Iterator[Any]:
        several = isinstance(self.x, tuple)
        arrays = [*(self.x if several else (self.x,)), self.y, self.weight]
        n = arrays[0].shape[0]
        if self.shuffle and rng is not None:
            order = rng.permutation(n)
            arrays = [None if a is None else a[order] for a in arrays]
        for start in range(0, n, self.batch_size):
            cut = slice(start, start + self.batch_size)
            *xs, y, weight = (None if a is None else a[cut] for a in arrays)
            x = tuple(xs) if several else xs[0]
            yield (x, y) if weight is None else (x, y, weight)


class GaussianNoise:
    """A batch source that adds N(0, std²) to the real inputs of another: augmentation.

    >>> source = GaussianNoise(Batches(np.zeros((3, 2)), np.zeros(3)), std=0.1)
    >>> [(x, y)] = source(np.random.default_rng(0))
    >>> x.round(2)[0], y
    (array([0.01, 0.07]), array([0., 0., 0.]))
    """

    def __init__(self, source: Source, std: float):
        self.source = source
        self.std = real_number("GaussianNoise", "std", std)

    def __call__(self, rng: Generator) -> Iterator[Any]:
        shuffle, noise = rng.spawn(2)
        for x, *rest in self.source(shuffle):
            xs = [self.noisy(a, noise) for a in (x if isinstance(x, tuple) else (x,))]
            yield (tuple(xs) if isinstance(x, tuple) else xs[0], *rest)

    def noisy(self, x: Any, rng: Generator) -> Any:
        """x plus noise in x's dtype; ids stay as they are."""
        if x.dtype.kind in "iu":
            return x
        return x + rng.normal(0, self.std, x.shape).astype(x.dtype)


class Mixup:
    """A batch source that mixes each row with another: λ (x, y) + (1 − λ) (x′, y′), λ ~ Beta(α, α).

    Zhang et al. 2018, equation 1, one λ a batch.  Real inputs and targets only: labels as one-hot.

    >>> source = Mixup(Batches(np.eye(2), np.array([[0.0], [1.0]])), alpha=0.4)
    >>> [(x, y)] = source(np.random.default_rng(0))
    >>> bool((x.sum(axis=1) == 1).all())
    True
    """

    def __init__(self, source: Source, alpha: float = 0.2):
        self.source = source
        self.alpha = real_number("Mixup", "alpha", alpha, least=1e-12)

    def __call__(self, rng: Generator) -> Iterator[Any]:
        shuffle, mixing = rng.spawn(2)
        for x, *rest in self.source(shuffle):
            share = float(mixing.beta(self.alpha, self.alpha))
            order = mixing.permutation(len(rest[0]))
            xs = [mixed(a, order, share) for a in (x if isinstance(x, tuple) else (x,))]
            yield (
                tuple(xs) if isinstance(x, tuple) else xs[0],
                *(mixed(a, order, share) for a in rest),
            )


def mixed(a: Any, order: Array, share: float) -> Any:
    """share · a + (1 − share) · a[order], for real numbers.

    >>> mixed(np.array([0.0, 1.0]), np.array([1, 0]), 0.25)
    array([0.75, 0.25])
    """
    if a.dtype.kind in "iub":
        raise TypeError(f"Mixup can't mix {a.dtype}: give real inputs, and labels as one-hot rows")
    return a * share + a[order] * (1 - share)


class Callback:
    """What `fit` calls: on_start, on_step, on_epoch and on_end, each with the `Run`.

    Setting `run.stop` ends training.  A plain function in `callbacks` is an on_epoch.
    """

    def on_start(self, run: Run) -> None:
        """Before the first step."""

    def on_step(self, run: Run) -> None:
        """After each step."""

    def on_epoch(self, run: Run) -> None:
        """After each epoch, its figures in the history."""

    def on_end(self, run: Run) -> None:
        """After the last step, or an interruption."""


class EarlyStopping(Callback):
    """Stop when `monitor` has not improved by more than min_delta for `patience` epochs.

    Restores the best θ.  mode: "min" or "max".

    >>> EarlyStopping("val_auc", patience=3, mode="max").monitor
    'val_auc'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        mode: str = "min",
        min_delta: float = 0.0,
    ):
        if mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: mode={mode!r}, expected 'min' or 'max'")
        self.monitor, self.mode = monitor, mode
        self.patience = whole_number("EarlyStopping", "patience", patience)
        self.min_delta = real_number("EarlyStopping", "min_delta", min_delta)

    def on_start(self, run: Run) -> None:
        self.best, self.best_epoch, self.best_theta = float("inf"), 0, run.network.theta.copy()

    def on_epoch(self, run: Run) -> None:
        if self.monitor not in run.history:
            have = ", ".join(run.history)
            raise ValueError(f"EarlyStopping: no {self.monitor!r} in the history, it has {have}")
        value = run.history[self.monitor][-1] * (1 if self.mode == "min" else -1)
        epoch = len(run.history[self.monitor])
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, epoch
            self.best_theta[:] = run.network.theta
        run.stop |= epoch - self.best_epoch >= self.patience

    def on_end(self, run: Run) -> None:
        if self.best_epoch:
            run.network.theta[:] = self.best_theta


class Progress(Callback):
    """One line an epoch on stderr, at most one a second; a tqdm bar where tqdm and a terminal are."""

    def on_start(self, run: Run) -> None:
        self.began = self.said = time.monotonic()
        self.bar: Any = None
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self.bar = tqdm(total=run.epochs, unit="epoch", delay=1, file=sys.stderr)

    def on_epoch(self, run: Run) -> None:
        figures = {name: f"{values[-1]:.5g}" for name, values in run.history.items()}
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix(figures, refresh=False)
            self.bar.update()
        elif run.epoch == run.epochs or now - self.said > 1:
            self.said = now
            text = "  ".join(f"{name} {value}" for name, value in figures.items())
            at = f"epoch {run.epoch}/{run.epochs}  {now - self.began:.1f} s"
            print(f"{at}  {text}", file=sys.stderr)

    def on_end(self, run: Run) -> None:
        if self.bar is not None:
            self.bar.close()


@dataclass
class Run:
    """A training under way, as callbacks see it; epoch and step count from 1 once they are done."""

    network: Network
    optimizer: Optimizer
    epochs: int
    callbacks: list[Callback]
    history: History = field(default_factory=History)
    epoch: int = 0
    step: int = 0
    stop: bool = False

    def tell(self, event: str) -> None:
        """Call each callback's method for an event."""
        for callback in self.callbacks:
            getattr(callback, event)(self)


def fit(
    network: Network,
    x: Any,
    y: Any = None,
    *,
    optimizer: Optimizer | None = None,
    epochs: int = 1,
    batch_size: int = 32,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | None = None,
    validation_split: float = 0.0,
    validation_data: Sequence[Any] | None = None,
    metrics: Mapping[str, Callable[[Any, Any], float]] | None = None,
    callbacks: Sequence[Callback | Callable[[Run], None]] = (),
    shuffle: bool = True,
    verbose: int = 1,
) -> History:
    """Train a network on arrays or on a batch source x; called again, it goes on.

    optimizer: Adam(0.001) if None.  validation_split=f takes the rows from ⌊n (1 − f)⌋ on, before
    shuffling; validation_data is (x, y[, weight]).  Each epoch the history gets the mean training
    loss ("loss", with dropout, without penalties) and for the validation part "val_loss" and
    metrics ("val_auc"); metrics of the training part itself ("auc") where x is arrays.  Ctrl-C
    ends training and returns the history so far.  A NaN or infinity is a FloatingPointError that
    names the epoch, the step and the first part whose output or gradient went bad; θ then stands
    as it was before that step.  verbose=0 is silent.
    """
    data: tuple[Any, ...] | None = None
    if callable(x):
        if not (y is None and sample_weight is None and class_weight is None):
            raise ValueError("fit: a batch source gives y and weights itself; pass none beside it")
        if validation_split:
            raise ValueError("fit: validation_split needs arrays; give validation_data")
        source = x
    else:
        xs, target, weight = network.batch(x, y, sample_weight)
        for name, a in (*((f"x[{i}]", a) for i, a in enumerate(xs)), ("y", target)):
            check_finite(name, a)
        y = None if y is None else y if hasattr(y, "tocsr") else np.asarray(y)
        if class_weight is not None:
            weight = class_weights(y, class_weight, weight, network.dtype)
        n = xs[0].shape[0]
        cut = int(n * (1 - real_number("fit", "validation_split", validation_split, below=1)))
        if not 0 < cut <= n:
            raise ValueError(f"fit: {n} rows leave {cut} to train on (split {validation_split})")
        if cut < n:
            validation_data = take((xs, y, weight), slice(cut, n))
            warn_of_drift(target[:cut], target[cut:])
            xs, target, weight, y = take((xs, target, weight, y), slice(cut))
        source = Batches(xs, target, weight, batch_size, shuffle)
        data = (xs, y, weight)

    told = [
        callback if isinstance(callback, Callback) else on_epoch(callback) for callback in callbacks
    ]
    run = Run(network, optimizer or Adam(), epochs, told + [Progress()] * (verbose > 0))
    g = np.zeros_like(network.theta)
    try:
        run.tell("on_start")
        while run.epoch < whole_number("fit", "epochs", epochs) and not run.stop:
            figures = {"loss": train_epoch(run, source, g)}
            if data is not None and metrics:
                figures |= network.evaluate(*data, metrics=metrics) | figures
            if validation_data is not None:
                held = network.evaluate(*validation_data, metrics=metrics)
                figures |= {f"val_{name}": value for name, value in held.items()}
            run.history.add(**figures)
            run.epoch += 1
            run.tell("on_epoch")
    except KeyboardInterrupt:
        run.history.interrupted = True
    run.tell("on_end")
    return run.history


def train_epoch(run: Run, source: Source, g: Array) -> float:
    """One pass over the source; the mean loss.  g is zero before and after each step."""
    network, optimizer = run.network, run.optimizer
    layer = network.layer.without_data_gradient()
    shuffle, draws = (np.random.default_rng([network.entropy, k, network.epochs]) for k in (0, 1))
    segments, total, mass = network.segments(optimizer, {}), 0.0, 0.0
    for given in source(shuffle):
        batch = network.batch(*given)
        xs, _, weight = batch
        rows = layer.rows(*xs)
        if rows:
            segments = network.segments(optimizer, rows)
        before = draws.bit_generator.state
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value = network.backprop(batch, rng=draws, g=g, layer=layer)[0]
            network.penalties(network.theta, rows, g)
            if not (isfinite(value) and all(map(finite, gradients(g, segments)))):
                draws.bit_generator.state = before
                part = first_bad_part(network, batch, draws)
                raise FloatingPointError(f"epoch {run.epoch + 1}, step {run.step + 1}: {part}")
            optimizer.step(network.theta, g, segments)
        clear(g, network, rows)
        share = xs[0].shape[0] if weight is None else float(weight.sum())
        total, mass = total + share * float(value), mass + share
        run.step += 1
        run.tell("on_step")
        if run.stop:
            break
    else:
        network.epochs += 1
    if not mass:
        raise ValueError(f"fit: {source!r} gave no batch with a positive weight")
    return total / mass


def clear(g: Array, network: Network, rows: Mapping[str, Array]) -> None:
    """Zero g again: of the tables in rows only these, of all else everything."""
    if not rows:
        g.fill(0)
        return
    for name, part in network.parameters(g).items():
        part[rows.get(name, slice(None))] = 0


def finite(part: Array) -> bool:
    """Whether all of a part of g is finite; its sum of squares tells, unless that overflows.

    >>> finite(np.array([1e200])), finite(np.array([np.nan]))
    (True, False)
    """
    return isfinite(np.vdot(part, part)) or bool(np.isfinite(part).all())


class Watched(Layer):
    """A part that notes whether its output or the gradients it gives are finite."""

    def __init__(self, part: Layer, path: str, notes: list[str]):
        self.part, self.path, self.notes = part, path, notes

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.part.shapes

    def __call__(
        self, theta: Array, *inputs: Any, rng: Generator | None = None
    ) -> tuple[Any, Back]:
        y, back = self.part(theta, *inputs, rng=rng)
        self.look("output", y)

        def watched_back(dy: Any, g: Array) -> Any:
            dx = back(dy, g)
            self.look("gradient", dx, g)
            return dx

        return y, watched_back

    def look(self, what: str, *values: Any) -> None:
        """Note the first value that is not finite."""
        flat = [a for v in values for a in (v if isinstance(v, tuple) else (v,)) if a is not None]
        if not all(np.isfinite(a).all() for a in flat):
            self.notes.append(f"the {what} of {self.path or repr(self.part)} is not finite")


def watched(layer: Layer, path: str, notes: list[str]) -> Layer:
    """The layer with every part below it wrapped to note what is not finite."""
    if isinstance(layer, Composite):
        prefix = f"{path}." if path else ""
        parts = {name: watched(p, prefix + name, notes) for name, p in layer.parts.items()}
        return layer.with_parts(parts)
    return Watched(layer, path, notes)


def first_bad_part(network: Network, batch: Any, draws: Generator) -> str:
    """The first part whose output or gradient is not finite, by the same step once more, watched."""
    notes: list[str] = []
    network.backprop(batch, rng=draws, layer=watched(network.layer, "", notes))
    return notes[0] if notes else "the loss is not finite"


def on_epoch(function: Callable[[Run], None]) -> Callback:
    """A plain function as a callback."""
    callback = Callback()
    callback.on_epoch = function  # type: ignore[method-assign]
    return callback


def take(arrays: tuple[Any, ...], rows: slice) -> tuple[Any, ...]:
    """The rows of each array, tuples of arrays and None included."""
    return tuple(
        None if a is None else take(a, rows) if isinstance(a, tuple) else a[rows] for a in arrays
    )


def class_weights(y: Any, by_class: Mapping[Any, float], weight: Array | None, dtype: Any) -> Array:
    """Each row's weight: its own, times its class's.

    >>> class_weights(np.array([0, 1, 1]), {0: 2.0, 1: 1.0}, None, "float32")
    array([2., 1., 1.], dtype=float32)
    """
    labels, which = np.unique(y, return_inverse=True)
    missing = [label for label in labels.tolist() if label not in by_class]
    if missing or which.size != len(y):
        raise ValueError(f"fit: class_weight has no entry for {missing or 'rows of targets'}")
    factors = np.array([by_class[label] for label in labels.tolist()], dtype)[which.ravel()]
    return factors if weight is None else factors * weight


def warn_of_drift(first: Any, last: Any) -> None:
    """Warn when a label's rate in the last rows differs by more than chance allows (|z| > 4).

    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warn_of_drift(np.zeros(90), np.ones(10))
    >>> len(caught)
    1
    """
    if not isinstance(first, np.ndarray) or first.size != len(first):
        return
    n, m = len(first), len(last)
    for label in np.unique(last)[:20]:
        p, q = float((first == label).mean()), float((last == label).mean())
        pooled = (n * p + m * q) / (n + m)
        if abs(p - q) > 4 * sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)):
            warnings.warn(
                f"validation_split takes the last rows, where {label:g} is {q:.1%} of the targets "
                f"against {p:.1%} before; shuffle first, or give validation_data",
                stacklevel=3,
            )
            return


def check_finite(name: str, a: Any) -> None:
    """Raise, naming the place, where a real array has a NaN or an infinity.

    >>> check_finite("x", np.array([[1.0, np.nan]]))
    Traceback (most recent call last):
    ValueError: x is nan in row 0, column 1; expected finite numbers
    """
    values = getattr(a, "data", a) if hasattr(a, "tocsr") else a
    if a is None or values.dtype.kind != "f" or np.isfinite(values).all():
        return
    if hasattr(a, "tocsr"):
        a = a.tocoo()
        bad = int(np.argmin(np.isfinite(a.data)))
        at, value = [a.row[bad], a.col[bad]], a.data[bad]
    else:
        at = np.argwhere(~np.isfinite(a))[0].tolist()
        value = a[tuple(at)]
    places = ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column", "axis 2"), at))
    raise ValueError(f"{name} is {value} in {places}; expected finite numbers")
