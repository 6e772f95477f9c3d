"""Optimisers: `step(theta, g)` changes θ in place and leaves g alone.

The document's w ← w − α ∂E/∂w (its equations 8 and 9 of §4.1.2) and its relatives, under PyTorch's
rules and defaults, on one flat vector; each rule is a few lines on slices of θ, g and the slots.
A `Segment` says which part of θ a step may touch: a range with its own learning rate, or the rows
of a table.  Frozen parameters are ranges left out; a big table's step costs the rows it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, pi, sqrt
from typing import Any

import numpy as np

from nnrec.nn.arguments import Described, real_number

Array = np.ndarray[Any, Any]
Rate = float | Callable[[int], float]
BLOCK = 16_384  # parameters a rule works on at a time, so that its passes stay in the cache


@dataclass(frozen=True)
class Segment:
    """The part [start, stop) of θ, with its learning rate; of a table, only `rows` of `width`.

    >>> Segment(0, 6, 0.1, np.array([2]), 3).width
    3
    """

    start: int
    stop: int
    rate: Rate
    rows: Array | None = None
    width: int = 1


@dataclass(eq=False, repr=False)
class Optimizer(Described):
    """What optimisers share: the count of steps, the slots, the learning rate, clipping.

    learning_rate is a number, a schedule (a callable of the step, 0 at the first), or a mapping of
    parameter paths to either, `{"user.*": 0.1, "*": 0.003}`, which `Network.fit` resolves.
    weight_decay adds λθ to g.  clip_norm scales the whole gradient down to that Euclidean norm.
    """

    learning_rate: Rate | Mapping[str, Rate] = 0.01
    weight_decay: float = field(default=0.0, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "learning_rate" and isinstance(value, Mapping):
                setattr(self, name, {k: self.checked(name, rate) for k, rate in value.items()})
            else:
                setattr(self, name, self.checked(name, value))
        self.steps = 0
        self.slots: dict[str, Array] = {}
        self.row_steps: dict[int, Array] = {}

    def checked(self, name: str, value: Any) -> Any:
        """An argument as a Python number ≥ 0, decay factors of moments below 1."""
        if value is None or isinstance(value, bool) or callable(value):
            return value
        below = 1 if name in ("rho", "beta1", "beta2") else float("inf")
        return real_number(type(self).__name__, name, value, below=below)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """The vectors beside θ that `update` takes, in this order."""
        return ()

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
        scale = self.clip_scale(g, segments)
        for segment in segments:
            rate = float(segment.rate(self.steps) if callable(segment.rate) else segment.rate)
            if segment.rows is None:
                for at in blocks(segment.start, segment.stop):
                    slots = [slot[at] for slot in self.slots.values()]
                    part = g[at] if scale == 1 else g[at] * scale
                    self.update(theta[at], part, *slots, rate=rate, t=self.steps + 1)
            else:
                self.step_rows(theta, g, segment, rate, scale)
        self.steps += 1

    def step_rows(
        self, theta: Array, g: Array, segment: Segment, rate: float, scale: float
    ) -> None:
        """One step on some rows of a table: gather, update, put back; t counts a row's own steps."""
        start, stop, rows = segment.start, segment.stop, segment.rows
        shape = ((stop - start) // segment.width, segment.width)
        counts = self.row_steps.setdefault(start, np.full(shape[0], self.steps))
        counts[rows] += 1
        tables = [a[start:stop].reshape(shape) for a in (theta, g, *self.slots.values())]
        here, part, *slots = [table[rows] for table in tables]
        if scale != 1:
            part *= scale
        self.update(here, part, *slots, rate=rate, t=counts[rows][:, None])
        for table, values in zip((tables[0], *tables[2:]), (here, *slots), strict=True):
            table[rows] = values

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        """Step `theta` and `slots` in place; t counts from 1: a number, or a column, one a row."""
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def clip_scale(self, g: Array, segments: Sequence[Segment]) -> float:
        """min(1, clip_norm / ‖g‖) over the segments."""
        if self.clip_norm is None:
            return 1.0
        norm = sqrt(sum(float(np.vdot(part, part)) for part in gradients(g, segments)))
        return min(1.0, self.clip_norm / norm) if norm else 1.0

    def decayed(self, theta: Array, g: Array) -> Array:
        """g with weight decay as an L2 term, g + λθ; g itself where there is none."""
        return g + self.weight_decay * theta if self.weight_decay else g

    def state_dict(self) -> dict[str, Any]:
        """Everything a later step depends on, as copies: the counts and the slots."""
        return {
            "steps": self.steps,
            "slots": {name: slot.copy() for name, slot in self.slots.items()},
            "row_steps": {str(start): counts.copy() for start, counts in self.row_steps.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        if state["slots"] and tuple(state["slots"]) != self.slot_names:
            found, expected = list(state["slots"]), list(self.slot_names)
            raise ValueError(f"{self!r}: the state has slots {found}, expected {expected}")
        self.steps = int(state["steps"])
        self.slots = {name: np.array(slot) for name, slot in state["slots"].items()}
        self.row_steps = {int(k): np.array(counts) for k, counts in state["row_steps"].items()}


def gradients(g: Array, segments: Sequence[Segment]) -> Iterator[Array]:
    """The part of g that each segment covers.

    >>> list(gradients(np.arange(4.0), [Segment(0, 4, 0.1, rows=np.array([1]), width=2)]))
    [array([[2., 3.]])]
    """
    for s in segments:
        part = g[s.start : s.stop]
        yield part if s.rows is None else part.reshape(-1, s.width)[s.rows]


def blocks(start: int, stop: int) -> Iterator[slice]:
    """[start, stop) in slices of at most BLOCK.

    >>> list(blocks(5, 7))
    [slice(5, 7, None)]
    """
    for at in range(start, stop, BLOCK):
        yield slice(at, min(at + BLOCK, stop))


@dataclass(eq=False, repr=False)
class SGD(Optimizer):
    """θ ← θ − α g: the document's update.  With momentum μ: v ← μ v + g, θ ← θ − α v;

    with Nesterov's: θ ← θ − α (g + μ v).  Sutskever et al. 2013, in PyTorch's form.

    >>> theta = np.array([1.0, 2.0])
    >>> SGD(0.5).step(theta, np.array([2.0, 0.0]))
    >>> theta
    array([0., 2.])
    """

    momentum: float = 0.0
    nesterov: bool = False

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        g = self.decayed(theta, g)
        for velocity in slots:
            velocity *= self.momentum
            velocity += g
            g = g + self.momentum * velocity if self.nesterov else velocity
        theta -= rate * g


@dataclass(eq=False, repr=False)
class Adagrad(Optimizer):
    """s ← s + g²,  θ ← θ − α g / (√s + ε).  Duchi et al. 2011.

    >>> theta = np.array([1.0])
    >>> Adagrad(0.5).step(theta, np.array([4.0]))
    >>> theta
    array([0.5])
    """

    epsilon: float = 1e-10

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("squares",)

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        (squares,) = slots
        g = self.decayed(theta, g)
        squares += g * g
        theta -= rate * g / (np.sqrt(squares) + self.epsilon)


@dataclass(eq=False, repr=False)
class RMSProp(Optimizer):
    """s ← ρ s + (1 − ρ) g²,  θ ← θ − α g / (√s + ε); with momentum μ: v ← μ v + g / (√s + ε),

    θ ← θ − α v.  Tieleman & Hinton 2012, lecture 6.5.

    >>> theta = np.array([1.0])
    >>> RMSProp(0.01).step(theta, np.array([4.0]))
    >>> theta.round(6)
    array([0.9])
    """

    rho: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("squares", "velocity") if self.momentum else ("squares",)

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        squares, *velocities = slots
        g = self.decayed(theta, g)
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
    """m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,

    θ ← θ − α m̂ / (√v̂ + ε),  m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ).  Kingma & Ba 2015, algorithm 1.
    On rows of a table this is lazy Adam: untouched rows keep their moments, t is the row's own.

    >>> theta = np.array([1.0])
    >>> Adam(0.1).step(theta, np.array([4.0]))
    >>> theta.round(6)
    array([0.9])
    """

    learning_rate: Rate | Mapping[str, Rate] = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("m", "v")

    def update(self, theta: Array, g: Array, *slots: Array, rate: float, t: Any) -> None:
        m, v = slots
        g = self.decayed(theta, g)
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
    """Adam with the decay taken from θ itself: θ ← θ − α λ θ, then Adam's step on the bare g.

    Loshchilov & Hutter 2019, algorithm 2.

    >>> theta = np.array([1.0])
    >>> AdamW(0.1, weight_decay=0.5).step(theta, np.array([4.0]))
    >>> theta.round(6)
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
        return float(self.start + (self.end - self.start) * min(step / self.steps, 1))


@dataclass(frozen=True)
class CosineDecay:
    """A schedule: from `start` to `end` along half a cosine over `steps` (Loshchilov & Hutter 2017).

    >>> [round(CosineDecay(1.0, steps=4)(step), 3) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.854, 0.5, 0.0, 0.0]
    """

    start: float
    steps: int
    end: float = 0.0

    def __call__(self, step: int) -> float:
        share = (1 + cos(pi * min(step / self.steps, 1))) / 2
        return float(self.end + (self.start - self.end) * share)


@dataclass(frozen=True)
class ExponentialDecay:
    """A schedule: `start` times `rate` for every `steps` steps, smoothly.

    >>> [ExponentialDecay(1.0, steps=10, rate=0.5)(step) for step in (0, 10, 20)]
    [1.0, 0.5, 0.25]
    """

    start: float
    steps: int
    rate: float = 0.5

    def __call__(self, step: int) -> float:
        return float(self.start * self.rate ** (step / self.steps))
