"""Inputs planned, read and validated without Beam."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.jobs.column_types import arrow_types
from transforms.batches.misfits import count
from transforms.batches.schemas import KEPT
from transforms.read.columns import ColumnsRequest
from transforms.read.plan_files import plan_inputs
from transforms.read.step import read_rows
from transforms.runs.plan import Plan
from transforms.validate import validate


class Read(NamedTuple):
    """Of an input: the kept values by id, `misfits` by column, and the dead letters as (row, code)."""

    plan: Plan
    kept: dict[str, dict[str, Any]]
    misfits: Counter[str]
    dead: list[tuple[int, str]]


def read(*files: Path, schema: dict[str, str] | None = None, bounded: bool = False, **more: Any) -> Read:
    """Plans, reads and validates files, without Beam."""
    types = {name: arrow_types()[kind] for name, kind in (schema or {}).items()}
    plan = plan_inputs([str(file) for file in files], ColumnsRequest(types=types, **more))
    columns = dataclasses.replace(plan.columns, bounded=bounded)
    found = Read(plan, {}, Counter(), [])
    for split in plan.splits:
        for piece in split.pieces:
            for batches, dead, _ in read_rows(piece, split.number, columns):
                for batch in batches:
                    texts, rejected = validate(batch, columns)
                    found.misfits.update(count(texts.column("kept_misfits")))
                    for row in texts.to_pylist():
                        found.kept[row["id"]] = {name: row[KEPT + name] for name in columns.kept.names}
                    dead += [] if rejected is None else [rejected]
                found.dead.extend((row["row"], row["code"]) for batch in dead for row in batch.to_pylist())
    return found


def csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path
