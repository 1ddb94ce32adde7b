"""Every kind of night of one corpus, counted: how many were told of, how many the gate held, and by which statistic."""

import collections
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.drift.nights import UNSHIFTED, Pool, Shift, nights
from benchmarks.drift.pools import OUT_OF_SCOPE

SEED = 18
UNSHIFTED_NIGHTS, SHIFTED_NIGHTS = 1_000, 200
MOST_ALARMS = 15
FOUND = {0.2: 0.95, 0.1: 0.80}
"""Of nights with so much of another corpus or language: the share that must be found."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """So many nights of a kind: how many had a statistic beyond its bound, how many would be held, what told most."""

    shift: Shift
    nights: int
    alarms: int
    held: int
    statistics: Sequence[tuple[str, int]]

    @property
    def limit(self) -> float | None:
        """The share of the nights that must be held; of unshifted ones, how many may be told of at most."""
        if self.shift == UNSHIFTED:
            return MOST_ALARMS * self.nights / UNSHIFTED_NIGHTS
        # What the gate must find; all else is reported as it is.
        return FOUND.get(self.shift.share) if self.shift.mixed not in (None, OUT_OF_SCOPE) else None

    @property
    def kept(self) -> bool:
        """Whether the limit is kept, if there is one."""
        if self.limit is None:
            return True
        return self.alarms <= self.limit if self.shift == UNSHIFTED else self.held >= self.limit * self.nights


def shifts(mixed: Sequence[str]) -> Iterator[Shift]:
    """Every kind and strength."""
    for name, share in itertools.product(mixed, (0.2, 0.1)):
        yield Shift(share=share, mixed=name)
    for share in (0.1, 0.2):
        yield Shift(share=share, label=True)
    for form, share in itertools.product(("cut", "lower-cased"), (0.1, 0.5, 1.0)):
        yield Shift(share=share, form=form)


def count(pool: Pool, shift: Shift, number: int, of: int, each_week: int) -> Counted:
    """Judges `of` nights with a shift; `number` is that of the kind, and with SEED what their rows depend on."""
    alarms = held = 0
    statistics: collections.Counter[str] = collections.Counter()
    for verdict in nights(pool, shift, of, [SEED, number], each_week):
        alarms += bool(verdict.beyond)
        held += bool(verdict.held)
        statistics.update({one.statistic for one in verdict.beyond})
    # As often as another: by name, that a seed always means the same report.
    told = sorted(statistics.items(), key=lambda item: (-item[1], item[0]))
    return Counted(shift=shift, nights=of, alarms=alarms, held=held, statistics=told)
