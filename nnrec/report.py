"""A report: one self-contained HTML page of text, tables and pictures; no script, no request."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# In the dark the pictures are turned round, black for white, and keep their hues.
STYLE = """
:root { color-scheme: light dark; --line: #d5d8dc; --soft: #f4f6f8; --ink: #1b1f24;
  --pale: #5b6570; --page: #fff; --mark: #b45309; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a4048; --soft: #1d2126; --ink: #e4e7eb; --pale: #9aa4af; --page: #121417;
    --mark: #f5a742; }
  figure svg { filter: invert(.92) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 66rem; margin: 0 auto; padding: 1.2rem 1.2rem 4rem; overflow-wrap: break-word; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: .8rem 0; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-bottom: .3rem;
  border-bottom: 1px solid var(--line); }
p { max-width: 46rem; }
p.note { border-left: 4px solid var(--mark); background: var(--soft); padding: .6rem .9rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem;
  margin: 1.2rem 0; }
dl div { background: var(--soft); border-radius: 8px; padding: .7rem .9rem; }
dt { font-size: .85rem; color: var(--pale); }
dd { margin: 0; font-size: 1.55rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
dd small { display: block; font-size: .8rem; color: var(--pale); }
.table { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .92rem; }
th, td { padding: .35rem 1.1rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th { color: var(--pale); font-weight: 600; }
td.number, th.number { text-align: right; }
pre { background: var(--soft); padding: .8rem .9rem; overflow-x: auto; font-size: .8rem;
  line-height: 1.4; border-radius: 8px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 1rem 1.6rem; align-items: start; }
figure { margin: .4rem 0; max-width: 34rem; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { font-size: .88rem; color: var(--pale); margin-top: .2rem; }
@media print { body { max-width: none; } h2 { break-after: avoid; }
  figure { break-inside: avoid; } }
"""


class Report:
    """A page that grows by headings, paragraphs, tables, listings and figures, in the order told.

    Texts are plain: what stands in a table's name or a shop's column can't become markup.

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

    def note(self, text: str) -> Report:
        """A paragraph that must not be overlooked."""
        return self._add(f'<p class="note">{html.escape(text)}</p>')

    def listing(self, text: str) -> Report:
        """Text in fixed width, as a terminal shows it."""
        return self._add(f'<pre tabindex="0">{html.escape(text)}</pre>')

    def tiles(self, values: Mapping[str, tuple[str, str]]) -> Report:
        """The page's few main figures, large: name → (value, what it means)."""
        cells = (
            f"<div><dt>{html.escape(name)}</dt>"
            f"<dd>{html.escape(value)}<small>{html.escape(about)}</small></dd></div>"
            for name, (value, about) in values.items()
        )
        return self._add(f"<dl>{''.join(cells)}</dl>")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Report:
        """A table; numbers stand to the right, floats with four digits."""
        numbers = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
        cell = [' class="number"' if number else "" for number in numbers]

        def line(tag: str, values: Sequence[Any]) -> str:
            cells = (f"<{tag}{c}>{html.escape(shown(v))}</{tag}>" for c, v in zip(cell, values))
            return f"<tr>{''.join(cells)}</tr>"

        def shown(value: Any) -> str:
            if isinstance(value, float):
                return f"{value:.4g}"
            return f"{value:,}" if isinstance(value, int) else str(value)

        body = "".join(line("td", row) for row in rows)
        table = f"<table><thead>{line('th', header)}</thead><tbody>{body}</tbody></table>"
        return self._add(f'<div class="table" tabindex="0">{table}</div>')

    def figures(self, figures: Mapping[str, Figure]) -> Report:
        """Pictures by caption, as SVG inside the page: side by side where there is room."""
        shown = "".join(
            f"<figure>{svg(figure, caption, f'{len(self.parts)}.{i}')}"
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            for i, (caption, figure) in enumerate(figures.items())
        )
        return self._add(f'<div class="figures">{shown}</div>')

    def _add(self, part: str) -> Report:
        self.parts.append(part)
        return self

    def __str__(self) -> str:
        title = html.escape(self.title)
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<link rel="icon" href="data:,">\n'
            f"<style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
            + "\n".join(self.parts)
            + "\n</body></html>\n"
        )

    def save(self, path: str | Path) -> None:
        """Write the page, UTF-8."""
        Path(path).write_text(str(self), encoding="utf-8", newline="\n")


def svg(figure: Figure, label: str, salt: str) -> str:
    """A figure as an SVG element: the same bits each time, ids by `salt`, text as text.

    So the reader's own fonts show what matplotlib's lack (Chinese, say), and text can be searched.

    >>> from nnrec.plots import bars
    >>> svg(bars({"价格": 1.0}, {}, "Loss", "AUC"), "Loss", "1").count("价格")
    1
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    settings: Any = {"svg.hashsalt": salt, "svg.fonttype": "none"}
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = re.sub(r"^.*?(?=<svg)|<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # no two pictures of a page have ids in common
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1).strip()
