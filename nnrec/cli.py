"""The command `nnrec`: its arguments, its errors in one line, its exit codes."""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from nnrec import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0 well, 1 the answer or the input is bad, 2 wrong usage.

    >>> main(["--version"])
    Traceback (most recent call last):
    SystemExit: 0
    """
    # Batches are too small to share out, and the bits must not depend on the number of cores.
    for library in ("OPENBLAS", "MKL", "OMP"):  # which read it as NumPy is imported
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    from nnrec import commands, recommending

    parser = Parser(
        prog="nnrec",
        description="A small neural-network library to read, check and run. On a shop's table: "
        "train, evaluate, predict and inspect; on its event log: fit-recommender, recommend and "
        "evaluate; demo shows all of it on a made-up shop.",
        epilog="`nnrec COMMAND --help` says more about a command. Exit codes: 0 all well, 1 the "
        "answer or the input is bad, 2 wrong usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"nnrec {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(run: Callable[..., int], help: str, description: str) -> argparse.ArgumentParser:
        command = subparsers.add_parser(spoken(run), help=help, description=description)
        command.set_defaults(run=run)
        return command

    of_either = "a file of `nnrec train` or `nnrec fit-recommender`"
    command = add(
        commands.demo,
        help="the whole story on a made-up shop, in under a minute",
        description="Make up a shop whose true purchase probabilities are known, plant dirt in its "
        "table, then clean it, extract features, train, and judge the model on unseen rows beside "
        "two baselines and the best that is achievable; save it, load it, predict. Then recommend "
        "from who viewed what, beside popularity, EASE and the true preferences. Needs no network. "
        "The exit code is 1 if the model falls short of 97 % of what is achievable, or the "
        "recommender of 88 %.",
    )
    add_out(command)
    add_seed(command, "draws the shop, its dirt and the model")

    command = add(
        commands.train,
        help="train a model on your table, and report how good it is",
        description="Read a table (.csv, .tsv, also .gz, or .parquet), learn to tell the rows "
        "whose label is the positive value from the rest, and judge the model on a tenth of the "
        "rows, which played no part in training. Types, cleaning and features are inferred and "
        "shown. Writes model.safetensors and report.html.",
    )
    command.add_argument("file", metavar="FILE", help="the table")
    command.add_argument("--label", required=True, metavar="COL", help="the column to predict")
    command.add_argument(
        "--positive",
        metavar="VALUE",
        help="the label's value to look for (default: the last of two: True, 1, yes)",
    )
    command.add_argument(
        "--drop", nargs="+", default=[], metavar="COL", help="columns that are no inputs"
    )
    sides = command.add_mutually_exclusive_group()
    sides.add_argument(
        "--group",
        metavar="COL",
        help="an id, such as the customer's, whose rows stay in one part; it is no input. Equal "
        "rows always stay in one part",
    )
    sides.add_argument(
        "--time", metavar="COL", help="train on the earliest rows and judge on the latest"
    )
    command.add_argument(
        "--epochs",
        type=count,
        metavar="N",
        help="rounds of training, at most (default: 10, more for a small table)",
    )
    add_out(command)
    add_seed(command, "draws the parts and the model")

    command = add(
        commands.evaluate,
        help="judge a trained model, or a recommender, on another table",
        description="Judge a model on rows whose label is known; the figures are honest only if "
        "none of them was trained on. Or judge a recommender on later events; those that it has "
        "learned from, and of users or items that it doesn't know, are left out and counted. "
        "Writes report.html.",
    )
    command.add_argument("model", metavar="MODEL", help=of_either)
    command.add_argument("file", metavar="FILE", help="the table, with the label; or the events")
    add_out(command)

    command = add(
        commands.predict,
        help="a probability for every row of a table",
        description="Print CSV: each row's number, its probability of the positive value, and "
        "whether that reaches the model's threshold.",
    )
    command.add_argument("model", metavar="MODEL", help="a file that `nnrec train` wrote")
    command.add_argument("file", metavar="FILE", help="the table; it needs no label")
    command.add_argument("--out", type=Path, metavar="CSV", help="write there, not to the screen")
    command.add_argument(
        "--keep", nargs="+", default=[], metavar="COL", help="columns to copy, such as an id"
    )

    command = add(
        recommending.fit_recommender,
        help="learn from an event log what to recommend, and report how well",
        description="Read a table of events (.csv, .tsv, also .gz, or .parquet), one a row: who "
        "took up what. Withhold an item of each user, the last one if there are times, choose the "
        "model's settings on a part of the rest, and judge it on what was withheld, beside "
        "Popularity and EASE. Then learn from all events. Writes recommender.safetensors and "
        "report.html.",
    )
    command.add_argument("file", metavar="EVENTS", help="the table of events")
    command.add_argument("--user", required=True, metavar="COL", help="the user's id")
    command.add_argument("--item", required=True, metavar="COL", help="the item's id")
    command.add_argument("--time", metavar="COL", help="when: a number, a date or a time")
    command.add_argument("--value", metavar="COL", help="the event's weight (only ials uses it)")
    names = "popularity knn ease edlae ials factors neumf autoencoder vae two-tower blend".split()
    command.add_argument(
        "--model",
        choices=names,
        metavar="NAME",
        help=f"{', '.join(names)} (default: edlae, and ials with more than 20,000 items)",
    )
    add_out(command)
    add_seed(command, "draws what is withheld without times, and the model")

    command = add(
        recommending.recommend,
        help="what to recommend to users, or to somebody new",
        description="Print each user's best items with their scores: a table on a terminal, else "
        "CSV. A list of ids is ID,ID,…, quoted as in CSV; @FILE reads one id a line, @- from the "
        "standard input. An unknown user is an error: for somebody new give --history, even an "
        'empty one (""). Unknown items in --among and --without change nothing, unless all are '
        "unknown.",
    )
    command.add_argument("model", metavar="MODEL", help="a file of `nnrec fit-recommender`")
    who = command.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", type=ids, metavar="IDS", help="one user, or several")
    who.add_argument(
        "--history", type=ids, metavar="IDS", help="the items of somebody new, oldest first"
    )
    command.add_argument("-n", type=count, default=10, metavar="N", help="items (default: 10)")
    command.add_argument("--among", type=ids, metavar="IDS", help="only these, such as in stock")
    command.add_argument(
        "--without", type=ids, default=[], metavar="IDS", help="none of these, such as the basket"
    )
    command.add_argument("--again", action="store_true", help="items that the user has had, too")
    command.add_argument("--out", type=Path, metavar="CSV", help="write there, not to the screen")

    command = add(
        commands.inspect,
        help="what a model file holds",
        description="Show what a model file says of itself: figures, parts and sizes.",
    )
    command.add_argument("model", metavar="MODEL", help="a file of nnrec, also a checkpoint")

    command = add(
        commands.check,
        help="check every gradient, and that every planted mistake is found out",
        description="Check the gradient of every layer, composite and loss and of a set of whole "
        "networks, by each method that applies; then plant each mistake of the catalogue wherever "
        "it can stand, and check that it is rejected. The exit code is 0 when all this is so, "
        "else 1.",
    )
    add_seed(command, "draws sizes and values")

    command = add(
        commands.explain,
        help="one step of training, worked out in full",
        description="Show a network at work, the document's 3-4-2 network or one of a model file: "
        "forward pass, loss, backward pass and one update, each step in symbols, with the numbers "
        "put in, with its result and with an independent check. The exit code is 1 if a check "
        "fails.",
    )
    command.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a file that `nnrec train` wrote, or a Network that `nnrec.save` wrote",
    )
    command.add_argument(
        "--data",
        metavar="FILE",
        help="the MODEL's table, with the label; for a Network, a table of numbers",
    )
    command.add_argument(
        "--row", type=count, default=1, metavar="K", help="of the table, from 1 on (default: 1)"
    )
    command.add_argument(
        "--label",
        nargs="+",
        default=[],
        metavar="COL",
        help="a Network's target (default: the last column)",
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
        "--digits", type=whole, default=4, metavar="N", help="decimals (default: 4)"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="write there, not to the screen")

    command = add(
        commands.exercise,
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

    arguments = vars(parser.parse_args(argv))
    return answer(arguments.pop("run"), arguments)


def answer(run: Callable[..., int], arguments: Mapping[str, Any]) -> int:
    """Call a command; what goes wrong with its input is one line on stderr."""
    name = f"nnrec {spoken(run)}"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without θ gets a question mark
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"{name}: warning: {message}")
        try:
            code = run(**arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            say(f"{name}: {error.filename or 'standard output'}: {error.strerror or error}")
            return 1
        except (ValueError, TypeError, ArithmeticError, ImportError, MemoryError) as error:
            say(f"{name}: {error}")
            return 1
        except KeyboardInterrupt:
            say(f"{name}: interrupted")
            return 130
    return code


def spoken(run: Callable[..., int]) -> str:
    """The name of a command as it is typed."""
    return run.__name__.replace("_", "-")


def say(text: str) -> None:
    """One line on stderr."""
    print(" ".join(text.split()), file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def whole(text: str, least: int = 0) -> int:
    """A whole number from `least` on, such as a seed.

    >>> whole("7")
    7
    """
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from {least} on")
    return int(text)


def count(text: str) -> int:
    """A whole number from 1 on."""
    return whole(text, 1)


def ids(text: str) -> list[str]:
    """A list of ids: `a,"b,c"`; or `@FILE`, one a line, `@-` being the standard input.

    >>> ids('mug,"salt, fine",tea'), ids("")
    (['mug', 'salt, fine', 'tea'], [])
    """
    if not text.startswith("@"):
        return next(csv.reader([text]), [])
    try:
        source = sys.stdin if text == "@-" else Path(text[1:]).open(encoding="utf-8-sig")
        with source:
            return [line.rstrip("\r\n") for line in source if line.strip()]
    except (OSError, UnicodeError) as error:
        raise argparse.ArgumentTypeError(f"{text[1:]}: {error}") from None


def seeds(text: str) -> range:
    """A range of seeds, both ends included, or one.

    >>> seeds("1-40"), seeds("7")
    (range(1, 41), range(7, 8))
    """
    first, _, last = text.partition("-")
    found = range(whole(first), whole(last or first) + 1)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}, expected the smaller number first")
    return found


def add_seed(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--seed", type=whole, default=0, metavar="N", help=f"{what} (default: 0)")


def add_out(command: argparse.ArgumentParser) -> None:
    where = Path(command.prog.replace(" ", "-"))
    command.add_argument(
        "--out", type=Path, default=where, metavar="DIR", help=f"for the files (default: ./{where})"
    )
