"""Scoring models, their evaluation, and the recommender on ids that is built from them."""

from nnrec.recommend.autoencoder import AutoEncoder
from nnrec.recommend.blend import Blend
from nnrec.recommend.ease import EASE, EDLAE
from nnrec.recommend.evaluation import evaluate
from nnrec.recommend.ials import IALS
from nnrec.recommend.item_knn import ItemKNN
from nnrec.recommend.matrix_factorization import MatrixFactorization
from nnrec.recommend.neumf import NeuMF
from nnrec.recommend.popularity import Popularity
from nnrec.recommend.recommender import Recommender
from nnrec.recommend.scoring import LinearModel, ScoringModel
from nnrec.recommend.two_tower import TwoTower

__all__ = [
    "EASE",
    "EDLAE",
    "IALS",
    "AutoEncoder",
    "Blend",
    "ItemKNN",
    "LinearModel",
    "MatrixFactorization",
    "NeuMF",
    "Popularity",
    "Recommender",
    "ScoringModel",
    "TwoTower",
    "evaluate",
]
