"""Model files: round trips of everything that can stand in one, and what a reader refuses.

`python tests/test_files.py` writes the golden files that don't exist yet.
"""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import nnrec
from nnrec import data, nn, storage
from nnrec.cli import main
from nnrec.data import Cleaning, Features, Table
from nnrec.data.features import Column
from nnrec.data.rules import CellRule, RowRule
from nnrec.estimators import NeuralClassifier, NeuralRegressor
from nnrec.files import CLASSES, describe, load, save
from nnrec.nn import Dense, Network
from nnrec.storage import FormatError
from nnrec.teach import specimens

GOLDEN = Path(__file__).parent / "golden"

SCHEDULES = [nn.LinearDecay(0.1, 7), nn.CosineDecay(0.1, 7, 0.01)]
OBJECTS = [
    *(nn.Add(), nn.Concatenate(), nn.Dot(), nn.Multiply()),
    *(nn.ReLU(), nn.Sigmoid(), nn.Softmax(), nn.Tanh(), nn.Dropout(0.3), nn.LayerNorm(3, 1e-3)),
    *(Dense(2, 3, "he", data_gradient=False), nn.Embedding(5, 2, nn.Normal(0.25))),
    nn.Sequential([Dense(2, 3), nn.Sequential([nn.ReLU(), Dense(3, 1)])]),
    *(nn.MSE(mean=True), nn.BinaryCrossEntropy(), nn.CategoricalCrossEntropy()),
    *(nn.SigmoidCrossEntropy(), nn.SoftmaxCrossEntropy(), nn.L1(0.1), nn.L2(0.2), nn.Normal(0.1)),
    *(nn.SGD(0.1, momentum=0.5, nesterov=True), nn.Adagrad(0.2), nn.RMSProp(0.3, rho=0.5)),
    *(nn.Adam({"user.*": 0.1, "*": 0.2}, clip_norm=1.0), nn.AdamW(SCHEDULES[0], weight_decay=0.5)),
    *SCHEDULES,
]


class Siamese(specimens.Siamese):
    """A layer of one's own, with arguments of its own."""

    def __init__(self, inputs: int, dim: int):
        super().__init__(Dense(inputs, dim))
        self.inputs, self.dim = inputs, dim


def network() -> Network:
    """Small, trained, float32."""
    x = np.random.default_rng(0).normal(0, 1, (31, 3))
    layers = [Dense(3, 5, "he"), nn.ReLU(), nn.Dropout(0.2), Dense(5, 1)]
    net = Network(layers, nn.MSE(), rng=1, penalty=nn.L2(1e-3), frozen=["dense_1.b"])
    net.fit(x, x[:, 0] * x[:, 1], epochs=3, verbose=0)
    return net


def visits(n: int = 53) -> tuple[Table, np.ndarray]:
    rng = np.random.default_rng(2)
    day = np.datetime64("2024-02-28T13:00", "us") + rng.integers(0, 90, n) * np.timedelta64(1, "D")
    price = np.where(rng.random(n) < 0.2, np.nan, rng.gamma(2, 30, n))
    columns = {
        "day": day,
        "price": price,
        "pages": rng.poisson(3, n),
        "returning": rng.random(n) < 0.5,
        "page": rng.choice(["首页", "cart", "Ünder"], n).astype(object),
        "search": rng.choice(["red dress", "very red hat", "运动鞋 red"], n).astype(object),
    }
    return Table(columns), np.where(rng.random(n) < 0.4, "买", "不")


def estimator() -> NeuralClassifier:
    """Everything that an estimator may hold."""
    encodings = {
        "price": [data.Log(clip=5.0), data.Thermometer(3), data.Robust()],
        "pages": [data.OneHot(), data.Standardize()],
        "page": data.Ordinal(["cart", "首页"]),
        "search": [data.TfIdf(), data.BagOfWords()],
        "returning": data.Boolean(),
    }
    rules = [
        data.DropDuplicates(),
        data.DropMissing("day"),
        data.DropWhere("pages", ">", 100),
        data.Categories("page", ["首页", "cart"]),
        data.Clip("pages", iqr=3.0),
        data.Fill("price"),
    ]
    return NeuralClassifier(
        hidden=(3,),
        epochs=2,
        ensemble=2,
        optimizer=nn.AdamW(0.01),
        class_weight={"买": 2.0, "不": 1.0},
        threshold="f1",
        validation_split=0.2,
        cleaning=Cleaning(rules),
        features=Features(encodings),
        random_state=0,
    ).fit(*visits())


