"""The error budget: how many rows of a run may be dead letters, and when reading ends early because of it.

Reading ends early if one split alone has more dead letters than the whole input may have. A run that could have kept
its budget is never ended: the dead letters of one split are compared with the most rows that the plan can have.
"""

import posixpath
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from transforms.stores.choose import store_for
from transforms.stores.paths import join

MOST_MADE = {None: 1, "gzip": 1032, "zstd": 32_768, "bz2": 1_250_000}
"""What a byte of a file can be decompressed to at most.

Deflate has at least two bits for 258 bytes; a block of Zstandard has at least four bytes, and makes 128 KiB at most.
A block of bzip2 has at least 37 bytes, and makes 900,000 x 255 / 5 at most: 45.9 MB.
"""

if TYPE_CHECKING:
    from transforms.runs.plan import Piece, Split


@dataclass(frozen=True, kw_only=True)
class ErrorBudget:
    """How many rows of a run may be dead letters before nothing is published."""

    fraction: float = 0.01
    rows: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"--max-dead-fraction is {self.fraction}; it must be between 0 and 1")
        if self.rows is not None and self.rows < 0:
            raise ValueError(f"--max-dead-rows is {self.rows}; it must be 0 or more")

    def exceeded(self, dead: int, read: int) -> str | None:
        """Which limit `dead` of `read` rows exceed, as a sentence; None if they exceed none."""
        # Divided, not multiplied: 0.29 * 100 is less than 29.
        if read and dead / read > self.fraction:
            return f"{dead:,} of {read:,} rows are dead letters; --max-dead-fraction allows {self.fraction:g}"
        if self.rows is not None and dead > self.rows:
            return f"{dead:,} rows are dead letters; --max-dead-rows allows {self.rows:,}"
        return None


def exceeded_by_one(budget: ErrorBudget, split: int, dead: int, most: int | None) -> str | None:
    """Which limit of the whole run `dead` rows of one split exceed, of `most` rows in all; None if they exceed none."""
    if most is None:
        budget, most = replace(budget, fraction=1.0), dead
        of_all = ""
    else:
        of_all = f" and the whole input at most {most:,} rows"
    exceeded = budget.exceeded(dead, most)
    if exceeded is None:
        return None
    limit = exceeded.split("; ")[1]
    return f"reading was ended early: split {split} alone has {dead:,} dead letters{of_all}; {limit}"


class _Counted(threading.local):
    """Dead letters of the split that this thread reads: the steps that may reject a row are fused with the reading."""

    dead = 0


_counted = _Counted()


def note_dead(rows: int) -> None:
    """Counts dead letters of the split that is being read."""
    _counted.dead += rows


class Spending:
    """Watches the budget while splits are read. A process that finds it exceeded says so in a file beside `staged`."""

    def __init__(self, plan: str, staged: str | None, budget: ErrorBudget | None) -> None:
        self._plan, self._budget = plan, budget
        self._mark = None if staged is None or budget is None else mark_of(staged)
        self._most_rows: int | None = None
        self._knows_rows = False

    def begin(self) -> bool:
        """Starts the count of another split; False if some split has exceeded the budget already."""
        _counted.dead = 0
        return self._mark is None or store_for(self._mark).read(self._mark) is None

    def is_over(self, split: int) -> bool:
        """Whether the split that is being read has exceeded the budget of the whole input; then the file is written."""
        if self._mark is None or self._budget is None or not _counted.dead:
            return False
        if not self._knows_rows:
            # Imported here: with it comes Arrow, which a command that only reads flags does not wait for.
            from transforms.runs.plan import planned_splits

            self._most_rows, self._knows_rows = most_rows(planned_splits(self._plan)), True
        problem = exceeded_by_one(self._budget, split, _counted.dead, self._most_rows)
        if problem is not None:
            store_for(self._mark).write(self._mark, problem.encode())
        return problem is not None


def mark_of(staged: str) -> str:
    """The file that says that the run with this folder of staged files exceeds its budget."""
    return join(posixpath.dirname(staged.rstrip("/")), "over-budget.txt")


def ended_early(staged: str) -> str | None:
    """Why the run with this folder of staged files was ended early; None if it was not."""
    found = store_for(staged).read(mark_of(staged))
    return None if found is None else found.decode()


def most_rows(splits: "Iterable[Split]") -> int | None:
    """How many rows the splits have at most; None if that is not known."""
    rows = [_most_rows(piece) for split in splits for piece in split.pieces]
    known = [count for count in rows if count is not None]
    return sum(known) if len(known) == len(rows) else None


def _most_rows(piece: "Piece") -> int | None:
    if piece.rows is not None:
        return piece.rows
    most = MOST_MADE.get(piece.compression)
    if piece.format in ("parquet", "bigquery") or most is None:
        return None
    # A row of text has at least its line end, or is the last one and not empty.
    return most * ((piece.end if piece.end >= 0 else piece.size) - piece.start)
