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

__all__ = [
    "Calibration",
    "Interval",
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
    "expected_calibration_error",
    "f1",
    "log_loss",
    "mae",
    "matthews_corrcoef",
    "mse",
    "precision",
    "precision_recall_curve",
    "r2",
    "recall",
    "rmse",
    "roc_auc",
    "roc_curve",
]
