"""The contract of every layer and composite, on one table."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnrec.nn
from nnrec import Composite, Dense, Dropout, Layer, LayerNorm, Normal, Sequential, check_gradients
from nnrec.nn.layers import several
from tests.specimens import EXACT, SPECIMENS, Scene, assert_close, assert_same, parts_of

pytestmark = pytest.mark.usefixtures("strict_arithmetic")
specimens = pytest.mark.parametrize("name", SPECIMENS)


def test_every_public_layer_has_a_specimen() -> None:
    public = vars(nnrec.nn).values()
    layers = {c for c in public if isinstance(c, type) and issubclass(c, Layer)}
    seen = {type(part) for layer, *_ in SPECIMENS.values() for part in parts_of(layer)}
    assert layers - seen == {Layer, Composite}, "write specimens for these"


sizes = st.sampled_from([1, 2, 3, 13])
seeds = st.integers(0, 2**32 - 1)


@specimens
@settings(max_examples=20)
@given(seed=seeds, n=sizes)
def test_gradient_by_complex_step(name: str, seed: int, n: int) -> None:
    scene = Scene(name, seed, n)
    report = check_gradients(
        scene.layer, *scene.inputs, theta=scene.theta, rng=seed, method="complex", tolerance=1e-12
    )
    assert report.ok, str(report)


@pytest.mark.parametrize("name", [name for name, (*_, kind) in SPECIMENS.items() if kind == EXACT])
@settings(max_examples=5)
@given(seed=seeds, n=st.sampled_from([1, 3]))
def test_gradient_in_fractions_is_exact(name: str, seed: int, n: int) -> None:
    scene = Scene(name, seed, n)
    report = check_gradients(
        scene.layer, *scene.inputs, theta=scene.theta, rng=seed, method="exact"
    )
    assert report.ok and report.error == 0, str(report)


@specimens
@settings(max_examples=20)
@given(seed=seeds, n=sizes)
def test_back_is_the_transpose_of_the_forward(name: str, seed: int, n: int) -> None:
    """⟨dy, J v⟩ = ⟨Jᵀ dy, v⟩ for any v, where J v is the forward's own complex step."""
    scene = Scene(name, seed, n)
    rng = np.random.default_rng([seed, 1])
    dxs, g = scene.gradients()
    v = rng.normal(size=g.shape)
    moves = [None if dx is None else rng.normal(size=dx.shape) for dx in dxs]
    moved = [x if u is None else x + 1e-100j * u for x, u in zip(scene.inputs, moves)]
    y = several(scene.forward(scene.theta + 1e-100j * v, moved)[0])
    there = [(p.imag / 1e-100 * d).ravel() for p, d in zip(y, several(scene.dy))]
    back = [(dx * u).ravel() for dx, u in zip(dxs, moves) if u is not None]
    terms = np.concatenate([*there, *(-b for b in back), -g * v])
    assert abs(terms.sum()) <= 1e-12 * max(1, np.abs(terms).sum())


@specimens
def test_calls_leave_no_trace(name: str) -> None:
    """Every array is read-only; other calls stand between forward and back; back runs twice."""
    scene, other = Scene(name, 1), Scene(name, 2, n=7)
    expected = scene.gradients()
    y, back = scene.forward()
    for part in several(y):
        part.flags.writeable = False
    kept = [part.copy() for part in several(y)]
    other.layer(other.theta, *other.inputs)  # not in training
    _, other_back = other.forward()
    other.gradients(other_back)
    for _ in range(2):
        dx, g = scene.gradients(back)
        for part in (*filter(lambda d: d is not None, dx), g):
            part.flags.writeable = False
        assert_same((*dx, g), (*expected[0], expected[1]))
    assert_same(several(y), kept)
    dys = several(scene.dy)
    doubled = tuple(2 * dy for dy in dys)
    dx, g = scene.gradients(back, doubled if len(dys) > 1 else doubled[0])
    assert_same((*dx, g), [a if a is None else 2 * a for a in (*expected[0], expected[1])])


@specimens
def test_back_only_adds_to_g(name: str) -> None:
    scene = Scene(name)
    _, once = scene.gradients()
    start = np.random.default_rng(3).integers(-99, 99, once.shape).astype(float)
    g = start.copy()
    scene.forward()[1](scene.dy, g)
    assert_close(g - start, once)


