"""What a file alone does not tell: whether its quotation marks quote fields or belong to the texts.

Of a TSV nobody knows. Of other files quoting is expected, unless the marks themselves speak against it: a field takes
several lines, and has more text behind its closing mark. That is what an unquoted dump of texts looks like, and reading
it with quoting would lose rows.
"""

import numpy as np

from transforms.batches.dialect import Marks
from transforms.read.formats.delimited_records import Framed, frame, quotes_at_field_starts
from transforms.read.formats.lines import count_lines

_BOM = b"\xef\xbb\xbf"


def doubt(head: bytes, file: str, marks: Marks) -> str | None:
    """What to ask if a field in the first lines `head` begins with a mark that can be meant in two ways, else None.

    Shows both readings by their numbers of records, never the text.
    """
    head = head.removeprefix(_BOM)
    if not (marks.doubtful or (marks.unsaid and b'"' in head)) or not len(
        places := quotes_at_field_starts(head, marks)
    ):
        return None
    plain, quoted = frame(head, marks._replace(quote=None), True), frame(head, marks._replace(quote=b'"'), True)
    if not marks.doubtful and not _speak_against(head, quoted, marks):
        return None
    at = int(places[0])
    line = 1 + count_lines(head[:at])
    record = int(quoted.starts.searchsorted(at, "right")) - 1
    lines = 1 + count_lines(head[quoted.starts[record] : quoted.ends[record]])
    if record in quoted.faults:
        there = "is never closed there"
    elif lines == 1:
        there = "ends on its line and loses its marks"
    else:
        there = f"belongs to a record that takes lines {line} to {line + lines - 1}"
    total = count_lines(head) + (not head.endswith((b"\n", b"\r")))
    return (
        f"{file}: in line {line} a field begins with a quotation mark, which some writers of such files mean as "
        f"quoting and others as text. Read with quoting, the field {there}, and the first {total:,} lines are "
        f"{len(quoted.starts):,} records with the header; read without, every line is a record ({len(plain.starts):,}) "
        "and the mark is part of the text. Say which is right: --quote '\"' or --quote none"
    )


def _speak_against(head: bytes, quoted: Framed, marks: Marks) -> bool:
    """Whether a quoted field takes several lines, and its closing mark has text behind it."""
    first, last = quoted.inside
    data = np.frombuffer(head + b"\n", np.uint8)
    breaks = np.flatnonzero((data == b"\n"[0]) | (data == b"\r"[0]))
    takes_lines = np.searchsorted(breaks, last) > np.searchsorted(breaks, first)
    ends = np.isin(data[last + 1], np.frombuffer(marks.delimiter + b"\r\n", np.uint8))
    return bool((takes_lines & ~ends).any())
