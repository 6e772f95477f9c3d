"""Diagnosis: which mistake gives a student's numbers.

What a student's code gives on drawn cases, or numbers a student has written, are compared with what
the real backward gives; where they differ, with what it gives once a mistake of the catalogue is
planted in it: everywhere it can stand, or in one part alone.  A mistake is named when it gives all
of the student's numbers, within their rounding, and would show by more than their last figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnrec.nn import Layer, Loss, Network, Optimizer
from nnrec.nn.arguments import Array
from nnrec.nn.composites import walk
from nnrec.teach import claims
from nnrec.teach.claims import Claims, Point
from nnrec.teach.planting import MISTAKES, RATE, Mistake

Outcome = Callable[[Point], Claims]

STEPS = [  # mistakes of the step itself, which no gradient shows: (network, θ, g, θ after) -> θ
    Mistake(
        "rate-forgotten",
        "The step is taken without the learning rate",
        "w ← w − α ∂L/∂w: the rate α says how far along the slope a step goes.",
        {Optimizer: lambda network, theta, g, after: theta - g},
    ),
    Mistake(
        "step-forgotten",
        "The step is not taken",
        "The weights after the step are w − α ∂L/∂w, and the loss is that which they give.",
        {Optimizer: lambda network, theta, g, after: theta},
    ),
]


@dataclass(frozen=True)
class Fit:
    """A mistake that gives the student's numbers; where: the one part it is made in, or ""."""

    mistake: Mistake
    where: str = ""

    def __str__(self) -> str:
        where = f", in {self.where} alone" if self.where else ""
        return f"  {self.mistake.title}{where} ({self.mistake.name}).\n    {self.mistake.why}"


@dataclass
class Diagnosis:
    """What `diagnose` found: true when the student is right; prints as the answer to the student.

    fits: the mistakes that give the student's numbers.  worst: what differs most, its name, index,
    the student's value and ours.  wrong of total numbers differ.  remark: what else can be said.
    """

    subject: str
    fits: list[Fit] = field(default_factory=list)
    worst: tuple[str, tuple[int, ...], float, float] | None = None
    wrong: int = 0
    total: int = 0
    remark: str = ""

    @property
    def ok(self) -> bool:
        """Whether the student is right."""
        return not self.wrong

    @property
    def names(self) -> list[str]:
        """The names of the mistakes that fit."""
        return list(dict.fromkeys(fit.mistake.name for fit in self.fits))

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.ok:
            return f"Right: all numbers agree with those of {self.subject}."
        lines = [f"Wrong: {self.wrong} of {self.total} numbers differ."]
        if self.worst:
            name, index, theirs, ours = self.worst
            at = f"[{', '.join(map(str, index))}]" if index else ""
            lines = [
                f"{lines[0][:-1]}, most of all {name}{at}: {theirs:.9g}, should be {ours:.9g}."
            ]
        if self.fits:
            one = len(self.fits) == 1
            lines.append(
                "This mistake gives them:" if one else "Each of these mistakes gives them:"
            )
        return "\n".join([*lines, *map(str, self.fits), *filter(None, [self.remark])])


