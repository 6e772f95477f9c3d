"""Model files: save, load and describe networks, estimators and recommenders.

A file is `nnrec.storage`'s: arrays and JSON, no code, nothing unpickled.  The JSON holds the model
as a tree whose class names are looked up in `CLASSES`, which is closed, and in what the caller
passes; nothing is imported by a name that stands in a file.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from reprlib import repr as short
from typing import Any

import numpy as np

import nnrec
from nnrec import data, estimators, nn, recommend
from nnrec.data.features import Column
from nnrec.data.interactions import Ids, Interactions
from nnrec.recommend import autoencoder, matrix_factorization, neumf, two_tower
from nnrec.storage import JSON, FormatError, pack, read, read_header, unpack, write

Path = str | os.PathLike[str]
Classes = Mapping[str, type] | Iterable[type]

CLASSES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        # layers
        *(nn.Add, nn.Concatenate, nn.Dense, nn.Dot, nn.Dropout, nn.Embedding, nn.LayerNorm),
        *(nn.Multiply, nn.ReLU, nn.Sequential, nn.Sigmoid, nn.Softmax, nn.Tanh),
        # losses, penalties, first values, optimisers and their schedules, networks
        *(nn.BinaryCrossEntropy, nn.CategoricalCrossEntropy, nn.MSE, nn.SigmoidCrossEntropy),
        *(nn.SoftmaxCrossEntropy, nn.L1, nn.L2, nn.Normal),
        *(nn.Adagrad, nn.Adam, nn.AdamW, nn.RMSProp, nn.SGD),
        *(nn.CosineDecay, nn.LinearDecay, nn.Network),
        # cleaning and features
        *(data.Cleaning, data.Categories, data.Clip, data.DropDuplicates, data.DropMissing),
        *(data.DropWhere, data.Fill, data.Features, Column, data.BagOfWords, data.Boolean),
        *(data.Dates, data.Log, data.OneHot, data.Ordinal, data.Robust, data.Standardize),
        *(data.TfIdf, data.Thermometer),
        # estimators
        *(estimators.NeuralClassifier, estimators.NeuralRegressor),
        # recommenders, their logs, models, layers and losses
        *(recommend.Recommender, Ids, Interactions, recommend.Blend, recommend.Popularity),
        *(recommend.ItemKNN, recommend.EASE, recommend.EDLAE, recommend.IALS),
        *(recommend.MatrixFactorization, recommend.NeuMF, recommend.AutoEncoder),
        *(recommend.TwoTower, matrix_factorization.AllItems, matrix_factorization.Factors),
        *(matrix_factorization.AllItemsLoss, neumf.Fusion, autoencoder.Coder),
        *(autoencoder.EvidenceBound, autoencoder.Tied, two_tower.Towers),
    )
}
"""The classes that a model file may name.  A class of nnrec that can be filed is added here."""


def save(
    model: Any, path: Path, *, metrics: Mapping[str, JSON] | None = None, classes: Classes = ()
) -> None:
    """Write a model to one file, whole or not at all; equal models make equal bytes.

    metrics: JSON values that go with it, such as {"test": model.evaluate(X, y)}; `describe` gives
    them back.  classes: those of your own that stand in the model, `[MyLayer]` or {"name": MyLayer}
    (layers, losses, encodings, …, which keep each argument in an attribute of its name).
    TypeError: what a file can't hold, by its path in the model.

    >>> import tempfile
    >>> from nnrec.nn import MSE, Dense, Network
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> network = Network([Dense(2, 1)], MSE(), rng=0)
    >>> save(network, path, metrics={"rmse": 0.5})
    >>> bool((load(path).predict(np.eye(2)) == network.predict(np.eye(2))).all())
    True
    """
    registry = with_own(classes)
    if type(model) not in registry.values():
        name = type(model).__name__
        raise TypeError(f"{name} is no class of nnrec's models; pass your own: classes=[{name}]")
    tree, arrays = pack(model, registry)
    figures, more = pack(dict(metrics or {}), {}, name="metrics")
    if more:
        raise TypeError(f"metrics hold an array, {min(more)}; expected JSON values")
    provenance = {"nnrec": nnrec.__version__, "numpy": np.__version__}
    write(path, arrays, {"model": tree, "metrics": figures, "provenance": provenance})


def load(path: Path, classes: Classes = ()) -> Any:
    """The model of a file, ready to predict, the same bits as the one that was saved.

    classes: as for `save`.  FormatError: a file that is damaged, that holds no model, that names a
    class neither of nnrec nor passed, or whose numbers don't fit the architecture it declares.

    >>> import tempfile
    >>> from nnrec.nn import Dropout
    >>> path = os.path.join(tempfile.mkdtemp(), "layer.safetensors")
    >>> save(Dropout(0.5), path)
    >>> load(path)
    Dropout(0.5)
    """
    registry = with_own(classes)
    arrays, metadata = read(path)
    tree = model_of(path, metadata)
    try:
        check_sizes(tree, arrays, registry)
        return unpack(tree, arrays, registry)
    except FormatError as error:
        raise FormatError(f"{os.fsdecode(path)}: {error}") from error


def describe(path: Path) -> dict[str, Any]:
    """What a model file says of itself, from its header alone: no array is read, no class made.

    Keys: class; arguments, provenance and checkpoint (plain values); metrics; outline (lines);
    parameters (the numbers in θ); arrays (name → dtype and shape); bytes.

    >>> import tempfile
    >>> from nnrec.nn import MSE, Dense, Network
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save(Network([Dense(2, 1)], MSE(), rng=0), path)
    >>> found = describe(path)
    >>> found["class"], found["parameters"], found["arrays"]
    ('Network', 3, {'model.theta': 'float32 (3,)'})
    """
    (entries, metadata), file = read_header(path), os.fsdecode(path)
    tree = model_of(path, metadata)
    metrics = unpack(metadata.get("metrics", {}), {}, {}, f"{file}: metrics")
    if not isinstance(metrics, dict):
        raise FormatError(f"{file}: metrics: {short(metrics)}; expected an object")
    return {
        "class": tree["$object"],
        "arguments": plain(tree.get("arguments")),
        "provenance": plain(metadata.get("provenance")),
        "checkpoint": plain(metadata.get("checkpoint")),
        "metrics": metrics,
        "outline": [*outline(tree)],
        "parameters": sum(math.prod(e.shape) for n, e in entries.items() if n.endswith(".theta")),
        "arrays": {name: f"{entry.dtype} {entry.shape}" for name, entry in entries.items()},
        "bytes": os.path.getsize(path),
    }


def plain(tree: JSON) -> dict[str, JSON]:
    """What stands in a tree as it is."""
    parts = tree.items() if isinstance(tree, dict) else ()
    return {name: part for name, part in parts if not isinstance(part, dict | list)}


def outline(tree: JSON, name: str = "model") -> Iterator[str]:
    """An object of a tree in a line, its arrays left out; below, further in, what it holds."""
    kind, parts = "", dict(enumerate(tree)) if isinstance(tree, list) else tree
    match tree:
        case {"$object": str(kind), "arguments": dict(given), "learned": dict(learned)}:
            parts = given | learned
    texts = {key: json.dumps(part) for key, part in parts.items()}
    here = [k for k, text in texts.items() if not re.search(r'(?<!\\)"\$(?!tuple")\w+":', text)]
    told = ", ".join(f"{key}={shown(parts[key])}" for key in here)
    yield f"{name}: {kind}({told})" if kind else f"{name}: {told}".rstrip()
    for key in (key for key, text in texts.items() if '"$object":' in text):
        yield from (f"  {line}" for line in outline(parts[key], str(key)))


def shown(part: JSON) -> str:
    """A part of a tree as Python writes it, with an end to long ones."""
    values = part.get("$tuple") if isinstance(part, dict) else None
    return short(tuple(values) if isinstance(values, list) else part)


def with_own(classes: Classes) -> dict[str, type]:
    """The registry with the caller's classes; a name of nnrec's own can't be taken."""
    pairs = classes.items() if isinstance(classes, Mapping) else ((c.__name__, c) for c in classes)
    own = dict(pairs)
    for name, cls in own.items():
        if not isinstance(cls, type):
            raise TypeError(f"classes: {name!r} is {cls!r}, expected a class")
        if CLASSES.get(name, cls) is not cls:
            raise ValueError(f"classes: {name!r} is a class of nnrec; pass yours by another name")
    return CLASSES | own


