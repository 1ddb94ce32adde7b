"""Rows of all formats against independent parsers; HOSTILE_ROWS (a number) and HOSTILE_SEED choose more of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.files.hostile_rows import KEPT, HostileFile, hostile_files, same

from transforms.batches.dialect import Dialect
from transforms.read.columns import ColumnsRequest
from transforms.read.plan_files import plan_inputs
from transforms.read.step import read_rows
from transforms.validate import validate

ROWS = int(os.environ.get("HOSTILE_ROWS", "3000"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))


def outcomes(file: HostileFile) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Each row that was counted, with the values it would be scored with, or the code of its dead letter."""
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
                yield from zip(letters.column("row").to_pylist(), letters.column("code").to_pylist(), strict=True)
            assert found == count.rows


def equal_or_counted(name: str, values: dict[str, Any], expected: Any) -> bool:
    """A kept value is the one of the file, or it is null and named among the misfits of its row: never another one."""
    if name in (values["kept_misfits"] or ()):
        return values["kept:" + name] is None and expected is not None
    return same(values.get("kept:" + name), expected)


def differences(file: HostileFile) -> Iterator[str]:
    """What is not as the independent parser says, one line a row."""
    found = list(outcomes(file))
    if sorted(row for row, _ in found) != sorted(file.rows):
        yield f"{file.path.name}: {len(found)} rows counted, {len(file.rows)} in the file"
        return
    for row, values in found:
        expected, place = file.rows[row], f"{file.path.name}#{row}"
        if isinstance(values, str):
            if expected is not None:
                yield f"{place}: {values}"
        elif expected is None:
            yield f"{place}: scored"
        else:
            text, kept = expected
            wrong = [name for name in KEPT if kept and not equal_or_counted(name, values, kept[name])]
            if values["text"] != text or wrong:
                yield f"{place}: {wrong or 'text'}"


def test_every_hostile_row_is_scored_with_its_own_values_or_is_a_dead_letter(tmp_path: Path) -> None:
    files = hostile_files(tmp_path, ROWS, SEED)
    assert len(files) > 30
    wrong = [line for file in files for line in differences(file)]
    assert not wrong, "\n".join([f"seed {SEED}:", *wrong[:20]])
    fates = [fate is None for file in files for fate in file.rows.values()]
    assert 0.02 < sum(fates) / len(fates) < 0.6
