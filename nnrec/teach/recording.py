"""Recording a trace: the library's own pass, watched from outside.

Every part is wrapped (`planting`), and so are the loss and the penalties; the wrappers pass on what
they get, and note it.  Values are told apart by the arrays themselves: what one part returned and
another takes is one symbol.  Where one goes to several places, the sum of what comes back is a
step.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from nnrec import nn
from nnrec.nn.arguments import Array
from nnrec.nn.composites import rewired
from nnrec.nn.layers import several
from nnrec.nn.training import checked_batch
from nnrec.teach.expressions import evaluate
from nnrec.teach.planting import Batch, Call, Planted, PlantedLoss, PlantedPenalty
from nnrec.teach.probes import Probes, as_fractions
from nnrec.teach.symbols import forms_of, numbered
from nnrec.teach.traces import Step, Trace, constants, difference, used, widened
from nnrec.teach.updates import update

Place = tuple[Any, ...]


def trace(
    network: nn.Network,
    x: Any,
    y: Any = None,
    optimizer: nn.Optimizer | None = None,
    weight: Any = None,
    rng: Any = None,
    exact: bool = False,
) -> Trace:
    """Record one step of training, SGD(0.5) if no optimiser is given, as a `Trace`.

    Nothing changes: not the network, not the optimiser, not a Generator (a copy of it draws).
    rng: a seed or a Generator, training's draws.  exact: in fractions, those that the shortest
    decimals of the numbers name, where the arithmetic is rational.

    Values have the bits of `loss_and_grad` and `step`.  Beside each stands its check: of a gradient
    the derivative of the forward pass alone, of all else its symbolic form, evaluated.

    >>> net = nn.Network([nn.Dense(2, 1), nn.Sigmoid()], nn.MSE(), rng=0, dtype="float64")
    >>> t = trace(net, [[1.0, 2.0]], [1.0])
    >>> t.values["E"] == net.loss_and_grad([[1.0, 2.0]], [1.0])[0], t.ok
    (np.True_, True)
    """
    optimizer = nn.SGD(0.5) if optimizer is None else optimizer
    if not isinstance(optimizer, nn.Optimizer):
        raise TypeError(f"trace: optimizer={optimizer!r}, expected an Optimizer, such as SGD(0.5)")
    base = None if rng is None else np.random.default_rng(rng)
    batch = checked_batch(network, x, y, weight)
    if exact:
        network, optimizer = copy.copy(network), rational(optimizer)
        xs, target, weights = batch
        batch = tuple(map(as_fractions, xs)), as_fractions(target), as_fractions(weights)
        network.theta = as_fractions(network.theta)
        network.penalty = [rational(penalty) for penalty in network.penalty]
    recorder = Recorder(network, optimizer, batch, lambda: copy.deepcopy(base), exact)
    try:
        return recorder.run()
    except TypeError as error:
        if not exact:
            raise
        raise TypeError(f"exact=True takes rational arithmetic only: {error}") from error


def rational(subject: Any) -> Any:
    """A copy with its floats as fractions."""
    twin = copy.deepcopy(subject)
    for name, value in vars(twin).items():
        if isinstance(value, float):
            setattr(twin, name, Fraction(str(value)))
    return twin


def bare(subject: Any) -> Any:
    """The layer, loss or penalty itself, inside one with a mistake planted in it."""
    while isinstance(subject, Planted | PlantedLoss | PlantedPenalty):
        inside = next(name for name in ("layer", "loss", "penalty") if hasattr(subject, name))
        subject = getattr(subject, inside)
    return subject


class Recorder:
    """Runs a network with all its parts wrapped, and writes the trace."""

    def __init__(
        self, network: nn.Network, optimizer: Any, batch: Any, fresh: Callable[[], Any], exact: bool
    ):
        self.network, self.optimizer, self.batch, self.fresh = network, optimizer, batch, fresh
        self.exact = exact
        kind = "fraction" if exact else network.dtype
        self.trace = Trace(repr(network.layer), repr(network.loss), repr(optimizer), kind)
        self.values = self.trace.values
        self.rows: Mapping[str, Array] = network.layer.rows(*batch[0])
        self.places: dict[str, Place] = {}  # of the gradients that are probed
        self.symbols: dict[int, str] = {}  # of an array, by its identity
        self.kept: list[Any] = []  # the arrays, so that no identity is used again
        self.numbers: Counter[str] = Counter()
        self.uses: Counter[str] = Counter()
        self.back_from: dict[str, list[str]] = {}  # what came back for a symbol, use by use
        self.terms: list[str] = []  # of E
        self.calls = 0
        places = network.layer.places
        self.params = {path: self.fresh_symbol(path) for path in places}
        wide = [at for at in places if len(places[at][2]) > 1 and not network.is_frozen(at)]
        self.penalised = [(at, penalty) for at in wide for penalty in network.penalty]
        self.uses.update(self.params[at] for at, _ in self.penalised)

    def run(self) -> Trace:
        """The pass, the update, then the checks."""
        network, planted = self.network, copy.copy(self.network)
        inner = rewired(network.layer, lambda path, part: Planted(part, self.part(path), path))
        planted.layer = Planted(inner, self.whole, "")
        planted.loss = PlantedLoss(network.loss, self.loss, "")
        pairs = iter(self.penalised)
        watch = [lambda W, d: self.penalty(*next(pairs), W, d)] * len(network.penalty)
        planted.penalty = list(map(PlantedPenalty, network.penalty, watch))
        value, g = planted.loss_and_grad(*self.batch, rng=self.fresh())
        if network.penalty:
            self.add_up("E", "loss", "", self.terms, value)
        for path, (start, stop, shape) in network.layer.places.items():
            symbol = self.params[path]
            self.give(symbol, path, network.parameters()[path])
            if f"∂{symbol}" not in self.values:
                whole, place = g[start:stop].reshape(shape), ("theta", start, stop)
                terms = self.back_from.get(symbol, [])
                self.add_up(f"∂{symbol}", "backward", path, terms, whole, path, place)
        update(self, g)
        probes = Probes(network, self.batch, self.fresh, self.exact)
        with np.errstate(all="ignore"):
            for step in self.trace.steps:
                if step.name in self.places:
                    step.check = probes.derivative(self.places[step.name], step.value.shape)
                    step.method = probes.method
                elif step.check is None and step.known:
                    step.check = np.asarray(self.evaluated(step.form, step.operands))
                    step.method = "formula evaluated apart"
        return self.trace

    def note(
        self,
        name: str,
        kind: str,
        part: str,
        subject: Any,
        form: str,
        local: Mapping[str, Any],
        value: Any = None,
        param: str = "",
        place: Place = (),
        again: Any = None,
    ) -> str:
        """Note a step with a copy of its value (None: its form's), and where to probe its check.

        Without a form it is generic, `MyLayer(x, W)`, checked by what came when called again.
        """
        operands = used(form, local) if form else {k: v for k, v in local.items() if str(v) == v}
        owner = type(subject).__name__ + "_back" * (kind == "backward")
        value = np.array(self.evaluated(form, local) if value is None else value)
        if self.exact and any(isinstance(number, float) for number in value.flat):
            raise TypeError(f"{subject!r} gives floats")
        layer = "" if subject is None else repr(subject)
        form = form or f"{owner}({', '.join(operands)})"
        step = Step(name, kind, part, layer, form, operands, value, param)
        if again is not None:
            step.check, step.method = np.array(again), "called again"
        self.trace.steps.append(step)
        self.values[name] = value
        self.places |= {name: place} if place else {}
        return name

    def add_up(
        self,
        name: str,
        kind: str,
        part: str,
        terms: list[str],
        value: Any,
        param: str = "",
        place: Place = (),
    ) -> str:
        """A step that adds up what came back; where that is not the sum, a composite made it."""
        local = dict(zip(numbered("u", len(terms)), terms))
        form = " + ".join(local)
        subject = None
        if not terms or difference(value, self.evaluated(form, local)) > 1e-6:
            subject, form = self.network.layer, ""
        return self.note(name, kind, part, subject, form, local, value, param, place)

    def fresh_symbol(self, base: str) -> str:
        """The next symbol of a letter, or of a parameter's name."""
        base = base.rpartition(".")[2]
        self.numbers[base] += 1
        return f"{base}_{self.numbers[base]}"

    def give(self, symbol: str, about: str, value: Any) -> str:
        """Note a value that no step gives."""
        if symbol not in self.values:
            dense = value.toarray() if hasattr(value, "tocsr") else np.array(value)
            self.trace.given[symbol], self.values[symbol] = about, dense
        return symbol

    def name(self, symbol: str, array: Any) -> None:
        """What an array is called from here on."""
        self.kept.append(array)
        self.symbols[id(array)] = symbol

    def use(self, array: Any) -> tuple[str, int]:
        """An array's symbol, and the how-manieth use of it this is."""
        if id(array) not in self.symbols:  # a composite's own arithmetic, between its parts
            self.name(self.give(self.fresh_symbol("v"), "made between parts", array), array)
        symbol = self.symbols[id(array)]
        self.uses[symbol] += 1
        return symbol, self.uses[symbol]

    def evaluated(self, form: str, local: Mapping[str, Any]) -> Any:
        """The value of a form on what the local names stand for."""
        values = {k: self.values[v] if isinstance(v, str) else v for k, v in local.items()}
        with np.errstate(all="ignore"):
            return evaluate(form, {k: widened(np.asarray(v)) for k, v in values.items()})

    def whole(self, call: Call) -> Any:
        """The call of the whole layer: the network's inputs get their symbols."""
        call.inputs = tuple(x.view() if isinstance(x, np.ndarray) else x for x in call.inputs)
        names = [name.replace("x", "x_") for name in numbered("x", len(call.inputs))]
        names = ["x"] if len(names) == 1 else names
        for name, x in zip(names, call.inputs):
            self.name(self.give(name, "input", x), x)
        y, real_back = call.forward()

        def back(dy: Any, g: Array) -> Any:
            dx = real_back(dy, g)
            for i, (name, d) in enumerate(zip(names, several(dx))):
                if d is not None:
                    self.arrives(name, d, ("x", i), "")
            return dx

        return y, back

    def part(self, path: str) -> Callable[[Call], Any]:
        """The hook of one part."""
        return lambda call: self.call(path, call)

    def call(self, path: str, call: Call) -> Any:
        """One call of one part: its forward steps, and a back that notes its backward steps."""
        here, self.calls, layer = self.calls, self.calls + 1, call.layer
        part, before = path or type(layer).__name__.lower(), copy.deepcopy(call.rng)
        uses = [self.use(x) for x in call.inputs]
        y, real_back = call.forward()
        outputs, known = several(y), forms_of(bare(layer), len(uses))
        inputs, results = numbered("x", len(uses)), numbered("y", len(outputs))
        local: dict[str, Any] = constants(bare(layer))
        local |= {name: symbol for name, (symbol, _) in zip(inputs, uses)}
        paths = {name: f"{path}.{name}" if path else name for name in layer.places}
        for name, value in call.named(call.theta).items():
            local[name] = self.give(self.params[paths[name]], paths[name], value)
            self.uses[local[name]] += 1
        if isinstance(bare(layer), nn.Dropout):
            mask = real_back(np.ones_like(outputs[0]), np.empty(0))
            local["m"] = self.give(self.fresh_symbol("m"), f"{part}: mask / share kept", mask)
        again = () if known else several(layer(call.theta, *call.inputs, rng=before)[0])
        forms: Mapping[str, str] = known.forward if known else dict.fromkeys(results, "")
        letter = known.letter if known else "y"
        for name, form in forms.items():
            i = results.index(name) if name in results else None
            symbol = self.fresh_symbol(name if i is None else letter)
            result: Any = None if i is None else outputs[i]
            twice = again[i] if again and i is not None else None
            local[name] = self.note(
                symbol, "forward", part, layer, form, local, result, again=twice
            )
        for name, array in zip(results, outputs):
            self.name(local[name], array)

        def back(dy: Any, g: Array) -> Any:
            dx, own = real_back(dy, g), np.zeros_like(g)
            real_back(dy, own)  # once more: what this call alone adds to g
            for j, (name, d) in enumerate(zip(results, several(dy))):
                local[f"d{name}"] = self.arrives(local[name], d, ("out", here, j), part)
            found: dict[str, tuple[str, Any, str, Place]] = {}
            for name, (start, stop, shape) in layer.places.items():
                symbol, value = self.came_back(local[name]), own[start:stop].reshape(shape)
                found[f"d{name}"] = symbol, value, paths[name], ("own", here, start, stop)
            for j, (name, (symbol, k), d) in enumerate(zip(inputs, uses, several(dx))):
                if d is not None:
                    found[f"d{name}"] = self.came_back(symbol, k), d, "", ("in", here, j)
            self.gradients(part, layer, known.backward if known else {}, local, found)
            return dx

        return y, back

    def came_back(self, symbol: str, use: int = 0) -> str:
        """The name of a gradient: ∂W_1, or of one of several uses ∂W_1.2; noted for their sum."""
        terms = self.back_from.setdefault(symbol, [])
        alone = self.uses[symbol] == 1
        terms.append(f"∂{symbol}" if alone else f"∂{symbol}.{use or len(terms) + 1}")
        return terms[-1]

    def gradients(
        self,
        part: str,
        subject: Any,
        forms: Mapping[str, str],
        local: dict[str, Any],
        found: Mapping[str, tuple[str, Any, str, Place]],
    ) -> None:
        """The backward steps of one call, in the order of the forms; without forms, generic."""
        for name in {**forms, **found}:
            if name not in found and name.rstrip("0123456789") in ("dx", "dp"):
                continue  # the part declined this gradient
            aside = self.fresh_symbol(f"∂{name[1:]}") if name not in found else ""
            symbol, value, param, place = found.get(name, (aside, None, "", ()))
            form = forms.get(name, "")
            self.note(symbol, "backward", part, subject, form, local, value, param, place)
            local[name] = symbol

    def arrives(self, symbol: str, d: Any, place: Place, part: str) -> str:
        """The name of ∂E/∂symbol as a part's back gets it: what came back, or a sum's step."""
        whole = f"∂{symbol}"
        if whole in self.values:
            if np.array_equal(self.values[whole], d):
                return whole
            whole = self.fresh_symbol(whole)
        return self.add_up(whole, "backward", part, self.back_from.get(symbol, []), d, "", place)

    def loss(self, at: Batch, d: Any) -> Any:
        """The loss's steps, forward and backward."""
        loss, preds = self.network.loss, several(at.pred)
        forms, names = forms_of(bare(loss), len(preds)), numbered("p", len(preds))
        uses = [self.use(p) for p in preds]
        local: dict[str, Any] = constants(bare(loss))
        local |= {"n": preds[0].shape[0], "k": preds[0].shape[-1]}
        local |= {name: symbol for name, (symbol, _) in zip(names, uses)}
        if at.target is not None:
            local["t"] = self.give("y", "target", at.target)
        form, mean = ("total(L) / n", "({}) / n") if local["n"] > 1 else ("total(L)", "{}")
        if forms and loss.takes_labels and self.values["y"].dtype.kind in "iub":
            local["labels"] = local["t"]
            local["t"] = self.note("t", "loss", "loss", loss, "one_hot(labels, p)", local)
        for name, row in forms.forward.items() if forms else ():
            local[name] = self.note(name, "loss", "loss", loss, row, local)
        if at.weight is not None:
            local["w"] = self.give("w", "weights of the rows", at.weight[:, None])
        if forms and at.weight is not None:
            local["c"] = self.note("c", "loss", "loss", loss, "share(w)", local)
            form, mean = "total(c * L)", "c * ({})"
        value = loss(at.pred, at.target, at.weight)[0]
        name, again = "E_0" if self.network.penalty else "E", None if forms else value
        self.note(name, "loss", "loss", loss, form if forms else "", local, value, again=again)
        self.terms.append(name)
        found = {
            f"d{name}": (self.came_back(symbol, k), dp, "", ("pred", i))
            for i, (name, (symbol, k), dp) in enumerate(zip(names, uses, several(d)))
        }
        backward = forms.backward.items() if forms else ()
        rows = {k: mean.format(f) if k in found else f for k, f in backward}
        self.gradients("loss", loss, rows, local, found)
        return d

    def penalty(self, path: str, penalty: Any, W: Array, d: Array) -> Array:
        """One penalty's steps on one parameter; of a table, on the rows of the batch."""
        forms, symbol, rows = forms_of(bare(penalty)), self.params[path], self.rows.get(path)
        here = symbol if rows is None else self.of_rows(symbol, symbol, rows, "loss")
        local, value = constants(bare(penalty)) | {"W": here}, penalty(W)[0]
        form, dform = (forms.forward["R"], forms.backward["dW"]) if forms else ("", "")
        R, again = self.fresh_symbol("R"), None if forms else value
        self.note(R, "loss", path, penalty, form, local, value, path, again=again)
        self.terms.append(R)
        name = self.came_back(symbol)
        part = name if rows is None else f"{name}[rows({symbol})]"
        place = ("penalty", penalty, np.array(W))
        self.note(part, "backward", path, penalty, dform, local, d, path, place)
        if rows is not None:
            local = {"r": f"rows({symbol})", "d": part, "W": symbol}
            self.note(name, "backward", path, None, "scatter(r, d, W)", local, param=path)
        return d

    def of_rows(self, name: str, symbol: str, rows: Array, kind: str = "update") -> str:
        """A table's, or its gradient's, rows of the batch, as a step."""
        local = {"table": name, "rows": self.give(f"rows({symbol})", "rows of the batch", rows)}
        part = f"{name}[rows({symbol})]"
        if part not in self.values:
            value = self.values[name][rows]
            self.note(part, kind, "", None, "table[rows]", local, value)
        return part
