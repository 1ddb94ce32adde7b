"""What is shown of a comparison, for a terminal and for a page: titles, sentences, tables, all of them text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.terminal.pages.comparison.tables import (
    MOST_PAIRS,
    by_label,
    differences,
    examples,
    matrix,
    pairs,
    quantiles,
)
from pipeline.terminal.pages.comparison.tables import Table as Table
from transforms.outputs.comparison.found import Differences, Ids, Labelled, Nearness, Right, Valued
from transforms.score.certificates.statistics import mcnemar, wilson

SURE = 0.05
"""A difference is called one if two equally good models showed it with a probability below this."""


_SMALLEST = 1e-300
"""What is smaller may be no float any more."""
_OF_COPIES = "copies count like texts of their own, so that intervals and tests are surer than they should be"
_OF_PAIRS = "Shares are of the texts with the label in A."
_OF_MATRIX = (
    "Rows are labels in A, columns labels in B. On the diagonal are texts that keep their label. All other labels "
    "together are one row and one column; where these meet are also texts that changed from one of them to another."
)
_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A side as it is named: the folder of its date, `name@fingerprint` of its bundle, its rows."""

    name: str
    bundle: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Section:
    """A title, sentences, and a table, if there is one. `only_page`: it is too wide for a terminal."""

    title: str
    lines: Sequence[str] = ()
    table: Table | None = None
    only_page: bool = False


def sections(found: Labelled | Valued, a: Compared, b: Compared) -> list[Section]:
    """Everything that is shown, in order."""
    begin = Section(title="Compared", lines=(*_named("A", a), *_named("B", b), *_ids(found.ids)))
    if not found.ids.both:
        return [begin]
    return [begin, *(_labelled(found) if isinstance(found, Labelled) else _valued(found)), *_first(found)]


def _named(letter: str, side: Compared) -> tuple[str, str]:
    return f"{letter}  {side.name}", f"   {side.bundle}, {side.rows:,} rows"


def _ids(ids: Ids) -> Iterable[str]:
    yield f"ids: {ids.both:,} in both, {ids.only_a:,} only in A, {ids.only_b:,} only in B"
    if ids.repeated:
        yield f"{ids.repeated:,} ids stand more than once in A or in B and are left out"
    if ids.other_text:
        yield f"{ids.other_text:,} ids have another text in B and are left out"
    if ids.texts is not None and ids.texts < ids.both:
        yield f"{ids.texts:,} different texts are in both; {_OF_COPIES}"


def _labelled(found: Labelled) -> Iterable[Section]:
    rows = found.ids.both
    what = "other labels" if found.several else "another label"
    line = f"{found.changed:,} of {rows:,} texts have {what} in B: {share_of(found.changed, rows)}"
    if found.right is not None:
        yield Section(title="Which one is right", lines=tuple(_right(found.right)))
    alone = tuple(_alone(found))
    yield Section(title="Changed labels", lines=(line, *alone), table=by_label(found))
    if found.pairs:
        more = len(found.pairs) - MOST_PAIRS
        cut = (f"These are the first {MOST_PAIRS:,} pairs; {more:,} more have fewer texts.",) if more > 0 else ()
        yield Section(title="From label to label", lines=(_OF_PAIRS, *cut), table=pairs(found))
        yield Section(title="Matrix", lines=(_OF_MATRIX,), table=matrix(found), only_page=True)
    if found.differences.rows:
        told = tuple(_moved(found.differences, several=found.several))
        yield Section(title="Differences of probability", lines=told, table=differences(found.differences))


def _alone(found: Labelled) -> Iterable[str]:
    """Labels that one side gives and the other never."""
    for letter, labels in (
        ("A", [(label.label, label.a) for label in found.labels if label.a and not label.b]),
        ("B", [(label.label, label.b) for label in found.labels if label.b and not label.a]),
    ):
        if labels:
            named = ", ".join(f"{name} ({rows:,})" for name, rows in labels[:_MOST_NAMED])
            more = f" and {len(labels) - _MOST_NAMED:,} more" if len(labels) > _MOST_NAMED else ""
            yield f"given in {letter} alone: {named}{more}"


def share_of(count: int, rows: int) -> str:
    """A share with its interval, as a sentence has it."""
    low, high = wilson(count, rows)
    return f"{count / rows:.2%}, between {low:.2%} and {high:.2%} with 95 % confidence"


def _moved(found: Differences, *, several: bool) -> Iterable[str]:
    if several:
        yield f"Of the {found.rows:,} labels that both give, B less A."
    else:
        yield "Of the most probable label, B less A."
    yield f"mean {found.mean:+.4f}, mean of the absolute ones {found.mean_absolute:.4f}, largest {found.largest:.4f}"


def _right(found: Right) -> Iterable[str]:
    if not found.rows:
        yield "No text has a right label."
        return
    for letter, alone in (("A", found.only_a), ("B", found.only_b)):
        count = found.both + alone
        yield f"{letter} is right in {count:,} of {found.rows:,} texts: {share_of(count, found.rows)}"
    yield f"{found.only_a:,} texts are right in A alone, {found.only_b:,} in B alone"
    yield _judged("McNemar's test", found.only_a, found.only_b, "is right more often")


def _judged(test: str, only_a: int, only_b: int, more: str) -> str:
    p = mcnemar(only_a, only_b)
    told = f"{test}: p = {p:.3g}" if p >= _SMALLEST else f"{test}: p < {_SMALLEST:g}"
    if p >= SURE:
        return f"{told}; that one is better than the other is not shown"
    return f"{told}; {'A' if only_a > only_b else 'B'} {more}, and that is hardly chance"


def _valued(found: Valued) -> Iterable[Section]:
    if found.nearness is not None:
        yield Section(title="Which one is right", lines=tuple(_nearness(found.nearness)))
    moved = f"mean {found.mean:+.6g}, RMS {found.rms:.6g}"
    correlation = f"correlation of the values of A and B (Pearson): {_correlation(found.correlation)}"
    yield Section(title="Differences of value", lines=("B less A.", moved, correlation), table=quantiles(found))


def _nearness(found: Nearness) -> Iterable[str]:
    if not found.rows:
        yield "No text has a right value."
        return
    sides = (("A", found.rms_a, found.correlation_a), ("B", found.rms_b, found.correlation_b))
    for letter, rms, correlation in sides:
        told = f"RMS of the error {rms:.6g}, correlation with the right values {_correlation(correlation)}"
        yield f"{letter}, {found.rows:,} texts: {told}"
    yield f"{found.nearer_a:,} texts are nearer to the right value in A, {found.nearer_b:,} in B"
    yield _judged("sign test", found.nearer_a, found.nearer_b, "is nearer more often")


def _correlation(found: float | None) -> str:
    return "-" if found is None else f"{found:.4f}"


def _first(found: Labelled | Valued) -> Iterable[Section]:
    for kind, table in examples(found):
        if table.rows:
            yield Section(title=f"Look at these first: {kind}", table=table)
