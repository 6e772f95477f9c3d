"""Pages: an explanation as text, Markdown, LaTeX, or one self-contained HTML page."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nnrec.teach import figures
from nnrec.teach.styles import PRODUCT, Latex, MathML, Style, Text

if TYPE_CHECKING:
    from nnrec.teach.explanations import Explanation, Line, Shown

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --pale: #5b6570; --page: #fff; --card: #f6f7f9;
  --line: #d9dde2; --good: #14733c; --bad: #b3261e; --plus: #1d64b5; --minus: #b4500b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --pale: #9ba5b1; --page: #111316;
  --card: #1a1d22; --line: #343a42; --good: #62c98a; --bad: #ff8a80; --plus: #6fb1ff;
  --minus: #ffab6b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem 1rem 4rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .6rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .7rem; }
p { max-width: 44rem; color: var(--pale); margin: .4rem 0; }
.step, .given { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: .6rem .9rem; margin: .6rem 0; }
.step header { display: flex; gap: .7rem; flex-wrap: wrap; align-items: baseline;
  font-size: .85rem; color: var(--pale); }
.step header b { color: var(--ink); }
.scroll { overflow-x: auto; padding: .25rem 0; }
.scroll math { font-size: 1.08rem; }
.formula math { font-size: 1.25rem; }
.check { white-space: nowrap; font-size: .85rem; color: var(--good); margin-left: .8rem;
  font-variant-numeric: tabular-nums; }
.wrong { color: var(--bad); font-weight: 600; }
.verdict { font-size: .85rem; margin: .2rem 0 0; color: var(--good); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem .9rem;
  align-items: center; margin: 0; }
dt small { display: block; color: var(--pale); }
dd { margin: 0; }
mtable { border: solid currentColor; border-width: 0 1.3px; border-radius: .3em; padding: 0 .1em;
  margin: 0 .25em; }
mtd { padding: .18em .4em; text-align: -webkit-right; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; min-width: 34rem; max-width: 52rem; height: auto; }
figcaption { font-size: .88rem; color: var(--pale); max-width: 44rem; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
svg .pale { fill: var(--pale); }
svg .halo { paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
svg .node { fill: var(--card); stroke: var(--ink); stroke-width: 1.4; }
svg .axis { stroke: var(--line); fill: none; }
svg .plus { stroke: var(--plus); } svg .minus { stroke: var(--minus); }
svg .bar { fill: var(--plus); } svg .curve { stroke: var(--plus); stroke-width: 2; fill: none; }
svg .tangent { stroke: var(--minus); stroke-width: 1.6; stroke-dasharray: 5 4; fill: none; }
svg .dot { fill: var(--ink); }
@media (max-width: 32rem) { dl { grid-template-columns: minmax(0, 1fr); } }
@media print { body { max-width: none; padding: 0; } .step { break-inside: avoid; }
  .scroll { overflow: visible; } }
"""


def verdict(shown: Shown) -> str:
    """A step's check in words."""
    step = shown.step
    if step.check is None:
        return "not checked: it has no symbolic form"
    unprobed = sum(bool(entry != entry) for entry in step.check.flat)
    some = f" of {step.check.size - unprobed:,} of {step.check.size:,} entries" if unprobed else ""
    off = f"off by {step.error:.1g}"
    return f"{'✓' if shown.agrees else '✗ WRONG:'} {step.method}{some}, {off}"


def about(shown: Shown) -> str:
    """Where a step is taken: the part and the layer."""
    step = shown.step
    return f"{step.part}: {step.layer}" if step.part and step.layer else step.part or step.layer


def heading(explanation: Explanation) -> str:
    """What is explained, in one line."""
    trace = explanation.trace
    return f"{trace.network}, {trace.loss}, {trace.optimizer}"


def text(explanation: Explanation) -> str:
    """The explanation for a terminal."""
    style, out = Text(explanation.digits), []
    if explanation.focus is None:
        out += [heading(explanation), ""]
    for name, what, value in explanation.given():
        out += block(f"{style.symbol(name)} = ", style.show(value), f"   ({what})")
    out += [""] * bool(out)
    for title, steps in explanation.sections():
        out += [title, ""]
        for shown in steps:
            symbol = style.show(shown.symbol)
            formula = f" = {style.show(shown.formula)}" if shown.formula else ""
            where = about(shown)
            out.append(f"{shown.number:>2}  {symbol}{formula}" + (f"   ({where})" if where else ""))
            for line in shown.lines:
                out.append(f"    {equation(style, line)}   {marked(style, line)}".rstrip())
            if shown.left_out:
                out.append(f"    … {shown.left_out:,} more")
            if shown.value:
                out += block(f"    {symbol} = ", style.show(shown.value))
            out += [f"    {verdict(shown)}", ""]
    return "\n".join(line.rstrip() for line in out).strip("\n")


def block(label: str, value: str, after: str = "") -> list[str]:
    """A matrix of several lines beside its label."""
    first, *others = value.split("\n")
    return [label + first + after, *(" " * len(label) + line for line in others)]


def equation(style: Style, line: Line) -> str:
    """symbol = numbers = value."""
    parts = [line.symbol, *([line.numbers] if line.numbers else []), line.value]
    return style.operator("=").join(map(style.show, parts))


def pieces(style: Style, line: Line) -> list[str]:
    """The equation in pieces, between which a narrow page may break: symbol, terms, value."""
    equals, terms = style.operator("="), []
    match line.numbers:
        case ("add", [first, *others]):
            terms = [style.show(first)]
            terms += [style.operator("+") + style.show(term, PRODUCT) for term in others]
        case tree if tree:
            terms = [style.show(tree)]
    end = equals + style.show(line.value)
    symbol = style.show(line.symbol)
    return [symbol + equals, *terms, end] if terms else [symbol + end]


