"""Composites: names, slices, sharing, twins; the contract itself is tested with the layers'."""

from __future__ import annotations

import numpy as np
import pytest

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
    ReLU,
    Sequential,
    Tanh,
    check_gradients,
)
from nnrec.nn.composites import rewired


class Pair(Composite):
    """A dense part and a table, side by side: (x, ids) → [Dense(x) | E[ids]]."""

    def __init__(self) -> None:
        super().__init__(mlp=Sequential([Dense(3, 5), ReLU(), Dense(5, 2)]), user=Embedding(7, 3))

    def __call__(self, theta, x, ids, rng=None):
        on = self.bind(theta, rng)
        h, back_h = on.mlp(x)
        e, back_e = on.user(ids)
        y = np.concatenate([h, e], axis=1)

        def back(dy, g):
            return back_h(dy[:, :2], g), back_e(dy[:, 2:], g)

        return y, back

    def rows(self, x, ids):
        return self.part_rows("user", ids)


X, IDS = np.random.default_rng(0).normal(size=(11, 3)), np.random.default_rng(1).integers(0, 7, 11)
pytestmark = pytest.mark.usefixtures("strict_arithmetic")


def test_parameters_are_named_by_path_in_order() -> None:
    assert list(Pair().shapes.items()) == [
        ("mlp.dense_1.W", (3, 5)),
        ("mlp.dense_1.b", (5,)),
        ("mlp.dense_2.W", (5, 2)),
        ("mlp.dense_2.b", (2,)),
        ("user.E", (7, 3)),
    ]
    assert Pair().size == 15 + 5 + 10 + 2 + 21
    assert Pair().places["user.E"] == (32, 53, (7, 3))


def test_parts_of_a_sequential_are_named_by_class_and_count() -> None:
    layers = [
        Dense(3, 3),
        LayerNorm(3),
        ReLU(),
        Dense(3, 3),
        ReLU(),
        LayerNorm(3),
        Sequential([Tanh()]),
    ]
    names = "dense_1 layer_norm_1 relu_1 dense_2 relu_2 layer_norm_2 sequential_1"
    net = Sequential(layers)
    assert list(net.parts) == names.split()
    assert net.layers == layers and all(a is b for a, b in zip(net.layers, layers))
    assert list(Sequential(tuple(layers)).parts) == names.split()


def test_each_part_has_its_own_slice() -> None:
    pair = Pair()
    rng = np.random.default_rng(0)
    theta = np.concatenate([pair.parts["mlp"].init(rng), pair.parts["user"].init(rng)])
    np.testing.assert_array_equal(pair.init(np.random.default_rng(0)), theta)
    y, back = pair(theta, X, IDS)
    np.testing.assert_array_equal(y[:, :2], pair.parts["mlp"](theta[:32], X)[0])
    np.testing.assert_array_equal(y[:, 2:], theta[32:].reshape(7, 3)[IDS])
    g, dy = np.zeros(53), np.random.default_rng(2).normal(size=y.shape)
    dx, none = back(dy, g)
    alone = np.zeros(32)
    np.testing.assert_array_equal(dx, pair.parts["mlp"](theta[:32], X)[1](dy[:, :2], alone))
    np.testing.assert_array_equal(g[:32], alone)
    assert none is None and g[32:].any()


def test_a_composite_of_nothing_with_parameters_has_none() -> None:
    net = Sequential([Tanh(), ReLU()])
    assert net.size == 0 and net.shapes == {} and net.init(np.random.default_rng(0)).shape == (0,)


def test_sequential_is_its_layers_one_after_the_other() -> None:
    a, b = Dense(3, 5), Dense(5, 2)
    net = Sequential([a, Tanh(), b])
    theta = net.init(np.random.default_rng(0))
    h, back_a = a(theta[:20], X)
    t, back_t = Tanh()(np.empty(0), h)
    y, back_b = b(theta[20:], t)
    out, back = net(theta, X)
    np.testing.assert_array_equal(out, y)
    g, expected = np.zeros(32), np.zeros(32)
    dx = back_a(back_t(back_b(y, expected[20:]), np.empty(0)), expected[:20])
    np.testing.assert_array_equal(back(y, g), dx)
    np.testing.assert_array_equal(g, expected)


