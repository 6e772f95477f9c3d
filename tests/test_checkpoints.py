"""Checkpoints: a run ended at any step and taken up ends in the bytes of one that was not.

The tests end runs by an exception after each step, and by SIGKILL of a process at a few random
moments. The whole count of kills, for each kind of model, is run by

    python tests/test_checkpoints.py --kills 200
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import nnrec
from nnrec import (
    L2,
    MSE,
    SGD,
    Adagrad,
    Adam,
    Batches,
    Checkpoint,
    Composite,
    CosineDecay,
    Dense,
    Dot,
    Dropout,
    EarlyStopping,
    Embedding,
    FormatError,
    Interactions,
    LinearDecay,
    Mixup,
    Network,
    NeuralClassifier,
    Recommender,
    ReLU,
    RMSProp,
    SigmoidCrossEntropy,
    Table,
    metrics,
    storage,
)
from nnrec.fingerprints import differences, leaves
from nnrec.recommend import EASE, AutoEncoder, MatrixFactorization, NeuMF, TwoTower

RNG = np.random.default_rng(20)
X = RNG.normal(size=(53, 5))
Y = (X @ [1.0, -2.0, 0.5, 0.0, 1.0] + RNG.normal(size=53) > 0).astype(int)
USERS, ITEMS = RNG.integers(0, 7, 53), RNG.integers(0, 11, 53)
LOG = Interactions.from_columns(USERS.tolist(), [f"item {i}" for i in ITEMS.tolist()])


class Tables(Composite):
    """A layer of one's own, with tables, of whose rows a step touches some."""

    def __init__(self):
        super().__init__(user=Embedding(7, 3), item=Embedding(11, 3), dot=Dot())

    def __call__(self, theta, users, items, rng=None):
        on = self.bind(theta, rng)
        (p, back_p), (q, back_q) = on.user(users), on.item(items)
        y, back_y = on.dot(p, q)

        def back(dy, g):
            dp, dq = back_y(dy, g)
            back_p(dp, g)
            back_q(dq, g)

        return y, back

    def rows(self, users, items):
        return self.part_rows("user", users) | self.part_rows("item", items)


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
    """Rows with counts of their own, float64, an initial part that is frozen, two rates."""
    network = Network(Tables(), MSE(), rng=3, dtype="float64", penalty=L2(1e-3))
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_ended_after_any_step_goes_on_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    train, path = KINDS[kind], tmp_path / "run"
    whole = ended(train)
    steps = whole[-1]
    assert steps > 5 and ended(train, Checkpoint(path)) == whole
    for step in range(1, steps + 1):
        path.unlink()
        with pytest.raises(Stop):
            train([After(step), Checkpoint(path, every_steps=1)])
        assert ended(train, Checkpoint(path, every_steps=1)) == whole, step
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("kind", ["dense", "NeuMF"])
def test_a_run_ended_again_and_again_gets_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    train, path = KINDS[kind], tmp_path / "run"
    whole, step = ended(train), 3
    while True:
        try:
            found = ended(train, Checkpoint(path, every_steps=2), After(step))
            break
        except ValueError:  # After stands behind it
            pass
        try:
            found = ended(train, After(step), Checkpoint(path, every_steps=2))
            break
        except Stop:
            step += 3
    assert found == whole and step > 3


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_a_run_ended_after_an_epoch_goes_on_to_the_same_bits(epoch: int, tmp_path: Path) -> None:
    whole, path = ended(dense), tmp_path / "run"
    if epoch <= len(dense([])[1]["loss"]):
        with pytest.raises(Stop):
            dense([After(epoch=epoch), Checkpoint(path)])
        assert ended(dense, Checkpoint(path)) == whole


