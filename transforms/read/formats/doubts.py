"""What a file alone does not tell: whether the quotation marks of a TSV quote its fields or belong to the texts."""

from transforms.batches.dialect import Marks
from transforms.read.formats.delimited_records import frame, quotes_at_field_starts
from transforms.read.formats.lines import count_lines

_BOM = b"\xef\xbb\xbf"


def doubt(head: bytes, file: str, marks: Marks) -> str | None:
    """What to ask if a field in the first lines `head` begins with a mark that can be meant in two ways, else None.

    Shows both readings by their numbers of records, never the text.
    """
    head = head.removeprefix(_BOM)
    if not marks.doubtful or not len(places := quotes_at_field_starts(head, marks)):
        return None
    at = int(places[0])
    plain, quoted = frame(head, marks, True), frame(head, marks._replace(quote=b'"'), True)
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
        f"{file}: in line {line} a field begins with a quotation mark, which some writers of TSV mean as quoting and "
        f"others as text. Read with quoting, the field {there}, and the first {total:,} lines are "
        f"{len(quoted.starts):,} records with the header; read without, every line is a record ({len(plain.starts):,}) "
        "and the mark is part of the text. Say which is right: --quote '\"' or --quote none"
    )
