"""Training: the one loop, its batches, early stopping, progress, and the history it returns.

A batch source is a callable `rng -> iterable of (x, y[, weight])`, called once an epoch; arrays
become one.  Each epoch has one Generator for the source and one for the draws inside layers, made
from the network's entropy and its count of epochs: validation, metrics and callbacks draw from
neither, so they change no bit of θ.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.nn.arguments import whole_number
from nnrec.nn.composites import rewired
from nnrec.nn.layers import Array, Generator, Layer, Result, Rng, Shape
from nnrec.nn.optimizers import Adam, Optimizer

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

    def __str__(self) -> str:
        lines = ["epoch" + "".join(f"{name:>12}" for name in self)]
        for epoch, figures in enumerate(zip(*self.values()), 1):
            lines.append(f"{epoch:>5}" + "".join(f"{value:>12.5g}" for value in figures))
        return "\n".join(lines + ["interrupted"] * self.interrupted)


@dataclass
class Run:
    """A training under way, as callbacks see it: epochs and steps done; set `stop` to end it."""

    network: Network
    optimizer: Optimizer
    epochs: int
    callbacks: Sequence[Any] = ()
    history: History = field(default_factory=History)
    epoch: int = 0
    step: int = 0
    stop: bool = False

    def tell(self, event: str) -> None:
        """Call each callback's method of this name; a plain function is an on_epoch."""
        for callback in self.callbacks:
            if hook := getattr(callback, event, None):
                hook(self)
            elif event == "on_epoch" and callable(callback):
                callback(self)


@dataclass
class Batches:
    """Arrays as a batch source: shuffled by one gather an epoch; the last batch may be smaller.

    >>> [len(x) for x, y in Batches(np.zeros((5, 2)), np.zeros(5), batch_size=2)()]
    [2, 2, 1]
    """

    x: Any
    y: Any
    weight: Any = None
    batch_size: int = 32

    def __call__(self, rng: Generator | None = None) -> Iterator[Any]:
        arrays = (self.x, self.y, self.weight)
        n = (self.x[0] if isinstance(self.x, tuple) else self.x).shape[0]
        if rng is not None:
            arrays = rows_of(arrays, rng.permutation(n))
        for start in range(0, n, self.batch_size):
            batch = rows_of(arrays, slice(start, start + self.batch_size))
            yield batch if self.weight is not None else batch[:2]


@dataclass
class EarlyStopping:
    """Stop when `monitor` has not got better by min_delta for `patience` epochs; keep the best θ.

    mode: "min" or "max", which way is better.

    >>> EarlyStopping("val_auc", patience=3, mode="max").monitor
    'val_auc'
    """

    monitor: str = "val_loss"
    patience: int = 5
    mode: str = "min"
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: mode={self.mode!r}, expected 'min' or 'max'")
        whole_number("EarlyStopping", "patience", self.patience)

    def on_start(self, run: Run) -> None:
        self.best, self.best_epoch, self.best_theta = inf, 0, run.network.theta.copy()

    def on_epoch(self, run: Run) -> None:
        if self.monitor not in run.history:
            raise ValueError(f"EarlyStopping: {self.monitor!r} is none of {', '.join(run.history)}")
        value = run.history[self.monitor][-1] * (1 if self.mode == "min" else -1)
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, run.epoch
            self.best_theta[:] = run.network.theta
        run.stop |= run.epoch - self.best_epoch >= self.patience

    def on_end(self, run: Run) -> None:
        if self.best_epoch:
            run.network.theta[:] = self.best_theta