def diagnose(
    student: Any,
    subject: Layer | Loss | Network,
    *inputs: Any,
    target: Any = None,
    weight: Any = None,
    theta: Array | None = None,
    dy: Any = None,
    weights: Any = None,
    loss: Any = None,
    optimizer: Optimizer | None = None,
    digits: int | None = None,
    rng: int | None = None,
    cases: int = 3,
) -> Diagnosis:
    """Compare a student's backward pass, or a student's numbers, with ours, and name the mistake.

    student: code, of a layer `(theta, *inputs, dy) -> (dx, g)` or a layer, `(theta, *inputs,
    rng=None) -> (y, back)`; of a loss `(pred, target) -> dpred`; of a Network `(theta, *inputs,
    target) -> g`, or a Network.  It runs here and on further cases like this one, which also tell
    apart mistakes that this one can't.  g: a vector, or a dict by parameter path.
    Or numbers, on this case: a gradient, as a vector or a dict of some of its parts ("x": of the
    input, "pred": of a loss's); or None, with weights= (the same after a step of the optimizer) or
    loss= (the loss after it).  They agree within the rounding of the figures written (text keeps
    its zeros, "0.050"), or within half a unit of `digits` decimals.
    theta: a network's own by default.  rng: a seed; numbers are of a pass in training then.

    >>> from nnrec.nn import Dense
    >>> def back(theta, x, dy):
    ...     W = theta[:6].reshape(3, 2)
    ...     return dy @ W.T, {"W": x.T @ dy, "b": dy.mean(axis=0)}
    >>> said = diagnose(back, Dense(3, 2), np.ones((5, 3)))
    >>> said.ok, said.names
    (False, ['bias-averaged'])
    """
    given = [a for a in (student, weights, loss) if a is not None]
    after, code = student is None, callable(student) or isinstance(student, Network)
    if len(given) != 1 or not inputs:
        raise ValueError("diagnose: give the inputs, and one of a student, weights= and loss=")
    if after and not (isinstance(subject, Network) and optimizer):
        raise ValueError("diagnose: weights= and loss= need a Network and its optimizer=")
    if not code and isinstance(subject, Layer) and dy is None:
        raise ValueError("diagnose: the numbers of a layer need dy=, what came back to it")
    lent = claims.in_training(student)
    seed = 0 if rng is None and lent else rng
    points = [Point.of(subject, inputs, target, weight, theta, dy, seed)]
    more = np.random.default_rng([points[0].seed or 0, 11])
    while code and len(points) < cases:
        points.append(points[-1].moved(more, mixed=isinstance(subject, Loss)))

    def outcome(twin: Any, rule: Any = None) -> Outcome:
        if optimizer and isinstance(subject, Network) and after:
            return lambda at: claims.stepped(twin, subject, at, optimizer, loss is not None, rule)
        return lambda at: claims.observed(twin, subject, at, numbers=not lent)

    pairs: list[tuple[Claims, Claims]]
    if code:
        pairs = [(claims.claimed(student, subject, at), {}) for at in points]
    else:
        numbers = {"loss": np.asarray(loss)} if loss is not None else by_name(given[0], subject)
        pairs = [claims.written(numbers, digits)]
    ours = outcome(subject)
    answers = [Answer(*pair, ours(at), at) for at, pair in zip(points, pairs)]
    suspects = candidates(subject, rate(optimizer), steps=after)
    return conclude(
        repr(getattr(subject, "layer", subject)),
        answers,
        ((fit, outcome(twin, rule)) for fit, twin, rule in suspects),
    )


def by_name(numbers: Any, subject: Any) -> Claims:
    """A student's numbers as arrays by name."""
    if isinstance(subject, Loss) and not isinstance(numbers, Mapping):
        return claims.named("pred", np.asarray(numbers))
    return claims.parameters(subject, numbers)


def rate(optimizer: Optimizer | None) -> float:
    """The learning rate of the step, for mistakes that use weights which it has changed already."""
    found: Any = optimizer.learning_rate if optimizer else RATE
    found = next(iter(found.values())) if isinstance(found, Mapping) else found
    return float(found(optimizer.steps) if optimizer and callable(found) else found)


def candidates(subject: Any, rate: float, steps: bool) -> Iterator[tuple[Fit, Any, Any]]:
    """Every mistake, everywhere it can stand, then in one part alone; steps: those of a step too.

    With each, what to run for it: a twin of the subject, and a rule for the step.
    """
    for mistake in STEPS if steps else ():
        yield Fit(mistake), subject, mistake.hooks[Optimizer]
    for mistake in MISTAKES.values():
        if (twin := mistake.plant(subject, rate)) is not None:
            yield Fit(mistake), twin, None
    layer = getattr(subject, "layer", subject)
    places = [path for path, _ in walk(layer)] + ["loss"] * isinstance(subject, Network)
    for mistake in MISTAKES.values():
        twins = [(path, mistake.plant(subject, rate, only=path)) for path in places]
        for path, twin in twins:
            if twin is not None:
                yield Fit(mistake, path), twin, None


