"""Formulas as text, `x @ W + b`: evaluated on arrays, shown in symbols, or with numbers put in.

A formula is a Python expression over named arrays, of a closed set of operators and functions, so
that one from a file can be evaluated.  It is evaluated by the textbook's definitions, apart from
the library's code; on fractions exactly, where it is rational.  What is shown is a *tree* of
tuples, `("frac", a, b)`, which `styles` turns into text, LaTeX or MathML.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from nnrec.nn.arguments import Array

Tree = tuple[Any, ...]
Values = Mapping[str, Any]
Index = tuple[int, ...]
TERMS = 6  # so many terms of a sum are written out; of more, the first four and the last


def last(a: Array) -> dict[str, Any]:
    """Along the last axis, kept; a number is its own only entry."""
    return {"axis": -1, "keepdims": True} if np.ndim(a) else {}


def softmax(a: Array) -> Array:
    """e^{a_k} / Σ_j e^{a_j}, without overflow."""
    e = np.exp(a - np.max(a, **last(a)))
    return np.asarray(e / e.sum(**last(a)))


def log_sum_exp(a: Array) -> Array:
    """ln Σ_j e^{a_j}, without overflow."""
    top = np.max(a, **last(a))
    return np.asarray(np.log(np.exp(a - top).sum(**last(a))) + top)


def scatter(ids: Array, rows: Array, table: Array) -> Array:
    """A table of zeros, to whose row ids[i] rows[i] is added, for each i."""
    added = np.zeros_like(table)
    np.add.at(added, ids.ravel(), rows.reshape(-1, *table.shape[1:]))
    return added


def times_ln(t: Array, p: Array) -> Array:
    """t ln p; 0 where t is 0."""
    return np.where(t == 0, 0, t * np.log(np.where(t == 0, 1, p)))


def over(t: Array, p: Array) -> Array:
    """t / p; 0 where t is 0."""
    return np.where(t == 0, 0, t / np.where(t == 0, 1, p))


def share(w: Array) -> Array:
    """w / Σ w; zeros stay."""
    return np.asarray(w / (w.sum() or 1))


def width(*parts: Array) -> int:
    """How many columns parts have side by side."""
    return sum(part.shape[-1] for part in parts)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "ln": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "abs": abs,
    "sign": np.sign,
    "sigmoid": lambda a: np.exp(-np.logaddexp(0, -a)),
    "softplus": lambda a: np.logaddexp(0, a),
    "relu": lambda a: a * (a > 0),
    "softmax": softmax,
    "log_sum_exp": log_sum_exp,
    "sum": lambda a: np.sum(a, **last(a)),
    "mean": lambda a: np.sum(a, **last(a)) / np.shape(a)[-1],
    "sum_rows": lambda a: a.reshape(-1, a.shape[-1]).sum(axis=0),
    "total": np.sum,
    "concat": lambda *parts: np.concatenate(parts, axis=-1),
    "cut": lambda a, own, *before: a[..., width(*before) : width(*before, own)],
    "one_hot": lambda labels, like: (labels[:, None] == np.arange(like.shape[1])) * 1,
    "scatter": scatter,
    "times_ln": times_ln,
    "over": over,
    "share": share,
}
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.MatMult: lambda a, b: a @ b,
}


@cache
def parse(form: str) -> Any:
    """The syntax tree of a formula; a ValueError where it uses anything outside the closed set.

    >>> parse("open(x)")
    Traceback (most recent call last):
    ValueError: the form 'open(x)' uses 'open(x)', which no formula may
    """
    try:
        root = ast.parse(form, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"the form {form!r} is no formula") from None
    todo = [root]
    while todo:
        match todo.pop():
            case ast.BinOp(a, ast.Pow(), ast.Constant(2 | 3 | 4) | ast.Name()):
                todo.append(a)
            case ast.BinOp(a, op, b) if type(op) in OPERATORS:
                todo += [a, b]
            case ast.UnaryOp(ast.USub(), a) | ast.Attribute(a, "T"):
                todo.append(a)
            case ast.Compare(a, [ast.Gt()], [b]) | ast.Subscript(a, b):
                todo += [a, b]
            case ast.Call(ast.Name(name), arguments, []) if name in FUNCTIONS:
                todo += arguments
            case ast.Name() | ast.Constant(int() | float()):
                pass
            case node:
                found = ast.unparse(node)
                raise ValueError(f"the form {form!r} uses {found!r}, which no formula may")
    return root


def evaluate(form: str | Any, values: Values) -> Any:
    """The value of a formula on arrays, of floats or of fractions.

    >>> evaluate("x @ W + b", {"x": np.ones((1, 2)), "W": np.ones((2, 1)), "b": np.array([3.0])})
    array([[5.]])
    """
    node = parse(form) if isinstance(form, str) else form
    match node:
        case ast.Name(name):
            if name not in values:
                raise ValueError(f"{name} has no value")
            return values[name]
        case ast.Constant(value):
            return value
        case ast.BinOp(a, ast.Pow(), b):
            base, power = evaluate(a, values), evaluate(b, values)
            whole = isinstance(b, ast.Constant)  # then multiplied, which fractions can be
            return prod([base] * power) if whole else np.asarray(base, float) ** power
        case ast.BinOp(a, op, b):
            return OPERATORS[type(op)](evaluate(a, values), evaluate(b, values))
        case ast.UnaryOp(_, a):
            return -evaluate(a, values)
        case ast.Attribute(a, _):
            return evaluate(a, values).T
        case ast.Compare(a, _, [b]):
            return (evaluate(a, values) > evaluate(b, values)) * 1
        case ast.Subscript(a, b):
            return evaluate(a, values)[evaluate(b, values)]
        case _:
            return FUNCTIONS[node.func.id](*(evaluate(a, values) for a in node.args))


def names_in(form: str) -> list[str]:
    """The names that a formula uses.

    >>> names_in("x @ W + b")
    ['W', 'b', 'x']
    """
    nodes = list(ast.walk(parse(form)))
    called = {node.func for node in nodes if isinstance(node, ast.Call)}
    return sorted({n.id for n in nodes if isinstance(n, ast.Name) and n not in called})


def symbolic(node: Any, symbols: Mapping[str, Any], values: Values) -> Tree:
    """The tree of a formula in symbols: a name's symbol, or its number where it has none."""

    def tree(node: Any) -> Tree:
        return symbolic(node, symbols, values)

    def scalar(node: Any) -> bool:
        return np.size(evaluate(node, values)) == 1

    match node:
        case ast.Name(name):
            symbol = symbols[name]
            return ("sym", symbol) if isinstance(symbol, str) else ("const", symbol)
        case ast.BinOp(a, ast.Mult(), b):
            return ("mul", [tree(a), tree(b)], "·" if scalar(a) or scalar(b) else "⊙")
        case ast.BinOp(a, ast.MatMult(), b):
            return ("mul", [tree(a), tree(b)], "")
        case ast.Attribute(a, _):
            return ("T", tree(a))
        case ast.Subscript(a, b):
            return ("at", tree(a), tree(b))
        case ast.Call(ast.Name("sum" | "sum_rows" | "total" as name), [a]):
            return ("big", {"sum": "k", "sum_rows": "rows", "total": ""}[name], tree(a))
        case ast.Call(ast.Name("cut"), [a, own, *_]):
            return ("call", "columns", [tree(a), tree(own)])
        case ast.Call(ast.Name("share"), [a]):
            return ("frac", tree(a), ("big", "", tree(a)))
        case ast.Call(ast.Name("one_hot"), [a, _]):
            return ("call", "one-hot", [tree(a)])
        case ast.Call(ast.Name("scatter"), [a, b, _]):
            return ("call", "add at rows", [tree(a), tree(b)])
        case ast.Call(ast.Name("sigmoid" | "softmax" | "log_sum_exp" as name), [a]):
            return ("call", {"sigmoid": "σ", "log_sum_exp": "ln Σ exp"}.get(name, name), [tree(a)])
        case _:
            return pointwise(node, tree)


