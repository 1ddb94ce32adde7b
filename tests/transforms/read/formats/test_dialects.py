"""CSV and TSV of any dialect, against a plain reading character by character and Python's csv module."""

import csv
import io
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.files import csv_oracle
from support.files.csv_reading import read

from transforms.batches.dialect import ENCODINGS, Dialect
from transforms.errors import DialectError, NotWhatItClaimsError
from transforms.read.formats.delimited import read_blocks, read_header
from transforms.read.formats.doubts import doubt
from transforms.runs.plan import Piece

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ("id", "text", "n")


@st.composite
def hostile(draw: st.DrawFn) -> tuple[str, int, dict[str, Any]]:
    """A file as text (bytes that are not UTF-8 as surrogates), its number of columns and its dialect."""
    delimiter = draw(st.sampled_from(",\t;"))
    quote = draw(st.sampled_from(['"', '"', "'", None]))
    escape = draw(st.sampled_from([None, None, "\\"]))
    width = draw(st.integers(1, 3))
    marks = [quote, quote, quote * 2] if quote else ['"']
    pieces = [
        "a",
        "é",
        "\0",
        " ",
        "long " * 9,
        "\ufeff",
        "\udcff",
        delimiter,
        delimiter,
        "\n",
        "\n",
        "\r\n",
        "\r",
        *marks,
    ]
    body = "".join(draw(st.lists(st.sampled_from([*pieces, escape] if escape else pieces), max_size=40)))
    if escape:
        # Behind a closing mark the csv module takes an escape for text, Arrow does not; at the end it adds a line end.
        while quote and quote + escape in body:
            body = body.replace(quote + escape, quote)
        body += "a" if (len(body) - len(body.rstrip(escape))) % 2 else ""
    start = draw(st.sampled_from(["", "\ufeff", "\n", "\r\n\n"]))
    text = start + delimiter.join(NAMES[:width]) + draw(st.sampled_from(["\n", "\r\n", "\r"])) + body
    lines = draw(st.sampled_from([1, 2, 3, 1_000]))
    return text, width, {"delimiter": delimiter, "quote": quote, "escape": escape, "max_lines": lines}


@settings(relaxed, max_examples=150)
@given(hostile(), st.sampled_from([1, 2, 3, 7, 20, 1_000]))
def test_every_record_is_read_as_a_person_would_or_lost_alone(
    monkeypatch: pytest.MonkeyPatch, file: tuple[str, int, dict[str, Any]], chunk: int
) -> None:
    monkeypatch.setattr("transforms.read.formats.delimited.CHUNK_BYTES", chunk)
    text, width, said = file
    dialect = {**said, "quote": said["quote"] or "none", "max_record_lines": said["max_lines"]}
    del dialect["max_lines"]
    found = read(text.encode("utf-8", "surrogateescape"), NAMES[:width], **dialect)
    assert found == csv_oracle.rows(text.removeprefix("\ufeff"), width, **said)


@settings(relaxed, max_examples=200)
@given(hostile())
def test_where_nothing_is_lost_the_csv_module_reads_the_file_alike(file: tuple[str, int, dict[str, Any]]) -> None:
    text, _, said = file
    plain = {key: said[key] for key in ("delimiter", "quote", "escape")}
    text = text.removeprefix("\ufeff")
    found = csv_oracle.records(text, **said)
    if None in found:
        return
    quoting: dict[str, Any] = {"quotechar": said["quote"]} if said["quote"] else {"quoting": csv.QUOTE_NONE}
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=said["delimiter"], escapechar=said["escape"], **quoting)
    assert [row for row in reader if row] == [csv_oracle.split(str(record), **plain) for record in found]


def test_a_quoted_field_of_too_many_lines_is_lost_at_its_first_line_and_reading_goes_on() -> None:
    def field(lines: int) -> str:
        return '"' + "\n".join(["x,y,z"] * lines) + '"'

    for end in ("\n", "\r\n", "\r"):
        text = f"id,text,n\na,{field(3)},1\nb,{field(4)},2\nc,z,3\n".replace("\n", end)
        found = read(text.encode(), max_record_lines=3)
        assert found[0] == (b"a", field(3).strip('"').replace("\n", end).encode(), b"1")
        assert [found[at] for at in (1, 2, 3)] == ["unclosed_quote", (b"x", b"y", b"z"), (b"x", b"y", b"z")]
        assert found[4] == "too_many_fields", 'the last line: x,y,z",2'
        assert found[5] == (b"c", b"z", b"3")
        assert read(text.encode(), max_record_lines=4)[1][0] == b"b"


def test_an_open_quote_in_the_middle_of_a_large_file_loses_one_record() -> None:
    lines = [f'r{i},"text {i}",{i}' for i in range(30_000)]
    lines[7] = 'r7,"never closed,7'
    # From there on every mark closes what the one before it opened, up to the line that tells.
    lines[8:] = [line.replace('"', "") for line in lines[8:]]
    found = read(("id,text,n\n" + "\n".join(lines)).encode())
    assert {at for at, value in found.items() if isinstance(value, str)} == {7}
    assert len(found) == 30_000
    assert found[29_999] == (b"r29999", b"text 29999", b"29999")


def test_a_ragged_record_that_is_not_utf8_is_lost_alone() -> None:
    assert read(b"id,text,n\na,x,1\n\xff,y\nb,z,2\n") == {
        0: (b"a", b"x", b"1"), 1: "too_few_fields", 2: (b"b", b"z", b"2")
    }  # fmt: skip


def test_a_record_that_begins_like_a_byte_order_mark_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.read.formats.delimited.CHUNK_BYTES", 10)
    assert read("\ufeffid,text,n\n\ufeffa,x,1\n".encode())[0][0] == "\ufeffa".encode()


