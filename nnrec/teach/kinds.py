"""Kinds of exercises: for each, a function that draws one, good or bad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnrec import nn
from nnrec.nn.arguments import Array
from nnrec.teach.diagnosis import diagnose
from nnrec.teach.draws import Draw
from nnrec.teach.exercises import Exercise, Index, Question
from nnrec.teach.planting import MISTAKES
from nnrec.teach.styles import decimals
from nnrec.teach.symbols import register

Cells = dict[str, list[Index]]

WIDTHS = {1: (2, 2, 1), 2: (2, 3, 2), 3: (2, 2, 2, 1)}  # of the layers, by difficulty
BACKPROP = {1: ((2, 2, 1), 1), 2: ((2, 2, 1), 2), 3: ((2, 2, 2, 1), 1)}  # and the rows
WRONG = """
bias-averaged weight-gradient-transposed weights-reshaped updated-weights derivative-forgotten
function-for-derivative derivative-at-output derivative-of-input square-forgotten
relu-mask-forgotten relu-mask-reversed relu-mask-of-gradient
""".split()  # what can be found on one sheet of gradients


def forward(draw: Draw) -> Exercise:
    """Forward by hand."""
    sizes, n = draw.widths(WIDTHS[draw.difficulty]), draw.count(1)
    depth, x = len(sizes) - 1, draw.numbers(n, sizes[0], most=1.5)
    letters = ["z"] if draw.fractions else ["z", "a"]
    asked = [f"{c}_{i}" for i in range(1, depth + 1) for c in letters] + ["E"]
    given = ["x", *(f"{c}_{i}" for i in range(1, depth + 1) for c in "Wb"), "y"]
    return draw.sheet(
        "Forward by hand",
        f"A network of {depth} layers, {{z_1}} = {{x}}{{W_1}} + {{b_1}} and so on, "
        f"{'with ReLU between them' if draw.fractions else about_units(draw, depth)}. "
        f"The loss is the squared error, ½ Σ (output − {{y}})²{mean(n)}.",
        draw.chain(sizes),
        x,
        draw.target(n, sizes[-1]),
        given,
        asked,
    )


def about_units(draw: Draw, depth: int) -> str:
    """Which activations a network of the difficulty has."""
    if draw.difficulty == 3 and depth > 1:
        return "tanh after each layer but the last, and a sigmoid after that"
    return "a sigmoid after each layer, {a_1} = σ({z_1})"


def mean(n: int) -> str:
    """How the rows' losses are averaged, in words."""
    return f", averaged over the {n} rows" if n > 1 else ""


def backprop(draw: Draw) -> Exercise:
    """One step of back-propagation."""
    widths, rows = BACKPROP[draw.difficulty]
    sizes, n = draw.widths(widths), draw.count(rows)
    depth, x = len(sizes) - 1, draw.numbers(n, sizes[0], most=1.5)
    asked, outputs = [], [f"a_{i}" for i in range(1, depth + 1)]
    for i in range(depth, 0, -1):
        delta = f"a_{i}" if draw.fractions and i < depth else f"z_{i}"
        asked += [f"∂{delta}", f"∂W_{i}", *([f"∂b_{i}"] if n > 1 else [])]
    if draw.fractions:
        outputs = [f"{c}_{i}" for i in range(1, depth + 1) for c in "za"][:-1]
    units = "ReLU between the layers" if draw.fractions else about_units(draw, depth)
    return draw.sheet(
        "One step of back-propagation",
        f"The forward pass of a network is done: {units}; the loss is ½ Σ (output − {{y}})²"
        f"{mean(n)}. Go back through it."
        + ("" if n > 1 else " With one row the gradient of each bias is ∂E/∂z."),
        draw.chain(sizes),
        x,
        draw.target(n, sizes[-1]),
        ["x", *outputs, *(f"W_{i}" for i in range(2, depth + 1)), "y"],
        asked,
    )


