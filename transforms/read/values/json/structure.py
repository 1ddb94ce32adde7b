"""Where the outermost brackets and commas of JSON are, in bytes that come in parts."""

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
_QUOTE, _ESCAPE, _COMMA = b'"\\,'
_OPEN, _OPEN_LIST, _CLOSE, _CLOSE_LIST = b"{[}]"


class Structure:
    """Reads part after part: `depth` brackets are open, or a string. Nobody looks whether brackets fit."""

    def __init__(self) -> None:
        self.depth = 0
        self.in_string = self._is_escaped = False

    def outermost(self, part: bytes) -> list[tuple[int, int]]:
        """Places in `part`: of the brackets that open or close the outermost value, and of the commas between members.

        Each with the depth behind it.
        """
        if self.in_string and not self._is_escaped and b'"' not in part and b"\\" not in part:
            return []
        data = np.frombuffer(part, np.uint8)
        quotes = self._quotes(data)
        opens = (data == _OPEN) | (data == _OPEN_LIST)
        brackets = self._outside(np.flatnonzero(opens | (data == _CLOSE) | (data == _CLOSE_LIST)), quotes)
        steps = np.where(opens[brackets], 1, -1)
        depths = self.depth + np.cumsum(steps)
        before = np.append(self.depth, depths)
        commas = self._outside(np.flatnonzero(data == _COMMA), quotes)
        commas = commas[before[np.searchsorted(brackets, commas)] == 1]
        ends = depths == np.where(steps == 1, 1, 0)
        self.depth, self.in_string = int(before[-1]), self.in_string ^ bool(len(quotes) % 2)
        found = [
            *zip(brackets[ends].tolist(), depths[ends].tolist(), strict=True),
            *((at, 1) for at in commas.tolist()),
        ]
        return sorted(found)

    def _quotes(self, data: npt.NDArray[np.uint8]) -> Places:
        """The quotation marks that begin or end a string."""
        quotes, marks = np.flatnonzero(data == _QUOTE), np.flatnonzero(data == _ESCAPE)
        escaped = np.zeros(int(self._is_escaped), np.int64)
        if self._is_escaped and len(marks) and marks[0] == 0:
            marks = marks[1:]
        if len(marks):
            # In a row of marks each second one is escaped by the one before it, and behind an odd number what follows.
            begins = np.append(True, np.diff(marks) > 1)
            starts, lasts = marks[begins], marks[np.append(begins[1:], True)]
            escaped = np.append(escaped, lasts[(lasts - starts) % 2 == 0] + 1)
        self._is_escaped = bool(len(escaped) and escaped[-1] == len(data))
        return np.setdiff1d(quotes, escaped, assume_unique=True)

    def _outside(self, places: Places, quotes: Places) -> Places:
        """Those of the places that are in no string."""
        inside = (np.searchsorted(quotes, places) + self.in_string) % 2 == 1
        return np.delete(places, inside)
