"""Fingerprints tell apart what differs, in any process."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nnrec import Checkpoint, Dense, Interactions, Network, Table
from nnrec.fingerprints import differences, leaves

RNG = np.random.default_rng(20)
ITEMS = [f"item {i}" for i in RNG.integers(0, 11, 53)]
LOG = Interactions.from_columns(RNG.integers(0, 7, 53).tolist(), ITEMS)


def prints(value) -> dict[str, str]:
    return dict(leaves(value, "x"))


def adder(n):
    return lambda rng, m=1: [n + m for _ in range(3)]


DIFFERENT = [
    *(None, False, 0, 0.0, -0.0, "0", b"0", 1, True, np.float32(1), np.int64(1), "a" * 200),
    *("a" * 199 + "b", [], [0], [[0]], (0,), {}, {"a": 1}, {"b": 1}, {"a": 2}, [1] * 100),
    *([1] * 99 + [2], dict.fromkeys(range(100)), dict.fromkeys(range(1, 101)), range(3), Network),
    *(np.zeros(3), np.zeros(3, "f4"), np.zeros((3, 1)), np.zeros(()), np.zeros((0, 2))),
    *(np.array(["a", None], object), np.array(["b", None], object), np.array(["a", "b"])),
    *(np.array(["2024-01-01"], "M8[D]"), np.array(["2024-01-02"], "M8[D]"), np.arange(3)[::-1]),
    *(LOG.csr(), LOG.csr()[:3], LOG.csr() * 2, LOG.csr().tocsr().T, LOG, LOG.take(slice(9))),
    *(adder(1), adder(2), lambda rng, m=1: [m], lambda rng, m=2: [m], len, max, np.tanh),
    *map(eval, [f"lambda x: {body}" for body in ("x + 1", "x + 2", "x - 1", "x.a", "x.b")]),
    *map(
        eval, ["lambda: lambda: 1", "lambda: lambda: 2", "lambda x: x in {1, 2}", "lambda x=3: x"]
    ),
    *(partial(max, 1), partial(max, 2), partial(min, 1), "a".join, Checkpoint("a").write),
    *(Checkpoint("b").write, Checkpoint("a").on_step, np.random.default_rng(0)),
    *(np.random.default_rng(1), Dense(2, 3), Dense(3, 2), Dense(2, 3, "he"), {"a", "b"}, {"a"}),
    *(Table({"a": [1.0, 2.0]}), Table({"a": [1.0, 3.0]}), Table({"b": [1.0, 2.0]})),
]


def test_fingerprints_tell_apart_what_differs() -> None:
    found = [prints(value) for value in DIFFERENT]
    for i, one in enumerate(found):
        assert one == prints(copy.deepcopy(DIFFERENT[i])), DIFFERENT[i]
        for j, other in enumerate(found[:i]):
            assert one != other and differences(one, other), (DIFFERENT[i], DIFFERENT[j])


@pytest.mark.slow
def test_fingerprints_are_the_same_in_another_process(python) -> None:
    code = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import test_fingerprints as t
text = repr([t.prints(value) for value in t.DIFFERENT])
print(hashlib.sha256(text.encode()).hexdigest())
"""
    assert len({python("-c", code, Path(__file__).parent) for _ in range(2)}) == 1


def test_what_is_long_is_told_apart_as_a_whole() -> None:
    assert len(prints([[0] * 1009, dict.fromkeys(range(1009))])) < 9 < len(prints([0] * 11))


def test_what_holds_itself_has_a_fingerprint() -> None:
    one = {"a": 1}
    one["self"], one["list"] = one, [one]
    assert "x['self']" in prints(one)


def test_what_is_computed_on_demand_is_no_part() -> None:
    layer, twin = Dense(2, 3), Dense(2, 3)
    assert layer.size and prints(layer) == prints(twin)