def delta(draw: Draw) -> Exercise:
    """Derive δ."""
    draw.no_fractions()
    n = draw.count(2 if draw.difficulty == 3 else 1)
    if draw.difficulty == 2:
        return hidden_delta(draw, n)
    inputs, outputs = draw.widths((2, 3 if draw.difficulty == 3 else 2))[-2:]
    y = draw.target(n, outputs)
    loss: nn.Loss = nn.MSE()
    unit: nn.Layer
    if draw.difficulty == 3:
        unit, loss, form = nn.Softmax(), nn.CategoricalCrossEntropy(), "(a - y) / n"
        y = np.eye(outputs)[draw.rng.integers(0, outputs, n)]
        words = "a softmax {a_1} of {z_1}, and the cross-entropy −Σ {y} ln {a_1}"
    else:
        which = draw.rng.integers(3)
        unit = nn.Tanh() if which == 1 else nn.Sigmoid()
        name = "tanh {z_1}" if which == 1 else "σ({z_1})"
        words = f"{{a_1}} = {name} and the loss ½ Σ ({{a_1}} − {{y}})²"
        form = "(a - y) * (1 - a ** 2) / n" if which == 1 else "(a - y) * a * (1 - a) / n"
        if which == 2:
            loss, form = nn.BinaryCrossEntropy(), "(a - y) / n"
            y = draw.rng.integers(0, 2, (n, outputs)).astype(float)
            words = "{a_1} = σ({z_1}) and the loss −Σ [{y} ln {a_1} + (1 − {y}) ln (1 − {a_1})]"
    network = draw.network([nn.Dense(inputs, outputs), unit], loss)
    question = Question(
        "Derive δ = {∂z_1} by the chain rule, δ = {∂a_1} · (the derivative of {a_1} in {z_1}), and "
        "simplify: a formula in {a_1} and {y}.",
        "What is left when the two are multiplied:",
        ("∂z_1", form if n > 1 else form.removesuffix(" / n"), {"a": "a_1", "y": "y", "n": n}),
    )
    names = ["a_1", "∂z_1"] if draw.difficulty == 3 else ["a_1", "∂a_1", "∂z_1"]
    asked = {name: cells(n, outputs, draw) for name in names}
    return draw.sheet(
        "Derive δ",
        f"The last layer has {words}{mean(n)}. Derive first, then put the numbers in.",
        network,
        draw.numbers(n, inputs),
        y,
        ["z_1", "y"],
        asked,
        questions=[question],
    )


def cells(n: int, outputs: int, draw: Draw) -> list[Index]:
    """The cells asked for: of a softmax not the last, which would follow from the others."""
    last = draw.kind == "softmax" or draw.difficulty == 3
    return [(i, j) for i in range(n) for j in range(outputs - last)]


def hidden_delta(draw: Draw, n: int) -> Exercise:
    """δ of a hidden layer from that of the next."""
    sizes = draw.widths((2, 2, 2), least=3)
    question = Question(
        "Derive δ₁ = {∂z_1} from δ₂ = {∂z_2}: through {W_2}, then through the sigmoid. "
        "A formula in δ₂, {W_2} and {a_1}.",
        "Each layer on the way gives its own factor:",
        ("∂z_1", "(d @ W.T) * a * (1 - a)", {"d": "∂z_2", "W": "W_2", "a": "a_1"}),
    )
    return draw.sheet(
        "Derive δ",
        "A hidden layer has {a_1} = σ({z_1}), the next {z_2} = {a_1}{W_2} + {b_2}. "
        "Derive first, then put the numbers in.",
        draw.chain(sizes),
        draw.numbers(n, sizes[0]),
        draw.target(n, sizes[-1]),
        ["a_1", "W_2", "∂z_2"],
        ["∂a_1", "∂z_1"],
        questions=[question],
    )


def wrong_gradient(draw: Draw) -> Exercise | None:
    """Find the wrong gradient."""
    sizes, n = draw.widths(WIDTHS[draw.difficulty]), draw.count(2)
    depth, network = len(sizes) - 1, draw.chain(sizes)
    x, y = draw.numbers(n, sizes[0], most=1.5), draw.target(n, sizes[-1])
    mistake = MISTAKES[draw.rng.choice(WRONG)]
    twin = mistake.plant(network)
    if twin is None:
        return None
    numbers = [f"{c}_{i}" for i in range(1, depth + 1) for c in ("z", "a")]
    last = numbers[:-1] if draw.fractions else numbers
    given = ["x", *last, *(f"W_{i}" for i in range(2, depth + 1)), "y"]
    names = [f"∂{c}_{i}" for i in range(depth, 0, -1) for c in "Wb"]
    units = "ReLU between the layers" if draw.fractions else about_units(draw, depth)
    sheet = draw.sheet(
        "Find the wrong gradient",
        f"A network ({units}; the loss ½ Σ (output − {{y}})²{mean(n)}) was taken back by somebody "
        "who made one mistake, in every place where it can be made. "
        "These are the gradients they got; the learning rate, should it matter, is 0.5.",
        network,
        x,
        y,
        given,
        names,
    )
    values, path = sheet.trace.values, sheet.trace.given
    theta = np.concatenate([values[f"{c}_{i}"].ravel() for i in range(1, depth + 1) for c in "Wb"])
    g = twin.loss_and_grad(values["x"], values["y"], theta=theta)[1]
    wrong = network.parameters(g)
    sheet.claims = {name: wrong[path[name[1:]]] for name in names}
    off = {k: float(abs(claim - values[k]).max()) for k, claim in sheet.claims.items()}
    differ = [k for k in names if off[k] > 5 * 10**-draw.digits]  # at a glance, or not at all
    if not 0 < len(differ) < len(names) or any(1e-12 < off[k] for k in set(names) - set(differ)):
        return None
    texts = {path[k[1:]]: printed(sheet, claim) for k, claim in sheet.claims.items()}
    if diagnose(texts, network, x, target=y).names != [mistake.name]:
        return None
    sheet.asked = {name: cells for name, cells in sheet.asked.items() if name in differ}
    symbols = ", ".join(f"{{{name}}}" for name in differ)
    sheet.questions = [
        Question("Which of these gradients are wrong?", f"{symbols}."),
        Question("What was done, and what is right?", f"{mistake.title}. {mistake.why}"),
        Question("What should they be?", "As worked out above."),
    ]
    return sheet


