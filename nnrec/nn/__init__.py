"""The mathematics: layers, losses, optimisers, networks and their gradient checks."""

from nnrec.nn.activations import relu, sigmoid, softmax, tanh
from nnrec.nn.composites import Add, Composite, Concatenate, Dot, Multiply, Sequential
from nnrec.nn.initializers import Normal
from nnrec.nn.layers import Dense, Dropout, Embedding, Layer, LayerNorm
from nnrec.nn.layers import ReLU, Sigmoid, Softmax, Tanh
from nnrec.nn.losses import L1, L2, MSE, BinaryCrossEntropy, CategoricalCrossEntropy, Loss
from nnrec.nn.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy
from nnrec.nn.network import Network
from nnrec.nn.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSProp
from nnrec.nn.optimizers import CosineDecay, LinearDecay
from nnrec.nn.training import Batches, EarlyStopping, History