def model_of(path: Path, metadata: Mapping[str, JSON]) -> dict[str, JSON]:
    """The tree of a file's model."""
    tree = metadata.get("model")
    if not isinstance(tree, dict) or not isinstance(tree.get("$object"), str):
        raise FormatError(f"{os.fsdecode(path)}: no model; expected a file of nnrec.save")
    return tree


def check_sizes(
    tree: JSON, arrays: Mapping[str, Any], registry: Mapping[str, type], path: str = "model"
) -> None:
    """Refuse a network whose layers declare other numbers of parameters than its θ has.

    Before any θ is drawn, which would allocate what the layers declare.
    """
    if not isinstance(tree, dict | list):
        return
    for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
        check_sizes(part, arrays, registry, f"{path}.{key}")
    name = tree.get("$object") if isinstance(tree, dict) else None
    match tree:
        case {"arguments": {"layer": layer}, "learned": {"theta": {"$array": str(theta)}}}:
            found = getattr(arrays.get(theta), "shape", None)
            size = getattr(unpack(layer, arrays, registry, f"{path}.layer"), "size", None)
            if found != (size,):
                raise FormatError(f"{path}: θ of shape {found}; expected ({size},) for its layers")
        case _ if isinstance(name, str) and issubclass(registry.get(name, int), nn.Network):
            raise FormatError(f"{path}: {name} without its layer or θ")