def printed(sheet: Exercise, array: Array) -> Array:
    """Numbers as the sheet prints them."""
    return np.array([decimals(x, sheet.digits) for x in array.flat]).reshape(array.shape)


def update(draw: Draw) -> Exercise:
    """One update."""
    inputs, outputs = draw.widths((2, 2))[-2:]
    n, network = draw.count(2), draw.network([nn.Dense(inputs, outputs)], nn.MSE())
    optimizer: nn.Optimizer = nn.SGD(float(draw.rng.choice([0.1, 0.2, 0.5])))
    slots: dict[str, str] = {}
    if draw.difficulty == 2:
        optimizer = nn.SGD(float(draw.rng.choice([0.1, 0.2, 0.5])), momentum=0.9)
        slots = {"velocity": "v⁺ = μ v + g, w⁺ = w − α v⁺"}
    if draw.difficulty == 3:
        draw.no_fractions()
        optimizer = nn.Adam(float(draw.rng.choice([0.1, 0.05])))
        slots = {
            "m": "m⁺ = β₁ m + (1 − β₁) g",
            "v": "v⁺ = β₂ v + (1 − β₂) g², w⁺ = w − α m̂ / (√v̂ + ε) with m̂ = m⁺ / (1 − β₁ᵗ) and "
            "v̂ = v⁺ / (1 − β₂ᵗ), ε too small to count; this is step t = 2",
        }
        optimizer.steps = 1
    for name in optimizer.slot_names:
        size = network.theta.size
        optimizer.slots[name] = abs(draw.numbers(size)) if name == "v" else draw.numbers(size)
    names = ["W_1", "b_1"]
    rule = ", ".join(slots.values()) or "w⁺ = w − α g"
    settings = {"α": "learning_rate", "μ": "momentum", "β₁": "beta1", "β₂": "beta2"}
    known = ", ".join(
        f"{symbol} = {getattr(optimizer, name)}"
        for symbol, name in settings.items()
        if getattr(optimizer, name, 0)
    )
    return draw.sheet(
        "One update",
        f"A step of {type(optimizer).__name__}{' with momentum' if 'velocity' in slots else ''}: "
        f"{rule}, where g is the gradient of w; {known}. Take it.",
        network,
        draw.numbers(n, inputs, most=1.5),
        draw.numbers(n, outputs),
        [
            *names,
            *(f"∂{name}" for name in names),
            *(f"{s}[{name}]" for s in slots for name in names),
        ],
        [*(f"{s}[{name}]+" for s in slots for name in names), *(f"{name}+" for name in names)],
        optimizer,
    )


def softmax(draw: Draw) -> Exercise:
    """Softmax and cross-entropy."""
    draw.no_fractions()
    inputs, classes = draw.widths((2, 2 + draw.difficulty))[-2:]
    n = draw.count(2)
    labels = draw.rng.integers(0, classes, n)
    chosen = cells(n, classes, draw)
    asked: Cells = {"a_1": chosen, "L": [(i, 0) for i in range(n)], "∂z_1": chosen}
    return draw.sheet(
        "Softmax and cross-entropy",
        "The logits {z_1}, a row for each example, go through a softmax: {a_1}. The loss {L} of a "
        "row is −ln of the probability of its class, E is their mean; the classes, counted from 0, "
        "are {y}.",
        draw.network([nn.Dense(inputs, classes), nn.Softmax()], nn.CategoricalCrossEntropy()),
        draw.numbers(n, inputs, most=1.5),
        labels,
        ["z_1", "y"],
        asked,
        simpler=[("∂z_1", "(a - t) / n", {"a": "a_1", "t": "t", "n": n})],
    )


class Factors(nn.Embedding):
    """An embedding whose table has a letter of its own."""

    def __init__(self, letter: str, count: int, dim: int):
        super().__init__(count, dim)
        self.letter = letter

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {self.letter: (self.count, self.dim)}


