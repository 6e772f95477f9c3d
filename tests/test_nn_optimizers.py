"""Optimisers: each rule against a scalar reference written out from the papers and PyTorch's pages,
and the promises they share: blocks, clipping, schedules, states, dtypes."""

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
    LinearDecay,
    Network,
    Optimizer,
    RMSProp,
)
from nnrec.nn.optimizers import BLOCK, Segment
from tests.trainings import Linear

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


@each_rule
def test_many_rows_step_like_few(rule, settings) -> None:
    """A step works through a table in blocks; each row must step as if it stood alone."""
    width, count = 997, 2 * BLOCK // 997 + 7
    theta, gradients = problem(3, size=width * count, steps=3)
    few, many = theta.copy(), theta.copy()
    parts, whole = (rule(0.03, weight_decay=0.1, clip_norm=1.0, **settings) for _ in range(2))
    for i, g in enumerate(gradients):
        rows = np.arange(14 - 7 * i, count)  # whose own counts come to differ
        table = Segment(0, g.size, 0.03, rows, width)
        whole.step(many, g, [table], [table.numbers(g)])
        cut = np.split(rows, [1, 61, 71])
        parts.step(few, g, [Segment(0, g.size, 0.03, some, width) for some in cut])
    np.testing.assert_allclose(many, few, rtol=1e-12)
    assert (many != theta).all()


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

    net = Network(Dense(2, 1), Linear(), rng=0, dtype="float64")
    before = net.theta.copy()
    net.fit(np.ones((3, 2)), np.ones(3), optimizer=Signs(0.25), verbose=0)
    np.testing.assert_array_equal(net.theta, before - 0.25)
    with pytest.raises(NotImplementedError, match="Optimizer defines no update"):
        Optimizer().step(np.zeros(2), np.zeros(2))


def test_an_optimiser_prints_as_its_call() -> None:
    assert repr(SGD(0.1, momentum=np.float64(0.9))) == "SGD(learning_rate=0.1, momentum=0.9)"
    assert repr(AdamW()) == "AdamW()"
