"""Figures of a trace as inline SVG: the network, ∂E/∂z through the layers, the loss downhill."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nnrec.nn.arguments import Array
from nnrec.teach.styles import Text, decimals
from nnrec.teach.traces import Step, Trace

WIDTH = 720
UNITS, LABELS = 8, 24  # the widest layer that is drawn, and the most labelled weights of a layer


def drawn(trace: Trace, digits: int) -> Iterator[str]:
    """The figures that can be drawn, each with its caption, under a heading."""
    made = [figure for draw in (network, sizes, downhill) if (figure := draw(trace, digits))]
    if made:
        yield "<h2>Figures</h2>"
    for picture, caption in made:
        yield (
            f'<figure><div class="scroll">{picture}</div>'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )


def svg(height: float, label: str, parts: list[str]) -> str:
    """An SVG element of the common width."""
    size = f'viewBox="0 0 {WIDTH} {height:g}"'
    return f'<svg {size} role="img" aria-label="{html.escape(label)}">{"".join(parts)}</svg>'


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    """A text at a place."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} class="{kind}">{html.escape(words.replace("-", "−"))}</text>'


def line(x: float, y: float, x2: float, y2: float, kind: str, width: float = 1) -> str:
    """A straight line."""
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} class="{kind}" stroke-width="{width:.2f}"/>'


@dataclass(frozen=True)
class Column:
    """A layer of neurons: its symbol, its values in the first row, ∂E/∂ them, the weights to it."""

    symbol: str
    values: Array
    gradient: Array | None
    weights: Array | None = None
    slopes: Array | None = None


def columns(trace: Trace) -> list[Column]:
    """A chain of Dense layers, each with what follows entry by entry; else nothing."""
    steps = [s for s in trace.steps if s.kind == "forward"]

    def column(symbol: str, dense: Step | None = None) -> Column:
        first = np.asarray(trace.values[symbol][0], float)
        d = trace.values.get(f"∂{symbol}")
        names = [dense.operands["W"], f"∂{dense.operands['W']}"] if dense else []
        W = [np.asarray(trace.values[name], float) for name in names]
        return Column(symbol, first, None if d is None else np.asarray(d[0], float), *W)

    if not steps or steps[0].owner != "Dense" or trace.values["x"].ndim != 2:
        return []
    last, dense, found = "x", None, [column("x")]
    for step in steps:
        if step.operands.get("x") != last:
            return []
        if step.owner == "Dense":
            if dense:
                found.append(column(last, dense))
            dense = step
        elif step.value.shape != trace.values[last].shape:
            return []
        last = step.name
    return [*found, column(last, dense)]


def network(trace: Trace, digits: int) -> tuple[str, str] | None:
    """The neurons with their activations, the weights and the gradients on the lines."""
    if "x" not in trace.values:
        return None
    layers = columns(trace)
    if not layers or max(len(layer.values) for layer in layers) > UNITS or len(layers) > 5:
        return None
    most = max(len(layer.values) for layer in layers)
    gap, top = 124 if most < 6 else 90, 30
    height = top + gap * most
    xs = np.linspace(60, WIDTH - 60, len(layers))

    def y(layer: Column, i: int) -> float:
        return top + gap * (most / 2 + i + 0.5 - len(layer.values) / 2)

    edges, labels, nodes, shown = [], [], [], min(digits, 3)
    for before, layer, x, x2 in zip(layers, layers[1:], xs, xs[1:]):
        W, dW = layer.weights, layer.slopes
        if W is None or dW is None:
            return None
        widest = np.abs(W).max() or 1
        for (i, j), w in np.ndenumerate(W):
            y1, y2 = y(before, i), y(layer, j)
            kind = "minus" if w < 0 else "plus"
            edges.append(line(x + 26, y1, x2 - 26, y2, kind, 0.6 + 3.4 * abs(w) / widest))
            few, k = (len(W), i) if len(W) <= W.shape[1] else (W.shape[1], W.shape[1] - 1 - j)
            t = 0.28 + 0.44 * k / (few - 1) if few > 1 else 0.5  # a column for each of the few
            at = x + 26 + t * (x2 - x - 52), y1 + t * (y2 - y1)
            if W.size <= LABELS and len(layers) <= 4:
                labels.append(text(at[0], at[1] - 2, decimals(w, shown), "halo"))
                slope = f"∂ {decimals(dW[i, j], shown + 1)}"
                labels.append(text(at[0], at[1] + 10, slope, "halo pale"))
    style = Text(digits)
    for layer, x in zip(layers, xs):
        nodes.append(text(x, 18, style.symbol(layer.symbol)))
        for i, value in enumerate(layer.values):
            nodes.append(f'<circle cx="{x:.1f}" cy="{y(layer, i):.1f}" r="26" class="node"/>')
            nodes.append(text(x, y(layer, i) + 4, decimals(value, shown)))
            if layer.gradient is not None:
                slope = f"∂ {decimals(layer.gradient[i], shown + 1)}"
                nodes.append(text(x, y(layer, i) + 39, slope, "halo pale"))
    caption = (
        "The first example: activations in the neurons, weights on the lines (thick: large; blue: "
        "positive; orange: negative), and, after ∂, the derivative of E in each."
    )
    return svg(
        height + 14,
        "The network with activations, weights and gradients",
        [*edges, *labels, *nodes],
    ), caption


