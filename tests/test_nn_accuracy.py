"""Sigmoid, softmax and their cross-entropies on logits, to the last place, against mpmath.

`python tests/test_nn_accuracy.py --points 10000` prints the worst error of each function by dtype
and range.  The references hold 1,000 digits: 1 − σ(1000) starts with 434 zeros.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from itertools import groupby

import mpmath
import numpy as np
import pytest

from nnrec import SigmoidCrossEntropy, SoftmaxCrossEntropy, sigmoid, softmax

mp = mpmath.mp.clone()
mp.dps = 1000

DTYPES = ["float32", "float64"]
Error = tuple[str, float, float, object]  # function, error and allowance in ulp, where


def uniform(limit: float):
    return lambda rng, finfo, size: rng.uniform(-limit, limit, size)


def near_zero(rng: np.random.Generator, finfo: np.finfo, size: tuple[int, ...]) -> np.ndarray:
    """All magnitudes from the smallest subnormal number to 1, evenly by exponent."""
    exponents = rng.uniform(finfo.minexp - finfo.nmant, 0, size)
    return rng.choice([-1.0, 1.0], size) * np.exp2(exponents)


def at_underflow(rng: np.random.Generator, finfo: np.finfo, size: tuple[int, ...]) -> np.ndarray:
    """From the logarithm of the smallest normal number to beyond that of the smallest one."""
    low, high = -finfo.minexp * np.log(2) - 1, (finfo.nmant - finfo.minexp) * np.log(2) + 2
    return rng.choice([-1.0, 1.0], size) * rng.uniform(low, high, size)


RANGES = {
    "±1000": uniform(1000),
    "±100": uniform(100),
    "±20": uniform(20),
    "±1": uniform(1),
    "near 0": near_zero,
    "at underflow": at_underflow,
}


def ulps(got: np.floating, true: mpmath.mpf) -> float:
    """|got − true| in units in the last place of the true value: its dtype's spacing there."""
    finfo = np.finfo(got.dtype)
    exponent = max(mp.frexp(true)[1] - 1, int(finfo.minexp))  # below it, the spacing is constant
    return float(abs(mp.mpf(float(got)) - true) * mp.mpf(2) ** (finfo.nmant - exponent))


def test_ulps_are_the_spacing_of_the_true_value() -> None:
    assert ulps(np.float32(1), mp.mpf(1) + mp.mpf(2) ** -23) == 1
    assert ulps(np.float64(1), 1 - mp.mpf(2) ** -53) == 1
    assert ulps(np.float64(0), mp.mpf(2) ** -1075) == 0.5
    assert ulps(np.float32(0), mp.mpf(2) ** -149 * 3) == 3


def binary_errors(z: np.ndarray) -> Iterator[Error]:
    """σ, and the value and gradient of its cross-entropy for both targets, at logits z (n,)."""
    loss = SigmoidCrossEntropy()
    y = sigmoid(z)
    results = [
        [loss(z[i : i + 1, None], np.full((1, 1), t, z.dtype)) for t in (0, 1)]
        for i in range(len(z))
    ]
    assert y.dtype == z.dtype
    for i, logit in enumerate(z):
        size = mp.mpf(abs(float(logit)))
        e = mp.exp(-size)
        large, small, log = 1 / (1 + e), e / (1 + e), mp.log(1 + e)
        rising, falling = (large, small) if logit > 0 else (small, large)
        values = (size + log, log) if logit > 0 else (log, size + log)
        yield "sigmoid", ulps(y[i], rising), 4, logit
        for t, gradient in enumerate((rising, -falling)):
            value, d = results[i][t]
            assert value.dtype == d.dtype == z.dtype
            yield "sigmoid c.-e. value", ulps(value, values[t]), 4, (logit, t)
            yield "sigmoid c.-e. gradient", ulps(d[0, 0], gradient), 4, (logit, t)


