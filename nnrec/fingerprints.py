"""Fingerprints: what a training depends on, part by part as text, so that a difference has a name.

Numbers stand as they are printed, arrays and long lists as their hash; an object is its attributes,
a function its code and what it closes over.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

import nnrec

PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)
LONG = 64  # parts that are told apart by name; more are compared as a whole
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def leaves(value: Any, path: str, within: tuple[int, ...] = ()) -> Iterator[tuple[str, str]]:
    """Each part of a value that has none itself: its path, and a text that is equal for equals.

    >>> dict(leaves({"size": 3, "W": [np.zeros(2), "a"]}, "x"))["x['size']"]
    '3'
    """
    text, parts = parted(value)
    yield path, text
    if id(value) in within or len(within) > 32:
        return
    below = (
        leaf for name, part in parts for leaf in leaves(part, path + name, (*within, id(value)))
    )
    if len(parts) > LONG:
        yield f"{path}[:]", digest(text for leaf in below for text in leaf)
    else:
        yield from below


def parted(value: Any) -> tuple[str, list[tuple[str, Any]]]:
    """A text for a value itself, and its parts by the end of their path."""
    kind = type(value).__qualname__
    if isinstance(value, PLAIN):
        text = repr(value)
        return text if len(text) < 80 else f"{text[:60]}… {digest([text])}", []
    if hasattr(value, "tocsr"):
        csr = value.tocsr()
        inside = [(f".{name}", getattr(csr, name)) for name in ("data", "indices", "indptr")]
        return f"{kind} {csr.shape}", inside
    if hasattr(value, "__array__") and not isinstance(value, type):
        a = np.asarray(value)
        if a.dtype.hasobject:
            return f"{kind} of {a.dtype} {a.shape}", [("", a.tolist())]
        raw = np.ascontiguousarray(a).reshape(-1).view(np.uint8)
        return f"{a.dtype} {a.shape} {digest([raw])}", []
    if isinstance(value, Mapping):
        return kind, [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        ordered = value if isinstance(value, list | tuple) else sorted(value, key=repr)
        return kind, [(f"[{i}]", part) for i, part in enumerate(ordered)]
    if isinstance(value, FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or ())
        inside = [(f".{name}", cell.cell_contents) for name, cell in cells]
        inside += [(".defaults", value.__defaults__)]
        code = digest(text for leaf in leaves(value.__code__, "") for text in leaf)
        return f"{value.__qualname__} {code}", inside
    if isinstance(value, CodeType):
        return kind, [("", part) for part in (value.co_code, value.co_names, *value.co_consts)]
    if isinstance(value, MethodType):
        return kind, [(".self", value.__self__), (".function", value.__func__)]
    if isinstance(value, partial):
        return kind, [(".func", value.func), (".args", value.args), (".keywords", value.keywords)]
    if isinstance(value, np.random.Generator):
        return kind, [(".state", value.bit_generator.state)]
    if isinstance(value, type) or not hasattr(value, "__dict__"):
        return re.sub(r" at 0x\w+", "", repr(value)), []
    cls = type(value)  # what it computes on demand is there or not by chance
    computed = {n for n in vars(value) if isinstance(getattr(cls, n, None), cached_property)}
    return kind, [(f".{n}", part) for n, part in vars(value).items() if n not in computed]


def digest(parts: Iterable[Any]) -> str:
    """A hash of texts and bytes."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else part)
    return found.hexdigest()


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """The first three differences of two fingerprints in words; none: an empty text.

    >>> differences({"a": "1", "b": "2"}, {"a": "3", "b": "2"})
    'a is 1 here and 3 there'
    """
    names = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
    told = (f"{name} is {here.get(name)} here and {there.get(name)} there" for name in names[:3])
    return "; ".join(told) + more


def build() -> dict[str, str]:
    """What the last bits of a sum depend on: the versions, the machine, BLAS and its threads.

    >>> build()["numpy"] == np.__version__
    True
    """
    found: Any = np.show_config(mode="dicts")  # type: ignore[call-overload,unused-ignore]
    blas = found.get("Build Dependencies", {}).get("blas", {})
    simd = found.get("SIMD Extensions", {}).get("found", [])
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "nnrec": nnrec.__version__,
        "numpy": np.__version__,
        "BLAS": f"{blas.get('name')} {blas.get('version')}",
        "machine": " ".join([platform.machine(), *simd]),
        "threads": next((os.environ[name] for name in THREADS if os.environ.get(name)), str(cpus)),
    }