def test_dropouts_of_one_network_draw_from_one_stream() -> None:
    net = Sequential([Dropout(0.5), Dropout(0.5)])
    x = np.ones((101, 103))
    y = net(np.empty(0), x, rng=np.random.default_rng(0))[0]
    assert 0.2 < (y != 0).mean() < 0.3  # the same mask twice would keep a half
    assert net(np.empty(0), x)[0] is x


def test_a_bound_part_draws_from_the_composites_generator() -> None:
    class Bound(Composite):
        def __call__(self, theta, x, rng=None):
            return self.bind(theta, rng).part(x)

    x = np.ones((7, 11))
    y, _ = Bound(part=Dropout(0.5))(np.empty(0), x, rng=np.random.default_rng(3))
    alone, _ = Dropout(0.5)(np.empty(0), x, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(y, alone)


def test_rows_that_a_composite_names() -> None:
    pair = Pair()
    np.testing.assert_array_equal(pair.rows(X, IDS)["user.E"], np.unique(IDS))
    assert Sequential([Dense(3, 2)]).rows(X) == {}
    assert list(Sequential([Embedding(7, 3), Tanh()]).rows(IDS)) == ["embedding_1.E"]
    assert check_gradients(pair, X, IDS)


def test_who_takes_ids() -> None:
    assert Pair().takes_ids
    assert Sequential([Embedding(7, 3), Tanh()]).takes_ids
    assert not Sequential([Dense(3, 7)]).takes_ids
    assert not Composite(a=Dense(3, 2), b=Tanh()).takes_ids


def test_the_leading_dense_declines_the_data_gradient() -> None:
    net = Sequential([Sequential([Dense(3, 5), Tanh()]), Dense(5, 2)])
    twin = net.without_data_gradient()
    theta = net.init(np.random.default_rng(0))
    y, back = net(theta, X)
    y_twin, back_twin = twin(theta, X)
    g, g_twin = np.zeros(32), np.zeros(32)
    np.testing.assert_array_equal(y, y_twin)
    assert back(y, g).shape == X.shape and back_twin(y, g_twin) is None
    np.testing.assert_array_equal(g, g_twin)
    assert twin.shapes == net.shapes
    assert Pair().without_data_gradient()(Pair().init(np.random.default_rng(0)), X, IDS)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("rate", [0, 0.3])
def test_relu_and_dropout_train_under_one_mask_to_the_same_bits(dtype: str, rate: float) -> None:
    net = Sequential([ReLU(), Dropout(rate), Tanh(), ReLU(), Dropout(rate), Dropout(rate), ReLU()])
    twin = net.without_data_gradient()
    names = ["dropout_1", "tanh_1", "dropout_2", "dropout_3", "relu_3"]
    assert list(twin.parts) == names and list(net.parts) != names
    x = np.random.default_rng(0).normal(size=(101, 11)).astype(dtype)
    x.ravel()[:4] = 0.0, -0.0, 1e30, -1e30
    for seed in (None, 1):
        results = []
        for layer in (net, twin):
            rng = None if seed is None else np.random.default_rng(seed)
            y, back = layer(np.empty(0), x, rng=rng)
            after = None if rng is None else rng.random()
            results.append((y.tobytes(), y.dtype, back(x - 1, np.empty(0)).tobytes(), after))
        assert results[0] == results[1]


def test_a_dropout_of_ones_own_is_not_merged() -> None:
    class Own(Dropout):
        def __call__(self, theta, x, rng=None):
            return x + 1, lambda dy, g: dy

    class Ramp(ReLU):
        pass

    for layers in ([ReLU(), Own(0.5)], [Ramp(), Dropout(0.5)], [Dropout(0.5), ReLU()]):
        assert len(Sequential(layers).without_data_gradient().parts) == 2


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_the_twin_to_train_takes_relu_and_dropout_at_once_to_the_same_bits(rate, training) -> None:
    net, none = Sequential([ReLU(), Dropout(rate)]), np.empty(0)
    twin = net.without_data_gradient()
    assert (list(net.parts), list(twin.parts)) == (["relu_1", "dropout_1"], ["dropout_1"])
    x = np.linspace(-1, 1, 21).reshape(3, 7)
    assert (x == 0).any(), "the kink"
    rngs = [np.random.default_rng(3) if training else None for _ in range(2)]
    (y, back), (y_twin, back_twin) = (part(none, x, rng=r) for part, r in zip((net, twin), rngs))
    np.testing.assert_array_equal(y_twin, y)
    np.testing.assert_array_equal(back_twin(x + 2, none), back(x + 2, none))


class Counted(Layer):
    """A wrapper from outside, as a trace or a timer is one."""

    def __init__(self, layer: Layer, calls: list[str], name: str) -> None:
        self.layer, self.calls, self.name = layer, calls, name

    @property
    def shapes(self):
        return self.layer.shapes

    def __call__(self, theta, *inputs, rng=None):
        self.calls.append(self.name)
        y, back = self.layer(theta, *inputs, rng=rng)

        def counted(dy, g):
            self.calls.append(f"{self.name} back")
            return back(dy, g)

        return y, counted


def test_every_part_can_be_wrapped_from_outside() -> None:
    pair, calls = Pair(), []
    theta = pair.init(np.random.default_rng(0))
    y, back = pair(theta, X, IDS)
    twin = rewired(pair, lambda path, layer: Counted(layer, calls, path))
    y_twin, back_twin = twin(theta, X, IDS)
    g, g_twin = np.zeros(53), np.zeros(53)
    np.testing.assert_array_equal(y_twin, y)
    np.testing.assert_array_equal(back_twin(y, g_twin)[0], back(y, g)[0])
    np.testing.assert_array_equal(g_twin, g)
    mlp = ["mlp.dense_1", "mlp.relu_1", "mlp.dense_2"]
    assert calls == [*mlp, "user", *(f"{name} back" for name in reversed(mlp)), "user back"]
    assert type(twin) is Pair and twin.shapes == pair.shapes
    assert isinstance(pair.parts["user"], Embedding)  # the original is as it was


def test_with_parts_leaves_the_original_alone() -> None:
    net = Sequential([Dense(3, 2), Tanh()])
    parts = dict(net.parts, tanh_1=ReLU())
    twin = net.with_parts(parts)
    parts.clear()
    assert repr(twin) == "Sequential([Dense(3, 2), ReLU()])"
    assert repr(net) == "Sequential([Dense(3, 2), Tanh()])"


def test_a_composite_prints_its_parts() -> None:
    mlp = "Sequential([Dense(3, 5), ReLU(), Dense(5, 2)])"
    assert repr(Pair()) == f"Pair(mlp={mlp}, user=Embedding(7, 3))"


def test_a_lone_gradient_in_a_tuple_is_taken_out_on_the_way_back() -> None:
    with_join, bare = Sequential([Tanh(), Concatenate(), Tanh()]), Sequential([Tanh(), Tanh()])
    (y, back), (y_bare, back_bare) = (net(np.empty(0), X) for net in (with_join, bare))
    np.testing.assert_array_equal(y, y_bare)
    np.testing.assert_array_equal(back(y, np.empty(0)), back_bare(y, np.empty(0)))


def test_dot_is_over_the_last_axis_of_many() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 2, 3, 5))
    y, back = Dot()(np.empty(0), a, b)
    np.testing.assert_allclose(y[..., 0], np.einsum("ijk,ijk->ij", a, b), rtol=1e-13)
    da, db = back(y, np.empty(0))
    np.testing.assert_array_equal(da, y * b)
    np.testing.assert_array_equal(db, y * a)


