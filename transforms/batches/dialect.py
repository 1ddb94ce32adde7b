"""How the text files of a job are written: delimiter, quotes, escapes, encoding."""

import codecs
from dataclasses import dataclass
from typing import NamedTuple

from transforms.batches.formats import MAX_RECORD_LINES
from transforms.errors import DialectError

DELIMITERS = {"csv": ",", "tsv": "\t"}
NO_QUOTES = "none"
ENCODINGS = (
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii"),
    *("iso8859-1", "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "iso8859-15"),
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp437", "cp850", "koi8-r", "mac-roman"),
    *("shift_jis", "cp932", "euc_jp", "gb18030", "gbk", "big5", "euc_kr", "cp949"),
)
"""By the names of Python's codecs; their other names (latin-1, windows-1252) are accepted too. In all of them but
UTF-16, a byte that looks like the end of a line is one."""


class Marks(NamedTuple):
    """The dialect of one format: single bytes, None where there is none.

    `doubtful`: the job does not say whether a field that begins with a quotation mark is quoted, and files of this kind
    differ. `unsaid`: it does not say it, and of files of this kind it is expected.
    """

    delimiter: bytes
    quote: bytes | None
    escape: bytes | None
    max_lines: int = MAX_RECORD_LINES
    doubtful: bool = False
    unsaid: bool = False


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What the job says about its text files; None where it says nothing. Raises DialectError.

    `quote` may be `none`. `encoding` is of JSONL and plain text too.
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str = "utf-8"
    max_record_lines: int = MAX_RECORD_LINES

    def __post_init__(self) -> None:
        if self.delimiter in ("tab", "\\t"):
            object.__setattr__(self, "delimiter", "\t")
        for name in ("delimiter", "quote", "escape"):
            _check_character(name, getattr(self, name))
        said = [value for value in (self.delimiter, self.quote, self.escape) if value is not None]
        if len(set(said)) != len(said):
            raise DialectError("--delimiter, --quote and --escape must be different characters")
        object.__setattr__(self, "encoding", _encoding(self.encoding))
        if self.max_record_lines < 1:
            raise DialectError(f"--max-record-lines {self.max_record_lines}: a record has at least 1 line")

    @property
    def said(self) -> list[str]:
        """The flags of CSV and TSV that were given."""
        names = ("delimiter", "quote", "escape", "max_record_lines")
        return ["--" + name.replace("_", "-") for name in names if getattr(self, name) != getattr(Dialect(), name)]

    def of(self, file_format: str) -> Marks:
        """The marks of a CSV or TSV file; raises DialectError if two of them are the same."""
        delimiter = self.delimiter or DELIMITERS[file_format]
        doubtful = delimiter == "\t" and self.quote is None
        quote = None if doubtful or self.quote == NO_QUOTES else (self.quote or '"')
        if delimiter in (quote, self.escape) or (quote is not None and quote == self.escape):
            raise DialectError(
                f"--delimiter {delimiter!r}, --quote {quote!r}, --escape {self.escape!r}: they must differ"
            )
        quote_byte = None if quote is None else quote.encode()
        escape = None if self.escape is None else self.escape.encode()
        unsaid = self.quote is None and not doubtful
        return Marks(delimiter.encode(), quote_byte, escape, self.max_record_lines, doubtful, unsaid)

    @property
    def can_be_cut(self) -> bool:
        """Whether a file can be cut at any byte that looks like the end of a line."""
        return not self.encoding.startswith("utf-16")


def _check_character(name: str, value: str | None) -> None:
    if value is None or (name == "quote" and value == NO_QUOTES):
        return
    if len(value) != 1 or not value.isascii() or value in "\0\r\n":
        more = {"delimiter": ", or tab", "quote": f", or {NO_QUOTES}", "escape": ""}[name]
        raise DialectError(f"--{name} {value!r}: give one ASCII character that ends no line{more}")


def _encoding(name: str) -> str:
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = ""
    known = {codecs.lookup(known).name: known for known in ENCODINGS}
    if found == "utf-8-sig":  # A byte order mark is passed over in any case.
        return "utf-8"
    if found not in known:
        raise DialectError(f"--encoding {name!r} is unknown; known are {', '.join(ENCODINGS)}")
    return known[found]
