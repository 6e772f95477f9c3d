"""Metrics: functions `metric(y_true, y_pred, weight=None)`, and intervals around them."""

from nnrec.metrics.bootstrap import Interval, bootstrap, bootstrap_difference
from nnrec.metrics.classification import (
    accuracy,
    at_threshold,
    balanced_accuracy,
    best_threshold,
    confusion_matrix,
    f1,
    matthews_corrcoef,
    precision,
    recall,
)
from nnrec.metrics.probabilities import (
    Calibration,
    average_precision,
    brier,
    calibration,
    expected_calibration_error,
    log_loss,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)
from nnrec.metrics.regression import mae, mse, r2, rmse
from nnrec.metrics.beyond_accuracy import coverage, gini, intra_list_diversity, novelty
from nnrec.metrics.ranking import Protocol, RankingResult, evaluate_ranking, top_n

__all__ = [
    "Calibration",
    "Interval",
    "Protocol",
    "RankingResult",
    "accuracy",
    "at_threshold",
    "average_precision",
    "balanced_accuracy",
    "best_threshold",
    "bootstrap",
    "bootstrap_difference",
    "brier",
    "calibration",
    "confusion_matrix",
    "coverage",
    "evaluate_ranking",
    "expected_calibration_error",
    "f1",
    "gini",
    "intra_list_diversity",
    "log_loss",
    "mae",
    "matthews_corrcoef",
    "mse",
    "novelty",
    "precision",
    "precision_recall_curve",
    "r2",
    "recall",
    "rmse",
    "roc_auc",
    "roc_curve",
    "top_n",
]
