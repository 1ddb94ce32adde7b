"""Where the records of a CSV or TSV are, and which of them are damaged, before anything is parsed.

A line ends with LF, CR LF or CR. A quotation mark opens a quoted field only at the beginning of a field; elsewhere
it is text. A line without any byte is no record.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.batches.dialect import Marks

Offsets = npt.NDArray[np.int64]
Fault = tuple[str, str]

MAX_RECORD_BYTES = 64 * 1024 * 1024
"""A longer record is a dead letter: what is not read to the end of a record must be held in memory."""
_LF, _CR = b"\n\r"


class Framed(NamedTuple):
    """Whole records at the beginning of a buffer: record i is `buffer[starts[i]:ends[i]]`, without its line end.

    `length` bytes of the buffer are accounted for; the next record begins there. `faults` has code and reason of the
    records that cannot be read, `inside` the quoted fields of the others, as places of their first and last mark.
    `is_open`: a quoted field begins behind `length` whose end is not in the buffer.
    """

    starts: Offsets
    ends: Offsets
    length: int
    faults: dict[int, Fault]
    inside: tuple[Offsets, Offsets]
    is_open: bool


def sound_length(buffer: bytes, marks: Marks, final: bool) -> int | None:
    """Bytes of the whole records at the beginning of `buffer`, or None if `frame` must look more closely.

    That is the case where a mark stands in the middle of a field, a quoted field may have too many lines or never end,
    and where characters are escaped. `final`: the file ends with `buffer`.
    """
    if len(buffer) > MAX_RECORD_BYTES or (marks.escape is not None and marks.escape in buffer):
        return None
    if marks.quote is None or marks.quote not in buffer:
        return len(buffer) if final else _last_end(buffer, len(buffer))
    data = np.frombuffer(buffer, np.uint8)
    at = _places(data, marks.quote[0])
    if len(at) % 2 and final:
        return None
    # If each second mark is at the beginning of a field, or doubles the mark before it, the others close what it opens.
    opens, closes = at[::2], np.append(at[1::2], len(buffer) - 1)
    begins = _begins_field(data, opens, marks)
    if begins.all():
        begin, end = opens, closes[: len(opens)]
    else:
        first = np.flatnonzero(begins)
        others = np.flatnonzero(~begins)
        if others[0] == 0 or (opens[others] != closes[others - 1] + 1).any():
            return None
        begin, end = opens[first], closes[np.append(first[1:], len(opens)) - 1]
    long = end - begin >= marks.max_lines
    if long.any():
        breaks = _places(data, _LF)
        if b"\r" in buffer:
            breaks = np.sort(np.append(breaks, _places(data, _CR)))
        if (np.searchsorted(breaks, end[long]) - np.searchsorted(breaks, begin[long]) >= marks.max_lines).any():
            return None
    if final:
        return len(buffer)
    length = _last_end(buffer, len(buffer))
    while length and (before := int(np.searchsorted(at, length))) % 2:
        length = _last_end(buffer, int(at[before - 1]))
    return length


def _places(data: npt.NDArray[np.uint8], byte: int) -> Offsets:
    return np.flatnonzero(data == byte)


def _last_end(buffer: bytes, stop: int) -> int:
    """Where the line after the last line end before `stop` begins."""
    after = buffer.rfind(b"\n", 0, stop) + 1
    # A CR at the end of the buffer may be half of a line end.
    return max(after, buffer.rfind(b"\r", after, min(stop, len(buffer) - 1)) + 1)


def _begins_field(data: npt.NDArray[np.uint8], at: Offsets, marks: Marks) -> npt.NDArray[np.bool_]:
    """Which of the places `at` are the first of a field, if they are not inside a quoted one."""
    before = data[at - 1]
    return np.asarray((before == marks.delimiter[0]) | (before == _LF) | (before == _CR) | (at == 0))


def frame(buffer: bytes, marks: Marks, final: bool) -> Framed:
    """The whole records at the beginning of `buffer`, which begins with a record; `final`: the file ends with it.

    A quoted field that has more lines than `marks.max_lines`, more bytes than MAX_RECORD_BYTES or no end ends its
    record with the line it begins in; the next record begins on the next line.
    """
    data = np.frombuffer(buffer, np.uint8)
    escaped = _escaped(data, marks)
    line_ends = _line_ends(data, escaped, final)
    begin, end, lost, open_from = _quoted(data, escaped, line_ends, marks, final)
    which = np.searchsorted(begin, line_ends) - 1
    inside = (which >= 0) & (line_ends < np.append(end, 0)[which]) if len(begin) else np.zeros(len(line_ends), bool)
    stops = line_ends[~inside & (line_ends < open_from)]
    starts = np.append(0, stops + 1)
    length = int(starts[-1])
    if final:
        stops, length = np.append(stops, len(buffer)), len(buffer)
    else:
        starts = starts[:-1]
    ends = stops.copy()
    if len(data):
        lf = (stops > starts) & (data[np.minimum(stops, len(data) - 1)] == _LF) & (stops < len(data))
        half = lf & (data[stops - 1] == _CR)
        if escaped is not None:
            half &= ~escaped[stops - 1]
        ends -= half
    some = ends > starts
    starts, ends = starts[some], ends[some]
    faults = {int(np.searchsorted(starts, at, "right")) - 1: fault for at, fault in lost}
    for at in np.flatnonzero(ends - starts > MAX_RECORD_BYTES).tolist():
        faults.setdefault(at, too_long())
    return Framed(starts, ends, length, faults, (begin, end), open_from < len(data))


def too_long() -> Fault:
    """What is said of a record that is too long to be read."""
    return "text_too_long", f"the record has more than {MAX_RECORD_BYTES:,} bytes"


def count_fields(buffer: bytes, framed: Framed, marks: Marks) -> Offsets:
    """The number of fields of each record."""
    data = np.frombuffer(buffer, np.uint8)
    at, (begin, end) = _places(data, marks.delimiter[0]), framed.inside
    if (escaped := _escaped(data, marks)) is not None:
        at = at[~escaped[at]]
    if len(begin):
        which = np.searchsorted(begin, at) - 1
        at = at[(which < 0) | (at > end[which])]
    return np.searchsorted(at, framed.ends) - np.searchsorted(at, framed.starts) + 1


def quotes_at_field_starts(buffer: bytes, marks: Marks, quote: bytes = b'"') -> Offsets:
    """The places of the marks that begin a field, if none is a quoted one; `buffer` begins with a record."""
    if quote not in buffer:
        return np.zeros(0, np.int64)
    data = np.frombuffer(buffer, np.uint8)
    at = np.flatnonzero(data == quote[0])
    at = at[_begins_field(data, at, marks)]
    escaped = _escaped(data, marks)
    return at if escaped is None else at[~escaped[np.maximum(at - 1, 0)] | (at == 0)]


def _escaped(data: npt.NDArray[np.uint8], marks: Marks) -> npt.NDArray[np.bool_] | None:
    """Which bytes stand behind an escape character that is not escaped itself."""
    if marks.escape is None:
        return None
    at = np.flatnonzero(data == marks.escape[0])
    mask = np.zeros(len(data), bool)
    if len(at):
        new = np.append(True, np.diff(at) > 1)
        run_start = at[new][np.cumsum(new) - 1]
        target = at[(at - run_start) % 2 == 0] + 1
        mask[target[target < len(data)]] = True
    return mask


def _line_ends(data: npt.NDArray[np.uint8], escaped: npt.NDArray[np.bool_] | None, final: bool) -> Offsets:
    """The last byte of each line end."""
    is_end = data == _LF
    cr = np.flatnonzero(data == _CR)
    if len(cr):
        # At the end of the buffer, half of a line end may be missing.
        last = len(data) - 1
        follows = data[np.minimum(cr + 1, last)] == _LF
        is_end[cr[np.where(cr == last, final, ~follows)]] = True
        if escaped is not None:
            is_end[escaped] = False
    elif escaped is not None:
        is_end &= ~escaped
    return np.flatnonzero(is_end)


def _quoted(
    data: npt.NDArray[np.uint8], escaped: npt.NDArray[np.bool_] | None, line_ends: Offsets, marks: Marks, final: bool
) -> tuple[Offsets, Offsets, list[tuple[int, Fault]], int]:
    """First and last marks of quoted fields; where fields begin that are lost, and why; where the buffer is open."""
    none = np.zeros(0, np.int64)
    at = none if marks.quote is None else _places(data, marks.quote[0])
    at = at if escaped is None else at[~escaped[at]]
    if not len(at):
        return none, none, [], len(data)
    # A run of marks inside a quoted field closes it if its number is odd: two are one of the text.
    new = np.append(True, np.diff(at) > 1)
    starts, lasts = at[new], at[np.append(new[1:], True)]
    odd = (lasts - starts) % 2 == 0
    begins = _begins_field(data, starts, marks)
    if escaped is not None:
        begins &= ~escaped[starts - 1] | (starts == 0)
    # What follows the end of the buffer may double its last mark.
    known = np.asarray(final | (lasts < len(data) - 1))
    closing, openers = lasts[odd & known], np.flatnonzero(begins)
    here, size = starts[openers], len(data)
    later = np.append(closing, size)[np.searchsorted(closing, lasts[openers], "right")]
    close = np.where(~odd[openers] & known[openers], lasts[openers], later)
    following = np.searchsorted(here, close, "right").tolist()
    lines = np.zeros(len(here), np.int64)
    many = np.flatnonzero(close - here >= marks.max_lines)
    lines[many] = np.searchsorted(line_ends, close[many]) - np.searchsorted(line_ends, here[many])
    sound = (close < size) & (lines < marks.max_lines) & (close - here <= MAX_RECORD_BYTES)
    is_sound, found, i = sound.tolist(), [], 0
    lost: list[tuple[int, Fault]] = []
    while i < len(following):
        if is_sound[i]:
            found.append(i)
            i = following[i]
            continue
        begin = int(here[i])
        line = int(np.searchsorted(line_ends, begin))
        if lines[i] >= marks.max_lines:
            fault = "unclosed_quote", f"a quoted field has more than {marks.max_lines:,} lines"
        elif close[i] - begin > MAX_RECORD_BYTES:
            fault = too_long()
        else:
            fault = "unclosed_quote", "a quoted field is not closed before the end of the file"
        if not final and (
            line == len(line_ends) or (close[i] - begin <= MAX_RECORD_BYTES and lines[i] < marks.max_lines)
        ):
            return here[found], close[found], lost, begin
        lost.append((begin, fault))
        i = len(following) if line == len(line_ends) else int(np.searchsorted(here, line_ends[line], "right"))
    return here[found], close[found], lost, size
