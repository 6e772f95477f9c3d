"""Claims: the numbers that a backward pass gives, a student's or ours, by name, on one case.

A claim's name is a parameter's path, "x" (or "x[0]", …) for the gradient in an input, "pred" for a
loss's.  Of a layer more is seen: what a second call gives when another came between and g already
holds ones, and the arrays that it was lent.  Numbers written by hand keep their rounding.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import numpy as np

from nnrec.nn import Layer, Loss, Network, Optimizer
from nnrec.nn.layers import Array, several
from nnrec.teach.planting import each

Claims = dict[str, Array]


@dataclass(frozen=True)
class Point:
    """Where gradients are taken: θ, a batch, the dy that comes back to a layer, dropout's seed."""

    theta: Array
    inputs: tuple[Any, ...]
    target: Any = None
    weight: Any = None
    dy: Any = None
    seed: int | None = None

    @classmethod
    def of(
        cls, subject: Any, inputs: Any, target: Any, weight: Any, theta: Any, dy: Any, seed: Any
    ) -> Point:
        """The caller's case in float64; of a layer, θ and dy are drawn where they aren't given."""
        rng = np.random.default_rng(0 if seed is None else seed)
        if isinstance(subject, Network):
            theta = subject.theta if theta is None else np.asarray(theta)
            theta = np.array([float(str(w)) for w in theta])  # of a float32 .15: .15, as on paper
            xs = inputs[0] if len(inputs) == 1 else tuple(inputs)
            xs, target, weight = subject.batch(xs, target, weight, theta)
            return cls(theta, xs, target, weight, seed=seed)
        xs = tuple(x if hasattr(x, "tocsr") else real(x) for x in inputs)
        if isinstance(subject, Loss):
            target = real(target) if not hasattr(target, "tocsr") else target
            return cls(np.empty(0), xs, target, None if weight is None else real(weight))
        if theta is None:
            theta = subject.init(rng) + rng.normal(size=subject.size) / 2
        at = cls(np.asarray(theta, float), xs, seed=seed)
        y = subject(at.theta, *xs, rng=at.rng())[0]
        if dy is None:
            return replace(at, dy=each(lambda part: rng.normal(size=part.shape), y))
        return replace(at, dy=each(real, dy))

    def rng(self) -> Any:
        """A fresh Generator; None outside training."""
        return None if self.seed is None else np.random.default_rng(self.seed)

    def moved(self, rng: np.random.Generator, mixed: bool) -> Point:
        """A point with another batch of the same kind: real inputs move, targets change places.

        mixed: inputs are mixed row with row, and so stay in the range that they had.
        """
        order, share = rng.permutation(self.inputs[0].shape[0]), rng.uniform(0.2, 0.8)

        def move(x: Any) -> Any:
            if hasattr(x, "tocsr"):
                return x * rng.uniform(0.5, 1.5)
            if x.dtype.kind != "f":
                return x
            return share * x + (1 - share) * x[order] if mixed else x + rng.normal(size=x.shape)

        return replace(
            self,
            theta=self.theta + rng.normal(size=self.theta.shape) / 2,
            inputs=tuple(map(move, self.inputs)),
            target=None if self.target is None else self.target[order],
            dy=each(lambda d: rng.normal(size=d.shape), self.dy),
            seed=None if self.seed is None else self.seed + 1,
        )


def real(x: Any) -> Array:
    """Floats as float64; ids, labels and other integers as they are."""
    a = np.asarray(x)
    return a.astype(float) if a.dtype.kind == "f" else a


def observed(subject: Any, ours: Any, at: Point, numbers: bool = False) -> Claims:
    """What a layer, loss or Network gives at a point, and how it treats the arrays it is lent.

    ours: the real one, whose parameters' names and shapes these are.  numbers: the gradient alone.
    """
    if isinstance(ours, Loss):
        pred = at.inputs if len(at.inputs) > 1 else at.inputs[0]
        return named("pred", subject(pred, at.target, at.weight)[1])
    network = subject if isinstance(ours, Network) else None
    layer = network.layer if network else subject

    def dy_of(y: Any) -> Any:
        return each(lend, network.loss(y, at.target, at.weight)[1] if network else at.dy)

    def total() -> Claims:
        batch = tuple(map(lend, at.inputs)), at.target, at.weight
        return parameters(ours, subject.loss_and_grad(*batch, theta=lend(at.theta), rng=at.seed)[1])

    if network and numbers:
        return total()
    theta, *inputs = lent = [lend(a) for a in (at.theta, *at.inputs)]
    y, back = layer(*lent, rng=at.rng())
    found, dy, g = {} if numbers else named("y", each(lend, y)), dy_of(y), np.zeros(len(theta))
    found |= named("x", back(dy, g))
    found |= total() if network else parameters(ours, g)
    if numbers:
        return found
    for name, array in (("x", tuple(inputs)), ("y", y), ("dy", dy), ("θ", theta)):
        found |= {f"{k} (afterwards)": a for k, a in named(name, array).items()}

    y, back = layer(lend(at.theta), *map(lend, at.inputs), rng=at.rng())
    other = (x * 3 / 4 if x.dtype.kind == "f" else x for x in at.inputs)
    layer(at.theta * 3 / 4, *other, rng=at.rng())
    g = np.ones(len(theta))
    again = named("x", back(dy_of(y), g)) | parameters(ours, g - 1)
    return found | {f"{name} (second call)": a for name, a in again.items()}


def lend(x: Any) -> Any:
    """A copy, which may be spoiled."""
    return x.copy()


