"""The tied autoencoder: logits of a batch, scores as cosines."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec.data.histories import unit_rows
from nnrec.data.interactions import Interactions, concatenate
from nnrec.recommend import AutoEncoder
from tests.test_recommend_contract import random_log


def test_tied_logits_are_of_the_items_in_the_batch() -> None:
    log = random_log().merged("first")
    model = AutoEncoder(dim=2, temperature=0.1, batch_size=5, dropout=0.0)
    network, source, rows = model.assemble(log.including(users=["new"]))  # trains nothing
    known = log.csr().toarray()
    assert rows == len(known)
    assert np.allclose(network.layer.shift, -np.log(1 - (1 - known.mean(axis=0)) ** 5), rtol=1e-5)
    for x, target in source(0):
        assert np.allclose(target.toarray(), x[:, np.unique(x.indices)].toarray() > 0)
    for other in ("variational", "skip"):
        with pytest.raises(ValueError, match="takes neither variational nor skip"):
            AutoEncoder(temperature=0.1, **{other: True})


def test_tied_scores_are_cosines_of_what_was_trained() -> None:
    log = random_log().including(users=["new"], items=["unsold"])
    model = AutoEncoder(dim=3, temperature=0.1, epochs=2, batch_size=64, learning_rate=0.03)
    X, scores = log.csr(), model.fit(log).score_all(np.arange(32))
    logits = model.network.predict(unit_rows(X), link=False)  # of the items in X
    assert np.allclose((logits - model.network.layer.shift[:23]) * 0.1, scores[:, :23], atol=1e-6)
    assert not scores[31].any()
    assert not scores[:, 23].any()  # no direction by chance, ahead of what has been judged
    more = Interactions.from_columns(["new", *range(7)], ["unsold"] * 8, times=np.arange(8))
    again = model.fit(concatenate(log, more), start=model.network.parameters())
    assert again.score_all([31])[0].argmax() == 23  # and it learns, once there are events
