"""Gradient checks: is what `back` returns the derivative of what the forward computes?

All that can vary, θ and the real inputs, is one vector v; a method gives the derivative of the
objective L along a direction d, to compare with g·d.  Of a layer, L is a random weighting of its
outputs; of a loss, its value; of a network, its objective.

    complex  Im L(v + ih d) / h, h = 1e-100: no rounding from a difference (Squire & Trapp 1998)
    exact    the ε part of L(v + ε d), ε² = 0, in fractions: equality, not a tolerance
    central  differences over h and h/2, extrapolated (Richardson); entries at a kink set aside
    taylor   the remainder L(v + h d) − L(v) − h g·d falls like h² when g is right, like h when not

Beside the numbers the contract is checked: `back` adds to g, belongs to the forward it stands
under, does the same when called again, and writes into no array that is not its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, isfinite, log2, sqrt
from typing import Any, NamedTuple

import numpy as np

from nnrec.nn.arguments import Array
from nnrec.nn.layers import Layer, Result, Rng
from nnrec.nn.losses import Loss

STEP = 2.0**-16  # of central differences
TOLERANCE = {"complex": 1e-10, "exact": 0.0, "central": 1e-6, "taylor": 0.5}
ENTRIES = 2000  # so many are checked one by one; more, by random directions


class Finding(NamedTuple):
    """One parameter or input: its largest error, and both values at the entry where it stands."""

    name: str
    shape: tuple[int, ...]
    error: float
    index: tuple[int, ...] = ()
    back: Any = 0.0
    check: Any = 0.0


@dataclass
class Report:
    """What `check_gradients` found: true when right; prints as a table."""

    subject: str
    method: str
    reason: str
    tolerance: float
    findings: list[Finding] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    entries: int = 0
    kinks: int = 0

    @property
    def error(self) -> float:
        """The largest error, relative to the norm of the whole gradient (taylor: 2 − slope)."""
        return max((finding.error for finding in self.findings), default=0.0)

    @property
    def ok(self) -> bool:
        """Whether every error is within the tolerance, and the contract kept."""
        return self.error <= self.tolerance and not self.violations

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = f"{'ok' if self.ok else 'WRONG'}: error {self.error:.1e} by {self.method}"
        lines = [self.subject, f"{verdict}, tolerance {self.tolerance:g} ({self.reason})"]
        for f in self.findings:
            lines.append(f"  {f.name:<24}{'×'.join(map(str, f.shape)):>12}{f.error:>10.1e}")
        if self.error > self.tolerance:
            f = max(self.findings, key=lambda finding: finding.error)
            lines.append(f"  worst: {f.name}{list(f.index)}: back {f.back}, check {f.check}")
        if self.kinks:
            lines.append(f"  {self.kinks} of {self.entries} set aside at a kink")
        return "\n".join(lines + [f"  {violation}" for violation in self.violations])


def check_gradients(
    subject: Any,
    *inputs: Any,
    target: Any = None,
    weight: Any = None,
    method: str | None = None,
    theta: Array | None = None,
    rng: int | np.random.Generator = 0,
    tolerance: float | None = None,
) -> Report:
    """Check the gradient of a layer, a loss or a Network, a user's own included, in θ and inputs.

    method: "complex", "exact", "central" or "taylor"; None takes complex, and central where the
    code refuses complex numbers.  Each evaluation gets a fresh Generator of the same seed: dropout
    is checked under one mask.  For "exact", floats are rounded to 64ths.

    >>> from nnrec.nn import Dense
    >>> report = check_gradients(Dense(3, 2), np.random.default_rng(0).normal(size=(5, 3)))
    >>> report.ok, report.error < 1e-12, report.method
    (True, True, 'complex')
    """
    if method is not None and method not in TOLERANCE:
        raise ValueError(f"method={method!r}, expected one of {', '.join(TOLERANCE)}")
    seed = int(rng.integers(2**63)) if isinstance(rng, np.random.Generator) else rng
    problem = Problem(subject, inputs, target, weight, theta, seed, exact=method == "exact")
    if method is not None:
        return problem.check(method, "asked for", tolerance)
    try:
        report = problem.check("complex", "no rounding from differences", tolerance)
    except (TypeError, np.exceptions.ComplexWarning) as error:
        return problem.check("central", f"complex numbers are refused: {error}", tolerance)
    if report.error > 1e-4:  # either wrong, or right in a forward that drops imaginary parts
        second = problem.check("central", "the forward drops imaginary parts", tolerance)
        return second if second else report
    return report


class Identity(Layer):
    """The layer in front of a loss that is checked alone."""

    def __call__(self, theta: Array, *inputs: Any, rng: Rng = None) -> Result:
        return inputs if len(inputs) > 1 else inputs[0], lambda dy, g: dy


class Problem:
    """L and its claimed gradient as functions of one vector v: θ, then each real input."""

    def __init__(
        self,
        subject: Any,
        inputs: Sequence[Any],
        target: Any,
        weight: Any,
        theta: Array | None,
        seed: int,
        exact: bool,
    ):
        network = self.network = subject if hasattr(subject, "loss_and_grad") else None
        alone = not network and (isinstance(subject, Loss) or target is not None)
        self.name = f"Network({subject.layer!r})" if network else repr(subject)
        self.layer = network.layer if network else Identity() if alone else subject
        self.loss = network.loss if network else subject
        self.seed = seed
        number = fractions if exact else lambda a: a.astype(float) if varies(a) else a
        if len(inputs) == 1 and isinstance(inputs[0], tuple):
            inputs = inputs[0]
        if network:
            border = np.empty(0, object if exact else float)
            inputs, target, weight = network.batch(tuple(inputs), target, weight, border)
            theta = network.theta if theta is None else theta
        theta = self.layer.init(self.rng()) if theta is None else theta
        self.inputs = [x if hasattr(x, "tocsr") else number(np.asarray(x)) for x in inputs]
        self.target, self.weight = number(target) if exact else target, number(weight)
        self.places = dict(self.layer.places)
        start = self.size = self.layer.size
        for i, x in enumerate(self.inputs):
            if varies(x):
                name = "pred" if alone else "x" if len(self.inputs) == 1 else f"x[{i}]"
                self.places[name] = (start, start + x.size, x.shape)
                start += x.size
        real = [number(theta), *filter(varies, self.inputs)]
        self.v = np.concatenate([a.ravel() for a in real])
        if not network and not alone:
            u = [number(self.rng().normal(size=np.shape(y))) for y in several(self.forward()[0])]
            self.loss = lambda y, *_: (
                sum((part * w).sum() for part, w in zip(several(y), u)),
                tuple(u) if isinstance(y, tuple) else u[0],
            )

    def rng(self) -> np.random.Generator:
        """A fresh Generator of the one seed."""
        return np.random.default_rng(self.seed)

    def arrays(self, v: Array) -> tuple[Array, list[Any]]:
        """θ and the inputs that v stands for."""
        real = iter([v[a:b].reshape(s) for a, b, s in self.places.values() if a >= self.size])
        return v[: self.size], [next(real) if varies(x) else x for x in self.inputs]

    def forward(self, v: Array | None = None) -> Result:
        """The layer's output and back, in training."""
        theta, inputs = self.arrays(self.v if v is None else v)
        return self.layer(theta, *inputs, rng=self.rng())

    def objective(self, v: Array) -> Any:
        """L at v."""
        theta, inputs = self.arrays(v)
        value = self.loss(self.forward(v)[0], self.target, self.weight)[0]
        if self.network:
            value = value + self.network.penalties(theta, self.layer.rows(*inputs))
        return value

    def claimed(self) -> tuple[Array, list[str]]:
        """The gradient that back gives over v, None's left as NaN, and what broke the contract."""
        v, broken = locked(self.v), []
        theta, inputs = self.arrays(v)
        g, more = np.zeros_like(theta), np.ones_like(theta)
        try:
            y, back = self.forward(v)
            kept = tuple(np.array(part) for part in several(y))
            dy = locked(self.loss(y, self.target, self.weight)[1])
            dx = back(dy, g)
            later = self.forward(v)[1]
            self.forward(v * 3 / 4)  # a call between forward and back must not matter
            again = later(dy, more)
            later(dy, more)
            if not close(more - 1, 2 * g):
                broken.append("back assigns to g where it must add, or depends on another call")
            if self.network:
                batch = tuple(inputs), self.target, self.weight
                g = self.network.loss_and_grad(*batch, theta=theta, rng=self.seed)[1]
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            return np.full(len(v), np.nan), ["writes into θ, an input or dy"]
        if not close(dx, again):
            broken.append("∂L/∂x depends on a call made between forward and back")
        if not close(kept, several(y)):
            broken.append("writes into an array it has returned")
        for name, rows in self.layer.rows(*inputs).items():
            start, stop, shape = self.places[name]
            if np.delete(g[start:stop].reshape(shape), rows, axis=0).astype(bool).any():
                broken.append(f"reaches rows of {name} that rows() does not name")
        parts = [g]
        for i, x in enumerate(inputs):
            if varies(x):
                d = several(dx)[i] if dx is not None else None
                parts.append(np.full(x.shape, np.nan) if d is None else np.asarray(d))
                if parts[-1].shape != x.shape:
                    broken.append(f"∂L/∂x has shape {parts[-1].shape}, x has {x.shape}")
                    parts[-1] = np.full(x.shape, np.nan)
        return np.concatenate([part.ravel() for part in parts]), broken

    def derivative(self, method: str, d: Array, norm: float) -> tuple[Any, bool]:
        """The derivative of L along d, and whether a kink lies there."""
        v = self.v
        if method == "complex":
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                return np.imag(self.objective(v + 1e-100j * d)) / 1e-100, False
        if method == "exact":
            moved = v + np.array([Dual(0, int(x)) if x else 0 for x in d], object)
            return as_dual(self.objective(moved)).dual, False
        here = self.objective(v)
        right, left, near, far = (self.objective(v + s * STEP * d) for s in (1, -1, 0.5, -0.5))
        slope = (4 * (near - far) - (right - left) / 2) / (3 * STEP)
        bend = abs((near - 2 * here + far) - (right - 2 * here + left) / 4)
        return slope, bend > 1e-7 * STEP * max(abs(slope), norm) + 32 * 2.0**-52 * abs(here)

    def remainder(self, g: Array, d: Array) -> float:
        """2 − the remainder's slope over the smallest steps above rounding; 0 for a linear L."""
        here, along = self.objective(self.v), float(g[d != 0] @ d[d != 0])
        steps = [2.0**-k for k in range(4, 21)]
        rest = [abs(self.objective(self.v + h * d) - here - h * along) for h in steps]
        above = [(h, r) for h, r in zip(steps, rest) if r > 1e-13 * max(abs(here), abs(along))]
        if len(above) < 2:
            return 0.0
        (h, r), (h_less, r_less) = above[-2:]
        return max(0.0, 2 - log2(r / r_less) / log2(h / h_less))

    def check(self, method: str, reason: str, tolerance: float | None) -> Report:
        """The report by one method."""
        g, broken = self.claimed()
        known = np.array([x == x for x in g], bool)
        norm = sqrt(sum(float(x) ** 2 for x in g[known]))
        limit = TOLERANCE[method] if tolerance is None else tolerance
        report = Report(self.name, method, reason, limit, violations=broken)
        for name, (start, stop, _) in self.places.items():
            if known[start:stop].all():
                report.findings.append(self.find(report, name, g, norm))
        if report.kinks > report.entries / 20:
            broken.append(f"{report.kinks} of {report.entries} lie at a kink: move the point")
        return report

    def find(self, report: Report, name: str, g: Array, norm: float) -> Finding:
        """The largest error in one array: by entries, or by directions that close in on it."""
        start, stop, shape = self.places[name]
        method, rng, worst = report.method, np.random.default_rng([self.seed, 1]), (0.0,)
        one_by_one = len(g) <= ENTRIES and method != "taylor"
        spans = [(i, i + 1) for i in range(start, stop)] if one_by_one else [(start, stop)] * 3
        while spans:
            a, b = spans.pop()
            d = np.zeros(len(g))
            d[a:b] = rng.integers(0, 2, b - a) * 2 - 1
            claim, check, kink = (g[a:b] * d[a:b].astype(int)).sum(), 0.0, False
            if method == "taylor":
                error = self.remainder(g, d)
            else:
                check, kink = self.derivative(method, d, norm)
                gap = abs(claim - check)
                error = float(gap / max(norm, abs(check))) if gap and not kink else 0.0
            report.entries, report.kinks = report.entries + 1, report.kinks + bool(kink)
            if error > report.tolerance and b - a > 1 and method != "taylor":
                spans = [(a, (a + b) // 2), ((a + b) // 2, b)]
            elif not error <= worst[0]:
                index = tuple(map(int, np.unravel_index(a - start, shape)))
                error = error if isfinite(error) else inf
                worst = (error, index, claim * int(d[a]), check * int(d[a]))  # type: ignore[assignment]
        return Finding(name, shape, *worst)


class Dual:
    """a + b ε with ε² = 0, over fractions: arithmetic that carries the derivative b exactly.

    >>> x = Dual(Fraction(3), 1)
    >>> (x * x / 2).dual
    Fraction(3, 1)
    """

    def __init__(self, value: Any, dual: Any = 0):
        if isinstance(value, float | complex) or isinstance(dual, float | complex):
            raise TypeError(f"a float entered the exact check: {value!r}, {dual!r}")
        self.value, self.dual = value, dual

    def __add__(self, other: Any) -> Dual:
        other = as_dual(other)
        return Dual(self.value + other.value, self.dual + other.dual)

    def __mul__(self, other: Any) -> Dual:
        other = as_dual(other)
        return Dual(self.value * other.value, self.dual * other.value + self.value * other.dual)

    def __truediv__(self, other: Any) -> Dual:
        other = as_dual(other)
        value = Fraction(self.value) / other.value
        return Dual(value, (self.dual - value * other.dual) / other.value)

    def __rtruediv__(self, other: Any) -> Dual:
        return as_dual(other) / self

    def __neg__(self) -> Dual:
        return self * -1

    def __sub__(self, other: Any) -> Dual:
        return self + as_dual(other) * -1

    def __rsub__(self, other: Any) -> Dual:
        return self * -1 + other

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > as_dual(other).value)

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < as_dual(other).value)

    __radd__, __rmul__ = __add__, __mul__


