"""Pages of Parquet that are too large for Arrow: cut into values here, and the same as Arrow reads them."""

import io
import random
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.read.formats import parquet as parquet_files
from transforms.read.formats.bounded import Limits
from transforms.read.formats.large_pages import columns as large_columns
from transforms.read.formats.large_pages import unpacked
from transforms.read.formats.large_pages.headers import PLAIN, Page, pages_of
from transforms.read.formats.large_pages.levels import numbers
from transforms.read.formats.large_pages.unpacked import pieces
from transforms.read.formats.large_pages.values import _Dictionary
from transforms.runs.plan import Piece

CODECS = ["none", "snappy", "gzip", "zstd", "brotli"]
SIZES = st.one_of(st.integers(0, 40), st.integers(900, 1_100), st.integers(60_000, 140_000))


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of kilobytes are large, and read in small pieces."""
    monkeypatch.setattr(large_columns, "LARGE_PAGE_BYTES", 1_000)
    monkeypatch.setattr(unpacked, "_AT_ONCE", 0)
    monkeypatch.setattr(unpacked, "PIECE_BYTES", 1_000)


def written(table: pa.Table, **said: Any) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(table, file, **said)
    return file


def read(file: io.BytesIO, limits: Limits = Limits()) -> list[Any]:  # noqa: B008
    """The blocks of all row groups."""
    metadata = pq.ParquetFile(file).metadata
    piece = Piece(number=0, file="in.parquet", size=len(file.getvalue()), version="", format="parquet", start=0,
                  end=metadata.num_row_groups, first_row=0, rows=metadata.num_rows)  # fmt: skip
    names = pq.ParquetFile(file).schema_arrow.names
    return list(parquet_files.read_blocks(file, piece, names, limits))


def rows(blocks: list[Any], names: list[str]) -> list[dict[str, Any]]:
    return [row for block in blocks for row in block.rows.select(names).to_pylist()]


def is_large(file: io.BytesIO) -> set[str]:
    """The columns of the first row group that Arrow does not read."""
    parquet = pq.ParquetFile(file)
    leaves = dict(enumerate(parquet.schema_arrow.names))
    return {*large_columns.with_large_pages(file, parquet, 0, leaves)}


def words(sizes: list[int | None], repeated: int, draw: random.Random) -> list[str | None]:
    """Texts of so many bytes, partly random and partly not; each is in as many as `repeated` rows."""
    made = [None if size is None else (draw.randbytes(size // 4).hex() + "play music " * size)[:size] for size in sizes]
    return [made[draw.randrange(max(1, len(made) // repeated))] if repeated > 1 else value for value in made]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | SIZES, min_size=1, max_size=60), st.sampled_from([1, 2, 8]), st.sampled_from(CODECS),
    st.sampled_from(["1.0", "2.0"]), st.booleans(), st.booleans(), st.booleans(), st.integers(1, 70),
    st.integers(0, 2**32).map(random.Random),
)  # fmt: skip
def test_every_value_is_the_one_that_arrow_reads(
    sizes: list[int | None], repeated: int, codec: str, version: str, dictionary: bool, required: bool, checked: bool,
    group_rows: int, draw: random.Random,
) -> None:  # fmt: skip
    found = words([size or 0 for size in sizes] if required else sizes, repeated, draw)
    schema = pa.schema(
        [pa.field("id", pa.int64()), pa.field("t", pa.string(), nullable=not required), ("b", pa.binary())]
    )
    table = pa.table([range(len(found)), found, [value and value.encode()[::-1] for value in found]], schema=schema)
    file = written(table, compression=codec, data_page_version=version, use_dictionary=dictionary,
                   write_page_checksum=checked, row_group_size=group_rows, dictionary_pagesize_limit=5_000,
                   data_page_size=2_000, write_batch_size=8)  # fmt: skip
    blocks = read(file)
    assert rows(blocks, table.schema.names) == table.to_pylist()
    assert np.concatenate([block.positions for block in blocks]).tolist() == list(range(len(found)))
    assert [block.damage for block in blocks if block.damage] == []


def test_such_columns_are_found_and_others_are_left_to_arrow() -> None:
    long = ["x" * 2_000] * 3
    table = pa.table({"long": long, "short": ["x"] * 3, "nested": [[value] for value in long], "number": [1, 2, 3],
                      "large": pa.array(long, pa.large_string()), "bytes": pa.array(long, pa.binary())})  # fmt: skip
    assert is_large(written(table, use_dictionary=False)) == {"long", "large", "bytes"}
    # What these are encoded as is not known here.
    assert is_large(written(table, use_dictionary=False, compression="lz4")) == set()
    delta = dict.fromkeys(("long", "large", "bytes"), "DELTA_LENGTH_BYTE_ARRAY")
    assert is_large(written(table, use_dictionary=False, column_encoding=delta)) == set()
    assert rows(read(written(table, use_dictionary=False)), table.schema.names) == table.to_pylist()


def test_a_file_of_such_columns_alone_has_its_rows() -> None:
    table = pa.table({"t": ["x" * 900] * 5, "u": ["y" * 900] * 5})
    file = written(table, use_dictionary=False)
    assert is_large(file) == {"t", "u"}
    assert rows(read(file), ["t", "u"]) == table.to_pylist()


def test_a_text_is_cut_behind_its_limit_and_a_kept_value_above_its_own_is_null_and_lost() -> None:
    table = pa.table({"id": ["a", "b", "c"], "text": ["t" * 3_000, "t" * 50, "t" * 51],
                      "kept": ["k" * 100, "k" * 3_000, "k" * 101]})  # fmt: skip
    for dictionary in (False, True):
        limits = Limits({"text": 50, "kept": 100}, frozenset({"text"}))
        blocks = read(written(table, use_dictionary=dictionary), limits)
        found = rows(blocks, ["id", "text", "kept"])
        assert [(row["id"], len(row["text"]), row["kept"] and len(row["kept"])) for row in found] == [
            ("a", 51, 100),
            ("b", 50, None),
            ("c", 51, None),
        ]
        lost = [(u.column, u.positions.tolist(), u.code) for block in blocks for u in block.unfit]
        assert lost == [("kept", [1, 2], "wrong_type")]


def test_what_is_given_at_once_has_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_columns, "MAX_TEXT_BYTES", 2_500)
    table = pa.table({"id": range(10), "t": ["x" * 1_000] * 9 + ["x" * 9_000]})
    blocks = read(written(table, use_dictionary=False))
    assert [block.rows.num_rows for block in blocks] == [3, 3, 3, 1]
    assert rows(blocks, ["id", "t"]) == table.to_pylist()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [False, True])
def test_bytes_that_were_changed_lose_rows_and_change_none(codec: str, version: str, dictionary: bool) -> None:
    draw = random.Random(5)
    texts = words([3_000] * 6, 1, draw)
    table = pa.table({"id": range(6), "t": texts})
    for checked in (True, False):
        file = written(table, compression=codec, data_page_version=version, write_page_checksum=checked,
                       use_dictionary=["t"] if dictionary else False)  # fmt: skip
        chunk = pq.ParquetFile(file).metadata.row_group(0).column(1)
        start = chunk.dictionary_page_offset if dictionary else chunk.data_page_offset
        for _ in range(30):
            data = bytearray(file.getvalue())
            at = draw.randrange(start, start + chunk.total_compressed_size)
            data[at] ^= 1 << draw.randrange(8)
            blocks = read(io.BytesIO(bytes(data)))
            covered = np.concatenate([block.covered for block in blocks])
            assert sorted(covered.tolist()) == list(range(6))
            whole = [
                (id_, text.as_py())
                for block in blocks if block.rows.num_rows
                for id_, text in zip(block.rows["id"].to_pylist(), block.rows["t"].cast(pa.binary()), strict=True)
            ]  # fmt: skip
            assert len(whole) + sum(len(d.positions) for block in blocks for d in block.damage) == 6
            if checked:
                assert [id_ for id_, text in whole if text != texts[id_].encode()] == []


def test_a_page_that_ends_too_early_is_damage() -> None:
    for cut in (1, 10, 1_000):
        whole = b"".join(struct.pack("<I", 900) + b"x" * 900 for _ in range(3))
        page = Page(0, len(whole), len(whole) + cut, None, False, 3, PLAIN, None, True, True)
        with pytest.raises(pa.ArrowInvalid, match="not as many bytes"):
            list(pieces(io.BytesIO(whole), page, "UNCOMPRESSED"))


def snappy(data: bytes) -> tuple[bytes, Page]:
    stream = pa.Codec("snappy").compress(data, asbytes=True)
    return stream, Page(0, len(stream), len(data), None, False, 1, PLAIN, None, True, True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400_000), st.integers(0, 300_000), st.integers(0, 9), st.integers(1, 200_000))
def test_a_snappy_stream_is_the_same_in_pieces(random_bytes: int, repeated: int, word: int, piece: int) -> None:
    data = random.Random(piece).randbytes(random_bytes) + (b"0123456789"[: word + 1] * 300_000)[:repeated]
    stream, page = snappy(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacked, "PIECE_BYTES", piece)
        found = list(pieces(io.BytesIO(stream), page, "SNAPPY"))
    assert b"".join(found) == data
    assert max(map(len, found), default=0) < piece + 64 * 1024


def literal(data: bytes) -> bytes:
    return bytes([61 << 2]) + struct.pack("<H", len(data) - 1) + data


def test_a_snappy_stream_that_refers_to_what_was_long_ago_is_taken_as_a_whole() -> None:
    # Two blocks of 64 KiB, and a copy from the first one behind the second: no compressor in use makes that.
    first, second = random.Random(1).randbytes(65_536), random.Random(2).randbytes(65_536)
    copy = bytes([(60 - 1) << 2 | 3]) + struct.pack("<I", 131_072)
    size = 2 * 65_536 + 60
    stream = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + literal(first) + literal(second) + copy
    data = pa.Codec("snappy").decompress(stream, size, asbytes=True)
    assert data == first + second + first[:60]
    page = Page(0, len(stream), size, None, False, 1, PLAIN, None, True, True)
    assert b"".join(pieces(io.BytesIO(stream), page, "SNAPPY")) == data


@given(st.binary(max_size=60), st.integers(0, 5_000))
def test_no_snappy_stream_is_read_for_ever_or_past_its_end(stream: bytes, size: int) -> None:
    page = Page(0, len(stream), size, None, False, 1, PLAIN, None, True, True)
    try:
        expected = pa.Codec("snappy").decompress(stream, size, asbytes=True) if size else b""
    except (pa.ArrowException, OSError):
        expected = None
    try:
        found = b"".join(pieces(io.BytesIO(stream), page, "SNAPPY"))
    except (pa.ArrowException, OSError):
        found = None
    # Arrow does not mind a stream that makes fewer bytes than it is asked for.
    assert found == expected or found is None


@given(st.lists(st.integers(0, 2**20 - 1), max_size=300), st.booleans())
def test_small_numbers_are_read_as_they_were_packed(values: list[int], runs: bool) -> None:
    width = max(values, default=0).bit_length()
    size = -(-width // 8)
    if runs:
        data = b"".join(b"\x02" + value.to_bytes(size, "little") for value in values)
    else:
        groups = -(-len(values) // 8)
        packed = sum(value << i * width for i, value in enumerate(values))
        header = groups << 1 | 1
        data = bytes([header & 127 | 128, header >> 7]) + packed.to_bytes(groups * width, "little")
    assert numbers(data, width, len(values)).tolist() == values
    if values and width:
        with pytest.raises(pa.ArrowInvalid):
            numbers(data[:-1] if runs else data[: 2 + (len(values) * width - 1) // 8], width, len(values))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_page_headers_are_told(data: bytes) -> None:
    try:
        found = list(pages_of(io.BytesIO(data), 0, len(data)))
    except ValueError:
        return
    assert all(0 <= page.at <= len(data) for page in found)


def test_a_column_of_which_no_page_is_large_is_looked_at_no_further_than_that_is_sure() -> None:
    table = pa.table({"t": [f"{i:0500}" for i in range(100)]})
    file = written(table, use_dictionary=False, data_page_size=500, write_batch_size=1, compression="none",
                   write_statistics=False)  # fmt: skip
    seen = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            seen.append(self.tell())
            return super().read(size)

    watched = Watched(file.getvalue())
    parquet = pq.ParquetFile(file)
    assert large_columns.with_large_pages(watched, parquet, 0, {0: "t"}) == {}
    # All pages are alike; the last 1,000 bytes hold no larger one, whatever their headers say.
    size = parquet.metadata.row_group(0).column(0).total_uncompressed_size / 100
    assert len(seen) == 100 - int(1_000 / size)


def test_numbers_of_a_dictionary_that_are_negative_are_damage() -> None:
    found = numbers(b"\x03" + b"\xff" * 32, 32, 8)
    assert found.min() < 0
    column: Any = SimpleNamespace(pages=[SimpleNamespace(values=2, uncompressed=100)])
    with pytest.raises(pa.ArrowInvalid, match="fewer values than are asked for"):
        _Dictionary(io.BytesIO(), column, 1_000, found)
