"""Recommenders on published splits of MovieLens-1M: a command for each row of docs/results.md.

    NNREC_DATA=… python tests/benchmarks/recommenders.py ncf all
    NNREC_DATA=… python tests/benchmarks/recommenders.py m1 EDLAE MatrixFactorization --seeds 0 1 2
    NNREC_DATA=… python tests/benchmarks/recommenders.py ncf MatrixFactorization --select

ncf     the leave-one-out split of He et al. (WWW 2017): a film withheld from each user against the
        99 that were drawn for him; HR@10 and NDCG@10
m1      all films that the user has not in train are ranked; Recall@20 and NDCG@20

Mean ± sd over seeds (a row without chance runs once).  Seconds are CPU seconds of one seed's `fit`
with one BLAS thread.  Each fit has a process of its own, whose peak memory is given.  Where Blend
and IALS both run, so do their paired differences with 95 % bootstrap intervals over users.

--select shows how the settings were chosen, on a part of *train* alone: one pair of each user
against 99 others, the mean over all draws of these (ncf); a tenth of each user's pairs (m1).
Not quite blindly: test figures of other settings of MatrixFactorization (dim 256; dim 512 on m1),
NeuMF (dim 64) and Blend (dim 256) had been seen before the present ones were chosen.
"""

from __future__ import annotations

import argparse
import inspect
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

from nnrec.data.formats import read_lists, read_ncf  # noqa: E402
from nnrec.data.holdouts import fraction_per_user, leave_one_out  # noqa: E402
from nnrec.metrics import bootstrap_difference  # noqa: E402
from nnrec.recommend import (  # noqa: E402
    EASE,
    EDLAE,
    IALS,
    AutoEncoder,
    Blend,
    ItemKNN,
    MatrixFactorization,
    NeuMF,
    Popularity,
    TwoTower,
    evaluate,
)

METRICS = {"ncf": ("hit_rate@10", "ndcg@10"), "m1": ("recall@20", "ndcg@20")}


# Of several values the first is the setting, and the others were tried beside it: see --select.
NEIGHBOURS = {"similarity": ["bm25", "tfidf", "cosine"], "neighbours": [50, 100, 200]}
FACTORS: dict[str, dict[str, Any]] = {
    "ncf": {
        "dim": [512, 256, 640],
        "l2": [0.0038, 0.003, 0.005],
        "frequency": [0.75, 1.0],
        "user_rate": [50.0, 25.0, 100.0],
        "epochs": [20, 25],
    },
    "m1": {
        "dim": [384, 256, 512],
        "l2": [0.006, 0.005, 0.007],
        "frequency": [1.0, 0.75],
        "epochs": [25, 20],
    },
}
DENOISING: dict[str, dict[str, Any]] = {
    "ncf": {"epochs": 30},
    "m1": {"epochs": 30, "learning_rate": [0.001, 0.003], "hidden": [600, 256]},
}
VARIATIONAL = {"variational": True, "epochs": 30, "learning_rate": [0.003, 0.001]}
TOWERS = {"dim": 128, "hidden": 256, "loss": "in_batch", "batch_size": 1024, "window": 10_000}
TOWERS |= {"epochs": 4}


def blend(split: str, networks: int, weight: float, rng: int) -> Blend:
    """The mean of several factorisations' logits, plus `weight` times EDLAE's scores."""
    seeds = range(networks * rng, networks * (rng + 1))
    models = [MatrixFactorization(**chosen(FACTORS[split]), rng=seed) for seed in seeds]
    return Blend([*models, EDLAE()], [1 / networks] * networks + [weight], standardize=False)


def chosen(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: one[0] if isinstance(one, list) else one for key, one in settings.items()}


# EASE's λ are those of the literature, ItemKNN's settings were chosen on ncf.  What has one value
# only was not varied here, or by hand: NeuMF's on validation figures of ncf.
ROWS: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    split: {
        "Popularity": (Popularity, {}),
        "ItemKNN": (ItemKNN, NEIGHBOURS),
        "EASE": (EASE, {"l2": {"ncf": 1320.0, "m1": 1000.0}[split]}),
        "EDLAE": (EDLAE, {"l2": 500.0, "kappa": 0.3, "beta": 0.5}),
        "IALS": (IALS, {"dim": 192, "l2": 0.006}),
        "MatrixFactorization": (MatrixFactorization, FACTORS[split]),
        "NeuMF": (NeuMF, {"dim": 256, "pretrain": True, "learning_rate": 0.0005, "epochs": 2}),
        "Denoising": (AutoEncoder, DENOISING[split]),
        "Variational": (AutoEncoder, VARIATIONAL),
        "TwoTower": (TwoTower, TOWERS),
        "Blend": (partial(blend, split), {"networks": 3, "weight": [6.0, 12.0, 20.0]}),
    }
    for split in METRICS
}


