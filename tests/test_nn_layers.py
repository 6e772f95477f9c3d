"""The contract of every layer and composite, on one table; what each layer computes."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

import nnrec.nn
from nnrec import (
    Add,
    Composite,
    Concatenate,
    Dense,
    Dot,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    Multiply,
    Normal,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    check_gradients,
)
from nnrec.nn.layers import add_rows

Draw = Callable[[np.random.Generator, int], object]


class Siamese(Composite):
    """One tower on both inputs; the score is the dot of its outputs."""

    def __init__(self) -> None:
        super().__init__(tower=Sequential([Dense(3, 5), ReLU(), Dense(5, 2)]), dot=Dot())

    def __call__(self, theta, a, b, rng=None):
        on = self.bind(theta, rng)
        p, back_p = on.tower(a)
        q, back_q = on.tower(b)
        y, back_y = on.dot(p, q)

        def back(dy, g):
            dp, dq = back_y(dy, g)
            return back_p(dp, g), back_q(dq, g)

        return y, back


class NeuMF(Composite):
    """Ids of users and items through factors and a tower, side by side, without transcendentals."""

    def __init__(self) -> None:
        super().__init__(
            user=Embedding(7, 3),
            item=Embedding(5, 3),
            factors=Multiply(),
            tower=Sequential([Concatenate(), Dense(6, 2), ReLU()]),
            join=Concatenate(),
            head=Dense(5, 1),
        )

    def __call__(self, theta, users, items, rng=None):
        on = self.bind(theta, rng)
        p, back_p = on.user(users)
        q, back_q = on.item(items)
        f, back_f = on.factors(p, q)
        h, back_h = on.tower(p, q)
        j, back_j = on.join(f, h)
        y, back_y = on.head(j)

        def back(dy, g):
            df, dh = back_j(back_y(dy, g), g)
            dp, dq = back_f(df, g)
            dp_tower, dq_tower = back_h(dh, g)
            back_p(dp + dp_tower, g)
            back_q(dq + dq_tower, g)
            return None, None

        return y, back


class Fork(Layer):
    """(2x, 3x): a layer with several outputs."""

    def __call__(self, theta, x, rng=None):
        return (2 * x, 3 * x), lambda dy, g: 2 * dy[0] + 3 * dy[1]


def real(*sizes: int) -> Draw:
    """Inputs of shapes (n, size); an entry is exactly 0, where ReLU has its kink."""

    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
        xs = tuple(rng.normal(size=(n, size)) for size in sizes)
        xs[0][:1, 1] = 0
        return xs

    return draw


def csr(size: int) -> Draw:
    return lambda rng, n: (sp.random_array((n, size), density=0.5, format="csr", rng=rng),)


def ids(*counts: int, shape: tuple[int, ...] = ()) -> Draw:
    return lambda rng, n: tuple(rng.integers(0, count, (n, *shape)) for count in counts)


EXACT = "exact"  # no transcendentals, no roots: the check in fractions applies

SPECIMENS: dict[str, tuple[Layer, Draw, str]] = {
    "Dense": (Dense(3, 5), real(3), EXACT),
    "Dense on CSR": (Dense(7, 5), csr(7), ""),
    "Dense without ∂L/∂x": (Dense(3, 2, data_gradient=False), real(3), EXACT),
    "Sigmoid": (Sigmoid(), real(5), ""),
    "ReLU": (ReLU(), real(5), EXACT),
    "Tanh": (Tanh(), real(5), ""),
    "Softmax": (Softmax(), real(5), ""),
    "Dropout": (Dropout(0.3), real(5), ""),
    "Dropout of nothing": (Dropout(0), real(5), EXACT),
    "Embedding": (Embedding(7, 3), ids(7), EXACT),
    "Embedding of sets": (Embedding(5, 3), ids(5, shape=(2, 7)), EXACT),
    "LayerNorm": (LayerNorm(5), real(5), ""),
    "Add": (Add(), real(3, 3, 3), EXACT),
    "Multiply": (Multiply(), real(3, 3, 3), EXACT),
    "Concatenate": (Concatenate(), real(2, 5, 3), EXACT),
    "Dot": (Dot(), real(3, 3), EXACT),
    "Sequential": (Sequential([Dense(3, 5), ReLU(), Dense(5, 2)]), real(3), EXACT),
    "deep": (
        Sequential(
            [Dense(3, 7), LayerNorm(7), Tanh(), Dropout(0.4), Dense(7, 5), Sigmoid(), Softmax()]
        ),
        real(3),
        "",
    ),
    "Sequential of tuples": (Sequential([Concatenate(), Fork(), Multiply()]), real(2, 3), EXACT),
    "several outputs": (Sequential([Dense(3, 2), Fork()]), real(3), EXACT),
    "Siamese": (Siamese(), real(3, 3), EXACT),
    "NeuMF": (NeuMF(), ids(7, 5), EXACT),
}

specimens = pytest.mark.parametrize("name", SPECIMENS)


def several(x: object) -> tuple:
    return x if isinstance(x, tuple) else (x,)


def cast(x, dtype):
    return x.astype(dtype) if x.dtype.kind in "fc" else x


def locked(x):
    """The same array, which nobody can write into; of CSR, its parts."""
    for array in (x.data, x.indices, x.indptr) if sp.issparse(x) else (x,):
        array.flags.writeable = False
    return x


class Scene:
    """One specimen with θ, inputs and dy drawn from a seed, and its passes."""

    def __init__(self, name: str, seed: int = 0, n: int = 11, dtype: str = "float64"):
        self.layer, draw, _ = SPECIMENS[name]
        self.seed = seed
        rng = np.random.default_rng(seed)
        theta = self.layer.init(rng)
        for bias, (start, stop, _) in self.layer.places.items():
            if bias.endswith("b") and seed % 2:  # every other one starts with zero biases
                theta[start:stop] = rng.normal(size=stop - start)
        self.theta = locked(theta.astype(dtype))
        self.inputs = tuple(locked(cast(x, dtype)) for x in draw(rng, n))
        y = several(self.forward()[0])
        dys = tuple(locked(rng.normal(size=part.shape).astype(dtype)) for part in y)
        self.dy = dys if len(dys) > 1 else dys[0]

    def forward(self, theta=None, inputs=None):
        theta = self.theta if theta is None else theta
        inputs = self.inputs if inputs is None else inputs
        return self.layer(theta, *inputs, rng=np.random.default_rng(self.seed))

    def gradients(self, back=None, dy=None):
        """(dx for each input or None, g), from g = 0."""
        back = back or self.forward()[1]
        g = np.zeros_like(self.theta)
        dx = back(self.dy if dy is None else dy, g)
        return several(dx), g


def assert_close(a, b, tolerance: float = 1e-13) -> None:
    if a is None or b is None:
        assert a is b
        return
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def assert_same(a, b) -> None:
    """Tuples of arrays and None, bit for bit."""
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert (x is None) == (y is None)
        if x is not None:
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


def parts_of(layer: Layer) -> list[Layer]:
    below = getattr(layer, "parts", {}).values()
    return [layer, *(deep for part in below for deep in parts_of(part))]


@pytest.fixture(scope="module", autouse=True)
def strict_arithmetic():
    """Overflow, division by zero and invalid operations raise, in every test of this file."""
    with np.errstate(all="raise", under="ignore"):
        yield


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
    assert set(rows) == (tables if not isinstance(scene.layer, NeuMF) else set())
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


def loop_dense(theta, x):
    W, b = theta[:15].reshape(3, 5), theta[15:]
    rows = range(len(x))
    return [[sum(x[i, k] * W[k, j] for k in range(3)) + b[j] for j in range(5)] for i in rows]


def loop_layer_norm(theta, x):
    out = []
    for row in x:
        mean = sum(row) / 5
        deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / 5 + 1e-5)
        out.append([(v - mean) / deviation * theta[j] + theta[5 + j] for j, v in enumerate(row)])
    return out


def loop_softmax(theta, x):
    return [[math.exp(v) / sum(map(math.exp, row)) for v in row] for row in x]


def elementwise(f):
    return lambda theta, x: [[f(value) for value in row] for row in x]


def loop_neumf(theta, users, items):
    E, F = theta[:21].reshape(7, 3), theta[21:36].reshape(5, 3)
    W, b, V, c = theta[36:48].reshape(6, 2), theta[48:50], theta[50:55], theta[55]
    out = []
    for u, i in zip(users, items):
        both = [*E[u], *F[i]]
        hidden = [max(0, sum(x * w for x, w in zip(both, W[:, j])) + b[j]) for j in range(2)]
        joined = [*(E[u, k] * F[i, k] for k in range(3)), *hidden]
        out.append([sum(h * v for h, v in zip(joined, V)) + c])
    return out


def loop_siamese(theta, a, b):
    W, c, V, d = theta[:15].reshape(3, 5), theta[15:20], theta[20:30].reshape(5, 2), theta[30:]

    def tower(x):
        h = [max(0, sum(x[k] * W[k, j] for k in range(3)) + c[j]) for j in range(5)]
        return [sum(h[k] * V[k, j] for k in range(5)) + d[j] for j in range(2)]

    return [[sum(p * q for p, q in zip(tower(x), tower(y)))] for x, y in zip(a, b)]


LOOPS = {
    "Dense": loop_dense,
    "Sigmoid": elementwise(lambda x: 1 / (1 + math.exp(-x))),
    "ReLU": elementwise(lambda x: max(0, x)),
    "Tanh": elementwise(math.tanh),
    "Softmax": loop_softmax,
    "LayerNorm": loop_layer_norm,
    "Embedding": lambda theta, ids: [theta[3 * i : 3 * i + 3] for i in ids],
    "Embedding of sets": lambda theta, ids: [
        [[theta[3 * i : 3 * i + 3] for i in row] for row in table] for table in ids
    ],
    "Add": lambda theta, *xs: [[sum(vs) for vs in zip(*rows)] for rows in zip(*xs)],
    "Multiply": lambda theta, *xs: [[prod(vs) for vs in zip(*rows)] for rows in zip(*xs)],
    "Concatenate": lambda theta, *xs: [[v for row in rows for v in row] for rows in zip(*xs)],
    "Dot": lambda theta, a, b: [[sum(p * q for p, q in zip(*rows))] for rows in zip(a, b)],
    "Siamese": loop_siamese,
    "NeuMF": loop_neumf,
}


@pytest.mark.parametrize("name", LOOPS)
def test_output_equals_a_plain_loop(name: str) -> None:
    scene = Scene(name, seed=1)
    assert_close(
        scene.layer(scene.theta, *scene.inputs)[0], LOOPS[name](scene.theta, *scene.inputs)
    )


def run(layer: Layer, *inputs, theta=None):
    """(y, dx, g) for dy = y."""
    theta = layer.init(np.random.default_rng(5)) if theta is None else theta
    y, back = layer(theta, *inputs)
    g = np.zeros_like(theta)
    return y, back(y, g), g


def test_dense_takes_csr_as_it_takes_the_same_dense_matrix() -> None:
    x = sp.random_array((11, 7), density=0.3, format="csr", rng=1)
    for dtype in ("float32", "float64"):
        sparse, dense = x.astype(dtype), x.toarray().astype(dtype)
        theta = Dense(7, 3).init(np.random.default_rng(0)).astype(dtype)
        y, dx, g = run(Dense(7, 3), sparse, theta=theta)
        y_dense, dx_dense, g_dense = run(Dense(7, 3), dense, theta=theta)
        assert dx is None and dx_dense.shape == (11, 7)
        assert isinstance(y, np.ndarray) and y.dtype == g.dtype == dtype
        assert_close(y, y_dense, 1e-5 if dtype == "float32" else 1e-13)
        assert_close(g, g_dense, 1e-5 if dtype == "float32" else 1e-13)


def test_dense_may_decline_the_data_gradient() -> None:
    x = np.random.default_rng(0).normal(size=(7, 3))
    layer = Dense(3, 2)
    twin = layer.without_data_gradient()
    y, dx, g = run(layer, x)
    assert dx is not None and run(twin, x)[1] is None
    assert_same((y, g), (run(twin, x)[0], run(twin, x)[2]))
    assert not twin.data_gradient and repr(twin) == "Dense(3, 2, data_gradient=False)"
    assert Sigmoid().without_data_gradient().__class__ is Sigmoid


@pytest.mark.lesson_3
def test_relu_is_flat_at_its_kink_and_below() -> None:
    x = np.array([[-1.0, -0.0, 0.0, 5e-324, 2.0]])
    y, back = ReLU()(np.empty(0), x)
    np.testing.assert_array_equal(y, [[0, 0, 0, 5e-324, 2]])
    np.testing.assert_array_equal(back(np.full((1, 5), 3.0), np.empty(0)), [[0, 0, 0, 3, 3]])


@pytest.mark.lesson_7
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "uint64"])
def test_embedding_adds_up_repeated_ids(dtype: str) -> None:
    ids = np.array([[4, 0], [4, 4], [1, 0]], dtype)
    layer = Embedding(5, 3)
    theta = np.arange(15.0)
    y, back = layer(theta, ids)
    assert y.shape == (3, 2, 3)
    dy, g = np.random.default_rng(0).normal(size=(3, 2, 3)), np.zeros(15)
    assert back(dy, g) is None
    expected = np.zeros((5, 3))
    for position in np.ndindex(3, 2):
        expected[ids[position]] += dy[position]
    assert_close(g.reshape(5, 3), expected)
    assert not g.reshape(5, 3)[[2, 3]].any()
    np.testing.assert_array_equal(layer.rows(ids)["E"], [0, 1, 4])


@pytest.mark.parametrize("count", [5, 65_537, 70_001])  # sorted as 16-bit numbers, or not
@pytest.mark.parametrize("ids", [[], [3], [0, 2, 4], [4, 2, 0], [4, 4], [4, 0, 4, 1, 0, 4, -1]])
def test_adding_rows_is_numpys_add_at(ids: list[int], count: int) -> None:
    """The naive twin; -1 stands for the table's last row."""
    places = np.array([i % count for i in ids], np.int64)
    rows = np.random.default_rng(0).normal(size=(len(ids), 3))
    table, expected = np.ones((count, 3)), np.ones((count, 3))
    add_rows(table, places, rows)
    np.add.at(expected, places, rows)
    assert_close(table, expected)
    for start in (0, 65_536):  # ids that are equal in their last 16 bits
        table[:], expected[:] = 0, 0
        mixed = np.array([start, 0, start, 0, 1], np.int64) % count
        add_rows(table, mixed, np.ones((5, 3)))
        np.add.at(expected, mixed, np.ones((5, 3)))
        np.testing.assert_array_equal(table, expected)