@pytest.mark.parametrize("given", OBJECTS, ids=repr)
def test_every_class_of_nn_comes_back(given, tmp_path: Path) -> None:
    save(given, tmp_path / "one")
    found = load(tmp_path / "one")
    assert type(found) is type(given) and repr(found) == repr(given)


def concrete(module, kinds) -> set[type]:
    classes = {cls for cls in vars(module).values() if isinstance(cls, type)}
    return {cls for cls in classes if issubclass(cls, kinds) and cls not in kinds}


def test_registry_is_complete() -> None:
    kinds = (nn.Layer, nn.Loss, nn.L1.__base__, nn.Optimizer, nn.LinearDecay, nn.Composite)
    in_nn = concrete(nn, kinds) | {*(nn.LinearDecay, nn.Normal, Network)}
    assert in_nn - {Network} == {type(given) for given in OBJECTS}
    in_data = concrete(data, (data.Encoding, RowRule, CellRule)) | {Cleaning, Features, Column}
    assert in_nn | in_data | {NeuralClassifier, NeuralRegressor} <= set(CLASSES.values())
    assert all(name == cls.__name__ for name, cls in CLASSES.items())


def test_network_comes_back_bit_for_bit_and_goes_on_training_so(tmp_path: Path) -> None:
    net, x = network(), np.random.default_rng(3).normal(0, 1, (17, 3))
    save(net, tmp_path / "net")
    found = load(tmp_path / "net")
    np.testing.assert_array_equal(found.predict(x), net.predict(x))
    assert found.summary() == net.summary() and found.frozen == ["dense_1.b"]
    for one in (net, found):
        one.fit(x, x[:, 0], epochs=2, verbose=0)
    np.testing.assert_array_equal(found.theta, net.theta)


def test_estimator_comes_back_with_all_that_it_learned(tmp_path: Path) -> None:
    fitted, (table, y) = estimator(), visits()
    save(fitted, tmp_path / "model")
    found = load(tmp_path / "model")
    for method in ("predict", "predict_proba"):
        np.testing.assert_array_equal(getattr(found, method)(table), getattr(fitted, method)(table))
    assert str(found.features_) == str(fitted.features_)
    assert found.get_params().keys() == fitted.get_params().keys()
    assert repr(found.features) == repr(fitted.features)
    assert repr(found.optimizer) == repr(fitted.optimizer)
    assert str(found.cleaning.rules) == str(fitted.cleaning.rules)
    assert found.threshold_ == fitted.threshold_ and found.evaluate(table, y)["roc_auc"] > 0
    row = {name: [None] for name in table.names} | {"returning": [True]}
    np.testing.assert_array_equal(found.predict_proba(row), fitted.predict_proba(row))
    np.testing.assert_array_equal(
        found.fit(table, y).predict_proba(table), fitted.predict_proba(table)
    )


def test_estimators_of_arrays_and_unfitted_ones_come_back(tmp_path: Path) -> None:
    X = np.random.default_rng(4).normal(0, 1, (23, 2))
    for model, y in (
        (NeuralRegressor((2,), epochs=1), X),
        (NeuralRegressor((2,), epochs=1), X[:, 0]),
        (NeuralClassifier((2,), epochs=1, random_state=np.random.default_rng(5)), X[:, 0] > 0),
        (NeuralClassifier((), epochs=1), np.arange(23) % 3),
    ):
        save(model, tmp_path / "unfitted")
        with pytest.raises(ValueError, match="not fitted"):
            load(tmp_path / "unfitted").predict(X)
        save(model.fit(X, y), tmp_path / "model")
        found = load(tmp_path / "model")
        np.testing.assert_array_equal(found.predict(X), model.predict(X))
        assert found.predict(X).dtype == model.predict(X).dtype


