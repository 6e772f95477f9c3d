"""The rows of the table: which contestants do which job, at which sizes, and what must agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Outcomes = dict[str, dict[str, float]]


def same_loss(outcomes: Outcomes) -> None:
    """A faster run that learns less does not count: nnrec's loss is the peers', or better."""
    losses = {name: figures["loss"] for name, figures in outcomes.items() if figures}
    ours = losses["nnrec"]
    assert all(abs(x - ours) <= 0.02 + 0.05 * ours for x in losses.values()), losses


def same_lists(outcomes: Outcomes) -> None:
    """All find the same best items: the sum of their scores is the same."""
    sums = [figures["sum"] for figures in outcomes.values() if figures]
    assert max(sums) - min(sums) <= 1e-4 * abs(max(sums)), outcomes


def nothing(outcomes: Outcomes) -> None:
    """Where there is nothing to compare."""


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    module: str
    unit: str
    contestants: list[str]
    settings: list[dict[str, Any]]
    check: Callable[[Outcomes], None] = same_loss
    rounds: int = 9
    cold: bool = False
    ours: str = field(default="nnrec")


PACKAGES = {  # what a contestant needs besides nnrec
    "torch": ["torch"],
    "torch_fused": ["torch"],
    "torch_sparse": ["torch"],
    "torch_dense": ["torch"],
    "jax": ["jax"],
    "keras": ["keras", "tensorflow"],
    "keras_at_once": ["keras", "tensorflow"],
    "keras_jax": ["keras", "jax"],
    "sklearn": ["sklearn"],
    "implicit": ["implicit"],
}
FRAMEWORKS = ["sklearn", "jax", "torch_fused", "torch", "keras_jax", "keras_at_once", "keras"]
ROWS = [
    Row(
        "document",
        "The document's job: 28-128-64-32-1, ReLU, dropout .2, Adam, float32",
        "classifier",
        "s a step",
        ["nnrec", "bare", *FRAMEWORKS],
        [
            {"job": "document", "batch": batch, "rows": rows}
            for batch, rows in ((32, 11_104), (256, 25_600), (4096, 65_536))
        ],
    ),
    Row(
        "digits",
        "A classifier of 784-512-256-10, batch 128",
        "classifier",
        "s a step",
        ["nnrec", "bare", *FRAMEWORKS],
        [{"job": "digits", "batch": 128, "rows": 6400}],
    ),
]
