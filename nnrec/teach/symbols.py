"""The symbolic forms: what every layer, loss, penalty and optimiser computes, as formulas.

One table, keyed by class; nothing in `nn` knows of it.  The names in a formula:

    layer      x (x1, x2, … of several inputs), its parameters, y; backward dy, dW …, dx (dx1, …)
    loss       p (p1, p2, … of several outputs), t; forward the loss L of each row, a column;
               backward its derivative dp.  The mean over the rows, or that by weight, follows
    penalty    W; forward its value, backward dW
    optimiser  theta, g, rate, t (the step's count), its slots; theta_new, and the slots' m_new …

and, in each, constructor arguments that are numbers.  Further names are defined on the way, in
order: {"n": "x - mean(x)", "y": "n * gain"}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nnrec import nn
from nnrec.nn.losses import Penalty
from nnrec.teach.expressions import parse

Forms = Mapping[str, str]
Given = str | Forms | Callable[..., str | Forms]
Rule = Callable[..., dict[str, str]]


@dataclass(frozen=True)
class Symbolic:
    """The forms of one layer, loss, penalty or optimiser, and the letter of what it gives."""

    forward: Forms
    backward: Forms
    letter: str = "y"


@dataclass(frozen=True)
class Entry:
    """A row of the table: forms, or functions (subject, number of inputs) that give them."""

    forward: Given
    backward: Given
    letter: str


TABLE: dict[type, Entry] = {}
ROLES = {nn.Layer: ("__call__", "y", "dx"), nn.Loss: ("__call__", "L", "dp")} | {
    Penalty: ("__call__", "R", "dW"),
    nn.Optimizer: ("update", "theta_new", ""),
}


def register(kind: type, forward: Given, backward: Given = "", letter: str = "y") -> None:
    """Give a class of your own its symbolic forms: one text for y and dx, or one for each name.

    letter: what its outputs are called, z_1, z_2, ….  Where the forms depend on the object, they
    are functions of it and of the number of its inputs.

    >>> class Cube(nn.Layer):
    ...     def __call__(self, theta, x, rng=None):
    ...         return x * x * x, lambda dy, g: 3 * dy * x * x
    >>> register(Cube, forward="x ** 3", backward="3 * dy * x ** 2")
    >>> forms_of(Cube()).backward
    {'dx': '3 * dy * x ** 2'}
    """
    if not issubclass(kind, tuple(ROLES)):
        raise TypeError(f"register: {kind.__name__} is no Layer, Loss, Penalty or Optimizer")
    for given in (forward, backward):
        for form in () if callable(given) or not given else named(given, "").values():
            parse(form)
    TABLE[kind] = Entry(forward, backward, letter)


def forms_of(subject: Any, inputs: int = 1) -> Symbolic | None:
    """The forms of an object, or None: a class that writes the method itself does not inherit.

    >>> forms_of(nn.Dense(3, 2)).forward
    {'y': 'x @ W + b'}
    """
    role = next(role for role in ROLES if isinstance(subject, role))
    method, result, derivative = ROLES[role]
    for kind in type(subject).__mro__:
        if kind in TABLE:
            entry = TABLE[kind]
            given = [entry.forward, entry.backward]
            forward, backward = (f(subject, inputs) if callable(f) else f for f in given)
            backward = named(backward, derivative) if backward else {}
            return Symbolic(named(forward, result), backward, entry.letter)
        if method in vars(kind):
            return None
    return None


def named(given: str | Forms, name: str) -> dict[str, str]:
    """Forms by name; a single text is that of the name."""
    return {name: given} if isinstance(given, str) else dict(given)


def numbered(name: str, count: int) -> list[str]:
    """x for one, x1, x2, … for several.

    >>> numbered("x", 1), numbered("x", 2)
    (['x'], ['x1', 'x2'])
    """
    return [name] if count == 1 else [f"{name}{i}" for i in range(1, count + 1)]


register(
    nn.Dense, "x @ W + b", {"dW": "x.T @ dy", "db": "sum_rows(dy)", "dx": "dy @ W.T"}, letter="z"
)
register(nn.Sigmoid, "sigmoid(x)", "dy * y * (1 - y)", letter="a")
register(nn.ReLU, "relu(x)", "dy * (x > 0)", letter="a")
register(nn.Tanh, "tanh(x)", "dy * (1 - y ** 2)", letter="a")
register(nn.Softmax, "softmax(x)", "y * (dy - sum(dy * y))", letter="a")
register(nn.Dropout, "x * m", "dy * m", letter="r")  # m: the mask over the share kept, or 1
register(nn.Embedding, "E[x]", {"dE": "scatter(x, dy, E)"}, letter="e")
register(
    nn.LayerNorm,
    {
        "mu": "mean(x)",
        "s": "sqrt(mean((x - mu) ** 2) + epsilon)",
        "n": "(x - mu) / s",
        "y": "n * gain + b",
    },
    {
        "dgain": "sum_rows(dy * n)",
        "db": "sum_rows(dy)",
        "dn": "dy * gain",
        "dx": "(dn - mean(dn) - n * mean(dn * n)) / s",
    },
    letter="l",
)
register(
    nn.Add,
    lambda layer, n: " + ".join(numbered("x", n)),
    lambda layer, n: dict.fromkeys(numbered("dx", n), "dy"),
    letter="u",
)
register(
    nn.Multiply,
    lambda layer, n: " * ".join(numbered("x", n)),
    lambda layer, n: {
        f"dx{i}": " * ".join(["dy", *(f"x{j}" for j in range(1, n + 1) if j != i)])
        for i in range(1, n + 1)
    },
    letter="h",
)
register(nn.Dot, "sum(x1 * x2)", {"dx1": "dy * x2", "dx2": "dy * x1"}, letter="s")
register(
    nn.Concatenate,
    lambda layer, n: f"concat({', '.join(numbered('x', n))})",
    lambda layer, n: {
        f"d{x}": f"cut({', '.join(['dy', x, *numbered('x', n)[:i]])})"
        for i, x in enumerate(numbered("x", n))
    },
    letter="c",
)

register(
    nn.MSE,
    lambda loss, n: "mean((p - t) ** 2)" if loss.mean else "sum((p - t) ** 2) / 2",
    lambda loss, n: "2 * (p - t) / k" if loss.mean else "p - t",
)
register(
    nn.BinaryCrossEntropy,
    "-sum(times_ln(t, p) + times_ln(1 - t, 1 - p))",
    "over(1 - t, 1 - p) - over(t, p)",
)
register(nn.CategoricalCrossEntropy, "-sum(times_ln(t, p))", "-over(t, p)")
register(nn.SigmoidCrossEntropy, "sum(softplus(p) - t * p)", "sigmoid(p) - t")
register(nn.SoftmaxCrossEntropy, "sum(t * (log_sum_exp(p) - p))", "sum(t) * softmax(p) - t")

register(nn.L1, "strength * total(abs(W))", "strength * sign(W)", letter="R")
register(nn.L2, "strength * total(W ** 2) / 2", "strength * W", letter="R")


def rule(*kinds: type) -> Callable[[Rule], Rule]:
    """Enter an optimiser's rule: the forms on g, or on h, the gradient scaled and decayed."""

    def entered(rule: Rule) -> Rule:
        def forms(o: Any, clipped: bool) -> Forms:
            h = "scale * g" if clipped else "g"
            h += " + weight_decay * theta" * bool(o.weight_decay and not isinstance(o, nn.AdamW))
            return rule(o, "g") if h == "g" else {"h": h} | rule(o, "h")

        for kind in kinds:
            register(kind, forms)
        return rule

    return entered


