"""What a checkpoint refuses: another training, by the name of what differs, and other files."""

from __future__ import annotations

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
    Checkpoint,
    CosineDecay,
    Dense,
    Dropout,
    FormatError,
    Network,
    NeuralClassifier,
    Recommender,
    storage,
)
from nnrec.recommend import EASE, NeuMF
from tests.kills import LOG, After, Stop, X, Y, dense, source, state_of


class Keep:
    def on_start(self, run):
        self.network = run.network


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


def test_a_build_that_is_none_is_a_warning_too(tmp_path: Path) -> None:
    source([Checkpoint(tmp_path / "run")])
    arrays, metadata = storage.read(tmp_path / "run")
    storage.write(tmp_path / "run", arrays, metadata | {"provenance": [5]})
    with pytest.warns(UserWarning, match="last bits may .* and None there"):
        source([Checkpoint(tmp_path / "run")])


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
        (lambda s, a, m: s["optimizer"].update(row_steps={"x": {"$array": "i"}}), "rows"),
        (lambda s, a, m: s["optimizer"].update(row_steps={"0": {"$array": "i"}}), "rows"),
        (lambda s, a, m: s["optimizer"].update(steps=-1), "counts"),
        (lambda s, a, m: s.update(epoch=-1), "counts"),
        (lambda s, a, m: s.update(step=-1), "counts"),
        (lambda s, a, m: s.update(batches=-1), "counts"),
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
    arrays["i"] = np.zeros(3, int)
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
