"""Styles: a formula's tree as text for a terminal, as LaTeX, or as MathML.

A number has the decimals asked for, zeros kept; arguments such as a learning rate are shown as they
were given, fractions as fractions.
"""

from __future__ import annotations

import html
import re
from fractions import Fraction
from math import isfinite
from typing import Any

import numpy as np

from nnrec.nn.arguments import Array
from nnrec.teach.expressions import Tree

GREEK = {"mu": ("μ", r"\mu"), "mhat": ("m̂", r"\hat m"), "vhat": ("v̂", r"\hat v")}
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
ROWS, COLUMNS = 6, 8  # a larger matrix is shown with its first rows and columns, and its last
SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4  # how tightly an expression binds
SYMBOL = re.compile(r"(∂?)([^\[\].+]*?)(?:_(\d+))?(?:\.(\d+))?(?:\[(.*)\])?(?:_\d+)?(\+?)")


def decimals(value: Any, digits: int) -> str:
    """A number with so many decimals; from ten million on in powers of ten; fractions as they are.

    >>> decimals(0.25, 4), decimals(-0.00001, 4), decimals(Fraction(1, 3), 4), decimals(3e9, 2)
    ('0.2500', '0.0000', '1/3', '3.00e+09')
    """
    if isinstance(value, Fraction | int | np.integer | np.bool_):
        return str(Fraction(int(value)) if not isinstance(value, Fraction) else value)
    number = float(value)
    if not isfinite(number):
        return str(number)
    text = f"{number:.{digits}e}" if abs(number) >= 1e7 else f"{number:.{digits}f}"
    return text.lstrip("-") if not float(text) else text


def constant(value: Any) -> str:
    """An argument, as it was given.

    >>> constant(0.5), constant(1e-8), constant(Fraction(1, 2))
    ('0.5', '1e-08', '1/2')
    """
    return f"{value:.10g}" if isinstance(value, float) else str(value)


class Style:
    """Turns trees into text; a subclass says how each kind of expression is written."""

    minus, times, comma, joint = "-", "·", ", ", " "
    parentheses, exponential, transposed = "({})", "exp({})", "{}ᵀ"
    fraction, fraction_binds, root = "{} / {}", PRODUCT, "sqrt({})"
    sums = {"": "Σ {}", "k": "Σ_k {}", "rows": "Σ_rows {}"}

    def __init__(self, digits: int = 4):
        self.digits = digits

    def number(self, text: str) -> str:
        """A number that `decimals` or `constant` wrote."""
        return text

    def word(self, text: str) -> str:
        """A bracket, dots or a name."""
        return text

    def operator(self, text: str) -> str:
        """A sign between two expressions."""
        return f" {text} "

    def symbol(self, name: str, index: tuple[int, ...] = ()) -> str:
        """A symbol of the trace, or one entry of it."""
        raise NotImplementedError

    def power(self, a: str, b: str) -> str:
        """a to the b."""
        raise NotImplementedError

    def matrix(self, rows: list[list[str]]) -> str:
        """Rows of numbers."""
        raise NotImplementedError

    def call(self, name: str, arguments: list[str]) -> str:
        """A function of its arguments."""
        if name == "sqrt":
            return self.root.format(*arguments)
        return self.word(name) + self.parentheses.format(self.comma.join(arguments))

    def show(self, tree: Tree, within: int = 0) -> str:
        """A tree as text, in parentheses where it binds less tightly than what stands around it."""
        text, binds = self.bound(tree)
        return self.parentheses.format(text) if binds < within else text

    def bound(self, tree: Tree) -> tuple[str, int]:
        """A tree as text, and how tightly it binds."""
        match tree:
            case ("num" | "const" as kind, value):
                text = decimals(value, self.digits) if kind == "num" else constant(value)
                binds = SUM if text.startswith("-") else PRODUCT if "/" in text else ATOM
                return self.number(text), binds
            case ("sym", *name):
                return self.symbol(*name), ATOM
            case ("add", terms):
                first, *others = terms
                shown = [self.show(first), *(self.show(term, PRODUCT) for term in others)]
                return self.operator("+").join(shown), SUM
            case ("sub", a, b):
                return self.show(a) + self.operator(self.minus) + self.show(b, PRODUCT), SUM
            case ("neg", a):
                return self.word(self.minus) + self.show(a, PRODUCT), SUM
            case ("mul", factors, sign):
                joint = self.operator(self.times if sign == "·" else sign) if sign else self.joint
                shown = [self.show(f, PRODUCT if i == 0 else POWER) for i, f in enumerate(factors)]
                return joint.join(shown), PRODUCT
            case ("frac", a, b):
                plain = self.fraction_binds == PRODUCT
                parts = self.show(a, PRODUCT * plain), self.show(b, POWER * plain)
                return self.fraction.format(*parts), self.fraction_binds
            case ("pow", a, b):
                return self.power(self.show(a, ATOM), self.show(b)), POWER
            case ("exp", a):
                return self.exponential.format(self.show(a)), ATOM
            case ("holds", a, relation, b):
                inside = self.show(a) + self.operator(relation) + self.show(b)
                return self.word("[") + inside + self.word("]"), ATOM
            case ("call", name, arguments):
                return self.call(name, [self.show(a) for a in arguments]), ATOM
            case ("big", index, a):
                return self.sums[index].format(self.show(a, PRODUCT)), PRODUCT
            case ("T", a):
                return self.transposed.format(self.show(a, ATOM)), ATOM
            case ("at", a, b):
                inside = self.word("[") + self.show(b) + self.word("]")
                return self.show(a, ATOM) + inside, ATOM
            case ("dots", count):
                return self.word(f"… ({count} more)"), ATOM
            case ("value", array):
                return self.values(array), ATOM
        raise ValueError(f"no style for {tree!r}")

    def values(self, array: Array) -> str:
        """A number, or a matrix, of which a large one is cut short."""
        if array.ndim == 0:
            return self.show(("num", array[()]))
        table = np.atleast_2d(array.reshape(-1, array.shape[-1]) if array.ndim > 2 else array)
        rows = [
            cut_short([self.show(("num", x)) for x in row], COLUMNS, self.word("…"))
            for row in cut_short(list(table), ROWS, None)
            if row is not None
        ]
        if len(table) > ROWS:
            rows.insert(-1, [self.word("⋮")] * len(rows[0]))
        return self.matrix(rows)