def as_dual(x: Any) -> Dual:
    """A number as a Dual that does not vary."""
    return x if isinstance(x, Dual) else Dual(x)


def fractions(x: Any) -> Any:
    """Floats as fractions, rounded to 64ths; fractions, integers, ids and None as they are."""
    if not varies(x):
        return x
    exact = np.empty(x.size, object)
    exact[:] = [
        Fraction(round(a * 64), 64) if isinstance(a, float | np.floating) else a for a in x.flat
    ]
    return exact.reshape(x.shape)


def varies(x: Any) -> bool:
    """Whether an input is real: not ids, not CSR, not None."""
    return isinstance(x, np.ndarray) and x.dtype.kind in "fO"


def several(x: Any) -> tuple[Any, ...]:
    """A layer's output or gradient as a tuple, of one or of many."""
    return x if isinstance(x, tuple) else (x,)


def close(a: Any, b: Any) -> bool:
    """Equal up to rounding; None equals None only."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(close, a, b))
    if a is None or b is None or np.shape(a) != np.shape(b):
        return a is b
    gap = abs(np.asarray(a - b).astype(float)).max(initial=0)
    return bool(gap <= 1e-9 * (1 + abs(np.asarray(b).astype(float)).max(initial=0)))


def locked(x: Any) -> Any:
    """Arrays as views that can't be written."""
    if x is None or isinstance(x, tuple):
        return x and tuple(map(locked, x))
    view = np.asarray(x).view()
    view.flags.writeable = False
    return view
