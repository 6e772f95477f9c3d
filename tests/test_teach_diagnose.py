"""`diagnose`: a mistake is named, a right answer not accused, an unknown mistake not misnamed."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from nnrec import (
    L2,
    MSE,
    SGD,
    Adam,
    Add,
    BinaryCrossEntropy,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    Multiply,
    Network,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
)
from nnrec.teach import MISTAKES, SPECIMENS, diagnose
from nnrec.teach.specimens import Case, Siamese

NETWORKS = [s for s in SPECIMENS.values() if s.kind == "network"]
ALONE = {"own-factor": Multiply, "sum-shared-out": Add, "cut-one-off": Concatenate}


def chain(seed: int) -> Case:
    """A random network: 1 to 5 Dense layers, any activations, any loss, 2 to 7 rows."""
    rng = np.random.default_rng([seed, 19])
    depth, n = int(rng.integers(1, 6)), int(rng.integers(2, 8))
    width = [int(w) for w in rng.choice([2, 3, 5, 7], depth + 1)]
    if rng.random() < 0.3:
        width[1:-1] = [width[1]] * (depth - 1)
    layers: list[Any] = []
    for i, (a, b) in enumerate(zip(width, width[1:])):
        layers.append(Dense(a, b))
        if i < depth - 1:
            layers += [LayerNorm(b)] if rng.random() < 0.2 else []
            layers.append([Sigmoid(), Tanh(), ReLU()][rng.integers(3)])
            layers += [Dropout(0.3)] if rng.random() < 0.2 else []
    out = width[-1]
    x, kind = rng.normal(size=(n, width[0])), int(rng.integers(6))
    y: Any = rng.integers(0, 2, (n, out)).astype(float)
    loss: Any = [MSE(), MSE(mean=True), SigmoidCrossEntropy(), BinaryCrossEntropy(), MSE()][
        kind % 5
    ]
    if kind in (3, 4):
        layers.append(Sigmoid())
    if kind == 5:
        loss, y = SoftmaxCrossEntropy(), rng.integers(0, out, n)
    penalty = [L2(0.1)] if rng.random() < 0.2 else []
    net = Network(layers, loss, rng=seed, dtype="float64", penalty=penalty)
    net.theta += rng.normal(size=net.theta.size) / 2
    weight = rng.uniform(0.5, 2, n) if rng.random() < 0.3 else None
    return Case(net, (x,), y, weight, net.theta, seed)


def cases(seed: int) -> Iterator[Case]:
    """Random chains, and the specimens' networks among them."""
    while True:
        yield chain(seed)
        case = NETWORKS[seed % len(NETWORKS)].case(seed)
        yield case
        seed += 1


def planted(name: str, count: int) -> list[tuple[Case, Case]]:
    """Right and wrong networks, in which the mistake shows."""
    found = []
    if name in ALONE:  # no specimen of a network has it: those of layers, with other numbers
        for seed in range(count):
            case = SPECIMENS[ALONE[name].__name__].case(seed)
            found.append((case, case.plant(MISTAKES[name])))
        return [(case, wrong) for case, wrong in found if wrong]
    for case in cases(0):
        wrong = case.plant(MISTAKES[name])
        if wrong:
            found.append((case, wrong))
        if len(found) == count:
            return found
    raise AssertionError


def said(case: Case, student: Any, **more: Any) -> Any:
    return diagnose(
        student,
        case.subject,
        *case.inputs,
        target=case.target,
        weight=case.weight,
        theta=case.theta,
        **more,
    )


def named_rightly(name: str, count: int) -> tuple[int, int, float]:
    right, many = 0, []
    pairs = planted(name, count)
    for case, wrong in pairs:
        result = said(case, wrong.subject, rng=case.seed)
        right += name in result.names
        many.append(len(result.names))
    return right, len(pairs), float(np.mean(many))


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_named(name: str) -> None:
    right, count, _ = named_rightly(name, 1)
    assert right == count == 1


@pytest.mark.long
@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_named_on_fifty_networks(name: str) -> None:
    right, count, many = named_rightly(name, 50)
    assert right >= 0.95 * count and count == 50
    assert many < 2, "of others, only those that come to the same"


def gradient(case: Case, subject: Any = None) -> Any:
    """As a pass in training gives it."""
    batch = case.inputs, case.target, case.weight
    net = subject or case.subject
    return net.loss_and_grad(*batch, theta=case.theta, rng=case.seed)[1]


GRADIENTS = [n for n, m in MISTAKES.items() if not m.contract and n not in ALONE]


