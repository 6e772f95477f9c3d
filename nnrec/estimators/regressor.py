"""NeuralRegressor: how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from nnrec import metrics
from nnrec.estimators.estimator import NeuralEstimator
from nnrec.estimators.rows import Rows, numbers
from nnrec.nn import MSE
from nnrec.nn.arguments import Array


@dataclass(eq=False, repr=False)
class NeuralRegressor(NeuralEstimator):
    """Predicts numbers: y (n,), or (n, k) for k at once, by the loss `MSE`.

    Inside y is standardised by the training rows' mean and deviation, so that learning rates mean
    the same for prices in cents and in millions.  A constant y is predicted as it is.

    The arguments, and what X and y may be: see `NeuralEstimator`.

    >>> x = np.linspace(-1, 1, 101)[:, None]
    >>> regressor = NeuralRegressor(dropout=0, random_state=0)
    >>> regressor.fit(x, 100 * x[:, 0] ** 2).score(x, 100 * x[:, 0] ** 2) > 0.99
    True
    """

    learned: ClassVar[tuple[str, ...]] = (*NeuralEstimator.learned, "y_center_", "y_scale_")
    estimates: ClassVar[str] = "regressor"

    y_center_: Array = field(init=False)
    y_scale_: Array = field(init=False)

    def predict(self, X: Any) -> Array:
        """The estimates, of the shape that y had in fit: (n,) or (n, k)."""
        z = self.raw(self.inputs(X)).reshape(-1, *self.y_center_.shape)
        return np.asarray(self.y_center_ + self.y_scale_ * z)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² of `predict`."""
        return self.evaluate(X, y, sample_weight)["r2"]

    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Metrics of `nnrec.metrics` by name: rmse, mae, r2."""
        rows = self.rows(X, y, sample_weight)
        pred = self.predict(rows.X)
        kinds = ("rmse", "mae", "r2")
        return {name: getattr(metrics, name)(rows.y, pred, rows.weight) for name in kinds}

    def target(self, y: Any) -> Array:
        return numbers(y)

    def fit_target(self, rows: Rows, held: Rows | None) -> None:
        varies = rows.y.min(axis=0) < rows.y.max(axis=0)
        self.y_center_ = np.where(varies, rows.y.mean(axis=0), rows.y[0])
        self.y_scale_ = np.where(varies, rows.y.std(axis=0), 0.0)
        for part in (rows, held) if held is not None else (rows,):
            part.y = (part.y - self.y_center_) / np.where(varies, self.y_scale_, 1.0)

    def loss(self, rows: Rows) -> tuple[Any, int]:
        return MSE(), 1 if rows.y.ndim == 1 else rows.y.shape[1]