def test_embedding_takes_one_id_alone() -> None:
    y, back = Embedding(5, 3)(np.arange(15.0), np.array(2))
    g = np.zeros(15)
    back(np.ones(3), g)
    np.testing.assert_array_equal(y, [6, 7, 8])
    np.testing.assert_array_equal(np.flatnonzero(g), [6, 7, 8])


def test_layer_norm_ignores_shift_and_positive_scale() -> None:
    layer = LayerNorm(7, epsilon=0)
    x = np.random.default_rng(0).normal(size=(11, 7))
    theta = np.random.default_rng(1).normal(size=14)
    y, dx, _ = run(layer, x, theta=theta)
    assert_close(run(layer, 3 * x + 5, theta=theta)[0], y, 1e-12)
    assert_close(run(layer, -x, theta=theta)[0] - theta[7:], theta[7:] - y)
    assert_close(dx.sum(axis=1), np.zeros(11))  # no gradient along a shift
    assert_close((dx * x).sum(axis=1), np.zeros(11))  # nor along a scale
    plain = run(layer, x)[0]
    assert_close(plain.mean(axis=1), np.zeros(11))
    assert_close((plain**2).mean(axis=1), np.ones(11))


def test_layer_norm_of_equal_values_is_its_bias() -> None:
    theta = np.arange(6.0)
    y, back = LayerNorm(3)(theta, np.full((2, 3), 7.0))
    np.testing.assert_array_equal(y, [[3, 4, 5]] * 2)
    assert np.isfinite(back(np.ones((2, 3)), np.zeros(6))).all()


