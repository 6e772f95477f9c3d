"""Sheets: an exercise or its key as Markdown, LaTeX or one self-contained HTML page.

A sheet is a list of blocks, (kind, content): text, in which {∂z_1} is a symbol, and displayed math,
a function of a style.  The key is the same sheet with its blanks filled and each step worked out.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from nnrec.nn.arguments import Array
from nnrec.teach.exercises import Exercise, Index, Question, given_text, known_format
from nnrec.teach.expressions import numeric, parse, symbolic
from nnrec.teach.pages import document, tex
from nnrec.teach.styles import Latex, MathML, Style, decimals

Block = tuple[str, Any]
BLANK = {Latex: r"\boxed{\phantom{00000}}", MathML: '<mtext class="blank">&#160;</mtext>'}
UNASKED = {Latex: r"\cdot", MathML: "<mo>·</mo>"}
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
.math { margin: .4rem 0; overflow: auto hidden; padding: .25rem 0; }
.math math { font-size: 1.15rem; }
hr.line { border: 0; border-bottom: 1px solid; margin: 2rem 0 0; opacity: .5; }
.blank { display: inline-block; min-width: 4.2em; border-bottom: 1.3px solid; }
mtable { border: solid currentColor; border-width: 0 1.3px; border-radius: .3em;
  margin: 0 .25em; }
mtd { padding: .25em .5em; text-align: -webkit-right; }
@media print { body { margin: 0 auto; } .math { break-inside: avoid; overflow: visible; } }
"""


def table(style: Style, array: Array, text: Callable[..., str]) -> str:
    """A number or a matrix, each cell as `text(index)` has it."""
    if not array.ndim:
        return text(())
    if array.ndim == 1:
        return style.matrix([[text((i,)) for i in range(len(array))]])
    return style.matrix([[text((i, j)) for j in range(array.shape[1])] for i in range(len(array))])


def blocks(sheet: Exercise, key: bool) -> Iterator[Block]:
    """The sheet, or its key, in order."""
    digits, values = sheet.digits, sheet.trace.values
    first = [question for question in sheet.questions if question.formula]
    yield "h1", f"{sheet.title} ({'key' if key else 'sheet'} {sheet.seed})"
    yield "p", sheet.task
    if not sheet.fractions:
        yield "p", f"Answers have {digits} decimals; keep {digits + 2} on the way."
    yield "h2", "Given"
    for name in sheet.given:
        yield "math", shown(name, values[name], lambda x: given_text(x, digits))
    if sheet.claims:
        yield "h2", "What they got"
    for name, array in sheet.claims.items():
        yield "math", shown(name, array, lambda x: decimals(x, digits))
    yield from asked_in_words(sheet, first, key)
    if key or not sheet.claims:
        yield "h2", "The right values of the wrong ones" if sheet.claims else "Find"
        for name in on_the_way(sheet) if key else sheet.asked:
            cells = sheet.asked.get(name, [])
            yield "math", partial(blanks, sheet, name, cells, key)
            for at in cells if key else ():
                yield "math", partial(worked, sheet, name, at)
    yield from asked_in_words(sheet, [q for q in sheet.questions if q not in first], key)


def asked_in_words(sheet: Exercise, questions: list[Question], key: bool) -> Iterator[Block]:
    """Questions in words, with two lines to write on, or their answers."""
    if questions:
        yield "h2", "In words" if not questions[0].formula else "Derive"
    for number, question in enumerate(questions, 1):
        yield "p", f"{number}. {question.text}" if len(questions) > 1 else question.text
        if not key:
            yield from [("line", ""), ("line", "")]
            continue
        yield "answer", question.answer
        if question.formula:
            yield "math", partial(formula, sheet, *question.formula)


def on_the_way(sheet: Exercise) -> list[str]:
    """What is asked, each after the steps that it needs and that the sheet does not show."""
    steps, found = {step.name: step for step in sheet.trace.steps}, list[str]()

    def visit(name: str) -> None:
        for needed in sheet.formula(name)[2].values():
            if needed in steps and needed not in sheet.given:
                visit(needed)
        if name not in found:
            found.append(name)

    for name in sheet.asked:
        visit(name)
    return found


def shown(name: str, array: Array, text: Callable[[Any], str]) -> Callable[[Style], list[str]]:
    """A symbol and its value."""
    return lambda style: [
        style.symbol(name),
        table(style, array, lambda at: style.number(text(array[at]))),
    ]


def formula(sheet: Exercise, name: str, form: str, operands: Any, style: Style) -> list[str]:
    """A symbol and its formula."""
    shown = style.show(symbolic(parse(form), operands, sheet.operands(operands)))
    return [style.symbol(name), shown]


