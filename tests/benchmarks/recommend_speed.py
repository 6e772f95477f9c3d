"""How fast recommenders answer, are judged, and train on big tables.

    NNREC_DATA=… taskset -c 1 python tests/benchmarks/recommend_speed.py [answer] [judge] [tables]

One BLAS thread; each part in a process of its own.  Rounds are interleaved; medians, minima and
ratios of minima are what other load on the machine spoils least.

answer  `recommend` for one user of ML-1M (6,040 × 3,706), a file loaded before: median and p99
judge   masking, top-n and metrics of all 6,040 users, scores given; then scoring included, beside
        one epoch of the same model; and the peak memory of judging by the block
tables  a step of NeuMF (dim 16, 256 pairs) on tables of 10⁴, 10⁶ and 4·10⁶ rows, half users, half
        items: three runs of `Network.fit` that take turns, a step each; gradient and slots are
        memory that the system hands out when a row is first touched: those steps are not counted
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import nnrec  # noqa: E402
from nnrec.data import Interactions  # noqa: E402
from nnrec.data.formats import read_ncf  # noqa: E402
from nnrec.metrics.ranking import evaluate_ranking  # noqa: E402
from nnrec.recommend import (  # noqa: E402
    EASE,
    AutoEncoder,
    MatrixFactorization,
    NeuMF,
    Popularity,
    Recommender,
    TwoTower,
    evaluate,
)
from nnrec.recommend.neumf import Fusion  # noqa: E402

ROWS, WARM, ROUNDS = 256, 800, 500


def seconds(work: Callable[..., object], *given: object, **named: object) -> float:
    began = time.perf_counter()
    work(*given, **named)
    return time.perf_counter() - began


def movielens() -> tuple[Interactions, Interactions]:
    names = ("ml-1m.train.pairs.gz", "ml-1m.test.rating", "ml-1m.test.negative.gz")
    folder = Path(os.environ["NNREC_DATA"]) / "ncf-ml-1m"
    train, test, *_ = read_ncf(*(folder / name for name in names))
    return train, test


def answer() -> None:
    train, _ = movielens()
    users = np.random.default_rng(0).integers(train.n_users, size=2_003)
    models = [Popularity(), EASE(), TwoTower(epochs=1, batch_size=4096)]
    models += [AutoEncoder(epochs=1), AutoEncoder(temperature=0.1, epochs=1)]
    shops: dict[str, Recommender] = {}
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            nnrec.save(Recommender(model).fit(train), path := Path(folder) / "model")
            shops[repr(model)] = nnrec.load(path)
    taken: dict[str, list[float]] = {name: [] for name in shops}
    first = {name: seconds(shop.recommend, train.users[0]) for name, shop in shops.items()}
    for user in train.users[users]:
        for name, shop in shops.items():
            taken[name].append(seconds(shop.recommend, user, n=10))
    print("one user of ML-1M, ten items: milliseconds")
    for name, times in taken.items():
        cuts = statistics.quantiles(times, n=100)
        print(
            f"{name:<42} median {cuts[49] * 1e3:6.3f}   p99 {cuts[98] * 1e3:6.3f}   "
            f"the first {first[name] * 1e3:7.1f}"
        )


def judge() -> None:
    train, test = movielens()
    seen, truth = train.csr(), test.csr()
    scores = np.random.default_rng(0).normal(size=truth.shape).astype(np.float32)
    times = [seconds(evaluate_ranking, scores, truth, seen=seen) for _ in range(7)]
    print(f"scores given, all users: least {min(times):.2f} s, median {np.median(times):.2f} s")
    del scores
    rounds = {AutoEncoder(epochs=1): 3, MatrixFactorization(epochs=1): 3}
    rounds |= {NeuMF(dim=16, epochs=1): 1, TwoTower(epochs=1): 1}
    for model, times in rounds.items():
        pairs = [
            (seconds(model.fit, train), seconds(evaluate, model, train, test, n=10))
            for _ in range(times)
        ]
        epoch, judged = (min(column) for column in zip(*pairs))
        print(
            f"{type(model).__name__:<20} an epoch {epoch:6.2f} s   scored and judged "
            f"{judged:6.2f} s   ratio {judged / epoch:.2f}",
            flush=True,
        )
    factors = next(model for model in rounds if isinstance(model, MatrixFactorization))
    print("peak of judging with MatrixFactorization, and that of one block of scores:")
    for block in (256, 1024):
        tracemalloc.start()
        evaluate(factors, train, test, n=10, block=block)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        print(f"block {block:>5}: {peak:6.1f} MB, {block * train.n_items * 4 / 1e6:.1f} MB")


def tables() -> None:
    sizes = (10_000, 1_000_000, 4_000_000)
    times: dict[int, list[float]] = {size: [] for size in sizes}
    turns = [threading.Semaphore(i == 0) for i in range(len(sizes))]

    def train(place: int, size: int) -> None:
        half, rng = size // 2, np.random.default_rng(0)
        network = nnrec.Network(Fusion(half, half, 16, 0.5), nnrec.SigmoidCrossEntropy(), rng=0)

        def source(_: object) -> Iterator[object]:
            for _ in range(WARM + ROUNDS):
                ids, labels = rng.integers(half, size=(2, ROWS)), np.arange(ROWS) % 5 == 0
                turns[place].acquire()
                began = time.perf_counter()
                yield (ids[0], ids[1]), labels.astype(np.float32)
                times[size].append(time.perf_counter() - began)
                turns[(place + 1) % len(sizes)].release()

        network.fit(source, optimizer=nnrec.Adam(0.004), verbose=0)

    threads = [threading.Thread(target=train, args=pair) for pair in enumerate(sizes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steps = {size: np.array(times[size][WARM:]) * 1e3 for size in sizes}
    assert all(len(found) == ROUNDS for found in steps.values())
    print(f"NeuMF, dim 16, a step of {ROWS} pairs, of {ROUNDS} rounds: milliseconds")
    for size, found in steps.items():
        print(f"{size:>9,} rows: least {found.min():.2f}, median {np.median(found):.2f}")
    for small, large in zip(sizes, sizes[1:]):
        print(
            f"{large:,} rows against {small:,}: medians "
            f"{np.median(steps[large]) / np.median(steps[small]):.2f}, "
            f"minima {steps[large].min() / steps[small].min():.2f}"
        )


def main(parts: list[str]) -> None:
    for part in parts or ["answer", "judge", "tables"]:
        subprocess.run([sys.executable, __file__, "--one", part], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        {"answer": answer, "judge": judge, "tables": tables}[sys.argv[2]]()
    else:
        main(sys.argv[1:])