def test_the_same_layer_twice_is_an_error() -> None:
    shared = Dense(3, 3)
    with pytest.raises(
        ValueError, match=r"Dense\(3, 3\) stands twice, as dense_1 and dense_2.*call"
    ):
        Sequential([shared, Tanh(), shared])
    with pytest.raises(ValueError, match=r"Composite: .* as a and b\.dense_1"):
        Composite(a=shared, b=Sequential([shared]))
    tower = Sequential([Dense(3, 5)])
    with pytest.raises(ValueError, match=r"a\.dense_1 and b\.dense_1"):
        Composite(a=tower, b=tower)
    tanh = Tanh()  # without parameters there is nothing to share
    assert Sequential([Dense(3, 3), tanh, Dense(3, 3), tanh]).size == 24


@pytest.mark.parametrize("wrong", ["dense", None, Dense, np.tanh])
def test_a_part_that_is_no_layer_is_an_error(wrong: object) -> None:
    with pytest.raises(TypeError, match="Composite: part head is .*Layer"):
        Composite(body=Dense(3, 2), head=wrong)
    with pytest.raises(TypeError, match="Sequential: part .*_1 is .*Layer"):
        Sequential([Dense(3, 2), wrong])


@pytest.mark.parametrize("layers", [[], (), Dense(3, 2), Sequential([Dense(3, 2)]), iter([Tanh()])])
def test_sequential_wants_a_list(layers: object) -> None:
    with pytest.raises(ValueError, match="Sequential: layers=.*expected a list of layers"):
        Sequential(layers)


