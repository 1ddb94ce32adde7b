"""A JSON line that is too long to be held: of its members those that somebody wants, and of these no huge value."""

import heapq
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from transforms.read.values.json.structure import Structure

MOST_MEMBERS = 1_000_000
_SLICE = 1024 * 1024
_HEAD = 64 * 1024
_KEY = re.compile(rb'[ \t\r]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r]*+:[ \t\r]*+', re.DOTALL)
_MARK = b"\xef\xbb\xbf"
_BLANK = b" \t\r"
_NO_OBJECT = b"!"
_EMPTY = {b'"': b'""', b"{": b"{}", b"[": b"[]"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which members are wanted, and the bytes their values may have at most, as they are written.

    `most` has this by key, and `others` is that of all other keys; None if nobody wants them. Of `texts`, what counts
    is the bytes that a string stands for. `in_all` is for all values together that are no texts.
    """

    most: Mapping[str, int] = field(default_factory=dict)
    texts: frozenset[str] = frozenset()
    others: int | None = None
    in_all: int


class Line(NamedTuple):
    """A line, or what stands for it.

    `lost` are those of `Wanted.most` whose values were too long: in the place of a text stands one with a byte more
    than it may have, in that of another value null, or an empty value of its kind. `fault`: why it cannot be read.
    """

    content: bytes
    lost: tuple[str, ...] = ()
    fault: str | None = None


class LongObject:
    """Takes a line in parts. Nobody looks at the syntax of what is left out."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted, self._structure, self._member = wanted, Structure(), _Member(wanted)
        self._mark = b""
        self._begun = self._ended = self._broken = False
        self._found: list[bytes] = []
        # Where in these the values are that may be left out.
        self._others: dict[int, _Member] = {}
        self._largest: list[tuple[int, int]] = []
        self._number = self._size = 0
        self._lost: list[str] = []

    def add(self, part: bytes) -> None:
        if not self._begun and not self._mark and part.startswith(_MARK):
            self._mark, part = _MARK, part[len(_MARK) :]
        for start in range(0, len(part), _SLICE):
            self._read(bytes(part[start : start + _SLICE]))

    def line(self) -> Line:
        """What was found in the line."""
        if not (self._begun or self._broken):
            return Line(b"")
        if self._number > MOST_MEMBERS:
            return Line(_NO_OBJECT, fault=f"the line has more than {MOST_MEMBERS:,} keys")
        if self._broken or not self._ended:
            return Line(_NO_OBJECT)
        return Line(self._mark + b"{" + b",".join(self._found) + b"}", tuple(self._lost))

    def _read(self, part: bytes) -> None:
        if self._broken or self._number > MOST_MEMBERS:
            return
        at = 0
        for place, depth in self._structure.outermost(part):
            sign = part[place : place + 1]
            if sign in b"{[":
                self._broken |= self._begun or sign == b"[" or bool(part[at:place].strip(_BLANK))
                self._begun = True
            else:
                self._member.add(part[at:place], in_string=False)
                self._end_member()
                self._ended |= depth == 0
                self._broken |= sign == b"]"
            at = place + 1
        if self._structure.depth > 0 and self._begun:
            self._member.add(part[at:], in_string=self._structure.in_string)
        else:
            self._broken |= bool(part[at:].strip(_BLANK))

    def _end_member(self) -> None:
        member, self._member = self._member, _Member(self._wanted)
        content = member.end()
        self._number += 1
        self._broken |= member.is_broken or (self._number > 1 and member.key is None)
        if content is None or self._number > MOST_MEMBERS:
            return
        self._note(member)
        if member.key not in self._wanted.texts and not member.is_lost:
            self._others[len(self._found)] = member
            heapq.heappush(self._largest, (-len(content), len(self._found)))
            self._size += len(content)
        self._found.append(content)
        while self._size > self._wanted.in_all:
            _, largest = heapq.heappop(self._largest)
            self._size -= len(self._found[largest])
            left_out = self._others.pop(largest)
            self._found[largest] = left_out.left_out()
            self._note(left_out)

    def _note(self, member: "_Member") -> None:
        if member.is_lost and member.key is not None and member.key in self._wanted.most:
            self._lost.append(member.key)


class _Member:
    """A key and its value, which comes in parts."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted, self._held = wanted, bytearray()
        self.key: str | None = None
        self.is_lost = self.is_broken = False
        self._is_wanted = True
        self._at, self._look_at, self._sign = 0, _HEAD, b""

    def add(self, part: bytes, *, in_string: bool) -> None:
        # Blanks between tokens mean nothing, however many.
        if self.is_lost or self.is_broken or not self._is_wanted or not (in_string or part.strip(_BLANK)):
            return
        self._held += part
        if len(self._held) > self._look_at:
            self._look(in_string)

    def end(self) -> bytes | None:
        """The member; None if nobody wants it."""
        self._find_key(ended=True)
        if self.key is not None and self._most() is None:
            return None
        return self.left_out() if self.is_lost else bytes(self._held)

    def left_out(self) -> bytes:
        """The member without its value."""
        self.is_lost = True
        if self.key in self._wanted.texts:
            # Of what kind it was nobody can tell any more: a text declared as string may be any JSON.
            value = b'"' + b"x" * (self._wanted.most[str(self.key)] + 1) + b'"'
        elif self.key in self._wanted.most:
            value = b"null"
        else:
            value = _EMPTY.get(self._sign, b"0")
        return json.dumps(self.key).encode() + b": " + value

    def _most(self) -> int | None:
        return self._wanted.most.get(str(self.key), self._wanted.others)

    def _is_text(self) -> bool:
        return self.key in self._wanted.texts and self._sign == b'"'

    def _find_key(self, *, ended: bool) -> None:
        if self.key is not None or (found := _KEY.match(self._held)) is None:
            return
        # A part may end behind the colon: what kind of value it is, its first byte says.
        if ended or found.end() < len(self._held):
            try:
                self.key = str(json.loads(found[1].decode("utf-8", "surrogateescape")))
            except ValueError:
                return
            self._at, self._sign = found.end(), bytes(self._held[found.end() : found.end() + 1])
            self._is_wanted = self._most() is not None

    def _look(self, in_string: bool) -> None:
        """Decides what becomes of the value, or when to look again."""
        self._find_key(ended=False)
        if self.key is None:
            self.is_broken = len(self._held) > self._wanted.in_all
            self._look_at = 2 * len(self._held)
        elif (most := self._most()) is not None:
            size = len(self._held) - self._at
            if not self._is_text():
                # What is no string cannot be a text, and says so.
                most = self._wanted.in_all if self.key in self._wanted.texts else most
                self.is_lost, self._look_at = size > most, self._at + most
            elif in_string:
                # An escape of six bytes stands for one at least, another one for one.
                escapes, marks = self._held.count(b"\\u", self._at), self._held.count(b"\\", self._at)
                least = size - 1 - 4 * escapes - marks
                self.is_lost, self._look_at = least > most, len(self._held) + max(most - least, 0)
            else:
                self.is_broken, self._look_at = size > 6 * most + _SLICE, len(self._held) + _SLICE
        if self.is_lost or self.is_broken or not self._is_wanted:
            self._held.clear()
