"""Optimisers: `step(theta, g)` changes θ in place and leaves g alone.

The document's w ← w − α ∂E/∂w (its equations 8 and 9) and its relatives, under
PyTorch's rules and defaults, on one flat vector: each rule is a few lines on slices of θ, g and
the slots.  A `Segment` says which part of θ a step may touch: a range with its learning rate, or
rows of a table, at the cost of these rows.  Frozen parameters are ranges left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, exp, inf, pi, sqrt
from typing import Any

import numpy as np

from nnrec.nn.arguments import Array, Described, real_number

Rate = float | Callable[[int], float]
BLOCK = 16_384  # parameters a rule works on at a time, so that its passes stay in the cache


@dataclass(frozen=True)
class Segment:
    """The part [start, stop) of θ and its learning rate; of a table, `rows` of `width` numbers."""

    start: int
    stop: int
    rate: Rate
    rows: Array | None = None
    width: int = 1

    def of(self, vector: Array) -> Array:
        """This part of θ, g or a slot as a view; a table with its rows as the first axis."""
        part = vector[self.start : self.stop]
        return part if self.rows is None else part.reshape(-1, self.width)

    def joins(self, start: int, rate: Any) -> bool:
        """Whether a range that begins here, at this rate, goes on where this one ends."""
        return self.rows is None and self.stop == start and self.rate is rate

    def numbers(self, vector: Array) -> Array:
        """The numbers that a step touches."""
        return self.of(vector) if self.rows is None else self.of(vector)[self.rows]


@dataclass(eq=False, repr=False)
class Optimizer(Described):
    """What optimisers share: the count of steps, the slots, the learning rate, clipping.

    learning_rate: a number, a schedule (a callable of the step, 0 at the first), or a mapping of
    parameter paths to either, `{"user.*": 0.1, "*": 0.003}`, which `Network.fit` resolves.
    weight_decay adds λθ to g.  clip_norm scales the whole gradient down to that Euclidean norm.
    """

    learning_rate: Rate | Mapping[str, Rate] = 0.01
    weight_decay: float = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    slot_names: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            below = 1 if name in ("rho", "beta1", "beta2") else inf
            if isinstance(value, int | float | np.number | str) and not isinstance(value, bool):
                setattr(self, name, real_number(type(self).__name__, name, value, below=below))
        self.steps = 0
        self.slots: dict[str, Array] = {}
        self.row_steps: dict[int, Array] = {}

    def step(self, theta: Array, g: Array, segments: Sequence[Segment] | None = None) -> None:
        """One step on the whole of θ, or on the segments alone; θ and g are 1-D, of one shape."""
        if theta.shape != g.shape or theta.ndim != 1:
            raise ValueError(f"{self!r}: θ has shape {theta.shape} and g {g.shape}, expected one")
        if segments is None:
            if isinstance(self.learning_rate, Mapping):
                raise ValueError(f"{self!r}: rates by parameter path need Network.fit")
            segments = [Segment(0, theta.size, self.learning_rate)]
            for counts in self.row_steps.values():
                counts += 1
        if not self.slots:
            self.slots = {name: np.zeros_like(theta) for name in self.slot_names}
        if any(slot.shape != theta.shape for slot in self.slots.values()):
            raise ValueError(f"{self!r} has stepped a θ of another size; take a fresh optimiser")
        scale = 1.0
        if self.clip_norm is not None:
            parts = [segment.numbers(g) for segment in segments]
            norm = sqrt(sum(float(np.vdot(part, part)) for part in parts))
            scale = self.clip_norm / (max(norm, self.clip_norm) or 1)
        for segment in segments:
            rate = segment.rate(self.steps) if callable(segment.rate) else segment.rate
            rate = real_number(type(self).__name__, "learning_rate", rate)
            here, grad, *slots = map(segment.of, (theta, g, *self.slots.values()))
            if segment.rows is None:
                for first in range(0, here.size, BLOCK):
                    at = slice(first, first + BLOCK)
                    part = self.decayed(here[at], grad[at] if scale == 1 else grad[at] * scale)
                    self.update(
                        here[at], part, *(s[at] for s in slots), rate=rate, t=self.steps + 1
                    )
            else:  # gather the rows, update, put them back; t is each row's own count
                rows, start = segment.rows, segment.start
                counts = self.row_steps.setdefault(start, np.full(len(here), self.steps))
                counts[rows] += 1
                theta_rows, *slot_rows = [table[rows] for table in (here, *slots)]
                part = self.decayed(theta_rows, grad[rows] if scale == 1 else grad[rows] * scale)
                self.update(theta_rows, part, *slot_rows, rate=rate, t=counts[rows][:, None])
                for table, values in zip((here, *slots), (theta_rows, *slot_rows)):
                    table[rows] = values
        self.steps += 1

    def decayed(self, theta: Array, g: Array) -> Array:
        """g with the decay as an L2 term, g + λθ; g itself where there is none."""
        return g + self.weight_decay * theta if self.weight_decay else g

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        """Step `theta` and `slots` in place; t counts from 1: a number, or a column, one a row."""
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def state_dict(self) -> dict[str, Any]:
        """All that a later step depends on, as copies: the counts and the slots."""
        slots = {name: slot.copy() for name, slot in self.slots.items()}
        counts = {str(start): counts.copy() for start, counts in self.row_steps.items()}
        return {"steps": self.steps, "slots": slots, "row_steps": counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        if state["slots"] and tuple(state["slots"]) != self.slot_names:
            found = ", ".join(state["slots"])
            raise ValueError(f"{self!r}: the state has slots {found}, expected {self.slot_names}")
        self.steps = int(state["steps"])
        self.slots = {name: np.array(slot) for name, slot in state["slots"].items()}
        self.row_steps = {int(k): np.array(counts) for k, counts in state["row_steps"].items()}


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
    slot_names: tuple[str, ...] = field(default=("squares",), init=False)

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
    slot_names: tuple[str, ...] = field(default=("m", "v"), init=False)

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        m, v = slots
        # With cᵢ = 1 − βᵢᵗ the step is (α √c₂ / c₁) m / (√v + ε √c₂): the same quotient, and two
        # passes fewer over the vector.
        c1, root_c2 = 1 - self.beta1**t, (1 - self.beta2**t) ** 0.5
        if isinstance(t, np.ndarray):
            c1, root_c2 = c1.astype(theta.dtype), root_c2.astype(theta.dtype)
        scratch = g * (1 - self.beta1)
        m *= self.beta1
        m += scratch
        np.multiply(g, g, out=scratch)
        scratch *= 1 - self.beta2
        v *= self.beta2
        v += scratch
        np.sqrt(v, out=scratch)
        scratch += self.epsilon * root_c2
        np.divide(m, scratch, out=scratch)
        scratch *= rate * root_c2 / c1
        theta -= scratch


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


class ExponentialDecay(LinearDecay):
    """A schedule: the same by equal factors, down to a share of e⁻⁵ of the way, then `end`.

    >>> [round(ExponentialDecay(1.0, steps=5)(step), 3) for step in (0, 1, 2, 9)]
    [1.0, 0.368, 0.135, 0.0]
    """

    def left(self, done: float) -> float:
        return exp(-5 * done) if done < 1 else 0.0
