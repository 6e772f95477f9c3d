"""Rows of a table: each steps as it would alone, and a step costs those that a batch touches."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from nnrec import SGD, Adagrad, Adam, AdamW, Embedding, LinearDecay, Loss, Network, RMSProp
from nnrec.nn.optimizers import Segment
from tests.test_nn_optimizers import problem, stepped

ROWS, WIDTH = 13, 3


class Pull(Loss):
    """L = Σ pred · target: ∂L/∂pred is the target, so a test chooses each gradient exactly."""

    def __call__(self, pred, target, weight=None):
        return (pred * target).sum(), target.copy()


class DenseTable(Embedding):
    """An Embedding that never says which rows it touches."""

    def rows(self, ids):
        return {}


SPARSE = [
    SGD(0.1),
    SGD(0.1, weight_decay=0.0, clip_norm=None),
    Adagrad(0.1),
    Adagrad(LinearDecay(0.1, steps=31)),
]


def touched(seed: int, steps: int = 31) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each step the ids of some rows, each once, and their gradients."""
    rng = np.random.default_rng(seed)
    picks = [rng.permutation(ROWS)[: rng.integers(1, 6)] for _ in range(steps)]
    return [(ids, rng.normal(size=(len(ids), WIDTH))) for ids in picks]


def table(layer: type[Embedding], dtype="float64", seed=0) -> Network:
    return Network(layer(ROWS, WIDTH), Pull(), rng=seed, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", SPARSE, ids=repr)
def test_rows_of_a_table_step_like_the_whole(optimizer, dtype) -> None:
    sparse, dense = table(Embedding, dtype), table(DenseTable, dtype)
    one, other = copy.deepcopy(optimizer), copy.deepcopy(optimizer)
    steps = touched(1)
    for net, optimizer in ((sparse, one), (dense, other)):
        net.fit(lambda rng: iter(steps), optimizer=optimizer, verbose=0)
    assert sparse.theta.dtype == dtype
    np.testing.assert_array_equal(sparse.theta, dense.theta)
    for name, slot in one.state_dict()["slots"].items():
        np.testing.assert_array_equal(slot, other.state_dict()["slots"][name])


LAZY = [Adam(0.1), AdamW(0.1), RMSProp(0.1), RMSProp(0.1, momentum=0.7), SGD(0.1, momentum=0.9)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", LAZY, ids=repr)
def test_lazy_rows_equal_a_run_on_their_own_steps(optimizer, dtype) -> None:
    net, steps = table(Embedding, dtype), touched(2)
    start = net.parameters()["E"].copy()
    net.fit(lambda rng: iter(steps), optimizer=copy.deepcopy(optimizer), verbose=0)
    for row in range(ROWS):
        own = [g[ids == row][0].astype(dtype) for ids, g in steps if row in ids]
        expected = stepped(copy.deepcopy(optimizer), start[row], own)
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(net.parameters()["E"][row], expected, tolerance, tolerance)


def test_lazy_state_continues_bit_for_bit() -> None:
    steps = touched(3)
    whole, halves = table(Embedding), table(Embedding)
    whole.fit(lambda rng: iter(steps), optimizer=Adam(0.1), verbose=0)
    first, second = Adam(0.1), Adam(0.1)
    halves.fit(lambda rng: iter(steps[:17]), optimizer=first, verbose=0)
    second.load_state_dict(first.state_dict())
    halves.fit(lambda rng: iter(steps[17:]), optimizer=second, verbose=0)
    np.testing.assert_array_equal(halves.theta, whole.theta)


def test_clipping_counts_the_rows_that_step() -> None:
    steps = [(np.array([2, 5]), np.array([[3.0, 0, 0], [0, 4.0, 0]]))]
    net = table(Embedding)
    start = net.parameters()["E"].copy()
    net.fit(lambda rng: iter(steps), optimizer=SGD(1.0, clip_norm=1.0), verbose=0)
    moved = start - net.parameters()["E"]
    np.testing.assert_allclose(moved[[2, 5]], [[0.6, 0, 0], [0, 0.8, 0]], atol=1e-12)
    assert not moved[[0, 1, 3, 4, *range(6, ROWS)]].any()


def test_bare_steps_count_for_the_rows() -> None:
    """Bare steps on all of θ between steps on a row: its bias correction counts both kinds."""
    net, optimizer = table(Embedding), Adam(0.1)
    start = net.parameters()["E"][4].copy()
    for kind in ("all", "row", "all", "row", "row", "all"):
        if kind == "all":
            optimizer.step(net.theta, np.ones(net.theta.size))
        else:
            step = np.array([4]), np.ones((1, WIDTH))
            net.fit(lambda rng, step=step: iter([step]), optimizer=optimizer, verbose=0)
    expected = stepped(Adam(0.1), start, np.ones((6, WIDTH)))
    np.testing.assert_allclose(net.parameters()["E"][4], expected, rtol=1e-12)


def test_a_segment_is_a_part_of_the_vector_and_its_numbers_what_a_step_touches() -> None:
    vector = np.arange(11.0)
    dense, rows = Segment(2, 5, 0.1), Segment(5, 11, 0.1, np.array([2, 0]), width=2)
    np.testing.assert_array_equal(dense.of(vector), [2, 3, 4])
    np.testing.assert_array_equal(dense.numbers(vector), [2, 3, 4])
    np.testing.assert_array_equal(rows.of(vector), [[5, 6], [7, 8], [9, 10]])
    np.testing.assert_array_equal(rows.numbers(vector), [[9, 10], [5, 6]])
    assert np.shares_memory(rows.of(vector), vector)


@pytest.mark.parametrize(
    ("table", "dense"),
    [(slice(0, 4), slice(4, 7)), (slice(3, 7), slice(0, 3))],
    ids=["first", "last"],
)
def test_a_neighbour_of_a_table_is_no_step_of_its_rows(table, dense) -> None:
    """A table beside a dense part: its rows step as they do alone."""
    theta, gradients = problem(10, steps=5)
    segments = [
        Segment(table.start, table.stop, 0.1, np.array([0]), width=2),
        Segment(dense.start, dense.stop, 0.1),
    ]
    expected = theta.copy()
    for at in (slice(table.start, table.start + 2), dense):
        expected[at] = stepped(Adam(0.1), theta[at], gradients[:, at])
    optimizer = Adam(0.1)
    for g in gradients:
        optimizer.step(theta, g, segments)
    np.testing.assert_allclose(theta, expected, rtol=1e-12)
    assert [list(counts) for counts in optimizer.row_steps.values()] == [[5, 0]]


class Sometimes(Embedding):
    """Names its rows only when the batch touches few of them."""

    def rows(self, ids):
        return super().rows(ids) if len(ids) < 4 else {}


def test_rows_may_be_named_in_some_batches_only() -> None:
    steps = touched(4)
    assert {len(ids) < 4 for ids, _ in steps} == {True, False}
    mixed, dense = table(Sometimes), table(DenseTable)
    for net in (mixed, dense):
        net.fit(lambda rng: iter(steps), optimizer=Adagrad(0.1), verbose=0)
    np.testing.assert_array_equal(mixed.theta, dense.theta)