def blanks(sheet: Exercise, name: str, cells: list[Index], key: bool, style: Style) -> list[str]:
    """A symbol with its blanks, or, on the key, with its formula and what belongs there."""
    array = sheet.trace.values[name]

    def cell(at: Index) -> str:
        if cells and at not in cells:
            return UNASKED[type(style)]
        return style.number(decimals(array[at], sheet.digits)) if key else BLANK[type(style)]

    sides = formula(sheet, *sheet.formula(name), style) if key else [style.symbol(name)]
    return [*sides, table(style, array, cell)]


def worked(sheet: Exercise, name: str, at: Index, style: Style) -> list[str]:
    """One entry with the numbers put in."""
    _, form, operands = sheet.formula(name)
    return [
        style.symbol(name, at),
        style.show(numeric(parse(form), sheet.operands(operands), at)),
        style.number(decimals(sheet.trace.values[name][at], sheet.digits)),
    ]


def write(sheet: Exercise, format: str, key: bool) -> str:
    """The sheet or its key in a format."""
    style = MathML(sheet.digits) if known_format(format) == "html" else Latex(sheet.digits)
    put = {"markdown": markdown, "latex": latex, "html": page}[format]
    return put(style, list(blocks(sheet, key)))


def inline(style: Style, text: str, plain: Callable[[str], str], math: str) -> str:
    """Text with its symbols, {z_1}, as formulas."""
    parts = re.split(r"\{([^{}]+)\}", text)
    return "".join(math % style.symbol(p) if i % 2 else plain(p) for i, p in enumerate(parts))


def markdown(style: Style, content: list[Block]) -> str:
    """Markdown with formulas between dollars."""
    frames = {"h1": "# %s", "h2": "## %s", "p": "%s", "answer": "**%s**"}
    frames |= {"math": "$$\n%s\n$$", "line": "<br>"}
    return joined(style, content, frames, str, "$%s$", "\n\n") + "\n"


def latex(style: Style, content: list[Block]) -> str:
    """A LaTeX document, all ASCII."""
    frames = {"h1": r"\section*{%s}", "h2": r"\subsection*{%s}", "p": "%s", "answer": r"\emph{%s}"}
    frames |= {"math": "\\[\n%s\n\\]", "line": r"\vspace{4mm}\hrulefill"}
    head = "\\documentclass{article}\n\\usepackage[margin=2cm]{geometry}\n\\usepackage{amsmath}\n"
    body = joined(style, content, frames, plain_tex, "$%s$", "\n\n")
    head += "\\allowdisplaybreaks\n\\setlength{\\parindent}{0pt}\n"
    return f"{head}\\begin{{document}}\n\n{body}\n\n\\end{{document}}\n"


def page(style: Style, content: list[Block]) -> str:
    """One page: MathML, no script, nothing to load."""
    math = '<math displaystyle="true"><mrow>%s</mrow></math>'
    frames = {"h1": "<h1>%s</h1>", "h2": "<h2>%s</h2>", "p": "<p>%s</p>"}
    frames |= {"answer": "<p><b>%s</b></p>", "line": '<hr class="line">'}
    frames["math"] = f'<div class="math">{math}</div>'
    body = joined(style, content, frames, html.escape, "<math>%s</math>", "\n")
    return document(content[0][1], STYLE, f"\n{body}") + "\n"


def joined(
    style: Style,
    content: list[Block],
    frames: dict[str, str],
    plain: Callable[[str], str],
    math: str,
    between: str,
) -> str:
    """The blocks, each in its frame."""
    out = []
    for kind, inside in content:
        text = (
            style.operator("=").join(inside(style))
            if kind == "math"
            else inline(style, inside, plain, math)
        )
        out.append(frames[kind] % text if "%s" in frames[kind] else frames[kind])
    return between.join(out)


SIGNS = r"""
σ \sigma  δ \delta  ∂ \partial  Σ \sum  θ \theta  α \alpha  β \beta  μ \mu  ε \varepsilon  √ \surd
m̂ \hat{m}  v̂ \hat{v}  ⊙ \odot  · \cdot  − -  > >  ← \leftarrow  ≠ \ne  ½ \tfrac12
² ^2  ⁺ ^+  ᵗ ^t  ᵀ ^{\mathsf{T}}  ′ '  ₁ _1  ₂ _2
""".split()
TEX = dict(zip(SIGNS[::2], SIGNS[1::2]))
SPECIAL = re.compile("|".join(sorted(map(re.escape, TEX), key=len, reverse=True)))


def plain_tex(text: str) -> str:
    """Text for LaTeX; what is not ASCII in math mode.

    >>> plain_tex("σ(z) & 1")
    '$\\\\sigma$(z) \\\\& 1'
    """
    return SPECIAL.sub(lambda match: f"${TEX[match[0]]}$", tex(text))
