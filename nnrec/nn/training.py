"""Training: the one loop, its batches, early stopping, progress, and the history it returns.

A batch source is a callable `rng -> iterable of (x, y[, weight])`, called once an epoch; arrays
become one.  Each epoch has a Generator for the source and one for the layers' draws, made from the
network's entropy and count of epochs; validation, metrics and callbacks draw from neither.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from math import inf, isfinite, log
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.nn.arguments import Array, real_number, whole_number
from nnrec.nn.composites import rewired
from nnrec.nn.layers import Generator, Layer, Result, Rng, several
from nnrec.nn.losses import check_range
from nnrec.nn.optimizers import Adam, Optimizer

if TYPE_CHECKING:
    from nnrec.nn.network import Network

EVENTS = ("on_start", "on_step", "on_epoch", "on_end")


class History(dict[str, list[float]]):
    """Per-epoch figures by name, `history["val_loss"]`; prints as a table of up to twenty epochs.

    >>> print(History(loss=[0.5, 0.25]))
    epoch        loss
        1         0.5
        2        0.25
    """

    interrupted = False

    def __str__(self) -> str:
        epochs = min(map(len, self.values()), default=0)
        width = {name: max(12, len(name) + 2) for name in self}
        lines = ["epoch" + "".join(f"{name:>{width[name]}}" for name in self)]
        for epoch in sorted({round(1 + i * (epochs - 1) / 19) for i in range(20 if epochs else 0)}):
            figures = (f"{values[epoch - 1]:>{width[name]}.5g}" for name, values in self.items())
            lines.append(f"{epoch:>5}" + "".join(figures))
        return "\n".join(lines + ["interrupted"] * self.interrupted)


@dataclass
class Run:
    """A training under way, as callbacks see it: epochs and steps done; set `stop` to end it.

    given: source, validation_data, metrics.  `batches`, total, mass, draws: of the epoch under way.
    """

    network: Network
    optimizer: Optimizer
    epochs: int
    callbacks: Sequence[Any]
    given: Mapping[str, Any]
    history: History = field(default_factory=History)
    epoch: int = 0
    step: int = 0
    stop: bool = False
    batches: int = 0
    total: float = 0.0
    mass: float = 0.0
    draws: Any = None

    def tell(self, event: str) -> None:
        """Call each callback's method of this name; a plain function is an on_epoch."""
        for callback in self.callbacks:
            hook = getattr(callback, event, callback if event == "on_epoch" else None)
            if callable(hook):
                hook(self)


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
    shuffle: bool = True

    def __call__(self, rng: Rng = None) -> Iterator[Any]:
        arrays, n = (self.x, self.y, self.weight), several(self.x)[0].shape[0]
        if self.shuffle and rng is not None:
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
    best_theta: Any = field(default=None, init=False, repr=False)
    learned = ("best", "best_epoch", "best_theta")

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: mode={self.mode!r}, expected 'min' or 'max'")
        whole_number("EarlyStopping", "patience", self.patience)
        real_number("EarlyStopping", "min_delta", self.min_delta)

    def on_start(self, run: Run) -> None:
        self.best, self.best_epoch, self.best_theta = inf, 0, None

    def on_epoch(self, run: Run) -> None:
        if self.monitor not in run.history:
            raise ValueError(f"EarlyStopping: {self.monitor!r} is none of {', '.join(run.history)}")
        value = run.history[self.monitor][-1] * (1 if self.mode == "min" else -1)
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, run.epoch
            self.best_theta = run.network.theta.copy()
        run.stop |= run.epoch - self.best_epoch >= self.patience

    def on_end(self, run: Run) -> None:
        if self.best_theta is not None:
            run.network.theta[:] = self.best_theta
            self.best_theta = None  # lest a later fit that fails before its start takes it up


