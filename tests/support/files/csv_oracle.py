"""The records of a CSV, character by character as one would write it down, and their values by Python's csv module."""

import csv
import io
from typing import Any

LINE_ENDS = "\r\n"


def line_end(text: str, at: int) -> int:
    """The length of the line end at `at`, 0 if there is none."""
    return 2 if text[at : at + 2] == "\r\n" else int(text[at : at + 1] in LINE_ENDS and at < len(text))


def records(text: str, *, delimiter: str, quote: str | None, escape: str | None, max_lines: int) -> list[str | None]:
    """The text of each record, None for those with a quoted field that does not end as it should."""
    found: list[str | None] = []
    at = 0
    while at < len(text):
        if size := line_end(text, at):
            at += size
            continue
        start, (at, lost) = at, _record(text, at, delimiter, quote, escape, max_lines)
        found.append(None if lost else text[start:at])
        at += line_end(text, at)
    return found


def _record(
    text: str, at: int, delimiter: str, quote: str | None, escape: str | None, max_lines: int
) -> tuple[int, bool]:
    """Where the record at `at` ends, and whether it is lost."""
    opened, breaks, begins = -1, 0, True
    while at < len(text):
        c = text[at]
        if c == escape:
            at, begins = min(at + 2, len(text)), False
        elif opened >= 0:
            if c == quote and text[at + 1 : at + 2] == quote:
                at += 2
            elif c == quote:
                at, opened, begins = at + 1, -1, False
            else:
                breaks += line_end(text, at) > 0
                if breaks >= max_lines:
                    break
                at += line_end(text, at) or 1
        elif line_end(text, at):
            return at, False
        else:
            opened, breaks = (at, 0) if c == quote and begins else (-1, breaks)
            at, begins = at + 1, c == delimiter
    if opened < 0:
        return at, False
    at = opened
    while at < len(text) and not line_end(text, at):
        at += 2 if text[at] == escape else 1
    return min(at, len(text)), True


def split(record: str, *, delimiter: str, quote: str | None, escape: str | None) -> list[str]:
    """The fields of one record."""
    named: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if quote is None else {"quotechar": quote}
    lines = io.StringIO(record, newline="")
    return next(csv.reader(lines, delimiter=delimiter, escapechar=escape, **named))


def rows(text: str, width: int, max_lines: int = 1_000, **dialect: Any) -> dict[int, Any]:
    """row -> its values as bytes, or the code of its dead letter; without the header, which `width` counts."""
    dialect = {"delimiter": ",", "quote": '"', "escape": None, **dialect}
    found: dict[int, Any] = {}
    for i, record in enumerate(records(text, max_lines=max_lines, **dialect)[1:]):
        if record is None:
            found[i] = "unclosed_quote"
            continue
        fields = split(record, **dialect)
        ragged = "too_few_fields" if len(fields) < width else "too_many_fields"
        found[i] = ragged if len(fields) != width else tuple(f.encode("utf-8", "surrogateescape") for f in fields)
    return found
