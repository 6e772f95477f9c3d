"""Traces as JSON: they read back, and what has been changed in one is found out and named."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nnrec import nn
from nnrec.teach import trace, verify
from nnrec.teach.traces import Trace
from tests.traced import document


def numbers_of(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all floats in a JSON tree."""
    if not isinstance(tree, dict | list):
        return [at] * isinstance(tree, float)
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [place for key, value in pairs for place in numbers_of(value, (*at, key))]


def test_a_number_changed_anywhere_is_found_out() -> None:
    network, x, y = document()
    text = trace(network, x, y, nn.Adam(0.1, weight_decay=0.2)).to_json()
    places = numbers_of(json.loads(text))
    assert len(places) > 500
    for place in places:
        tree = json.loads(text)
        node = tree
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] += 1
        with pytest.raises(ValueError, match="^step "):
            verify(json.dumps(tree))


def test_the_tampered_step_is_named() -> None:
    t = trace(*document())
    t.step("∂W_2").value[2, 1] += 1e-6
    with pytest.raises(ValueError, match=r"step ∂W_2 \(Dense\(4, 2\)\): .* x.T @ dy; off by 1e-06"):
        verify(t.to_json())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["steps"].pop(1), "step z_2 .* uses a_1 before it is there"),
        (lambda t: t["steps"].append(t["steps"][0]), "step z_1 .* stands there twice"),
        (lambda t: t["steps"][0].update(form="Dense(x)"), "step z_1 .* can't be evaluated"),
        (lambda t: t["steps"][0].update(form="x @ x"), "step z_1 .* can't be evaluated"),
        (lambda t: t["steps"][0].update(form="__import__('os')"), "can't be evaluated"),
        (lambda t: t["steps"][0].update(form="2 * (x @ W) + b"), "the value is not that of"),
        (lambda t: t["steps"][6]["check"].update(numbers=[0.0, 0.0]), "value and its check"),
        (lambda t: t.update(format="nnrec trace 0"), "no trace"),
        (lambda t: t.update(dtype="float16"), "no trace"),
        (lambda t: t["given"][0][2].update(shape=[2, 2]), "no trace"),
        (lambda t: t.pop("steps"), "no trace"),
        (lambda t: t.update(dtype="float32"), "no trace .*no value of float32 is given"),
        (lambda t: t["steps"][0].update(form=5), "step z_1 .* can't be evaluated"),
        (lambda t: t["steps"][0]["value"]["numbers"].__setitem__(0, "1/0"), "no trace"),
        (lambda t: t["steps"][0]["value"].update(dtype="int64", numbers=[10**30] * 4), "no trace"),
    ],
)
def test_what_is_no_trace_is_refused(change: Any, message: str) -> None:
    tree = json.loads(trace(*document()).to_json())
    change(tree)
    with pytest.raises(ValueError, match=message):
        verify(json.dumps(tree))


@pytest.mark.parametrize("text", ["", "[]", "{}", "1", '{"format":"nnrec trace 1"}', b"\xff"])
def test_what_is_no_json_of_a_trace_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="no trace"):
        verify(text)


def test_json_is_canonical_and_reads_back() -> None:
    first, second = (trace(*document("float32")).to_json() for _ in range(2))
    assert first == second
    t = Trace.from_json(first)
    assert t.to_json() == first
    assert t.values["z_1"].dtype == np.float32
    assert t.values["z_1"].tobytes() == trace(*document("float32")).values["z_1"].tobytes()