class Progress:
    """One line an epoch on stderr, at most one a second; at a terminal with tqdm, its bar."""

    def on_start(self, run: Run) -> None:
        self.began = self.said = time.monotonic()
        self.bar: Any = None
        if sys.stderr.isatty() and find_spec("tqdm"):
            from tqdm import tqdm

            self.bar = tqdm(total=run.epochs, unit="epoch", delay=1, file=sys.stderr)

    def on_epoch(self, run: Run) -> None:
        text = "  ".join(f"{name} {values[-1]:.5g}" for name, values in run.history.items())
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update()
        elif run.epoch == run.epochs or now - self.said > 1:
            self.said, seconds = now, now - self.began
            print(f"epoch {run.epoch}/{run.epochs}  {seconds:.1f} s  {text}", file=sys.stderr)

    def on_end(self, run: Run) -> None:
        if self.bar is not None:
            self.bar.close()


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
    callbacks: Sequence[Any] = (),
    shuffle: bool = True,
    verbose: int = 1,
) -> History:
    """Train a network on arrays or on a batch source x; called again, it goes on.

    optimizer: Adam() if None.  validation_split=f takes the rows from ⌊n (1 − f)⌋ on, before
    shuffling; validation_data is (x, y[, weight]).  The history gets each epoch's mean training
    loss ("loss": with dropout, without penalties), "val_loss", and the metrics of the validation
    part ("val_auc") and, where x is arrays, of the training part ("auc").  callbacks: functions of
    the `Run`, called after each epoch, or objects with any of on_start, on_step, on_epoch, on_end.
    Ctrl-C ends training and returns the history so far.  A NaN or infinity is a FloatingPointError
    that names the epoch, the step and the first part whose output or gradient went bad; θ is then
    as before that step.  verbose=0 is silent.
    """
    whole_number("fit", "epochs", epochs, least=0)
    data = None
    if callable(x):
        beside = (y, sample_weight, class_weight, validation_split or None)
        if any(given is not None for given in beside):
            raise ValueError("fit: a batch source comes alone: no y, weights or validation_split")
        source: Any = x
    else:
        xs, target, weight = network.batch(x, y, sample_weight)
        names = [*(f"x[{i}]" for i in range(len(xs))), "y", "sample_weight"]
        for name, a in zip(names, (*xs, target, weight)):
            check_finite(name, a)
        labels = y if y is None or hasattr(y, "tocsr") else np.asarray(y)
        if class_weight is not None:
            weight = class_weights(labels, class_weight, weight).astype(network.dtype)
        n = xs[0].shape[0]
        cut = int(n * (1 - validation_split)) if 0 <= validation_split < 1 else 0
        if not cut:
            raise ValueError(f"fit: validation_split={validation_split!r} of {n} rows leaves none")
        if cut < n:
            warn_of_drift(target[:cut], target[cut:])
            validation_data = rows_of((xs, labels, weight), slice(cut, n))
            xs, target, labels, weight = rows_of((xs, target, labels, weight), slice(cut))
        data = (xs, labels, weight)
        batches = Batches(xs, target, weight, whole_number("fit", "batch_size", batch_size))
        source = batches if shuffle else lambda rng: batches()
    told = [*callbacks, Progress()] if verbose else callbacks
    run = Run(network, Adam() if optimizer is None else optimizer, epochs, told)
    g = np.zeros_like(network.theta)
    try:
        run.tell("on_start")
        while run.epoch < epochs and not run.stop:
            figures = {"loss": train_epoch(run, source, g)}
            if data is not None and metrics:
                figures = network.evaluate(*data, metrics=metrics) | figures
            if validation_data is not None:
                held = network.evaluate(*validation_data, metrics=metrics)
                figures |= {f"val_{name}": value for name, value in held.items()}
            for name, value in figures.items():
                run.history.setdefault(name, []).append(value)
            run.epoch += 1
            run.tell("on_epoch")
    except KeyboardInterrupt:
        run.history.interrupted = True
    run.tell("on_end")
    return run.history


def train_epoch(run: Run, source: Source, g: Array) -> float:
    """One pass over the source; the mean loss.  g is zero before and after each step."""
    network, optimizer = run.network, run.optimizer
    theta, layer = network.theta, network.layer.without_data_gradient()
    shuffle, draws = (np.random.default_rng([network.entropy, i, network.epochs]) for i in (0, 1))
    segments, total, mass = network.segments(optimizer, {}), 0.0, 0.0
    network.epochs += 1
    for given in source(shuffle):
        batch = network.batch(*given)
        rows = layer.rows(*batch[0])
        segments = network.segments(optimizer, rows) if rows else segments
        before = draws.bit_generator.state
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value, _, _ = network.backprop(batch, theta, draws, g, layer)
            network.penalties(theta, rows, g)
            if not (isfinite(value) and all(finite(segment.numbers(g)) for segment in segments)):
                draws.bit_generator.state = before
                bad = first_bad_part(network, batch, draws)
                raise FloatingPointError(f"epoch {run.epoch + 1}, step {run.step + 1}: {bad}")
            optimizer.step(theta, g, segments)
        for name, part in network.parameters(g).items() if rows else [("", g)]:
            part[rows.get(name, slice(None))] = 0
        share = batch[0][0].shape[0] if batch[2] is None else float(batch[2].sum())
        total, mass = total + share * float(value), mass + share
        run.step += 1
        run.tell("on_step")
        if run.stop:
            break
    if not mass:
        raise ValueError("fit: the batches hold no row with a positive weight")
    return total / mass