def sizes(trace: Trace, digits: int) -> tuple[str, str] | None:
    """The size of ∂E/∂z at the output of each part with weights, on a scale of powers of ten."""
    found = []
    for step in trace.steps:
        d = trace.values.get(f"∂{step.name}")
        if step.kind == "forward" and d is not None and step.owner in ("Dense", "LayerNorm"):
            if (size := float(np.sqrt(np.mean(np.square(np.asarray(d, float)))))) > 0:
                found.append((step, size))
    if len(found) < 2:
        return None
    low = np.floor(np.log10(min(size for _, size in found)))
    high = max(np.ceil(np.log10(max(size for _, size in found))), low + 1)
    left, right, row = 150.0, WIDTH - 110.0, 30
    parts, style = [], Text(digits)

    def at(power: float) -> float:
        return float(left + (right - left) * (power - low) / (high - low))

    bottom = 10 + row * len(found)
    for power in np.arange(low, high + 1):
        parts.append(line(at(power), 6, at(power), bottom, "axis"))
        parts.append(text(at(power), bottom + 15, f"1e{power:.0f}", "pale"))
    for i, (step, size) in enumerate(found):
        y, end = 12 + row * i, at(float(np.log10(size)))
        width = max(end - left, 1.5)
        name = f"∂E/∂{style.symbol(step.name)}"
        parts.append(text(left - 8, y + 14, f"{name}  {step.part}", anchor="end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" height="18" class="bar"/>')
        parts.append(text(left + width + 6, y + 14, f"{size:.2e}", anchor="start"))
    caption = "The size of ∂E/∂z through the layers: the root of the mean square, in powers of ten."
    return svg(bottom + 24, "The size of the gradient through the layers", parts), caption


def downhill(trace: Trace, digits: int) -> tuple[str, str] | None:
    """E(θ − s ∂E/∂θ) over the step s, with the straight line that the gradient predicts."""
    moved = {
        name: (np.asarray(trace.values[name], float), np.asarray(trace.values[f"∂{name}"], float))
        for name in trace.given
        if {f"{name}+", f"{name}[rows({name})]+"} & set(trace.values) and f"∂{name}" in trace.values
    }
    rates = [s.operands["rate"] for s in trace.steps if "rate" in s.operands]
    if not moved or not rates:
        return None
    rate = float(rates[0])
    steps = np.linspace(0, 2 * rate, 41)
    try:
        losses = [
            float(np.sum(trace.replay(**{k: W - s * dW for k, (W, dW) in moved.items()})["E"]))
            for s in steps
        ]
    except ValueError:  # a layer without a symbolic form
        return None
    slope = -sum(float((dW * dW).sum()) for _, dW in moved.values())
    predicted = losses[0] + slope * steps
    if not np.isfinite(losses).all() or not slope:
        return None
    low = min(min(losses), losses[0] + slope * rate)
    high = max(losses)
    span = (high - low) or 1
    left, right, top, bottom = 80, WIDTH - 30, 16, 240

    def place(s: float, value: float) -> tuple[float, float]:
        x = left + (right - left) * s / steps[-1]
        return x, bottom - (bottom - top) * (value - low) / span

    def path(values: Array, kind: str) -> str:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, steps, values))
        return f'<polyline points="{points}" class="{kind}"/>'

    parts = [line(left, bottom, right, bottom, "axis"), line(left, top, left, bottom, "axis")]
    above = predicted[predicted >= low - 1e-12 * span]  # it falls: the first of the steps
    parts += [path(above, "tangent"), path(np.array(losses), "curve")]
    for s, value in ((0.0, losses[0]), (rate, losses[20])):
        x, y = place(s, value)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="dot"/>')
        parts.append(text(x + 8, y - 7, f"E = {decimals(value, digits)}", "halo", "start"))
    for s in (0, rate, 2 * rate):
        parts.append(text(place(s, low)[0], bottom + 16, f"{s:g}", "pale"))
    parts.append(text((left + right) / 2, bottom + 32, "step s along −∂E/∂θ", "pale"))
    caption = (
        f"The loss along the gradient's direction. Dashed is what the gradient predicts: a "
        f"step of {rate:g} should lower E by {decimals(-slope * rate, digits)}; it does by "
        f"{decimals(losses[0] - losses[20], digits)}."
    )
    return svg(bottom + 40, "The loss along the gradient's direction", parts), caption
