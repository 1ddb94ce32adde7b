"""Random nights in a row with --only-new publish by id what scoring every text would: the steps without Beam."""

import datetime as dt
import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.batches.measures import MEASURES, unmeasured
from transforms.batches.schemas import Columns
from transforms.carry import carry
from transforms.read.duplicates import (
    _HASHED,
    _hash_part,
    find_matches,
    find_repeats,
    hashed_entries,
    mark,
    unpack_repeats,
)
from transforms.read.earlier import Earlier, EarlierPart
from transforms.read.formats.blocks import Block
from transforms.read.unchanged import Unchanged, fetch, write_batches
from transforms.read.values.conform import conform
from transforms.runs.labelling import Labelling, same_for_all
from transforms.runs.run import Run
from transforms.validate import part_unchanged, validate
from transforms.write import StagingFile

KEYS = ((1, 2), (3, 4))
NOW = dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC)
# Few, so that rows come back, with what separates texts in the one hash and in the other.
TEXTS = ("a", "b", "a\x1fb", "b\x1fa", "ÿ", "a\x00", " ", None, b"a\xffb")
Row = tuple[str | None, str | bytes | None, str | bytes | None]
"""Id, text, text_pair."""

nights = st.lists(
    st.lists(st.tuples(st.sampled_from(["1", "2", "3", "4", "5", None]), *[st.sampled_from(TEXTS)] * 2), max_size=8),
    min_size=2,
    max_size=4,
)


def score_of(text: str, pair: str | None) -> float:
    """Another number for every text; what a model would say of the very bytes it is given."""
    spelled = repr((text, pair)).encode()
    return int.from_bytes(hashlib.sha256(spelled).digest()[:3], "big") / 2**10


class Night:
    """One night of rows in two splits, each with a piece of its own, on top of what the night before published."""

    def __init__(self, folder: Path, number: int, pairs: bool, before: "Night | None") -> None:
        folder.mkdir()
        self._folder, self._pairs = folder, pairs
        self.run = Run(run_id=f"n{number}", output="", date=NOW.date(), started=NOW, sequence=0, bundle="b@1")
        self._earlier = None
        if before is not None:
            named = {"date": "", "run_id": "", "precision": "float32", "task": "regression"}
            self._earlier = Earlier(**named, parts=tuple(before.parts))
        self._columns = Columns(
            text="text",
            id="id",
            text_pair="pair" if pairs else None,
            digests=True,
            earlier=None if self._earlier is None else self._earlier.type,
        )
        self._labelling = Labelling(labels=(), columns=self._columns, run=self.run)
        self.parts: list[EarlierPart] = []
        self.carried: set[str] = set()

    def publish(self, rows: list[Row]) -> dict[str, float]:
        """What is published, by id; `carried` has the ids that were not scored."""
        middle = len(rows) // 2
        blocks = [_block(some, start) for some, start in ((rows[:middle], 0), (rows[middle:], middle))]
        wanted = Columns(text="text", id="id", text_pair=self._columns.text_pair)
        packed = [hashed_entries(b, wanted, n, n, "f", KEYS) for n, b in enumerate(blocks)]
        for part in enumerate(() if self._earlier is None else self._earlier.parts):
            packed += [np.frombuffer(data, _HASHED) for _, data in _hash_part(part, KEYS)]
        entries = np.concatenate(packed)
        repeats = find_repeats(entries[entries["piece"] >= 0])
        places: dict[int, list[tuple[str, int]]] = {0: [], 1: []}
        for number, matches in {} if self._earlier is None else find_matches(entries).items():
            path = str(self._folder / f"unchanged-{number}.arrow")
            for index, split in enumerate(write_batches(path, self._earlier, fetch(self._earlier, number, matches))):
                places[split].append((path, index))
        for number, block in enumerate(blocks):
            batch, _ = conform(block, self._columns, source="f", split=number)
            known = unpack_repeats([repeats[number].tobytes()] if number in repeats else [])
            batch = mark(batch, known, {0: "f", 1: "f"})
            if self._earlier is not None and batch.num_rows:
                batch = Unchanged(places[number], self._earlier.type).attach(batch, number)
            self._write(number, batch)
        return dict(self._published())

    def _write(self, split: int, rows: pa.RecordBatch) -> None:
        texts, _ = validate(rows, self._columns)
        if self._earlier is not None:
            texts, unchanged = part_unchanged(texts)
            self.carried |= set(unchanged.column("id").to_pylist())
            self._stage(f"unchanged-{split}", carry(unchanged, self._labelling, "float32"))
        self._stage(f"scores-{split}", self._scored(texts))

    def _scored(self, texts: pa.RecordBatch) -> pa.RecordBatch:
        pairs = texts.column("text_pair").to_pylist() if self._pairs else [None] * texts.num_rows
        values = [score_of(*both) for both in zip(texts.column("text").to_pylist(), pairs, strict=True)]
        own = same_for_all(self._labelling, texts.num_rows, "float32") | {
            "value": pa.array(values, pa.float32()),
            "token_count": pa.array([1] * texts.num_rows, pa.int32()),
            "truncated": pa.array([False] * texts.num_rows),
            MEASURES: unmeasured(texts.num_rows),
        }
        schema = self._labelling.schema
        arrays = [own[name] if name in own else texts.column(name) for name in schema.names]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _stage(self, name: str, scores: pa.RecordBatch) -> None:
        if not scores.num_rows:
            return
        file = StagingFile(str(self._folder / f"{name}.parquet"), self._labelling.file_schema)
        for start in range(0, scores.num_rows, 2):
            file.add(scores.slice(start, 2))
        closed = file.close()
        assert closed.digests
        self.parts.append(EarlierPart(closed.path, closed.digests.path))

    def _published(self) -> Iterator[tuple[str, float]]:
        for part in self.parts:
            table = pq.ParquetFile(part.path).read(["id", "value"])
            yield from zip(*(table.column(name).to_pylist() for name in ("id", "value")), strict=True)


def _block(rows: list[Row], start: int) -> Block:
    names, kinds = ("id", "text", "pair"), (pa.string(), pa.binary(), pa.binary())
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    where = np.arange(start, start + len(rows), dtype=np.int64)
    return Block(where, pa.record_batch(arrays, names=list(names)), where, [])


def valid(rows: Iterable[Row], pairs: bool) -> dict[str, tuple[str, str | None]]:
    """The texts that a plain loop would score: the first row of each id, if its texts are usable."""
    first: dict[str, tuple[str, str | None]] = {}
    seen = set()
    for id_, text, pair in rows:
        if id_ is None or id_ in seen:
            continue
        seen.add(id_)
        if all(isinstance(t, str) and t.strip() for t in ((text, pair) if pairs else (text,))):
            first[id_] = (str(text), str(pair) if pairs else None)
    return first


@settings(max_examples=60, deadline=None)
@given(nights, st.booleans())
def test_every_night_publishes_what_scoring_every_text_would(drawn: list[list[Row]], pairs: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before, had = None, {}
        for number, rows in enumerate(drawn):
            night = Night(Path(folder) / str(number), number, pairs, before)
            published = night.publish(rows)
            texts = valid(rows, pairs)
            assert published == {id_: score_of(*both) for id_, both in texts.items()}
            assert night.carried == {id_ for id_, both in texts.items() if had.get(id_) == both}
            before, had = night, texts