@pytest.mark.parametrize("dims", [(), (7,), (7, 3)])
@pytest.mark.parametrize("layer", [LayerNorm(5), Softmax(), Sigmoid(), Tanh(), ReLU()], ids=repr)
def test_layers_along_the_last_axis_take_any_number_of_axes(layer: Layer, dims: tuple) -> None:
    x = np.random.default_rng(0).normal(size=(*dims, 5))
    theta = np.random.default_rng(1).normal(size=layer.size)
    y, dx, g = run(layer, x, theta=theta)
    flat_y, flat_dx, flat_g = run(layer, x.reshape(-1, 5), theta=theta)
    assert y.shape == dx.shape == x.shape
    assert_close(y, flat_y.reshape(x.shape))
    assert_close(dx, flat_dx.reshape(x.shape))
    assert_close(g, flat_g)


def test_softmax_layer_is_the_jacobian_product() -> None:
    x = np.random.default_rng(0).normal(size=(3, 5))
    y, back = Softmax()(np.empty(0), x)
    dy = np.random.default_rng(1).normal(size=(3, 5))
    J = [np.diag(row) - np.outer(row, row) for row in y]
    assert_close(back(dy, np.empty(0)), [j @ d for j, d in zip(J, dy)])


GENERATORS = [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64]


@pytest.mark.lesson_6
@pytest.mark.parametrize("bits", GENERATORS)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_each_value_with_its_probability(bits: type, rate: float) -> None:
    x = np.ones((1009, 101))
    y, _ = Dropout(rate)(np.empty(0), x, rng=np.random.Generator(bits(7)))
    kept = np.count_nonzero(y)
    assert binomtest(kept, x.size, 1 - rate).pvalue > 1e-3
    assert binomtest(np.count_nonzero(y[::2]), y[::2].size, 1 - rate).pvalue > 1e-3
    pairs = np.count_nonzero(y[:, 1:].astype(bool) & y[:, :-1].astype(bool))
    assert abs(pairs / y[:, 1:].size - (1 - rate) ** 2) < 0.01  # neighbours are independent


