"""The best items of the whole catalogue for many users: factors (users, 64) and (items, 64).

The factors are random, as many as the data set has users and items; a round ranks for `users` of
them, block by block.  Nothing is masked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.benchmarks.speed.classifier import Contestant

N, BLOCK = 20, 256


def factors(settings: dict[str, Any]) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    sizes = ((settings["users"], 64), (settings["items"], 64))
    p, q = (rng.normal(size=size).astype(np.float32) for size in sizes)
    return p, q


def by_blocks(settings: dict[str, Any], best: Any) -> Contestant:
    """best(scores) of each block's product; the outcome is the sum of the first lists' scores."""
    p, q = factors(settings)
    found: list[Any] = []

    def work() -> int:
        found.clear()
        for start in range(0, len(p), BLOCK):
            found.append(best(p[start : start + BLOCK] @ q.T))
        return len(p)

    def outcome() -> dict[str, float]:
        if found[0].shape[1] != N:
            return {}
        scores = p[:BLOCK].astype(float) @ q.T.astype(float)
        return {"sum": float(np.take_along_axis(scores, found[0], 1).sum())}

    return work, outcome


def bare(settings: dict[str, Any]) -> Contestant:
    """The product alone."""
    return by_blocks(settings, lambda scores: scores[:, :1])


def nnrec(settings: dict[str, Any]) -> Contestant:
    from nnrec.metrics.ranking import top_n

    np.empty(31 << 20, np.uint8)  # as `fit` does: the pages of freed blocks are kept
    return by_blocks(settings, lambda scores: top_n(scores, N))


def argpartition(settings: dict[str, Any]) -> Contestant:
    return by_blocks(settings, lambda scores: np.argpartition(scores, -N, axis=1)[:, -N:])


def torch(settings: dict[str, Any]) -> Contestant:
    import torch

    torch.set_num_threads(1)
    p, q = map(torch.from_numpy, factors(settings))
    found: list[Any] = []

    def work() -> int:
        found.clear()
        for block in p.split(BLOCK):
            found.append(torch.topk(block @ q.T, N).indices)
        return len(p)

    def outcome() -> dict[str, float]:
        scores = p[:BLOCK].double() @ q.T.double()
        return {"sum": float(scores.gather(1, found[0]).sum())}

    return work, outcome


def implicit(settings: dict[str, Any]) -> Contestant:
    from implicit.cpu.topk import topk

    p, q = factors(settings)
    found: list[Any] = []

    def work() -> int:
        found[:] = [topk(q, p, N, num_threads=1)[0]]
        return len(p)

    def outcome() -> dict[str, float]:
        scores = p[:BLOCK].astype(float) @ q.T.astype(float)
        return {"sum": float(np.take_along_axis(scores, found[0][:BLOCK], 1).sum())}

    return work, outcome
