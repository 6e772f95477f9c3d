"""Objects: a tree of JSON and named arrays, and back, through a closed mapping of classes.

An object that can stand in a file keeps each argument of its constructor in an attribute of the
same name, and lists what it has learned in `learned`; it has no code of its own for files.
What JSON can't say is an object of JSON with a key that begins with `$`: docs/file-format.md.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping
from reprlib import repr as short
from typing import Any

import numpy as np

from nnrec.storage.layout import CODES, CONTROL, JSON, Array, FormatError, little, utf8

LEVELS = 64  # of objects in objects; each is at most two levels of JSON
LONG = 256  # a longer list or dict becomes arrays where it can, to keep headers small
_TIME = re.compile(r"(datetime64|timedelta64)\[(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]")
_CSR = ("data", "indices", "indptr")
_SEED = ("entropy", "spawn_key", "n_children_spawned")


def pack(
    obj: object, classes: Mapping[str, type], name: str = "model"
) -> tuple[JSON, dict[str, Array]]:
    """An object as a tree of JSON and named arrays, for `write`; `unpack` makes an equal one.

    It may hold None, bool, int, float, str, bytes, lists, tuples, dicts (their order is kept),
    arrays and scalars of NumPy (numbers, bool, times, str; object arrays of str and None), dtypes,
    Generators of PCG64, CSR matrices, and objects of `classes`: of these, the attributes named as
    the constructor's arguments (`*args` and `**kwargs` too), and of `learned` those that are set.
    Numbers keep every bit; arrays are not copied; what is met twice is stored twice.
    TypeError: anything else, by its path, which begins with `name`.

    >>> pack({"size": (2, 3), "b": np.zeros(2)}, {})
    ({'size': {'$tuple': [2, 3]}, 'b': {'$array': 'model.b'}}, {'model.b': array([0., 0.])})
    """
    packer = _Packer(classes)
    return packer.tree(obj, name), packer.arrays


class _Packer:
    def __init__(self, classes: Mapping[str, type]):
        self.names = {cls: name for name, cls in classes.items()}
        self.arrays: dict[str, Array] = {}

    def tree(self, value: Any, path: str, level: int = 0) -> JSON:
        if level > LEVELS:
            raise ValueError(f"{path[:80]}…: more than {LEVELS} levels; does it hold itself?")
        kind, sparse = type(value), sys.modules.get("scipy.sparse")
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"$float": str(value)}
        if kind is bytes:
            return {"$bytes": value.hex()}
        if kind is list:
            return self.sequence(value, path, level + 1)
        if kind is tuple:
            return {"$tuple": self.sequence([*value], path, level + 1)}
        if kind is dict:
            return self.mapping(value, path, level + 1)
        if kind in (np.ndarray, np.memmap):
            return self.array(value, path)
        if isinstance(value, np.generic):
            return {"$scalar": self.array(np.array(value), path)}
        if isinstance(value, np.dtype) or kind is type and issubclass(value, np.generic):
            if np.dtype(value).itemsize:  # str without a width would come back with one
                return {"$dtype": self.array(np.empty(0, value), path)}
        if kind is np.random.Generator:
            return self.generator(value, path)
        if sparse and kind in (sparse.csr_array, sparse.csr_matrix) and value.ndim == 2:
            parts = {part: self.put(getattr(value, part), f"{path}.{part}") for part in _CSR}
            return {"$csr": kind.__name__, "shape": [*map(int, value.shape)], **parts}
        return self.instance(value, path, level + 1)

    def put(self, array: Array, path: str) -> str:
        """Keep an array, under a name of its own."""
        name = CONTROL.sub("_", path.replace("[", ".").replace("]", ""))
        while name in self.arrays:
            name += "'"
        self.arrays[name] = array
        return name

    def array(self, array: Array, path: str) -> JSON:
        dtype = little(array.dtype)
        if dtype in CODES:
            return {"$array": self.put(array, path)}
        array = array.astype(dtype, copy=False)
        if _TIME.fullmatch(dtype.name):
            return {"$time": self.put(array.view("<i8"), path), "dtype": dtype.name}
        if dtype.kind == "U":  # UTF-32, as in memory: no loop over rows, and no file can ask for
            codes = array.ravel().view("<u4")  # more memory than it has bytes
            codes = codes.reshape(*array.shape, dtype.itemsize // 4)
            _strings(codes, path)
            return {"$str": self.put(codes, path)}
        if dtype.kind == "O":
            return self.texts(array, path)
        raise TypeError(f"{path} is an array of {array.dtype}, which a file can't hold")

    def texts(self, array: Array, path: str) -> JSON:
        raw = []
        for text in array.ravel().tolist():
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{path} holds {text!r}; expected str and None in an object array")
            raw.append(None if text is None else utf8(text, path))
        lengths = np.array([-1 if part is None else len(part) for part in raw], "i8")
        joined = np.frombuffer(b"".join(part for part in raw if part), "u1")
        return {
            "$text": self.put(joined, f"{path}.utf8"),
            "lengths": self.put(lengths.reshape(array.shape), f"{path}.lengths"),
        }

    def sequence(self, values: list[Any], path: str, level: int) -> JSON:
        if len(values) > LONG and (column := _column(values)) is not None:
            return {"$list": self.array(column, path)}
        return [self.tree(value, f"{path}[{i}]", level) for i, value in enumerate(values)]

    def mapping(self, found: dict[Any, Any], path: str, level: int) -> JSON:
        if len(found) <= LONG and all(type(k) is str and not k.startswith("$") for k in found):
            return {key: self.tree(value, f"{path}.{key}", level) for key, value in found.items()}
        keys = self.sequence([*found], f"{path}.keys", level)
        return {"$dict": keys, "values": self.sequence([*found.values()], f"{path}.values", level)}

    def generator(self, rng: np.random.Generator, path: str) -> JSON:
        bits = rng.bit_generator
        seed: Any = bits.seed_seq
        kinds = (type(bits), type(seed))
        if kinds != (np.random.PCG64, np.random.SeedSequence) or seed.pool_size != 4:
            raise TypeError(f"{path}: {rng}, not as numpy.random.default_rng makes one")
        parts = {part: self.tree(getattr(seed, part), f"{path}.{part}") for part in _SEED}
        return {"$rng": bits.state, **parts}

    def instance(self, found: Any, path: str, level: int) -> JSON:
        cls, kind = type(found), type(found).__qualname__
        if cls not in self.names:
            raise TypeError(
                f"{path} is a {kind}, which can't stand in a file; a class of your own "
                f"must be passed: classes={{{cls.__name__!r}: {cls.__name__}}}"
            )
        given = [*inspect.signature(cls).parameters]
        for part in given:
            if not hasattr(found, part):
                raise TypeError(f"{path}: {kind} keeps no attribute {part!r} for its argument")
        learned = [part for part in _learned(cls) if hasattr(found, part)]

        def trees(parts: list[str]) -> JSON:
            return {p: self.tree(getattr(found, p), f"{path}.{p}", level) for p in parts}

        return {"$object": self.names[cls], "arguments": trees(given), "learned": trees(learned)}


def _column(values: list[Any]) -> Array | None:
    """Values of one kind as an array that keeps every bit of them, if there is one."""
    kinds = {*map(type, values)}
    if kinds <= {str, type(None)}:
        return np.array(values, dtype=object)
    whole = kinds == {int} and -(2**63) <= min(values) and max(values) < 2**63
    if whole or kinds == {bool} or kinds == {float}:
        return np.array(values)
    return None


def unpack(
    tree: JSON, arrays: Mapping[str, Array], classes: Mapping[str, type], name: str = "model"
) -> Any:
    """The object that `pack` made `tree` and `arrays` of; arrays are taken over, not copied.

    Of a class only the constructor is called, and the attributes in its `learned` are set, arrays
    in the shape and dtype of what the constructor made, if it did. An argument that the file lacks
    takes its default. Nothing is imported by name. FormatError: anything that `pack`
    can't have written, by its path, and a class that is not in `classes`.

    >>> unpack([{"$tuple": [2, 3]}, {"$array": "model[1]"}], {"model[1]": np.ones(2)}, {})
    [(2, 3), array([1., 1.])]
    """
    return _Unpacker(arrays, classes).build(tree, name)


class _Unpacker:
    def __init__(self, arrays: Mapping[str, Array], classes: Mapping[str, type]):
        self.arrays = dict(arrays)
        self.classes = classes

    def build(self, node: JSON, path: str, level: int = 0) -> Any:
        if level > LEVELS:
            raise FormatError(f"{path[:80]}…: more than {LEVELS} levels")
        if isinstance(node, list):
            return [self.build(part, f"{path}[{i}]", level + 1) for i, part in enumerate(node)]
        if not isinstance(node, dict):
            return node
        if not any(key.startswith("$") for key in node):
            return {key: self.build(v, f"{path}.{key:.40}", level + 1) for key, v in node.items()}
        try:
            return self.special(node, path, level)
        except FormatError:
            raise
        except Exception as error:  # of a constructor, or of NumPy
            raise FormatError(f"{path}: {short(node)}: {error}") from error

    def special(self, node: dict[str, JSON], path: str, level: int) -> Any:
        match sorted(node.items()):
            case [("$float", "nan" | "inf" | "-inf" as text)]:
                return float(text)
            case [("$bytes", str(text))]:
                return bytes.fromhex(text)
            case [("$tuple", part)]:
                return tuple(self.items(part, path, level))
            case [("$list", {"$array": _} | {"$text": _} as part)]:
                return self.array(part, path, level, ndim=1).tolist()
            case [("$dict", keys), ("values", values)]:
                return self.mapping(keys, values, path, level)
            case [("$scalar", part)]:
                return self.array(part, path, level, ndim=0)[()]
            case [("$dtype", part)]:
                return self.array(part, path, level, ndim=1).dtype
            case [("$array", str(name))]:
                return self.take(name)
            case [("$str", str(name))]:
                return _strings(self.take(name, "<u4"), path)
            case [("$text", str(name)), ("lengths", str(lengths))]:
                return _texts(self.take(name, "u1"), self.take(lengths, "<i8"))
            case [("$time", str(name)), ("dtype", str(dtype))] if _TIME.fullmatch(dtype):
                return self.take(name, "<i8").view(dtype)
            case [("$csr", str(kind)), *parts, ("shape", [int(rows), int(columns)])]:
                named = {part: self.take(array) for part, array in parts}
                return _csr(kind, (rows, columns), **named)
            case [("$rng", dict(state)), *parts] if tuple(dict(parts)) == tuple(sorted(_SEED)):
                seed = {part: self.build(value, path, level) for part, value in parts}
                bits: Any = np.random.PCG64(np.random.SeedSequence(**seed))
                bits.state = state
                return np.random.Generator(bits)
            case [("$object", str(name)), ("arguments", dict(given)), ("learned", dict(learned))]:
                return self.instance(name, given, learned, path, level + 1)
        raise FormatError(f"{path}: {short(node)}; expected one of the kinds of the format")

    def items(self, node: JSON, path: str, level: int) -> list[Any]:
        found = self.build(node, path, level)
        if not isinstance(found, list):
            raise FormatError(f"{path}: {short(node)}; expected a list")
        return found

    def array(self, node: JSON, path: str, level: int, ndim: int) -> Array:
        found = self.build(node, path, level)
        if not isinstance(found, np.ndarray) or found.ndim != ndim:
            raise FormatError(f"{path}: {short(node)}; expected an array of {ndim} dimensions")
        return found

    def take(self, name: str, dtype: str = "") -> Array:
        """An array of the file, once: two parts of an object never share memory."""
        if name not in self.arrays:
            raise ValueError(f"the array {short(name)} is not in the file, or stands there twice")
        array = self.arrays.pop(name)
        if dtype and array.dtype != np.dtype(dtype):
            raise ValueError(f"the array {short(name)} of {array.dtype}; expected {dtype}")
        return array

    def mapping(self, keys: JSON, values: JSON, path: str, level: int) -> dict[Any, Any]:
        names = self.items(keys, f"{path}.keys", level)
        found = dict(zip(names, self.items(values, f"{path}.values", level), strict=True))
        if len(found) != len(names):
            raise ValueError("a key twice")
        return found

    def instance(
        self, name: str, given: dict[str, JSON], learned: dict[str, JSON], path: str, level: int
    ) -> Any:
        if name not in self.classes:
            raise FormatError(
                f"{path}: the class {short(name)}; expected one of {', '.join(self.classes)}. "
                f"A class of your own must be passed: classes={{{short(name)}: …}}"
            )
        cls = self.classes[name]
        signature = inspect.signature(cls)
        foreign = (given.keys() - signature.parameters) | (learned.keys() - {*_learned(cls)})
        if foreign:
            raise FormatError(f"{path}: {short(min(foreign))}; expected what a {name} has")
        values = {part: self.build(node, f"{path}.{part}", level) for part, node in given.items()}
        bound = inspect.BoundArguments(signature, OrderedDict(values))
        found = cls(*bound.args, **bound.kwargs)
        for part, node in learned.items():
            value, made = self.build(node, f"{path}.{part}", level), getattr(found, part, None)
            if isinstance(made, np.ndarray) and _kind(made) != _kind(value):
                raise FormatError(f"{path}.{part}: {_kind(value)}; expected {_kind(made)}")
            setattr(found, part, value)
        return found


def _learned(cls: type) -> tuple[str, ...]:
    return getattr(cls, "learned", ())


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and {value.dtype}"
    return type(value).__name__


def _strings(codes: Array, path: str) -> Array:
    if codes.ndim == 0 or codes.shape[-1] == 0:
        raise ValueError(f"{path}: a str array without characters; expected one at least")
    if ((codes > 0x10FFFF) | (codes >> 11 == 0xD800 >> 11)).any():
        raise ValueError(f"{path}: a number that is no character; expected UTF-32")
    return codes.view(f"<U{codes.shape[-1]}").reshape(codes.shape[:-1])


def _texts(raw: Array, lengths: Array) -> Array:
    if lengths.min(initial=0) < -1 or lengths.max(initial=0) > raw.size:
        raise ValueError("a length of a text that its bytes don't have")
    ends = np.maximum(lengths, 0).ravel().cumsum()
    if raw.ndim != 1 or (ends[-1] if ends.size else 0) != raw.size:
        raise ValueError(f"texts of other lengths than the {raw.size} bytes they have")
    joined = raw.tobytes()
    texts = np.empty(lengths.size, dtype=object)
    for i, (length, end) in enumerate(zip(lengths.ravel().tolist(), ends.tolist())):
        texts[i] = None if length < 0 else joined[end - length : end].decode()
    return texts.reshape(lengths.shape)


def _csr(kind: str, shape: tuple[int, int], data: Array, indices: Array, indptr: Array) -> Any:
    """A CSR matrix, after the checks that SciPy leaves to its compiled code's memory."""
    import scipy.sparse

    rows, columns = shape
    right = (
        kind in ("csr_array", "csr_matrix")
        and data.ndim == indices.ndim == indptr.ndim == 1
        and {type(rows), type(columns)} == {int}
        and {indices.dtype, indptr.dtype} <= {np.dtype("<i4"), np.dtype("<i8")}
        and indptr.size == rows + 1 > 0
        and indptr[0] == 0
        and bool((indptr[:-1] <= indptr[1:]).all())
        and indptr[-1] == indices.size == data.size
        and indices.min(initial=0) >= 0
        and indices.max(initial=-1) < columns
    )
    if not right:
        raise ValueError("parts that make no CSR matrix")
    return getattr(scipy.sparse, kind)((data, indices, indptr), shape=shape)