def pointwise(node: Any, tree: Callable[[Any], Tree]) -> Tree:
    """The tree of what is done to each number alone, or written the same way for all."""
    match node:
        case ast.Constant(value):
            return ("const", value)
        case ast.BinOp(a, ast.Add(), b):
            left = tree(a)
            return ("add", [*(left[1] if left[0] == "add" else [left]), tree(b)])
        case ast.BinOp(a, ast.Sub(), b):
            return ("sub", tree(a), tree(b))
        case ast.BinOp(a, ast.Mult(), b):
            return ("mul", [tree(a), tree(b)], "·")
        case ast.BinOp(a, ast.Div(), b) | ast.Call(ast.Name("over"), [a, b]):
            return ("frac", tree(a), tree(b))
        case ast.BinOp(a, ast.Pow(), b):
            return ("pow", tree(a), tree(b))
        case ast.UnaryOp(_, a):
            return ("neg", tree(a))
        case ast.Compare(a, _, [b]):
            return ("holds", tree(a), ">", tree(b))
        case ast.Call(ast.Name("exp"), [a]):
            return ("exp", tree(a))
        case ast.Call(ast.Name("sigmoid"), [a]):
            return ("frac", ("const", 1), ("add", [("const", 1), ("exp", ("neg", tree(a)))]))
        case ast.Call(ast.Name("softplus"), [a]):
            return ("call", "ln", [("add", [("const", 1), ("exp", tree(a))])])
        case ast.Call(ast.Name("relu"), [a]):
            return ("call", "max", [("const", 0), tree(a)])
        case ast.Call(ast.Name("times_ln"), [a, b]):
            return ("mul", [tree(a), ("call", "ln", [tree(b)])], "·")
        case _:
            return ("call", node.func.id, [tree(a) for a in node.args])


