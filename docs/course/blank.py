"""Blank the bodies of a lesson for a class: python docs/course/blank.py 2

Which bodies, says the table in README.md beside this file. Each becomes an error that names the
lesson, its docstring stays; `git checkout nnrec` brings all of them back.
"""

import ast
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROW = re.compile(r"^\| (\d) \| `nnrec\.([\w.]+)` \| `([\w.]+)` \|", re.MULTILINE)


def bodies(lesson: int) -> list[tuple[str, str]]:
    """The files below nnrec/ and the functions in them that belong to a lesson."""
    rows = ROW.findall((HERE / "README.md").read_text(encoding="utf-8"))
    rows = [(module.replace(".", "/"), name) for n, module, name in rows if int(n) == lesson]
    return [(f"{path}.py", name) for path, name in rows]


def blank(file: Path, name: str, lesson: int) -> None:
    """Replace one function's body, but not its docstring; `name` is dotted, as `Dense.__call__`."""
    text = file.read_text(encoding="utf-8")
    node = ast.parse(text)
    for part in name.split("."):
        node = next(child for child in node.body if getattr(child, "name", None) == part)
    first = node.body[ast.get_docstring(node) is not None]
    lines = text.splitlines(keepends=True)
    error = f'raise NotImplementedError("lesson {lesson}: write {name}")\n'
    lines[first.lineno - 1 : node.end_lineno] = [" " * first.col_offset + error]
    file.write_text("".join(lines), encoding="utf-8")


def main(lesson: int, package: Path = HERE.parents[1] / "nnrec") -> None:
    for file, name in bodies(lesson):
        blank(package / file, name, lesson)
        print(f"{package.name}/{file}: {name}")


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(Path, sys.argv[2:]))
