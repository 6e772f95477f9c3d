"""The runs of a benchmark, each in a process of its own with one BLAS thread: a table, or --select.

A benchmark calls `main` with its models (name → an expression, in which `seed` stands if it draws),
the expressions that were tried, the seeds, the names of its figures, and

    measure(expression, seed, validate) -> (figures, seconds of training)

where validate means: on the validation part of train.  Seconds are those of the processor, which
other work on the machine does not lengthen; memory is the highest of the process, data included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def main(
    measure: Callable[[str, int, bool], tuple[Sequence[float], float]],
    models: Mapping[str, str],
    tried: Sequence[str],
    seeds: Sequence[int],
    figures: Sequence[str],
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help=f"of {', '.join(models)}; all without any")
    parser.add_argument("--select", action="store_true", help="validation figures of all tried")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        expression, seed = arguments.one
        found, seconds = measure(expression, int(seed), arguments.select)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([*map(float, found), seconds, peak]))
    elif arguments.select:
        print(*(f"{name:>9}" for name in figures), "  seconds  expression")
        for expression in tried:
            *found, seconds, _ = alone(expression, seeds[0], "--select")
            print(*(f"{x:9.4f}" for x in found), f"{seconds:8.0f}  {expression}", flush=True)
    else:
        print("| model |", " | ".join([*figures, "seconds", "MB"]), "|")
        print("|---" * (len(figures) + 3) + "|")
        for name in arguments.names or models:
            used = seeds if "seed" in models[name] else seeds[:1]
            rows = np.array([alone(models[name], seed) for seed in used])
            cells = [f"{column.mean():.4f}" for column in rows.T[:-2]]
            if len(used) > 1:
                cells = [f"{c} ± {s:.4f}" for c, s in zip(cells, rows.std(axis=0, ddof=1))]
            cells += [f"{rows[:, -2].mean():.0f}", f"{rows[:, -1].max():.0f}"]
            print("|", " | ".join([name, *cells]), "|", flush=True)


def alone(expression: str, seed: int, *flags: str) -> list[float]:
    """Figures, seconds and peak memory in MB of one run in a process of its own."""
    command = [sys.executable, sys.argv[0], "--one", expression, str(seed), *flags]
    environment = os.environ | dict.fromkeys(THREADS, "1")
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout)
