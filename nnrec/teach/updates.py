"""The update's steps in a trace: what a copy of the optimiser makes of θ and of its slots."""

from __future__ import annotations

import copy
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.nn.arguments import Array
from nnrec.teach.symbols import forms_of
from nnrec.teach.traces import constants

if TYPE_CHECKING:
    from nnrec.teach.recording import Recorder


def update(recorder: Recorder, g: Array) -> None:
    """Step a copy of the optimiser, and note each parameter's steps; frozen ones have none.

    Of a table only the rows of the batch are stepped.
    """
    network, optimizer = recorder.network, copy.deepcopy(recorder.optimizer)
    theta, count, tables = network.theta.copy(), optimizer.steps, recorder.rows
    slots = optimizer.slots or {name: np.zeros_like(theta) for name in optimizer.slot_names}
    before, segments = copy.deepcopy(slots), network.segments(optimizer, tables)
    scale = 1.0
    if optimizer.clip_norm is not None:
        if recorder.exact:
            raise TypeError(f"{optimizer!r} takes a root for clip_norm")
        norm = sqrt(sum(float(np.square(s.numbers(g), dtype=float).sum()) for s in segments))
        scale = optimizer.clip_norm / (max(norm, optimizer.clip_norm) or 1)
    if recorder.exact:  # `step` asks for a float as its rate, the rule itself does not
        for segment in segments:
            rate: Any = segment.rate(count) if callable(segment.rate) else segment.rate
            part, grad, *parts = (segment.numbers(v) for v in (theta, g, *slots.values()))
            optimizer.update(part, optimizer.decayed(part, grad), *parts, rate=rate, t=count + 1)
            for whole, stepped in zip((theta, *slots.values()), (part, *parts)):
                segment.of(whole)[... if segment.rows is None else segment.rows] = stepped
    else:
        optimizer.step(theta, g.copy(), segments)
        slots = optimizer.slots
    forms = getattr(forms_of(optimizer, scale != 1), "forward", {})
    at = {path: tables.get(path, ...) for path in network.layer.places}
    after = {path: part[at[path]] for path, part in network.parameters(theta).items()}
    old, new = ({k: network.parameters(v) for k, v in s.items()} for s in (before, slots))
    for path, (start, _, _) in network.layer.places.items():
        if network.is_frozen(path):
            continue
        segment = next(s for s in segments if s.start <= start < s.stop)
        rate = segment.rate(count) if callable(segment.rate) else segment.rate
        symbol = name = recorder.params[path]
        gradient, t = f"∂{symbol}", count + 1
        if path in tables:
            name = recorder.of_rows(symbol, symbol, tables[path])
            gradient = recorder.of_rows(gradient, symbol, tables[path])
            if not recorder.exact:
                steps = optimizer.row_steps[str(start)][tables[path]][:, None]
                t = recorder.give(f"t[{symbol}]", "steps of the rows", steps)
        local = constants(optimizer) | {"rate": rate, "scale": scale, "t": t}
        local |= {"theta": name, "g": gradient}
        values = {"theta_new": after[path]}
        for slot in optimizer.slot_names:
            given = old[slot][path][at[path]]
            local[slot] = recorder.give(f"{slot}[{name}]", f"{slot} of {path}", given)
            values[f"{slot}_new"] = new[slot][path][at[path]]
        where = path.rpartition(".")[0] or type(network.layer).__name__.lower()
        for key in forms or values:
            stem = local[key.removesuffix("_new")] if key in values else ""
            symbol = f"{stem}+" if stem else f"{key}[{name}]"
            form, value = forms.get(key, ""), values.get(key)
            local[key] = recorder.note(
                symbol, "update", where, recorder.optimizer, form, local, value, path
            )
