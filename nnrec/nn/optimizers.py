"""Optimisers: `step(theta, g)` changes θ in place and leaves g alone.

The document's w ← w − α ∂E/∂w (equations 8 and 9) and its relatives, under PyTorch's rules.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import cos, inf, pi, sqrt
from typing import Any

import numpy as np

from nnrec.nn.arguments import Array, Described, real_number, whole_number

Rate = float | Callable[[int], float]
BLOCK = 131_072  # parameters a rule works on at a time, so that its passes stay in the cache
STATE = ("steps", "slots", "row_steps")


@dataclass(frozen=True)
class Segment:
    """A part [start, stop) of θ that a step may touch, and its rate; of a table, only `rows`."""

    start: int
    stop: int
    rate: Rate
    rows: Array | None = None
    width: int = 1

    def of(self, vector: Array) -> Array:
        """This part of θ, g or a slot as a view; a table with its rows as the first axis."""
        part = vector[self.start : self.stop]
        return part if self.rows is None else part.reshape(-1, self.width)

    def numbers(self, vector: Array) -> Array:
        """The numbers that a step touches."""
        return self.of(vector) if self.rows is None else self.of(vector).take(self.rows, axis=0)


@dataclass(eq=False, repr=False)
class Optimizer(Described):
    """What optimisers share: the count of steps, the slots, the learning rate, clipping.

    learning_rate: a number, a schedule (a callable of the step, 0 at the first), or a mapping of
    parameter paths to either, `{"user.*": 0.1, "*": 0.003}`, which `Network.fit` resolves.
    weight_decay adds λθ to g.  clip_norm scales the whole gradient down to that Euclidean norm.

    >>> class Signs(Optimizer):
    ...     def update(self, theta, g, *slots, rate, t):
    ...         theta -= rate * np.sign(g)
    >>> theta = np.ones(2); Signs(0.5).step(theta, np.array([3.0, -2.0])); theta
    array([0.5, 1.5])
    """

    learning_rate: Rate | Mapping[str, Rate] = 0.01
    weight_decay: float = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    slot_names: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            setattr(self, name, self.checked(name, value))
        self.steps = 0
        self.slots: dict[str, Array] = {}
        self.row_steps: dict[str, Array] = {}  # of each table, by its start: the rows' own counts

    def checked(self, name: str, value: Any) -> Any:
        """A setting as it is kept: numbers as floats in their range, also inside a mapping."""
        if isinstance(value, Mapping):
            return {path: self.checked(name, rate) for path, rate in value.items()}
        if callable(value) or isinstance(value, bool) or (name == "clip_norm" and value is None):
            return value
        below = 1 if name in ("rho", "beta1", "beta2") else inf
        return real_number(type(self).__name__, name, value, below=below)

    def step(self, theta: Array, g: Array, segments: Any = None, grads: Any = None) -> None:
        """One step on θ (1-D, as is g), or on its segments alone; grads: their numbers of g."""
        if theta.shape != g.shape or theta.ndim != 1:
            raise ValueError(f"{self!r}: θ has shape {theta.shape} and g {g.shape}, expected one")
        if segments is None:
            if isinstance(self.learning_rate, Mapping):
                raise ValueError(f"{self!r}: rates by parameter path need Network.fit")
            segments = [Segment(0, theta.size, self.learning_rate)]
        if not self.slots:
            self.slots = {name: np.zeros(theta.shape, theta.dtype) for name in self.slot_names}
        if any(slot.shape != theta.shape for slot in self.slots.values()):
            raise ValueError(f"{self!r} has stepped a θ of another size; take a fresh optimiser")
        grads = [segment.numbers(g) for segment in segments] if grads is None else grads
        scale = 1.0
        if self.clip_norm is not None:
            norm = sqrt(sum(np.square(grad, dtype=float).sum() for grad in grads))
            scale = self.clip_norm / (max(norm, self.clip_norm) or 1)
        for segment, grad in zip(segments, grads):
            rate = segment.rate(self.steps) if callable(segment.rate) else segment.rate
            rate = real_number(type(self).__name__, "learning_rate", rate)
            vectors = [segment.of(vector) for vector in (theta, *self.slots.values())]
            rows, t = segment.rows, self.counted(segment, len(vectors[0]))
            size = BLOCK if rows is None else max(1, BLOCK // segment.width)
            for first in range(0, len(grad), size):
                block = slice(first, first + size)
                at = block if rows is None else rows[block]
                parts = [a[at] if rows is None else a.take(at, axis=0) for a in vectors]
                d = self.decayed(parts[0], grad[block] if scale == 1 else grad[block] * scale)
                self.update(parts[0], d, *parts[1:], rate=rate, t=t if rows is None else t[block])
                for vector, stepped in zip(vectors, parts) if rows is not None else ():
                    vector[at] = stepped  # of a table the parts are copies
        self.steps += 1

    def counted(self, segment: Segment, size: int) -> Any:
        """As which step this is: a number; for rows of a table, which count their own, a column."""
        if segment.rows is None:
            for start, counts in self.row_steps.items():
                if segment.start <= int(start) < segment.stop:
                    counts += 1
            return self.steps + 1
        if (table := str(segment.start)) not in self.row_steps:
            self.row_steps[table] = np.full(size, self.steps)
        self.row_steps[table][segment.rows] += 1
        return self.row_steps[table][segment.rows][:, None]

    def decayed(self, theta: Array, g: Array) -> Array:
        """g with the decay as an L2 term, g + λθ; g itself where there is none."""
        return g + self.weight_decay * theta if self.weight_decay else g

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        """Step `theta` and `slots` in place; t counts from 1: a number, or a column, one a row."""
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def state_dict(self) -> dict[str, Any]:
        """All that a later step depends on, as copies: the counts and the slots."""
        return {name: copy.deepcopy(getattr(self, name)) for name in STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up, as a copy, a state that `state_dict` gave."""
        names = tuple(state.get("slots", ["missing"]))
        if names != (self.slot_names if state.get("steps", 1) else ()):
            raise ValueError(f"{self!r}: the state has slots {names}, expected {self.slot_names}")
        for name in STATE:
            setattr(self, name, copy.deepcopy(state[name]))


