"""Small worlds for rankings: any scores with ties, and which pairs are in test or seen."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

SIZES = st.integers(1, 19)


@st.composite
def worlds(draw, items=SIZES, values=7):
    """Scores with ties, test, and seen pairs that are not in test."""
    users, n_items = draw(st.integers(1, 5)), draw(items)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = rng.choice(3, (users, n_items), p=[0.5, 0.3, 0.2])
    kind[0, 0] = 1
    scores = rng.integers(0, values, (users, n_items)).astype(rng.choice(["f4", "f8"]))
    return scores, kind == 1, kind == 2