@specimens
def test_float32_stays_float32(name: str) -> None:
    scene, wide = Scene(name, 1, dtype="float32"), Scene(name, 1)
    y, back = scene.forward()
    dx, g = scene.gradients(back)
    exact = (*several(wide.forward()[0]), *wide.gradients()[0], wide.gradients()[1])
    for narrow, true in zip((*several(y), *dx, g), exact, strict=True):
        if narrow is not None:
            assert narrow.dtype == np.float32
        assert_close(narrow, true, 1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        Dense(np.int64(5), np.int32(3)),
        Dropout(np.float64(0.3)),
        LayerNorm(np.int64(5), epsilon=np.float64(1e-3)),
        Sequential([Dense(5, 3, initializer=Normal(np.float64(2)))]),
    ],
    ids=repr,
)
def test_numpy_scalars_as_arguments_change_no_dtype(layer: Layer) -> None:
    theta = layer.init(np.random.default_rng(0)).astype(np.float32)
    y, back = layer(theta, np.ones((2, 5), np.float32), rng=np.random.default_rng(0))
    g = np.zeros_like(theta)
    assert y.dtype == back(y, g).dtype == np.float32
    again = pickle.loads(pickle.dumps(layer))
    assert repr(again) == repr(layer) and "np." not in repr(layer)


@specimens
def test_empty_batch(name: str) -> None:
    full, scene = Scene(name), Scene(name, n=0)
    for part, whole in zip(several(scene.forward()[0]), several(full.forward()[0])):
        assert part.shape == (0, *whole.shape[1:])
    dx, g = scene.gradients()
    assert not g.any()
    for x, d in zip(scene.inputs, dx):
        assert d is None or d.shape == x.shape


@specimens
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_behave_the_same(name: str, copied: Callable[[Layer], Layer]) -> None:
    scene = Scene(name)
    y, back = scene.forward()
    expected = (*several(y), *scene.gradients(back)[0], scene.gradients(back)[1])
    original, scene.layer = scene.layer, copied(scene.layer)
    assert scene.layer is not original and scene.layer.shapes == original.shapes
    y, back = scene.forward()
    assert_same((*several(y), *scene.gradients(back)[0], scene.gradients(back)[1]), expected)


class Twice(Composite):
    """The same part on two batches, one after the other: shared weights."""

    def __init__(self, part: Layer) -> None:
        super().__init__(part=part)

    def __call__(self, theta, a, b, rng=None):
        on = self.bind(theta, rng)
        p, back_p = on.part(*a)
        q, back_q = on.part(*b)
        return (p, q), lambda dy, g: (back_p(dy[0], g), back_q(dy[1], g))


@specimens
def test_a_part_called_twice_adds_both_gradients(name: str) -> None:
    one, two = Scene(name, 1), Scene(name, 2, n=7)
    twice = Twice(one.layer)
    _, back = twice(one.theta, one.inputs, two.inputs)  # not in training: dropout draws nothing
    g = np.zeros_like(one.theta)
    dx = back((one.dy, two.dy), g)
    total = np.zeros_like(g)
    for scene, found in zip((one, two), dx):
        _, back = scene.layer(one.theta, *scene.inputs)
        assert_same(several(found), several(back(scene.dy, total)))
    assert_close(g, total)


@specimens
def test_a_layer_says_which_rows_of_its_tables_it_touches(name: str) -> None:
    scene = Scene(name, n=2)
    g = scene.gradients()[1]
    rows = scene.layer.rows(*scene.inputs)
    tables = {path for path in scene.layer.shapes if path.split(".")[-1] == "E"}
    assert set(rows) == tables
    for path, touched in rows.items():
        start, stop, shape = scene.layer.places[path]
        used = np.flatnonzero(g[start:stop].reshape(shape).any(axis=1))
        np.testing.assert_array_equal(touched, used)


@specimens
def test_shapes_size_and_first_values_agree(name: str) -> None:
    layer = SPECIMENS[name][0]
    theta = layer.init(np.random.default_rng(0))
    assert theta.dtype == float and theta.shape == (layer.size,)
    assert layer.size == sum(map(prod, layer.shapes.values()))
    assert [part.shape for part in layer.split(theta)] == list(layer.shapes.values())
    assert all(np.shares_memory(part, theta) for part in layer.split(theta))
    assert_same([layer.init(np.random.default_rng(0))], [theta])


@pytest.mark.parametrize("name", [n for n, (layer, *_) in SPECIMENS.items() if n[0].isupper()])
def test_a_plain_layer_prints_as_the_call_that_makes_it(name: str) -> None:
    layer = SPECIMENS[name][0]
    if any(not hasattr(nnrec.nn, type(part).__name__) for part in parts_of(layer)):
        assert repr(layer).startswith(f"{type(layer).__name__}(")
    else:
        again = eval(repr(layer), vars(nnrec.nn).copy())
        assert repr(again) == repr(layer) and again.shapes == layer.shapes
