"""Figures, seconds and memory of the models without training, on published splits.

    NNREC_DATA=… python tests/benchmarks/closed_forms.py [ncf] [m1] [gowalla]

One BLAS thread, each model in a process of its own.  "one user" is the median time to score the
catalogue for one user and take the ten best.  λ of EASE and EDLAE are those of the literature and
of docs/results.md; iALS's were chosen on pairs withheld from train.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from nnrec.data.formats import read_lists, read_ncf  # noqa: E402
from nnrec.metrics.ranking import top_n  # noqa: E402
from nnrec.recommend import EASE, EDLAE, IALS, ItemKNN, Popularity, evaluate  # noqa: E402

KNN = ["ItemKNN()", "ItemKNN(similarity='tfidf')", "ItemKNN(similarity='bm25')"]
MODELS = {
    "ncf": ["Popularity()", *KNN, "EASE(1320.0)", "EASE(700.0)", "EDLAE(500.0)", "IALS(64)"],
    "m1": ["Popularity()", *KNN, "EASE(1000.0)", "EDLAE(500.0)", "IALS(64)"],
    "gowalla": ["Popularity()", *KNN],  # EASE would take 13 GB
}
MODELS["ncf"].append("IALS(192, l2=0.006)")


def measure(split: str, text: str) -> str:
    folder, candidates = Path(os.environ["NNREC_DATA"]), None
    if split == "ncf":
        names = ("ml-1m.train.pairs.gz", "ml-1m.test.rating", "ml-1m.test.negative.gz")
        train, test, candidates, _ = read_ncf(*(folder / "ncf-ml-1m" / name for name in names))
        n, metrics = 10, ("hit_rate@10", "ndcg@10")
    else:
        where = folder / {"m1": "ml-1m_m1"}.get(split, split)
        train, test = read_lists(where / "train.txt.gz", where / "test.txt.gz")
        n, metrics = 20, ("recall@20", "ndcg@20")
    classes = {cls.__name__: cls for cls in (EASE, EDLAE, IALS, ItemKNN, Popularity)}
    model = eval(text, classes)
    began = time.perf_counter()
    model.fit(train)
    fitted = time.perf_counter()
    result = evaluate(model, train, test, n=n, candidates=candidates)
    judged = time.perf_counter()
    single = []
    for user in np.random.default_rng(0).integers(train.n_users, size=101):
        start = time.perf_counter()
        top_n(model.score_all([user]), 10)
        single.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = "  ".join(f"{result[name]:.4f}" for name in metrics)
    return (
        f"{split:<8} {text:<29} {figures}  {fitted - began:8.2f} s {judged - fitted:8.2f} s "
        f"{statistics.median(single) * 1e3:8.3f} ms {peak:8.0f} MB"
    )


def main(splits: list[str]) -> None:
    head = ("fit", "evaluate", "one user", "peak")
    print(
        f"{'split':<8} {'model':<29} {'HR / R':>6}  {'NDCG':>6}"
        + "{:>11}{:>11}{:>12}{:>12}".format(*head)
    )
    for split in splits or ["ncf", "m1"]:
        for text in MODELS[split]:
            subprocess.run([sys.executable, __file__, "--one", split, text], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(measure(*sys.argv[2:4]), flush=True)
    else:
        main(sys.argv[1:])
