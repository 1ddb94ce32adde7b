"""Rows of all formats against independent parsers; HOSTILE_ROWS (a number) and HOSTILE_SEED choose more of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Score
from hostile_rows import KEPT, HostileFile, hostile_files, same

from transforms.columns import ColumnsRequest
from transforms.dialect import Dialect
from transforms.plan import plan_inputs
from transforms.read import read_rows
from transforms.validate import validate

ROWS = int(os.environ.get("HOSTILE_ROWS", "3000"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))


def outcomes(file: HostileFile) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Each row of the books with the values it would be scored with, None for a dead letter."""
    plan = plan_inputs([str(file.path)], ColumnsRequest(), dialect=Dialect(**file.dialect))
    for piece in (piece for split in plan.splits for piece in split.pieces):
        for batches, dead, count in read_rows(piece, 0, plan.columns):
            found = 0
            for rows in batches:
                valid, rejected = validate(rows, plan.columns)
                dead = [*dead, *([] if rejected is None else [rejected])]
                found += valid.num_rows
                yield from ((row["row"], row) for row in valid.to_pylist())
            for letters in dead:
                found += letters.num_rows
                yield from ((row, None) for row in letters.column("row").to_pylist())
            assert found == count.rows


def differences(file: HostileFile) -> Iterator[str]:
    """What is not as the independent parser says, one line a row."""
    found = list(outcomes(file))
    if sorted(row for row, _ in found) != sorted(file.rows):
        yield f"{file.path.name}: {len(found)} rows in the books, {len(file.rows)} in the file"
        return
    for row, values in found:
        expected = file.rows[row]
        if (values is None) != (expected is None):
            # A kept value that does not fit may be null and counted, or a dead letter: never another value.
            if values is None and expected is not None and file.path.suffix != ".txt" and misfit_allowed(file):
                continue
            yield f"{file.path.name}#{row}: {'dead' if values is None else 'scored'}"
        elif values is not None and expected is not None:
            text, kept = expected
            wrong = [name for name in KEPT if kept and not same(values.get(name), kept[name])]
            if values["text"] != text or wrong:
                yield f"{file.path.name}#{row}: {wrong or 'text'}"


def misfit_allowed(file: HostileFile) -> bool:
    """Whether a kept column of the file may be of a type that a later value does not fit."""
    return not file.path.name.endswith(".parquet")


def test_every_hostile_row_is_scored_with_its_own_values_or_is_a_dead_letter(tmp_path: Path) -> None:
    files = hostile_files(tmp_path, ROWS, SEED)
    assert len(files) > 30
    wrong = [line for file in files for line in differences(file)]
    assert not wrong, "\n".join([f"seed {SEED}:", *wrong[:20]])
    fates = [fate is None for file in files for fate in file.rows.values()]
    assert 0.02 < sum(fates) / len(fates) < 0.6


@pytest.mark.parametrize("kind", ["csv.gz", "tsv", "jsonl.zst", "txt.bz2", "parquet"])
def test_a_whole_run_publishes_what_the_independent_parser_says(kind: str, run_job: Score, tmp_path: Path) -> None:
    file = next(file for file in hostile_files(tmp_path, 400, SEED) if file.path.name.endswith(kind))
    outcome = run_job(file.path, **file.dialect)
    assert outcome.verdict.status == "published", outcome.verdict.problems
    dead = {letter["row"] for letter in outcome.dead()}
    assert dead == {row for row, fate in file.rows.items() if fate is None}
    assert outcome.manifest["counts"]["read"] == len(file.rows)
