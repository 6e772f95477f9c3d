"""Mistakes against the contract of a layer: the numbers can be right until somebody calls twice.

Each is a function `(call) -> (y, back)` around a real layer without parts; see `mistakes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrec.nn import Add, Composite, Concatenate, Layer
from nnrec.nn.layers import Array, Result, several
from nnrec.teach.planting import Call, in_call


def has_parameters(layer: Layer) -> bool:
    """Whether a layer has parameters of its own."""
    return layer.size > 0 and not isinstance(layer, Composite)


def remembers(layer: Layer) -> bool:
    """Whether a layer's back needs something of its forward pass."""
    return not isinstance(layer, Composite | Add | Concatenate)


def takes_floats(layer: Layer) -> bool:
    """Whether a layer without parts has real inputs."""
    return not isinstance(layer, Composite) and not layer.takes_ids


@in_call(Layer, contract=True, suits=has_parameters)
def assigned_to_g(call: Call) -> Result:
    """back assigns to g where it must add

    g may hold what another use of the same weights has added already.
    """
    y, real_back = call.forward()

    def back(dy: Any, g: Array) -> Any:
        g[...] = 0
        return real_back(dy, g)

    return y, back


@in_call(Layer, contract=True, suits=has_parameters)
def gradient_never_zeroed(call: Call) -> Result:
    """The layer gathers its gradient in a buffer of its own, which nobody zeroes

    back adds this call's gradient to g, and keeps nothing.
    """
    y, real_back = call.forward()

    def back(dy: Any, g: Array) -> Any:
        buffer = call.memory.setdefault("g", np.zeros_like(g))
        dx = real_back(dy, buffer)
        g += buffer
        return dx

    return y, back


@in_call(Layer, contract=True, suits=has_parameters)
def steps_in_back(call: Call) -> Result:
    """back changes θ as soon as it has a gradient

    back reports, the optimiser steps: another use of these weights still needs the old θ.
    """
    y, real_back = call.forward()

    def back(dy: Any, g: Array) -> Any:
        dx = real_back(dy, g)
        call.theta[...] -= call.rate * g
        return dx

    return y, back


@in_call(Layer, contract=True, suits=remembers)
def cached_on_self(call: Call) -> Result:
    """The layer keeps on itself what its back needs

    A second call before the first one's back overwrites it; a closure belongs to its own call.
    """
    y, call.memory["back"] = call.forward()
    return y, lambda dy, g: call.memory["back"](dy, g)


@in_call(Layer, contract=True, suits=takes_floats)
def writes_into_input(call: Call) -> Result:
    """The forward pass changes its input in place

    The array belongs to the caller: another layer's back, or the next epoch, still needs it.
    """
    y, back = call.forward()
    for x in call.inputs:
        values = x if isinstance(x, np.ndarray) else x.data  # of a CSR matrix
        values += 1
    return y, back


@in_call(Layer, contract=True, suits=lambda layer: not isinstance(layer, Composite))
def writes_into_output(call: Call) -> Result:
    """back works in place in the array that the forward pass returned

    y was given away: the next layer's back computes with it.
    """
    y, real_back = call.forward()

    def back(dy: Any, g: Array) -> Any:
        dx = real_back(dy, g)
        for part in several(y):
            part *= 2
        return dx

    return y, back


@in_call(Layer, contract=True, suits=lambda layer: not isinstance(layer, Composite))
def writes_into_dy(call: Call) -> Result:
    """back works in place in the dy it was given

    dy belongs to the caller, who may hand the same array to another part.
    """
    y, real_back = call.forward()

    def back(dy: Any, g: Array) -> Any:
        dx = real_back(dy, g)
        for part in several(dy):
            part *= 2
        return dx

    return y, back
