"""`exercise`: every sheet is good, every key right, by a recomputation in plain Python."""

from __future__ import annotations

import math
import re
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nnrec.teach import MISTAKES, exercise
from nnrec.teach.exercises import patterns
from nnrec.teach.expressions import evaluate
from nnrec.teach.kinds import KINDS

RATIONAL = ["forward", "backprop", "wrong-gradient", "update", "factorization", "relu"]
SETTINGS = [(kind, {"difficulty": d}) for kind in KINDS for d in (1, 2, 3)]
SETTINGS += [(kind, {"fractions": True}) for kind in RATIONAL]


def ids(case: Any) -> str:
    return str(case).strip("{}").replace("'", "").replace(": ", "=")


# By hand: lists of numbers, floats or fractions, and nothing of the library but the given numbers.


def rows(array: Any, exact: bool) -> Any:
    """Nested lists; fractions from the decimals as they are written."""
    number = (lambda v: Fraction(str(v))) if exact else float
    nested = np.asarray(array).tolist()
    turn = lambda a: [turn(b) for b in a] if isinstance(a, list) else number(a)  # noqa: E731
    return turn(nested)


def times(a: Any, b: Any) -> Any:
    return [[sum(x * y for x, y in zip(row, column)) for column in zip(*b)] for row in a]


def turned(a: Any) -> Any:
    return [list(column) for column in zip(*a)]


def sigma(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(z) for z in row)
    return [math.exp(z) / total for z in row]


UNITS: dict[str, Any] = {
    "Sigmoid": (sigma, lambda a: a * (1 - a)),
    "Tanh": (math.tanh, lambda a: 1 - a * a),
    "ReLU": (lambda z: max(z, 0), lambda a: int(a > 0)),
}


def chain_by_hand(sheet: Any) -> dict[str, Any]:
    """All values of a chain of layers, forward and back, by symbol."""
    exact, values = sheet.fractions, {}
    parts = [type(layer).__name__ for layer in sheet.network.layer.layers]
    theta = {k: rows(v, exact) for k, v in sheet.network.parameters().items()}
    a = values["x"] = rows(sheet.x, exact)
    n, taken, dense, unit = len(a), [], 0, 0
    for part in parts:
        if part == "Dense":
            dense += 1
            W, b = theta[f"dense_{dense}.W"], theta[f"dense_{dense}.b"]
            values[f"W_{dense}"], values[f"b_{dense}"] = W, b
            taken.append((part, f"z_{dense}", dense, a))
            a = [[z + c for z, c in zip(row, b)] for row in times(a, W)]
        else:
            unit += 1
            taken.append((part, f"a_{unit}", unit, a))
            if part == "Softmax":
                a = [softmax(row) for row in a]
            else:
                a = [[UNITS[part][0](z) for z in row] for row in a]
        values[taken[-1][1]] = a
    loss, y = type(sheet.network.loss).__name__, rows(sheet.y, exact)
    if loss == "MSE":
        L = [sum((p - t) ** 2 for p, t in zip(*pair)) / 2 for pair in zip(a, y)]
        d = [[(p - t) / n for p, t in zip(*pair)] for pair in zip(a, y)]
    elif loss == "BinaryCrossEntropy":
        L = [-sum(math.log(p if t else 1 - p) for p, t in zip(*pair)) for pair in zip(a, y)]
        d = [[(-1 / p if t else 1 / (1 - p)) / n for p, t in zip(*pair)] for pair in zip(a, y)]
    else:
        labels = [int(t) if not isinstance(t, list) else t.index(1) for t in y]
        L = [-math.log(p[k]) for p, k in zip(a, labels)]
        d = [[-1 / p[j] / n if j == k else 0 for j in range(len(p))] for p, k in zip(a, labels)]
        y = [[int(j == k) for j in range(len(a[0]))] for k in labels]
    values |= {"y": y, "L": [[v] for v in L], "E": sum(L) / n}
    for part, symbol, number, x in reversed(taken):
        values[f"∂{symbol}"] = d
        if part == "Dense":
            values[f"∂W_{number}"] = times(turned(x), d)
            values[f"∂b_{number}"] = [sum(column) for column in zip(*d)]
            d = times(d, turned(values[f"W_{number}"]))
        elif part == "Softmax":
            d = [[(p - t) / n for p, t in zip(*pair)] for pair in zip(values[symbol], y)]
        else:
            slope = UNITS[part][1]
            d = [[v * slope(u) for v, u in zip(*pair)] for pair in zip(d, values[symbol])]
    return values


