"""A report: one self-contained HTML page of text, tables and pictures; no script, no request."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
:root { color-scheme: light dark; --line: #ccc; --soft: #f4f4f4; --ink: #1a1a1a; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --line: #444; --soft: #222; --ink: #e6e6e6; --page: #121212; }
  figure svg { background: #fff; border-radius: 6px; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 62rem; margin: 0 auto; padding: 1rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .93rem; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; font-size: .82rem;
  line-height: 1.35; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
figcaption { font-size: .88rem; opacity: .8; }
@media print { body { max-width: none; } h2 { break-after: avoid; }
  figure { break-inside: avoid; } }
"""


class Report:
    """A page that grows by headings, paragraphs, tables, listings and figures, in that order told.

    >>> page = Report("A shop").heading("Result").text("AUC < 1").table(["AUC"], [[0.9]])
    >>> "<h2>Result</h2>" in str(page), "AUC &lt; 1" in str(page)
    (True, True)
    """

    def __init__(self, title: str):
        self.title = title
        self.parts: list[str] = []

    def heading(self, text: str) -> Report:
        """A section's heading."""
        return self._add(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> Report:
        """A paragraph of plain text."""
        return self._add(f"<p>{html.escape(text)}</p>")

    def listing(self, text: str) -> Report:
        """Text in fixed width, as a terminal shows it."""
        return self._add(f"<pre>{html.escape(text)}</pre>")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Report:
        """A table; numbers stand to the right, floats with four digits."""
        numbers = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
        cell = [' class="number"' if number else "" for number in numbers]

        def line(tag: str, values: Sequence[Any]) -> str:
            shown = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in values]
            cells = (f"<{tag}{c}>{html.escape(v)}</{tag}>" for c, v in zip(cell, shown))
            return f"<tr>{''.join(cells)}</tr>"

        body = "".join(line("td", row) for row in rows)
        return self._add(f'<div class="table"><table>{line("th", header)}{body}</table></div>')

    def figure(self, figure: Figure, caption: str = "") -> Report:
        """A picture, as SVG inside the page."""
        from matplotlib import rc_context

        buffer = io.StringIO()
        salt: Any = {"svg.hashsalt": f"{len(self.parts)}", "svg.fonttype": "path"}
        with rc_context(salt):
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        svg = re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL)
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        label = html.escape(caption or "figure", quote=True)
        svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        text = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
        return self._add(f"<figure>{svg}{text}</figure>")

    def _add(self, part: str) -> Report:
        self.parts.append(part)
        return self

    def __str__(self) -> str:
        title = html.escape(self.title)
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
            + "\n".join(self.parts)
            + "\n</body></html>\n"
        )

    def save(self, path: str | Path) -> None:
        """Write the page, UTF-8."""
        Path(path).write_text(str(self), encoding="utf-8")