register(
    Factors,
    lambda layer, n: f"{layer.letter}[x]",
    lambda layer, n: {f"d{layer.letter}": f"scatter(x, dy, {layer.letter})"},
    letter="e",
)


class Factorization(nn.Composite):
    """s = p_u · q_i for pairs of a user and an item."""

    def __init__(self, users: int, items: int, dim: int):
        self.users, self.items, self.dim = users, items, dim
        super().__init__(user=Factors("P", users, dim), item=Factors("Q", items, dim), dot=nn.Dot())

    def __call__(self, theta: Array, *inputs: Any, rng: Any = None) -> Any:
        on = self.bind(theta, rng)
        (p, back_p), (q, back_q) = on.user(inputs[0]), on.item(inputs[1])
        s, back_s = on.dot(p, q)

        def back(ds: Array, g: Array) -> tuple[None, None]:
            dp, dq = back_s(ds, g)
            back_p(dp, g)
            back_q(dq, g)
            return None, None

        return s, back


def factorization(draw: Draw) -> Exercise | None:
    """Matrix factorisation by hand."""
    users, items, dim = draw.widths({1: (2, 2, 2), 2: (2, 3, 2), 3: (3, 3, 2)}[draw.difficulty], 3)
    n = draw.count(draw.difficulty)
    if n > users * items:
        raise ValueError(f"exercise: rows={n}, but there are {users * items} pairs")
    pairs = np.sort(draw.rng.choice(users * items, n, replace=False))
    x = (pairs // items, pairs % items)
    asked: Cells = {"s_1": [(i, 0) for i in range(n)], **({"E": [()]} if n > 1 else {})}
    for name, ids in (("P_1+", x[0]), ("Q_1+", x[1])):
        asked[name] = [(i, k) for i in sorted(set(ids.tolist())) for k in range(dim)]
    ratings = draw.rng.integers(1, 6, (n, 1)).astype(float)
    said = "; ".join(
        f"user {u} gave item {i} the rating {r:g}" for u, i, r in zip(*x, ratings.ravel())
    )
    return draw.sheet(
        "Matrix factorisation by hand",
        "The rows of {P_1} are the users' factors, those of {Q_1} the items', both counted from 0. "
        f"Known: {said}. Predict each rating, {{s_1}} = p · q; then take one step of gradient "
        f"descent, α = 0.5, on the loss ½ (s − rating)²{mean(n)}.",
        draw.network(Factorization(users, items, dim), nn.MSE()),
        x,
        ratings,
        ["P_1", "Q_1"],
        asked,
        may_die=True,
    )


def dead_relu(draw: Draw) -> Exercise | None:
    """Why does this ReLU not learn?"""
    usual = {1: (2, 2, 1), 2: (2, 3, 1), 3: (3, 3, 1)}[draw.difficulty]
    inputs, hidden, outputs = draw.widths(usual, least=3)[:3]
    n = draw.count(3)
    sheet = draw.sheet(
        "Why does this ReLU not learn?",
        "A hidden layer has {z_1} = {x}{W_1} + {b_1} and {a_1} = max(0, {z_1}). "
        f"After many steps on these {n} rows one of its units (columns) has not moved.",
        draw.network([nn.Dense(inputs, hidden), nn.ReLU(), nn.Dense(hidden, outputs)], nn.MSE()),
        draw.numbers(n, inputs, most=1.5),
        draw.numbers(n, outputs),
        ["x", "W_1", "b_1"],
        ["z_1"],
        may_die=True,
    )
    z = sheet.trace.values["z_1"]
    on = (z > 0).sum(axis=0)
    still = np.flatnonzero(on == 0)
    if len(still) != 1 or not (z != 0).all():
        return None
    unit, least = int(still[0]), -max(z[:, still[0]])
    counts = ", ".join(f"unit {j} on {count} of {n}" for j, count in enumerate(on))
    sheet.questions = [
        Question(
            "Which unit is it, counted from 0, and on how many rows is each unit on?",
            f"Unit {unit}: {counts}.",
        ),
        Question(
            "What is the gradient of its weights and of its bias, and why?",
            "0, all of it: {∂z_1} = {∂a_1} · [{z_1} > 0] is 0 on every row in its column, and "
            "{∂W_1} = xᵀ {∂z_1}. What has no gradient does not move; no learning rate helps.",
        ),
        Question(
            "By how much must its bias rise, at least, before it can learn from some row?",
            f"By more than {decimals(least, draw.digits)}: its largest z must become positive.",
        ),
    ]
    return sheet


KINDS: dict[str, Callable[[Draw], Exercise | None]] = {
    "forward": forward,
    "backprop": backprop,
    "delta": delta,
    "wrong-gradient": wrong_gradient,
    "update": update,
    "softmax": softmax,
    "factorization": factorization,
    "relu": dead_relu,
}
