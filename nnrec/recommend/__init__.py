"""Scoring models, their evaluation, and the recommender on ids that is built from them."""

from nnrec.recommend.ease import EASE, EDLAE
from nnrec.recommend.evaluation import evaluate
from nnrec.recommend.ials import IALS
from nnrec.recommend.item_knn import ItemKNN
from nnrec.recommend.popularity import Popularity
from nnrec.recommend.scoring import LinearModel, ScoringModel

__all__ = [
    "EASE",
    "EDLAE",
    "IALS",
    "ItemKNN",
    "LinearModel",
    "Popularity",
    "ScoringModel",
    "evaluate",
]
