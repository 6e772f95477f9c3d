"""Trainings that are ended and taken up: by exceptions in the tests, by SIGKILL here.

A process trains under a checkpoint until it is killed at a random moment, and another goes on from
the file, again and again; in the end all must have the same bytes. For each kind of model:

    python tests/kills.py --kills 200
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nnrec import (
    L2,
    MSE,
    Adam,
    Batches,
    Checkpoint,
    CosineDecay,
    Dense,
    Dropout,
    EarlyStopping,
    Interactions,
    LinearDecay,
    Mixup,
    Network,
    NeuralClassifier,
    Recommender,
    ReLU,
    RMSProp,
    SigmoidCrossEntropy,
    metrics,
    storage,
)
from nnrec.recommend import AutoEncoder, MatrixFactorization, NeuMF, TwoTower
from nnrec.recommend.matrix_factorization import Factors

RNG = np.random.default_rng(20)
X = RNG.normal(size=(53, 5))
Y = (X @ [1.0, -2.0, 0.5, 0.0, 1.0] + RNG.normal(size=53) > 0).astype(int)
USERS, ITEMS = RNG.integers(0, 7, 53), RNG.integers(0, 11, 53)
LOG = Interactions.from_columns(USERS.tolist(), [f"item {i}" for i in ITEMS.tolist()])


class Tables(Factors):
    """A layer of one's own, with tables, of whose rows a step touches some."""


class Stop(Exception):
    """Ends a run."""


class After:
    """Ends a run after a step, or after an epoch."""

    def __init__(self, step=None, epoch=None):
        self.step, self.epoch = step, epoch

    def on_step(self, run):
        if run.step == self.step:
            raise Stop

    def on_epoch(self, run):
        if run.epoch == self.epoch:
            raise Stop


def auc(y, p):
    return metrics.roc_auc(y, p)


def dense(callbacks, epochs=5, x=X, y=Y, rng=3, **options):
    """Dropout, Adam under a schedule, a penalty, metrics, validation, early stopping."""
    layers = [Dense(5, 7), ReLU(), Dropout(0.3), Dense(7, 1)]
    network = Network(layers, SigmoidCrossEntropy(), rng=rng, penalty=L2(1e-3))
    stopping = EarlyStopping("val_auc", patience=2, mode="max")
    settings = {"optimizer": Adam(CosineDecay(0.3, 20)), "batch_size": 11, "metrics": {"auc": auc}}
    settings |= {"validation_split": 0.2, "verbose": 0} | options
    history = network.fit(x, y, epochs=epochs, callbacks=[stopping, *callbacks], **settings)
    return network, history


def tables(callbacks, epochs=3):
    """Rows with counts of their own, float64, a part that is frozen, two rates."""
    layer, frozen = Tables(7, 11, 3, user_bias=True), ["item_bias.*"]
    network = Network(layer, MSE(), 3, "float64", frozen=frozen, penalty=L2(1e-3))
    optimizer = Adam({"user.*": 0.1, "*": LinearDecay(0.1, 30)}, clip_norm=0.5)
    x = (USERS, ITEMS)
    history = network.fit(
        x, Y, optimizer=optimizer, epochs=epochs, batch_size=13, callbacks=callbacks, verbose=0
    )
    return network, history


def source(callbacks, epochs=3, alpha=0.4):
    """A general source, which draws: Mixup; RMSProp with momentum."""
    mixed = Mixup(Batches(X, Y.astype(float), batch_size=11), alpha)
    network = Network([Dense(5, 3), ReLU(), Dense(3, 1)], SigmoidCrossEntropy(), rng=3)
    optimizer = RMSProp(0.01, momentum=0.5)
    history = network.fit(mixed, optimizer=optimizer, epochs=epochs, callbacks=callbacks, verbose=0)
    return network, history


def model(kind, **settings):
    """A recommender's model, trained on LOG."""

    def train(callbacks, epochs=3):
        seen = []
        one = kind(epochs=epochs, **settings)
        one.fit(LOG, callbacks=[lambda run: seen.append(run.history), *callbacks])
        return one.network, seen[-1] if seen else None

    return train


def classifier(callbacks, epochs=3):
    one = NeuralClassifier((5,), epochs=epochs, batch_size=11, random_state=3)
    one.fit(X, Y, callbacks=callbacks)
    return one.networks_[0], one.histories_[0]


