"""The runs of a benchmark, each in a process of its own with one BLAS thread: a table.

A benchmark calls `main` with its models (name → an expression, in which `seed` stands if it draws),
what else was tried (name → expressions), the seeds, the names of its figures, and

    prepare(validate) -> (train, judge, names in the expressions beside those of nnrec.recommend)

where validate means: on a part of train.  judge(model) gives the figures, each a number or an array
of one for each user, and the protocol.

Seconds are those of the processor for one `fit`, which other work on the machine does not lengthen;
memory is the highest of the process, data and judging included.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

import nnrec.recommend

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Outcome(NamedTuple):
    figures: Sequence[Any]
    protocol: str
    seconds: float
    peak: float  # MB


def main(
    prepare: Callable[[bool], tuple[Any, Callable[[Any], Any], Mapping[str, Any]]],
    models: Mapping[str, str],
    tried: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    figures: Sequence[str],
    given: Sequence[str] | None = None,
) -> dict[str, list[Outcome]]:
    """Print the table and the protocol; each model's outcomes, seed by seed."""
    every = [*{**models, **tried}]
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default="all", choices=[*every, "all"])
    parser.add_argument("--select", action="store_true", help="validation figures of all tried")
    parser.add_argument("--seeds", type=int, nargs="+", help="without: all, or to select the first")
    arguments = parser.parse_args(given)
    names = every if "all" in arguments.names else arguments.names
    rows = {name: models[name] for name in names if name in models}
    if arguments.select:
        both = [one for name in names for one in (models.get(name), *tried.get(name, ())) if one]
        rows, seeds = dict(zip(both, both)), seeds[:1]
    if not rows:
        parser.error(f"{', '.join(names)}: only tried, see --select")
    os.environ |= dict.fromkeys(THREADS, "1")  # for the processes to come
    print("| model |", " | ".join([*figures, "seconds", "MB"]), "|")
    print("|---" * (len(figures) + 3) + "|")
    found: dict[str, list[Outcome]] = {}
    for name, expression in rows.items():
        used = (arguments.seeds or seeds) if "seed" in expression else [0]
        found[name] = [alone(prepare, expression, seed, arguments.select) for seed in used]
        means = np.array([[np.mean(figure) for figure in one.figures] for one in found[name]])
        cells = [f"{mean:.4f}" for mean in means.mean(axis=0)]
        if len(used) > 1:
            cells = [f"{c} ± {s:.4f}" for c, s in zip(cells, means.std(axis=0, ddof=1))]
        cells.append(f"{np.mean([one.seconds for one in found[name]]):.0f}")
        cells.append(f"{max(one.peak for one in found[name]):.0f}")
        print("|", " | ".join([name, *cells]), "|", flush=True)
    print("\n" + found[name][0].protocol)
    return found


def alone(*run: Any) -> Outcome:
    """The outcome of a run, from a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        return fresh.submit(outcome, *run).result()


def outcome(prepare: Callable[[bool], Any], expression: str, seed: int, validate: bool) -> Outcome:
    train, judge, names = prepare(validate)
    model = eval(expression, vars(nnrec.recommend) | names | {"seed": seed})
    began = time.process_time()
    model.fit(train)
    seconds = time.process_time() - began
    figures, protocol = judge(model)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Outcome(figures, str(protocol), seconds, peak)
