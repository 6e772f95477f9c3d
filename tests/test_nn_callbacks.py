"""What fit says and to whom: history, callbacks, early stopping, Ctrl-C, progress."""

from __future__ import annotations

import io
import re
import sys
import types
from importlib.machinery import ModuleSpec

import numpy as np
import pytest

from nnrec import MSE, SGD, Adam, Dense, EarlyStopping, History, Network
from tests.trainings import RNG, Log, X, Y, classifier, plain, trained


def test_history_prints_as_a_table() -> None:
    history = History(loss=[0.5, 0.25], val_auc=[1 / 3, 1e-7])
    check_table(history, "val_auc")
    history.interrupted = True
    assert str(history).splitlines()[-1] == "interrupted"
    assert str(History()) == "epoch"


def check_table(history: History, name: str) -> None:
    heads, *rows = [re.split(r" +", line.strip()) for line in str(history).splitlines()]
    assert heads == ["epoch", "loss", name]
    assert rows == [["1", "0.5", "0.33333"], ["2", "0.25", "1e-07"]]
    assert len({len(line) for line in str(history).splitlines()}) == 1, "columns are aligned"


def test_history_of_many_epochs_prints_twenty() -> None:
    for epochs in (19, 20, 21, 997):
        history = History(loss=[1 / i for i in range(1, epochs + 1)], late=[0.0] * epochs)
        shown = sorted(set(np.linspace(1, epochs, 20).round().astype(int).tolist()))
        assert str(history).splitlines()[1:] == [
            f"{epoch:5d}{1 / epoch:12.5g}           0" for epoch in shown
        ]


def test_history_prints_what_every_figure_has() -> None:
    lines = str(History(loss=[0.5, 0.25], late=[1.0])).splitlines()
    assert lines == ["epoch        loss        late", "    1         0.5           1"]


def test_history_keeps_long_names_apart() -> None:
    name = "val_average_precision"
    check_table(History({"loss": [0.5, 0.25], name: [1 / 3, 1e-7]}), name)
    assert str(History({"of_11_chars": [], "of_10_char": []})) == ("epoch  of_11_chars  of_10_char")


def test_callbacks_are_called_in_order() -> None:
    calls: list = []
    classifier().fit(
        X, Y, batch_size=53, epochs=2, callbacks=[Log("a", calls), Log("b", calls)], verbose=0
    )
    expected = [("start", 0, 0), ("step", 0, 1), ("step", 0, 2), ("epoch", 1, 2)]
    expected += [("step", 1, 3), ("step", 1, 4), ("epoch", 2, 4), ("end", 2, 4)]
    assert calls == [(name, *call) for call in expected for name in "ab"]


def test_a_function_is_called_after_each_epoch() -> None:
    seen = []
    net, optimizer = classifier(), Adam()
    history = net.fit(
        X,
        Y,
        epochs=3,
        optimizer=optimizer,
        callbacks=[lambda run: seen.append((run.epoch, run.epochs, run.history["loss"][-1]))],
        verbose=0,
    )
    assert seen == [(i + 1, 3, loss) for i, loss in enumerate(history["loss"])]

    def same(run):
        assert run.network is net and run.optimizer is optimizer

    net.fit(X, Y, optimizer=optimizer, callbacks=[same], verbose=0)


def test_a_callback_that_hears_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match="fit: callback 'checkpoint' is no function"):
        classifier().fit(X, Y, callbacks=["checkpoint"], verbose=0)


def test_stop_ends_training_after_the_epoch_or_the_step() -> None:
    def at_two(run):
        run.stop = run.epoch == 2

    assert len(classifier().fit(X, Y, epochs=9, callbacks=[at_two], verbose=0)["loss"]) == 2

    class AtStep:
        def on_step(self, run):
            run.stop, self.mean = run.step == 3, run.total / run.mass

        def on_end(self, run):
            self.steps = run.step

    callback = AtStep()
    history = classifier().fit(X, Y, epochs=9, batch_size=7, callbacks=[callback], verbose=0)
    assert callback.steps == 3 and history["loss"] == [callback.mean]


SCORES = [5.0, 3.0, 7.0, 2.5, 2.5, 6.0, 4.0, 3.5, 1.0, 9.0, 9.0]


