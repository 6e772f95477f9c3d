"""The command `nnrec`: one function per subcommand, which prints, and returns the exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from nnrec import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0 well, 1 something was found wrong, 2 wrong usage.

    >>> main(["--version"])
    Traceback (most recent call last):
    SystemExit: 0
    """
    parser = Parser(
        prog="nnrec",
        description="A small neural-network library to read, check and run.",
        epilog="`nnrec COMMAND --help` says more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"nnrec {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = commands.add_parser(
        "check",
        help="check every gradient, and that every planted mistake is found out",
        description="Check the gradient of every layer, composite and loss and of a set of whole "
        "networks, by each method that applies; then plant each mistake of the catalogue wherever "
        "it can stand, and check that it is rejected. The exit code is 0 when all this is so, "
        "else 1.",
    )
    command.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="draws sizes and values (default: 0)"
    )
    command.set_defaults(run=check)

    command = commands.add_parser(
        "explain",
        help="one step of training, worked out in full",
        description="Show the document's 3-4-2 network at work: forward pass, loss, backward pass "
        "and one update, each step in symbols, with the numbers put in, with its result and with "
        "an independent check. The exit code is 1 if a check fails.",
    )
    command.add_argument(
        "--format",
        choices=["text", "markdown", "latex", "html"],
        default="text",
        help="of the page",
    )
    command.add_argument(
        "--focus",
        metavar="WHAT",
        help="a part (dense_1), a neuron of it (dense_1[2]) or a weight (dense_1.W[0,1])",
    )
    command.add_argument(
        "--digits", type=seed, default=4, metavar="N", help="decimals (default: 4)"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="write there, not to the screen")
    command.set_defaults(run=explain)

    command = commands.add_parser(
        "exercise",
        help="sheets for practice by hand, each with its key",
        description="Write exercise sheets, a different one for each seed, each with its key.",
    )
    kinds = "forward backprop delta wrong-gradient update softmax factorization relu".split()
    command.add_argument("kind", choices=kinds, metavar="KIND", help=", ".join(kinds))
    command.add_argument("--seeds", type=seeds, default=range(1, 2), metavar="N-M", help="as 1-40")
    command.add_argument("--difficulty", type=int, choices=[1, 2, 3], default=1, help="1 to 3")
    command.add_argument("--fractions", action="store_true", help="exact numbers")
    command.add_argument(
        "--format", choices=["html", "markdown", "latex"], default="html", help="of the files"
    )
    command.add_argument("--out", type=Path, default=Path("sheets"), metavar="DIR", help="folder")
    command.set_defaults(run=exercise)

    arguments = vars(parser.parse_args(argv))
    run = arguments.pop("run")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without θ gets a question mark
    try:
        code: int = run(**arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def seed(text: str) -> int:
    """A seed: a whole number from 0 on.

    >>> seed("7")
    7
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from 0 on")
    return int(text)


def seeds(text: str) -> range:
    """A range of seeds, both ends included, or one.

    >>> seeds("1-40"), seeds("7")
    (range(1, 41), range(7, 8))
    """
    first, _, last = text.partition("-")
    found = range(seed(first), seed(last or first) + 1)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}, expected the smaller number first")
    return found


def check(seed: int) -> int:
    """Print the table of gradient checks and that of planted mistakes."""
    from nnrec.teach import MISTAKES, SPECIMENS

    wrong, checks, methods = [], 0, ("complex", "exact", "central", "taylor")
    print("The error of each gradient by each method, relative to the norm of the whole gradient")
    print("(taylor: 2 - slope of the remainder); exact, in fractions, must be 0.")
    for kind in dict.fromkeys(specimen.kind for specimen in SPECIMENS.values()):
        print(f"\n{kind:<30}" + "".join(f"{method:>10}" for method in methods))
        for specimen in (s for s in SPECIMENS.values() if s.kind == kind):
            cells = []
            for method in methods:
                if method not in specimen.methods:
                    cells.append("-")
                    continue
                report = specimen.case(seed).check(method)
                checks += 1
                cells.append(f"{report.error:.1e}" if report.error else "0")
                if not report:
                    wrong.append(str(report))
                    cells[-1] = "WRONG"
            print(f"{specimen.name:<30}" + "".join(f"{cell:>10}" for cell in cells))

    missed, planted = [], 0
    print(
        "\nEach mistake planted wherever it changes a gradient or breaks the contract of a layer:"
    )
    print("how often it is rejected, the smallest error by complex, and how often by the contract.")
    print(f"\n{'mistake':<30}{'rejected':>10}{'error':>10}{'contract':>10}")
    for mistake in MISTAKES.values():
        cases = [(s.name, s.case(seed).plant(mistake)) for s in SPECIMENS.values()]
        reports = {name: case.check("complex") for name, case in cases if case}
        accepted = [name for name, report in reports.items() if report]
        by_contract = sum(bool(report.violations) for report in reports.values())
        errors = [r.error for r in reports.values() if not r and not r.violations]
        rejected = f"{len(reports) - len(accepted)} of {len(reports):>2}"
        error = f"{min(errors):.1e}" if errors else "-"
        print(f"{mistake.name:<30}{rejected:>10}{error:>10}{by_contract or '-':>10}")
        planted += len(reports)
        if accepted or not reports:
            missed.append(mistake.name)
            print(f"  ACCEPTED: {', '.join(accepted)}" if accepted else "  shows nowhere")

    print()
    for text in wrong:
        print(f"{text}\n")
    right = f"{checks - len(wrong)} of {checks} checks of {len(SPECIMENS)} gradients passed"
    found = f"{len(MISTAKES) - len(missed)} of {len(MISTAKES)} mistakes rejected"
    print(f"{'FAILED' if wrong or missed else 'All well'}: {right}; {found} ({planted} cases).")
    return 1 if wrong or missed else 0


def explain(format: str, focus: str | None, digits: int, out: Path | None) -> int:
    """Print the document's network at work, or write it to a file."""
    from nnrec.teach import explain
    from nnrec.teach.explanations import document_network

    explanation = explain(*document_network(), format=format, focus=focus, digits=digits)
    if out:
        explanation.save(out)
        print(f"{out}: a step of the document's network, as {format}")
    else:
        print(explanation)
    return 0 if explanation.trace.ok else 1


def exercise(kind: str, seeds: range, out: Path, format: str, **settings: Any) -> int:
    """Write a sheet and its key for each seed; settings: difficulty and fractions."""
    from nnrec.teach import exercise

    for seed in seeds:
        exercise(kind, seed, **settings).save(out, format)
    print(f"{out}: {len(seeds)} sheets, each with its key, as {format}")
    return 0
