"""A JSON array with one object on each line, read like JSON lines: `[`, `{…},`, `{…}`, `]`. Others are refused."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from transforms.errors import NotWhatItClaimsError
from transforms.read.formats.lines import Lines
from transforms.runs.plan import Piece

_TAIL = 4096
_BLANK = b" \t\r\n"
_OPENS = re.compile(rb"\[\s*(?:[{\]]|$)")
_SPACE = re.compile(r"\s*")
_LINE_END = re.compile(r"[\r\n]")
_DECODER = json.JSONDecoder()
_KEY = re.compile(rb'"[^"]*"\s*:')
_FEWEST = 8
"""Lines that are parts of something larger, at least: fewer may be damaged rows."""
WAY_OUT = "a JSON array is read with one object on each line: write it so with jq -c '.[]', and read that as JSONL"


class Elements:
    """Strips the lines of an array, in order, of brackets and commas. `opened`: it begins in earlier lines."""

    def __init__(self, *, opened: bool = False) -> None:
        self._opened, self.closed = opened, False

    def of(self, line: bytes) -> bytes:
        """The element on a line, empty if there is none. A line behind the end of the array comes back as no JSON."""
        line = line.strip(_BLANK)
        if not line:
            return line
        if self.closed:
            return b"]" + line
        if not self._opened:
            self._opened, line = True, line[1:].lstrip(_BLANK)
        elif line.startswith(b","):
            line = line[1:].lstrip(_BLANK)
        if line.endswith(b"]") and line[:1] in b"]{" and _is_whole(body := line[:-1].rstrip(_BLANK)):
            self.closed, line = True, body
        return line.removesuffix(b",").rstrip(_BLANK)


def _is_whole(body: bytes) -> bool:
    """Whether a `]` behind `body` ends the array: in an object that is cut off or damaged, it ends a list inside."""
    body = body.removesuffix(b",").rstrip(_BLANK)
    if not body:
        return True
    try:
        json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        # Damaged otherwise: as far as brackets tell.
        return body.count(b"{") == body.count(b"}") and body.count(b"[") == body.count(b"]")
    return True


def is_array(lines: Sequence[bytes]) -> bool:
    """Whether a file with these first lines is an array of objects.

    JSON lines are not, of which only the first one is an array.
    """
    there = filter(None, (line.strip(_BLANK) for line in lines))
    opening = next(there, b"")
    if not _OPENS.match(opening):
        return False
    first = Elements()
    first.of(opening)
    return not (first.closed and next(there, None) is not None)


def first_elements(head: bytes, lines: Sequence[bytes], file: str, *, complete: bool) -> list[bytes]:
    """The elements on the first lines of an array; `complete`: the file has no other lines.

    Raises what `check_form` raises, and NotWhatItClaimsError if a complete array does not end.
    """
    check_form(head, file)
    array = Elements()
    found = [element for line in lines if (element := array.of(line))]
    if complete and not array.closed:
        raise not_closed(file)
    return found


def check_first_line(head: bytes, file: str) -> None:
    """Raises what `check_form` raises if all of `head` is the beginning of one line with an array.

    Otherwise such a line would first be read to its end.
    """
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
    if b"\n" not in begin and b"\r" not in begin and _OPENS.match(begin):
        check_form(head, file)


def check_end(file: BinaryIO, piece: Piece) -> None:
    """Raises NotWhatItClaimsError if an array that is not compressed does not end with its file."""
    file.seek(max(0, piece.size - _TAIL))
    tail = file.read(_TAIL).rstrip(_BLANK)
    if tail and not tail.endswith(b"]"):
        raise not_closed(piece.file)


def check_form(head: bytes, file: str) -> None:
    """Raises NotWhatItClaimsError if the first element of the array in `head` is not one object alone on one line.

    Passes if that cannot be seen: the object is damaged, or longer than `head`.
    """
    text = head.decode("utf-8-sig", "surrogateescape")
    begin = _after(text, text.find("[") + 1)
    try:
        value, end = _DECODER.raw_decode(text, begin)
    except (ValueError, RecursionError):
        return
    if not isinstance(value, dict):
        raise NotWhatItClaimsError(f"{file}: is a JSON array whose elements are not objects; a row is one object")
    rest = _LINE_END.split(text[end : end + 1024], maxsplit=1)[0].strip().removeprefix(",").strip()
    if _LINE_END.search(text, begin, end):
        raise NotWhatItClaimsError(f"{file}: is a JSON array whose first object has several lines; {WAY_OUT}")
    if rest not in ("", "]"):
        raise NotWhatItClaimsError(f"{file}: is a JSON array with several objects on a line; {WAY_OUT}")


def check_lines(elements: Sequence[bytes], objects: int, file: str) -> None:
    """Raises NotWhatItClaimsError if a line of an array has several objects, or if most lines have none."""
    if any(map(_is_several, elements)):
        raise NotWhatItClaimsError(f"{file}: is a JSON array with several objects on a line; {WAY_OUT}")
    if elements and not objects:
        raise NotWhatItClaimsError(f"{file}: none of its first lines is a JSON object; {WAY_OUT}")
    check_parts(elements, file)


def check_parts(lines: Sequence[bytes], file: str) -> None:
    """Raises NotWhatItClaimsError if most lines are parts of a larger JSON value, and so no rows that are damaged."""
    parts = sum(map(_is_part, lines))
    if parts >= _FEWEST and parts > len(lines) // 2:
        raise NotWhatItClaimsError(
            f"{file}: {parts:,} of its first {len(lines):,} lines are parts of a larger JSON value: an object over "
            f"several lines, or with a comma behind it; {WAY_OUT}, or jq -c '.data[]' for one inside an object"
        )


def _is_part(line: bytes) -> bool:
    """Whether a line begins or ends inside of an object or an array."""
    line = line.strip()
    if line[:1] == b"{" and line[-1:] == b"}":
        return False
    return line.endswith((b"[", b"{", b",")) or line in (b"]", b"}", b"]}", b"}]") or bool(_KEY.match(line))


def _is_several(element: bytes) -> bool:
    # Most lines have one object, and nothing to look for.
    if b"}" not in element[:-1] or b"," not in element:
        return False
    text = element.decode("utf-8", "surrogateescape")
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return False
    rest = text[_after(text, end) :]
    return isinstance(value, dict) and rest.startswith(",") and rest[1:].lstrip().startswith("{")


def _after(text: str, begin: int) -> int:
    """Where the white space at `begin` ends."""
    found = _SPACE.match(text, begin)
    return begin if found is None else found.end()


def elements_of(parts: Iterator[Lines], piece: Piece) -> Iterator[Lines]:
    """The lines of a piece of an array without its brackets and commas; each line keeps its position.

    Raises NotWhatItClaimsError if the file ends before the array.
    """
    array, some = Elements(opened=piece.start > 0), piece.start == 0
    for lines in parts:
        found = [array.of(lines.line(i)) for i in range(len(lines.starts))]
        some = some or any(found)
        ends = np.cumsum([len(element) + 1 for element in found], dtype=np.int64) - 1
        yield Lines(b"\n".join(found), np.append(0, ends[:-1] + 1), ends, lines.first)
    if some and not array.closed and piece.end in (-1, piece.size):
        raise not_closed(piece.file)


def not_closed(file: str) -> NotWhatItClaimsError:
    """The error for an array without its end: nobody knows how many rows are lost."""
    return NotWhatItClaimsError(f"{file}: is a JSON array that does not end with ]; the file is incomplete")
