"""Trace: one forward, loss, backward and update, as a list of steps that can be recomputed.

A step's name is the symbol of what it gives: `z_1`, the first z; `∂z_1`, ∂E/∂z₁; `∂W_1.2`, what the
second use of W₁ adds to ∂E/∂W₁; `W_1+`, W₁ after the update; `m[W_1]`, an optimiser's m for W₁.
Its operands are such symbols, or numbers.  What no step gives is `given`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite, prod
from typing import Any

import numpy as np

from nnrec.nn.arguments import Array
from nnrec.teach.expressions import FUNCTIONS, evaluate, names_in
from nnrec.teach.symbols import TABLE

FORMAT = "nnrec trace 1"
TOLERANCE = {"float64": 1e-10, "float32": 1e-4, "fraction": 0.0}
CENTRAL = "central difference"


@dataclass
class Step:
    """One step; check: the same value by another way, method, and NaN where it was not checked.

    kind: forward, loss, backward or update.  part: the path of the part; layer: how it prints.
    param: the path of the parameter whose gradient or update this is.
    """

    name: str
    kind: str
    part: str
    layer: str
    form: str
    operands: dict[str, Any]
    value: Array = field(repr=False)
    param: str = ""
    check: Any = field(default=None, repr=False)
    method: str = ""

    @property
    def error(self) -> float:
        """The largest difference of value and check, relative to the check where that is > 1."""
        return 0.0 if self.check is None else difference(self.value, self.check)

    @property
    def known(self) -> bool:
        """Whether the form can be evaluated; a layer without one in the table is `MyLayer(x)`."""
        call = re.match(r"(\w+)\(", str(self.form))
        return call is None or call[1] in FUNCTIONS

    @property
    def owner(self) -> str:
        """The name of the class that took the step."""
        return self.layer.partition("(")[0]


@dataclass
class Trace:
    """The steps of one pass in order, and the values of all symbols.

    given: symbol → what it is, such as a parameter's path.

    >>> from nnrec.nn import MSE, Dense, Network
    >>> from nnrec.teach import trace
    >>> t = trace(Network(Dense(2, 1), MSE(), rng=0, dtype="float64"), [[1.0, 2.0]], [3.0])
    >>> [step.name for step in t.steps]
    ['z_1', 'L', 'E', '∂z_1', '∂W_1', '∂b_1', '∂x', 'W_1+', 'b_1+']
    >>> t.step("∂W_1").form, t.step("∂W_1").method, t.ok
    ('x.T @ dy', 'complex step', True)
    """

    network: str
    loss: str
    optimizer: str
    dtype: str
    given: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    values: dict[str, Array] = field(default_factory=dict, repr=False)

    def step(self, name: str) -> Step:
        """The step that gives a symbol."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"no step gives {name}; there are {', '.join(s.name for s in self.steps)}")

    def tolerance(self, step: Step) -> float:
        """How far a step's check may be off."""
        return max(TOLERANCE[self.dtype], 1e-6 if step.method == CENTRAL else 0)

    def agrees(self, step: Step) -> bool:
        """Whether a step's value and its check agree."""
        return step.error <= self.tolerance(step)

    @property
    def ok(self) -> bool:
        """Whether every check agrees."""
        return all(map(self.agrees, self.steps))

    def operands(self, step: Step, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The values of a step's operands by the names in its form, floats as float64."""
        values = self.values if values is None else values
        return {
            name: widened(values[symbol]) if isinstance(symbol, str) else symbol
            for name, symbol in step.operands.items()
        }

    def replay(self, **changes: Array) -> dict[str, Any]:
        """All values up to the loss by the forms alone, with some of the given ones changed.

        >>> from nnrec.nn import MSE, Dense, Network
        >>> from nnrec.teach import trace
        >>> t = trace(Network(Dense(1, 1), MSE(), rng=0, dtype="float64"), [[2.0]], [3.0])
        >>> t.replay(W_1=np.array([[2.0]]), b_1=np.zeros(1))["E"].item()
        0.5
        """
        values = {name: self.values[name] for name in self.given} | changes
        for step in self.steps:
            if step.kind in ("forward", "loss"):
                if not step.known:
                    raise ValueError(f"{step.layer} has no symbolic form; see `register`")
                values[step.name] = np.asarray(evaluate(step.form, self.operands(step, values)))
        return values

    def to_json(self) -> str:
        """The trace as canonical JSON: the same bytes for the same trace.

        Floats are written so that they read back as they were, fractions as "1/3".
        """
        tree = {
            "format": FORMAT,
            **{name: getattr(self, name) for name in ("network", "loss", "optimizer", "dtype")},
            "given": [[k, about, packed(self.values[k])] for k, about in self.given.items()],
            "steps": [
                vars(step)
                | {"value": packed(step.value), "check": packed(step.check)}
                | {"operands": {k: plain(v) for k, v in step.operands.items()}}
                for step in self.steps
            ],
        }
        return json.dumps(
            tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Trace:
        """The trace that `to_json` wrote, read without being verified."""
        try:
            tree = json.loads(text)
            if tree.pop("format") != FORMAT:
                raise ValueError
            given, steps = tree.pop("given"), tree.pop("steps")
            trace = cls(**tree)
            TOLERANCE[trace.dtype]
            if trace.dtype not in {value["dtype"] for _, _, value in given}:
                raise ValueError(f"no value of {trace.dtype} is given")
            for name, about, value in given:
                trace.given[name], trace.values[name] = about, unpacked(value)
            for step in steps:
                operands = {k: number(v) for k, v in step["operands"].items()}
                read = {"value": unpacked(step["value"]), "check": unpacked(step["check"])}
                trace.steps.append(Step(**step | read | {"operands": operands}))
                trace.values[step["name"]] = trace.steps[-1].value
        except Exception as error:  # a file from somebody else may hold anything
            raise ValueError(f"this is no trace as `to_json` writes it: {error!r}") from None
        return trace


def verify(text: str | bytes) -> Trace:
    """Read a trace and recompute every step from its operands, and compare it with its check.

    Returns the trace; a ValueError names the first step that does not follow.

    >>> from nnrec.nn import MSE, Dense, Network
    >>> from nnrec.teach import trace
    >>> t = trace(Network(Dense(1, 1), MSE(), rng=0, dtype="float64"), [[2.0]], [3.0])
    >>> text = t.to_json()
    >>> verify(text).to_json() == text
    True
    >>> t.steps[0].value[:] += 0.01
    >>> verify(t.to_json())
    Traceback (most recent call last):
    ValueError: step z_1 (Dense(1, 1)): the value is not that of x @ W + b; off by 0.01
    """
    trace = Trace.from_json(text)
    forms = {kind.__name__ for kind in TABLE}
    seen = set(trace.given)
    for step in trace.steps:
        where = f"step {step.name} ({step.layer or step.kind})"
        unknown = [s for s in step.operands.values() if isinstance(s, str) and s not in seen]
        if unknown or step.name in seen:
            about = f"uses {unknown[0]} before it is there" if unknown else "stands there twice"
            raise ValueError(f"{where} {about}")
        seen.add(step.name)
        if step.known or step.owner in forms:
            try:
                with np.errstate(all="ignore"):
                    value = evaluate(step.form, trace.operands(step))
            except Exception as error:
                raise ValueError(f"{where}: {step.form} can't be evaluated: {error}") from None
            off = difference(step.value, value)
            if not off <= TOLERANCE[trace.dtype]:
                about = f"the value is not that of {step.form}; off by {off:.1g}"
                raise ValueError(f"{where}: {about}")
        if not trace.agrees(step):
            raise ValueError(f"{where}: the value and its check ({step.method}) differ")
    return trace


def difference(value: Any, check: Any) -> float:
    """The largest difference, relative to the largest check where that is > 1; inf: shapes differ.

    >>> difference(np.array([1.0, 9.0]), np.array([1.5, np.nan]))
    0.3333333333333333
    """
    value, check = np.asarray(value), np.asarray(check)
    if value.shape != check.shape:
        return float("inf")
    if value.dtype == object or check.dtype == object:
        pairs = [(a, b) for a, b in zip(value.flat, check.flat) if b == b]
        return float(max((abs(a - b) for a, b in pairs), default=0))
    check = check.astype(float)
    checked = ~np.isnan(check)
    value, check = value.astype(float)[checked], check[checked]
    if not (np.isfinite(value).all() and np.isfinite(check).all()):
        return 0.0 if np.array_equal(value, check) else float("inf")
    return float(np.abs(value - check).max(initial=0) / max(1, np.abs(check).max(initial=0)))


def constants(subject: Any) -> dict[str, Any]:
    """An object's arguments that are numbers."""
    numbers = int | float | Fraction
    return {
        name: value
        for name, value in vars(subject).items()
        if isinstance(value, numbers) and not isinstance(value, bool)
    }


def used(form: str, local: Mapping[str, Any]) -> dict[str, Any]:
    """What the names in a form stand for; for a generic one, all symbols."""
    try:
        names = names_in(form)
    except ValueError:
        return {name: symbol for name, symbol in local.items() if isinstance(symbol, str)}
    if missing := [name for name in names if name not in local]:
        known = ", ".join(local)
        raise ValueError(f"the form {form!r} uses {missing[0]}, which is none of {known}")
    return {name: local[name] for name in names}


def widened(value: Any) -> Any:
    """Floats as float64; ids, labels, fractions and None as they are."""
    return value.astype(float) if value is not None and value.dtype.kind == "f" else value


def plain(x: Any) -> Any:
    """A number as JSON has it: fractions, and floats that are not finite, as text."""
    if isinstance(x, Fraction):
        return f"{x.numerator}/{x.denominator}"
    if isinstance(x, np.generic):
        x = x.item()
    return str(x) if isinstance(x, float) and not isfinite(x) else x


def number(x: Any) -> Any:
    """The number that `plain` wrote, or the symbol."""
    if isinstance(x, str) and "/" in x:
        return Fraction(x)
    return float(x) if x in ("nan", "inf", "-inf") else x


def packed(value: Any) -> Any:
    """An array as JSON: its kind, its shape, its numbers in a row."""
    if value is None:
        return None
    array = np.asarray(value)
    kind = "fraction" if array.dtype == object else array.dtype.name
    exact = kind == "fraction"
    numbers = [plain(Fraction(x) if exact and x == x else x) for x in array.ravel().tolist()]
    return {"dtype": kind, "shape": list(array.shape), "numbers": numbers}


def unpacked(tree: Any) -> Any:
    """The array that `packed` wrote."""
    if tree is None:
        return None
    numbers, shape = list(map(number, tree["numbers"])), tuple(tree["shape"])
    if tree["dtype"] not in ("float64", "float32", "int64", "int32", "bool", "fraction"):
        raise ValueError(f"dtype {tree['dtype']!r}")
    if len(numbers) != prod(shape):
        raise ValueError(f"{len(numbers)} numbers in the shape {shape}")
    array = np.array(numbers, object if tree["dtype"] == "fraction" else tree["dtype"])
    return array.reshape(shape)
