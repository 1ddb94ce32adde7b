"""JSON as records have it on disk."""

import json
from collections.abc import Mapping
from typing import Any

_TALLY = {"rows", "sum", "bins"}
_on_one_line = json.JSONEncoder(ensure_ascii=False, separators=(",", ": ")).encode


def written(content: Mapping[str, Any]) -> bytes:
    """One value a line; but a list of integers, and a tally of a summary, on one line."""
    parts: list[str] = []
    _add(content, "\n", parts)
    return ("".join(parts) + "\n").encode()


def _add(content: Any, line: str, parts: list[str]) -> None:
    """Adds the text of a value; `line` is the end of a line and the indent of the next one."""
    # The indents of `json` are written number by number, in Python: most of the time that a summary takes.
    inner = line + " "
    if isinstance(content, Mapping) and content and content.keys() - {"first"} != _TALLY:
        before = "{" + inner
        for key, value in content.items():
            parts.append(f"{before}{_on_one_line(str(key))}: ")
            _add(value, inner, parts)
            before = "," + inner
        parts.append(line + "}")
    elif isinstance(content, list | tuple) and not all(type(item) is int for item in content):
        before = "[" + inner
        for value in content:
            parts.append(before)
            _add(value, inner, parts)
            before = "," + inner
        parts.append(line + "]")
    else:
        parts.append(_on_one_line(content))
