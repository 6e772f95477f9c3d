"""NeuralClassifier: which class, with what probability, and from which threshold on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import numpy as np

from nnrec import metrics
from nnrec.data.columns import factorize
from nnrec.estimators.estimator import NeuralEstimator
from nnrec.estimators.rows import Rows, class_labels
from nnrec.nn import SigmoidCrossEntropy, SoftmaxCrossEntropy
from nnrec.nn.arguments import Array, real_number

THRESHOLDS: Mapping[str, Any] = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "f1": metrics.f1,
    "matthews_corrcoef": metrics.matthews_corrcoef,
}


@dataclass(eq=False, repr=False)
class NeuralClassifier(NeuralEstimator):
    """Predicts classes: labels of text, booleans or whole numbers, two or more of them.

    Two classes: one logit and `SigmoidCrossEntropy`; more: one each and `SoftmaxCrossEntropy`.
    class_weight: label → factor of its rows' weights, or "balanced": every class weighs the same.

    threshold: of two classes, `predict` says classes_[1] where its probability is at least so much.
    "f1", "accuracy", "balanced_accuracy" or "matthews_corrcoef": the threshold that is best by this
    metric on the held-out rows.  It stands in threshold_, may be changed there, and is filed.

    The other arguments, and what X and y may be: see `NeuralEstimator`.

    >>> visits = {"pages": [1, 2, 9, 12] * 9, "month": ["May", "Nov", "May", "Nov"] * 9}
    >>> bought = ["no", "no", "yes", "yes"] * 9
    >>> classifier = NeuralClassifier(random_state=0)
    >>> classifier.fit(visits, bought).predict({"pages": [2, 11], "month": ["Dec", "Nov"]}).tolist()
    ['no', 'yes']
    >>> classifier.score(visits, bought)
    1.0
    """

    learned: ClassVar[tuple[str, ...]] = (*NeuralEstimator.learned, "classes_", "threshold_")
    estimates: ClassVar[str] = "classifier"

    _: KW_ONLY
    class_weight: Mapping[Any, float] | str | None = None
    threshold: float | str = 0.5

    classes_: Array = field(init=False)
    threshold_: float = field(init=False)

    def predict(self, X: Any) -> Array:
        """The labels, (n,)."""
        p = self.predict_proba(X)
        return np.asarray(self.classes_[self.decided(p)])

    def predict_proba(self, X: Any) -> Array:
        """The classes' probabilities, (n, classes), in the order of classes_."""
        return self.probabilities(self.inputs(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy of `predict`."""
        rows = self.rows(X, y, sample_weight)
        return metrics.accuracy(rows.y, self.predict(rows.X), rows.weight)

    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Metrics of `nnrec.metrics` by name; of two classes, those for classes_[1].

        Of more classes roc_auc, precision, recall and f1 are the plain means over the classes, and
        there is no average_precision.
        """
        rows = self.rows(X, y, sample_weight)
        p = self.predict_proba(rows.X)
        true, pred, weight = self.codes(rows.y), self.decided(p), rows.weight
        binary = p.shape[1] == 2
        kinds = ["roc_auc", "log_loss", "brier"] + ["average_precision"] * binary
        labels: dict[str, Any] = {} if binary else {"labels": range(p.shape[1])}
        figures = {}
        for name in kinds:
            metric = getattr(metrics, name)
            figures[name] = metric(true, p[:, 1] if binary else p, weight, **labels)
        for name in ("precision", "recall", "f1"):
            average = "binary" if binary else "macro"
            figures[name] = getattr(metrics, name)(true, pred, weight, average=average)
        for name in ("accuracy", "balanced_accuracy", "matthews_corrcoef"):
            figures[name] = getattr(metrics, name)(true, pred, weight)
        return figures

    def check_arguments(self) -> None:
        super().check_arguments()
        if isinstance(self.threshold, str) and self.threshold not in THRESHOLDS:
            expected = ", ".join(map(repr, THRESHOLDS))
            raise ValueError(f"threshold={self.threshold!r}, expected a number, {expected}")
        if not isinstance(self.threshold, str):
            real_number("NeuralClassifier", "threshold", self.threshold)
        if not (self.class_weight in (None, "balanced") or isinstance(self.class_weight, Mapping)):
            found = f"class_weight={self.class_weight!r}"
            raise ValueError(f"{found}, expected label → factor, 'balanced' or None")

    def needs_held_out(self) -> bool:
        return super().needs_held_out() or isinstance(self.threshold, str)

    def probabilities(self, inputs: Any) -> Array:
        """The classes' probabilities from the matrix."""
        z = self.raw(inputs)
        if z.shape[1] == 1:  # σ(−z) keeps the digits that 1 − σ(z) loses
            z = np.column_stack([-z, z])
        return np.asarray(self.networks_[0].loss.inverse_link(z))

    def decided(self, p: Array) -> Array:
        """The places in classes_ of what is predicted from probabilities."""
        return (p[:, 1] >= self.threshold_) * 1 if p.shape[1] == 2 else p.argmax(axis=1)

    def target(self, y: Any) -> Array:
        return class_labels(y)

    def strata(self, y: Array) -> Array | None:
        return y

    def fit_target(self, rows: Rows, held: Rows | None) -> None:
        self.classes_ = np.unique(rows.y)
        k = len(self.classes_)
        weighty = np.unique(rows.y if rows.weight is None else rows.y[rows.weight > 0])
        if len(weighty) < 2:
            raise ValueError(f"y has one class only, {weighty.tolist()[0]!r}; expected two or more")
        if isinstance(self.threshold, str) and k > 2:
            raise ValueError(f"threshold={self.threshold!r} is for two classes; y has {k}")
        rows.y = self.codes(rows.y)
        if held is not None:
            held.y = self.codes(held.y)
        if self.class_weight is not None:
            factors = self.factors(rows)
            for part in (rows, held) if held is not None else (rows,):
                part.weight = factors[part.y] * (1.0 if part.weight is None else part.weight)

    def codes(self, y: Array) -> Array:
        """The places of labels in classes_."""
        place = {label: i for i, label in enumerate(self.classes_.tolist())}
        codes, labels = factorize(y)
        unknown = [label for label in labels.tolist() if label not in place]
        if unknown:
            known = ", ".join(map(repr, list(place)[:10]))
            raise ValueError(f"y holds {unknown[0]!r}, which is none of the classes {known}")
        return np.array([place[label] for label in labels.tolist()], int)[codes]

    def factors(self, rows: Rows) -> Array:
        """Each class's factor of its rows' weights."""
        if isinstance(self.class_weight, Mapping):
            for label in self.classes_.tolist():
                if label not in self.class_weight:
                    raise ValueError(f"class_weight has no entry for the class {label!r}")
            return np.array([float(self.class_weight[c]) for c in self.classes_.tolist()])
        mass = np.bincount(rows.y, rows.weight, len(self.classes_))
        factors: Array = np.divide(
            mass.sum() / len(mass), mass, out=np.zeros(len(mass)), where=mass > 0
        )
        return factors

    def loss(self, rows: Rows) -> tuple[Any, int]:
        k = len(self.classes_)
        return (SigmoidCrossEntropy(), 1) if k == 2 else (SoftmaxCrossEntropy(), k)

    def fit_networks(self, rows: Rows, held: Rows | None, rng: Any, callbacks: Any) -> None:
        super().fit_networks(rows, held, rng, callbacks)
        if not isinstance(self.threshold, str):
            self.threshold_ = float(self.threshold)
        elif held is not None:
            p, metric = self.probabilities(held.X)[:, 1], THRESHOLDS[self.threshold]
            self.threshold_ = metrics.best_threshold(held.y, p, metric, held.weight)
