"""From raw tables and event logs to what a model takes: reading, cleaning, features, splits."""

from nnrec.data.augmentation import GaussianNoise, Mixup
from nnrec.data.cleaning import Cleaning, CleaningReport
from nnrec.data.rules import Categories, Clip, DropDuplicates, DropMissing, DropWhere, Fill
from nnrec.data.tables import Table

__all__ = [
    "Categories",
    "Cleaning",
    "CleaningReport",
    "Clip",
    "DropDuplicates",
    "DropMissing",
    "DropWhere",
    "Fill",
    "GaussianNoise",
    "Mixup",
    "Table",
]