class Progress:
    """One line an epoch on stderr, at most one a second; at a terminal with tqdm, its bar."""

    bar: Any = None
    unsaid = ""

    def on_start(self, run: Run) -> None:
        self.began = self.said = time.monotonic()
        if sys.stderr.isatty() and find_spec("tqdm"):
            from tqdm import tqdm

            self.bar = tqdm(initial=run.epoch, total=run.epochs, unit="epoch", delay=1)

    def on_epoch(self, run: Run) -> None:
        text = "  ".join(f"{name} {values[-1]:.5g}" for name, values in run.history.items())
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update()
            return
        line = f"epoch {run.epoch}/{run.epochs}  {now - self.began:.1f} s  {text}"
        self.unsaid = "" if now - self.said > 1 else line
        if not self.unsaid:
            self.said = now
            print(line, file=sys.stderr)

    def on_end(self, run: Run) -> None:
        if self.unsaid:
            print(self.unsaid, file=sys.stderr)
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
    validation_data: Any = None,
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
    the `Run`, called after each epoch, or objects with any of on_start, on_step, on_epoch, on_end
    (always called).  Ctrl-C ends training and returns the history so far.  A NaN or infinity is a
    FloatingPointError that names the epoch, the step and the first part whose output or gradient
    went bad; θ is then as before that step.  verbose=0 is silent.
    """
    whole_number("fit", "epochs", epochs, least=0)
    optimizer = Adam() if optimizer is None else optimizer
    for name, value, wanted in (
        ("optimizer", optimizer, Optimizer),
        ("metrics", metrics or {}, Mapping),
        ("callbacks", callbacks, list | tuple),
        ("validation_data", () if validation_data is None else validation_data, list | tuple),
    ):
        if not isinstance(value, wanted):
            raise TypeError(f"fit: {name}={value!r}, expected {wanted}")
    if isinstance(optimizer.learning_rate, Mapping):
        network.check_patterns("learning_rate", optimizer.learning_rate)
    data: Any = None
    if callable(x):
        beside = (y, sample_weight, class_weight, validation_split or None)
        if any(given is not None for given in beside):
            raise ValueError("fit: a batch source comes alone: no y, weights or validation_split")
        source: Any = x
    else:
        xs, target, weight = checked_batch(network, x, y, sample_weight)
        labels = y if y is None or hasattr(y, "tocsr") else np.asarray(y)
        n = xs[0].shape[0]
        cut = int(n * (1 - validation_split)) if 0 <= validation_split < 1 else 0
        if not cut:
            raise ValueError(f"fit: validation_split={validation_split!r} of {n} rows leaves none")
        if cut < n:
            if validation_data is not None:
                raise ValueError("fit: validation_split and validation_data: give one of them")
            warn_of_drift(target, cut)
            validation_data = rows_of((xs, labels, weight), slice(cut, n))
            xs, target, labels, weight = rows_of((xs, target, labels, weight), slice(cut))
        if class_weight is not None:
            weight = class_weights(target, class_weight, weight).astype(network.dtype)
        data = (xs, labels)
        source = Batches(xs, target, weight, whole_number("fit", "batch_size", batch_size), shuffle)
    if validation_data is not None:
        checked_batch(network, *validation_data)
    for callback in callbacks:
        usable = callable(callback) or any(hasattr(callback, event) for event in EVENTS)
        if isinstance(callback, type) or not usable:
            raise TypeError(f"fit: callback {callback!r} is no function and has no on_epoch")
    told = [*callbacks, Progress()] if verbose else callbacks
    given = {"source": source, "validation_data": validation_data, "metrics": metrics}
    run = Run(network, optimizer, epochs, told, given)
    g = np.zeros(network.theta.shape, network.dtype)
    evaluate: Any = network.evaluate
    np.empty(31 << 20, np.uint8)  # freed at once: glibc then keeps the pages that a step frees
    try:
        run.tell("on_start")
        while run.epoch < epochs and not run.stop:
            figures = {"loss": train_epoch(run, g, ready=data is not None)}
            if data is not None and metrics:
                figures = evaluate(*data, metrics=metrics) | figures
            if validation_data is not None:
                held = evaluate(*validation_data, metrics=metrics)
                figures |= {f"val_{name}": value for name, value in held.items()}
            for name, value in figures.items():
                run.history.setdefault(name, []).append(value)
            run.epoch += 1
            run.tell("on_epoch")
    except KeyboardInterrupt:
        run.history.interrupted = True
    finally:
        run.tell("on_end")
    return run.history


def train_epoch(run: Run, g: Array, ready: bool) -> float:
    """One pass over the source, or the rest of it; the mean loss.  g is zero between steps.

    ready: the source's batches are checked and cast already.
    """
    network, optimizer, theta = run.network, run.optimizer, run.network.theta
    layer, dense = network.layer.without_data_gradient(), network.segments(optimizer, {})
    shuffle, draws = (np.random.default_rng([network.entropy, i, network.epochs]) for i in (0, 1))
    network.epochs += 1
    draws = run.draws = run.draws if run.batches else draws
    quiet = copy_context()  # as np.errstate around each step, at a tenth of its cost
    quiet.run(np.seterr, over="ignore", invalid="ignore", divide="ignore")
    for given in islice(run.given["source"](shuffle), run.batches, None):
        if not ready and not (isinstance(given, tuple | list) and 1 <= len(given) <= 3):
            raise ValueError("fit: a batch source gives (x, y) or (x, y, weight) for each batch")
        batch = (*given, None)[:3] if ready else network.batch(*given)
        rows = layer.rows(*batch[0])
        segments = network.segments(optimizer, rows) if rows else dense
        before, run.step = draws.bit_generator.state, run.step + 1
        value, _, _ = quiet.run(network.backprop, batch, theta, draws, g, layer)
        quiet.run(network.penalties, theta, rows, g)
        grads = [segment.numbers(g) for segment in segments]
        if not (isfinite(value) and all(map(finite, grads))):
            draws.bit_generator.state = before
            bad = quiet.run(first_bad_part, network, batch, draws)
            raise FloatingPointError(f"epoch {run.epoch + 1}, step {run.step}: {bad}")
        quiet.run(optimizer.step, theta, g, segments, grads)
        for name, part in network.parameters(g).items() if rows else [("", g)]:
            part[rows.get(name, slice(None))] = 0
        share = batch[0][0].shape[0] if batch[2] is None else float(batch[2].sum())
        run.batches += 1
        run.total, run.mass = run.total + share * float(value), run.mass + share
        run.tell("on_step")
        if run.stop:
            break
    if not run.mass:
        raise ValueError("fit: the batches hold no row with a positive weight")
    if not finite(theta):
        bad = "θ is not finite after it: the learning rate is too large"
        raise FloatingPointError(f"epoch {run.epoch + 1}, step {run.step}: {bad}")
    mean, run.batches, run.total, run.mass = run.total / run.mass, 0, 0.0, 0.0
    return mean


def first_bad_part(network: Network, batch: Any, draws: Generator) -> str:
    """What went bad first, by the same step once more with every part watched."""
    if not finite(network.theta):
        return "θ is not finite: the learning rate is too large"
    notes: list[str] = []

    def look(what: str, *arrays: Any) -> None:
        if not all(a is None or np.isfinite(a).all() for a in arrays):
            notes.append(f"{what} is not finite")

    def watched(path: str, part: Layer) -> Any:
        name = path or repr(part)

        def call(theta: Array, *inputs: Any, rng: Rng = None) -> Result:
            y, part_back = part(theta, *inputs, rng=rng)
            look(f"the output of {name}", *several(y))

            def back(dy: Any, g: Array) -> Any:
                dx = part_back(dy, g)
                look(f"the gradient of {name}", *several(dx), g)
                return dx

            return y, back

        vars(call)["size"] = part.size
        return call

    xs, target, weight = batch
    pred, back = rewired(network.layer, watched)(network.theta, *xs, rng=draws)
    value, dpred = network.loss(pred, target, weight)
    look("the loss or its gradient", value, *several(dpred))
    back(dpred, np.zeros_like(network.theta))
    return [*notes, "a penalty is not finite"][0]


def finite(a: Any) -> bool:
    """Whether an array or CSR matrix is finite; its sum of squares tells, unless it overflows."""
    a = a.data if hasattr(a, "tocsr") else a
    return isfinite(np.vdot(a, a)) or bool(np.isfinite(a).all())


def rows_of(a: Any, rows: Any) -> Any:
    """Rows, by a slice or by indices, of an array or of each in a tuple; None stays."""
    if isinstance(a, tuple):
        return tuple(rows_of(part, rows) for part in a)
    if isinstance(rows, np.ndarray) and isinstance(a, np.ndarray):
        return a.take(rows, axis=0)  # four times faster than a[rows]
    return None if a is None else a[rows]


def checked_batch(network: Network, x: Any, y: Any = None, weight: Any = None) -> Any:
    """`Network.batch`, after the check that its real numbers are finite and no weight is < 0."""
    xs, target, weight = network.batch(x, y, weight)
    names = ["x"] if len(xs) == 1 else [f"x[{i}]" for i in range(len(xs))]
    for name, a in zip([*names, "y", "weight"], (*xs, target, weight)):
        if a is not None and a.dtype.kind == "f" and not finite(a):
            with np.errstate(invalid="ignore"):  # 0 · a is NaN where a is not finite, in CSR too
                at = tuple(int(axis[0]) for axis in (a * 0).nonzero())
            place = ", column ".join(map(str, at))
            raise ValueError(f"{name} is {a[at]} in row {place}; expected finite numbers")
    if weight is not None:
        check_range(network.loss, "weight", weight)
    return xs, target, weight


def class_weights(target: Any, by_class: Mapping[Any, float], weight: Array | None) -> Array:
    """Each row's weight: its own, times its class's."""
    if not one_column(target):
        raise ValueError("fit: class_weight needs a target of one label a row")
    classes, which = np.unique(target, return_inverse=True)
    if missing := [label for label in classes.tolist() if label not in by_class]:
        raise ValueError(f"fit: class_weight has no entry for {missing}")
    factors = [real_number("fit", "class_weight", by_class[label]) for label in classes.tolist()]
    return np.array(factors)[which.ravel()] * (1 if weight is None else weight)


def warn_of_drift(target: Any, cut: int) -> None:
    """Warn when a label is so frequent in the last rows that Chernoff's bound says p < e⁻¹²."""
    last = target[cut:] if one_column(target) else []
    for label in np.unique(last)[:20]:
        k, m, rate = np.count_nonzero(last == label), len(last), (target == label).mean()
        surprise = sum(c * log(c / (m * p)) for c, p in ((k, rate), (m - k, 1 - rate)) if c)
        if surprise > 12:
            text = f"validation_split takes the last rows: {k / m:.1%} of them are {label:g}, "
            text += f"{(target[:cut] == label).mean():.1%} before; shuffle, or give validation_data"
            warnings.warn(text, stacklevel=3)
            return


def one_column(target: Any) -> bool:
    """Whether a target is an array of one number a row."""
    return isinstance(target, np.ndarray) and target.size == len(target)