def named_from_four_decimals(name: str, count: int) -> tuple[int, int]:
    right = total = 0
    for case, wrong in planted(name, 5 * count):
        g, claimed = gradient(case), gradient(case, wrong.subject)
        if abs(claimed - g).max() < 3e-4 or total == count:
            continue  # nobody could see it
        result = said(case, [f"{w:.4f}" for w in claimed], rng=case.seed)
        right, total = right + (name in result.names), total + 1
    return right, total


@pytest.mark.parametrize("name", GRADIENTS)
def test_each_mistake_is_named_from_four_decimals(name: str) -> None:
    right, total = named_from_four_decimals(name, 1)
    assert right == total == 1


@pytest.mark.long
@pytest.mark.parametrize("name", GRADIENTS)
def test_each_mistake_is_named_from_four_decimals_on_fifty_networks(name: str) -> None:
    right, total = named_from_four_decimals(name, 50)
    assert right >= 0.95 * total and total == 50


def check_a_right_answer(seed: int) -> None:
    for case in (chain(seed), NETWORKS[seed % len(NETWORKS)].case(seed)):
        g = gradient(case)
        assert said(case, case.subject)
        for d in (2, 4, 9):
            assert said(case, [f"{w:.{d}f}" for w in g], rng=case.seed)
            assert said(case, g.round(d), rng=case.seed)
        assert said(case, g.tolist(), rng=case.seed)
        assert said(case, g.astype("float32"), rng=case.seed)
        assert said(case, [float(f"{w:.5g}") for w in g], rng=case.seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_right_answer_is_not_accused(seed: int) -> None:
    check_a_right_answer(seed)


@pytest.mark.long
def test_a_right_answer_is_never_accused() -> None:
    for seed in range(100, 300):
        check_a_right_answer(seed)


@pytest.mark.parametrize("name", SPECIMENS)
def test_a_right_layer_loss_or_network_is_not_accused(name: str) -> None:
    for seed in range(2):
        case = SPECIMENS[name].case(seed)
        assert said(case, case.subject, rng=seed)


def outside(case: Case, rng: np.random.Generator) -> dict[str, Any]:
    """Gradients that are wrong in ways the catalogue does not have."""
    net, g = case.subject, gradient(case)
    weights = [name for name, a in net.parameters().items() if a.ndim == 2 and a.size > 3]
    name = weights[rng.integers(len(weights))]
    found = {
        "1.1 times": g * 1.1,
        "noise": g + rng.normal(size=g.size) * abs(g).max() / 10,
        "noise alone": rng.normal(size=g.size),
        "cut": np.clip(g, -abs(g).max() / 2, abs(g).max() / 2),
        **({"absolute": abs(g)} if (g > 1e-3).any() else {}),  # else it is the wrong sign
        "order reversed": g[::-1].copy(),
    }
    for what, change in {
        "one entry zero": lambda a: np.put(a, abs(a).argmax(), 0),
        "one sign": lambda a: np.put(a, abs(a).argmax(), -a.flat[abs(a).argmax()]),
        "rows reversed": lambda a: np.copyto(a, a[::-1].copy()),
        "squared": lambda a: np.copyto(a, a * a),
        "a third": lambda a: np.copyto(a, a / 3),
    }.items():
        found[what] = g.copy()
        change(net.parameters(found[what])[name])
    for other in weights:
        if other != name and net.parameters()[other].shape == net.parameters()[name].shape:
            found["another layer's"] = g.copy()
            parts = net.parameters(found["another layer's"])
            parts[name][...], parts[other][...] = parts[other].copy(), parts[name].copy()
    # On a network where there is nothing to see, nothing is wrong.
    return {what: a for what, a in found.items() if abs(a - g).max() > 1e-3}


def check_outside(seed: int) -> list[str]:
    case, rng, seen = chain(seed), np.random.default_rng(seed), []
    for what, g in outside(case, rng).items():
        for claimed in (g, [f"{w:.5f}" for w in g]):
            result = said(case, claimed, rng=case.seed)
            assert not result and not result.fits, f"{what} on {case.subject.layer}: {result}"
        assert "No mistake of the catalogue" in str(result)
        seen.append(what)
    return seen


def test_a_mistake_outside_the_catalogue_is_not_misnamed() -> None:
    seen = {what for seed in (0, 4, 9) for what in check_outside(seed)}
    assert len(seen) == 12


@pytest.mark.long
def test_a_mistake_outside_the_catalogue_is_never_misnamed() -> None:
    for seed in range(100):
        check_outside(seed)


X = np.random.default_rng(3).normal(size=(5, 3))


def mazur() -> tuple[Network, list[list[float]], list[list[float]]]:
    """The 2-2-2 network of Matt Mazur's worked example (2015), whose biases stay as they are."""
    layers = [Dense(2, 2), Sigmoid(), Dense(2, 2), Sigmoid()]
    net = Network(layers, MSE(), rng=0, frozen=["*.b"])
    net.theta[:] = [0.15, 0.25, 0.20, 0.30, 0.35, 0.35, 0.40, 0.50, 0.45, 0.55, 0.60, 0.60]
    return net, [[0.05, 0.10]], [[0.01, 0.99]]


def test_mazurs_error_is_that_of_already_updated_weights() -> None:
    net, x, y = mazur()
    wrong = diagnose(None, net, x, target=y, loss=0.291027924, optimizer=SGD(0.5))
    assert wrong.names == ["updated-weights"]
    assert wrong.worst == ("loss", (), 0.291027924, pytest.approx(0.291027774, abs=5e-10))
    assert "already changed" in str(wrong)
    assert diagnose(None, net, x, target=y, loss=0.291027774, optimizer=SGD(0.5))


def test_mazurs_weights_are_right_as_he_prints_them() -> None:
    net, x, y = mazur()
    printed = {
        "dense_1.W": [[0.149780716, 0.24975114], [0.19956143, 0.29950229]],
        "dense_2.W": [[0.35891648, 0.511301270], [0.408666186, 0.561370121]],
    }
    assert diagnose(None, net, x, target=y, weights=printed, optimizer=SGD(0.5))
    printed["dense_2.W"][0][0] = 0.35891658
    wrong = diagnose(None, net, x, target=y, weights=printed, optimizer=SGD(0.5))
    assert wrong.worst[:2] == ("dense_2.W", (0, 0)) and (wrong.wrong, wrong.total) == (1, 8)
    assert not wrong.fits


def test_mistakes_of_the_step_are_named() -> None:
    net, x, y = mazur()
    _, g = net.loss_and_grad(x, y)
    before = net.theta.copy()
    for theta, name in ((before - g, "rate-forgotten"), (before, "step-forgotten")):
        after = dict(zip(net.layer.shapes, net.layer.split(theta)))
        moved = {name: after[name] for name in ("dense_1.W", "dense_2.W")}
        wrong = diagnose(None, net, x, target=y, weights=moved, optimizer=SGD(0.3))
        assert wrong.names == [name]
    optimizer = Adam(0.1)
    climbed = before.copy()
    Adam(0.1).step(climbed, -g)
    wrong = diagnose(None, net, x, target=y, weights=climbed, optimizer=optimizer)
    assert "sign-reversed" in wrong.names and optimizer.steps == 0
    assert np.array_equal(net.theta, before)


def test_what_this_case_cannot_tell_apart_is_named_together() -> None:
    case = SPECIMENS["the document's 3-4-2"].case()
    wrong = said(case, -gradient(case), rng=case.seed)
    assert set(wrong.names) == {"sign-reversed", "target-minus-prediction"}
    assert "Each of these" in str(wrong)
    assert not any(fit.where for fit in wrong.fits), "what is made everywhere needs no place"


def test_further_cases_tell_apart_what_the_first_can_not() -> None:
    """Where the sum of the weights is 1 and there are 2 rows, ×2 is more than one mistake."""
    net = Network([Dense(3, 2)], MSE(), rng=0, dtype="float64")
    wrong = MISTAKES["relu-mask-forgotten"].plant(Sequential([Dense(3, 2), ReLU()]))
    positive = np.array([1.0, 1, 1, 1, 1, 1, 9, 9])
    assert diagnose(wrong, Sequential([Dense(3, 2), ReLU()]), X, theta=positive, cases=1)
    found = diagnose(wrong, Sequential([Dense(3, 2), ReLU()]), X, theta=positive)
    assert found.names == ["relu-mask-forgotten"]
    g = net.loss_and_grad(X[:2], X[:2, :2])[1]
    assert {"half-forgotten", "mean-forgotten"} <= set(
        diagnose(2 * g, net, X[:2], target=X[:2, :2]).names
    )


def test_a_mistake_in_one_part_alone_says_where() -> None:
    case = SPECIMENS["the document's 3-4-2"].case()
    twin = MISTAKES["derivative-forgotten"].plant(case.subject, only="sigmoid_1")
    wrong = said(case, gradient(case, twin), rng=case.seed)
    assert [(fit.mistake.name, fit.where) for fit in wrong.fits] == [
        ("derivative-forgotten", "sigmoid_1")
    ]
    assert "in sigmoid_1 alone" in str(wrong)


def dense_back(theta: Any, x: Any, dy: Any) -> Any:
    return dy @ theta[:6].reshape(3, 2).T, np.r_[(x.T @ dy).ravel(), dy.sum(axis=0)]


def test_a_backward_function_of_a_layer() -> None:
    assert diagnose(dense_back, Dense(3, 2), X)

    def reshaped(theta: Any, x: Any, dy: Any) -> Any:
        return dy @ theta[:6].reshape(2, 3), dense_back(theta, x, dy)[1]

    wrong = diagnose(reshaped, Dense(3, 2), X)
    assert wrong.names == ["weights-reshaped"] and wrong.worst[0] == "x"
    single = lambda *a: tuple(np.float32(part) for part in dense_back(*a))  # noqa: E731
    assert diagnose(single, Dense(3, 2), X)


def test_a_gradient_that_code_leaves_out_is_not_right() -> None:
    x = np.random.default_rng(3).normal(size=(5, 3))

    def no_bias(theta: Any, x: Any, dy: Any) -> Any:
        return dy @ theta[:6].reshape(3, 2).T, {"W": x.T @ dy}

    assert diagnose(no_bias, Dense(3, 2), x).names == ["bias-forgotten"]
    assert not diagnose(lambda *_: (None, np.zeros(8)), Dense(3, 2), x)
    assert diagnose(lambda theta, x, dy: (None, {}), Sigmoid(), x).worst[0] == "x"
    net = Network(Dense(3, 2), MSE(), rng=0)
    y = np.ones((5, 2))
    assert not diagnose(lambda *_: {}, net, x, target=y)
    assert not diagnose({}, net, x, target=y)
    assert not diagnose(None, net, x, target=y, weights={}, optimizer=SGD(0.5))
    with pytest.raises(ValueError, match="there is no 'w'; there are x, W, b"):
        diagnose(lambda theta, x, dy: (dy, {"w": x.T @ dy}), Dense(3, 2), x)


def test_a_layer_written_as_a_function() -> None:
    def tanh(theta: Any, x: Any, rng: Any = None) -> Any:
        y = np.tanh(x)
        return y, lambda dy, g: dy * (1 - y)

    assert diagnose(tanh, Tanh(), X).names == ["square-forgotten"]

    def doubled(theta: Any, x: Any, rng: Any = None) -> Any:
        return 2 * np.tanh(x), lambda dy, g: dy * (1 - np.tanh(x) ** 2)

    wrong = diagnose(doubled, Tanh(), X)
    assert wrong.worst[0] == "y" and not wrong.fits, "its forward pass is another one"


def test_several_inputs_and_outputs() -> None:
    towers = Siamese(Dense(3, 2))
    assert diagnose(towers, towers, X, X[::-1])
    once = MISTAKES["one-call-kept"].plant(towers)
    assert diagnose(once, towers, X, X[::-1]).names == ["one-call-kept"]

    def product(theta: Any, a: Any, b: Any, dy: Any) -> Any:
        return (dy * a, dy * b), theta

    assert diagnose(product, Multiply(), X, X + 1).names == ["own-factor"]


def test_a_function_of_a_loss() -> None:
    target = (X > 0).astype(float)
    loss = SigmoidCrossEntropy()
    right = lambda z, t: (1 / (1 + np.exp(-z)) - t) / len(z)  # noqa: E731
    assert diagnose(right, loss, X, target=target)
    assert diagnose(lambda z, t: (0.0, right(z, t)), loss, X, target=target)
    wrong = diagnose(lambda z, t: right(z, t) * len(z), loss, X, target=target)
    assert wrong.names == ["mean-forgotten"] and wrong.worst[0] == "pred"
    numbers = (right(X, target) * len(X)).round(4)
    assert diagnose(numbers, loss, X, target=target).names == ["mean-forgotten"]


def test_a_function_of_a_network() -> None:
    net = Network([Dense(3, 2), Dropout(0.5)], MSE(), rng=0)
    y = X[:, :2]

    def back(theta: Any, x: Any, y: Any) -> Any:
        d = (x @ theta[:6].reshape(3, 2) + theta[6:] - y) / len(x)
        return {"dense_1.W": x.T @ d, "dense_1.b": d.sum(axis=0)}

    assert diagnose(back, net, X, target=y), "outside training: it draws nothing"
    mean = lambda *a: back(*a) | {"dense_1.b": back(*a)["dense_1.b"] / 5}  # noqa: E731
    assert diagnose(mean, net, X, target=y).names == ["bias-averaged"]
    assert diagnose(lambda *a: (0.0, back(*a)), net, X, target=y), "with the loss"


def test_ids_and_nothing_to_return() -> None:
    ids, layer = np.array([0, 2, 2]), Embedding(3, 2)

    def back(theta: Any, ids: Any, dy: Any) -> Any:
        d = np.zeros((3, 2))
        d[ids] += dy
        return None, d.ravel()

    assert diagnose(back, layer, ids).names == ["repeated-ids-lost"]


def test_numbers_of_a_layer_need_what_came_back() -> None:
    dy = np.ones((1, 3))
    assert diagnose({"x": dy}, ReLU(), np.array([[1.0, 2.0, 3.0]]), dy=dy)
    wrong = diagnose({"x": dy}, ReLU(), np.array([[1.0, -2.0, 3.0]]), dy=dy)
    assert wrong.worst == ("x", (0, 1), 1.0, 0.0)
    assert wrong.names == ["relu-mask-forgotten", "relu-mask-of-gradient"]


def test_numbers_are_compared_as_written() -> None:
    net = Network([Dense(1, 1)], MSE(), rng=0, dtype="float64")
    net.theta[:] = [1 / 3, 0]
    x, y = [[2.0]], [[0.0]]  # the gradient is 4/3, 2/3
    for right in (
        [1.33, 0.67],
        ["1.333", "0.667"],
        [Fraction(4, 3), Fraction(2, 3)],
        ["4/3", "2/3"],
    ):
        assert diagnose(right, net, x, target=y)
    assert not diagnose([1.33, 0.66], net, x, target=y)
    assert not diagnose(["1.34", "0.67"], net, x, target=y)
    assert not diagnose([1, 1], net, x, target=y), "whole numbers are exact"
    assert diagnose([1, 1], net, x, target=y, digits=0)
    near = diagnose([1.3333, 0.6666], net, x, target=y)
    assert not near and "rounded on the way" in str(near) and not near.fits
    assert not diagnose([np.nan, 0.67], net, x, target=y)


def test_a_wrong_shape_is_said() -> None:
    net = Network([Dense(3, 2)], MSE(), rng=0)
    d = net.parameters(net.loss_and_grad(X, X[:, :2])[1])
    wrong = diagnose({"dense_1.W": d["dense_1.W"].T}, net, X, target=X[:, :2])
    assert not wrong and "it is transposed" in str(wrong) and not wrong.fits


def test_bad_arguments_are_named() -> None:
    net = Network([Dense(3, 2)], MSE(), rng=0)
    target = X[:, :2]
    for student, subject, more, expected in (
        (None, net, {}, "one of a student"),
        ([1.0], net, {"loss": 1.0}, "one of a student"),
        (None, net, {"loss": 1.0}, "optimizer="),
        (None, Tanh(), {"loss": 1.0, "optimizer": SGD(1)}, "need a Network"),
        ({"W": [1.0]}, net, {}, "no 'W'; there are .*dense_1.W"),
        ([1.0, 2.0], net, {}, r"shape \(2,\), expected \(8,\)"),
        ({"dense_1.b": ["one", "2"]}, net, {}, "dense_1.b holds .*'one'"),
        ({"x": X}, Tanh(), {}, "need dy="),
    ):
        with pytest.raises(ValueError, match=expected):
            diagnose(student, subject, X, target=target if subject is net else None, **more)


def test_it_reads_well() -> None:
    net, x, y = mazur()
    g = net.loss_and_grad(x, y)[1]
    assert str(diagnose(1.1 * g, net, x, target=y)).splitlines()[1:] == [
        "No mistake of the catalogue gives them. All are 1.1 times what they should be."
    ]
    assert str(diagnose(g, net, x, target=y)).startswith("Right: all numbers agree")
    first = str(diagnose(-g, net, x, target=y)).splitlines()[0]
    assert first.startswith("Wrong: 8 of 8 numbers differ, most of all dense_2.W[1, 0]: -0.0826676")


def test_softmax_alone_is_told_from_its_diagonal() -> None:
    wrong = MISTAKES["jacobian-diagonal"].plant(Softmax())
    assert diagnose(wrong, Softmax(), X).names == ["jacobian-diagonal"]
