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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, isfinite, log2, sqrt
from typing import Any

import numpy as np

from nnrec.nn.arguments import Array
from nnrec.nn.layers import Layer, Result, Rng, several
from nnrec.nn.losses import Loss

STEP = 2.0**-16  # of central differences
TOLERANCE = {"complex": 1e-10, "exact": 0.0, "central": 1e-6, "taylor": 0.5}
IMAGINARY = "the forward drops imaginary parts"
ENTRIES = 2000  # so many are checked one by one; more, by random directions


@dataclass
class Finding:
    """One parameter or input: its largest error, and both values at the entry where it stands."""

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
    violations: list[str]
    findings: list[Finding] = field(default_factory=list)
    entries: int = 0
    kinks: int = 0

    @property
    def error(self) -> float:
        """The largest error, relative to the norm of the whole gradient (taylor: 2 − slope)."""
        return max((finding.error for finding in self.findings), default=0.0)

    @property
    def ok(self) -> bool:
        """Whether every error is within the tolerance, and the contract kept."""
        return bool(self.findings) and self.error <= self.tolerance and not self.violations

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = f"error {self.error:.1e} by {self.method}, tolerance {self.tolerance:g}"
        if self.violations and self.error <= self.tolerance:
            verdict = f"contract broken, {verdict}"
        lines = [self.subject, f"{'ok' if self.ok else 'WRONG'}: {verdict} ({self.reason})"]
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
    is checked under one mask.  For "exact", floats are rounded to 64ths.  Check at a random point:
    at a minimum the gradient is rounding, and so is its relative error.

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
        try:
            return problem.check(method, "asked for", tolerance)
        except TypeError as error:
            if method != "exact":
                raise
            raise TypeError(f"{problem.name} is not rational, or uses floats: {error}") from error
    try:
        report = problem.check("complex", "no rounding from differences", tolerance)
    except (TypeError, np.exceptions.ComplexWarning) as error:
        return problem.check("central", f"complex numbers are refused: {error}", tolerance)
    if IMAGINARY in report.violations:
        return problem.check("central", IMAGINARY, tolerance)
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
        inputs: Any,
        target: Any,
        weight: Any,
        theta: Any,
        seed: int,
        exact: bool,
    ):
        network = self.network = subject if hasattr(subject, "loss_and_grad") else None
        alone = not network and (isinstance(subject, Loss) or target is not None)
        self.name = f"Network({subject.layer!r})" if network else repr(subject)
        self.layer: Any = network.layer if network else Identity() if alone else subject
        self.loss = network.loss if network else subject if alone else self.weigh
        self.seed, self.number = seed, fractions if exact else doubles
        if len(inputs) == 1 and isinstance(inputs[0], tuple):
            (inputs,) = inputs
        if network:
            border = np.empty(0, object if exact else float)
            inputs, target, weight = network.batch(tuple(inputs), target, weight, border)
            theta = network.theta if theta is None else theta
        theta = self.layer.init(self.rng()) if theta is None else np.asarray(theta)
        if theta.shape != (self.layer.size,):
            found = f"theta has shape {theta.shape}, expected ({self.layer.size},)"
            raise ValueError(f"{self.name}: {found}")
        self.inputs, self.target, self.weight = (
            locked(given, self.number) for given in (tuple(inputs), target, weight)
        )
        self.places, self.names, parts = dict(self.layer.places), [], [theta]
        for i, x in enumerate(self.inputs):
            name = ("pred" if alone else "x") + f"[{i}]" * (len(self.inputs) > 1)
            self.names.append(name if varies(x) else "")
            if varies(x):
                start = sum(map(len, parts))
                self.places[name] = (start, start + x.size, x.shape)
                parts.append(x.ravel())
        self.v = locked(np.concatenate(parts), self.number)

    def rng(self, shift: int = 0) -> np.random.Generator:
        """A fresh Generator of the one seed."""
        return np.random.default_rng(self.seed + shift)

    def weigh(self, y: Any, *_: Any) -> tuple[Any, Any]:
        """Of a layer: a random weighting of its outputs, and the weights, its derivative."""
        rng = np.random.default_rng([self.seed, 1])  # not what the caller may have drawn x from
        u = tuple(self.number(rng.normal(size=np.shape(part))) for part in several(y))
        value = sum((part * w).sum() for part, w in zip(several(y), u))
        return value, u if isinstance(y, tuple) else u[0]

    def arrays(self, v: Array) -> tuple[Array, list[Any]]:
        """θ and the inputs that v stands for."""
        inputs = [
            v[slice(*self.places[name][:2])].reshape(x.shape) if name else x
            for name, x in zip(self.names, self.inputs)
        ]
        return v[: self.layer.size], inputs

    def objective(self, v: Array) -> Any:
        """L at v."""
        theta, inputs = self.arrays(v)
        y, _ = self.layer(theta, *inputs, rng=self.rng())
        value = self.loss(y, self.target, self.weight)[0]
        if self.network:
            value = value + self.network.penalties(theta, self.layer.rows(*inputs))
        return value

    def claimed(self) -> tuple[dict[str, Array], list[str]]:
        """The gradient that back gives, flat, by name; and what broke the contract."""
        theta, inputs = self.arrays(self.v)
        g, more = np.zeros_like(theta), np.ones_like(theta)
        try:
            y, back = self.layer(theta, *inputs, rng=self.rng())
            kept = tuple(np.array(part) for part in several(y))
            dy = locked(self.loss(y, self.target, self.weight)[1])
            dx = back(dy, g)
            _, back = self.layer(theta, *inputs, rng=self.rng())
            self.layer(theta * 3 / 4, *(x[::-1] for x in inputs), rng=self.rng(1))  # another call
            others = back(dy, more), back(dy, more)
            total = g
            if self.network:
                batch = tuple(inputs), self.target, self.weight
                _, total = self.network.loss_and_grad(*batch, theta=theta, rng=self.seed)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            return {}, ["writes into θ, an input, the target, the weight or dy"]
        dxs = (None,) * len(inputs) if dx is None else several(dx)
        contract = {
            "back must add to g, and depend on no call made in between": close(more - 1, 2 * g),
            "∂L/∂x must be finite, and depend on no call made in between": close((dx, dx), others),
            "writes into an array it has returned": close(kept, several(y)),
            "back returns no ∂L/∂x: return it, or say data_gradient=False": dx is not None
            or not any(self.names)
            or not getattr(self.layer, "data_gradient", True),
            f"back returns {len(dxs)} gradients, of {len(inputs)} inputs": len(dxs) == len(inputs),
        }
        grads = {name: total[a:b] for name, (a, b, _) in self.layer.places.items()}
        for name, rows in self.layer.rows(*inputs).items():
            table = grads[name].reshape(self.places[name][2])
            reached = np.delete(table, rows, axis=0).astype(bool).any()
            contract[f"reaches rows of {name} that rows() does not name"] = not reached
        for name, x, d in zip(self.names, inputs, dxs):
            if name and d is not None:
                grads[name] = np.asarray(d).ravel()
                contract[f"∂L/∂x has shape {np.shape(d)}, x has {x.shape}"] = d.shape == x.shape
        return grads, [breach for breach, kept_well in contract.items() if not kept_well]

    def derivative(self, method: str, d: Array, norm: float) -> tuple[Any, bool]:
        """The derivative of L along d, and whether a kink lies there."""
        v = self.v
        if method == "complex":
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                return np.imag(self.objective(v + 1e-100j * d)) / 1e-100, False
        if method == "exact":
            moved = v + np.array([Dual(0, Fraction(x)) if x else 0 for x in d], object)
            return as_dual(self.objective(moved)).dual, False
        here = self.objective(v)
        right, left, near, far = (self.objective(v + s * STEP * d) for s in (1, -1, 0.5, -0.5))
        slope = (4 * (near - far) - (right - left) / 2) / (3 * STEP)
        bend = abs((near - 2 * here + far) - (right - 2 * here + left) / 4)
        return slope, bend > 1e-7 * STEP * max(abs(slope), norm) + 32 * 2.0**-52 * abs(here)

    def remainder(self, d: Array, along: float) -> float:
        """2 − the remainder's slope over the smallest steps above rounding; 0 for a linear L."""
        here, steps = self.objective(self.v), [2.0**-k for k in range(4, 21)]
        rest = [abs(self.objective(self.v + h * d) - here - h * along) for h in steps]
        above = [(h, r) for h, r in zip(steps, rest) if r > 1e-13 * max(abs(here), abs(along))]
        if len(above) < 2 or above[-1][0] > steps[-1]:  # what is left is no multiple of h
            return 0.0
        (h, r), (h_less, r_less) = above[-2:]
        return max(0.0, 2 - log2(r / r_less) / log2(h / h_less))

    def check(self, method: str, reason: str, tolerance: float | None) -> Report:
        """The report by one method."""
        grads, broken = self.claimed()
        if method == "exact":
            for g in grads.values():
                list(map(as_dual, g))  # raises where back has computed a float
        norm = sqrt(sum(float((g * g).sum()) for g in grads.values()))
        limit = TOLERANCE[method] if tolerance is None else tolerance
        report = Report(self.name, method, reason, limit, broken)
        if method == "complex" and grads:
            d = np.random.default_rng([self.seed, 3]).uniform(-1, 1, len(self.v))
            with suppress(ValueError):  # a step may leave what a loss on probabilities takes
                slope, kink = self.derivative("central", d, norm)
                gap = abs(slope - self.derivative("complex", d, norm)[0])
                if gap > 1e-3 * max(norm, abs(slope)) and not kink:
                    broken.append(IMAGINARY)
        for name, g in grads.items():
            if len(g) == np.prod(self.places[name][2]):
                report.findings.append(self.find(report, name, g, norm))
        if report.kinks > report.entries / 20:
            broken.append(f"{report.kinks} of {report.entries} lie at a kink: move the point")
        return report

    def find(self, report: Report, name: str, g: Array, norm: float) -> Finding:
        """The largest error in one array: by entries, or by directions that close in on it."""
        start, stop, shape = self.places[name]
        worst, method, rng = Finding(name, shape), report.method, self.rng(2)
        one_by_one = len(self.v) <= ENTRIES and method != "taylor"
        spans = [(i, i + 1) for i in range(start, stop)] if one_by_one else [(start, stop)] * 3
        while spans:
            a, b = spans.pop()
            d = np.zeros(len(self.v))  # of several entries unequal, lest their errors cancel
            d[a:b] = 1 if b == a + 1 else rng.integers(1, 64, b - a) / 64
            claim, check = (g[a - start : b - start] * self.number(d[a:b])).sum(), 0.0
            kink = False
            if method == "taylor":
                error = self.remainder(d, claim)
            else:
                check, kink = self.derivative(method, d, norm)
                gap = abs(claim - check)
                error = float(gap / max(norm * d.max(), abs(check))) if gap and not kink else 0.0
            report.entries, report.kinks = report.entries + 1, report.kinks + bool(kink)
            if error > report.tolerance and b - a > 1 and method != "taylor":
                spans = [(a, (a + b) // 2), ((a + b) // 2, b)]
            elif not error <= worst.error:
                index = tuple(map(int, np.unravel_index(a - start, shape)))
                error = error if isfinite(error) else inf
                worst = Finding(name, shape, error, index, claim, check)
        return worst


def lifted(rule: Callable[[Any, Any], tuple[Any, Any, Any]]) -> Callable[[Any, Any], Dual]:
    """An operator on Duals, from its value and its derivatives in both operands."""

    def operator(self: Dual, other: Any) -> Dual:
        other = as_dual(other)
        value, da, db = rule(self.value, other.value)
        return Dual(value, da * self.dual + db * other.dual)

    return operator


class Dual:
    """a + b ε with ε² = 0, over fractions: arithmetic that carries the derivative b exactly."""

    def __init__(self, value: Any, dual: Any = 0):
        if isinstance(value, float | complex) or isinstance(dual, float | complex):
            raise TypeError(f"a float entered the exact check: {value!r}, {dual!r}")
        self.value, self.dual = value, dual

    __add__ = __radd__ = lifted(lambda a, b: (a + b, 1, 1))
    __sub__ = lifted(lambda a, b: (a - b, 1, -1))
    __rsub__ = lifted(lambda a, b: (b - a, -1, 1))
    __mul__ = __rmul__ = lifted(lambda a, b: (a * b, b, a))
    __truediv__ = lifted(lambda a, b: (Fraction(a) / b, Fraction(1) / b, -Fraction(a) / b**2))
    __rtruediv__ = lifted(lambda a, b: (Fraction(b) / a, -Fraction(b) / a**2, Fraction(1) / a))

    def __neg__(self) -> Dual:
        return 0 - self

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > as_dual(other).value)

    def __lt__(self, other: Any) -> bool:
        return as_dual(other) > self


def as_dual(x: Any) -> Dual:
    """A number as a Dual that does not vary."""
    return x if isinstance(x, Dual) else Dual(x)


def varies(x: Any) -> bool:
    """Whether an array is real: not ids, not CSR, not None."""
    return isinstance(x, np.ndarray) and x.dtype.kind in "fO"


def doubles(x: Any) -> Array:
    """A copy, of real numbers in float64."""
    return np.array(x, float if varies(np.asarray(x)) else None)


def fractions(x: Any) -> Array:
    """A copy, of floats as fractions, rounded to 64ths."""
    x = np.array(x)
    exact = [Fraction(round(a * 64), 64) if isinstance(a, float) else a for a in x.ravel().tolist()]
    return np.array(exact, object).reshape(x.shape) if varies(x) else x


def locked(x: Any, number: Callable[[Any], Array] = np.array) -> Any:
    """A copy that can't be written, of an array or CSR matrix; of a tuple, each; None stays."""
    if x is None or isinstance(x, tuple):
        return x and tuple(locked(part, number) for part in x)
    twin: Any = x.copy() if hasattr(x, "tocsr") else number(x)
    (twin.data if hasattr(x, "tocsr") else twin).flags.writeable = False
    return twin


def close(a: Any, b: Any) -> bool:
    """Equal up to rounding, in a tuple each; None equals None only."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(close, a, b))
    if a is None or b is None or np.shape(a) != np.shape(b):
        return a is b
    return np.allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-9, atol=1e-9)
