"""Row counts: for each split, how many rows there were, and a checksum of their positions.

If one row is lost and another one doubled, the count is right and the checksum is wrong.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MARKED = "fields_with_quotation_mark"
"""Of a TSV: fields that begin with a quotation mark, read as text because the job does not say what it means."""
_MASK = (1 << 64) - 1


class Count(NamedTuple):
    """Rows of one split and the sum modulo 2^64 of a 64-bit mix of their positions.

    `marked`, of what was read: see Block; no row depends on it.
    """

    split: int
    rows: int
    checksum: int
    marked: int = 0

    def balances(self, other: "Count") -> bool:
        """Whether both count the same rows."""
        return self[:3] == other[:3]


class Work(NamedTuple):
    """What scoring took.

    `scored` rows were computed, `copied` rows are duplicates within a macro-batch, `remembered` ones of an earlier
    macro-batch. `tokens` and `padded` are the tokens computed, without and with padding; `model_nanos` the time inside
    the model. `precision` names all there were, joined by +; `token_budget` is the lowest there was, 0 for none.
    Of bundles that make windows, `windows` is how many the rows had, `windows_computed` how many of them were computed.
    """

    scored: int = 0
    copied: int = 0
    remembered: int = 0
    tokens: int = 0
    padded: int = 0
    model_nanos: int = 0
    precision: str = ""
    token_budget: int = 0
    windows: int = 0
    windows_computed: int = 0

    @property
    def told(self) -> dict[str, int | str]:
        """As records have it: nothing of windows where there are none."""
        found = self._asdict()
        return found if self.windows else {key: value for key, value in found.items() if not key.startswith("windows")}


def total_work(work: Iterable[Work]) -> Work:
    """All of it together."""
    parts = [Work(), *work]
    precisions = {part.precision for part in parts} - {""}
    budgets = {part.token_budget for part in parts} - {0}
    sums = {name: sum(getattr(part, name) for part in parts) for name in Work._fields if name not in _NOT_SUMMED}
    return Work(**sums, precision="+".join(sorted(precisions)), token_budget=min(budgets, default=0))


_NOT_SUMMED = ("precision", "token_budget")


def count_positions(split: int, source: str, rows: npt.NDArray[np.int64]) -> Count:
    """The Count of the rows at `rows` in the file `source`."""
    return Count(split, len(rows), _checksum(source, rows))


def count_batch(batch: pa.RecordBatch) -> Iterator[Count]:
    """The Counts of a RecordBatch with the columns source, split and row; one for each split and source."""
    splits = batch.column("split").to_numpy()
    sources = batch.column("source")
    names = sources.dictionary.to_pylist()
    keys = sources.indices.to_numpy()
    rows = batch.column("row").to_numpy()
    for split, key in sorted(set(zip(splits.tolist(), keys.tolist(), strict=True))):
        yield count_positions(split, names[key], rows[(splits == split) & (keys == key)])


def total(counts: Iterable[Count]) -> dict[int, Count]:
    """One Count per split."""
    row_counts: dict[int, Count] = {}
    for count in counts:
        so_far = row_counts.get(count.split, Count(count.split, 0, 0))
        row_counts[count.split] = Count(
            count.split,
            so_far.rows + count.rows,
            (so_far.checksum + count.checksum) & _MASK,
            so_far.marked + count.marked,
        )
    return row_counts


def differences(read: Iterable[Count], scored: Iterable[Count], dead: Iterable[Count]) -> list[str]:
    """Where counts do not agree, one sentence a split; empty if every row read was scored or is a dead letter, once."""
    before, after = total(read), total([*scored, *dead])
    problems = []
    for split in sorted(before.keys() | after.keys()):
        was, now = before.get(split, Count(split, 0, 0)), after.get(split, Count(split, 0, 0))
        if was.rows != now.rows:
            problems.append(f"split {split}: {was.rows:,} rows read, {now.rows:,} scored or dead")
        elif was.checksum != now.checksum:
            problems.append(f"split {split}: {was.rows:,} rows, but not the rows that were read")
    return problems


def _checksum(source: str, rows: npt.NDArray[np.int64]) -> int:
    # The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring positions get unrelated values.
    with np.errstate(over="ignore"):
        mixed = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(_seed(source))
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        return int(mixed.sum(dtype=np.uint64)) & _MASK


@lru_cache(maxsize=4096)
def _seed(source: str) -> int:
    return int.from_bytes(hashlib.blake2b(source.encode("utf-8", "surrogateescape"), digest_size=8).digest())
