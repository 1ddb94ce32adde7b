"""--min-probability: a column that says where the best label is probable enough, and nothing else changes."""

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.bundles import Built
from support.jobs import NOW, Outcome, Score, many_texts, write_parquet

from model.bundle import seal
from pipeline.bundling.sealing import described
from pipeline.errors import ConfigError
from transforms.batches.score_columns import scores_schema, written_names
from transforms.bigquery.fields import SCORES, table_fields
from transforms.errors import PlanError


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "in.parquet", {"id": [f"r{i}" for i in range(200)], "text": many_texts(200)})


def by_id(outcome: Outcome, *columns: str) -> dict[str, tuple[object, ...]]:
    return {row["id"]: tuple(row[column] for column in columns) for row in outcome.rows()}


def middle(outcome: Outcome) -> float:
    """A probability that a row has, and others are above and below."""
    return float(sorted(row["probability"] for row in outcome.rows())[100])


def test_a_label_is_decided_from_that_probability_on_and_stays_the_best_label(
    run_job: Score, texts: Path, tmp_path: Path
) -> None:
    plain = run_job(texts, output=tmp_path / "plain")
    assert "decision" not in plain.rows()[0]
    least = middle(plain)
    decided = run_job(texts, min_probability=least, output=tmp_path / "decided")
    own = ("label", "probability", "probabilities")
    assert by_id(decided, *own) == by_id(plain, *own)
    expected = {
        id: (label if probability >= least else "abstain",)
        for id, (label, probability) in by_id(plain, "label", "probability").items()
    }
    found = by_id(decided, "decision")
    assert found == expected
    assert sum(decision == ("abstain",) for decision in found.values()) == 100
    assert decided.manifest["settings"]["min_probability"] == least
    (file,) = decided.manifest["files"][:1]
    field = pq.read_schema(tmp_path / "decided" / file["path"]).field("decision")
    assert (field.type, field.nullable) == (pa.string(), True)


def test_scores_of_unchanged_texts_are_decided_by_the_flag_of_the_day(run_job: Score, texts: Path) -> None:
    first = run_job(texts, keep_text_digests=True)
    least = middle(first)
    days = {"2026-11-22": least, "2026-11-23": 1.0, "2026-11-24": None}
    for number, (day, minimum) in enumerate(days.items(), 1):
        given = {"only_new": True, "date": day, "now": NOW + dt.timedelta(days=number), "min_probability": minimum}
        again = replace(run_job(texts, **given), date=day)
        assert again.verdict.counts["skipped"] == 200
        labels = by_id(first, "label", "probability")
        if minimum is None:
            assert "decision" not in again.rows()[0]
        else:
            assert by_id(again, "decision") == {
                id: (label if probability >= minimum else "abstain",) for id, (label, probability) in labels.items()
            }


def test_it_is_refused_where_there_is_no_label_to_decide(
    run_job: Score, texts: Path, regression: Built, classes: Built, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"--min-probability 0\.5: .* is a regression; its values are no labels"):
        run_job(texts, bundle=str(regression.path), min_probability=0.5)
    other = Path(shutil.copytree(classes.path, tmp_path / "other"))
    seal(other, {**described(classes.bundle), "labels": ["play", "abstain", "rate"]})
    with pytest.raises(ConfigError, match="has a label 'abstain', from which no row that is not decided could be told"):
        run_job(texts, bundle=str(other), min_probability=0.5)
    assert run_job(texts, bundle=str(other)).verdict.status == "published"


def test_a_kept_column_may_have_its_name_unless_the_job_writes_it(run_job: Score, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "own.parquet", {"id": ["a"], "text": ["play"], "decision": ["mine"]})
    assert by_id(run_job(file), "decision") == {"a": ("mine",)}
    with pytest.raises(PlanError, match=r"column 'decision' has the name of an output column"):
        run_job(file, min_probability=0.5, output=tmp_path / "other")


def test_the_column_is_nullable_in_tables_and_only_there_when_asked_for() -> None:
    nothing = pa.schema([])
    plain = table_fields(scores_schema(nothing, "classification"), SCORES)
    with_it = table_fields(scores_schema(nothing, "classification", decision=True), SCORES)
    (field,) = (field for field in with_it if field not in plain)
    assert (field["name"], field["type"], field["mode"]) == ("decision", "STRING", "NULLABLE")
    for task in ("multilabel", "regression"):
        assert scores_schema(nothing, task, decision=True) == scores_schema(nothing, task)
    assert written_names("classification", decision=True) - written_names("classification") == {"decision"}
