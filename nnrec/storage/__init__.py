"""The file format: arrays and JSON in the safetensors layout, and objects as trees of both.

A file holds no code and reading one runs none. `write`, `read` and `read_header` (layout.py) know
arrays and JSON only; `pack` and `unpack` (trees.py) turn objects into them and back, through a
closed mapping of names to classes given by the caller. docs/file-format.md describes every byte.
"""

from nnrec.storage.layout import JSON, Array, Entry, FormatError, read, read_header, write
from nnrec.storage.trees import pack, unpack

__all__ = [
    "JSON",
    "Array",
    "Entry",
    "FormatError",
    "pack",
    "read",
    "read_header",
    "unpack",
    "write",
]
