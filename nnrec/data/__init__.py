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
from nnrec.data.formats import read_lists, read_movielens, read_ncf
from nnrec.data.holdouts import fraction_per_user, global_time, held_out_users, leave_one_out
from nnrec.data.interactions import Ids, Interactions, align, concatenate
from nnrec.data.sampling import InBatch, Negatives, Pairwise, Pointwise

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
    "Ids",
    "InBatch",
    "Interactions",
    "Log",
    "Mixup",
    "Negatives",
    "OneHot",
    "Ordinal",
    "Pairwise",
    "Pointwise",
    "Robust",
    "Standardize",
    "Table",
    "TfIdf",
    "Thermometer",
    "align",
    "concatenate",
    "equal_rows",
    "folds",
    "fraction_per_user",
    "global_time",
    "held_out_users",
    "leave_one_out",
    "read_lists",
    "read_movielens",
    "read_ncf",
    "split",
]