def factors_by_hand(sheet: Any) -> dict[str, Any]:
    exact = sheet.fractions
    P, Q = (rows(a, exact) for a in sheet.network.parameters().values())
    users, items = (a.tolist() for a in sheet.x)
    ratings, n = [r for (r,) in rows(sheet.y, exact)], len(users)
    s = [sum(p * q for p, q in zip(P[u], Q[i])) for u, i in zip(users, items)]
    new_P, new_Q = [list(row) for row in P], [list(row) for row in Q]
    half = Fraction(1, 2) if exact else 0.5
    for u, i, miss in zip(users, items, (v - r for v, r in zip(s, ratings))):
        for k in range(len(P[0])):
            new_P[u][k] -= half * miss * Q[i][k] / n
            new_Q[i][k] -= half * miss * P[u][k] / n
    E = sum((v - r) ** 2 for v, r in zip(s, ratings)) / 2 / n
    return {"s_1": [[v] for v in s], "P_1+": new_P, "Q_1+": new_Q, "E": E, "P_1": P, "Q_1": Q}


def step_by_hand(sheet: Any) -> dict[str, Any]:
    values, o = chain_by_hand(sheet), sheet.optimizer
    number = (lambda v: Fraction(str(v))) if sheet.fractions else float
    rate = number(o.learning_rate)
    slots = {k: rows(v, sheet.fractions) for k, v in o.slots.items()}
    flat = sum(values["W_1"], []) + values["b_1"]
    g = sum(values["∂W_1"], []) + values["∂b_1"]
    if type(o).__name__ == "Adam":
        m = [o.beta1 * a + (1 - o.beta1) * b for a, b in zip(slots["m"], g)]
        v = [o.beta2 * a + (1 - o.beta2) * b * b for a, b in zip(slots["v"], g)]
        hats = [(a / (1 - o.beta1**2), b / (1 - o.beta2**2)) for a, b in zip(m, v)]
        new = [w - rate * a / (math.sqrt(b) + o.epsilon) for w, (a, b) in zip(flat, hats)]
        stepped = {"": new, "m": m, "v": v}
    else:
        if slots:
            g = [number(o.momentum) * a + b for a, b in zip(slots["velocity"], g)]
        stepped = {
            "": [w - rate * d for w, d in zip(flat, g)],
            **({"velocity": g} if slots else {}),
        }
    inputs, outputs = len(values["W_1"]), len(values["b_1"])
    for slot, vector in stepped.items():
        W = [vector[i * outputs : (i + 1) * outputs] for i in range(inputs)]
        for name, part in (("W_1", W), ("b_1", vector[inputs * outputs :])):
            values[f"{slot}[{name}]+" if slot else f"{name}+"] = part
    return values


def by_hand(sheet: Any) -> dict[str, Any]:
    special = {"factorization": factors_by_hand, "update": step_by_hand}
    return special.get(sheet.kind, chain_by_hand)(sheet)


def entry(values: dict[str, Any], label: str) -> Any:
    """values["W_1"][0][1] for "W_1[0,1]"; for "m[W_1]+[0,1]" too."""
    match = re.fullmatch(r"(.*?)(?:\[([\d,]+)\])?", label)
    value = values[match[1]]
    for i in (match[2] or "").split(",") if match[2] else ():
        value = value[int(i)]
    return value


# What must not be: each condition from the page and the numbers by hand, not from the generator.