class Answer:
    """A student's numbers on one case beside ours, and how far they may be apart.

    halves: half a unit of the last figure of each, where they were written; code agrees within a
    millionth of the largest number around, single precision within a ten-thousandth.
    """

    def __init__(self, claim: Claims, halves: Claims, ours: Claims, at: Point | None = None):
        if unknown := [name for name in claim if name not in ours]:
            raise ValueError(f"diagnose: there is no {unknown[0]!r}; there are {', '.join(ours)}")
        if not halves:  # code gives every gradient; one that it leaves out is 0
            claim = {name: np.zeros_like(a) for name, a in ours.items()} | claim
        self.at, self.claim, self.ours, self.halves = at, claim, ours, halves
        sizes = {name: max(largest(a), largest(ours[name])) for name, a in claim.items()}
        whole = max(sizes.values(), default=0.0)
        single = any(a.dtype == np.float32 for a in claim.values())
        share = 1e-9 if halves else 1e-4 if single else 1e-6
        self.slack = {name: share * (size + whole / 1000) + 1e-15 for name, size in sizes.items()}

    def gaps(self, others: Claims, units: float = 0.5) -> Claims:
        """How far each number is from the others', in terms of what is allowed: 1 is the limit."""
        found = {}
        for name, a in self.claim.items():
            b = others.get(name)
            allowed = self.slack[name] + 2 * units * self.halves.get(name, 0.0)
            fits = b is not None and b.shape == a.shape
            gap = abs(a - b) / allowed if fits else np.full(a.shape, np.inf)
            found[name] = np.where(np.isnan(gap), np.inf, gap)
        return found

    def agrees(self, others: Claims, units: float = 0.5) -> bool:
        """Whether all are the others', to so many units of the last figure."""
        return all((gap <= 1).all() for gap in self.gaps(others, units).values())

    def describe(self, said: Diagnosis) -> None:
        """Say how many differ, which one most, and what can be said without the catalogue."""
        gaps = self.gaps(self.ours)
        first = [name for name in gaps if not name.endswith(")")]  # before (second call) and so on
        shown = first if any((gaps[name] > 1).any() for name in first) else list(gaps)
        said.total = sum(gaps[name].size for name in shown)
        said.wrong = sum(int((gaps[name] > 1).sum()) for name in shown)

        def apart(name: str) -> Array:
            gap, a, b = gaps[name] * (gaps[name] > 1), self.claim[name], self.ours[name]
            return gap if np.isinf(gap).any() else abs(a - b) * (gap > 0)

        name = max(shown, key=lambda name: apart(name).max(initial=0))
        a, b = self.claim[name], self.ours[name]
        if a.shape != b.shape:
            turned = ": it is transposed" if a.T.shape == b.shape else ""
            said.remark = f"{name} has the shape {a.shape}, it should have {b.shape}{turned}."
            return
        index = np.unravel_index(int(apart(name).argmax()), a.shape)
        said.worst = (name, tuple(map(int, index)), float(a[index]), float(b[index]))
        if self.agrees(self.ours, units=2):
            said.remark = "All are within two units of the last figure: rounded on the way?"

    def multiple(self) -> str:
        """A remark when the student's numbers are a multiple of ours, all of them."""
        a, b = (np.concatenate([c[k].ravel() for k in self.claim]) for c in (self.claim, self.ours))
        ratio = float(a @ b / (b @ b)) if len(a) > 1 and (b @ b) else np.nan
        scaled = {name: b * ratio for name, b in self.ours.items()}
        return f"All are {ratio:.4g} times what they should be." if self.agrees(scaled) else ""


def largest(a: Array) -> float:
    """The largest magnitude in an array; 0 of an empty one."""
    return float(abs(a).max(initial=0))


def conclude(subject: str, answers: list[Answer], suspects: Any) -> Diagnosis:
    """What is wrong in the answers, and which of the suspects, (fit, outcome), give the same."""
    said = Diagnosis(subject)
    wrong = next((answer for answer in answers if not answer.agrees(answer.ours)), None)
    if wrong is None:
        return said
    wrong.describe(said)
    if said.remark:
        return said
    with np.errstate(all="ignore"):
        for fit, outcome in suspects:
            if fit.where and said.fits:
                break  # what was done everywhere needs fewer words
            if all(answer.agrees(outcome(answer.at)) for answer in answers):
                said.fits.append(fit)
    if not said.fits:
        said.remark = f"No mistake of the catalogue gives them. {wrong.multiple()}".strip()
    return said