def cut_short(parts: list[Any], most: int, mark: Any) -> list[Any]:
    """The first few, a mark, and the last, where there are more than `most`.

    >>> cut_short([1, 2, 3, 4], 3, "…")
    [1, '…', 4]
    """
    return parts if len(parts) <= most else [*parts[: most - 2], mark, parts[-1]]


def read(name: str) -> tuple[str, ...]:
    """A symbol taken apart: ∂ or not, its letters, number, use, what stands in [], new or not.

    >>> read("∂W_1.2"), read("m[W_1]+")
    (('∂', 'W', '1', '2', '', ''), ('', 'm', '', '', 'W_1', '+'))
    """
    match = SYMBOL.fullmatch(re.sub(r"rows\(.*\)", "rows", name))
    return match.groups("") if match else ("", name, "", "", "", "")


class Text(Style):
    """Plain text, for a terminal."""

    def symbol(self, name: str, index: tuple[int, ...] = ()) -> str:
        partial, letters, number, use, inside, new = read(name)
        text = GREEK.get(letters, (letters, ""))[0] + number.translate(SUBSCRIPT)
        if inside:
            text += "[rows]" if inside == "rows" else f"({self.symbol(inside)})"
        text = f"∂E/∂{text}" if partial else text
        text += f"⁽{use.translate(SUPERSCRIPT)}⁾" if use else ""
        return text + "⁺" * bool(new) + (f"[{','.join(map(str, index))}]" if index else "")

    def power(self, a: str, b: str) -> str:
        return a + (b.translate(SUPERSCRIPT) if b.isdecimal() else f"^{b}")

    def matrix(self, rows: list[list[str]]) -> str:
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(x.rjust(n) for x, n in zip(row, widths)) for row in rows]
        return "\n".join(f"[{line}]" for line in lines)


class Latex(Style):
    """LaTeX for math mode; needs amsmath."""

    times, joint = r"\cdot", r"\,"
    parentheses, exponential = r"\left({}\right)", "e^{{{}}}"
    transposed, root = r"{{{}}}^{{\mathsf T}}", r"\sqrt{{{}}}"
    fraction, fraction_binds = r"\frac{{{}}}{{{}}}", ATOM
    sums = {"": r"\sum {}", "k": r"\sum_k {}", "rows": r"\sum_{{\text{{rows}}}} {}"}
    words = {"…": r"\cdots", "⋮": r"\vdots", "σ": r"\sigma", "ln": r"\ln", "max": r"\max"}

    def number(self, text: str) -> str:
        text = re.sub(r"(\d+)/(\d+)", r"\\tfrac{\1}{\2}", text)
        return re.sub(r"e([+-]\d+)", lambda m: rf" \times 10^{{{int(m[1])}}}", text)

    def word(self, text: str) -> str:
        if text in "[]-":
            return text
        plain = text.replace("_", r"\_").replace("…", r"\dots").replace("Σ", r"$\Sigma$")
        return self.words.get(text) or rf"\text{{{plain}}}"

    def operator(self, text: str) -> str:
        return " " + text.replace("⊙", r"\odot") + " "

    def symbol(self, name: str, index: tuple[int, ...] = ()) -> str:
        partial, letters, number, use, inside, new = read(name)
        plain = (letters if len(letters) == 1 else rf"\mathrm{{{letters}}}").replace("_", r"\_")
        text, rows = GREEK.get(letters, ("", plain))[1], inside == "rows"
        below = number or (self.symbol(inside) if inside and not rows else "")
        text += (f"_{{{below}}}" if below else "") + r"[\text{rows}]" * rows
        text = rf"\frac{{\partial E}}{{\partial {text}}}" if partial else text
        above = (f"({use})" if use else "") + new
        text += f"^{{{above}}}" if above else ""
        return text + (f"[{','.join(map(str, index))}]" if index else "")

    def power(self, a: str, b: str) -> str:
        return f"{a}^{{{b}}}"

    def matrix(self, rows: list[list[str]]) -> str:
        lines = r" \\ ".join(" & ".join(row) for row in rows)
        return rf"\begin{{bmatrix}}{lines}\end{{bmatrix}}"


