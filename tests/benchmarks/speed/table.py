"""The measurements as Markdown and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.benchmarks.speed.rows import ROWS

TITLES = {row.name: row.title for row in ROWS}


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size or unit == "µs":
            return f"{value / size:{'.3g' if value / size < 1000 else ',.0f'}} {unit}"
    raise AssertionError


def markdown(lines: list[dict[str, Any]], clock: str, machine: dict[str, Any] | None = None) -> str:
    """A table for each line: the fastest first, nnrec's ratio to each."""
    out = []
    if machine:
        where = ", ".join(f"{name}: {value}" for name, value in machine.items())
        out += ["## The table", "", f"{where}, clock: {clock}. Below 1: nnrec is faster.", ""]
    for line in lines:
        sizes = ", ".join(f"{k} {v:,}" for k, v in line["settings"].items() if isinstance(v, int))
        out += [f"### {TITLES[line['row']]} ({sizes or 'cold'}; {line['steps']} a round)", ""]
        out += [
            f"| | {line['unit'].replace('s ', '', 1)}, median | best | nnrec / this | of the best "
            "| first round | peak MB | loss |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, figures in sorted(
            line["contestants"].items(), key=lambda pair: pair[1][clock]["median"]
        ):
            time, loss = figures[clock], next(iter(figures["outcome"].values()), None)
            first = seconds(figures["first"] * line["steps"]) if "first" in figures else ""
            cells = [
                f"**{name}**" if name.startswith("nnrec") else name,
                seconds(time["median"]),
                seconds(time["best"]),
                f"{time['nnrec / this']:.3g}",
                f"{time['best nnrec / best']:.3g}",
                first,
                f"{figures['peak']:,.0f}",
                "" if loss is None else f"{loss:.4g}",
            ]
            out.append(f"| {' | '.join(cells)} |")
        out += [f"| {name} | not installed | | | | | | |" for name in line["missing"]]
        out.append("")
    if machine:
        every = [f["versions"] for line in lines for f in line["contestants"].values()]
        found = {name: version for versions in every for name, version in versions.items()}
        out += [", ".join(f"{name} {version}" for name, version in found.items()), ""]
    return "\n".join(out)


def picture(result: dict[str, Any], path: Path) -> None:
    """Each line's times as bars, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines, clock = result["lines"], result["clock"]
    figure, axes = pyplot.subplots(
        len(lines), 1, figsize=(8, 2.6 * len(lines)), squeeze=False, layout="constrained"
    )
    for axis, line in zip(axes[:, 0], lines):
        pairs = sorted(
            ((f[clock]["median"], name) for name, f in line["contestants"].items()), reverse=True
        )
        colours = ["#c44" if name.startswith("nnrec") else "#889" for _, name in pairs]
        bars = axis.barh([name for _, name in pairs], [t for t, _ in pairs], color=colours)
        axis.bar_label(bars, [seconds(t) for t, _ in pairs], padding=3, fontsize=8)
        axis.set(xscale="log", xlabel=line["unit"])
        axis.margins(x=0.15)
        sizes = ", ".join(f"{k} {v:,}" for k, v in line["settings"].items() if isinstance(v, int))
        axis.set_title(f"{TITLES[line['row']]} ({sizes})", fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