class Outcome(NamedTuple):
    figures: dict[str, np.ndarray]  # by metric, of each user
    seconds: float
    peak: float  # MB
    protocol: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("split", choices=ROWS)
    parser.add_argument("rows", nargs="+", help="or: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--select", action="store_true")
    arguments = parser.parse_args()
    split = arguments.split
    names = list(ROWS[split]) if arguments.rows == ["all"] else arguments.rows
    print(f"| {split} | {' | '.join(METRICS[split])} | s | MB |\n|---|---|---|---|---|")
    if arguments.select:
        for name in names:
            select(split, name, arguments.seeds)
        return
    outcomes = {name: measure(split, name, arguments.seeds) for name in names}
    print("\n" + outcomes[names[0]][0].protocol)
    if {"Blend", "IALS"} <= outcomes.keys():
        for metric in METRICS[split]:
            compare(metric, outcomes["Blend"], outcomes["IALS"])


def measure(split: str, name: str, seeds: list[int], **changed: Any) -> list[Outcome]:
    """The outcomes of a row's seeds; prints the row of the table."""
    seeds = seeds if takes_rng(split, name) else [0]
    outcomes = []
    for seed in seeds:
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            outcomes.append(fresh.submit(run, split, name, seed, changed).result())
    cells = []
    for metric in METRICS[split]:
        means = np.array([outcome.figures[metric].mean() for outcome in outcomes])
        sd = f" ± {means.std(ddof=1):.4f}" if len(means) > 1 else ""
        cells.append(f"{means.mean():.4f}{sd}")
    cells.append(f"{np.mean([outcome.seconds for outcome in outcomes]):.1f}")
    cells.append(f"{max(outcome.peak for outcome in outcomes):.0f}")
    label = ", ".join([name, *(f"{key}={value!r}" for key, value in changed.items())])
    print(f"| {label} | {' | '.join(cells)} |", flush=True)
    return outcomes


def takes_rng(split: str, name: str) -> bool:
    return "rng" in inspect.signature(ROWS[split][name][0]).parameters


def run(split: str, name: str, seed: int, changed: dict[str, Any]) -> Outcome:
    """Fit and judge one model: on test or, where a setting is changed, on a part of train."""
    train, test, candidates = data(split)
    if changed and split == "ncf":
        train, test, *_ = leave_one_out(train, by="random")
    elif changed:
        train, test, *_ = fraction_per_user(train, 0.1)
    make, given = ROWS[split][name]
    settings = chosen(given) | changed
    if takes_rng(split, name):
        settings["rng"] = seed
    began = time.process_time()
    model = make(**settings).fit(train)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if changed and split == "ncf":
        return Outcome(against_99(model, train, test), seconds, peak, "")
    n = 10 if split == "ncf" else 20
    result = evaluate(model, train, test, n=n, candidates=candidates)
    return Outcome(result.per_user, seconds, peak, str(result.protocol))


def data(split: str) -> tuple[Any, Any, Any]:
    """Train, test and, if not all others compete, the candidates."""
    folder = Path(os.environ["NNREC_DATA"])
    if split == "ncf":
        names = ("ml-1m.train.pairs.gz", "ml-1m.test.rating", "ml-1m.test.negative.gz")
        return read_ncf(*(folder / "ncf-ml-1m" / name for name in names))[:3]
    files = (folder / "ml-1m_m1" / f"{part}.txt.gz" for part in ("train", "test"))
    return *read_lists(*files), None


def against_99(model: Any, train: Any, held: Any) -> dict[str, np.ndarray]:
    """HR@10 and NDCG@10 of one held-out item a user, the mean over all draws of 99 others."""
    from scipy.stats import hypergeom

    result = evaluate(model, train, held, n=train.n_items)
    above = np.rint(1 / result.per_user[f"mrr@{train.n_items}"]) - 1
    others = train.n_items - np.diff(train.csr().indptr)[result.users] - 1
    places = np.arange(10)
    chance = hypergeom.pmf(places, others[:, None], above[:, None], 99)
    return {"hit_rate@10": chance.sum(axis=1), "ndcg@10": chance @ (1 / np.log2(places + 2))}


def select(split: str, name: str, seeds: list[int]) -> None:
    """Print a row for each value that was tried, one setting after the other."""
    _, settings = ROWS[split][name]
    for key, values in settings.items():
        for value in values if isinstance(values, list) else []:
            measure(split, name, seeds, **{key: value})


def compare(metric: str, ours: list[Outcome], theirs: list[Outcome]) -> None:
    """The mean difference over users, each user's mean over seeds, and its interval."""
    means = [np.mean([one.figures[metric] for one in row], axis=0) for row in (ours, theirs)]
    found = bootstrap_difference(lambda y, p, w: p.mean(), means[0], *means, n=10_000)
    print(f"{metric}, Blend above IALS: {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]")


if __name__ == "__main__":
    main()
