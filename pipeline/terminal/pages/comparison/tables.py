"""The tables of a comparison: headings and cells, all of them text."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transforms.outputs.comparison.found import (
    CHANGED,
    MOVED,
    ONLY_A,
    ONLY_B,
    SHARES,
    STEPS,
    Differences,
    Labelled,
    Valued,
)
from transforms.score.certificates.statistics import wilson

MOST_LABELS = 15
"""Rows and columns of the matrix; all other labels are one."""
OTHERS = "all others"
MOST_PAIRS = 2_000
"""Rows of the table of pairs: of a thousand labels a page would have hundreds of thousands, and never open."""
_BOUNDS = ("at least", "at most")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Headings and rows of cells; the first `left` columns are names, the others numbers.

    `bars`: for each row a share of 1 that a page draws. `strong`: places (row, column) that a page lifts out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    bars: Sequence[float] = ()
    strong: frozenset[tuple[int, int]] = frozenset()


def by_label(found: Labelled) -> Table:
    """Of each label: rows in A and in B, and those that changed; of right ones, how many each side gets right."""
    base = ("texts that have it in one alone", "share of all") if found.several else ("changed", "share of A")
    columns = ["label", "in A", "in B", *base, *_BOUNDS]
    if found.right is not None:
        columns += ["right ones", "right in A", "right in B"]
    shares, rows = [], []
    for label in found.labels:
        changed, of = (
            (label.a + label.b - 2 * label.both, found.ids.both) if found.several else (label.a - label.both, label.a)
        )
        gold = [_number(label.gold), *(_of(count, label.gold) for count in (label.right_a, label.right_b))]
        cells = [label.label, _number(label.a), _number(label.b), _number(changed), *_interval(changed, of)]
        rows.append([*cells, *(gold if found.right is not None else ())])
        shares.append(changed / of if of else 0.0)
    return Table(columns=columns, rows=rows, bars=shares)


def pairs(found: Labelled) -> Table:
    """Which label became which, most rows first."""
    of = {label.label: label.a for label in found.labels}
    most = [*found.pairs.items()][:MOST_PAIRS]
    rows = [[a, b, _number(count), *_interval(count, of[a])] for (a, b), count in most]
    shares = [count / of[a] for (a, _), count in most]
    return Table(columns=("in A", "in B", "texts", "share", *_BOUNDS), rows=rows, left=2, bars=shares)


def matrix(found: Labelled) -> Table:
    """Labels of A by labels of B; those with few changes together."""
    changes: dict[str, int] = {}
    for pair, count in found.pairs.items():
        for name in pair:
            changes[name] = changes.get(name, 0) + count
    known = [label.label for label in found.labels]
    if len(known) > MOST_LABELS:
        known = sorted(known, key=lambda name: (-changes.get(name, 0), name))[: MOST_LABELS - 1]
    place = {name: number for number, name in enumerate(known)}
    size = len(known) + (len(known) < len(found.labels))
    cells = [[0] * size for _ in range(size)]
    for label in found.labels:
        at = place.get(label.label, size - 1)
        cells[at][at] += label.both
    for (a, b), count in found.pairs.items():
        cells[place.get(a, size - 1)][place.get(b, size - 1)] += count
    names = known if size == len(known) else [*known, OTHERS]
    rows = [[name, *(_number(count) if count else "" for count in row)] for name, row in zip(names, cells, strict=True)]
    # Of all others together the diagonal also has texts that changed from one of them to another.
    diagonal = frozenset((number, number + 1) for number in range(len(known)))
    return Table(columns=["A \\ B", *names], rows=rows, strong=diagonal)


def differences(found: Differences) -> Table:
    """How many differences of probability are how large."""
    ends = list(itertools.pairwise([*STEPS, 1.0]))
    names = [f"-{high:g} to -{low:g}" for low, high in reversed(ends)]
    names += [f"-{STEPS[0]:g} to +{STEPS[0]:g}", *(f"+{low:g} to +{high:g}" for low, high in ends)]
    shares = [count / found.rows for count in found.bins]
    rows = [
        [name, _number(count), f"{share:.2%}"] for name, count, share in zip(names, found.bins, shares, strict=True)
    ]
    return Table(columns=("B less A", "rows", "share"), rows=rows, bars=shares)


def quantiles(found: Valued) -> Table:
    """The differences of value at SHARES."""
    names = ["smallest", *(f"{share:.0%}" for share in SHARES[1:-1]), "largest"]
    rows = [[name, f"{value:+.6g}"] for name, value in zip(names, found.quantiles, strict=True)]
    return Table(columns=("of the texts, up to", "B less A"), rows=rows)


def examples(found: Labelled | Valued) -> Iterable[tuple[str, Table]]:
    """Ids of each kind of difference, the most instructive ones first."""
    told = _TOLD_VALUES
    if isinstance(found, Labelled):
        told = _TOLD_SEVERAL if found.several else _TOLD
    for kind, rows in found.examples.items():
        gold = any(row.gold for row in rows)
        columns = ("id", "A", "B", *(("right",) if gold else ()))
        cells = [[row.id, row.a, row.b, *((row.gold,) if gold else ())] for row in rows]
        yield told[kind], Table(columns=columns, rows=cells, left=len(columns))


_TOLD = {
    CHANGED: "other labels, both sure",
    MOVED: "same labels, probability moved most",
    ONLY_A: "right in A alone",
    ONLY_B: "right in B alone",
}
_TOLD_SEVERAL = {**_TOLD, CHANGED: "other labels, the most probable ones"}
_TOLD_VALUES = {CHANGED: "values moved most", ONLY_A: "much nearer in A", ONLY_B: "much nearer in B"}


def _interval(count: int, rows: int) -> tuple[str, str, str]:
    """Share, and the bounds of its interval."""
    if not rows:
        return "-", "-", "-"
    low, high = wilson(count, rows)
    return f"{count / rows:.2%}", f"{low:.2%}", f"{high:.2%}"


def _of(count: int, rows: int) -> str:
    return f"{count / rows:.2%}" if rows else "-"


def _number(count: int) -> str:
    return f"{count:,}"
