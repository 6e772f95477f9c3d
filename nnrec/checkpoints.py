"""Checkpoints: a training under way, written to a file again and again, and taken up from it.

The file holds all that the later steps depend on: θ, the optimiser's state, the place in the epoch
and the layers' Generator there, the history, what callbacks have learned.  The batches of an epoch
come from a seed, so those before that place are made once more and passed over.  What it is a
training of stands there too (`nnrec.fingerprints`), so that another one's is refused by name.
"""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import dataclass, is_dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nnrec.files import CLASSES, plain
from nnrec.fingerprints import build, differences, leaves
from nnrec.nn.arguments import real_number, whole_number
from nnrec.nn.training import Progress, Run
from nnrec.storage import FormatError, pack, read, unpack, write

PLACE = ("epoch", "step", "stop", "batches", "total", "mass", "draws")  # of a Run


@dataclass
class Checkpoint:
    """A callback that writes a training to `path` while it goes on, and goes on from what is there.

    Run the same program again after a kill: the training goes on from there and ends in the same
    bits as one never killed; with resume=False it begins afresh.  A file of a training on other
    data or settings is a ValueError that says what differs; `epochs` may be more.  Another NumPy,
    BLAS or number of its threads is a warning.

    Written before the first step, then every so many steps or seconds, or else after each epoch;
    always after the last.  keep=3: path.1 and path.2 are the ones before.  It stands last among the
    callbacks, and keeps what others name as `learned = ("best",)`.  A batch source must draw from
    its rng alone.  `nnrec.load(path)` gives the network as it was then, if it can be filed.

    >>> import tempfile
    >>> from nnrec.nn import MSE, Dense, Network
    >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
    >>> def train(epochs):
    ...     network = Network([Dense(2, 1)], MSE(), rng=0)
    ...     network.fit(np.eye(2), [0, 1], epochs=epochs, callbacks=[Checkpoint(path)], verbose=0)
    ...     return network.theta
    >>> half = train(epochs=2)  # and here the machine goes down
    >>> whole = train(epochs=4)
    >>> os.remove(path)
    >>> bool((whole == train(epochs=4)).all())
    True
    """

    path: str | os.PathLike[str]
    every_steps: int | None = None
    every_seconds: float | None = None
    keep: int = 1
    resume: bool = True

    def __post_init__(self) -> None:
        whole_number("Checkpoint", "keep", self.keep)
        for name, check in (("every_steps", whole_number), ("every_seconds", real_number)):
            if getattr(self, name) is not None:
                check("Checkpoint", name, getattr(self, name))

    def on_start(self, run: Run) -> None:
        place = [callback is self for callback in run.callbacks].index(True)
        for other in run.callbacks[place + 1 :]:
            if not isinstance(other, Progress):
                raise ValueError(f"fit: {other!r} stands behind {self!r}, which must be the last")
        self.others = [other for other in run.callbacks[:place] if hasattr(other, "learned")]
        self.settings = settings(run, self.others)
        if self.resume and os.path.exists(self.path):
            self.restore(run)
            self.written = time.monotonic()
        else:
            self.write(run)

    def on_step(self, run: Run) -> None:
        steps, seconds = self.every_steps, self.every_seconds
        due = steps is not None and run.step % steps == 0
        due |= seconds is not None and time.monotonic() - self.written >= seconds
        if due and not run.stop:  # the epoch ends here, after which it is written
            self.write(run)

    def on_epoch(self, run: Run) -> None:
        each = self.every_steps is None and self.every_seconds is None
        if each or run.stop or run.epoch == run.epochs:
            self.write(run)

    def write(self, run: Run) -> None:
        """Write where the run is; the earlier checkpoints move one name on."""
        network = run.network
        try:
            model, arrays = pack(network, CLASSES)
        except TypeError:  # a layer of one's own, say; to go on, what is learned is enough
            known, arrays = pack({name: getattr(network, name) for name in network.learned}, {})
            model = {"$object": "Network", "arguments": {}, "learned": known}
        state = {name: getattr(run, name) for name in PLACE}
        state |= {"history": dict(run.history), "optimizer": run.optimizer.state_dict()}
        state |= {"callbacks": [*map(learned, self.others)], "settings": self.settings}
        tree, more = pack(state, {}, name="checkpoint")
        path = os.path.realpath(self.path)
        names = [path, *(f"{path}.{i}" for i in range(1, self.keep))]
        for newer, older in reversed([*pairwise(names)]):
            if os.path.exists(newer):
                if os.path.lexists(older):
                    os.unlink(older)
                os.link(newer, older)  # so that there is a whole file at `path` at any time
        write(self.path, arrays | more, {"model": model, "checkpoint": tree, "provenance": build()})
        self.written = time.monotonic()

    def restore(self, run: Run) -> None:
        """Bring a run that is about to start to where the file is."""
        file, network = os.fsdecode(self.path), run.network
        arrays, metadata = read(self.path)
        if "checkpoint" not in metadata:
            raise FormatError(f"{file}: no checkpoint; take another path, or resume=False")
        try:
            state = unpack(metadata["checkpoint"], arrays, {}, "checkpoint")
            model: Any = metadata.get("model")
            found = unpack(model.get("learned", model), arrays, {}, "model")
            settings = state["settings"]
            if unseeded := network.rng is None and found["entropy"] != network.entropy:
                self.settings["network.theta"] = settings["network.theta"]
            if differ := differences(self.settings, settings):
                raise ValueError(f"{file} is of another training: {differ}")
            check(state, found, run, [callback.learned for callback in self.others])
        except (AttributeError, KeyError, TypeError, FormatError) as error:
            raise FormatError(f"{file}: no checkpoint that fits: {error}") from error
        if state["epoch"] > run.epochs:
            raise ValueError(f"{file} is at epoch {state['epoch']}; fit has epochs={run.epochs}")
        if differ := differences(build(), plain(metadata.get("provenance"))):
            text = f"{file}: the last bits may differ from those of one run throughout: {differ}"
            warnings.warn(text, stacklevel=2)
        if unseeded:
            warnings.warn(f"{file}: a network without a seed goes on as the file's", stacklevel=2)
        run.optimizer.load_state_dict(state["optimizer"])
        network.theta[:], network.entropy = found["theta"], found["entropy"]
        network.epochs = found["epochs"] - (state["batches"] > 0)  # it is counted when it begins
        vars(run).update({name: state[name] for name in PLACE})
        run.history.update(state["history"])
        for callback, values in zip(self.others, state["callbacks"]):
            for name, value in values.items():
                setattr(callback, name, value)