def numbers_in(page: str) -> set[Fraction]:
    """The magnitudes of the numbers that a sheet shows as given."""
    given = re.split(r"## (?:Find|Derive|What they got|In words)", page.split("## Given")[1])[0]
    given = re.sub(r"[_^]\{[^{}]*\}", "", given)
    fractions = {
        Fraction(int(a), int(b)) for a, b in re.findall(r"\\tfrac\{(\d+)\}\{(\d+)\}", given)
    }
    given = re.sub(r"\\tfrac\{\d+\}\{\d+\}", "", given)
    return fractions | {Fraction(text) for text in re.findall(r"\d+(?:\.\d+)?", given)}


def faults(sheet: Any) -> list[str]:
    values, answers, found = by_hand(sheet), sheet.answers, []
    unit = Fraction(1, 10**sheet.digits)
    for label, text in answers.items():
        value = entry(values, label)
        if sheet.fractions:
            if Fraction(text) != value:
                found.append(f"{label} is {value}, the key has {text}")
            if abs(value.numerator) > 9999 or value.denominator > 1024:
                found.append(f"{label} = {value} is not done by hand")
            continue
        if abs(Decimal(text) - Decimal(value)) > Decimal("0.5") * 10 ** Decimal(-sheet.digits):
            found.append(f"{label} is {value}, the key has {text}")
        units = abs(Fraction(value)) / unit
        if abs(units - math.floor(units) - Fraction(1, 2)) < Fraction(49, 1000):
            found.append(f"{label} = {value} lies at a rounding boundary")
    magnitudes = {label: abs(Fraction(text)) for label, text in answers.items()}
    twice = [v for v, count in Counter(magnitudes.values()).items() if count > 1]
    found += [f"two answers are {float(v)}" for v in twice]
    shown = numbers_in(sheet.sheet())
    found += [f"{k} is on the sheet" for k, v in magnitudes.items() if v in shown or v in (0, 1)]
    exact = {label: Fraction(text) for label, text in answers.items()}
    for label, b in exact.items():
        match = re.fullmatch(r"(.*)\[(\d+),(\d+)\]", label)
        if not match:
            continue
        name, i, j = match[1], int(match[2]), int(match[3])
        for before, after in (((i, j - 1), (i, j + 1)), ((i - 1, j), (i + 1, j))):
            a, c = (exact.get(f"{name}[{p},{q}]") for p, q in (before, after))
            if a is not None and c is not None and a != b != c:
                if a + c == 2 * b or a * c == b * b:
                    found.append(f"{label} continues its neighbours")
        width = len(values[name][i])
        line = [exact.get(f"{name}[{i},{k}]") for k in range(width)]
        if width > 1 and None not in line and sum(line) in (-1, 0, 1):
            found.append(f"{name}[{i}] sums to {sum(line)}")
    if sheet.kind not in ("relu", "factorization"):
        for number, layer in enumerate(sheet.network.layer.layers[1::2], 1):
            unit_name = type(layer).__name__
            if unit_name in UNITS:
                slopes = [[UNITS[unit_name][1](a) for a in row] for row in values[f"a_{number}"]]
                if min(map(max, zip(*slopes))) < 0.02:
                    found.append(f"a unit of a_{number} is dead")
    return found


def check(kind: str, seed: int, **settings: Any) -> Any:
    sheet = exercise(kind, seed, **settings)
    assert not faults(sheet), f"{kind} {seed} {settings}: {faults(sheet)}"
    assert sheet.trace.ok
    check_by_kind(sheet)
    return sheet