def recommender(callbacks, epochs=3):
    one = Recommender(NeuMF(dim=3, epochs=epochs, batch_size=13))
    one.fit(LOG, validation=0.3, callbacks=callbacks)
    return one.model.network, None


KINDS = {
    "dense": dense,
    "NeuralClassifier": classifier,
    "Recommender": recommender,
    "tables": tables,
    "source": source,
    "NeuMF": model(NeuMF, dim=3, batch_size=13),
    "NeuMF pretrained": model(NeuMF, dim=3, batch_size=17, pretrain=True),
    "AutoEncoder": model(AutoEncoder, hidden=5, batch_size=3),
    "variational": model(AutoEncoder, hidden=5, dim=3, variational=True, batch_size=3),
    "TwoTower": model(TwoTower, dim=3, hidden=5, loss="in_batch", batch_size=13),
    "bpr": model(MatrixFactorization, dim=3, loss="bpr", batch_size=13),
    "all_items": model(MatrixFactorization, dim=3, batch_size=3),
}


class Count:
    """How many steps a run takes, and what its optimiser ends with."""

    def on_end(self, run):
        self.steps, self.state, self.history = run.step, run.optimizer.state_dict(), run.history


def ended(train, *callbacks) -> tuple[bytes, int, int, str, str, int]:
    """Everything that a run ends with."""
    count = Count()
    network, _ = train([count, *callbacks])
    state = {name: str(value) for name, value in count.state.items()}
    return (
        *(network.theta.tobytes(), network.entropy, network.epochs),
        *(str(dict(count.history)), str(state), count.steps),
    )


def state_of(path: Path) -> dict:
    arrays, metadata = storage.read(path)
    return storage.unpack(metadata["checkpoint"], arrays, {})


def child(kind: str, folder: Path) -> None:
    """Train to the end, and say with what bits."""
    found = ended(KINDS[kind], Checkpoint(folder / "run", every_steps=1, keep=2))
    text = hashlib.sha256(repr(found).encode()).hexdigest()
    (folder / "part").write_text(text)
    os.replace(folder / "part", folder / "end")


def started(kind: str, folder: Path) -> int:
    """A process that trains; its number."""
    if process := os.fork():
        return process
    try:
        child(kind, folder)
        os._exit(0)
    finally:
        os._exit(1)


def kills(kind: str, count: int, seed: int = 0) -> str:
    """Kill trainings at random moments until there were so many kills; all must end alike."""
    moments, counts = random.Random(f"{seed} {kind}"), dict.fromkeys(("kills", "runs", "torn"), 0)
    KINDS[kind]([])  # imports here, once: a child that is busy with them is killed before its run
    with tempfile.TemporaryDirectory() as name:
        folder, steps = Path(name), set()
        began = time.monotonic()
        assert os.waitpid(started(kind, folder), 0)[1] == 0
        whole, took = (folder / "end").read_text(), time.monotonic() - began
        while counts["kills"] < count:
            for path in folder.iterdir():
                path.unlink()
            while not (folder / "end").exists():
                process = started(kind, folder)
                if counts["kills"] < count:
                    time.sleep(moments.uniform(0, took / 3))
                    os.kill(process, signal.SIGKILL)
                _, status = os.waitpid(process, 0)
                if os.WIFSIGNALED(status):
                    counts["kills"] += 1
                    left = [*folder.glob(".nnrec-*.tmp")]
                    counts["torn"] += bool(left)
                    for path in left:
                        path.unlink()
                else:
                    assert status == 0, f"{kind}: a resumed run failed"
                if (folder / "run").exists():
                    steps.add(state_of(folder / "run")["step"])
            counts["runs"] += 1
            assert (folder / "end").read_text() == whole, f"{kind}: other bits"
    assert len(steps) > 2 or count < 100, f"{kind}: killed outside the run alone: steps {steps}"
    return (
        f"{kind}: {counts['kills']} kills, {counts['torn']} of them inside a write; "
        f"{counts['runs']} runs ended, all in the same bytes; left at {len(steps)} different steps"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill checkpointed trainings at random moments.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--kind", nargs="*", default=["dense", "NeuMF", "AutoEncoder"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # what is forked must have one thread
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    for kind in arguments.kind:
        print(kills(kind, arguments.kills, arguments.seed), flush=True)


if __name__ == "__main__":
    main()
