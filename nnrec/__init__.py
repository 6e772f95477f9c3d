"""nnrec: a small NumPy neural-network library to read, check and run, and a recommender from it.

Every name a user types can be imported from here; each is looked up when it is first used, so that
`import nnrec` costs little more than `import numpy`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "nnrec.nn": (
        "Add Adagrad Adam AdamW Batches BinaryCrossEntropy CategoricalCrossEntropy "
        "Composite Concatenate CosineDecay Dense Dot Dropout EarlyStopping Embedding "
        "History L1 L2 Layer LayerNorm LinearDecay Loss MSE "
        "Multiply Network Normal Optimizer RMSProp ReLU SGD Sequential Sigmoid "
        "SigmoidCrossEntropy Softmax SoftmaxCrossEntropy Tanh relu sigmoid softmax tanh"
    ),
    "nnrec.checkpoints": "Checkpoint",
    "nnrec.data": "Cleaning Features GaussianNoise Interactions Mixup Table",
    "nnrec.estimators": "NeuralClassifier NeuralRegressor",
    "nnrec.files": "load save",
    "nnrec.gradcheck": "check_gradients",
    "nnrec.recommend": "Recommender",
    "nnrec.storage": "FormatError",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nnrec' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