def check_by_kind(sheet: Any) -> None:
    """What a kind says in words, by hand too."""
    values = by_hand(sheet)
    if sheet.kind == "relu":
        columns = turned(values["z_1"])
        dead = [j for j, column in enumerate(columns) if max(column) <= 0]
        assert len(dead) == 1
        assert sheet.questions[0].answer.startswith(f"Unit {dead[0]}: ")
        assert all(row[dead[0]] == 0 for row in values["∂W_1"]) and values["∂b_1"][dead[0]] == 0
        least = Fraction(re.search(r"than (\S+):", sheet.questions[2].answer)[1])
        assert abs(least + Fraction(max(columns[dead[0]]))) <= Fraction(1, 2 * 10**sheet.digits)
        for j, column in enumerate(columns):
            on = sum(z > 0 for z in column)
            assert f"unit {j} on {on} of {len(column)}" in sheet.questions[0].answer
    if sheet.kind == "wrong-gradient":
        right, half = set(), Fraction(1, 2 * 10**sheet.digits)
        for name, claim in sheet.claims.items():
            pairs = zip(np.ravel(claim), np.ravel(np.array(values[name], object)))
            if all(abs(Fraction(float(a)) - Fraction(float(b))) < half for a, b in pairs):
                right.add(name)
        wrong = set(re.findall(r"\{(∂\w+)\}", sheet.questions[0].answer))
        assert wrong == set(sheet.asked) and wrong and right and not wrong & right
        assert wrong | right == set(sheet.claims)
        title = sheet.questions[1].answer.partition(". ")[0]
        assert sheet.mark(sheet.claims).names == [
            name for name, mistake in MISTAKES.items() if mistake.title == title
        ]
    for question in sheet.questions:
        if question.formula:
            name, form, operands = question.formula
            claimed = evaluate(form, sheet.operands(operands))
            assert np.allclose(claimed, values[name], rtol=1e-12)
    for name, form, operands in sheet.simpler:
        assert np.allclose(evaluate(form, sheet.operands(operands)), values[name], rtol=1e-12)


@pytest.mark.parametrize(("kind", "settings"), SETTINGS, ids=ids)
def test_sheets_are_good_and_keys_right(kind: str, settings: dict[str, Any]) -> None:
    for seed in range(2):
        check(kind, seed, **settings)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_sheets_are_good_and_their_keys_right(kind: str) -> None:
    for seed in range(1000):
        check(kind, seed)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "settings"), SETTINGS, ids=ids)
def test_fifty_sheets_of_each_setting_are_good(kind: str, settings: dict[str, Any]) -> None:
    for seed in range(1000, 1050):
        check(kind, seed, **settings)


def filled(page: str, symbol_end: str = "Find|The right values of the wrong ones") -> list[str]:
    """The numbers of a key's last matrices, one display of `symbol = formula = matrix` each."""
    return re.findall(r"\$\$\n(.*?)\n\$\$", re.split(rf"## (?:{symbol_end})", page)[1], re.DOTALL)


@pytest.mark.parametrize(("kind", "settings"), SETTINGS, ids=ids)
def test_the_key_has_the_answers_and_the_sheet_has_blanks(
    kind: str, settings: dict[str, Any]
) -> None:
    sheet = exercise(kind, 5, **settings)
    blank, full = str(sheet), sheet.key()
    cells = sum(display.count(r"\boxed") for display in re.findall(r"\$\$\n.*?\n\$\$", blank))
    assert r"\boxed" not in full and cells == blank.count(r"\boxed")
    if kind == "wrong-gradient":
        assert r"\boxed" not in blank, "blanks would tell which are wrong"
    else:
        assert cells == len(sheet.answers)
    worked = " ".join(filled(full))
    read = {Fraction(t) for t in re.findall(r"-?\d+\.\d+", worked)}
    read |= {Fraction(int(s + a), int(b)) for s, a, b in FRACTION.findall(worked)}
    read |= {Fraction(t) for t in re.findall(r"-?\d+", worked)}
    assert {Fraction(text) for text in sheet.answers.values()} <= read


FRACTION = re.compile(r"(-?)\\tfrac\{(\d+)\}\{(\d+)\}")