def test_early_stopping_stops_where_it_would_have(tmp_path: Path) -> None:
    _, history = dense([], epochs=50)
    assert 4 < len(history["loss"]) < 50
    with pytest.raises(Stop):
        dense([After(step=17), Checkpoint(tmp_path / "run", every_steps=5)], epochs=50)
    network, resumed = dense([Checkpoint(tmp_path / "run", every_steps=5)], epochs=50)
    assert resumed == history
    np.testing.assert_array_equal(network.theta, dense([], epochs=50)[0].theta)


def test_a_finished_run_is_not_trained_again_and_may_get_more_epochs(tmp_path: Path) -> None:
    path, steps = tmp_path / "run", []

    class Steps:
        def on_step(self, run):
            steps.append(run.step)

    source([Checkpoint(path, every_steps=1000)], epochs=2)
    first, _ = source([Steps(), Checkpoint(path)], epochs=2)
    assert steps == []
    more, history = source([Steps(), Checkpoint(path)], epochs=5)
    assert steps == [*range(11, 26)] and len(history["loss"]) == 5
    np.testing.assert_array_equal(more.theta, source([], epochs=5)[0].theta)
    with pytest.raises(ValueError, match="run is at epoch 5; fit has epochs=3"):
        source([Checkpoint(path)], epochs=3)


def test_a_stop_inside_an_epoch_ends_the_run_there(tmp_path: Path) -> None:
    class StopAt:
        def on_step(self, run):
            run.stop |= run.step == 7

    path = tmp_path / "run"
    whole, history = source([StopAt()])
    for resumed, found in (source([StopAt(), Checkpoint(path, every_steps=1)]) for _ in range(2)):
        assert found == history
        np.testing.assert_array_equal(resumed.theta, whole.theta)
    path.unlink()
    with pytest.raises(Stop):  # after the step, before the end of the epoch is on the disk
        source([StopAt(), After(epoch=2), Checkpoint(path, every_steps=1)])
    assert source([StopAt(), Checkpoint(path, every_steps=1000)])[1] == history
    assert state_of(path)["stop"] and state_of(path)["epoch"] == 2


