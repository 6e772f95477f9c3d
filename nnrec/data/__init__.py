"""From raw tables and event logs to what a model takes: reading, cleaning, features, splits."""

from nnrec.data.augmentation import GaussianNoise, Mixup
from nnrec.data.cleaning import Cleaning, CleaningReport
from nnrec.data.encodings import (
    Boolean,
    Dates,
    Encoding,
    Log,
    OneHot,
    Ordinal,
    Robust,
    Standardize,
    Thermometer,
)
from nnrec.data.features import Features
from nnrec.data.rules import Categories, Clip, DropDuplicates, DropMissing, DropWhere, Fill
from nnrec.data.splits import equal_rows, folds, split
from nnrec.data.tables import Table
from nnrec.data.text import BagOfWords, TfIdf

__all__ = [
    "BagOfWords",
    "Boolean",
    "Categories",
    "Cleaning",
    "CleaningReport",
    "Clip",
    "Dates",
    "DropDuplicates",
    "DropMissing",
    "DropWhere",
    "Encoding",
    "Features",
    "Fill",
    "GaussianNoise",
    "Log",
    "Mixup",
    "OneHot",
    "Ordinal",
    "Robust",
    "Standardize",
    "Table",
    "Thermometer",
    "TfIdf",
    "equal_rows",
    "folds",
    "split",
]