def test_another_process_predicts_the_same_bits(tmp_path: Path, python) -> None:
    fitted, (table, _) = estimator(), visits()
    save(fitted, tmp_path / "model")
    np.save(tmp_path / "p.npy", fitted.predict_proba(table))
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, nnrec
from test_files import visits
p = nnrec.load({str(tmp_path / "model")!r}).predict_proba(visits()[0])
print((p == np.load({str(tmp_path / "p.npy")!r})).all())
"""
    assert python("-c", code).split() == ["True"]


def test_equal_models_make_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(estimator(), tmp_path / name, metrics={"auc": 0.75})
    save(load(tmp_path / "one"), tmp_path / "three", metrics={"auc": 0.75})
    one = (tmp_path / "one").read_bytes()
    assert one == (tmp_path / "two").read_bytes() == (tmp_path / "three").read_bytes()


@pytest.mark.parametrize("classes", [[Siamese], {"Siamese": Siamese}, {"twins": Siamese}])
def test_own_classes_are_passed(classes, tmp_path: Path) -> None:
    net = Network(Siamese(3, 2), nn.MSE(), rng=0)
    a, b = np.random.default_rng(6).normal(0, 1, (2, 7, 3))
    path = tmp_path / "net"
    with pytest.raises(TypeError, match="model.layer is a Siamese, .* must be passed: classes="):
        save(net, path)
    save(net, path, classes=classes)
    with pytest.raises(FormatError, match="net: model.layer: the class '(Siamese|twins)'; expect"):
        load(path)
    found = load(path, classes)
    np.testing.assert_array_equal(found.predict((a, b)), net.predict((a, b)))
    np.testing.assert_array_equal(found.theta, net.theta)


def test_a_name_of_nnrec_cannot_be_taken(tmp_path: Path) -> None:
    class Dense(nn.Layer):
        pass

    save(nn.Dense(2, 3), tmp_path / "one")
    with pytest.raises(ValueError, match="'Dense' is a class of nnrec; pass yours by another"):
        load(tmp_path / "one", [Dense])
    with pytest.raises(TypeError, match="'f' is .*, expected a class"):
        load(tmp_path / "one", {"f": lambda: None})
    assert load(tmp_path / "one", [nn.Dense]).outputs == 3


@pytest.mark.parametrize("given", [5, None, [], {"a": 1}, np.zeros(3), object()])
def test_what_is_no_model_is_not_saved(given, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="is no class of nnrec's models"):
        save(given, tmp_path / "one")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_filed_is_named(tmp_path: Path) -> None:
    net = Network([Dense(2, 1, lambda rng, shape: np.zeros(shape))], nn.MSE(), rng=0)
    with pytest.raises(TypeError, match=r"model.layer.layers\[0\].initializer is a function"):
        save(net, tmp_path / "one")
    with pytest.raises(TypeError, match="metrics hold an array, metrics.auc"):
        save(nn.ReLU(), tmp_path / "one", metrics={"auc": np.zeros(2)})


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other"
    for tree in (None, 5, {}, {"$object": 5}, [1]):
        storage.write(path, {"W": np.eye(2)}, {} if tree is None else {"model": tree})
        for reader in (load, describe):
            with pytest.raises(FormatError, match="other: no model; expected a file of nnrec.save"):
                reader(path)
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(FormatError):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net"
    save(network(), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            load(path)


def changed(path: Path, change) -> None:
    """Rewrite a model file with its tree or arrays changed."""
    arrays, metadata = storage.read(path)
    change(metadata["model"], arrays)
    storage.write(path, arrays, metadata)


def first_layer(tree) -> dict:
    return tree["arguments"]["layer"]["arguments"]["layers"][0]["arguments"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree, arrays: first_layer(tree).update(outputs=7), "θ of shape .26,.; expected"),
        (lambda tree, arrays: arrays.update({"model.theta": np.zeros((26, 1), "f4")}), "θ of sha"),
        (lambda tree, arrays: arrays.update({"model.theta": np.zeros(26)}), "float64"),
        (lambda tree, arrays: arrays.update({"more": np.zeros(2)}), None),
        (lambda tree, arrays: arrays.pop("model.theta"), "θ of shape None"),
        (lambda tree, arrays: tree["learned"].pop("theta"), "Network without its layer or θ"),
        (lambda tree, arrays: tree["arguments"].update(layer=5), "expected .None,. for its"),
        (lambda tree, arrays: tree["arguments"].update(loss=5), "loss=5"),
        (lambda tree, arrays: tree["arguments"].update(dtype="float16"), "dtype='float16'"),
        (lambda tree, arrays: tree["arguments"].update(theta=5), "'theta'; expected what a Netw"),
        (lambda tree, arrays: tree.update({"$object": "eval"}), "the class 'eval'; expected one"),
        (lambda tree, arrays: first_layer(tree).update(inputs=-1), "inputs=-1"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(change, message, tmp_path: Path) -> None:
    path = tmp_path / "net"
    save(network(), path)
    changed(path, change)
    if message is None:  # harmless: it is not read, or fails where it is used
        load(path)
        return
    with pytest.raises(FormatError, match=f"net: .*{message}"):
        load(path)


def test_declared_sizes_are_checked_before_anything_is_allocated(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save(estimator(), path)

    def huge(tree, arrays) -> None:
        (layers, _) = (one["arguments"]["layer"] for one in tree["learned"]["networks_"])
        layers["arguments"]["layers"][0]["arguments"]["outputs"] = 10**6

    changed(path, huge)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="θ of shape"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def test_describe_reads_no_array_and_makes_no_class(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "model"
    figures = {"test": {"auc": 0.875, "ap": float("nan")}, "rows": 53, "note": "好"}
    save(estimator(), path, metrics=figures)
    monkeypatch.setattr("nnrec.files.read", None)
    monkeypatch.setattr("nnrec.files.CLASSES", {})
    found = describe(path)
    assert found["class"] == "NeuralClassifier" and found["bytes"] == path.stat().st_size
    assert found["arguments"]["threshold"] == "f1" and found["arguments"]["epochs"] == 2
    assert str(found["metrics"]) == str(figures)
    assert found["provenance"]["numpy"] == np.__version__
    theta = estimator().networks_[0].theta
    assert found["parameters"] == 2 * theta.size
    assert found["arrays"]["model.networks_.0.theta"] == f"float64 ({theta.size},)"


def test_inspect_tells_of_every_kind_of_file_and_reads_no_array(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def inspected(path: Path) -> list[str]:
        assert main(["inspect", str(path)]) == 0
        return capsys.readouterr().out.splitlines()

    path = tmp_path / "one"
    save(network(), path, metrics={"rmse": 0.5, "test": {"n": 53, "auc": None, "bad \x1b": 1}})
    with path.open("r+b") as file:  # 64 GiB more, of holes
        raw = file.read()
        start = 8 + int.from_bytes(raw[:8], "little")
        more = b'{"zeros":{"dtype":"F32","shape":[17179869184],"data_offsets":[104,68719476840]},'
        header = raw[8:start].rstrip().replace(b"{", more, 1)
        file.seek(0)
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 104 + 2**36)
    lines = inspected(path)
    assert lines[0] == f"Network, {path.stat().st_size:,} bytes, 26 parameters"
    assert lines[1] == f"written by: nnrec {nnrec.__version__}, numpy {np.__version__}"
    assert lines[2:4] == ["rmse: 0.5", "test: n 53, auc None, bad \N{REPLACEMENT CHARACTER} 1"]
    assert lines[4].startswith("model: Network(rng=1, dtype='float32', frozen=['dense_1.b'], ent")
    assert lines[5:7] == ["  layer: Sequential()", "    layers:"]
    assert lines[7].startswith("      0: Dense(inputs=3, outputs=5, initializer='he', ")
    assert lines[-3:] == [
        *("    0: L2(strength=0.001)", "zeros: float32 (17179869184,)"),
        "model.theta: float32 (26,)",
    ]
    save(Network(Siamese(3, 2), nn.MSE(), rng=0), path, classes=[Siamese])
    assert "  layer: Siamese(inputs=3, dim=2)" in inspected(path)
    x = np.eye(3)
    for layers in ([Dense(6, 1)], Siamese(3, 2)):
        data = np.ones((3, 6)) if isinstance(layers, list) else (x, x)
        checkpoint = nnrec.Checkpoint(path, resume=False)
        Network(layers, nn.MSE(), rng=0).fit(data, [1, 2, 3], callbacks=[checkpoint], verbose=0)
        lines = inspected(path)
        assert lines[0].startswith("Network, ") and lines[-1].startswith("model.theta: ")
        assert lines[2].startswith("checkpoint: epoch 1, step 1, stop False, ")


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("metrics", 5, "one: metrics: 5; expected an object$"),
        ("metrics", {"$tuple": [1]}, r"one: metrics: \(1,\); expected an object$"),
        ("metrics", {"a": {"$eval": 1}}, "one: metrics.a: .*; expected one of the kinds"),
        ("provenance", [5], None),
        ("checkpoint", 5, None),
        ("model", {"$object": "X", "arguments": {"a": {"$tuple": 5}}, "learned": {}}, None),
        ("model", {"$object": "X"}, None),
        ("model", {"$object": "X", "arguments": 5, "learned": [5]}, None),
        ("model", {"$object": "X", "arguments": {"a": [{"$object": 5}]}, "learned": {}}, None),
    ],
)
def test_describe_stands_what_save_does_not_write(part, value, message, tmp_path: Path) -> None:
    metadata = {"model": {"$object": "X"}, "metrics": {}} | {part: value}
    storage.write(tmp_path / "one", {}, metadata)
    if message is None:
        found = describe(tmp_path / "one")
        assert found["class"] == "X" and found["provenance"] == found["checkpoint"] == {}
        assert found["outline"][0].startswith("model: ")
    else:
        with pytest.raises(FormatError, match=message):
            describe(tmp_path / "one")


def test_an_outline_tells_of_names_that_begin_with_a_dollar(tmp_path: Path) -> None:
    names = ["$price", 'a "$b":', "plain"]
    columns = {name: np.arange(31.0) ** i for i, name in enumerate(names)}
    save(Features().fit(Table(columns)), tmp_path / "one")
    text = "\n".join(describe(tmp_path / "one")["outline"])
    assert all(f"name={name!r}, sources={[name]!r}" in text for name in names)


def test_describe_is_plain_json(tmp_path: Path) -> None:
    save(network(), tmp_path / "net")
    assert json.loads(json.dumps(describe(tmp_path / "net")))["metrics"] == {}


def expected() -> dict[str, list[float]]:
    return json.loads((GOLDEN / "models-1.json").read_text(encoding="utf-8"))


def outputs(model) -> list[float]:
    if isinstance(model, Network):
        return model.predict(np.arange(6.0).reshape(2, 3) / 8).ravel().tolist()
    return model.predict_proba(visits(5)[0])[:, 1].tolist()


@pytest.mark.parametrize("name", ["network", "classifier"])
def test_golden_file_predicts_what_it_did(name: str) -> None:
    model = load(GOLDEN / f"{name}-1.safetensors")
    np.testing.assert_allclose(outputs(model), expected()[name], rtol=1e-5)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, model in {"network": network(), "classifier": estimator()}.items():
        path = GOLDEN / f"{name}-1.safetensors"
        if not path.exists():
            save(model, path, metrics={"made by": "tests/test_files.py"})
    found = {p.stem[:-2]: outputs(load(p)) for p in GOLDEN.glob("*[kr]-1.safetensors")}
    (GOLDEN / "models-1.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
