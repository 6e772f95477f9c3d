"""Constructor arguments: their checks, and how an object prints as the call that made it.

Every class of `nnrec` keeps each constructor argument in an attribute of the same name; printing
and filing an object read it from there.
"""

import inspect
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Described:
    """Prints as the call that made it, without the arguments left at their defaults.

    >>> class Half(Described):
    ...     def __init__(self, size, rate=0.5):
    ...         self.size, self.rate = size, rate
    >>> Half(3), Half(3, 0.2)
    (Half(3), Half(3, rate=0.2))
    """

    def __repr__(self) -> str:
        words = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if parameter.default is parameter.empty:
                words.append(repr(value))
            elif value is not parameter.default and repr(value) != repr(parameter.default):
                words.append(f"{name}={getattr(value, '__name__', repr(value))}")
        return f"{type(self).__name__}({', '.join(words)})"


def whole_number(owner: str, name: str, value: Any, least: int = 1) -> int:
    """A whole number ≥ least, as an int; the error names the owner and the argument."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise ValueError(f"{owner}: {name}={value!r}, expected a whole number ≥ {least}")


def real_number(owner: str, name: str, value: Any, below: float = float("inf")) -> float:
    """A number in [0, below), as a Python float, which keeps the dtype of arrays it meets."""
    if isinstance(value, int | float | np.number) and 0 <= value < below:
        return float(value)
    limit = "" if below == float("inf") else f" and < {below:g}"
    raise ValueError(f"{owner}: {name}={value!r}, expected a number ≥ 0{limit}")
