"""The measurements as Markdown and as a picture."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

from tests.benchmarks.speed.rows import ROWS

OURS = "#c44"
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
        out += [f"### {title(line)}", ""]
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
                f"**{name}**" if is_ours(name) else name,
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
    """Times as bars; where a setting grows, as lines on logarithmic axes with their last slope."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    clock, panels = result["clock"], []
    for row in ROWS:
        lines = [line for line in result["lines"] if line["row"] == row.name]
        panels += [(row, lines)] if row.along and lines else [(row, [line]) for line in lines]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(8, 2.6 * len(panels)), squeeze=False, layout="constrained"
    )
    for axis, (row, lines) in zip(axes[:, 0], panels):
        if row.along:
            growth(axis, row.along, lines, clock)
        else:
            bars(axis, lines[0], clock)
        axis.set_title(row.title if row.along else title(lines[0]), fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def bars(axis: Any, line: dict[str, Any], clock: str) -> None:
    pairs = [(figures[clock]["median"], name) for name, figures in line["contestants"].items()]
    times, names = zip(*sorted(pairs, reverse=True))
    drawn = axis.barh(names, times, color=[OURS if is_ours(name) else "#889" for name in names])
    axis.bar_label(drawn, list(map(seconds, times)), padding=3, fontsize=8)
    axis.set(xlabel=line["unit"])
    axis.margins(x=0.15)


def growth(axis: Any, along: str, lines: list[dict[str, Any]], clock: str) -> None:
    sizes = [line["settings"][along] for line in lines]
    for name in lines[0]["contestants"]:
        times = [line["contestants"][name][clock]["median"] for line in lines]
        slope = log(times[-1] / times[-2]) / log(sizes[-1] / sizes[-2]) if len(times) > 1 else 0
        label = f"{name}, slope {slope:.2f} at the end"
        axis.loglog(sizes, times, "o-", color=OURS if is_ours(name) else "#889", label=label)
    axis.set(xlabel=along, ylabel=lines[0]["unit"])
    axis.legend(fontsize=8)


def title(line: dict[str, Any]) -> str:
    """The row's title and the sizes of this line."""
    sizes = ", ".join(f"{k} {v:,}" for k, v in line["settings"].items() if isinstance(v, int))
    return f"{TITLES[line['row']]} ({sizes})" if sizes else TITLES[line["row"]]


def is_ours(name: str) -> bool:
    return name.startswith("nnrec") or name in {row.ours for row in ROWS}