@dataclass(eq=False, repr=False)
class SGD(Optimizer):
    """θ ← θ − α g: the document's update.

    With momentum μ: v ← μ v + g, θ ← θ − α v; with Nesterov's: θ ← θ − α (g + μ v).  Sutskever et
    al. 2013, in PyTorch's form.

    >>> theta = np.ones(1); SGD(0.5).step(theta, np.ones(1)); theta
    array([0.5])
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov=True needs a momentum > 0")
        self.slot_names = ("velocity",) if self.momentum else ()

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        for velocity in slots:
            velocity *= self.momentum
            velocity += g
            g = g + self.momentum * velocity if self.nesterov else velocity
        theta -= rate * g


@dataclass(eq=False, repr=False)
class Adagrad(Optimizer):
    """s ← s + g²,  θ ← θ − α g / (√s + ε).  Duchi et al. 2011.

    >>> theta = np.ones(1); Adagrad(0.5).step(theta, np.ones(1)); theta
    array([0.5])
    """

    epsilon: float = 1e-10
    slot_names = ("squares",)

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        (squares,) = slots
        squares += g * g
        theta -= rate * g / (np.sqrt(squares) + self.epsilon)


@dataclass(eq=False, repr=False)
class RMSProp(Optimizer):
    """s ← ρ s + (1 − ρ) g²,  θ ← θ − α g / (√s + ε).  Tieleman & Hinton 2012, lecture 6.5.

    With momentum μ: v ← μ v + g / (√s + ε),  θ ← θ − α v.

    >>> theta = np.ones(1); RMSProp(0.01).step(theta, np.ones(1)); theta.round(6)
    array([0.9])
    """

    rho: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.slot_names = ("squares", "velocity") if self.momentum else ("squares",)

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        squares, *velocities = slots
        squares *= self.rho
        squares += (1 - self.rho) * g * g
        direction = g / (np.sqrt(squares) + self.epsilon)
        for velocity in velocities:
            velocity *= self.momentum
            velocity += direction
            direction = velocity
        theta -= rate * direction


@dataclass(eq=False, repr=False)
class Adam(Optimizer):
    """m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,  θ ← θ − α m̂ / (√v̂ + ε),

    m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ).  Kingma & Ba 2015, algorithm 1.  On rows of a table this
    is lazy Adam: untouched rows keep their moments, and t is the row's own count of steps.

    >>> theta = np.ones(1); Adam(0.1).step(theta, np.ones(1)); theta.round(6)
    array([0.9])
    """

    learning_rate: Rate | Mapping[str, Rate] = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    slot_names = ("m", "v")

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        m, v = slots
        # With cᵢ = 1 − βᵢᵗ the step is (α √c₂ / c₁) m / (√v + ε √c₂): the same quotient, and two
        # passes fewer over the vector.
        c1, root_c2 = 1 - self.beta1**t, (1 - self.beta2**t) ** 0.5
        if isinstance(t, np.ndarray):
            c1, root_c2 = c1.astype(theta.dtype), root_c2.astype(theta.dtype)
        m += (1 - self.beta1) * (g - m)
        v += (1 - self.beta2) * (g * g - v)
        theta -= (rate * root_c2 / c1) * (m / (np.sqrt(v) + self.epsilon * root_c2))


@dataclass(eq=False, repr=False)
class AdamW(Adam):
    """θ ← θ − α λ θ, then Adam's step on the bare g.  Loshchilov & Hutter 2019, algorithm 2.

    >>> theta = np.ones(1); AdamW(0.1, weight_decay=0.5).step(theta, np.ones(1)); theta.round(6)
    array([0.85])
    """

    weight_decay: float = field(default=0.01, kw_only=True)

    def decayed(self, theta: Array, g: Array) -> Array:
        return g

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        theta *= 1 - rate * self.weight_decay
        super().update(theta, g, *slots, rate=rate, t=t)


@dataclass(frozen=True)
class LinearDecay:
    """A schedule: from `start` to `end` in a straight line over `steps`, then `end`.

    >>> [LinearDecay(1.0, steps=4, end=0.5)(step) for step in (0, 2, 4, 9)]
    [1.0, 0.75, 0.5, 0.5]
    """

    start: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        whole_number(type(self).__name__, "steps", self.steps)

    def __call__(self, step: int) -> float:
        return float(self.end + (self.start - self.end) * self.left(min(step / self.steps, 1)))

    def left(self, done: float) -> float:
        """The share of the way still to go."""
        return 1 - done


class CosineDecay(LinearDecay):
    """A schedule: the same along half a cosine (Loshchilov & Hutter 2017, equation 5).

    >>> [round(CosineDecay(1.0, steps=4)(step), 3) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.854, 0.5, 0.0, 0.0]
    """

    def left(self, done: float) -> float:
        return (1 + cos(pi * done)) / 2
