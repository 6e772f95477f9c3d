"""Symbolic forms: each computes what its class does, in a closed language."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnrec import nn
from nnrec.nn.layers import several
from nnrec.nn.losses import Penalty
from nnrec.teach import SPECIMENS
from nnrec.teach.expressions import evaluate, parse
from nnrec.teach.symbols import TABLE, forms_of, numbered, register
from nnrec.teach.traces import constants
from tests.traced import OPTIMIZERS


def local_values(layer: Any, theta: Any, inputs: Any) -> dict[str, Any]:
    values = constants(layer) | dict(zip(numbered("x", len(inputs)), inputs))
    return values | dict(zip(layer.shapes, layer.split(theta)))


@pytest.mark.parametrize("seed", range(3))
def test_every_form_computes_what_its_class_does(seed: int) -> None:
    seen = set()
    for specimen in SPECIMENS.values():
        case = specimen.case(seed)
        subject: Any = case.subject
        inputs = [x.toarray() if hasattr(x, "tocsr") else x for x in case.inputs]
        forms = None if specimen.kind == "network" else forms_of(subject, len(inputs))
        if forms is None:
            continue
        seen.add(type(subject))
        if isinstance(subject, nn.Loss):
            t = case.target.toarray() if hasattr(case.target, "tocsr") else case.target
            local = constants(subject) | dict(zip(numbered("p", len(inputs)), inputs))
            local |= {"k": inputs[0].shape[-1]}
            local["t"] = np.eye(local["k"])[t] if t.ndim == 1 else t
            for row in range(len(t)):  # a batch of one row: its value is L of the row
                value, d = subject(inputs[0][[row]], t[[row]])
                mine = {k: v[[row]] if np.ndim(v) else v for k, v in local.items()}
                np.testing.assert_allclose(evaluate(forms.forward["L"], mine), [[value]])
                np.testing.assert_allclose(evaluate(forms.backward["dp"], mine), d, atol=1e-14)
            continue
        rng = np.random.default_rng(seed)
        y, back = subject(case.theta, *inputs, rng=rng)
        local = local_values(subject, case.theta, inputs)
        if isinstance(subject, nn.Dropout):
            local["m"] = back(np.ones_like(y), np.empty(0))
            assert not local["m"].all()
        for name, form in forms.forward.items():
            local[name] = evaluate(form, local)
        np.testing.assert_allclose(local["y"], y, rtol=1e-13)
        local["dy"], g = rng.normal(size=np.shape(y)), np.zeros(subject.size)
        dx = back(local["dy"], g)
        for name, form in forms.backward.items():
            local[name] = evaluate(form, local)
        for name, part in zip(subject.shapes, subject.split(g)):
            np.testing.assert_allclose(local[f"d{name}"], part, rtol=1e-12, atol=1e-14)
        for name, part in zip(numbered("dx", len(inputs)), several(dx)):
            if part is not None:
                np.testing.assert_allclose(local[name], part, rtol=1e-12, atol=1e-14)
    rest = set(TABLE) - seen
    ours = {kind for kind in rest if kind.__module__.startswith("nnrec.nn")}
    assert {kind for kind in ours if not issubclass(kind, nn.Optimizer | Penalty)} == set()
    for penalty in (nn.L1(0.3), nn.L2(0.3)):
        W, forms = np.random.default_rng(seed).normal(size=(3, 5)), forms_of(penalty)
        local = {"W": W, "strength": 0.3}
        assert evaluate(forms.forward["R"], local) == pytest.approx(penalty(W)[0])
        np.testing.assert_allclose(evaluate(forms.backward["dW"], local), penalty(W)[1])
    assert {type(o) for o in OPTIMIZERS} == {k for k in ours if issubclass(k, nn.Optimizer)}


@pytest.mark.parametrize(
    "form",
    [
        "x.__class__",
        "open(x)",
        "[x]",
        "x if x else x",
        "x +",
        "lambda: 1",
        "x ** 99",
        "x[0:1]",
        "'a'",
    ],
)
def test_a_form_is_of_a_closed_language(form: str) -> None:
    with pytest.raises(ValueError, match="form"):
        parse(form)


def test_register_takes_forms_of_the_librarys_kinds_only() -> None:
    class Doubled(nn.Sigmoid):
        def __call__(self, theta: Any, x: Any, rng: Any = None) -> Any:
            y, back = super().__call__(theta, x)
            return 2 * y, lambda dy, g: back(2 * dy, g)

    with pytest.raises(TypeError, match="int is no Layer"):
        register(int, "x")
    with pytest.raises(ValueError, match="form"):
        register(Doubled, "x ^ 3")
    assert Doubled not in TABLE
    assert forms_of(Doubled()) is None, "who writes the call has another form"
    assert forms_of(type("Same", (nn.Sigmoid,), {})()).forward == {"y": "sigmoid(x)"}