def marked(style: Style, line: Line) -> str:
    """✓ and the check's value."""
    if line.check is None:
        return ""
    return f"{'✓' if line.agrees else '✗'} {style.show(line.check)}"


def formulas(explanation: Explanation, title: str, code: str, math: str) -> Iterable[str]:
    """The explanation with formulas in LaTeX; title, code, math: how each is wrapped."""
    style = Latex(explanation.digits)
    for name, what, value in explanation.given():
        yield math % f"{style.symbol(name)} = {style.show(value)} \\quad \\text{{{tex(what)}}}"
    for section, steps in explanation.sections():
        yield title % section
        for shown in steps:
            where = about(shown)
            yield f"{shown.number}. " + (code % escaped(where, code) if where else "")
            symbol = style.show(shown.symbol)
            rows = [f"{symbol} &= {style.show(shown.formula)}"] if shown.formula else []
            for line in shown.lines:
                left, _, right = equation(style, line).partition(" = ")
                check = "" if line.check is None else style.show(line.check)
                mark = r"\checkmark" if line.agrees else r"\times"
                rows.append(f"{left} &= {right}" + (rf" && {mark}\; {check}" if check else ""))
            if shown.left_out:
                rows.append(rf"&\;\;\vdots \text{{ ({shown.left_out:,} more)}}")
            if shown.value:
                rows.append(f"{symbol} &= {style.show(shown.value)}")
            body = " \\\\\n".join(rows)
            yield math % f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
            yield escaped(verdict(shown), code)


def tex(text: str) -> str:
    """Plain text for LaTeX."""
    special = {c: f"\\{c}" for c in "_&%#${}"} | {"✓": r"$\checkmark$", "✗": r"$\times$"}
    return "".join(special.get(c, c) for c in text)


def escaped(text: str, code: str) -> str:
    """Text as the format takes it."""
    return tex(text) if code.startswith("\\") else text


def markdown(explanation: Explanation) -> str:
    """The explanation in Markdown with formulas between dollars."""
    parts = formulas(explanation, "### %s", "`%s`", "$$\n%s\n$$")
    return "\n\n".join([f"`{heading(explanation)}`", *parts])


def latex(explanation: Explanation) -> str:
    """The explanation as LaTeX to be put into a document that loads amsmath and amssymb."""
    parts = formulas(explanation, r"\subsection*{%s}", r"\texttt{%s}", "\\[\n%s\n\\]")
    first = rf"{{\noindent\raggedright\ttfamily {tex(heading(explanation))}\par}}"
    return "\n\n".join([first, *parts])


def page(explanation: Explanation) -> str:
    """The explanation as one page: MathML and SVG, no script, nothing to load."""
    style, out = MathML(explanation.digits), []

    def math(inside: str) -> str:
        return f'<math displaystyle="true"><mrow>{inside}</mrow></math>'

    given = explanation.given()
    if given:
        rows = (
            f"<dt>{math(style.symbol(name))}<small>{html.escape(what)}</small></dt>"
            f'<dd class="scroll">{math(style.show(value))}</dd>'
            for name, what, value in given
        )
        out.append(f'<h2>Given</h2><div class="given"><dl>{"".join(rows)}</dl></div>')
    for title, steps in explanation.sections():
        out.append(f"<h2>{title}</h2>")
        out += [card(style, math, shown) for shown in steps]
    if explanation.focus is None:
        out += figures.drawn(explanation.trace, explanation.digits)
    wrong = [s.name for s in explanation.trace.steps if not explanation.trace.agrees(s)]
    said = f"{len(wrong)} checks FAIL" if wrong else "every check agrees"
    name = heading(explanation)
    first = (
        f"<h1>The network shows its work</h1>\n<p>{html.escape(name)}</p>\n<p>Each step in "
        "symbols, with the numbers put in, with its result, and with a check by another way: the "
        "derivative of the forward pass alone, or the formula evaluated apart from the library; "
        f"{said}.</p>"
    )
    return document(name, STYLE, "\n".join([first, *out]))


def document(title: str, style: str, body: str) -> str:
    """A whole HTML page; the title is plain text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{html.escape(title)}</title><link rel="icon" href="data:,">\n'
        f"<style>{style}</style></head>\n<body>{body}\n</body></html>"
    )


def card(style: MathML, math: Any, shown: Shown) -> str:
    """One step of the page."""
    equals, symbol = style.operator("="), style.show(shown.symbol)
    out = [f"<header><b>{shown.number}</b><span>{html.escape(about(shown))}</span></header>"]
    if shown.formula:
        whole = math(symbol + equals + style.show(shown.formula))
        out.append(f'<div class="scroll formula">{whole}</div>')
    for line in shown.lines:
        kind = "check" if line.agrees else "check wrong"
        check = "" if line.check is None else math(style.show(line.check))
        mark = f'<span class="{kind}">{"✓" if line.agrees else "✗"} {check}</span>' if check else ""
        chunks = " ".join(map(math, pieces(style, line)))
        out.append(f'<div class="scroll">{chunks}{mark}</div>')
    if shown.left_out:
        out.append(f"<p>… {shown.left_out:,} more</p>")
    if shown.value:
        out.append(f'<div class="scroll">{math(symbol + equals + style.show(shown.value))}</div>')
    kind = "verdict" if shown.agrees else "verdict wrong"
    out.append(f'<p class="{kind}">{html.escape(verdict(shown))}</p>')
    return f'<section class="step">{"".join(out)}</section>'
