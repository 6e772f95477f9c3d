"""The recommender's network models: each variant keeps the contract of models, and its words."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from nnrec import L2, Network, SigmoidCrossEntropy, SoftmaxCrossEntropy
from nnrec.recommend import AutoEncoder, MatrixFactorization, NeuMF, TwoTower
from nnrec.recommend.autoencoder import Coder, EvidenceBound, Tied
from nnrec.recommend.matrix_factorization import AllItems, AllItemsLoss, Factors
from nnrec.recommend.neumf import Fusion
from nnrec.recommend.two_tower import Towers
from tests.test_recommend_contract import ModelContract, random_log


def fast(model, *, l2=0.001, epochs=60, **others):
    return lambda: model(dim=8, l2=l2, epochs=epochs, batch_size=64, **others)


class TestAllItems(ModelContract):
    model = staticmethod(fast(MatrixFactorization))
    exact_fold_in = False
    classes: ClassVar = {c.__name__: c for c in (Network, AllItems, AllItemsLoss)}


class TestSoftmaxFactors(TestAllItems):
    model = staticmethod(fast(MatrixFactorization, loss="softmax"))


class TestWeightedUsersAndPrior(TestAllItems):
    model = staticmethod(fast(MatrixFactorization, beta=0.5, tau=0.1))


class TestLogisticFactors(ModelContract):
    model = staticmethod(fast(MatrixFactorization, loss="logistic", learning_rate=0.05, epochs=25))
    folds_in = False
    classes: ClassVar = {c.__name__: c for c in (Network, Factors, SigmoidCrossEntropy, L2)}


class TestPairwiseFactors(TestLogisticFactors):
    model = staticmethod(fast(MatrixFactorization, loss="bpr", learning_rate=0.05, epochs=25))


class TestNeuMF(ModelContract):
    model = staticmethod(fast(NeuMF, l2=1e-6, epochs=15, learning_rate=0.03, dropout=0.1))
    folds_in = False
    classes: ClassVar = {c.__name__: c for c in (Network, Fusion, SigmoidCrossEntropy, L2)}


class TestDenoising(ModelContract):
    model = staticmethod(fast(AutoEncoder, hidden=17, learning_rate=0.03, l2=0.0))
    classes: ClassVar = {c.__name__: c for c in (Network, Coder, SoftmaxCrossEntropy)}


class TestVariational(ModelContract):
    model = staticmethod(
        fast(AutoEncoder, hidden=17, variational=True, skip=True, learning_rate=0.03, l2=0.0)
    )
    classes: ClassVar = {c.__name__: c for c in (Network, Coder, EvidenceBound)}


class TestTied(ModelContract):
    model = staticmethod(fast(AutoEncoder, temperature=0.2, learning_rate=0.03, l2=0.0))
    classes: ClassVar = {c.__name__: c for c in (Network, Tied, SoftmaxCrossEntropy)}


class TestTwoTower(ModelContract):
    model = staticmethod(fast(TwoTower, hidden=17, epochs=20, learning_rate=0.02, l2=0.0))
    exact_fold_in = False
    classes: ClassVar = {c.__name__: c for c in (Network, Towers, SoftmaxCrossEntropy)}


class TestTwoTowerInBatch(TestTwoTower):
    model = staticmethod(
        fast(TwoTower, hidden=17, epochs=20, learning_rate=0.02, l2=0.0, loss="in_batch")
    )


@pytest.mark.parametrize("model", [MatrixFactorization, NeuMF, AutoEncoder, TwoTower])
def test_arguments_are_checked(model) -> None:
    bad = [("dim", 0), ("dim", 2.5), ("epochs", 0), ("batch_size", -1), ("learning_rate", -0.1)]
    bad += [("l2", float("nan")), ("verbose", -1), ("verbose", None), ("learning_rate", "fast")]
    own = {
        MatrixFactorization: [
            ("loss", "mse"),
            ("negatives", 0),
            ("user_rate", -1),
            ("frequency", -1),
            ("tau", -1),
        ],
        NeuMF: [("dropout", 1.0), ("negatives", True), ("pretrain", "yes")],
        AutoEncoder: [
            ("hidden", 0),
            ("variational", 1),
            ("skip", None),
            ("beta", -1),
            ("temperature", -1),
        ],
        TwoTower: [("loss", "softmax"), ("window", 0), ("recency", -0.1), ("dropout", -0.5)],
    }
    for name, value in bad + own[model]:
        with pytest.raises(ValueError, match=rf"^{model.__name__}: {name}={value!r}, expected"):
            model(**{name: value})
    assert repr(model(dim=7)) == f"{model.__name__}(dim=7)"


@pytest.mark.parametrize("model", [MatrixFactorization, NeuMF, AutoEncoder, TwoTower])
def test_a_fit_begins_where_another_ended(model) -> None:
    old, log = random_log(), random_log().including(users=["new"], items=["fresh"])
    before = model(dim=3, learning_rate=0.0, epochs=1, rng=1).fit(old)
    after = model(dim=3, learning_rate=0.0, epochs=1, rng=2)
    after.fit(log, start=before.network.parameters())
    assert np.allclose(
        before.score_all(range(31)), after.score_all(range(31))[:, :23], rtol=1e-5, atol=1e-6
    )