class MathML(Style):
    """MathML Core, which browsers lay out without a script."""

    minus, comma, joint = "−", "<mo>,</mo>", ""
    parentheses = "<mrow><mo>(</mo>{}<mo>)</mo></mrow>"
    exponential = "<msup><mi>e</mi><mrow>{}</mrow></msup>"
    transposed, root = "<msup><mrow>{}</mrow><mi>⊤</mi></msup>", "<msqrt>{}</msqrt>"
    fraction, fraction_binds = "<mfrac><mrow>{}</mrow><mrow>{}</mrow></mfrac>", ATOM
    sums = {
        "": "<mrow><mo>∑</mo>{}</mrow>",
        "k": "<mrow><munder><mo>∑</mo><mi>k</mi></munder>{}</mrow>",
        "rows": "<mrow><munder><mo>∑</mo><mtext>rows</mtext></munder>{}</mrow>",
    }

    def number(self, text: str) -> str:
        mantissa, _, exponent = text.replace("-", "−").partition("e")
        if "/" in mantissa:
            minus = "<mo>−</mo>" * mantissa.startswith("−")
            parts = mantissa.lstrip("−").replace("/", "</mn><mn>")
            return f"<mrow>{minus}<mfrac><mn>{parts}</mn></mfrac></mrow>"
        ten = exponent and f"<mn>{int(exponent.replace('−', '-'))}</mn>"
        power = f"<mo>×</mo><msup><mn>10</mn>{ten}</msup>" if ten else ""
        return f"<mrow><mn>{mantissa}</mn>{power}</mrow>" if ten else f"<mn>{mantissa}</mn>"

    def word(self, text: str) -> str:
        tag = "mo" if text in "[]−…⋮" else "mi" if text.isalpha() else "mtext"
        return f"<{tag}>{html.escape(text)}</{tag}>"

    def operator(self, text: str) -> str:
        return f'<mo form="infix">{html.escape(text)}</mo>'

    def symbol(self, name: str, index: tuple[int, ...] = ()) -> str:
        partial, letters, number, use, inside, new = read(name)
        text = f"<mi>{html.escape(GREEK.get(letters, (letters, ''))[0])}</mi>"
        rows = "<mo>[</mo><mtext>rows</mtext><mo>]</mo>" * (inside == "rows")
        below = f"<mn>{number}</mn>" if number else ""
        below = self.symbol(inside) if inside and not rows else below
        above = f"<mo>(</mo><mn>{use}</mn><mo>)</mo>" if use else ""
        above = f"<mrow>{above}{'<mo>+</mo>' * bool(new)}</mrow>" if above or new else ""
        if partial:
            d, text = "<mo>∂</mo>", f"<msub>{text}{below}</msub>" if below else text
            text = f"<mfrac><mrow>{d}<mi>E</mi></mrow><mrow>{d}{text}{rows}</mrow></mfrac>"
            below = rows = ""
        if below or above:
            tag = "m" + "sub" * bool(below) + "sup" * bool(above)
            text = f"<{tag}>{text}{below}{above}</{tag}>"
        at = f"<mo>[</mo><mtext>{','.join(map(str, index))}</mtext><mo>]</mo>" if index else ""
        return f"<mrow>{text}{rows}{at}</mrow>" if rows or at else text

    def power(self, a: str, b: str) -> str:
        return f"<msup><mrow>{a}</mrow><mrow>{b}</mrow></msup>"

    def matrix(self, rows: list[list[str]]) -> str:
        cells = ("".join(f"<mtd>{cell}</mtd>" for cell in row) for row in rows)
        table = "".join(f"<mtr>{row}</mtr>" for row in cells)
        return f"<mtable>{table}</mtable>"  # the page draws brackets: few fonts have tall ones
