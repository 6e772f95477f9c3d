"""The mutation score: mutmut's mutants of a folder, each judged by the tests that reach it.

    pip install '.[test,mutation]'
    python tests/mutation.py nnrec/storage tests/test_storage_*.py tests/test_files.py [--jobs 2]

In a copy of the checkout mutmut puts every mutant of a function beside it.  One pytest session runs
the tests once, and notes which functions each one calls; then a fork of it for each mutant runs
those tests, the quickest first, until one fails.  A mutant that changes only what a string literal
says is left out.  One that runs out of time counts as killed, one that no test reaches as a
survivor.  `--sample 50` judges as many, drawn by a seed.  Exit code 1: below `--least`.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import gc
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MARKS = "not slow and not data and not oracle and not long"
# mutmut's wrappers stand between fit and its caller, whose line this test asks for
BETWEEN = "tests/test_nn_batches.py::test_a_drift_points_at_the_callers_line"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("code", nargs="+", help="folders or files below nnrec, then test files")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--sample", type=int, help="judge only so many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--least", type=float, default=0.95, help="the score that is asked for")
    parser.add_argument("--only", type=Path, help="judge only the survivors this file lists")
    parser.add_argument("--survivors", type=Path, help="write the survivors' changes to this file")
    arguments = parser.parse_args()
    os.environ["CI"] = "true"  # hypothesis draws the same examples each time
    with tempfile.TemporaryDirectory() as folder:
        listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
        for name in filter(None, listed.split("\0")):
            Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, Path(folder, name))
        os.chdir(folder)
        sys.path.insert(0, folder)
        sys.setrecursionlimit(20_000)  # a mutant's call takes three frames
        judge = Judge(arguments)
        code = [path for path in arguments.code if path.startswith("nnrec")]
        tests = [path for path in arguments.code if path not in code]
        mutants = [m for path in code for m in write_mutants(Path(path))]
        if arguments.only:
            listed = (ROOT / arguments.only).read_text(encoding="utf-8")
            listed = {entry.partition(": ")[2].strip() for entry in listed.split("\n\n")}
            mutants = [m for m in mutants if m[2] in listed]
        if arguments.sample:
            mutants = random.Random(arguments.seed).sample(mutants, arguments.sample)
        judge.mutants = mutants
        options = ["-q", "-p", "no:cacheprovider", "--tb", "native", "-m", MARKS]
        options += ["--deselect", BETWEEN]
        status = pytest.main([*options, *tests], plugins=[judge])
        return status or judge.report()


def write_mutants(path: Path) -> list[tuple[str, str, str]]:
    """Put the mutants into the code; each one's name, its function's name, and its change."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    if path.is_dir():
        return [m for below in sorted(path.rglob("*.py")) for m in write_mutants(below)]
    made = mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
    path.write_text(made.code, encoding="utf-8")
    functions = {
        node.name: node
        for node in ast.walk(ast.parse(made.code))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    found = []
    for name in made.mutant_names:
        function = name.rpartition("__mutmut_")[0]
        before, after = functions[f"{function}__mutmut_orig"], functions[name]
        if without_texts(before) != without_texts(after):
            change = f"{module}.{function}\n" + difference(before, after)
            found.append((f"{module}.{name}", f"{module}.{function}", change))
    return found


def without_texts(function: Any) -> str:
    """The function's syntax tree with every string literal and its own name blank."""
    tree = ast.parse(ast.unparse(function)).body[0]
    tree.name = ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def difference(before: Any, after: Any) -> str:
    """The lines that differ."""
    lines = [ast.unparse(node).partition("(")[2].splitlines() for node in (before, after)]
    marked = difflib.unified_diff(*lines, n=0, lineterm="")
    return "\n".join(line for line in marked if line[:2] not in ("--", "++", "@@"))


def choose(name: str) -> None:
    """The mutant whose code runs from now on, in this process: its children know no mutmut."""
    from mutmut.mutation.trampoline import set_mutant_under_test

    set_mutant_under_test(name)
    del os.environ["MUTANT_UNDER_TEST"]


class Judge:
    """The pytest plugin: first all tests once, then a fork for each mutant."""

    mutants: list[tuple[str, str, str]]

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.verdicts: dict[str, str] = {}
        self.screen = os.fdopen(os.dup(2), "w")  # pytest keeps the others until the end

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        import hypothesis

        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # nobody reads the example
        hypothesis.settings.register_profile(
            "m", hypothesis.settings(), phases=phases, max_examples=25, report_multiple_bugs=False
        )
        hypothesis.settings.load_profile("m")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        import hypothesis

        for item in session.items:  # also where a test asks for more examples
            if own := getattr(
                getattr(item, "function", None), "_hypothesis_internal_use_settings", None
            ):
                fewer = hypothesis.settings(own, max_examples=min(own.max_examples, 25))
                item.function._hypothesis_internal_use_settings = fewer

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True
        # Another process would not be the mutant; `reach` drops the tests that begin one unseen.
        items = [i for i in session.items if "python" not in getattr(i, "fixturenames", ())]
        reach = self.reach(session, items)
        gc.freeze()  # a fork's garbage collector leaves the pages shared
        began, running = time.monotonic(), {}
        for number, (name, function, _) in enumerate(self.mutants, 1):
            tests = [item for _, item in sorted(reach[function], key=lambda pair: pair[0])]
            if not tests:
                self.verdicts[name] = "no test"
                continue
            limit = 5 + 5 * sum(seconds for seconds, _ in reach[function])
            if len(running) == self.arguments.jobs:
                self.wait(running)
            if not (pid := os.fork()):
                self.try_mutant(name, tests, int(limit))
            running[pid] = name
            if not number % 100:
                rate = (time.monotonic() - began) / number
                print(f"{number}/{len(self.mutants)}  {Counter(self.verdicts.values())}"
                      f"  {rate:.2f} s each", file=self.screen, flush=True)  # fmt: skip
        while running:
            self.wait(running)
        return True

    def reach(self, session: pytest.Session, items: list[Any]) -> dict[str, list[Any]]:
        """The tests that call each function, with their seconds of CPU."""
        from _pytest.runner import runtestprotocol
        from mutmut.state import state

        choose("stats")
        reach = defaultdict(list)
        for item, after in zip(items, [*items[1:], None]):
            state()._stats.clear()
            before = os.times()[:4]
            for report in runtestprotocol(item, log=False, nextitem=after):
                if report.failed:
                    raise pytest.UsageError(f"fails without a mutant: {report.longreprtext}")
            user, system, *children = (b - a for a, b in zip(before, os.times()[:4]))
            for function in state()._stats if not any(children) else ():
                reach[function].append((user + system, item))
        choose("")
        return reach

    def try_mutant(self, name: str, tests: list[Any], limit: int) -> None:
        """In the fork: leave with 1 if a test fails, with 0 if none does."""
        from _pytest.runner import runtestprotocol

        choose(name)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        signal.alarm(10 * limit)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            for item, after in zip(tests, [*tests[1:], None]):
                if any(
                    report.failed for report in runtestprotocol(item, log=False, nextitem=after)
                ):
                    os._exit(1)
        except BaseException:
            os._exit(1)
        os._exit(0)

    def wait(self, running: dict[int, str]) -> None:
        pid, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        self.verdicts[running.pop(pid)] = {0: "survived", 1: "killed"}.get(code, "timeout")

    def report(self) -> int:
        """Print the score and the survivors; the exit code."""
        counts = Counter(self.verdicts.values())
        alive = [m for m in self.mutants if self.verdicts[m[0]] in ("survived", "no test")]
        text = "\n\n".join(f"{self.verdicts[name]}: {change}" for name, _, change in alive)
        if self.arguments.survivors:
            path = ROOT / self.arguments.survivors
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        else:
            print(text)
        score = 1 - len(alive) / len(self.mutants)
        print(f"\n{len(self.mutants)} mutants: {dict(counts)}; score {score:.2%}")
        return int(score < self.arguments.least)


if __name__ == "__main__":
    sys.exit(main())
