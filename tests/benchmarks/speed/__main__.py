"""How fast nnrec is, beside the libraries one would install instead: one command, one table.

    NNREC_DATA=… python -m tests.benchmarks.speed --out build/speed [--row document] [--batch 32]

From the checkout's root, with `pip install '.[bench]'`.  Each contestant is a process of its own,
pinned to one core, with one BLAS thread; the processes live side by side and take turns, one round
each, in an order that rotates, so that what the machine does besides befalls all alike.  Quoted are
the median of the rounds' ratios and the ratio of the best rounds.  On a machine that others use,
--clock cpu counts the processor's time instead of the wall's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.speed.rows import ROWS, Row, needs
from tests.benchmarks.speed.table import markdown, picture

ROOT = Path(__file__).parents[3]
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
Line = dict[str, Any]


class Contestant:
    """A worker that waits for its turns; of a cold row, a new one for each turn."""

    def __init__(self, row: Row, name: str, settings: dict[str, Any]) -> None:
        self.row, self.name = row, name
        self.rounds: list[Line] = []
        worker = [sys.executable, "-m", "tests.benchmarks.speed.worker"]
        self.command = [*worker, row.module, name, json.dumps(settings)]
        if not row.module:
            self.command = [sys.executable, "-c", f"import {name}"]
        self.warm: Line | None = None
        if not row.cold:
            self.process = self.start()
            self.warm = self.reply()

    def start(self, *more: str) -> Any:
        self.log = tempfile.TemporaryFile("w+")
        return subprocess.Popen(
            [*self.command, *more],
            env=os.environ | dict.fromkeys(THREADS, "1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=ROOT,
            text=True,
        )

    def reply(self) -> Line:
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"{self.name} of {self.row.name}: {self.log.read()[-2000:]}")
        return dict(json.loads(line))

    def turn(self) -> None:
        if not self.row.cold:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
            self.rounds.append(self.reply())
            return
        began = time.perf_counter()
        self.process = self.start("--once")
        self.process.stdin.close()
        answer = self.reply() if self.row.module else {"units": 1, "outcome": {}, "versions": {}}
        _, status, used = os.wait4(self.process.pid, 0)
        assert status == 0, self.name
        times = {"wall": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime}
        self.rounds.append({"peak": used.ru_maxrss / 1024} | answer | times)

    def end(self) -> None:
        if not self.row.cold:
            self.process.stdin.close()
            self.process.wait()


def measure(row: Row, settings: dict[str, Any], peers: list[str], options: Any) -> Line:
    """One line of the table: all contestants on one job, in turns."""
    missing = [p for p in peers if not all(map(find_spec, needs(p)))]
    present = [p for p in peers if p not in missing]
    contestants = [Contestant(row, name, settings) for name in present]
    for i in range(options.rounds or row.rounds):
        for k in range(len(contestants)):
            contestants[(i + k) % len(contestants)].turn()
    for contestant in contestants:
        contestant.end()
    by_name = {c.name: c.rounds for c in contestants}
    outcomes = {c.name: (c.warm or c.rounds[-1])["outcome"] for c in contestants}
    row.check(outcomes)
    units = {r["units"] for rounds in by_name.values() for r in rounds}
    assert len(units) == 1, f"{row.name}: steps counted {units}"
    line: Line = {"row": row.name, "settings": settings, "unit": row.unit, "steps": units.pop()}
    line |= {"missing": missing, "contestants": {}}
    for c in contestants:
        figures: Line = {"outcome": outcomes[c.name], "versions": c.rounds[-1]["versions"]}
        figures["peak"] = max(r["peak"] for r in c.rounds)
        if c.warm:
            figures["first"] = c.warm["wall"]
        for clock in ("wall", "cpu"):
            own, ours = ([r[clock] for r in rounds] for rounds in (c.rounds, by_name[row.ours]))
            figures[clock] = {
                "rounds": own,
                "median": median(own),
                "best": min(own),
                "nnrec / this": median(a / b for a, b in zip(ours, own)),
                "best nnrec / best": min(ours) / min(own),
            }
        line["contestants"][c.name] = figures
    return line


def machine() -> Line:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((s.partition(":")[2].strip() for s in lines if s.startswith("model name")), "")
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%d %H:%M"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--page", type=Path, help="a page whose last section becomes the table")
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS])
    parser.add_argument("--batch", action="append", type=int, help="only these, where a row has")
    parser.add_argument("--peers", help="only these, by commas; nnrec always takes part")
    parser.add_argument("--rounds", type=int, help="turns of each contestant")
    parser.add_argument("--core", type=int, default=max(0, (os.cpu_count() or 1) - 1))
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})  # every contestant inherits it
    options.out.mkdir(parents=True, exist_ok=True)
    result: Line = {"machine": machine(), "clock": options.clock, "lines": []}
    rows = [row for row in ROWS if not options.row or row.name in options.row]
    if "NNREC_DATA" not in os.environ and any(row.module == "recommenders" for row in rows):
        parser.error("set NNREC_DATA to the folder of the data sets, or choose rows without them")
    for row in rows:
        peers = options.peers.split(",") if options.peers else row.contestants
        chosen = [name for name in row.contestants if name in peers or name == row.ours]
        for settings in row.settings:
            if options.batch and settings.get("batch") not in options.batch:
                continue
            line = measure(row, settings, chosen, options)
            result["lines"].append(line)
            print(markdown([line], options.clock), flush=True)
            (options.out / "speed.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    text = markdown(result["lines"], options.clock, result["machine"])
    (options.out / "speed.md").write_text(text, encoding="utf-8")
    if options.page:
        before = options.page.read_text(encoding="utf-8").partition("## The table\n")[0]
        options.page.write_text(before + text, encoding="utf-8")
    picture(result, options.out / "speed.png")


if __name__ == "__main__":
    main()
