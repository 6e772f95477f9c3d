"""Recommenders on published splits of MovieLens-1M: a command for each table of docs/results.md.

    NNREC_DATA=… python tests/benchmarks/recommenders.py ncf all
    NNREC_DATA=… python tests/benchmarks/recommenders.py m1 EDLAE MatrixFactorization --seeds 0 1 2
    NNREC_DATA=… python tests/benchmarks/recommenders.py ncf ItemKNN --select --seeds 0 1 2
    NNREC_DATA=… python tests/benchmarks/recommenders.py last all --select --seeds 0 1 2

ncf     the leave-one-out split of He et al. (WWW 2017): a film withheld from each user against the
        99 that were drawn for him; HR@10 and NDCG@10
m1      all films that the user has not in train are ranked; Recall@20 and NDCG@20
last    no result but a choice: on MovieLens-100K, which has times, each user's last film against
        99 others, as ncf's test is and train can't show it

Where Blend and IALS both run, so do their paired differences with 95 % bootstrap intervals over
users.

--select shows how the settings were chosen, on a part of *train* alone: one pair of each user
against 99 others, the mean over all draws of these (ncf); a tenth of each user's pairs (m1).
Not quite blindly: test figures of other settings of MatrixFactorization (dim 256; dim 512 with beta
0, 0.25, 0.25 by weights not divided by their mean, and 0 with tau 0.3; dim 512 on m1), NeuMF (dim
64) and Blend (dim 256; dim 512 with tau 0) had been seen before the present were chosen.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import runs

from nnrec.data.formats import read_lists, read_movielens, read_ncf
from nnrec.data.holdouts import fraction_per_user, leave_one_out
from nnrec.metrics import bootstrap_difference
from nnrec.recommend import EDLAE, Blend, MatrixFactorization, evaluate

FIGURES = {"ncf": ("HR@10", "NDCG@10"), "m1": ("Recall@20", "NDCG@20")}
FIGURES["last"] = FIGURES["ncf"]

# Of several values the first is the setting, and the others were tried beside it.
FACTORS: dict[str, dict[str, Any]] = {
    "ncf": {
        "dim": [640, 512, 256],
        "l2": [0.0038, 0.003, 0.0045],
        "frequency": [0.75, 0.9],
        "beta": [0.25, 0.0, 0.5],
        "tau": [0.1, 0.0, 0.2, 0.3],
        "user_rate": [50.0, 25.0, 100.0],
    },
    "m1": {
        "dim": [384, 256, 512],
        "l2": [0.006, 0.005, 0.007],
        "frequency": [1.0, 0.75],
        "beta": [0.0, 0.25, 0.5],
        "epochs": [25, 20],
    },
    "last": {"dim": 128, "l2": 0.006, "batch_size": 64, "tau": [0.0, 0.05, 0.1, 0.2, 0.3, 0.4]},
}
BLEND: dict[str, dict[str, Any]] = {
    "ncf": {"weight": [6.0, 12.0], "tau": [0.2, 0.1, 0.3, 0.4]},
    "m1": {"weight": [6.0, 12.0, 20.0], "tau": 0.0},
}
DENOISING: dict[str, dict[str, Any]] = {
    "ncf": {"epochs": 30},
    "m1": {"epochs": 30, "learning_rate": [0.001, 0.003], "hidden": [600, 256]},
}
TOWERS = {"dim": 128, "hidden": 256, "loss": "in_batch", "batch_size": 1024, "window": 10_000}
# EASE's λ are those of the literature, ItemKNN's settings were chosen on ncf.  What has one value
# only was not varied here, or by hand: NeuMF's on validation figures of ncf.
ROWS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    split: {
        "Popularity": ("Popularity({})", {}),
        "ItemKNN": (
            "ItemKNN({})",
            {"similarity": ["bm25", "tfidf", "cosine"], "neighbours": [50, 100, 200]},
        ),
        "EASE": ("EASE({})", {"l2": {"ncf": 1320.0, "m1": 1000.0}[split]}),
        "EDLAE": ("EDLAE({})", {"l2": 500.0, "kappa": 0.3, "beta": 0.5}),
        "IALS": ("IALS({}, rng=seed)", {"dim": 192, "l2": 0.006}),
        "MatrixFactorization": ("MatrixFactorization({}, rng=seed)", FACTORS[split]),
        "NeuMF": (
            "NeuMF({}, rng=seed)",
            {"dim": 256, "pretrain": True, "learning_rate": 0.0005, "epochs": 2},
        ),
        "Denoising": ("AutoEncoder({}, rng=seed)", DENOISING[split]),
        "Variational": (
            "AutoEncoder({}, rng=seed)",
            {"variational": True, "epochs": 30, "learning_rate": [0.003, 0.001]},
        ),
        "TwoTower": ("TwoTower({}, rng=seed)", TOWERS | {"epochs": 4}),
        "Blend": ("blend({}, rng=seed)", BLEND[split]),
    }
    for split in BLEND
}
ROWS["last"] = {"MatrixFactorization": ("MatrixFactorization({}, rng=seed)", FACTORS["last"])}


def blend(split: str, weight: float, tau: float, rng: int, networks: int = 3) -> Blend:
    """The mean of several factorisations' logits, plus `weight` times EDLAE's scores."""
    seeds, settings = range(networks * rng, networks * (rng + 1)), chosen(FACTORS[split])
    models = [MatrixFactorization(**settings | {"tau": tau}, rng=seed) for seed in seeds]
    return Blend([*models, EDLAE()], [1 / networks] * networks + [weight], standardize=False)


def chosen(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: one[0] if isinstance(one, list) else one for key, one in settings.items()}


def call(form: str, settings: dict[str, Any], **changed: Any) -> str:
    """The expression of a model with its settings, some of them changed."""
    given = chosen(settings) | changed
    return form.format(", ".join(f"{key}={value!r}" for key, value in given.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], add_help=False)
    parser.add_argument("split", choices=ROWS)
    arguments, given = parser.parse_known_args()
    split = arguments.split
    models = {name: call(*row) for name, row in ROWS[split].items()}
    tried = {
        name: [
            call(form, settings, **{key: value})
            for key, values in settings.items()
            for value in (values[1:] if isinstance(values, list) else ())
        ]
        for name, (form, settings) in ROWS[split].items()
    }
    seeds, figures = (0, 1, 2), FIGURES[split]
    found = runs.main(partial(prepare, split), models, tried, seeds, figures, given)
    if {"Blend", "IALS"} <= found.keys():
        for i, figure in enumerate(figures):
            compare(figure, *([one.figures[i] for one in found[n]] for n in ("Blend", "IALS")))


def prepare(split: str, validate: bool) -> Any:
    folder, candidates = Path(os.environ["NNREC_DATA"]), None
    if split == "ncf":
        names = ("ml-1m.train.pairs.gz", "ml-1m.test.rating", "ml-1m.test.negative.gz")
        train, test, candidates, _ = read_ncf(*(folder / "ncf-ml-1m" / name for name in names))
    elif split == "last":
        train, test, *_ = leave_one_out(read_movielens(folder / "ml-100k" / "u.data"))
    else:
        files = (folder / "ml-1m_m1" / f"{part}.txt.gz" for part in ("train", "test"))
        train, test = read_lists(*files)
    if validate and split == "ncf":
        train, test, *_ = leave_one_out(train, by="random")
    elif validate and split == "m1":
        train, test, *_ = fraction_per_user(train, 0.1)

    def judge(model: Any) -> Any:
        if split == "last" or (validate and split == "ncf"):
            return against_99(model, train, test), "against 99 others, the mean over all draws"
        n, first = (10, "hit_rate@10") if split == "ncf" else (20, "recall@20")
        result = evaluate(model, train, test, n=n, candidates=candidates)
        return [result.per_user[name] for name in (first, f"ndcg@{n}")], result.protocol

    return train, judge, {"blend": partial(blend, split)}


def against_99(model: Any, train: Any, held: Any) -> list[np.ndarray]:
    """HR@10 and NDCG@10 of one held-out item a user, the mean over all draws of 99 others."""
    from scipy.stats import hypergeom

    result = evaluate(model, train, held, n=train.n_items)
    above = np.rint(1 / result.per_user[f"mrr@{train.n_items}"]) - 1
    others = train.n_items - np.diff(train.csr().indptr)[result.users] - 1
    places = np.arange(10)
    chance = hypergeom.pmf(places, others[:, None], above[:, None], 99)
    return [chance.sum(axis=1), chance @ (1 / np.log2(places + 2))]


def compare(figure: str, ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """The mean difference over users, each user's mean over seeds, and its interval."""
    means = [np.mean(row, axis=0) for row in (ours, theirs)]
    found = bootstrap_difference(lambda y, p, w: p.mean(), means[0], *means, n=10_000)
    print(f"{figure}, Blend above IALS: {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]")


if __name__ == "__main__":
    main()