def test_an_error_inside_names_the_layer_that_found_it() -> None:
    net = Sequential([Dense(3, 5), Dense(7, 2)])
    with pytest.raises(ValueError, match=r"Dense\(7, 2\): x has shape \(11, 5\)"):
        net(net.init(np.random.default_rng(0)), X)


def test_a_composite_without_a_call_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Composite"):
        Composite(a=Dense(3, 2))(np.zeros(8), X)


def test_one_array_as_several_inputs_gets_a_gradient_for_each() -> None:
    """d(x²)/dx arrives as two halves, which the caller adds; the same holds for Dot."""
    for part, double in ((Multiply(), 2 * X), (Dot(), 2 * X), (Add(), np.full(X.shape, 2.0))):
        y, back = part(np.empty(0), X, X)
        np.testing.assert_array_equal(sum(back(np.ones(y.shape), np.empty(0))), double)


def test_concatenate_takes_one_input_and_many_axes() -> None:
    y, back = Concatenate()(np.empty(0), X)
    np.testing.assert_array_equal(y, X)
    np.testing.assert_array_equal(back(X, np.empty(0))[0], X)
    a, b = np.ones((2, 3, 5)), np.zeros((2, 3, 7))
    y, back = Concatenate()(np.empty(0), a, b)
    da, db = back(y, np.empty(0))
    assert y.shape == (2, 3, 12)
    np.testing.assert_array_equal(da, a)
    np.testing.assert_array_equal(db, b)


@pytest.mark.oracle
def test_a_two_input_model_equals_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `oracles`")
    pair = Pair()
    theta = pair.init(np.random.default_rng(0))
    W1, b1, W2, b2, E = variables = [
        torch.tensor(part, requires_grad=True) for part in pair.split(theta)
    ]
    x = torch.tensor(X, requires_grad=True)
    out = torch.cat([torch.relu(x @ W1 + b1) @ W2 + b2, E[torch.tensor(IDS)]], 1)
    y, back = pair(theta, X, IDS)
    dy, g = np.random.default_rng(1).normal(size=y.shape), np.zeros(pair.size)
    dx, _ = back(dy, g)
    out.backward(torch.tensor(dy))
    np.testing.assert_allclose(y, out.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(dx, x.grad.numpy(), rtol=1e-12, atol=1e-14)
    grads = np.concatenate([variable.grad.numpy().ravel() for variable in variables])
    np.testing.assert_allclose(g, grads, rtol=1e-12, atol=1e-14)