@pytest.mark.parametrize("rate", [1e-3, 0.1, 0.3, 0.5, 0.97, 1 - 1e-9])
def test_dropout_leaves_the_mean_as_it_is(rate: float) -> None:
    """Over every 16-bit word once, the outputs' mean is the input."""
    words = np.random.default_rng(0).permutation(65536).astype(np.uint16)
    bits = SimpleNamespace(random_raw=lambda size: words.view(np.uint64)[:size])
    x = np.full(65536, 3.0)
    y, back = Dropout(rate)(np.empty(0), x, rng=SimpleNamespace(bit_generator=bits))
    assert math.fsum(y) / 65536 == pytest.approx(3, rel=1e-15)
    assert math.fsum(back(x, np.empty(0))) / 65536 == pytest.approx(3, rel=1e-15)
    assert np.count_nonzero(y) == max(1, round((1 - rate) * 65536))


@pytest.mark.lesson_6
@pytest.mark.parametrize("bits", GENERATORS)
def test_dropout_draws_by_shape_only_and_goes_back_under_the_same_mask(bits: type) -> None:
    layer, masks, states = Dropout(0.4), [], []
    for dtype in ("float32", "float64", "complex128"):
        for scale in (1, 1000):
            rng = np.random.Generator(bits(3))
            x = np.full((7, 11), scale, dtype)
            y, back = layer(np.empty(0), x, rng=rng)
            dx = back(np.ones((7, 11), dtype), np.empty(0))
            assert y.dtype == dx.dtype == dtype
            assert_close(y / scale, dx, 1e-6)
            masks.append(y != 0)
            states.append(rng.random())
    assert all((mask == masks[0]).all() for mask in masks) and 0 < masks[0].sum() < 77
    assert len(set(states)) == 1


