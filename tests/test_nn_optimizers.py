"""Optimisers: each rule against a scalar reference written out from the papers and PyTorch's pages,
and the promises they share: blocks, rows of tables, clipping, schedules, states, dtypes, errors."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    CosineDecay,
    Dense,
    Embedding,
    LinearDecay,
    Loss,
    Network,
    Optimizer,
    RMSProp,
)
from nnrec.nn.optimizers import BLOCK, Segment

Number = dict[str, float]


def sgd(w, g, s: Number, t, rate, momentum=0.0, nesterov=False, weight_decay=0.0) -> float:
    g = g + weight_decay * w
    if momentum:
        s["b"] = g if t == 1 else momentum * s["b"] + g
        g = g + momentum * s["b"] if nesterov else s["b"]
    return w - rate * g


def adagrad(w, g, s: Number, t, rate, epsilon=1e-10, weight_decay=0.0) -> float:
    g = g + weight_decay * w
    s["sum"] = s.get("sum", 0.0) + g**2
    return w - rate * g / (math.sqrt(s["sum"]) + epsilon)


def rmsprop(
    w, g, s: Number, t, rate, rho=0.99, epsilon=1e-8, momentum=0.0, weight_decay=0.0
) -> float:
    g = g + weight_decay * w
    s["v"] = rho * s.get("v", 0.0) + (1 - rho) * g**2
    s["b"] = momentum * s.get("b", 0.0) + g / (math.sqrt(s["v"]) + epsilon)
    return w - rate * s["b"]


def adam(w, g, s: Number, t, rate, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0) -> float:
    g = g + weight_decay * w
    s["m"] = beta1 * s.get("m", 0.0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0.0) + (1 - beta2) * g**2
    m_hat, v_hat = s["m"] / (1 - beta1**t), s["v"] / (1 - beta2**t)
    return w - rate * m_hat / (math.sqrt(v_hat) + epsilon)


def adamw(w, g, s: Number, t, rate, weight_decay=0.01, **settings) -> float:
    return adam(w - rate * weight_decay * w, g, s, t, rate, **settings)


REFERENCE = {SGD: sgd, Adagrad: adagrad, RMSProp: rmsprop, Adam: adam, AdamW: adamw}
RULES: list[tuple[type[Optimizer], dict[str, Any]]] = [
    (SGD, {}),
    (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.9, "nesterov": True}),
    (Adagrad, {}),
    (RMSProp, {}),
    (RMSProp, {"momentum": 0.7}),
    (Adam, {}),
    (Adam, {"beta1": 0.0, "beta2": 0.9, "epsilon": 1e-3}),
    (AdamW, {}),
]
each_rule = pytest.mark.parametrize(
    ("rule", "settings"),
    RULES,
    ids=[" ".join([rule.__name__, *map(str, settings)]) for rule, settings in RULES],
)


def written_out(rule, theta, gradients, rate=0.03, clip_norm=None, **settings) -> np.ndarray:
    """θ after the gradients, one Python float at a time."""
    weights, states = [float(w) for w in theta], [{} for _ in theta]
    for t, g in enumerate(gradients, 1):
        norm = math.sqrt(math.fsum(float(x) ** 2 for x in g))
        scale = clip_norm / norm if clip_norm is not None and norm > clip_norm else 1.0
        weights = [
            REFERENCE[rule](w, scale * float(x), s, t, rate, **settings)
            for w, x, s in zip(weights, g, states)
        ]
    return np.array(weights)


def stepped(optimizer: Optimizer, theta, gradients) -> np.ndarray:
    theta = theta.copy()
    for g in gradients:
        optimizer.step(theta, g)
    return theta


def problem(seed=0, size=7, steps=100, dtype="float64") -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.normal(0, 2, size))  # sizes of gradients differ between parameters
    theta, gradients = rng.normal(size=size), rng.normal(size=(steps, size)) * scales
    return theta.astype(dtype), gradients.astype(dtype)


@pytest.mark.lesson_5
@pytest.mark.parametrize("clip_norm", [None, 5.0])
@pytest.mark.parametrize("weight_decay", [None, 0.1])
@each_rule
def test_hundred_steps_equal_the_written_out_rule(rule, settings, weight_decay, clip_norm):
    theta, gradients = problem()
    if weight_decay is not None:
        settings = settings | {"weight_decay": weight_decay}
    norms = np.linalg.norm(gradients, axis=1)
    assert (norms > 5).any() and (norms < 5).any()
    expected = written_out(rule, theta, gradients, clip_norm=clip_norm, **settings)
    found = stepped(rule(0.03, clip_norm=clip_norm, **settings), theta, gradients)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert (expected != theta).all()


@given(
    st.sampled_from(RULES),
    st.integers(0, 10**6),
    st.floats(1e-4, 1),
    st.floats(0, 1),
    st.none() | st.floats(1e-3, 1e3),
)
def test_any_settings_equal_the_written_out_rule(case, seed, rate, weight_decay, clip_norm):
    rule, settings = case
    settings = settings | {"weight_decay": weight_decay, "clip_norm": clip_norm}
    theta, gradients = problem(seed, size=5, steps=11)
    expected = written_out(rule, theta, gradients, rate, **settings)
    found = stepped(rule(rate, **settings), theta, gradients)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_defaults_are_pytorchs() -> None:
    shared = {"weight_decay": 0.0, "clip_norm": None}
    assert vars(Adam()) | shared == vars(Adam(0.001, beta1=0.9, beta2=0.999, epsilon=1e-8))
    assert (AdamW().learning_rate, AdamW().weight_decay) == (0.001, 0.01)
    assert (RMSProp().learning_rate, RMSProp().rho, RMSProp().epsilon) == (0.01, 0.99, 1e-8)
    assert (Adagrad().learning_rate, Adagrad().epsilon) == (0.01, 1e-10)
    for rule in (SGD, Adagrad, RMSProp, Adam):
        assert (rule().weight_decay, rule().clip_norm) == (0.0, None)


@pytest.mark.oracle
@pytest.mark.parametrize("weight_decay", [None, 0.1])
@each_rule
def test_hundred_steps_equal_torch(rule, settings, weight_decay) -> None:
    torch = pytest.importorskip("torch", reason="the oracle of this test")
    theta, gradients = problem(1)
    if weight_decay is not None:
        settings = settings | {"weight_decay": weight_decay}
    theirs = {name: value for name, value in settings.items() if name[:4] not in ("beta", "epsi")}
    if rule in (Adam, AdamW):
        theirs["betas"] = settings.get("beta1", 0.9), settings.get("beta2", 0.999)
        theirs["eps"] = settings.get("epsilon", 1e-8)
    name = {"RMSProp": "RMSprop"}.get(rule.__name__, rule.__name__)
    weights = torch.tensor(theta, requires_grad=True)
    oracle = getattr(torch.optim, name)([weights], lr=0.03, **theirs)
    for g in gradients:
        weights.grad = torch.tensor(g)
        oracle.step()
    found = stepped(rule(0.03, **settings), theta, gradients)
    np.testing.assert_allclose(found, weights.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.oracle
@each_rule
def test_defaults_equal_torchs_defaults(rule, settings) -> None:
    torch = pytest.importorskip("torch", reason="the oracle of this test")
    name = {"RMSProp": "RMSprop"}.get(rule.__name__, rule.__name__)
    theta, gradients = problem(2, steps=11)
    weights = torch.tensor(theta, requires_grad=True)
    oracle = getattr(torch.optim, name)([weights], lr=0.01)
    for g in gradients:
        weights.grad = torch.tensor(g)
        oracle.step()
    found = stepped(rule(0.01), theta, gradients)
    np.testing.assert_allclose(found, weights.detach().numpy(), rtol=1e-12, atol=1e-12)


@each_rule
def test_long_vectors_step_like_their_parts(rule, settings) -> None:
    """A step works through θ in blocks; each number must step as if it stood alone."""
    theta, gradients = problem(3, size=2 * BLOCK + 101, steps=3)
    settings = settings | {"weight_decay": 0.1}
    whole = stepped(rule(0.03, **settings), theta, gradients)
    ends = [0, 9_973, BLOCK - 3, BLOCK + 27, 2 * BLOCK - 2_757, theta.size]
    parts = [
        stepped(rule(0.03, **settings), theta[a:b], gradients[:, a:b])
        for a, b in zip(ends, ends[1:])
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.lesson_5
@each_rule
def test_g_is_left_alone_and_theta_steps_in_place(rule, settings) -> None:
    theta, (g, *_) = problem(4)
    kept, before = g.copy(), theta.copy()
    g.flags.writeable = False
    optimizer = rule(0.03, weight_decay=0.1, clip_norm=0.01, **settings)
    assert optimizer.step(theta, g) is None
    np.testing.assert_array_equal(g, kept)
    assert (theta != before).all()


@pytest.mark.parametrize("scalar", [float, np.float32, np.float64, np.int64, np.longdouble])
@each_rule
def test_numpy_scalars_keep_float32(rule, settings, scalar) -> None:
    """Every number is taken to a Python float, also what a schedule returns."""
    theta, gradients = problem(5, steps=3, dtype="float32")
    settings = {
        name: value if isinstance(value, bool) else np.float64(value)
        for name, value in settings.items()
    }
    for rate in (scalar(1), lambda step: scalar(1)):
        optimizer = rule(rate, weight_decay=np.float64(0.1), clip_norm=np.float64(2), **settings)
        theta_after = stepped(optimizer, theta, gradients)
        assert theta_after.dtype == np.float32
        slots = optimizer.state_dict()["slots"].values()
        assert all(slot.dtype == np.float32 for slot in slots)
        expected = stepped(copy_of(rule, settings), theta, gradients)
        np.testing.assert_array_equal(theta_after, expected)


def copy_of(rule, settings) -> Optimizer:
    plain = {k: v if isinstance(v, bool) else float(v) for k, v in settings.items()}
    return rule(1.0, weight_decay=0.1, clip_norm=2.0, **plain)


def test_clipping_scales_the_whole_gradient_to_the_norm() -> None:
    theta, g = np.zeros(2), np.array([3.0, 4.0])
    assert stepped(SGD(1.0, clip_norm=1.0), theta, [g]) == pytest.approx([-0.6, -0.8])
    np.testing.assert_array_equal(stepped(SGD(1.0, clip_norm=5.0), theta, [g]), -g)
    np.testing.assert_array_equal(stepped(SGD(1.0, clip_norm=1.0), theta, [0 * g]), 0 * g)


def test_clipping_is_over_all_blocks_and_before_decay() -> None:
    size = BLOCK + 29
    theta, g = np.ones(size), np.ones(size)
    after = stepped(SGD(1.0, clip_norm=1.0, weight_decay=0.5), theta, [g])
    np.testing.assert_allclose(after, 0.5 - 1 / math.sqrt(size), rtol=1e-12)


def test_clipping_survives_a_norm_beyond_float32() -> None:
    """An exploding gradient is what clipping is for: its squares must not overflow."""
    theta, g = np.zeros(2, np.float32), np.float32([3e30, 4e30])
    assert stepped(SGD(1.0, clip_norm=1.0), theta, [g]) == pytest.approx([-0.6, -0.8])


def test_schedules_have_their_closed_forms() -> None:
    for step in (0, 1, 17, 53, 97, 1009):
        share = min(step / 97, 1)
        linear = LinearDecay(0.7, steps=97, end=0.1)(step)
        cosine = CosineDecay(0.7, steps=97, end=0.1)(step)
        assert linear == pytest.approx(0.7 - 0.6 * share, rel=1e-12)
        assert cosine == pytest.approx(0.1 + 0.3 * (1 + math.cos(math.pi * share)), rel=1e-12)
    assert LinearDecay(1.0, steps=3)(3) == CosineDecay(1.0, steps=3)(3) == 0


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 97))
def test_decays_fall_monotonically_between_their_ends(low, high, steps) -> None:
    low, high = sorted((low, high))
    for schedule in (LinearDecay(high, steps, low), CosineDecay(high, steps, low)):
        rates = [schedule(step) for step in range(steps + 3)]
        assert rates[0] == pytest.approx(high) and rates[-1] == pytest.approx(low)
        assert (np.diff(rates) <= 1e-15).all()


@each_rule
def test_a_schedule_is_called_with_the_step(rule, settings) -> None:
    theta, gradients = problem(6, steps=5)
    seen: list[int] = []

    def schedule(step: int) -> float:
        seen.append(step)
        return 0.0 if step < 4 else 0.5

    optimizer = rule(schedule, weight_decay=0.0, **settings)
    before_last = stepped(optimizer, theta, gradients[:4])
    np.testing.assert_array_equal(before_last, theta)
    assert (stepped(optimizer, theta, gradients[4:]) != theta).all()
    assert seen == [0, 1, 2, 3, 4] and optimizer.steps == 5


COPIES: list[Callable[[Optimizer], Optimizer]] = [
    copy.deepcopy,
    lambda o: pickle.loads(pickle.dumps(o)),
]


@pytest.mark.parametrize("duplicate", COPIES, ids=["deepcopy", "pickle"])
@each_rule
def test_state_continues_bit_for_bit(rule, settings, duplicate) -> None:
    theta, gradients = problem(7, steps=13)
    schedule = LinearDecay(0.1, steps=13)
    whole = stepped(rule(schedule, **settings), theta, gradients)
    first = rule(schedule, **settings)
    middle = stepped(first, theta, gradients[:6])
    twin = duplicate(first)
    state = first.state_dict()
    second = rule(schedule, **settings)
    stepped(first, middle, gradients[6:])  # the state is a copy: going on does not change it
    second.load_state_dict(state)
    np.testing.assert_array_equal(stepped(second, middle, gradients[6:]), whole)
    np.testing.assert_array_equal(stepped(twin, middle, gradients[6:]), whole)
    third = rule(schedule, **settings)
    third.load_state_dict(state)  # and loading copies it again
    np.testing.assert_array_equal(stepped(third, middle, gradients[6:]), whole)


SLOTS = {SGD: [], Adagrad: ["squares"], RMSProp: ["squares"], Adam: ["m", "v"], AdamW: ["m", "v"]}


@each_rule
def test_state_is_plain(rule, settings) -> None:
    """A count, arrays of those slots alone that the rule needs, and keys that JSON keeps."""
    theta, gradients = problem(8, steps=2)
    optimizer = rule(0.1, **settings)
    stepped(optimizer, theta, gradients)
    state = optimizer.state_dict()
    assert state["steps"] == 2
    assert list(state["slots"]) == SLOTS[rule] + ["velocity"] * ("momentum" in settings)
    assert json.loads(json.dumps(state, default=np.ndarray.tolist)).keys() == state.keys()
    assert all(slot.shape == theta.shape for slot in state["slots"].values())


class Pull(Loss):
    """L = Σ pred · target: ∂L/∂pred is the target, so a test chooses each gradient exactly."""

    def __call__(self, pred, target, weight=None):
        return (pred * target).sum(), target.copy()


class DenseTable(Embedding):
    """An Embedding that never says which rows it touches."""

    def rows(self, ids):
        return {}


ROWS, WIDTH = 13, 3
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-0.1), r"SGD: learning_rate=-0.1, expected a number ≥ 0$"),
        (lambda: SGD(float("nan")), "SGD: learning_rate=nan"),
        (lambda: SGD(float("inf")), "SGD: learning_rate=inf"),
        (lambda: SGD("fast"), "SGD: learning_rate='fast'"),
        (lambda: SGD({"user.*": -1.0}), "SGD: learning_rate=-1.0"),
        (lambda: SGD(None), "SGD: learning_rate=None"),
        (lambda: SGD(0.1, momentum=-1), "SGD: momentum=-1"),
        (lambda: SGD(0.1, nesterov=True), "momentum"),
        (lambda: Adagrad(0.1, epsilon=-1e-9), "Adagrad: epsilon=-1e-09"),
        (lambda: RMSProp(0.1, rho=1), "RMSProp: rho=1, expected a number ≥ 0 and < 1"),
        (lambda: Adam(0.1, beta1=1.0), "Adam: beta1=1.0, expected a number ≥ 0 and < 1"),
        (lambda: Adam(0.1, beta2=1.5), "Adam: beta2=1.5"),
        (lambda: LinearDecay(0.1, steps=0), "LinearDecay: steps=0"),
        (lambda: AdamW(weight_decay=-0.1), "AdamW: weight_decay=-0.1"),
        (lambda: Adam(clip_norm=-1), "Adam: clip_norm=-1"),
    ],
)
def test_bad_settings_are_named(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf"), None])
def test_a_schedule_s_bad_rate_is_named(rate) -> None:
    theta = np.zeros(5)
    with pytest.raises(ValueError, match=f"SGD: learning_rate={rate}"):
        SGD(lambda step: rate).step(theta, np.ones(5))
    np.testing.assert_array_equal(theta, 0)


@each_rule
def test_wrong_shapes_are_refused(rule, settings) -> None:
    optimizer = rule(0.1, **settings)
    for theta, g in (
        (np.zeros(5), np.zeros(7)),
        (np.zeros((5, 1)), np.zeros((5, 1))),
        (np.zeros(5), np.zeros((5, 1))),
    ):
        before = theta.copy()
        with pytest.raises(ValueError, match=r"θ has shape .* and g "):
            optimizer.step(theta, g)
        np.testing.assert_array_equal(theta, before)
    assert optimizer.steps == 0


def test_another_size_of_theta_is_refused() -> None:
    optimizer = Adam()
    optimizer.step(np.zeros(5), np.zeros(5))
    with pytest.raises(ValueError, match="another size"):
        optimizer.step(np.zeros(7), np.zeros(7))


def test_rates_by_path_need_fit() -> None:
    with pytest.raises(ValueError, match=r"Network\.fit"):
        SGD({"*": 0.1}).step(np.zeros(5), np.zeros(5))


@pytest.mark.parametrize(
    ("optimizer", "other"),
    [
        (SGD(0.1), Adam()),
        (Adagrad(), RMSProp(momentum=0.9)),
        (RMSProp(), RMSProp(momentum=0.9)),
        (SGD(0.1, momentum=0.9), Adagrad()),
        (Adam(), SGD(0.1)),
        (SGD(0.1), None),
    ],
    ids=str,
)
def test_anothers_state_is_refused(optimizer, other) -> None:
    if other:
        other.step(np.zeros(5), np.ones(5))
    with pytest.raises(ValueError, match="slots"):
        optimizer.load_state_dict(other.state_dict() if other else {})
    assert optimizer.steps == 0


def test_slots_without_a_count_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the state has slots \(\), expected \('m', 'v'\)"):
        Adam().load_state_dict({"slots": {}})


def test_a_fresh_state_loads() -> None:
    theta, gradients = problem(9, steps=3)
    optimizer = Adam(0.03)
    stepped(optimizer, theta, gradients)
    optimizer.load_state_dict(Adam().state_dict())
    np.testing.assert_array_equal(
        stepped(optimizer, theta, gradients), stepped(Adam(0.03), theta, gradients)
    )


def test_a_rule_of_ones_own() -> None:
    class Signs(Optimizer):
        def update(self, theta, g, *slots, rate, t):
            assert theta.shape == g.shape == (3,)
            theta -= rate * np.sign(g)

    net = Network(Dense(2, 1), Pull(), rng=0, dtype="float64")
    before = net.theta.copy()
    net.fit(np.ones((3, 2)), np.ones(3), optimizer=Signs(0.25), verbose=0)
    np.testing.assert_array_equal(net.theta, before - 0.25)
    with pytest.raises(NotImplementedError, match="Optimizer defines no update"):
        Optimizer().step(np.zeros(2), np.zeros(2))


def test_an_optimiser_prints_as_its_call() -> None:
    assert repr(SGD(0.1, momentum=np.float64(0.9))) == "SGD(learning_rate=0.1, momentum=0.9)"
    assert repr(AdamW()) == "AdamW()"