def test_marks_that_nobody_explained_are_counted_and_read_as_they_stand() -> None:
    content = b'id\ttext\tn\na\t"x\t1\nb\ty "z"\t2\n"c"\t"\t3\n'
    piece = Piece(number=0, file="f", size=len(content), version="", format="tsv")

    def marked(**dialect: str) -> int:
        return sum(block.marked for block in read_blocks(io.BytesIO(content), piece, NAMES, Dialect(**dialect)))

    assert read(content, kind="tsv")[2] == (b'"c"', b'"', b"3")
    assert [marked(), marked(quote="none"), marked(quote='"'), marked(delimiter=",")] == [3, 0, 0, 0]


TEXTS = {
    "cp1251": "Привет",
    "koi8-r": "Привет",
    "iso8859-5": "Привет",
    "shift_jis": "日本",
    "euc_jp": "日本",
    "cp932": "日本",
}
TEXTS |= {
    "gb18030": "中文😀",
    "gbk": "中文",
    "big5": "中文",
    "euc_kr": "한국",
    "cp949": "한국",
    "ascii": "plain",
    "utf-8": "😀",
}
TEXTS |= {"utf-16": "a😀日", "utf-16-le": "a😀日", "utf-16-be": "a😀日", "iso8859-7": "αβ", "cp1253": "αβ"}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("chunk", [1, 5, 1_000])
def test_every_encoding_of_the_list_is_read(encoding: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.read.formats.delimited.CHUNK_BYTES", chunk)
    text = TEXTS.get(encoding, "é")
    file = f'id,text,n\r\na,"{text}\r\n{text}",1\r\nb,{text},2\r\n'.encode(encoding)
    found = read(file, encoding=encoding)
    assert found == {0: (b"a", f"{text}\r\n{text}".encode(), b"1"), 1: (b"b", text.encode(), b"2")}


@pytest.mark.parametrize(
    ("encoding", "bad"), [("cp1252", b"\x81"), ("ascii", b"\xe9"), ("shift_jis", b"\x81\x20"), ("utf-16-le", b"\0\xdc")]
)
def test_what_cannot_be_decoded_makes_its_value_no_utf8_and_no_other(encoding: str, bad: bytes) -> None:
    file = "id,text,n\na,".encode(encoding) + bad + ",1\nb,y,2\n".encode(encoding)
    found = read(file, encoding=encoding)
    assert found[1] == (b"b", b"y", b"2")
    assert b"\xff" in found[0][1]


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"delimiter": ""}, "--delimiter ''"), ({"delimiter": ";;"}, "--delimiter ';;'"),
        ({"delimiter": "§"}, "--delimiter '§'"), ({"delimiter": "\n"}, "--delimiter"),
        ({"quote": "no"}, "--quote 'no'"),
        ({"escape": "none"}, "--escape 'none'"), ({"encoding": "rot13"}, "--encoding 'rot13'"),
        ({"encoding": "\0"}, "--encoding"), ({"encoding": "utf-7"}, "--encoding"),
        ({"max_record_lines": 0}, "--max-record-lines 0"),
        ({"delimiter": ";", "escape": ";"}, "must be different"),
    ],
)  # fmt: skip
def test_a_dialect_that_no_file_can_have_is_refused(said: dict[str, Any], wrong: str) -> None:
    with pytest.raises(DialectError, match=wrong):
        Dialect(**said)


def test_names_of_the_same_are_one() -> None:
    assert Dialect(delimiter="tab") == Dialect(delimiter="\\t") == Dialect(delimiter="\t")
    assert Dialect(encoding="latin-1").encoding == Dialect(encoding="ISO-8859-1").encoding == "iso8859-1"
    assert Dialect(encoding="windows-1252").encoding == "cp1252"
    assert Dialect(encoding="UTF-8-sig") == Dialect()
    with pytest.raises(DialectError, match="must differ"):
        Dialect(delimiter='"').of("csv")


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"id,SECRET,SECRET\n", "columns 2, 3 have names that stand twice"),
        (b"SECRET,\xff\n", "the header is not UTF-8"),
        (b"S\0E\0C\0,\0\n", "NUL bytes; if this is UTF-16"),
        (b'id,"SECRET\n', "the header cannot be read: a quoted field is not closed"),
    ],
)
def test_no_name_of_a_header_that_cannot_be_read_is_quoted(head: bytes, says: str) -> None:
    with pytest.raises(NotWhatItClaimsError, match=says) as caught:
        read_header(head, Dialect().of("csv"), True, "f")
    assert "SECRET" not in str(caught.value)


DUMP = 'id|text\n1|plain\n2|"Alien" is a film\n3|"never closed\n4|middle\n5|end" of it\n6|last\n'
QUOTED = 'id|text\n1|"a|b"\n2|"several\nlines"\n3|"x ""y"" z"\n4|"damaged" here\n5|plain "marks" inside\n'


@pytest.mark.parametrize("delimiter", ["|", ",", ";"])
def test_an_unquoted_dump_of_any_delimiter_is_asked_about_and_a_quoted_file_is_not(delimiter: str) -> None:
    """Read with quoting, the dump would lose rows without a word."""
    head = DUMP.replace("|", delimiter).encode()
    asked = doubt(head, "f", Dialect(delimiter=delimiter).of("csv"))
    assert asked is not None
    assert "the first 7 lines are 5 records with the header; read without, every line is a record (7)" in asked
    assert asked.endswith("--quote '\"' or --quote none")
    for quote in ('"', "none", "'"):
        assert doubt(head, "f", Dialect(delimiter=delimiter, quote=quote).of("csv")) is None
    # A damaged record, and fields that take several lines, are no dump of texts.
    assert doubt(QUOTED.replace("|", delimiter).encode(), "f", Dialect(delimiter=delimiter).of("csv")) is None
