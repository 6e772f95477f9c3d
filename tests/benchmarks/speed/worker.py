"""One contestant in a process of its own: warm, it does a round for each line that it reads.

    python -m tests.benchmarks.speed.worker MODULE CONTESTANT SETTINGS [--once]

MODULE has a function CONTESTANT(settings) that gives (work, outcome): work() does one round and
returns how many steps or users it was; outcome() gives the figures that must agree.  Each reply is
a line of JSON; the first is that of the warming round.  --once: one round, then the end.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "jax", "keras", "tensorflow", "implicit")


def forget_peak() -> None:
    """Let `peak` tell of the rounds to come, not of the preparation of their data."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # no Linux: the preparation counts


def peak() -> float:
    """The most memory that this process has held, in MB; its parent's does not count."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def versions() -> dict[str, str]:
    """Of the libraries that this process has loaded, and the kernels of its BLAS."""
    from importlib import metadata

    names = {"scikit-learn": "sklearn"}
    loaded = [name for name in LIBRARIES if names.get(name, name) in sys.modules]
    found = {name: metadata.version(name) for name in loaded}
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return found
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            kernel = f"{pool['version']} {pool['architecture']}, {pool['num_threads']} thread"
            found[pool["internal_api"]] = kernel
    return found


def main(module: str, contestant: str, settings: str, once: bool) -> None:
    reply, sys.stdout = sys.stdout, sys.stderr  # libraries print what they like
    warnings.simplefilter("ignore")
    prepare = getattr(import_module(f"tests.benchmarks.speed.{module}"), contestant)
    job = json.loads(settings)
    work, outcome = prepare(job)
    if not once:
        forget_peak()
    while True:
        began, used = time.perf_counter(), time.process_time()
        units = sum(work() for _ in range(job.get("epochs", 1)))
        times: dict[str, Any] = {
            "wall": (time.perf_counter() - began) / units,
            "cpu": (time.process_time() - used) / units,
        }
        times |= {"units": units, "peak": peak(), "outcome": outcome()}
        times["versions"] = {} if once else versions()
        print(json.dumps(times), file=reply, flush=True)
        if once or not sys.stdin.readline():
            return


if __name__ == "__main__":
    main(*sys.argv[1:4], once="--once" in sys.argv)