class Watched(Layer):
    """A part that notes when its output, or a gradient it gives, is not finite."""

    def __init__(self, path: str, part: Layer, notes: list[str]):
        self.path, self.part, self.notes = path or repr(part), part, notes

    @property
    def shapes(self) -> dict[str, Shape]:
        return self.part.shapes

    def __call__(self, theta: Array, *inputs: Any, rng: Rng = None) -> Result:
        y, back = self.part(theta, *inputs, rng=rng)
        self.look("output", y)

        def watched(dy: Any, g: Array) -> Any:
            dx = back(dy, g)
            self.look("gradient", (dx, g))
            return dx

        return y, watched

    def look(self, what: str, values: Any) -> None:
        """Note an array that is not finite, in a tuple or alone."""
        if isinstance(values, tuple):
            for a in values:
                self.look(what, a)
        elif values is not None and not np.isfinite(values).all():
            self.notes.append(f"the {what} of {self.path} is not finite")


def first_bad_part(network: Network, batch: Any, draws: Generator) -> str:
    """What went bad first, by the same step once more with every part watched."""
    notes: list[str] = []
    layer = rewired(network.layer, lambda path, part: Watched(path, part, notes))
    network.backprop(batch, network.theta, draws, None, layer)
    return [*notes, "the loss or a penalty is not finite"][0]


def finite(a: Array) -> bool:
    """Whether an array is finite throughout; its sum of squares tells, unless that overflows."""
    return isfinite(np.vdot(a, a)) or bool(np.isfinite(a).all())


def rows_of(a: Any, rows: Any) -> Any:
    """Rows of an array, or of each in a tuple; None stays."""
    return (
        tuple(rows_of(b, rows) for b in a) if isinstance(a, tuple) else a if a is None else a[rows]
    )


def class_weights(labels: Any, by_class: Mapping[Any, float], weight: Array | None) -> Array:
    """Each row's weight: its own, times its class's.

    >>> class_weights(np.array([0, 1, 1]), {0: 2.0, 1: 1.0}, None)
    array([2., 1., 1.])
    """
    classes, which = np.unique(labels, return_inverse=True)
    missing = [label for label in classes.tolist() if label not in by_class]
    if missing or which.size != len(labels):
        raise ValueError(
            f"fit: class_weight has no entry for {missing or 'rows of several targets'}"
        )
    factors = np.array([float(by_class[label]) for label in classes.tolist()])[which.ravel()]
    return factors if weight is None else factors * weight


def warn_of_drift(first: Any, last: Any) -> None:
    """Warn when a label's rate in the last rows differs by more than chance allows (|z| > 4)."""
    n, m = first.shape[0], last.shape[0]
    one_column = isinstance(first, np.ndarray) and first.size == n
    for label in np.unique(last)[:20] if one_column else ():
        p, q = float((first == label).mean()), float((last == label).mean())
        pooled = (n * p + m * q) / (n + m)
        if abs(p - q) > 4 * sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)):
            text = f"validation_split takes the last rows: {q:.1%} of them are {label:g}, "
            warnings.warn(text + f"{p:.1%} before; shuffle, or give validation_data", stacklevel=3)
            return


def check_finite(name: str, a: Any) -> None:
    """Raise, naming the place, where real input has a NaN or an infinity.

    >>> check_finite("x", np.array([[1.0, np.nan]]))
    Traceback (most recent call last):
    ValueError: x is nan in row 0, column 1; expected finite numbers
    """
    sparse = hasattr(a, "tocsr")
    values = a.data if sparse else a
    if a is None or values.dtype.kind != "f" or np.isfinite(values).all():
        return
    at = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
    value = values[at]
    if sparse:
        at = int(np.searchsorted(a.indptr, at[0], side="right")) - 1, int(a.indices[at[0]])
    column = "".join(f", column {i}" for i in at[1:])
    raise ValueError(f"{name} is {value} in row {at[0]}{column}; expected finite numbers")
