"""What losses and penalties refuse, and how they name it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp

from nnrec import (
    L1,
    L2,
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Loss,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from tests.test_nn_losses import SPECIMENS

pytestmark = pytest.mark.usefixtures("strict_arithmetic")


y3, t3 = np.full((3, 2), 0.5), np.full((3, 2), 0.25)
every = {repr(loss): loss for loss, *_ in SPECIMENS.values()}.values()
PROBABILITY = (BinaryCrossEntropy(), CategoricalCrossEntropy())
CLASSES = (CategoricalCrossEntropy(), SoftmaxCrossEntropy())


def refused(call: Callable, kind: type[Exception], *fragments: object) -> None:
    with pytest.raises(kind) as caught:
        call()
    for fragment in fragments:
        assert str(fragment) in str(caught.value)


@pytest.mark.parametrize("loss", every, ids=repr)
def test_shapes_that_do_not_match_are_refused(loss: Loss) -> None:
    for pred, target in [
        (y3, t3[:, :1]),
        (y3, t3[:1]),
        (y3, t3[:2]),
        (y3[:, :1], t3),
        (y3[:0], t3[:0]),
        (y3[None], t3[None]),
        (y3[:, 0], t3),
    ]:
        refused(
            lambda p=pred, t=target: loss(p, t), ValueError, repr(loss), pred.shape, target.shape
        )


@pytest.mark.parametrize("loss", every, ids=repr)
def test_one_axis_of_numbers_is_refused(loss: Loss) -> None:
    """(n, 1) against (n,) would broadcast to (n, n)."""
    kind = TypeError if loss.takes_labels else ValueError
    refused(lambda: loss(y3[:, :1], t3[:, 0]), kind, repr(loss))
    refused(lambda: loss(y3[:, 0], t3[:, 0]), ValueError, repr(loss), "(3,)")


@pytest.mark.parametrize("loss", every, ids=repr)
def test_weights_that_mean_nothing_are_refused(loss: Loss) -> None:
    good = np.ones(3)
    for weight in (good[:2], np.ones((3, 1)), np.ones(())):
        refused(lambda w=weight: loss(y3, t3, w), ValueError, repr(loss), weight.shape, "(3,)")
    for bad in (-1.0, math.nan, math.inf):
        weight = np.array([1, bad, 2])
        message = f"weight {bad} in row 1, expected ≥ 0 and finite"
        refused(lambda w=weight: loss(y3, t3, w), ValueError, f"{loss!r}: {message}")


@pytest.mark.parametrize("loss", CLASSES, ids=repr)
def test_wrong_labels_are_refused(loss: Loss) -> None:
    refused(
        lambda: loss(y3, np.array([0, 1, 2])), IndexError, repr(loss), "label 2 in row 2", "[0, 2)"
    )
    refused(lambda: loss(y3, np.array([0, -1, 5])), IndexError, repr(loss), "label -1 in row 1")
    refused(lambda: loss(y3, np.array([0.0, 1, 1])), TypeError, repr(loss), "float64", "integers")
    refused(lambda: loss(y3, np.array([0, 1])), ValueError, repr(loss), "(3, 2)", "(2,)")
    refused(lambda: loss(y3[:0], np.empty(0, int)), ValueError, repr(loss), "(0, 2)", "n ≥ 1")
    refused(lambda: loss(y3[None], np.array([0])), ValueError, repr(loss), "(1, 3, 2)")


@pytest.mark.parametrize("bad", [-1.0, math.nan])
@pytest.mark.parametrize("loss", CLASSES, ids=repr)
def test_class_targets_below_zero_are_refused(loss: Loss, bad: float) -> None:
    target = t3.copy()
    target[1, 0] = bad
    message = f"{loss!r}: target {bad} in row 1, expected ≥ 0 and finite"
    refused(lambda: loss(y3, target), ValueError, message)


def test_sparse_targets_below_zero_are_refused() -> None:
    target = sp.csr_array(np.array([[0, 1.0], [0, 0], [-2, 0]]))
    loss = SoftmaxCrossEntropy()
    refused(lambda: loss(y3, target), ValueError, repr(loss), "target", "-2.0", "row 2")


@pytest.mark.parametrize("loss", PROBABILITY, ids=repr)
@pytest.mark.parametrize("bad", [-0.1, 1.5, math.nan])
def test_what_is_no_probability_is_refused(loss: Loss, bad: float) -> None:
    pred = y3.copy()
    pred[1, 0] = bad
    message = f"{loss!r}: probability {bad} in row 1, expected 0 to 1"
    refused(lambda: loss(pred, t3), ValueError, message)


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), SigmoidCrossEntropy()], ids=repr)
@pytest.mark.parametrize("bad", [-0.1, 1.5, math.nan])
def test_binary_targets_are_probabilities(loss: Loss, bad: float) -> None:
    target = t3.copy()
    target[2, 1] = bad
    message = f"{loss!r}: target {bad} in row 2, expected 0 to 1"
    refused(lambda: loss(y3, target), ValueError, message)


def test_a_logarithm_of_zero_names_the_row_and_the_form_on_logits() -> None:
    one, none = np.array([[0.5], [1.0]]), np.array([[0.5], [0.0]])
    loss: Loss = BinaryCrossEntropy()
    for pred, target in ((none, [[0.0], [1]]), (one, [[0.0], [0]]), (none, [[0.0], [0.1]])):
        refused(
            lambda p=pred, t=target: loss(p, np.array(t)),
            ValueError,
            repr(loss),
            "row 1",
            "SigmoidCrossEntropy",
        )
    loss = CategoricalCrossEntropy()
    refused(
        lambda: loss(np.array([[0.5, 0.5], [0, 1]]), np.array([0, 0])),
        ValueError,
        repr(loss),
        "row 1",
        "SoftmaxCrossEntropy",
    )


def test_losses_without_a_call_say_so() -> None:
    class Unfinished(Loss):
        pass

    class Incomplete(type(L1(1)).__base__):
        pass

    with pytest.raises(NotImplementedError, match="Unfinished"):
        Unfinished()(y3, t3)
    with pytest.raises(NotImplementedError, match="Incomplete"):
        Incomplete(1)(y3)


@pytest.mark.parametrize("penalty", [L1, L2])
@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, "big", None])
def test_penalties_want_a_number(penalty: type, bad: object) -> None:
    refused(lambda: penalty(bad), ValueError, penalty.__name__, f"strength={bad!r}")
