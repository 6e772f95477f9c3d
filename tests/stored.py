"""What the tests of storage share: values to be filed, and when two of them are the same."""

from __future__ import annotations

import copy
import math

import numpy as np
import scipy.sparse
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nnrec.storage import layout

DTYPES = ["?", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(CHARACTERS, max_size=7)
NAMES = st.text(CHARACTERS.filter(lambda c: c >= " " and c != "\x7f"), max_size=7)
NUMERIC = hnp.arrays(st.sampled_from([e + d for d in DTYPES for e in "<>"]).map(np.dtype), SHAPES)


# Layers of a model: every way that a constructor can take its arguments.
class Dense:
    learned = ("W", "b")

    def __init__(self, inputs, outputs=2, *, bias=True):
        self.inputs, self.outputs, self.bias = inputs, outputs, bias


class Chain:
    def __init__(self, *layers, **parts):
        self.layers, self.parts = layers, parts


class Fussy:
    def __init__(self, size, /):
        if isinstance(size, int) and size < 0:
            raise ValueError("size is negative")
        self.size = size


class Stranger:
    pass


CLASSES = {"Dense": Dense, "Chain": Chain, "Fussy": Fussy}


def same(a, b) -> bool:
    """Equal with types, the order of dicts, dtypes up to byte order, and every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    if isinstance(a, (np.ndarray, np.generic)):
        a, b = (np.asarray(x).astype(layout.little(x.dtype)) for x in (a, b))
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (a != a and b != b)
    if isinstance(a, (scipy.sparse.csr_array, scipy.sparse.csr_matrix)):
        return a.shape == b.shape and same(
            [a.data, a.indices, a.indptr], [b.data, b.indices, b.indptr]
        )
    if isinstance(a, np.random.Generator):
        a, b = copy.deepcopy((a, b))
        return same(
            [a.bit_generator.state, *(r.random() for r in a.spawn(2))],
            [b.bit_generator.state, *(r.random() for r in b.spawn(2))],
        )
    if type(a) in CLASSES.values():
        return same(dict(sorted(vars(a).items())), dict(sorted(vars(b).items())))
    return a == b


def dense(inputs, outputs, bias, learned):
    layer = Dense(inputs, outputs, bias=bias)
    for name, value in learned.items():
        setattr(layer, name, value)
    return layer
