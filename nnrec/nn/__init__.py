"""The mathematics: layers, losses, optimisers, networks and their gradient checks."""

from nnrec.nn.activations import relu, sigmoid, softmax, tanh
from nnrec.nn.composites import Add, Composite, Concatenate, Dot, Multiply, Sequential
from nnrec.nn.gradcheck import check_gradients
from nnrec.nn.initializers import Normal
from nnrec.nn.layers import (
    Dense,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from nnrec.nn.losses import (
    L1,
    L2,
    MSE,
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Loss,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from nnrec.nn.network import Network
from nnrec.nn.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    Optimizer,
    RMSProp,
)
from nnrec.nn.training import Batches, Callback, EarlyStopping, GaussianNoise, History, Mixup

__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "Add",
    "Batches",
    "BinaryCrossEntropy",
    "Callback",
    "CategoricalCrossEntropy",
    "Composite",
    "Concatenate",
    "CosineDecay",
    "Dense",
    "Dot",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "ExponentialDecay",
    "GaussianNoise",
    "History",
    "L1",
    "L2",
    "Layer",
    "LayerNorm",
    "LinearDecay",
    "Loss",
    "MSE",
    "Mixup",
    "Multiply",
    "Network",
    "Normal",
    "Optimizer",
    "RMSProp",
    "ReLU",
    "SGD",
    "Sequential",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Tanh",
    "check_gradients",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]
