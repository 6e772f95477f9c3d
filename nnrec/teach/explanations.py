"""Explanations: a trace written out, each step in symbols, with numbers, result and check."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nnrec import nn
from nnrec.nn.arguments import Array, whole_number
from nnrec.nn.training import rows_of
from nnrec.teach.expressions import Index, Tree, numeric, parse, symbolic
from nnrec.teach.recording import trace
from nnrec.teach.traces import Step, Trace, difference

FORMATS = ("text", "markdown", "latex", "html")
TITLES = {
    "forward": "Forward: what the network computes",
    "loss": "Loss: how wrong it is",
    "backward": "Backward: what each number did to the loss",
    "update": "Update: a step down the gradient",
}
FOCUSED = 40  # so many entries are written out where a focus asks for them


def explain(
    network: nn.Network,
    x: Any,
    y: Any = None,
    optimizer: nn.Optimizer | None = None,
    format: str = "text",
    focus: str | None = None,
    row: int | None = None,
    digits: int = 4,
    exact: bool = False,
    weight: Any = None,
    rng: Any = None,
    entries: int = 4,
) -> Explanation:
    """Show how a network computes its loss, its gradient and one update, on your own numbers.

    `str()` of the result is the text, Markdown, LaTeX (for amsmath) or HTML page; in a notebook it
    shows itself.  Nothing of the network or the optimiser (SGD(0.5) if None) changes.

    focus: a part "dense_1", a neuron of it "dense_1[2]", a parameter "dense_1.W", a weight
    "dense_1.W[0,1]", all counted from 0.  row: one example, as if it were the whole batch.
    digits: decimals.  exact: in fractions.  entries: so many of each step are written out.

    >>> net = nn.Network(nn.Dense(1, 1), nn.MSE(), dtype="float64")
    >>> net.theta[:] = 2, 1
    >>> print(explain(net, [[3.0]], [8.0], focus="W[0,0]", digits=2))
    Backward: what each number did to the loss
    <BLANKLINE>
     5  ∂E/∂W₁ = xᵀ ∂E/∂z₁   (dense: Dense(1, 1))
        ∂E/∂W₁[0,0] = 3.00 · (-1.00) = -3.00   ✓ -3.00
        ✓ complex step, off by 0
    <BLANKLINE>
    Update: a step down the gradient
    <BLANKLINE>
     8  W₁⁺ = W₁ - 0.5 · ∂E/∂W₁   (dense: SGD(learning_rate=0.5))
        W₁⁺[0,0] = 2.00 - 0.5 · (-3.00) = 3.50   ✓ 3.50
        ✓ formula evaluated apart, off by 0
    """
    if format not in FORMATS:
        raise ValueError(f"explain: format={format!r}, expected one of {', '.join(FORMATS)}")
    whole_number("explain", "digits", digits, least=0)
    whole_number("explain", "entries", entries, least=0)
    if row is not None:
        xs, y, weight = network.batch(x, y, weight)
        n = xs[0].shape[0]
        if not isinstance(row, int | np.integer) or not 0 <= row < n:
            raise ValueError(f"explain: row={row!r}, expected a whole number from 0 to {n - 1}")
        x, y, weight = rows_of((xs, y, weight), slice(row, row + 1))
    recorded = trace(network, x, y, optimizer, weight, rng, exact)
    return Explanation(recorded, format, focus, digits, entries)


@dataclass(frozen=True)
class Line:
    """One entry of a step: its symbol, the numbers put in, its value and its check."""

    symbol: Tree
    numbers: Tree | None
    value: Tree
    check: Tree | None
    agrees: bool


@dataclass(frozen=True)
class Shown:
    """One step as it is shown; formula is None where there is no symbolic form."""

    number: int
    step: Step
    symbol: Tree
    formula: Tree | None
    lines: list[Line]
    left_out: int
    value: Tree | None
    agrees: bool


@dataclass
class Explanation:
    """A trace with the way it is to be shown."""

    trace: Trace
    format: str = "text"
    focus: str | None = None
    digits: int = 4
    entries: int = 4
    chosen: dict[str, list[Index] | None] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.chosen = focused(self.trace, self.focus)

    def __str__(self) -> str:
        return self.to(self.format)

    def _repr_html_(self) -> str:
        page = html.escape(self.to("html"))
        return f'<iframe srcdoc="{page}" style="width:100%;height:42rem;border:0"></iframe>'

    def _repr_markdown_(self) -> str:
        return self.to("markdown")

    def to(self, format: str) -> str:
        """The explanation in one of the formats."""
        from nnrec.teach import pages

        write = {"text": pages.text, "markdown": pages.markdown, "latex": pages.latex}
        with np.errstate(all="ignore"):  # a value that overflowed is shown as it is
            return (write | {"html": pages.page})[format](self)

    def save(self, path: str | Path) -> None:
        """Write it to a file, UTF-8."""
        Path(path).write_text(str(self) + "\n", encoding="utf-8", newline="\n")

    def sections(self) -> Iterator[tuple[str, list[Shown]]]:
        """The steps by kind, each kind with its title."""
        shown = [
            self.shown(number, step)
            for number, step in enumerate(self.trace.steps, 1)
            if self.focus is None or step.name in self.chosen
        ]
        for kind, title in TITLES.items():
            if steps := [s for s in shown if s.step.kind == kind]:
                yield title, steps

    def given(self) -> list[tuple[str, str, Tree]]:
        """What no step gives, but an optimiser's zeros: symbol, what it is, value; no focus."""
        names, values = self.trace.given if self.focus is None else {}, self.trace.values
        told = [name for name in names if "[" not in name or values[name].any()]
        return [(name, names[name], ("value", values[name])) for name in told]

    def shown(self, number: int, step: Step) -> Shown:
        """One step with its formula, and its first entries with the numbers put in."""
        trace, form = self.trace, step.form
        formula: Tree | None = None
        values = trace.operands(step)
        if step.known:
            formula = symbolic(parse(form), step.operands, values)
        elif step.operands:
            operands: list[Tree] = [("sym", name) for name in step.operands.values()]
            formula = ("call", form.partition("(")[0], operands)
        places = self.chosen.get(step.name)
        most = FOCUSED if places is not None else self.entries
        if places is None:
            places = list(np.ndindex(step.value.shape))
        lines = [self.line(step, values, at) for at in places[:most]]
        whole = self.chosen.get(step.name) is None and step.value.size > 1
        return Shown(
            number,
            step,
            ("sym", step.name),
            formula,
            lines,
            len(places) - len(lines),
            ("value", step.value) if whole else None,
            trace.agrees(step),
        )

    def line(self, step: Step, values: dict[str, Any], at: Index) -> Line:
        """One entry with the numbers put in."""
        numbers = numeric(parse(step.form), values, at) if step.known else None
        if numbers and numbers[0] == "num":
            numbers = None  # it is only passed on
        value, check = step.value[at], np.nan if step.check is None else step.check[at]
        agrees = difference(value, check) <= self.trace.tolerance(step)
        shown = ("num", check) if check == check else None
        return Line(("sym", step.name, at), numbers, ("num", value), shown, agrees)