def named(name: str, arrays: Any) -> Claims:
    """One array under its name, several under name[0], name[1], …; of a CSR matrix its values.

    >>> named("x", (np.ones(1), None))
    {'x[0]': array([1.])}
    """
    many = isinstance(arrays, tuple) and len(arrays) > 1
    pairs = [(f"{name}[{i}]" if many else name, a) for i, a in enumerate(several(arrays))]
    return {k: a.data if hasattr(a, "tocsr") else np.asarray(a) for k, a in pairs if a is not None}


def parameters(ours: Any, g: Any) -> Claims:
    """A gradient in θ, flat or by path, by path; without what training leaves still."""
    layer = getattr(ours, "layer", ours)
    if not isinstance(g, Mapping):
        g = np.asarray(g)
        if g.shape != (layer.size,):
            raise ValueError(f"diagnose: g has shape {g.shape}, expected ({layer.size},), as θ")
        g = dict(zip(layer.shapes, layer.split(g)))
    still = ours.is_frozen if isinstance(ours, Network) else lambda name: False
    return {name: np.asarray(a) for name, a in g.items() if not still(name)}


def claimed(student: Any, ours: Any, at: Point) -> Claims:
    """What a student's code gives at a point, by one of the protocols that `diagnose` lists."""
    if isinstance(student, Layer | Loss | Network):
        return observed(student, ours, at)
    arrays = [lend(a) for a in at.inputs]
    batch = [a for a in (at.target, at.weight) if a is not None]
    if isinstance(ours, Loss):
        return named("pred", last(student(*arrays, *batch)))
    if isinstance(ours, Network):
        return parameters(ours, last(student(lend(at.theta), *arrays, *batch)))
    if in_training(student):
        return observed(student, ours, at)
    dx, g = student(lend(at.theta), *arrays, *map(lend, several(at.dy)))
    return named("x", dx) | parameters(ours, g)


def in_training(student: Any) -> bool:
    """Whether a student's code takes draws, as a layer does."""
    layer = isinstance(student, Layer | Network)
    return layer or (callable(student) and "rng" in inspect.signature(student).parameters)


def last(result: Any) -> Any:
    """The gradient of (value, gradient), or the gradient itself."""
    return result[-1] if isinstance(result, tuple) else result


def stepped(
    subject: Network,
    ours: Network,
    at: Point,
    optimizer: Optimizer,
    to_loss: bool,
    rule: Any = None,
) -> Claims:
    """The weights after one step along the subject's gradient, or the real loss that they give.

    rule: what is done instead of the optimiser's step, (network, θ, g, θ after it) -> θ.
    """
    batch = tuple(map(lend, at.inputs)), at.target, at.weight
    g = subject.loss_and_grad(*batch, theta=lend(at.theta), rng=at.seed)[1]
    after = at.theta.copy()
    segments = subject.segments(optimizer, subject.layer.rows(*at.inputs))
    copy.deepcopy(optimizer).step(after, g, segments)
    after = rule(ours, at.theta, g, after) if rule else after
    if to_loss:
        value = ours.loss_and_grad(at.inputs, *batch[1:], theta=after, rng=at.seed)[0]
        return {"loss": np.asarray(value)}
    return ours.parameters(after)


def written(claims: Claims, digits: int | None = None) -> tuple[Claims, Claims]:
    """Numbers as floats, and half a unit of the last figure that each was written to.

    A float has lost its final zeros: 0.05 among numbers of four decimals counts as 0.050, written
    to one less (and to one figure less) than the number that has most.  Text keeps its zeros.
    Whole numbers and fractions are exact.  digits: that many decimals.

    Of single-precision arrays the last figures are rounding.

    >>> written({"b": np.array([0.5, 0.125]), "loss": np.array("2/3")})[1]
    {'b': array([0.005 , 0.0005]), 'loss': array(0.)}
    """
    read = {name: [number(name, x) for x in np.asarray(a).flat] for name, a in claims.items()}
    decimal = [x for xs in read.values() for x in xs if isinstance(x, Decimal) and x.is_finite()]
    places = max((-int(x.as_tuple().exponent) for x in decimal), default=0)
    figures = max((len(x.as_tuple().digits) for x in decimal if x), default=0)

    def half(x: Decimal | Fraction, text: bool) -> float:
        if digits is not None:
            return 0.5 * 10.0**-digits
        if isinstance(x, Fraction) or not x.is_finite():
            return 0.0
        own = -int(x.as_tuple().exponent)
        lost = min(places, figures - 1 - x.adjusted()) if x else places
        return 0.5 * 10.0 ** -(own if text else max(own, lost - 1))

    values, halves = {}, {}
    for name, a in claims.items():
        text = [isinstance(x, str) for x in np.asarray(a).flat]
        values[name] = np.array([float(x) for x in read[name]]).reshape(np.shape(a))
        halves[name] = np.array([half(*pair) for pair in zip(read[name], text)]).reshape(
            np.shape(a)
        )
        if a.dtype == np.float32:
            halves[name] += 1e-4 * abs(values[name]).max(initial=0)
    return values, halves


def number(name: str, x: Any) -> Decimal | Fraction:
    """What a student wrote: a decimal keeps its figures; whole numbers and fractions are exact."""
    try:
        if isinstance(x, int | np.integer):
            return Fraction(int(x))
        if isinstance(x, Fraction):
            return x
        if isinstance(x, str) and ("/" in x or x.strip().lstrip("+-").isdecimal()):
            return Fraction(x)
        return Decimal(str(x))
    except (ValueError, ZeroDivisionError, InvalidOperation):
        raise ValueError(f"diagnose: {name} holds {x!r}, expected a number") from None