@pytest.mark.parametrize("kind", KINDS)
def test_each_format_says_the_same(kind: str) -> None:
    sheet = exercise(kind, 5)
    for key, pages in ((False, sheet.sheet), (True, sheet.key)):
        latex, page = pages("latex"), pages("html")
        assert latex.isascii(), re.findall(r"[^\x00-\x7f]", latex)
        assert latex.startswith(r"\documentclass") and latex.endswith("\\end{document}\n")
        assert latex.count("{") == latex.count("}") and latex.count("$") % 2 == 0
        assert "http" not in page.replace("http-equiv", "") and "<script" not in page
        texts = sheet.answers.values() if key else ()
        assert all(text in latex for text in texts)
        assert all(text.replace("-", "−") in page for text in texts)
        if not key and kind != "wrong-gradient":
            assert latex.count(r"\boxed") == page.count('class="blank"') == len(sheet.answers)


def test_the_page_is_well_formed() -> None:
    from html.parser import HTMLParser

    class Checker(HTMLParser):
        open: list[str] = []

        def handle_starttag(self, tag: str, attributes: Any) -> None:
            if tag not in ("meta", "link", "br", "hr"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    for kind in KINDS:
        for page in (exercise(kind, 3).sheet("html"), exercise(kind, 3).key("html")):
            checker = Checker()
            checker.feed(page)
            assert not checker.open


def test_the_same_seed_gives_the_same_sheet() -> None:
    for kind in KINDS:
        first, second = exercise(kind, 11), exercise(kind, 11)
        assert str(first) == str(second) and first.key("html") == second.key("html")
        assert str(first) != str(exercise(kind, 12)).replace("12", "11")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_forty_sheets_differ(kind: str) -> None:
    assert len({tuple(exercise(kind, seed).answers.items()) for seed in range(1, 41)}) == 40


def test_sheets_are_saved(tmp_path: Path) -> None:
    sheet = exercise("softmax", 3)
    for format, ending in (("html", "html"), ("markdown", "md"), ("latex", "tex")):
        paths = sheet.save(tmp_path / "new", format)
        assert [path.name for path in paths] == [f"softmax-03.{ending}", f"softmax-03-key.{ending}"]
        assert paths[0].read_text("utf-8") == sheet.sheet(format)
        assert paths[1].read_text("utf-8") == sheet.key(format)
    assert sheet._repr_html_() == sheet.sheet("html")


def test_sizes_rows_and_digits_are_as_asked() -> None:
    sheet = exercise("forward", 2, sizes=(3, 2, 2), rows=2, digits=3)
    assert sheet.trace.values["x"].shape == (2, 3) and sheet.trace.values["z_2"].shape == (2, 2)
    assert all(re.fullmatch(r"-?\d+\.\d{3}", text) for text in sheet.answers.values())
    assert "Answers have 3 decimals" in str(sheet) and not faults(sheet)
    assert exercise("factorization", 1, sizes=(2, 4, 3)).trace.values["Q_1"].shape == (4, 3)
    assert exercise("softmax", 1, sizes=(3, 4), rows=3).trace.values["a_1"].shape == (3, 4)


def test_nothing_of_the_library_is_left_changed() -> None:
    sheet = exercise("update", 4, difficulty=3)
    assert sheet.optimizer.steps == 1
    before = {k: v.copy() for k, v in sheet.optimizer.slots.items()}
    sheet.mark({"W_1+": sheet.trace.values["W_1+"]})
    assert all(np.array_equal(v, before[k]) for k, v in sheet.optimizer.slots.items())


@pytest.mark.parametrize(("kind", "settings"), SETTINGS, ids=ids)
def test_the_keys_own_answers_are_right(kind: str, settings: dict[str, Any]) -> None:
    sheet = exercise(kind, 6, **settings)
    values = {name: sheet.trace.values[name] for name in sheet.asked}
    texts = {k: np.vectorize(lambda v: printed(sheet, v))(a) for k, a in values.items()}
    assert sheet.mark(texts)
    for name, text in texts.items():
        assert sheet.mark({name: text}) and sheet.mark({name: text.tolist()})
        assert sheet.mark({name.replace("∂", "d"): text})
        spoilt = text.copy()
        spoilt.flat[0] = "77.7"
        assert not sheet.mark({name: spoilt})


def printed(sheet: Any, value: Any) -> str:
    return str(value) if sheet.fractions else f"{value:.{sheet.digits}f}"


def test_a_students_mistake_is_named() -> None:
    sheet = exercise("backprop", 7, difficulty=2)
    path = {"∂W_1": "dense_1.W", "∂b_1": "dense_1.b", "∂W_2": "dense_2.W", "∂b_2": "dense_2.b"}
    for name in ("bias-averaged", "derivative-forgotten", "sign-reversed", "mean-twice"):
        twin = MISTAKES[name].plant(sheet.network)
        g = sheet.network.parameters(twin.loss_and_grad(sheet.x, sheet.y)[1])
        handed_in = {k: np.round(g[at], 4) for k, at in path.items()}
        assert name in sheet.mark(handed_in).names
        with_more = {"∂z_2": sheet.trace.values["∂z_2"].round(4)} | handed_in
        assert name in sheet.mark(with_more).names, "the one that says most is returned"


def test_a_step_without_the_rate_is_named() -> None:
    sheet = exercise("update", 7)
    W, d = sheet.trace.values["W_1"], sheet.trace.values["∂W_1"]
    assert sheet.mark({"W_1+": (W - d).round(4)}).names[0] == "rate-forgotten"
    assert (
        "sign-reversed"
        in sheet.mark({"W_1+": (W + sheet.optimizer.learning_rate * d).round(4)}).names
    )


def test_a_wrong_number_of_the_forward_pass_is_said() -> None:
    sheet = exercise("forward", 7)
    z = sheet.trace.values["z_1"].round(4)
    said = sheet.mark({"z_1": z + [[0, 0.01]]})
    assert not said and said.worst[:2] == ("z_1", (0, 1)) and not said.fits


@pytest.mark.parametrize(
    ("kind", "settings", "named"),
    [
        ("forwards", {}, "'forwards', expected one of forward,"),
        ("forward", {"seed": -1}, "seed=-1"),
        ("forward", {"difficulty": 4}, "difficulty=4"),
        ("forward", {"digits": 0}, "digits=0"),
        ("forward", {"sizes": (2,)}, r"sizes=\(2,\)"),
        ("forward", {"sizes": (2, 0)}, r"sizes=\(2, 0\)"),
        ("forward", {"sizes": (2, 7)}, r"sizes=\(2, 7\)"),
        ("forward", {"rows": 7}, "rows=7"),
        ("softmax", {"fractions": True}, "'softmax' has no fractions"),
        ("delta", {"fractions": True}, "'delta' has no fractions"),
        ("update", {"fractions": True, "difficulty": 3}, "'update' has no fractions"),
        ("factorization", {"rows": 6}, "4 pairs"),
    ],
)
def test_bad_settings_are_named(kind: str, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        exercise(kind, **settings)


@pytest.mark.parametrize(("total", "guessed"), [(-1, True), (0, True), (1, True), (0.9, False)])
def test_a_row_that_sums_to_a_whole_can_be_guessed(total: float, guessed: bool) -> None:
    values = {"d": np.array([[0.37, total - 0.37]])}
    sheet: Any = SimpleNamespace(trace=SimpleNamespace(values=values), fractions=False, digits=4)
    assert bool(list(patterns(sheet, "d", {(0, 0), (0, 1)}))) == guessed


def test_what_no_draw_fits_is_said_and_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnrec.teach.exercises.DRAWS", 3)
    with pytest.raises(ValueError, match="none of 3 draws of 'forward'"):
        exercise("forward", sizes=(6, 6, 6, 6), digits=1)


def test_bad_answers_and_formats_are_named() -> None:
    sheet = exercise("update", 1)
    with pytest.raises(ValueError, match="no 'W_9'; there are W_1"):
        sheet.mark({"W_9": [1]})
    for call in (sheet.sheet, sheet.key, lambda f: sheet.save(".", f)):
        with pytest.raises(ValueError, match="'pdf', expected one of markdown"):
            call("pdf")
