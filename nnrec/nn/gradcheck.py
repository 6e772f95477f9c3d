"""Gradient checks: is what `back` returns the derivative of what the forward computes?

Everything that can vary, θ and the real inputs, is laid out in one vector v; a method gives the
derivative of the objective L along a direction of v, and that is compared with g·direction.  For a
layer L is a random weighting of its outputs; for a loss, its value; for a network, its objective.

    complex  Im L(v + ih d) / h, h = 1e-100: no rounding from a difference (Squire & Trapp 1998)
    exact    L(v + ε d) in fractions with ε² = 0: equality, not a tolerance
    central  differences over h and h/2, extrapolated (Richardson); entries at a kink set aside
    taylor   the remainder L(v + h d) − L(v) − h g·d falls like h² when g is right, like h when not

Beside the numbers the contract is checked: that `back` adds to g, keeps to the forward it stands
under, gives the same when called again, and writes into no array that is not its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite, log2, prod, sqrt
from typing import Any

import numpy as np

from nnrec.nn.layers import Layer
from nnrec.nn.losses import Loss

Array = np.ndarray[Any, Any]
STEP = 2.0**-16  # of central differences
TOLERANCE = {"complex": 1e-10, "exact": 0.0, "central": 1e-6, "taylor": 0.5}
ENTRIES = 2000  # up to so many are checked one by one; above, by random directions


class Dual:
    """a + b ε with ε² = 0, over fractions: arithmetic that carries the derivative b exactly.

    >>> x = Dual(Fraction(3), Fraction(1))
    >>> (x * x / 2).dual
    Fraction(3, 1)
    """

    __slots__ = ("dual", "value")

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
        return Dual(-self.value, -self.dual)

    def __sub__(self, other: Any) -> Dual:
        return self + -as_dual(other)

    def __rsub__(self, other: Any) -> Dual:
        return -self + other

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > as_dual(other).value)

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < as_dual(other).value)

    __radd__, __rmul__ = __add__, __mul__


def as_dual(x: Any) -> Dual:
    """A number as a Dual that does not vary.

    >>> as_dual(2).dual
    0
    """
    return x if isinstance(x, Dual) else Dual(x)


@dataclass
class Finding:
    """One parameter or input: its largest error and the entry where it stands."""

    name: str
    shape: tuple[int, ...]
    error: float = 0.0
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
    findings: list[Finding]
    violations: list[str] = field(default_factory=list)
    kinks: int = 0
    entries: int = 0

    @property
    def error(self) -> float:
        """The largest error, relative to the norm of the whole gradient (taylor: 2 − slope)."""
        return max((finding.error for finding in self.findings), default=0.0)

    @property
    def worst(self) -> Finding | None:
        """The finding with the largest error."""
        return max(self.findings, key=lambda finding: finding.error, default=None)

    @property
    def ok(self) -> bool:
        """Whether every error is within the tolerance and the contract is kept."""
        return self.error <= self.tolerance and not self.violations

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "WRONG"
        lines = [
            f"{self.subject}",
            f"{verdict}: error {self.error:.1e} by {self.method}, tolerance {self.tolerance:.0e} "
            f"({self.reason})",
        ]
        for f in self.findings:
            shape = "×".join(map(str, f.shape))
            lines.append(f"  {f.name:<20} {shape:>10} {f.error:>9.1e}")
        if not self.ok and (worst := self.worst) and worst.error > self.tolerance:
            at = ", ".join(map(str, worst.index))
            lines.append(f"  worst: {worst.name}[{at}]: back {worst.back}, check {worst.check}")
        if self.kinks:
            lines.append(f"  {self.kinks} of {self.entries} entries set aside at a kink")
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
    """Check the gradient of a layer, a loss or a Network in θ and in its real inputs.

    method: "complex", "exact", "central" or "taylor"; None takes complex, and central where the
    code refuses complex numbers.  Each evaluation gets a fresh Generator of the same seed: dropout
    is checked under one mask.  Float values are rounded to 64ths for "exact".

    >>> from nnrec.nn import Dense
    >>> report = check_gradients(Dense(3, 2), np.random.default_rng(0).normal(size=(5, 3)))
    >>> report.ok, report.error < 1e-12, report.method
    (True, True, 'complex')
    """
    if method is not None and method not in TOLERANCE:
        raise ValueError(f"method={method!r}, expected one of {', '.join(TOLERANCE)}")
    seed = rng if isinstance(rng, int) else int(rng.integers(2**63))
    problem = Problem(subject, inputs, target, weight, theta, seed, exact=method == "exact")
    reason = "asked for" if method else "no rounding from differences"
    chosen = method or "complex"
    if method is None and (refusal := problem.refuses_complex()):
        chosen, reason = "central", f"complex numbers are refused: {refusal}"
    report = problem.check(chosen, reason, tolerance)
    if method is None and chosen == "complex" and report.error > 1e-4:
        second = problem.check("central", "the forward drops imaginary parts (abs, max, …)", None)
        report = second if second else report
    return report


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
        self.subject, self.target, self.weight = subject, target, weight
        self.seed, self.exact = seed, exact
        self.network = subject if hasattr(subject, "loss_and_grad") else None
        self.layer = self.network.layer if self.network else subject
        self.is_loss = not self.network and (isinstance(subject, Loss) or target is not None)
        if len(inputs) == 1 and isinstance(inputs[0], tuple):
            inputs = inputs[0]
        if self.network:
            at = np.empty(0, object if exact else float)
            batch = self.network.batch(tuple(inputs), target, weight, theta=at)
            inputs, self.target, self.weight = batch
        if theta is None and self.network:
            theta = self.network.theta.astype(float)
        elif theta is None:
            theta = np.empty(0) if self.is_loss else self.layer.init(np.random.default_rng(seed))
        if exact:
            inputs = [fractions(x) for x in inputs]
            self.target, self.weight = fractions(self.target), fractions(self.weight)
        self.inputs = [np.asarray(x) if not hasattr(x, "tocsr") else x for x in inputs]
        real = [theta] + [x for x in self.inputs if self.varies(x)]
        real = [fractions(x) if exact else x.astype(float) for x in real]
        self.v = np.concatenate([x.ravel() for x in real])
        self.theta_size = len(theta)
        self.cotangents = self.draw_cotangents()

    def varies(self, x: Any) -> bool:
        """Whether an input is real: not ids, not CSR."""
        return isinstance(x, np.ndarray) and x.dtype.kind in "fO"

    def arrays(self, v: Array) -> tuple[Array, list[Any]]:
        """θ and the inputs that v stands for."""
        start, inputs = self.theta_size, []
        for x in self.inputs:
            if self.varies(x):
                inputs.append(v[start : start + x.size].reshape(x.shape))
                start += x.size
            else:
                inputs.append(x)
        return v[: self.theta_size], inputs

    def rng(self) -> np.random.Generator:
        """A fresh Generator of the one seed."""
        return np.random.default_rng(self.seed)

    def forward(self, v: Array) -> tuple[Any, Any]:
        """The layer's output and back, in training."""
        theta, inputs = self.arrays(v)
        return self.layer(theta, *inputs, rng=self.rng())

    def draw_cotangents(self) -> Any:
        """A layer's random weights of its outputs, ∂L/∂y."""
        if self.network or self.is_loss:
            return None
        y, _ = self.forward(self.v)
        rng = np.random.default_rng([self.seed, 1])
        u = [rng.normal(size=np.shape(part)) for part in (y if isinstance(y, tuple) else (y,))]
        u = [fractions(part) if self.exact else part for part in u]
        return tuple(u) if isinstance(y, tuple) else u[0]

    def objective(self, v: Array) -> Any:
        """L at v."""
        theta, inputs = self.arrays(v)
        if self.network:
            return self.network.objective(tuple(inputs), self.target, self.weight, theta, self.seed)
        if self.is_loss:
            pred = tuple(inputs) if len(inputs) > 1 else inputs[0]
            return self.subject(pred, self.target, self.weight)[0]
        y, u = self.forward(v)[0], self.cotangents
        pairs = zip(y, u) if isinstance(y, tuple) else [(y, u)]
        return sum((part * w).sum() for part, w in pairs)

    def gradient(self) -> tuple[Array, list[str]]:
        """The claimed gradient over v, None's left as NaN, and what broke the contract."""
        v, broken = self.v.copy(), []
        v.flags.writeable = False
        theta, inputs = self.arrays(v)
        g = np.zeros_like(theta)
        try:
            if self.is_loss:
                pred = tuple(inputs) if len(inputs) > 1 else inputs[0]
                dx = self.subject(pred, self.target, self.weight)[1]
            elif self.network:
                batch = tuple(inputs), self.target, self.weight
                g = self.network.loss_and_grad(*batch, theta=theta, rng=self.seed)[1]
                dx = self.network.backprop(batch, theta, self.seed)[2]
                broken = self.contract(v, self.output_gradient(v))
            else:
                dx = self.forward(v)[1](locked(self.cotangents), g)
                broken = self.contract(v, self.cotangents)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            return np.full(len(v), np.nan), ["writes into θ, an input or dy"]
        dxs = iter(dx if isinstance(dx, tuple) else (dx,) * (len(inputs) == 1))
        parts = [g]
        for x in inputs:
            d = next(dxs, None)
            if self.varies(x):
                parts.append(np.full(x.size, np.nan) if d is None else np.asarray(d))
                if parts[-1].size != x.size:
                    broken.append(f"∂L/∂x has shape {np.shape(d)}, x has {x.shape}")
                    parts[-1] = np.full(x.size, 0.0)
        return np.concatenate([part.ravel() for part in parts]), broken

    def output_gradient(self, v: Array) -> Any:
        """A network's ∂L/∂pred."""
        return self.network.loss(self.forward(v)[0], self.target, self.weight)[1]  # type: ignore[union-attr]

    def contract(self, v: Array, dy: Any) -> list[str]:
        """What a layer does that no layer may: see the module's last lines."""
        broken, size = [], self.theta_size
        y, back = self.forward(v)
        kept = [np.array(part) for part in (y if isinstance(y, tuple) else (y,))]
        alone, added = np.zeros_like(v[:size]), np.ones_like(v[:size])
        first = back(locked(dy), alone)
        again, back_again = self.forward(v)
        self.forward(v * 3 / 4)  # another call between forward and back must not matter
        second = back_again(locked(dy), added)
        back_again(locked(dy), added)
        if not close(added - 1, 2 * alone):
            broken.append("back assigns to g where it must add, or depends on an earlier call")
        if not all(map(close, as_tuple(first), as_tuple(second))):
            broken.append("∂L/∂x depends on a call made between forward and back")
        if not all(map(close, kept, as_tuple(y))):
            broken.append("writes into an array it has returned")
        theta, inputs = self.arrays(v)
        for name, (start, stop, shape) in places(self.layer).items():
            if name in (rows := self.layer.rows(*inputs)):
                other = np.delete(alone[start:stop].reshape(shape), rows[name], axis=0)
                if other.astype(bool).any():
                    broken.append(f"reaches rows of {name} that rows() does not name")
        return broken

    def refuses_complex(self) -> str:
        """Why the forward can't take complex numbers; "" when it can."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                value = self.objective(self.v.astype(complex))
        except (TypeError, ValueError, np.exceptions.ComplexWarning) as error:
            return str(error)
        return "" if np.iscomplexobj(value) or not len(self.v) else "the value comes back real"

    def directional(self, method: str) -> Callable[[Array], tuple[Any, bool]]:
        """The derivative of L along a direction, and whether a kink lies there."""
        v, here = self.v, None if method == "complex" else self.objective(self.v)

        def derivative(d: Array) -> tuple[Any, bool]:
            if method == "complex":
                return self.objective(v + 1e-100j * d).imag / 1e-100, False
            if method == "exact":
                moved = v + np.array([Dual(0, x) if x else 0 for x in d], object)
                return as_dual(self.objective(moved)).dual, False
            right, left, near, far = (self.objective(v + s * STEP * d) for s in (1, -1, 0.5, -0.5))
            slope = (4 * (near - far) - (right - left) / 2) / (3 * STEP)
            bend = abs((near - 2 * here + far) - (right - 2 * here + left) / 4)
            return slope, bend > 1e-7 * STEP * max(abs(slope), self.scale) + 7e-15 * abs(here)

        return derivative

    def check(self, method: str, reason: str, tolerance: float | None) -> Report:
        """The report by one method."""
        g, broken = self.gradient()
        known = np.array([x == x for x in g])
        self.scale = norm = sqrt(sum(float(x) ** 2 for x in g[known]))
        limit = TOLERANCE[method] if tolerance is None else tolerance
        name = repr(self.subject) if not self.network else f"Network({self.layer!r})"
        report = Report(name, method, reason, limit, [], broken)
        rng = np.random.default_rng([self.seed, 2])
        spots = [
            (n, a, b, s) for n, (a, b, s) in self.ranges().items() if known[a:b].all() and b > a
        ]
        derivative = self.directional(method)
        for label, start, stop, shape in spots:
            finding = Finding(label, shape)
            report.findings.append(finding)
            if method == "taylor":
                finding.error = self.taylor(g, start, stop, rng)
                continue
            every = sum(b - a for _, a, b, _ in spots) <= ENTRIES
            stack = [(i, i + 1) for i in range(start, stop)] if every else [(start, stop)] * 3
            while stack:
                a, b = stack.pop()
                d = np.zeros_like(self.v)
                d[a:b] = rng.integers(0, 2, b - a) * 2 - 1
                claimed, (found, kink) = (g[a:b] * d[a:b]).sum(), derivative(d)
                report.entries += 1
                report.kinks += kink
                gap = abs(claimed - found)
                error = float(gap / max(norm, abs(found), 1e-300)) if gap and not kink else 0.0
                if error >= finding.error or not isfinite(error):
                    finding.error = error if isfinite(error) else float("inf")
                    index = np.unravel_index(a - start, shape) if shape else ()
                    finding.index = tuple(int(i) for i in index)
                    finding.back, finding.check = claimed * d[a], found * d[a]
                if error > limit and b - a > 1:  # look for the entry: both halves
                    stack = [(a, (a + b) // 2), ((a + b) // 2, b)]
                    finding.error = 0.0
        if report.kinks > report.entries / 20:
            broken.append(
                f"{report.kinks} of {report.entries} entries lie at a kink: move the point"
            )
        return report

    def ranges(self) -> dict[str, tuple[int, int, tuple[int, ...]]]:
        """Where each parameter and each real input stands in v."""
        named = {} if self.is_loss else places(self.layer)
        start = self.theta_size
        for i, x in enumerate(self.inputs):
            if self.varies(x):
                name = "pred" if self.is_loss else "x" if len(self.inputs) == 1 else f"x[{i}]"
                named[name] = (start, start + x.size, x.shape)
                start += x.size
        return named

    def taylor(self, g: Array, start: int, stop: int, rng: np.random.Generator) -> float:
        """2 − the remainder's slope over the smallest steps above rounding; 0 for a linear L."""
        d = np.zeros_like(self.v)
        d[start:stop] = rng.normal(size=stop - start)
        here, along = self.objective(self.v), float(g[start:stop] @ d[start:stop])
        sizes = [2.0**-k for k in range(4, 21)]
        rest = [abs(self.objective(self.v + h * d) - here - h * along) for h in sizes]
        noise = 1e-13 * max(abs(here), abs(along), 1e-300)
        above = [(h, r) for h, r in zip(sizes, rest) if r > noise]
        if len(above) < 2:
            return 0.0
        (big, more), (small, less) = above[-2:]
        return max(0.0, 2 - log2(more / less) / log2(big / small))


def places(layer: Layer) -> dict[str, tuple[int, int, tuple[int, ...]]]:
    """Each parameter's start, stop and shape in θ."""
    found, start = {}, 0
    for name, shape in layer.shapes.items():
        found[name] = (start, start + prod(shape), shape)
        start += prod(shape)
    return found


def as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def close(a: Any, b: Any) -> bool:
    """Equal up to rounding; None equals None only."""
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    if a.dtype == object:
        return bool((a == b).all())
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-12 + 1e-9 * abs(b).max(initial=0)))


def locked(x: Any) -> Any:
    """Arrays that can't be written."""
    if isinstance(x, tuple):
        return tuple(locked(part) for part in x)
    view = x.view()
    view.flags.writeable = False
    return view


def fractions(x: Any) -> Any:
    """Floats as fractions, rounded to 64ths; fractions, integers, ids and None as they are."""
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fO":
        return x
    exact = np.empty(x.size, object)
    exact[:] = [Fraction(round(a * 64), 64) if isinstance(a, float) else a for a in x.flat]
    return exact.reshape(x.shape)
