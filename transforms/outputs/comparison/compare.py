"""Compares two published dates by id."""

import os
import tempfile
from dataclasses import replace

from transforms.outputs.comparison.found import Labelled, Valued
from transforms.outputs.comparison.labels import OneLabel, SeveralLabels
from transforms.outputs.comparison.names import TEXT_HASH, Names, SideError
from transforms.outputs.comparison.partitions import ROWS_AT_ONCE, DifferentTexts, join, partitions_for
from transforms.outputs.comparison.sides import LABEL, LABELS, VALUE, Layout, Side, layout_of, read
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
    below: str | None = None,
) -> Labelled | Valued:
    """What differs between two sides, of which the larger has so many rows.

    `gold` is a kept column with what is right, of A, or of B where A has none. Raises SideError where the sides do not
    go together. Ids and numbers of all rows go to a temporary folder, in the folder `below`, never texts.
    """
    layouts = [layout_of(side) for side in (a, b)]
    kind = _kind(a, b, layouts)
    of_gold = _sides_of(gold, a, b, layouts)
    if separator and (kind != LABELS or not gold):
        raise SideError("--label-separator is for a --label-column of texts with several labels; leave it out")
    # Dates of the first versions may lack it.
    hashed = all(layout is None or TEXT_HASH in layout.own for layout in layouts)
    names, partitions = Names(), partitions_for(rows, rows_at_once)
    with tempfile.TemporaryDirectory(prefix="bert-batch-", dir=below) as folder:
        rows_a, rows_b = (
            read(side, kind, names, column, separator, hashed=hashed)
            for side, column in zip((a, b), of_gold, strict=True)
        )
        parts = join(rows_a, rows_b, folder, partitions)
        with open(os.path.join(folder, "differences"), "wb") as file, DifferentTexts(folder, partitions) as texts:
            tally: OneLabel | SeveralLabels | Value
            if kind == VALUE:
                tally = Value(examples, file, with_gold=bool(gold))
            else:
                tally = (OneLabel if kind == LABEL else SeveralLabels)(names, examples, with_gold=bool(gold))
            for joined in parts:
                tally.add(joined)
                if hashed and joined.a.num_rows:
                    texts.add(joined.a.column(TEXT_HASH))
            found = tally.found
            return replace(found, ids=replace(found.ids, texts=texts.count() if hashed else None))


def _kind(a: Side, b: Side, layouts: list[Layout | None]) -> str:
    kinds = [layout and layout.kind for layout in layouts]
    if None not in kinds and len(set(kinds)) > 1:
        told = [f"{side.name} has {KIND_NAMES[str(kind)]}" for side, kind in zip((a, b), kinds, strict=True)]
        raise SideError(f"{' and '.join(told)}: these cannot be compared; name dates of models of one kind")
    return next((kind for kind in kinds if kind), LABEL)


def _sides_of(gold: str | None, a: Side, b: Side, layouts: list[Layout | None]) -> list[str | None]:
    """The column of what is right, at the place of the side that it is taken from."""
    if not gold:
        return [None, None]
    for place, layout in enumerate(layouts):
        if layout is not None and gold in layout.kept:
            return [gold if place == other else None for other in range(2)]
    if any(layout is not None and gold in layout.own for layout in layouts):
        # By a model's own label the model would always be right.
        raise SideError(f"--label-column {gold!r}: is a column that `score` writes itself; name a kept column")
    raise SideError(
        f"--label-column {gold!r}: neither {a.name} nor {b.name} has such a column; name one that was kept "
        "(--keep of `score`), or score the date again with it"
    )
