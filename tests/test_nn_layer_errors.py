"""What layers refuse, and how they name it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp

from nnrec import (
    Add,
    Concatenate,
    Dense,
    Dot,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    Multiply,
    Normal,
)

pytestmark = pytest.mark.usefixtures("strict_arithmetic")

x = np.ones
none = np.empty(0)

ERRORS: dict[str, tuple[Callable[[], object], type[Exception], list[str]]] = {
    "Dense, columns": (
        lambda: Dense(784, 128)(none, x((64, 780))),
        ValueError,
        ["Dense(784, 128)", "(64, 780)", "(n, 784)"],
    ),
    "Dense, CSR columns": (
        lambda: Dense(5, 2)(none, sp.csr_array((3, 7))),
        ValueError,
        ["Dense(5, 2)", "(3, 7)", "(n, 5)"],
    ),
    "Dense, one axis": (lambda: Dense(3, 2)(none, x(3)), ValueError, ["Dense(3, 2)", "(3,)"]),
    "Dense, three axes": (
        lambda: Dense(3, 2)(none, x((2, 5, 3))),
        ValueError,
        ["Dense(3, 2)", "(2, 5, 3)"],
    ),
    "Dense, integers": (
        lambda: Dense(3, 2)(none, x((5, 3), int)),
        TypeError,
        ["Dense(3, 2)", "int64", "floats"],
    ),
    "Dense, integers in CSR": (
        lambda: Dense(3, 2)(none, sp.csr_array(x((5, 3), np.int8))),
        TypeError,
        ["Dense(3, 2)", "int8"],
    ),
    "Dense, truth values": (
        lambda: Dense(3, 2)(none, x((5, 3), bool)),
        TypeError,
        ["Dense(3, 2)", "bool"],
    ),
    "Dense(0, …)": (lambda: Dense(0, 2), ValueError, ["Dense", "inputs=0", "≥ 1"]),
    "Dense(…, 2.5)": (lambda: Dense(1, 2.5), ValueError, ["Dense", "outputs=2.5", "whole"]),
    "Dense(…, True)": (lambda: Dense(1, True), ValueError, ["Dense", "outputs=True"]),
    "initializer's name": (
        lambda: Dense(3, 2, "xavier").init(np.random.default_rng(0)),
        ValueError,
        ["'xavier'", "glorot", "he", "lecun", "zeros"],
    ),
    "initializer's shape": (
        lambda: Dense(3, 2, lambda rng, shape: x(6)).init(np.random.default_rng(0)),
        ValueError,
        ["(6,)", "(3, 2)"],
    ),
    "Normal(-1)": (lambda: Normal(-1), ValueError, ["Normal", "std=-1"]),
    "Normal(nan)": (lambda: Normal(math.nan), ValueError, ["Normal", "std=nan"]),
    "Normal('a')": (lambda: Normal("a"), ValueError, ["Normal", "std='a'"]),
    "Dropout(1)": (lambda: Dropout(1), ValueError, ["Dropout", "rate=1", "< 1"]),
    "Dropout(-0.1)": (lambda: Dropout(-0.1), ValueError, ["Dropout", "rate=-0.1", "≥ 0"]),
    "Embedding, negative": (
        lambda: Embedding(5, 2)(none, np.array([[0, 4], [-1, 2]])),
        IndexError,
        ["Embedding(5, 2)", "-1", "[0, 5)"],
    ),
    "Embedding, beyond": (
        lambda: Embedding(5, 2)(none, np.array([0, 5])),
        IndexError,
        ["Embedding(5, 2)", "id 5", "[0, 5)"],
    ),
    "Embedding, beyond, rows": (
        lambda: Embedding(5, 2).rows(np.array([0, 7])),
        IndexError,
        ["Embedding(5, 2)", "id 7"],
    ),
    "Embedding, floats": (
        lambda: Embedding(5, 2)(none, x(3)),
        TypeError,
        ["Embedding(5, 2)", "float64", "integers"],
    ),
    "Embedding, truth values": (
        lambda: Embedding(5, 2)(none, x(3, bool)),
        TypeError,
        ["Embedding(5, 2)", "bool"],
    ),
    "LayerNorm": (
        lambda: LayerNorm(5)(none, x((3, 7))),
        ValueError,
        ["LayerNorm(5)", "(3, 7)", "(..., 5)"],
    ),
    "LayerNorm, no axis": (lambda: LayerNorm(1)(none, x(())), ValueError, ["LayerNorm(1)", "()"]),
    "Embedding(0, …)": (lambda: Embedding(0, 2), ValueError, ["Embedding: count=0"]),
    "Embedding(…, 1.5)": (lambda: Embedding(5, 1.5), ValueError, ["Embedding: dim=1.5"]),
    "LayerNorm(0)": (lambda: LayerNorm(0), ValueError, ["LayerNorm: dim=0"]),
    "LayerNorm(3, -1)": (lambda: LayerNorm(3, -1), ValueError, ["LayerNorm", "epsilon=-1"]),
    "Add": (lambda: Add()(none, x((3, 5)), x((3, 1))), ValueError, ["Add()", "(3, 5)", "(3, 1)"]),
    "Add, one": (lambda: Add()(none, x((3, 5))), ValueError, ["Add()", "(3, 5)", "two"]),
    "Multiply": (
        lambda: Multiply()(none, x((3, 5)), x((3, 5)), x(5)),
        ValueError,
        ["Multiply()", "(3, 5)", "(5,)"],
    ),
    "Concatenate": (
        lambda: Concatenate()(none, x((3, 5)), x((2, 5))),
        ValueError,
        ["Concatenate()", "(3, 5)", "(2, 5)"],
    ),
    "Concatenate, nothing": (lambda: Concatenate()(none), ValueError, ["Concatenate()"]),
    "Concatenate, no axis": (
        lambda: Concatenate()(none, x(()), x(())),
        ValueError,
        ["Concatenate()", "()"],
    ),
    "Dot": (lambda: Dot()(none, x((3, 5)), x((3, 2))), ValueError, ["Dot()", "(3, 5)", "(3, 2)"]),
    "Dot, one": (lambda: Dot()(none, x((3, 5))), ValueError, ["Dot()", "(3, 5)", "two"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_error_names_the_layer_and_what_it_found(case: str) -> None:
    call, kind, fragments = ERRORS[case]
    with pytest.raises(kind) as caught:
        call()
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_a_layer_without_a_call_says_so() -> None:
    class Unfinished(Layer):
        pass

    with pytest.raises(NotImplementedError, match="Unfinished"):
        Unfinished()(np.empty(0), np.ones(2))