def numeric(node: Any, values: Values, at: Index) -> Tree:
    """The tree of one entry of a formula's value, with the numbers put in."""

    def entry(node: Any, at: Index) -> Tree:
        return numeric(node, values, at)

    def shape(node: Any) -> Index:
        return np.shape(evaluate(node, values))

    def total(places: Sequence[Any], term: Callable[[Any], Tree]) -> Tree:
        terms = written_out(places, term) or [("const", 0)]
        return ("add", terms) if len(terms) > 1 else terms[0]

    def along(node: Any, term: Callable[[Index], Tree]) -> Tree:
        size = shape(node)[-1] if shape(node) else 1
        return total([(*at[:-1], j) for j in range(size)], term)

    match node:
        case ast.Name(name):
            value = values[name]
            return ("num", entry_of(value, at)) if np.ndim(value) else ("const", value)
        case ast.BinOp(a, ast.MatMult(), b):
            inner = range(shape(a)[-1])
            return total(
                inner, lambda j: ("mul", [entry(a, (*at[:-1], j)), entry(b, (j, at[-1]))], "·")
            )
        case ast.Attribute(a, _):
            return entry(a, at[::-1])
        case ast.Subscript(a, ids):
            where = evaluate(ids, values)
            return entry(a, (int(where[at[: where.ndim]]), *at[where.ndim :]))
        case ast.Call(ast.Name("sum"), [a]):
            return along(a, lambda j: entry(a, j))
        case ast.Call(ast.Name("mean"), [a]):
            return ("frac", along(a, lambda j: entry(a, j)), ("const", shape(a)[-1]))
        case ast.Call(ast.Name("softmax"), [a]):
            return ("frac", ("exp", entry(a, at)), along(a, lambda j: ("exp", entry(a, j))))
        case ast.Call(ast.Name("log_sum_exp"), [a]):
            return ("call", "ln", [along(a, lambda j: ("exp", entry(a, j)))])
        case ast.Call(ast.Name("sum_rows"), [a]):
            return total([*np.ndindex(shape(a)[:-1])], lambda row: entry(a, (*row, at[-1])))
        case ast.Call(ast.Name("total"), [a]):
            return total([*np.ndindex(shape(a))], lambda j: entry(a, j))
        case ast.Call(ast.Name("share"), [a]):
            return ("frac", entry(a, at), total([*np.ndindex(shape(a))], lambda j: entry(a, j)))
        case ast.Call(ast.Name("concat"), parts):
            column = at[-1]
            for part in parts:
                if column < shape(part)[-1]:
                    break
                column -= shape(part)[-1]
            return entry(part, (*at[:-1], column))
        case ast.Call(ast.Name("cut"), [a, _, *before]):
            return entry(a, (*at[:-1], at[-1] + sum(shape(part)[-1] for part in before)))
        case ast.Call(ast.Name("one_hot"), [a, _]):
            return ("holds", entry(a, at[:1]), "=", ("const", at[1]))
        case ast.Call(ast.Name("scatter"), [ids, rows, _]):
            where = np.argwhere(evaluate(ids, values) == at[0]).tolist()
            return total(where, lambda i: entry(rows, (*i, *at[1:])))
        case _:
            return pointwise(node, lambda part: entry(part, at))


def written_out(places: Sequence[Any], term: Callable[[Any], Tree]) -> list[Tree]:
    """The terms of a sum; of many, the first four and the last."""
    if len(places) <= TERMS:
        return [term(place) for place in places]
    return [*map(term, places[:4]), ("dots", len(places) - 5), term(places[-1])]


def entry_of(value: Any, at: Index) -> Any:
    """The entry that stands at an index of what `value` is broadcast to.

    >>> entry_of(np.array([[1], [2]]), (1, 5)).item()
    2
    """
    array = np.asarray(value)
    place = at[len(at) - array.ndim :] if array.ndim else ()
    return array[tuple(i if n > 1 else 0 for i, n in zip(place, array.shape))]