def class_errors(z: np.ndarray) -> Iterator[Error]:
    """Softmax, and the value and gradient of its cross-entropy for each label, at z (n, classes).

    The gradient for integer labels; a one-hot target must give the same to the allowance.
    """
    loss = SoftmaxCrossEntropy()
    n, classes = z.shape
    y = softmax(z)
    labels, one_hot = np.arange(classes), np.eye(classes, dtype=z.dtype)
    results = [
        [(loss(row[None], labels[t : t + 1]), loss(row[None], one_hot[t : t + 1])) for t in labels]
        for row in z
    ]
    assert y.dtype == z.dtype
    for i, row in enumerate(z):
        exact = [mp.mpf(float(logit)) for logit in row]
        top = max(exact)
        e = [mp.exp(logit - top) if logit != top else mp.mpf(1) for logit in exact]
        total = mp.fsum(e)
        log = mp.log(total)
        allowed = [4 + float(top - logit) for logit in exact]
        for t in labels:
            yield "softmax", ulps(y[i, t], e[t] / total), allowed[t], (row, t)
            rest = mp.fsum(e[:t] + e[t + 1 :])
            for value, d in results[i][t]:
                assert value.dtype == d.dtype == z.dtype
                true = top - exact[t] + log
                yield "softmax c.-e. value", ulps(value, true), allowed[t], (row, t)
                for k in labels:
                    true = (-rest if k == t else e[k]) / total
                    yield "softmax c.-e. gradient", ulps(d[0, k], true), allowed[k], (row, t, k)


def errors(kind: str, dtype: str, where: str, points: int, seed: int = 0) -> list[Error]:
    """All errors of one kind at `points` numbers, or rows of three, drawn from one range."""
    rng = np.random.default_rng([seed, DTYPES.index(dtype), list(RANGES).index(where)])
    measure, size = {"binary": (binary_errors, points), "classes": (class_errors, (points, 3))}[
        kind
    ]
    with np.errstate(all="raise", under="ignore"):
        z = RANGES[where](rng, np.finfo(dtype), size).astype(dtype)
        z[: points // 100] = 0  # ties, and the corner where the branches meet
        return sorted(measure(z), key=lambda error: error[0])


@pytest.mark.slow
@pytest.mark.parametrize("where", RANGES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["binary", "classes"])
def test_errors_stay_within_a_few_ulp(kind: str, dtype: str, where: str) -> None:
    for name, error, allowed, case in errors(kind, dtype, where, 600):
        assert error <= allowed, f"{name}: {error:.2f} ulp, {allowed:.2f} allowed, at {case!r}"


@pytest.mark.parametrize("order", "CF")
def test_many_classes_in_any_memory_order_are_as_accurate(order: str) -> None:
    """The sum over a wide row must not lose digits; float64 is reference enough for float32."""
    z = np.random.default_rng(0).uniform(-1, 1, (101, 1009)).astype(np.float32)
    e = np.exp(z.astype(float) - z.max(axis=1, keepdims=True))
    true = e / [[math.fsum(row)] for row in e]
    error = np.abs(softmax(np.asarray(z, order=order)) - true)
    allowed = (4 - np.log(e)) * np.spacing(true.astype(np.float32))
    assert (error / allowed).max() <= 1


def main() -> None:
    """The table of the worst errors; ends in an error when one is beyond its allowance."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--points", type=int, default=600, help="for each dtype and range")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    missed = 0
    print(f"{'function':<24}{'dtype':<9}{'range':<14}{'worst ulp':>9}{'of its allowance':>18}")
    for kind in ("binary", "classes"):
        for dtype in DTYPES:
            for where in RANGES:
                found = errors(kind, dtype, where, options.points, options.seed)
                for name, group in groupby(found, key=lambda error: error[0]):
                    rows = list(group)
                    _, error, allowed, case = max(rows, key=lambda row: row[1] / row[2])
                    worst = max(row[1] for row in rows)
                    ratio = error / allowed
                    print(f"{name:<24}{dtype:<9}{where:<14}{worst:>9.2f}{ratio:>18.0%}", flush=True)
                    if ratio > 1:
                        missed += 1
                        print(f"    {error:.2f} ulp, {allowed:.2f} allowed, at {case!r}")
    if missed:
        raise SystemExit(f"{missed} allowances exceeded")


if __name__ == "__main__":
    main()