@pytest.mark.lesson_6
@pytest.mark.parametrize(
    ("settings", "best"),
    [
        ({"patience": 1}, 2),
        ({"patience": 2}, 4),
        ({"patience": 3}, 4),
        ({"patience": 2, "min_delta": 0.6}, 2),
        ({"patience": 4, "mode": "max"}, 3),
        ({"patience": 5}, 9),
    ],
)
def test_early_stopping_restores_the_best(settings, best) -> None:
    thetas = []

    def score(run):
        run.history.setdefault("score", []).append(SCORES[run.epoch - 1])
        thetas.append(run.network.theta.copy())

    net, stopping = classifier(), EarlyStopping("score", **settings)
    history = net.fit(X, Y, epochs=11, callbacks=[score, stopping], verbose=0)
    assert len(history["loss"]) == min(11, best + settings["patience"])
    np.testing.assert_array_equal(net.theta, thetas[best - 1])
    sign = -1 if stopping.mode == "max" else 1
    assert (stopping.best, stopping.best_epoch) == (sign * SCORES[best - 1], best)
    assert stopping.best_theta is None, "nothing is kept longer than it is needed"
    thetas.clear()
    net.fit(X, Y, epochs=3, callbacks=[score, stopping], verbose=0)  # it starts afresh
    np.testing.assert_array_equal(net.theta, thetas[2 if stopping.mode == "max" else 1])


def test_early_stopping_stops_nobody_elses_stop() -> None:
    class Stop:
        def on_epoch(self, run):
            run.stop = True

    watch = [Stop(), EarlyStopping("loss", patience=3)]
    assert len(classifier().fit(X, Y, epochs=9, callbacks=watch, verbose=0)["loss"]) == 1


@pytest.mark.lesson_6
def test_early_stopping_watches_the_validation_loss() -> None:
    net = plain()
    noise = RNG.integers(0, 2, 101)  # nothing to learn: the validation loss soon rises
    history = net.fit(
        X, noise, epochs=997, optimizer=SGD(1.0), validation_data=(X[:29], 1 - noise[:29]),
        callbacks=[EarlyStopping()], verbose=0,
    )  # fmt: skip
    best = int(np.argmin(history["val_loss"]))
    assert len(history["val_loss"]) == best + 6
    assert net.evaluate(X[:29], 1 - noise[:29])["loss"] == min(history["val_loss"])


def test_early_stopping_on_nan_keeps_what_there_is() -> None:
    def score(run):
        run.history.setdefault("score", []).append(float("nan"))

    net, twin = classifier(), classifier()
    stopping = EarlyStopping("score", patience=2)
    assert len(net.fit(X, Y, epochs=9, callbacks=[score, stopping], verbose=0)["loss"]) == 2
    np.testing.assert_array_equal(net.theta, trained(twin, epochs=2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "up"}, "EarlyStopping: mode='up', expected 'min' or 'max'"),
        ({"patience": 0}, "EarlyStopping: patience=0, expected a whole number ≥ 1"),
        ({"patience": 1.5}, "EarlyStopping: patience=1.5"),
        ({"min_delta": -1.0}, "EarlyStopping: min_delta=-1.0"),
    ],
)
def test_bad_early_stopping_is_named(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**settings)


def test_a_missing_monitor_is_named() -> None:
    with pytest.raises(ValueError, match="EarlyStopping: 'val_loss' is none of loss"):
        classifier().fit(X, Y, callbacks=[EarlyStopping()], verbose=0)


class InterruptAt:
    """Ctrl-C, at one of fit's events."""

    def __init__(self, event: str, epoch: int = 2) -> None:
        self.epoch, self.ended = epoch, 0
        setattr(self, event, self.interrupt)

    def interrupt(self, run):
        if run.epoch == self.epoch:
            raise KeyboardInterrupt

    def on_end(self, run):
        self.ended += 1


@pytest.mark.parametrize("event", ["on_step", "on_epoch"])
def test_ctrl_c_returns_the_history_so_far(event) -> None:
    net, callback = classifier(), InterruptAt(event)
    history = net.fit(X, Y, epochs=9, validation_split=0.2, callbacks=[callback], verbose=0)
    assert history.interrupted and callback.ended == 1
    assert [len(values) for values in history.values()] == [2, 2]
    assert str(history).splitlines()[-1] == "interrupted"
    assert np.isfinite(net.theta).all() and (net.theta != classifier().theta).any()
    assert not net.fit(X, Y, verbose=0).interrupted, "and training can go on"


def test_ctrl_c_before_the_first_step_leaves_the_network() -> None:
    net = classifier()
    history = net.fit(X, Y, callbacks=[InterruptAt("on_start", 0)], verbose=0)
    assert history == {} and history.interrupted
    np.testing.assert_array_equal(net.theta, classifier().theta)


def test_ctrl_c_inside_a_source_leaves_a_clean_gradient() -> None:
    def source(rng):
        yield X, Y
        raise KeyboardInterrupt

    net, twin = plain(), plain()
    assert net.fit(source, optimizer=SGD(0.1), verbose=0).interrupted
    trained(twin, lambda rng: [(X, Y)], optimizer=SGD(0.1))
    np.testing.assert_array_equal(net.theta, twin.theta)


