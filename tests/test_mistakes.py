"""Every planted mistake is rejected, wherever it can stand and by every method that can see it."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec import MSE, Dense, Network, ReLU, Sequential, Sigmoid, SigmoidCrossEntropy, Tanh
from nnrec.teach import MISTAKES, SPECIMENS
from nnrec.teach.specimens import Case

X = np.random.default_rng(1).normal(size=(7, 3))


def planted(name: str, seed: int = 0) -> dict[str, Case]:
    """The cases with the mistake, by specimen."""
    cases = {s.name: s.case(seed).plant(MISTAKES[name]) for s in SPECIMENS.values()}
    return {key: case for key, case in cases.items() if case}


def test_there_are_enough() -> None:
    assert len(MISTAKES) >= 40
    assert len({m.title for m in MISTAKES.values()}) == len(MISTAKES)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_words_for_the_student(name: str) -> None:
    mistake = MISTAKES[name]
    assert mistake.name == name and name == name.lower() and " " not in name
    assert mistake.title and not mistake.title.endswith(".") and len(mistake.title) <= 80
    assert mistake.why.endswith(".") and 20 < len(mistake.why) <= 200


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_rejected_wherever_it_shows(name: str) -> None:
    cases = planted(name)
    assert cases, "it shows nowhere"
    accepted = [key for key, case in cases.items() if case.check("complex").ok]
    assert not accepted


@pytest.mark.slow
@pytest.mark.parametrize("method", ["exact", "central", "taylor"])
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_rejected_by_the_other_methods(name: str, method: str) -> None:
    accepted = [
        key
        for key, case in planted(name).items()
        if method in SPECIMENS[key].methods and case.check(method).ok
    ]
    assert not accepted


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_rejected_at_other_points(name: str) -> None:
    for seed in (1, 2, 3):
        accepted = [key for key, case in planted(name, seed).items() if case.check("complex").ok]
        assert not accepted, f"seed {seed}"


# The classes in which a mistake must show; where it shows nowhere else is found by the test above.
STANDS_IN = {
    "gradient-scaled": SPECIMENS,
    "mean-forgotten": [s.name for s in SPECIMENS.values() if s.kind in ("loss", "network")],
    "weight-forgotten": [s.name for s in SPECIMENS.values() if s.kind in ("loss", "network")],
    "assigned-to-g": ["Dense", "Embedding", "LayerNorm", "siamese", "NeuMF, MSE"],
    "cached-on-self": ["Dense", "Dense, CSR input", "ReLU", "Dropout", "Embedding", "siamese"],
    "one-call-kept": ["Siamese", "siamese"],
    "repeated-ids-lost": ["Embedding", "NeuMF", "NeuMF, MSE"],
    "bias-averaged": ["Dense", "Dense, CSR input", "the document's 3-4-2", "two outputs"],
    "neighbours-weights": ["four layers of tanh"],
    "penalty-forgotten": ["logistic, L1 and L2", "NeuMF, logits, L2"],
    "penalty-on-biases": ["logistic, L1 and L2", "NeuMF, logits, L2"],
    "updated-weights": ["Dense", "the document's 3-4-2", "siamese"],
    "function-for-derivative": ["Sigmoid", "Tanh", "the document's 3-4-2"],
}


@pytest.mark.parametrize("name", STANDS_IN)
def test_a_mistake_shows_where_it_must(name: str) -> None:
    assert set(STANDS_IN[name]) <= set(planted(name))


@pytest.mark.parametrize("name", MISTAKES)
def test_planting_leaves_the_subject_and_the_forward_pass_as_they_are(name: str) -> None:
    mistake = MISTAKES[name]
    for specimen in SPECIMENS.values():
        case = specimen.case()
        twin = mistake.plant(case.subject)
        assert twin is not case.subject
        if twin is None or name in ("writes-into-input", "steps-in-back"):
            continue
        if specimen.kind == "network":
            batch = case.inputs, case.target, case.weight
            values = [
                n.loss_and_grad(*batch, theta=case.theta, rng=3)[0] for n in (case.subject, twin)
            ]
            assert values[0] == values[1]
            assert twin.layer.shapes == case.subject.layer.shapes
        elif specimen.kind != "loss":
            ys = [
                layer(case.theta, *case.inputs, rng=np.random.default_rng(3))[0]
                for layer in (case.subject, twin)
            ]
            assert np.array_equal(*ys) and twin.shapes == case.subject.shapes
        assert case.check("complex").ok


def test_a_mistake_stands_everywhere_in_a_network() -> None:
    net = Network([Dense(3, 5), Tanh(), Dense(5, 7), Tanh(), Dense(7, 1)], MSE(), rng=0)
    wrong = MISTAKES["bias-forgotten"].plant(net)
    _, g = wrong.loss_and_grad(X, X[:, :1])
    for name, part in net.parameters(g).items():
        assert part.any() == name.endswith("W")


def test_a_mistake_outside_a_subject_is_none() -> None:
    assert MISTAKES["dropout-mask-forgotten"].plant(Sequential([Dense(3, 2), ReLU()])) is None
    assert MISTAKES["half-forgotten"].plant(SigmoidCrossEntropy()) is None
    assert MISTAKES["penalty-on-biases"].plant(Network([Dense(3, 2)], MSE(), rng=0)) is None


def test_a_network_can_be_trained_with_a_mistake() -> None:
    net = Network([Dense(3, 5), Tanh(), Dense(5, 1)], MSE(), rng=0)
    wrong = MISTAKES["sign-reversed"].plant(net)
    wrong.theta = net.theta.copy()
    y = X[:, :1] * X[:, 1:2]
    histories = [n.fit(X, y, epochs=20, verbose=0) for n in (net, wrong)]
    assert histories[0]["loss"][-1] < histories[0]["loss"][0]
    assert histories[1]["loss"][-1] > histories[1]["loss"][0]


def test_already_updated_weights_by_hand() -> None:
    """1-1-1, linear, x = 1, w₁ = 2, w₂ = 3, t = 4: y = 6, ∂L/∂w₂ = 2·2 = 4, ∂L/∂w₁ = 2·3 = 6.

    At the rate ½ the step leaves w₂ = 1, which makes of ∂L/∂w₁ 2·1 = 2.
    """
    net = Network([Dense(1, 1), Dense(1, 1)], MSE(), dtype="float64", rng=0)
    net.theta[:] = [2, 0, 3, 0]
    x, y = np.ones((1, 1)), np.full((1, 1), 4.0)
    assert net.loss_and_grad(x, y)[1].tolist() == [6, 6, 4, 2]
    wrong = MISTAKES["updated-weights"].plant(net, rate=0.5)
    assert wrong.loss_and_grad(x, y)[1].tolist() == [2, 2, 4, 2]


def test_the_documents_own_mistake_by_hand() -> None:
    """Its worked example has σ(z) = (0.2, 0.8) where σ′(z) = (0.16, 0.16) belongs."""
    y, back = Sigmoid()(np.empty(0), np.log(np.array([[0.25, 4.0]])))
    wrong = MISTAKES["function-for-derivative"].plant(Sigmoid())
    dy, g = np.array([[0.1, -0.1]]), np.empty(0)
    assert np.allclose(back(dy, g), [[0.016, -0.016]])
    assert np.allclose(wrong(g, np.log(np.array([[0.25, 4.0]])))[1](dy, g), [[0.02, -0.08]])
