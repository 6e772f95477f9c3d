"""Whole error messages, where a pattern would let half of one pass."""

from __future__ import annotations

import re


def exactly(message: str) -> str:
    """A pattern for `match=` that only this message meets; a last … stands for anything."""
    if message.endswith("…"):
        return rf"\A{re.escape(message[:-1])}"
    return rf"\A{re.escape(message)}\Z"
