"""Files nobody wants to meet, and what became of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.jobs import Outcome


def published(outcome: Outcome, scored: int, dead: int = 0) -> Outcome:
    assert outcome.verdict.status == "published", outcome.verdict.problems
    assert outcome.manifest["counts"] == {"read": scored + dead, "scored": scored, "skipped": 0, "dead": dead}
    assert len(outcome.rows()) == scored
    return outcome


Refusal = Callable[..., str]


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