def focused(trace: Trace, focus: str | None) -> dict[str, list[Index] | None]:
    """The steps that a focus selects, and of each the entries; None: all of it.

    A neuron is one output of a part: with its z, ∂E/∂z, weights and bias.
    """
    if focus is None:
        return {}
    match = re.fullmatch(r"([\w.]+)(?:\[\s*(\d+(?:\s*,\s*\d+)*)\s*\])?", focus)
    path = match[1] if match else ""
    index = tuple(map(int, match[2].split(","))) if match and match[2] else ()
    graded = {about for name, about in trace.given.items() if f"∂{name}" in trace.values}
    params = graded - {"input", "made between parts"}
    parts = [step.part for step in trace.steps if step.kind == "forward"]
    if path in params:
        steps = [step for step in trace.steps if step.param == path]
        steps += [s for s in trace.steps if s.part == path and s not in steps]
        shape = next(trace.values[n].shape for n, about in trace.given.items() if about == path)
        if index and (len(index) != len(shape) or any(i >= n for i, n in zip(index, shape))):
            raise ValueError(f"explain: focus={focus!r}, but {path} has shape {shape}")
        fitting = [s for s in steps if not index or s.value.shape == shape]
        return {s.name: [index] if index else None for s in fitting}
    if path not in parts:
        names = ", ".join(dict.fromkeys([*parts, *sorted(params)]))
        raise ValueError(f"explain: focus={focus!r}, expected one of {names}, with [index] or not")
    outputs = [s for s in trace.steps if s.part == path and s.kind == "forward"]
    arriving = {f"∂{s.name}" for s in outputs}
    steps = [s for s in trace.steps if s.part == path or s.name in arriving]
    if not index:
        return {step.name: None for step in steps}
    width = outputs[-1].value.shape[-1]
    if len(index) > 1 or index[0] >= width:
        raise ValueError(f"explain: focus={focus!r}, but {path} has {width} outputs, from [0] on")
    own = [s for s in steps if s.kind == "forward" or s.name in arriving or s.param]
    own = [s for s in own if s.value.ndim and s.value.shape[-1] == width]
    return {s.name: [at for at in np.ndindex(s.value.shape) if at[-1] == index[0]] for s in own}


def document_network() -> tuple[nn.Network, Array, Array]:
    """The document's 3-4-2 network (its §4.2), with weights of ours, an example and its target.

    >>> network, x, y = document_network()
    >>> network.predict(x).round(4)
    array([[0.4552, 0.656 ]])
    """
    layers = [nn.Dense(3, 4), nn.Sigmoid(), nn.Dense(4, 2), nn.Sigmoid()]
    network = nn.Network(layers, nn.MSE(), dtype="float64")
    W_1 = [[0.1, 0.2, -0.1, 0.3], [0.4, -0.2, 0.1, 0.0], [-0.3, 0.1, 0.2, -0.2]]
    W_2 = [[0.2, -0.4], [0.5, 0.1], [-0.3, 0.3], [0.1, 0.2]]
    b_1, b_2 = [0.0, 0.1, 0.0, -0.1], [-0.5, 0.6]
    network.theta[:] = [*sum(W_1, []), *b_1, *sum(W_2, []), *b_2]
    return network, np.array([[1.0, 0.5, -1.0]]), np.array([[0.1, 0.9]])
