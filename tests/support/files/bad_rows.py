"""Rows nobody wants to meet, and what became of them."""

import json
from pathlib import Path
from typing import Any

from support.jobs import Outcome


def balanced(outcome: Outcome) -> Outcome:
    """Published, every row read was scored or is a dead letter, and the files hold what the manifest counts."""
    assert outcome.verdict.status == "published", outcome.verdict.problems
    rows, dead, counts = outcome.rows(), outcome.dead(), outcome.manifest["counts"]
    assert counts == {"read": len(rows) + len(dead), "scored": len(rows), "skipped": 0, "dead": len(dead)}
    return outcome


def scored(outcome: Outcome) -> list[str]:
    return sorted(row["id"] for row in outcome.rows())


def faults(outcome: Outcome) -> dict[int, str]:
    """row -> code of the dead letters of a single file."""
    return {row["row"]: row["code"] for row in outcome.dead()}


def write(path: Path, *lines: bytes | str, end: bytes = b"\n") -> Path:
    path.write_bytes(b"".join((line.encode() if isinstance(line, str) else line) + end for line in lines))
    return path


def row(id: Any, text: Any = "play a song", **more: Any) -> str:
    return json.dumps({"id": id, "text": text, **more})