@rule(nn.SGD)
def with_velocity(o: Any, g: str, direction: str = "") -> dict[str, str]:
    """v ← μ v + direction, and θ along it; without momentum, along the direction itself."""
    direction = direction or g
    if not o.momentum:
        return {"theta_new": f"theta - rate * {direction}"}
    along = f"({g} + momentum * velocity_new)" if getattr(o, "nesterov", 0) else "velocity_new"
    velocity = f"momentum * velocity + {direction}"
    return {"velocity_new": velocity, "theta_new": f"theta - rate * {along}"}


@rule(nn.Adagrad)
def adagrad(o: Any, g: str) -> dict[str, str]:
    """The sum of squares under the root."""
    step = f"rate * {g} / (sqrt(squares_new) + epsilon)"
    return {"squares_new": f"squares + {g} ** 2", "theta_new": f"theta - {step}"}


@rule(nn.RMSProp)
def rmsprop(o: Any, g: str) -> dict[str, str]:
    """A moving mean of squares under the root."""
    squares = {"squares_new": f"rho * squares + (1 - rho) * {g} ** 2"}
    return squares | with_velocity(o, g, f"{g} / (sqrt(squares_new) + epsilon)")


@rule(nn.Adam, nn.AdamW)
def adam(o: Any, g: str) -> dict[str, str]:
    """Moving means of g and of g², without their bias."""
    kept = "theta * (1 - rate * weight_decay)" if isinstance(o, nn.AdamW) else "theta"
    return {
        "m_new": f"beta1 * m + (1 - beta1) * {g}",
        "v_new": f"beta2 * v + (1 - beta2) * {g} ** 2",
        "mhat": "m_new / (1 - beta1 ** t)",
        "vhat": "v_new / (1 - beta2 ** t)",
        "theta_new": f"{kept} - rate * mhat / (sqrt(vhat) + epsilon)",
    }