def learned(callback: Any) -> dict[str, Any]:
    """What a callback asks to be kept."""
    return {name: getattr(callback, name) for name in callback.learned if hasattr(callback, name)}


def settings(run: Run, others: Any) -> dict[str, str]:
    """All that a run's bits depend on as it starts, but for the entropy of a network."""
    parts = {f"network.{name}": value for name, value in vars(run.network).items()}
    del parts["network.entropy"]
    names = [repr(one) if is_dataclass(one) else type(one).__qualname__ for one in others]
    parts |= {"optimizer": run.optimizer, **run.given, "callbacks": names}
    return {path: text for name, part in parts.items() for path, text in leaves(part, name)}


def check(state: Any, found: Any, run: Run, callbacks: list[tuple[str, ...]]) -> None:
    """FormatError unless a state has the parts, kinds and shapes that this run's has."""
    optimizer, history, theta = state["optimizer"], state["history"], run.network.theta

    def like_theta(a: Any) -> bool:
        return isinstance(a, np.ndarray) and a.shape == theta.shape and a.dtype == theta.dtype

    tables = {str(start): shape[:1] for start, _, shape in run.network.layer.places.values()}
    counts = [(tables.get(start), a) for start, a in optimizer["row_steps"].items()]
    numbers = [*(found["entropy"], found["epochs"], optimizer["steps"]), *map(state.get, PLACE[:2])]
    right = {
        "place": all(type(state[name]) is type(getattr(run, name)) for name in PLACE[:-1]),
        "draws": isinstance(state["draws"], np.random.Generator) or not state["batches"],
        "θ": like_theta(found["theta"]),
        "counts": all(type(n) is int and n >= 0 for n in [*numbers, state["batches"]]),
        "slots": all(map(like_theta, optimizer["slots"].values())),
        "rows": all(getattr(a, "shape", 0) == size and a.dtype.kind == "i" for size, a in counts),
        "history": all(isinstance(values, list) for values in history.values()),
        "callbacks": all(map(set.issuperset, map(set, callbacks), state["callbacks"])),
    }
    if wrong := [name for name, fine in right.items() if not fine]:
        raise FormatError(f"{', '.join(wrong)}: of other kinds or shapes than this training's")
