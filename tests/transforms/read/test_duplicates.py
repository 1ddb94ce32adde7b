"""The id pass, against a plain dict."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.batches.fingerprints import id_hash, secret_keys
from transforms.batches.misfits import named
from transforms.batches.schemas import Columns, rows_schema
from transforms.read.duplicates import _ENTRY, BUCKETS, entries, find_repeats, mark, unpack_repeats
from transforms.read.formats.blocks import Block, no_rows

KEYS = ((1, 2), (3, 4))
PLACES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 9), st.integers(0, 99)), max_size=60)


@given(PLACES, st.randoms())
def test_every_occurrence_but_the_first_is_a_repeat(found: list[tuple[int, int, int, int]], random) -> None:  # type: ignore[no-untyped-def]
    found = list({(piece, row): (a, b, piece, row) for a, b, piece, row in found}.values())
    first: dict[tuple[int, int], tuple[int, int]] = {}
    expected = defaultdict(set)
    for a, b, piece, row in sorted(found, key=lambda entry: entry[2:]):
        if (a, b) in first:
            expected[piece].add((row, *first[a, b]))
        else:
            first[a, b] = (piece, row)
    random.shuffle(found)
    repeats = find_repeats(np.array(found, _ENTRY))
    assert {piece: {tuple(map(int, r)) for r in rows} for piece, rows in repeats.items()} == dict(expected)


COLUMNS = Columns(text="id", id="id")


def block(ids: pa.Array, start: int = 0) -> Block:
    where = np.arange(start, start + len(ids), dtype=np.int64)
    return Block(where, pa.record_batch([ids], names=["id"]), where, [])


@given(st.lists(st.one_of(st.none(), st.binary(max_size=2)), max_size=40))
def test_ids_of_any_bytes_are_compared_whole(ids: list[bytes | None]) -> None:
    packed = entries(block(pa.array(ids, pa.binary()), start=10), COLUMNS, 3, KEYS)
    seen: set[bytes] = set()
    again = [10 + i for i, id in enumerate(ids) if id is not None and (id in seen or seen.add(id))]  # type: ignore[func-returns-value]
    assert len(packed) == sum(id is not None for id in ids)
    assert sorted(int(row) for rows in find_repeats(packed).values() for row in rows["row"]) == again


def test_an_integer_id_equals_the_string_that_says_the_same() -> None:
    packed = [
        entries(block(pa.array(ids)), COLUMNS, piece, KEYS)
        for piece, ids in enumerate(([1, -2], ["1", "-2", "01"], [b"1"]))
    ]  # fmt: skip
    repeats = find_repeats(np.concatenate(packed))
    assert {piece: sorted(rows["row"].tolist()) for piece, rows in repeats.items()} == {1: [0, 1], 2: [0]}


def test_ids_are_hashed_by_keys_that_no_writer_of_ids_knows() -> None:
    # Both have the FarmHash64 of b"play the song": found by inverting it. Its second half, a hash with a key that
    # stood in the source, would have been the only thing between two ids.
    ids = pa.array([b"play the song", b"rG3XIW973tbvsw axclrWQV35k2ueyds"], pa.binary())
    first, again = id_hash(ids, KEYS), id_hash(ids, secret_keys())
    for column, other in zip(first, again, strict=True):
        assert column[0] != column[1]
        assert not np.intersect1d(column, other).size
    assert not np.intersect1d(*first).size
    assert [column.tolist() for column in id_hash(ids, KEYS)] == [column.tolist() for column in first]
    (key_a, key_b), (key_c, key_d) = secret_keys(), secret_keys()
    assert len({key_a, key_b, key_c, key_d}) == 4


def test_a_block_without_ids_has_no_entries() -> None:
    nothing = np.empty(0, np.int64)
    assert not len(entries(Block(nothing, no_rows(pa.schema([])), nothing, []), COLUMNS, 0, KEYS))


@given(st.sets(st.integers(0, 30)), st.lists(st.integers(0, 30), min_size=1, unique=True))
def test_marks_land_on_their_rows(repeated: set[int], rows: list[int]) -> None:
    repeat = unpack_repeats(
        [find_repeats(np.array([(row, 0, 0, row), (row, 0, 1, row)], _ENTRY))[1].tobytes() for row in repeated]
    )
    columns = Columns(text="text", id="id")
    source = pa.array(["b"] * len(rows)).dictionary_encode()
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([str(row) for row in rows]),
            pa.array([b"x"] * len(rows)),
            source,
            pa.array([0] * len(rows), pa.int32()),
            pa.array(rows, pa.int64()),
            named(len(rows), {}),
            pa.array([False] * len(rows)),
            pa.nulls(len(rows), pa.string()),
        ],
        schema=rows_schema(columns),
    )
    marked = mark(batch, repeat, {0: "a", 1: "b"})
    assert marked.schema.equals(batch.schema)
    assert marked.column("duplicate").to_pylist() == [row in repeated for row in rows]
    assert marked.column("duplicate_of").to_pylist() == [f"a#{row}" if row in repeated else None for row in rows]


def test_the_buckets_are_not_so_many_that_their_hashes_are_lost() -> None:
    hashes = entries(block(pa.array([f"id {i}" for i in range(20_000)])), COLUMNS, 0, KEYS)["a"].astype(np.uint64)
    assert len(np.unique(hashes % BUCKETS)) == BUCKETS
