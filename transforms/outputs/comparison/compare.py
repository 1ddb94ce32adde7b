"""Compares two published dates by id."""

import os
import tempfile

from transforms.outputs.comparison.found import Labelled, Valued
from transforms.outputs.comparison.labels import OneLabel, SeveralLabels
from transforms.outputs.comparison.partitions import ROWS_AT_ONCE, join, partitions_for
from transforms.outputs.comparison.sides import LABEL, LABELS, VALUE, Names, Side, SideError, has_column, kind_of, read
from transforms.outputs.comparison.values import Value

KIND_NAMES = {LABEL: "one label a text", LABELS: "several labels a text", VALUE: "a value a text"}


def compare(
    a: Side,
    b: Side,
    rows: int,
    *,
    gold: str | None = None,
    separator: str | None = None,
    examples: int = 10,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Labelled | Valued:
    """What differs between two sides, of which the larger has so many rows.

    `gold` is a kept column with what is right, of A, or of B where A has none. Raises SideError where the sides do not
    go together. Ids and numbers of all rows go to a temporary folder, never texts.
    """
    kind = _kind(a, b)
    of_gold = [gold if gold and has_column(a, gold) else None, None]
    if gold and not of_gold[0]:
        if not has_column(b, gold):
            raise SideError(
                f"--label-column {gold!r}: neither {a.name} nor {b.name} has such a column; name one that was kept "
                "(--keep of `score`), or score the date again with it"
            )
        of_gold[1] = gold
    if separator and (kind != LABELS or not gold):
        raise SideError("--label-separator is for a --label-column of texts with several labels; leave it out")
    names, partitions = Names(), partitions_for(rows, rows_at_once)
    with tempfile.TemporaryDirectory(prefix="bert-batch-") as folder:
        rows_a, rows_b = (
            read(side, kind, names, column, separator) for side, column in zip((a, b), of_gold, strict=True)
        )
        parts = join(rows_a, rows_b, folder, partitions)
        with open(os.path.join(folder, "differences"), "wb") as file:
            tally: OneLabel | SeveralLabels | Value
            if kind == VALUE:
                tally = Value(examples, file, with_gold=bool(gold))
            else:
                tally = (OneLabel if kind == LABEL else SeveralLabels)(names, examples, with_gold=bool(gold))
            for joined in parts:
                tally.add(joined)
            return tally.found


def _kind(a: Side, b: Side) -> str:
    kinds = [kind_of(a), kind_of(b)]
    if None not in kinds and len(set(kinds)) > 1:
        told = [f"{side.name} has {KIND_NAMES[str(kind)]}" for side, kind in zip((a, b), kinds, strict=True)]
        raise SideError(f"{' and '.join(told)}: these cannot be compared; name dates of models of one kind")
    return next((kind for kind in kinds if kind), LABEL)
