"""Exercises: sheets for practice by hand, each with its key, drawn from a seed.

A sheet is a trace of the library's own pass with some values left blank; the key is the trace.  A
draw is rejected when it would make a bad sheet: `flaws` says when that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from nnrec import nn
from nnrec.nn.arguments import Array, whole_number
from nnrec.nn.layers import several
from nnrec.teach.claims import written
from nnrec.teach.diagnosis import Answer, Diagnosis, conclude, diagnose
from nnrec.teach.styles import constant, decimals
from nnrec.teach.traces import Trace

Index = tuple[int, ...]
Formula = tuple[str, str, Mapping[str, Any]]  # a symbol, its form, what the form's names stand for
FORMATS = {"markdown": "md", "latex": "tex", "html": "html"}
DRAWS = 5000  # so many are tried before a kind is given up


@dataclass(frozen=True)
class Question:
    """A question in words, its answer, and the formula that it asks for, if it asks for one."""

    text: str
    answer: str
    formula: Formula | None = None


@dataclass
class Exercise:
    """A sheet and its key; `str()` is the sheet in Markdown.

    trace: every number.  given: the symbols whose values the sheet shows.  asked: the blanks,
    cells by symbol.  claims: values that somebody got wrong, of which the sheet asks.  simpler:
    formulas to show in place of the trace's own.
    """

    kind: str
    seed: int
    title: str
    task: str
    network: nn.Network
    x: Any
    y: Any
    optimizer: nn.Optimizer
    trace: Trace = field(repr=False)
    given: list[str]
    asked: dict[str, list[Index]]
    questions: list[Question] = field(default_factory=list)
    claims: dict[str, Array] = field(default_factory=dict)
    simpler: list[Formula] = field(default_factory=list)
    digits: int = 4
    fractions: bool = False
    may_die: bool = False  # whether a dead ReLU is what the sheet is about

    def __str__(self) -> str:
        return self.sheet()

    def _repr_html_(self) -> str:
        return self.sheet("html")

    def sheet(self, format: str = "markdown") -> str:
        """The sheet as "markdown", "latex" or "html"."""
        from nnrec.teach.sheets import write

        return write(self, format, key=False)

    def key(self, format: str = "markdown") -> str:
        """The key: the sheet with its blanks filled and each number worked out."""
        from nnrec.teach.sheets import write

        return write(self, format, key=True)

    def save(self, folder: str | Path, format: str = "html") -> list[Path]:
        """Write sheet and key into a folder: backprop-07.html and backprop-07-key.html."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        stem, ending = f"{self.kind}-{self.seed:02}", FORMATS[known_format(format)]
        texts = {stem: self.sheet(format), f"{stem}-key": self.key(format)}
        paths = [Path(folder) / f"{name}.{ending}" for name in texts]
        for path, text in zip(paths, texts.values()):
            path.write_text(text, encoding="utf-8", newline="\n")
        return paths

    def formula(self, name: str) -> Formula:
        """How a symbol's value comes about."""
        own = {formula[0]: formula for formula in self.simpler}
        step = self.trace.step(name)
        return own.get(name, (name, step.form, step.operands))

    def operands(self, operands: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a formula's names."""
        values = self.trace.values
        return {k: values[v] if isinstance(v, str) else v for k, v in operands.items()}

    @property
    def answers(self) -> dict[str, str]:
        """What stands in the blanks, as printed: {"z_1[0,0]": "0.4300", "E": "0.0312"}.

        >>> list(exercise("forward", seed=1).answers)[:3]
        ['z_1[0,0]', 'z_1[0,1]', 'a_1[0,0]']
        """
        found = {}
        for name, cells in self.asked.items():
            for at in cells:
                label = f"{name}[{','.join(map(str, at))}]" if at else name
                found[label] = decimals(self.trace.values[name][at], self.digits)
        return found

    def mark(self, answers: Mapping[str, Any]) -> Diagnosis:
        """Compare a student's values, by symbol, with ours, and name the mistake if there is one.

        {"∂W_1": [[0.0123, -0.4], …]}, or "dW_1" where ∂ is hard to type, to the sheet's decimals.
        Gradients and weights after the step are diagnosed; all else is right or wrong.

        >>> sheet = exercise("backprop", seed=7)
        >>> right = sheet.trace.values["∂W_1"]
        >>> sheet.mark({"dW_1": right.round(4)}).ok, sheet.mark({"dW_1": right.round(4) / 2}).ok
        (True, False)
        """
        shapes = self.network.layer.shapes
        paths = {name: path for name, path in self.trace.given.items() if path in shapes}
        plain, gradients, weights = {}, {}, {}
        for given, value in answers.items():
            name = f"∂{given[1:]}" if given.startswith("d") else given
            if name not in self.trace.values:
                raise ValueError(f"mark: there is no {given!r}; there are {', '.join(self.asked)}")
            if name.startswith("∂") and name[1:] in paths:
                gradients[paths[name[1:]]] = value
            elif name.endswith("+") and name[:-1] in paths:
                weights[paths[name[:-1]]] = value
            else:
                plain[name] = np.asarray(value)
        inputs = several(self.x)
        digits = None if self.fractions else self.digits
        found = []
        if plain:
            ours = {name: np.asarray(self.trace.values[name], float) for name in plain}
            found.append(conclude(self.title, [Answer(*written(plain, digits), ours)], []))
        if gradients:
            found.append(diagnose(gradients, self.network, *inputs, target=self.y, digits=digits))
        if weights:
            step: Any = {"weights": weights, "optimizer": self.optimizer, "digits": digits}
            found.append(diagnose(None, self.network, *inputs, target=self.y, **step))
        wrong = [said for said in found if not said]
        return next((said for said in wrong if said.fits), (wrong or found)[0])


def exercise(
    kind: str,
    seed: int = 0,
    *,
    sizes: tuple[int, ...] | None = None,
    rows: int | None = None,
    difficulty: int = 1,
    fractions: bool = False,
    digits: int = 4,
) -> Exercise:
    """A sheet of a kind with its key, the same for the same seed and settings.

    kind: "forward", "backprop", "delta", "wrong-gradient", "update", "softmax", "factorization" or
    "relu".  difficulty: 1 to 3.  sizes: of the network's layers, (2, 3, 1); rows: of the batch;
    by default as the difficulty has them.  fractions: exact numbers, where there is no exponential
    (ReLU in the place of the sigmoid).  digits: decimals of the answers.

    >>> sheet = exercise("update", seed=3)
    >>> print(str(sheet).splitlines()[0])
    # One update (sheet 3)
    >>> sheet.answers["b_1+[0]"] in sheet.key(), sheet.answers["b_1+[0]"] in sheet.sheet()
    (True, False)
    """
    from nnrec.teach.draws import Draw
    from nnrec.teach.kinds import KINDS

    if kind not in KINDS:
        raise ValueError(f"exercise: kind={kind!r}, expected one of {', '.join(KINDS)}")
    whole_number("exercise", "seed", seed, least=0)
    whole_number("exercise", "digits", digits)
    if difficulty not in (1, 2, 3):
        raise ValueError(f"exercise: difficulty={difficulty!r}, expected 1, 2 or 3")
    rng = np.random.default_rng([seed, crc32(kind.encode())])
    draw = Draw(kind, seed, rng, sizes, rows, difficulty, fractions, digits)
    for _ in range(DRAWS):
        sheet = KINDS[kind](draw)
        if sheet is not None and next(flaws(sheet), None) is None:
            return sheet
    raise ValueError(
        f"exercise: none of {DRAWS} draws of {kind!r} makes a good sheet with sizes={sizes}, "
        f"rows={rows}, digits={digits}; ask for less"
    )


def flaws(sheet: Exercise) -> Iterator[str]:
    """Why a draw makes a bad sheet; nothing for a good one.

    An answer within a twentieth of a unit of where rounding turns (half a unit of the next digit);
    a unit that is off, or flat, on every row; two answers that print alike but for the sign; an
    answer that may be had by copying or by continuing a row.  Fractions stay small.
    """
    texts = sheet.answers
    values = [sheet.trace.values[name][at] for name, cells in sheet.asked.items() for at in cells]
    for label, value in zip(texts, values):
        if sheet.fractions:
            if abs(value.numerator) > 9999 or value.denominator > 1024:
                yield f"{label} is not done by hand"
        elif abs(abs(float(value)) * 10**sheet.digits % 1 - 0.5) < 0.05:
            yield f"{label} lies at a rounding boundary"
        elif abs(float(value)) < 10 ** (1 - sheet.digits):
            yield f"{label} has one figure only"
    if not sheet.may_die:
        yield from (f"{name} has a dead unit" for name in dead(sheet.trace))
    sizes = [size(text) for text in texts.values()]
    if len(set(sizes)) < len(sizes):
        yield "two answers coincide"
    given = (x for name in sheet.given for x in np.ravel(sheet.trace.values[name]))
    shown = {size(given_text(x, sheet.digits)) for x in given}
    for label, text in zip(texts, sizes):
        if text in shown | {Fraction(0), Fraction(1)}:
            yield f"{label} can be copied"
    for name, cells in sheet.asked.items():
        yield from (f"{name} can be guessed" for _ in patterns(sheet, name, set(cells)))


def size(printed: str) -> Fraction:
    """The magnitude of a number as it is printed."""
    return abs(Fraction(printed))


def dead(trace: Trace) -> Iterator[str]:
    """The activations with a unit that passes nothing back on any row."""
    for step in trace.steps:
        if step.kind == "forward" and step.owner in ("ReLU", "Sigmoid", "Tanh"):
            y = step.value
            slope = {"ReLU": y > 0, "Sigmoid": y * (1 - y), "Tanh": 1 - y * y}[step.owner]
            if (slope.max(axis=0) < 0.02).any():
                yield step.name


def patterns(sheet: Exercise, name: str, cells: set[Index]) -> Iterator[Index]:
    """Lines of blanks of which one follows from the others: progressions, and sums of 0 or 1."""
    array, unit = sheet.trace.values[name], 0 if sheet.fractions else 2 * 10.0**-sheet.digits
    if array.ndim != 2:
        return
    for i, j in np.ndindex(array.shape):
        for line in ([(i, j + k) for k in range(3)], [(i + k, j) for k in range(3)]):
            if cells.issuperset(line):
                a, b, c = (array[at] for at in line)
                if abs(a + c - 2 * b) <= unit or abs(a * c - b * b) <= unit * abs(b):
                    yield i, j
    for i in range(len(array)):
        row = {(i, j) for j in range(array.shape[1])}
        if len(row) > 1 and row <= cells:
            if min(abs(sum(array[at] for at in row) - k) for k in (-1, 0, 1)) <= unit:
                yield i, 0


def given_text(value: Any, digits: int) -> str:
    """A number that a sheet gives: short where it is short, else with two decimals to spare.

    >>> given_text(0.5, 4), given_text(2 / 3, 4), given_text(Fraction(2, 3), 4)
    ('0.5', '0.666667', '2/3')
    """
    if isinstance(value, Fraction | int | np.integer):
        return str(value)
    return constant(float(round(value, digits + 2)) + 0.0)


def known_format(format: str) -> str:
    """The format, if there is such a one."""
    if format not in FORMATS:
        raise ValueError(f"format={format!r}, expected one of {', '.join(FORMATS)}")
    return format
