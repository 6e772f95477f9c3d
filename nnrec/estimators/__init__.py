"""Estimators: a classifier and a regressor of tables and arrays that speak scikit-learn's protocol.

The document's pipeline in one object: cleaning (§3.2.2), features (§3.2.3), network and training
(§4.3), threshold and metrics (§5.4), all learned from the training part and filed together.
scikit-learn itself is imported only inside `__sklearn_tags__`, which only scikit-learn calls.
"""

from nnrec.estimators.classifier import NeuralClassifier
from nnrec.estimators.estimator import NeuralEstimator
from nnrec.estimators.regressor import NeuralRegressor
