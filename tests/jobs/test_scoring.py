"""The whole pipeline on ordinary input."""

from pathlib import Path

import numpy as np
from support.jobs import Outcome, Score, many_texts, write_parquet


def test_every_row_is_scored_once_with_its_kept_columns(run_job: Score, tmp_path: Path) -> None:
    texts = many_texts(1_000)
    file = write_parquet(
        tmp_path / "in.parquet", {"id": [f"r{i}" for i in range(1_000)], "text": texts, "k": range(1_000)}
    )
    outcome: Outcome = run_job(file)
    assert outcome.verdict.status == "published"
    rows = outcome.rows()
    assert sorted(row["id"] for row in rows) == sorted(f"r{i}" for i in range(1_000))
    assert all(row["id"] == f"r{row['k']}" for row in rows)
    assert all(np.isclose(sum(p["probability"] for p in row["probabilities"]), 1, atol=1e-5) for row in rows)
    assert outcome.manifest["counts"] == {"read": 1_000, "scored": 1_000, "skipped": 0, "dead": 0}
    assert outcome.manifest["finished"]
    assert outcome.manifest["work"]["token_budget"] == 4_096