@pytest.mark.lesson_6
def test_dropout_draws_anew_each_call_and_nothing_outside_training() -> None:
    rng, x = np.random.default_rng(0), np.ones((13, 7))
    layer = Dropout(0.5)
    first, second = (layer(np.empty(0), x, rng=rng)[0] for _ in range(2))
    assert (first != second).any()
    for still, generator in ((layer, None), (Dropout(0), np.random.default_rng(1))):
        y, back = still(np.empty(0), x, rng=generator)
        assert_same((y, back(x, np.empty(0))), (x, x))


@pytest.mark.parametrize("name", [n for n, (layer, *_) in SPECIMENS.items() if n[0].isupper()])
def test_a_plain_layer_prints_as_the_call_that_makes_it(name: str) -> None:
    layer = SPECIMENS[name][0]
    if {type(part).__module__ for part in parts_of(layer)} & {__name__}:
        assert repr(layer).startswith(f"{type(layer).__name__}(")
    else:
        again = eval(repr(layer), vars(nnrec.nn).copy())
        assert repr(again) == repr(layer) and again.shapes == layer.shapes


def test_arguments_print_only_where_they_differ_from_the_defaults() -> None:
    assert repr(Dense(3, 5, initializer="he")) == "Dense(3, 5, initializer='he')"
    assert repr(Embedding(3, 5)) == "Embedding(3, 5)"
    assert repr(Embedding(3, 5, Normal(0.5))) == "Embedding(3, 5, initializer=Normal(0.5))"
    assert repr(Dense(3, 5, initializer=drawn)) == "Dense(3, 5, initializer=drawn)"
    assert repr(LayerNorm(3, 0.1)) == "LayerNorm(3, epsilon=0.1)"


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, 0.25)


