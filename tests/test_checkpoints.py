"""Checkpoints: a run ended at any step and taken up ends in the bytes of one that was not.

The tests end runs by an exception after each step, and by SIGKILL of a process at a few random
moments; kills.py has the whole count.
"""

from __future__ import annotations

import contextlib
import copy
import os
from pathlib import Path

import numpy as np
import pytest

import nnrec
from nnrec import MSE, Checkpoint, Dense, EarlyStopping, FormatError, Network
from tests import kills
from tests.kills import KINDS, After, Stop, X, Y, dense, ended, source, state_of, tables


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "NeuMF", "AutoEncoder"])
def test_killed_runs_end_in_the_same_bytes(kind: str, python, monkeypatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert "10 kills" in python(kills.__file__, "--kills", 10, "--kind", kind)


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
        for file in tmp_path.iterdir():
            state_of(file)  # raises unless the file is whole
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
    with pytest.raises(FormatError, match="own: model: Network without its layer"):
        nnrec.load(tmp_path / "own")