def test_without_resume_a_run_begins_afresh(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(Stop):
        dense([After(step=7), Checkpoint(path, every_steps=1)])
    assert state_of(path)["step"] == 6
    dense([Checkpoint(path, resume=False)], epochs=0)
    assert state_of(path)["step"] == 0


def test_a_network_without_a_seed_goes_on_with_the_seed_of_the_file(tmp_path: Path) -> None:
    path, begun = tmp_path / "run", np.random.default_rng(5)
    with pytest.raises(Stop):
        dense([After(step=7), Checkpoint(path, every_steps=1)], rng=copy.deepcopy(begun))
    whole, _ = dense([], rng=np.random.default_rng(5))
    for rng in (None, np.random.default_rng(6), np.random.default_rng(5)):
        seeded = rng is not None and rng.bit_generator.state == begun.bit_generator.state
        with contextlib.nullcontext() if seeded else pytest.warns(UserWarning, match="without a s"):
            found, _ = dense([Checkpoint(path, every_steps=1000)], rng=rng)
        np.testing.assert_array_equal(found.theta, whole.theta)


# -- when and where it writes ----------------------------------------------------------------------


def state_of(path: Path) -> dict:
    arrays, metadata = storage.read(path)
    return storage.unpack(metadata["checkpoint"], arrays, {})


class Written(Checkpoint):
    """Notes when it writes."""

    def write(self, run):
        super().write(run)
        vars(self).setdefault("steps", []).append(run.step)


@pytest.mark.parametrize(
    ("often", "steps"),
    [
        ({}, [0, 5, 10, 15]),
        ({"every_steps": 4}, [0, 4, 8, 12, 15]),
        ({"every_steps": 5}, [0, 5, 10, 15, 15]),
        ({"every_seconds": 3}, [0, 4, 8, 12, 15]),
        ({"every_seconds": 3, "every_steps": 6}, [0, 4, 6, 10, 12, 15]),
        ({"every_seconds": 1e6}, [0, 15]),
    ],
)
def test_it_writes_every_so_many_steps_or_seconds(
    often, steps, tmp_path: Path, monkeypatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("nnrec.checkpoints.time.monotonic", lambda: now[0])

    class Clock:
        def on_step(self, run):
            now[0] += 0.76

    checkpoint = Written(tmp_path / "run", **often)
    source([Clock(), checkpoint])
    assert checkpoint.steps == steps


@pytest.mark.parametrize("keep", [1, 2, 3, 7])
@pytest.mark.parametrize("linked", [False, True])
def test_it_keeps_the_last_ones(keep: int, linked: bool, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    folder = tmp_path / "there" if linked else tmp_path
    if linked:
        (tmp_path / "run").symlink_to("there/run")
    source([Checkpoint(tmp_path / "run", keep=keep)], epochs=4)
    names = ["run", *(f"run.{i}" for i in range(1, min(keep, 5)))]
    assert sorted(p.name for p in folder.iterdir() if p.is_file()) == names
    assert [state_of(folder / name)["epoch"] for name in names] == [4, 3, 2, 1, 0][:keep]
    assert (tmp_path / "run").is_symlink() == linked
    for name in names:  # each of them is a place to go on from
        (tmp_path / "one").write_bytes((folder / name).read_bytes())
        network, _ = source([Checkpoint(tmp_path / "one")], epochs=4)
        np.testing.assert_array_equal(network.theta, source([], epochs=4)[0].theta)


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace", "link", "unlink"])
def test_a_write_that_fails_leaves_a_checkpoint_to_go_on_from(
    call: str, tmp_path: Path, monkeypatch
) -> None:
    whole, path, real = ended(source), tmp_path / "run", getattr(os, call)
    for at in (1, 2, 3, 5, 8):
        left = iter(range(at, 0, -1))

        def failing(*args, left=left, **kwargs):
            if next(left, 0) == 1:
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        for file in tmp_path.iterdir():
            file.unlink()
        source([Checkpoint(path, keep=3)], epochs=1)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            with pytest.raises(OSError, match="No space left"):
                source([Checkpoint(path, keep=3, every_steps=1)])
        assert not [*tmp_path.glob(".*")], "no temporary file stays"
        assert all(state_of(file)["step"] >= 0 for file in tmp_path.iterdir())
        assert ended(source, Checkpoint(path, keep=3)) == whole


def test_a_path_that_cannot_be_written_is_found_out_before_the_first_step(tmp_path: Path) -> None:
    before = dense([], epochs=0)[0].theta
    for path, error in (
        (tmp_path / "no" / "run", FileNotFoundError),
        (tmp_path, IsADirectoryError),
        ("/dev/null", OSError),
    ):
        with pytest.raises(error, match="ing failed"):
            network = Network([Dense(5, 1)], MSE(), rng=0)
            network.fit(X, Y, callbacks=[Checkpoint(path)], verbose=0)
        assert network.epochs == 0
    assert len(before) and not [*tmp_path.iterdir()]


def test_it_must_stand_last() -> None:
    with pytest.raises(
        ValueError, match="EarlyStopping.* stands behind Checkpoint.*must be the la"
    ):
        dense([Checkpoint("run"), EarlyStopping()])
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 0}, "Checkpoint: keep=0, expected a whole number ≥ 1"),
        ({"every_steps": 0}, "Checkpoint: every_steps=0, expected a whole number ≥ 1"),
        ({"every_steps": 1.5}, "Checkpoint: every_steps=1.5"),
        ({"every_seconds": -1}, "Checkpoint: every_seconds=-1, expected a number"),
    ],
)
def test_bad_settings_are_named(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Checkpoint("run", **settings)


def test_progress_goes_on_at_the_epoch(tmp_path: Path, capsys) -> None:
    with pytest.raises(Stop):
        dense([After(step=9), Checkpoint(tmp_path / "run", every_steps=1)])
    dense([Checkpoint(tmp_path / "run")], verbose=1, epochs=2)
    assert "epoch 2/2" in capsys.readouterr().err


def test_a_callback_says_what_it_has_learned(tmp_path: Path) -> None:
    class Losses:
        learned = ("seen", "absent")

        def on_start(self, run):
            self.seen = []

        def on_epoch(self, run):
            self.seen.append({"loss": np.float32(run.history["loss"][-1])})

    path, one, other = tmp_path / "run", Losses(), Losses()
    source([one, Checkpoint(path)], epochs=2)
    _, history = source([other, Checkpoint(path)], epochs=4)
    assert [each["loss"] for each in other.seen] == [np.float32(loss) for loss in history["loss"]]
    with pytest.raises(ValueError, match=r"of another training: callbacks\[0\] is None here and"):
        source([Checkpoint(path)], epochs=4)


def test_the_network_of_a_checkpoint_can_be_loaded(tmp_path: Path) -> None:
    network, _ = source([Checkpoint(tmp_path / "run", every_steps=1000)])
    found = nnrec.load(tmp_path / "run")
    np.testing.assert_array_equal(found.predict(X), network.predict(X))
    assert nnrec.files.describe(tmp_path / "run")["class"] == "Network"
    tables([Checkpoint(tmp_path / "own")])
    with pytest.raises(FormatError, match="own: no model"):
        nnrec.load(tmp_path / "own")


class Keep:
    def on_start(self, run):
        self.network = run.network


# -- what it refuses -------------------------------------------------------------------------------


def changed(a, at=(3, 2)):
    a = a.copy()
    a[at] += 1
    return a


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"x": changed(X)},
            r"source.x\[0\] is float32 \(42, 5\) \w+ here and float32 \(42, 5\) \w+ ",
        ),
        ({"x": changed(X, (52, 0))}, r"validation_data\[0\]\[0\] is float32 \(11, 5\)"),
        ({"y": 1 - Y}, "source.y is"),
        ({"x": X[:47], "y": Y[:47]}, r"source.x\[0\] is float32 \(37, 5\)"),
        ({"batch_size": 13}, "source.batch_size is 13 here and 11 there$"),
        ({"shuffle": False}, "source.shuffle is False here and True there$"),
        ({"sample_weight": np.ones(53)}, "source.weight is"),
        ({"rng": 4}, "network.rng is 4 here and 3 there"),
        ({"rng": None}, "network.rng is None here and 3 there$"),
        ({"optimizer": Adam(CosineDecay(0.3, 21))}, "rate.steps is 21 here and 20 there$"),
        ({"optimizer": Adam(0.3)}, "optimizer.learning_rate is 0.3 here and CosineDecay there"),
        ({"optimizer": SGD(0.3)}, "optimizer is SGD here and Adam there; .*; and 8 more$"),
        ({"optimizer": Adam(CosineDecay(0.3, 20), clip_norm=1)}, "optimizer.clip_norm is 1.0 here"),
        (
            {"metrics": {"auc": lambda y, p: 0.0}},
            r"metrics\['auc'\] is .*lambda.* and auc \w+ there",
        ),
        ({"metrics": None}, "metrics is None here and dict there"),
        ({"validation_split": 0.3}, r"source.x\[0\] is float32 \(37, 5\) .* \(42, 5\)"),
    ],
)
def test_another_training_is_refused_by_name(change, what, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        dense([After(step=2), Checkpoint(tmp_path / "run", every_steps=1)])
    before = (tmp_path / "run").read_bytes()
    with pytest.raises(ValueError, match=f"run is of another training: .*{what}"):
        dense([Checkpoint(tmp_path / "run")], **change)
    assert (tmp_path / "run").read_bytes() == before


@pytest.mark.parametrize(
    ("layers", "options", "what"),
    [
        ([Dense(5, 1, "he")], {}, "network.layer.parts.*initializer is 'he' here and 'glorot'"),
        (
            [Dense(5, 1), Dropout(0.0)],
            {},
            r"network.layer.parts\['dropout_1'\] is Dropout here and No",
        ),
        (
            [Dense(5, 1)],
            {"penalty": L2(0.1)},
            "network.penalty.*strength is 0.1 here and None there",
        ),
        (
            [Dense(5, 1)],
            {"dtype": "float64"},
            "network.dtype is 'float64' here and 'float32' there",
        ),
        ([Dense(5, 1)], {"frozen": ["*.b"]}, r"network.frozen\[0\] is '\*.b' here and None there"),
    ],
)
def test_another_network_is_refused_by_name(layers, options, what, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run")
    Network([Dense(5, 1)], MSE(), rng=0).fit(X, Y, callbacks=[checkpoint], verbose=0)
    with pytest.raises(ValueError, match=f"is of another training: .*{what}"):
        Network(layers, MSE(), rng=0, **options).fit(X, Y, callbacks=[checkpoint], verbose=0)


def test_another_start_is_refused(tmp_path: Path) -> None:
    """fit called again is a training of its own."""
    network, checkpoint = Network([Dense(5, 1)], MSE(), rng=0), Checkpoint(tmp_path / "run")
    optimizer = Adagrad()
    network.fit(X, Y, callbacks=[checkpoint], optimizer=optimizer, verbose=0)
    with pytest.raises(ValueError, match="network.epochs is 1 here and 0 there"):
        network.fit(X, Y, callbacks=[checkpoint], optimizer=optimizer, verbose=0)
    twin = Network([Dense(5, 1)], MSE(), rng=0)
    with pytest.raises(ValueError, match="optimizer.steps is 2 here and 0 there"):
        twin.fit(X, Y, callbacks=[checkpoint], optimizer=optimizer, verbose=0)
    twin.theta[3] += 1
    with pytest.raises(
        ValueError, match=r"training: network.theta is float32 \(6,\) \w+ here and flo"
    ):
        twin.fit(X, Y, callbacks=[checkpoint], optimizer=Adagrad(), verbose=0)


def test_another_source_is_refused_by_name(tmp_path: Path) -> None:
    source([Checkpoint(tmp_path / "run")])
    with pytest.raises(ValueError, match="training: source.alpha is 0.5 here and 0.4 there$"):
        source([Checkpoint(tmp_path / "run")], alpha=0.5)


@pytest.mark.parametrize(
    ("kind", "settings", "what"),
    [
        (NeuMF, {"dim": 3, "negatives": 4}, "source.negatives is 4 here and 8 there"),
        (NeuMF, {"dim": 2}, r"network.layer.*.dim is 2 here and 3 there"),
        (NeuMF, {"dim": 3, "epochs": 5}, r"optimizer.learning_rate\['\*'\].steps is .. here and"),
        (
            NeuMF,
            {"dim": 3, "l2": 0.0},
            r"network.penalty\[0\].strength is 0.0 here and 3e-06 there",
        ),
    ],
)
def test_another_model_is_refused_by_name(kind, settings, what, tmp_path: Path) -> None:
    given = {"dim": 3, "epochs": 2, "batch_size": 13}
    kind(**given).fit(LOG, callbacks=[Checkpoint(tmp_path / "run")])
    with pytest.raises(ValueError, match=f"is of another training: .*{what}"):
        kind(**given | settings).fit(LOG, callbacks=[Checkpoint(tmp_path / "run")])
    with pytest.raises(ValueError, match=r"source.interactions.*user_index is int64 \(43,\)"):
        kind(**given).fit(LOG.take(slice(43)), callbacks=[Checkpoint(tmp_path / "run")])


@pytest.mark.parametrize(
    ("name", "value"), [("numpy", "1.0"), ("BLAS", "none"), ("threads", "64"), ("nnrec", "0.0.1")]
)
def test_another_build_is_a_warning(name: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    source([Checkpoint(path)])
    arrays, metadata = storage.read(path)
    real = metadata["provenance"][name]
    metadata["provenance"][name] = value
    storage.write(path, arrays, metadata)
    with pytest.warns(
        UserWarning, match=f"last bits may .*: {name} is {real} here and {value} the"
    ):
        source([Checkpoint(path)])


def test_files_of_something_else_are_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "run"
    nnrec.save(dense([])[0], path)
    storage.write(tmp_path / "other", {}, {"checkpoint": {}, "model": {"$object": "Network"}})
    (tmp_path / "text").write_text("PK and so on")
    for file in tmp_path.iterdir():
        before = file.read_bytes()
        with pytest.raises(FormatError, match=f"{file.name}: "):
            dense([Checkpoint(file)])
        assert file.read_bytes() == before
    dense([Checkpoint(path, resume=False)])
    assert state_of(path)["epoch"] > 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda s, a, m: s.pop("epoch"), "epoch"),
        (lambda s, a, m: s.update(epoch="2"), "place"),
        (lambda s, a, m: s.update(stop=0), "place"),
        (lambda s, a, m: s.update(total={"$float": "nan"}, mass=1), "place"),
        (lambda s, a, m: s.update(draws=None), "draws"),
        (lambda s, a, m: s.update(draws={"$rng": 5}), "draws"),
        (lambda s, a, m: s.update(history=[]), "items|values"),
        (lambda s, a, m: s["history"].update(loss=3.0), "history"),
        (lambda s, a, m: s.update(optimizer={}), "row_steps"),
        (lambda s, a, m: s["optimizer"].update(steps=2.5), "counts"),
        (lambda s, a, m: s["optimizer"]["slots"].update(m=None), "slots"),
        (lambda s, a, m: s["optimizer"]["slots"].pop("m"), "slots"),
        (lambda s, a, m: s["optimizer"].update(row_steps={"0": [1]}), "rows"),
        (lambda s, a, m: s.update(callbacks=[{"patience": 1}]), "callbacks"),
        (lambda s, a, m: s.update(callbacks=5), "iterable"),
        (lambda s, a, m: s.update(settings=None), "none|None"),
        (lambda s, a, m: m.update(model=None), "get"),
        (lambda s, a, m: m.update(model={"$object": 5}), "none|learned|expected"),
        (lambda s, a, m: m["model"]["learned"].pop("entropy"), "entropy"),
        (lambda s, a, m: m["model"]["learned"].update(entropy=True), "counts"),
        (lambda s, a, m: a.update({"model.theta": np.zeros(7, "f4")}), "θ"),
        (lambda s, a, m: a.update({"model.theta": np.zeros(50)}), "θ"),
        (lambda s, a, m: a.pop("checkpoint.optimizer.slots.m"), "slots.m"),
    ],
)
def test_a_state_that_no_run_has_is_refused_before_anything_changes(
    change, what, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    with pytest.raises(Stop):
        dense([After(step=2), Checkpoint(path, every_steps=1)])
    arrays, metadata = storage.read(path)
    change(metadata["checkpoint"], arrays, metadata)
    storage.write(path, arrays, metadata)
    with pytest.raises(ValueError, match=f"(?s)run: .*({what})|the state has ({what})"):
        dense([kept := Keep(), Checkpoint(path)])
    np.testing.assert_array_equal(kept.network.theta, dense([], epochs=0)[0].theta)


def test_callbacks_are_of_one_training_of_a_network() -> None:
    with pytest.raises(ValueError, match="callbacks are told of one training; ensemble=2"):
        NeuralClassifier(ensemble=2).fit(X, Y, callbacks=[Keep()])
    with pytest.raises(ValueError, match="callbacks are told of a network's training; EASE"):
        Recommender(EASE()).fit(LOG, callbacks=[Keep()])


# -- fingerprints ----------------------------------------------------------------------------------


def prints(value) -> dict[str, str]:
    return dict(leaves(value, "x"))


def adder(n):
    return lambda rng, m=1: [n + m for _ in range(3)]


DIFFERENT = [
    *(None, False, 0, 0.0, -0.0, "0", b"0", 1, True, np.float32(1), np.int64(1), "a" * 200),
    *("a" * 199 + "b", [], [0], [[0]], (0,), {}, {"a": 1}, {"b": 1}, {"a": 2}, [1] * 100),
    *([1] * 99 + [2], dict.fromkeys(range(100)), dict.fromkeys(range(1, 101)), range(3), Network),
    *(np.zeros(3), np.zeros(3, "f4"), np.zeros((3, 1)), np.zeros(()), np.zeros((0, 2))),
    *(np.array(["a", None], object), np.array(["b", None], object), np.array(["a", "b"])),
    *(np.array(["2024-01-01"], "M8[D]"), np.array(["2024-01-02"], "M8[D]"), np.arange(3)[::-1]),
    *(LOG.csr(), LOG.csr()[:3], LOG.csr() * 2, LOG.csr().tocsr().T, LOG, LOG.take(slice(9))),
    *(adder(1), adder(2), lambda rng, m=1: [m], lambda rng, m=2: [m], len, max, np.tanh),
    *map(eval, [f"lambda x: {body}" for body in ("x + 1", "x + 2", "x - 1", "x.a", "x.b")]),
    *map(
        eval, ["lambda: lambda: 1", "lambda: lambda: 2", "lambda x: x in {1, 2}", "lambda x=3: x"]
    ),
    *(partial(max, 1), partial(max, 2), partial(min, 1), "a".join, Checkpoint("a").write),
    *(Checkpoint("b").write, Checkpoint("a").on_step, np.random.default_rng(0)),
    *(np.random.default_rng(1), Dense(2, 3), Dense(3, 2), Dense(2, 3, "he"), {"a", "b"}, {"a"}),
    *(Table({"a": [1.0, 2.0]}), Table({"a": [1.0, 3.0]}), Table({"b": [1.0, 2.0]})),
]


def test_fingerprints_tell_apart_what_differs() -> None:
    found = [prints(value) for value in DIFFERENT]
    for i, one in enumerate(found):
        assert one == prints(copy.deepcopy(DIFFERENT[i])), DIFFERENT[i]
        for j, other in enumerate(found[:i]):
            assert one != other and differences(one, other), (DIFFERENT[i], DIFFERENT[j])


@pytest.mark.slow
def test_fingerprints_are_the_same_in_another_process(python) -> None:
    code = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import test_checkpoints as t
text = repr([t.prints(value) for value in t.DIFFERENT])
print(hashlib.sha256(text.encode()).hexdigest())
"""
    assert len({python("-c", code, Path(__file__).parent) for _ in range(2)}) == 1


def test_what_is_long_is_told_apart_as_a_whole() -> None:
    assert len(prints([[0] * 1009, dict.fromkeys(range(1009))])) < 9 < len(prints([0] * 11))


def test_what_holds_itself_has_a_fingerprint() -> None:
    one = {"a": 1}
    one["self"], one["list"] = one, [one]
    assert "x['self']" in prints(one)


def test_what_is_computed_on_demand_is_no_part() -> None:
    layer, twin = Dense(2, 3), Dense(2, 3)
    assert layer.size and prints(layer) == prints(twin)


# -- kills -----------------------------------------------------------------------------------------


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
    return (
        f"{kind}: {counts['kills']} kills, {counts['torn']} of them inside a write; "
        f"{counts['runs']} runs ended, all in the same bytes; left at {len(steps)} different steps"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "NeuMF", "AutoEncoder"])
def test_killed_runs_end_in_the_same_bytes(kind: str, python, monkeypatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert "10 kills" in python(__file__, "--kills", 10, "--kind", kind)


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