def test_early_stopping_restores_the_best_after_ctrl_c() -> None:
    kept = []
    net = classifier()
    watch = [
        lambda run: run.history.setdefault("score", []).append(-float(run.epoch == 1)),
        lambda run: kept.append(run.network.theta.copy()),
        EarlyStopping("score", patience=5),
        InterruptAt("on_epoch"),
    ]
    net.fit(X, Y, epochs=9, callbacks=watch, verbose=0)
    np.testing.assert_array_equal(net.theta, kept[0])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Bar:
    """What fit uses of tqdm."""

    made: list[Bar] = []

    def __init__(self, total, **settings) -> None:
        self.total, self.settings, self.done, self.closed = total, settings, 0, False
        self.said: list[str] = []
        Bar.made.append(self)

    def set_postfix_str(self, text, refresh=True) -> None:
        assert not refresh, "update does it, at tqdm's own pace"
        self.said.append(text)

    def update(self, n=1) -> None:
        self.done += n

    def close(self) -> None:
        self.closed = True


def at_a_terminal(monkeypatch) -> list[Bar]:
    """From here on stderr is a terminal; the bars that its tqdm makes are in this list."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    tqdm = types.ModuleType("tqdm")
    tqdm.__spec__, tqdm.tqdm = ModuleSpec("tqdm", None), Bar
    monkeypatch.setitem(sys.modules, "tqdm", tqdm)
    monkeypatch.setattr(Bar, "made", [])
    return Bar.made


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys) -> None:
    history = classifier().fit(X, Y, epochs=3, validation_split=0.2)
    out, err = capsys.readouterr()
    assert out == ""
    *_, last = err.splitlines()
    figures = f"loss {history['loss'][-1]:.5g}  val_loss {history['val_loss'][-1]:.5g}"
    assert re.fullmatch(rf"epoch 3/3  \d+\.\d s  {re.escape(figures)}", last)


@pytest.mark.parametrize(("seconds", "said"), [(0.25, [5, 10]), (0.5, [3, 6, 9, 10])])
def test_progress_says_at_most_a_line_a_second(seconds, said, capsys, monkeypatch) -> None:
    clock = iter(np.arange(100, 199, seconds))  # start, then every epoch
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    history = classifier().fit(X, Y, epochs=10)
    assert capsys.readouterr().err.splitlines() == [
        f"epoch {epoch}/10  {epoch * seconds:.1f} s  loss {history['loss'][epoch - 1]:.5g}"
        for epoch in said
    ]


def test_progress_says_the_last_epoch_of_a_stopped_training(capsys) -> None:
    def stop(run):
        run.stop = run.epoch == 2

    classifier().fit(X, Y, epochs=9, callbacks=[stop])
    assert "epoch 2/9" in capsys.readouterr().err


def test_verbose_0_is_silent(capsys, monkeypatch) -> None:
    classifier().fit(X, Y, epochs=2, verbose=0)
    assert capsys.readouterr() == ("", "")
    bars = at_a_terminal(monkeypatch)
    classifier().fit(X, Y, epochs=2, verbose=0)
    assert sys.stderr.getvalue() == "" and not bars
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    classifier().fit(X, Y, epochs=2)
    assert "epoch 2/2" in sys.stderr.getvalue() and not bars, "no terminal, no bar"


def test_progress_is_tqdms_bar_at_a_terminal(monkeypatch) -> None:
    bars = at_a_terminal(monkeypatch)
    history = classifier().fit(X, Y, epochs=3)
    (bar,) = bars
    assert (bar.total, bar.done, bar.closed) == (3, 3, True)
    assert bar.settings == {"initial": 0, "unit": "epoch", "delay": 1}  # no file: stderr to tqdm
    assert bar.said == [f"loss {loss:.5g}" for loss in history["loss"]]
    assert sys.stderr.getvalue() == ""


def test_the_bar_is_closed_after_ctrl_c(monkeypatch) -> None:
    bars = at_a_terminal(monkeypatch)
    classifier().fit(X, Y, epochs=3, callbacks=[InterruptAt("on_epoch", 1)])
    assert [bar.closed for bar in bars] == [True]


def test_the_bar_is_closed_after_an_error(monkeypatch) -> None:
    bars = at_a_terminal(monkeypatch)
    with pytest.raises(FloatingPointError):
        Network([Dense(5, 1)], MSE(), rng=0).fit(X, Y, optimizer=SGD(1e30), epochs=3)
    assert [bar.closed for bar in bars] == [True]


def test_without_tqdm_a_terminal_gets_plain_lines(monkeypatch) -> None:
    bars = at_a_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    classifier().fit(X, Y, epochs=3)
    assert "epoch 3/3" in sys.stderr.getvalue() and not bars
