"""The rows of the table: which contestants do which job, at which sizes, and what must agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Outcomes = dict[str, dict[str, float]]


def same_loss(outcomes: Outcomes) -> None:
    """A faster run that learns less does not count: all reach about the same loss.

    scikit-learn has no dropout: after ten epochs its loss on held rows has risen again.
    """
    losses = {name: figures["loss"] for name, figures in outcomes.items() if figures}
    alike = [loss for name, loss in losses.items() if name != "sklearn"]
    assert max(alike) - min(losses.values()) <= 0.02 + 0.05 * min(alike), losses


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
    ours: str = "nnrec"
    along: str = ""  # the setting that grows from line to line


FRAMEWORKS = ["sklearn", "jax", "torch_fused", "torch", "keras_jax", "keras_at_once", "keras"]
NEUMF = ["neumf", "neumf_bare", "neumf_torch", "neumf_torch_dense"]
IMPORTS = ["numpy", "nnrec", "nnrec.nn", "sklearn.neural_network", "torch", "jax", "tensorflow"]


def needs(contestant: str) -> list[str]:
    """The packages that a contestant imports."""
    found = [p for p in ("torch", "jax", "keras", "sklearn", "implicit") if p in contestant]
    return found + ["tensorflow"] * (contestant in ("keras", "keras_at_once", "tensorflow"))


GROWTH = "How a step's cost grows with the "
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
        "cold",
        "The document's job from a cold process: start, import, ten epochs, evaluation, exit",
        "classifier",
        "s a run",
        ["nnrec", "sklearn", "jax", "torch_fused", "torch", "keras_jax", "keras"],
        [{"job": "document", "batch": 32, "rows": 11_104, "epochs": 10}],
        rounds=5,
        cold=True,
    ),
    Row(
        "neumf",
        "NeuMF on MovieLens-1M, d = 64, tower 256-128-64",
        "recommenders",
        "s a step",
        NEUMF,
        [{"batch": b, "steps": steps} for b, steps in ((256, 200), (1024, 80), (8192, 12))],
        ours="neumf",
    ),
    Row(
        "million",
        "NeuMF with tables of 10⁶ users",
        "recommenders",
        "s a step",
        # dense, Adam would take a second for a step
        ["neumf", "neumf_own_tables", "neumf_bare", "neumf_torch"],
        [{"batch": 256, "steps": 1600, "users": 10**6}],
        rounds=5,
        ours="neumf",
    ),
    Row(
        "autoencoder",
        "Denoising autoencoder on MovieLens-1M: 3,706-600-3,706, full softmax",
        "recommenders",
        "s a step",
        ["autoencoder", "autoencoder_bare", "autoencoder_torch", "autoencoder_torch_dense"],
        [{"batch": 256, "hidden": 600}],
        ours="autoencoder",
        rounds=7,
    ),
    Row(
        "ranking",
        "The 20 best items of the catalogue for each user, d = 64",
        "ranking",
        "s a user",
        ["nnrec", "bare", "argpartition", "torch", "implicit"],
        [{"users": 2048, "items": 3706}, {"users": 2048, "items": 40_981}],
        check=same_lists,
    ),
    Row(
        "digits",
        "A classifier of 784-512-256-10, batch 128",
        "classifier",
        "s a step",
        ["nnrec", "bare", *FRAMEWORKS],
        [{"job": "digits", "batch": 128, "rows": 6400}],
    ),
    Row(
        "import",
        "Importing, in a cold process",
        "",
        "s a process",
        IMPORTS,
        [{}],
        check=nothing,
        rounds=9,
        cold=True,
    ),
    Row(
        "gradients",
        "Checking the gradients of 10⁵ parameters",
        "gradients",
        "s a check",
        ["nnrec", "torch", "jax"],
        [{}],
        check=nothing,
        rounds=5,
    ),
    Row(
        "rows",
        GROWTH + "batch's rows, the document's network",
        "classifier",
        "s a step",
        ["nnrec", "bare"],
        [{"job": "document", "batch": 4**k, "rows": max(4096, 4 * 4**k)} for k in range(2, 8)],
        rounds=5,
        along="batch",
    ),
    Row(
        "width",
        GROWTH + "width w, 28-w-w/2-w/4-1, batch 256",
        "classifier",
        "s a step",
        ["nnrec", "bare"],
        [{"job": "document", "width": w, "batch": 256, "rows": 2560} for w in (32, 128, 512, 2048)],
        rounds=5,
        along="width",
    ),
    Row(
        "tables",
        GROWTH + "table's rows, NeuMF, batch 256",
        "recommenders",
        "s a step",
        ["neumf", "neumf_bare"],
        [{"batch": 256, "steps": 100, "users": 6040 * 4**k} for k in range(4)],
        rounds=5,
        ours="neumf",
        along="users",
    ),
]
