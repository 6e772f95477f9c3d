"""What each layer computes, draws and prints."""

from __future__ import annotations

import math
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import binomtest

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
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from nnrec.nn.layers import add_rows, several
from tests.specimens import Scene, assert_close, assert_same, ids, real

pytestmark = pytest.mark.usefixtures("strict_arithmetic")


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
    P, Q, A, B = (table.reshape(-1, 3) for table in np.split(theta[:72], [21, 36, 57]))
    W, b, V, c = theta[72:90].reshape(6, 3), theta[90:93], theta[93:99], theta[99]
    out = []
    for u, i in zip(users, items):
        both = [*A[u], *B[i]]
        hidden = [max(0, sum(x * w for x, w in zip(both, W[:, j])) + b[j]) for j in range(3)]
        joined = [*(P[u, k] * Q[i, k] for k in range(3)), *hidden]
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


@pytest.mark.parametrize("count", [5, 70_001])  # no longer than the ids are, or longer
@pytest.mark.parametrize("ids", [[], [3], [0, 2, 4], [4, 2, 0], [4, 4], [4, 0, 4, 1, 0, 4, -1]])
def test_adding_rows_is_numpys_add_at(ids: list[int], count: int) -> None:
    """The naive twin; -1 stands for the table's last row."""
    places = np.array([i % count for i in ids], np.int64)
    rows = np.random.default_rng(0).normal(size=(len(ids), 3))
    table, expected = np.ones((count, 3)), np.ones((count, 3))
    add_rows(table, places, rows)
    np.add.at(expected, places, rows)
    assert_close(table, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("count", [7, 70_001])
def test_adding_rows_keeps_their_order(count: int, dtype: str) -> None:
    """Into zeros it is NumPy's add.at bit for bit: each id's rows in turn, in their own dtype."""
    rng = np.random.default_rng(0)
    places, rows = rng.integers(0, 7, 997), rng.normal(size=(997, 3)).astype(dtype)
    table, expected = np.zeros((count, 3), dtype), np.zeros((count, 3), dtype)
    add_rows(table, places, rows)
    np.add.at(expected, places, rows)
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


@pytest.mark.parametrize(
    ("size", "rate", "cut"),
    [(7, 0.5, 32768), (8, 0.5, 32768), (9, 0.5, 32768), (999_983, 1 - 1e-9, 1)],
)
@pytest.mark.parametrize("bits", GENERATORS)
def test_dropout_keeps_where_a_16_bit_word_of_the_stream_is_small(bits, size, rate, cut) -> None:
    """Equal bits in later versions too: which words decide, and how many are taken."""
    rng, twin = np.random.Generator(bits(3)), np.random.Generator(bits(3))
    y, _ = Dropout(rate)(np.empty(0), np.ones(size), rng=rng)
    if bits is np.random.MT19937:
        words = twin.integers(0, 65536, size, dtype=np.uint16)
    else:
        words = twin.bit_generator.random_raw(-(-size // 4)).view(np.uint16)[:size]
    np.testing.assert_array_equal(y, np.where(words < cut, 65536 / cut, 0))
    assert y.any()
    assert rng.random() == twin.random()


@pytest.mark.lesson_6
def test_dropout_draws_anew_each_call_and_nothing_outside_training() -> None:
    rng, x = np.random.default_rng(0), np.ones((13, 7))
    layer = Dropout(0.5)
    first, second = (layer(np.empty(0), x, rng=rng)[0] for _ in range(2))
    assert (first != second).any()
    for still, generator in ((layer, None), (Dropout(0), np.random.default_rng(1))):
        y, back = still(np.empty(0), x, rng=generator)
        assert_same((y, back(x, np.empty(0))), (x, x))


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