@pytest.mark.parametrize(
    ("initializer", "variance", "bound"),
    [
        ("glorot", 2 / (307 + 211), math.sqrt(6 / (307 + 211))),
        ("he", 2 / 307, math.inf),
        ("lecun", 1 / 307, math.inf),
        ("zeros", 0, 0),
        (Normal(0.3), 0.09, math.inf),
        (drawn, 0, 0.25),
    ],
)
def test_initializers_have_their_mean_and_variance(initializer, variance, bound) -> None:
    W, b = Dense(307, 211, initializer).split(
        Dense(307, 211, initializer).init(np.random.default_rng(0))
    )
    assert not b.any()
    assert np.abs(W).max() <= bound
    center = 0.25 if initializer is drawn else 0
    assert abs(W.mean() - center) <= 5 * math.sqrt(variance / W.size)
    assert abs(W.var() - variance) <= 0.03 * variance  # 0.03: five deviations of a normal's var
    if initializer == "glorot":
        assert np.abs(W).max() > 0.999 * bound  # uniform up to its bound
    if initializer in ("he", "lecun"):
        assert (W**4).mean() / variance**2 == pytest.approx(3, rel=0.03)  # normal


def test_embedding_starts_small() -> None:
    E = Embedding(307, 211).init(np.random.default_rng(0))
    assert abs(E.mean()) < 1e-3 and abs(E.std() - 0.05) < 1e-3


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
        lambda: Embedding(5, 2)(none, np.array([0, 5, 9])),
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


@pytest.mark.oracle
class TestTorch:
    """Values and gradients of PyTorch in float64."""

    @staticmethod
    def compare(layer: Layer, theirs, *inputs: np.ndarray) -> None:
        torch = pytest.importorskip("torch", reason="needs the extra `oracles`")
        theta = np.random.default_rng(0).normal(size=layer.size)
        y, back = layer(theta, *inputs)
        dy, g = np.random.default_rng(1).normal(size=y.shape), np.zeros(layer.size)
        dxs = several(back(dy, g))
        variables = [torch.tensor(part, requires_grad=True) for part in layer.split(theta)]
        tensors = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
        out = theirs(*variables, *tensors)
        out.backward(torch.tensor(dy))
        assert_close(y, out.detach().numpy(), 1e-12)
        grads = [variable.grad.numpy().ravel() for variable in variables]
        assert_close(g, np.concatenate([np.empty(0), *grads]), 1e-12)
        for dx, tensor in zip(dxs, tensors, strict=True):
            assert_close(dx, tensor.grad if tensor.grad is None else tensor.grad.numpy(), 1e-12)

    @pytest.mark.parametrize(
        ("layer", "theirs"),
        [
            (Dense(5, 3), lambda t: lambda W, b, x: t.nn.functional.linear(x, W.T, b)),
            (Sigmoid(), lambda t: t.sigmoid),
            (Tanh(), lambda t: t.tanh),
            (ReLU(), lambda t: t.relu),
            (Softmax(), lambda t: lambda x: t.softmax(x, -1)),
            (
                LayerNorm(5),
                lambda t: lambda gain, b, x: t.nn.functional.layer_norm(x, (5,), gain, b),
            ),
        ],
        ids=repr,
    )
    def test_layers_of_one_input(self, layer: Layer, theirs) -> None:
        torch = pytest.importorskip("torch", reason="needs the extra `oracles`")
        self.compare(layer, theirs(torch), *real(5)(np.random.default_rng(2), 7))

    @pytest.mark.parametrize(
        ("layer", "theirs"),
        [
            (Add(), lambda t: lambda *xs: sum(xs)),
            (Multiply(), lambda t: lambda a, b, c: a * b * c),
            (Concatenate(), lambda t: lambda *xs: t.cat(xs, -1)),
        ],
        ids=repr,
    )
    def test_layers_of_three_inputs(self, layer: Layer, theirs) -> None:
        torch = pytest.importorskip("torch", reason="needs the extra `oracles`")
        self.compare(layer, theirs(torch), *real(5, 5, 5)(np.random.default_rng(2), 7))

    def test_dot(self) -> None:
        inputs = real(5, 5)(np.random.default_rng(2), 7)
        self.compare(Dot(), lambda a, b: (a * b).sum(-1, keepdim=True), *inputs)

    def test_embedding(self) -> None:
        torch = pytest.importorskip("torch", reason="needs the extra `oracles`")
        (ids_,) = ids(5, shape=(2,))(np.random.default_rng(2), 7)
        self.compare(Embedding(5, 3), lambda E, i: torch.nn.functional.embedding(i, E), ids_)
