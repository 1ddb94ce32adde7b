"""--embeddings in whole jobs: the column, --only-new, resume, and what is refused."""

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.bundles import Built
from support.commands import DATA, invoke
from support.jobs import DATE, NOW, Outcome, Score, many_texts, write_parquet

from model.bundle import fingerprint
from pipeline.errors import ConfigError, RunFailedError
from pipeline.jobs.config import JobConfig, described
from transforms.batches.score_columns import embedding_type
from transforms.errors import PlanError
from transforms.featurize.step import TransformGraph
from transforms.score import macro_batch

COUNT = 120
WIDTH = 32
Vectors = dict[str, list[float]]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Rows of which the last twenty are copies, and one is a dead letter."""
    some = many_texts(COUNT - 20)
    rows = {"id": [f"r{i}" for i in range(COUNT + 1)], "text": [*some, *some[:20], None], "n": range(COUNT + 1)}
    return write_parquet(tmp_path / "in.parquet", rows)


def vectors(outcome: Outcome) -> Vectors:
    return {row["id"]: row["embedding"] for row in outcome.rows()}


def without(outcome: Outcome, *names: str) -> dict[str, dict[str, Any]]:
    left = {"run_id", "scored_at", *names}
    return {row["id"]: {k: v for k, v in row.items() if k not in left} for row in outcome.rows()}


def of_keras(built: Built, texts: list[str]) -> npt.NDArray[np.float32]:
    """The pooled vectors of the Keras model, all texts in one padded batch."""
    tokens = TransformGraph(str(built.path))(np.array([text.encode() for text in texts], object))
    lengths = np.diff(tokens.offsets)
    mask = np.arange(lengths.max()) < lengths[:, np.newaxis]
    ids = np.zeros(mask.shape, np.int32)
    ids[mask] = tokens.values
    types = np.zeros_like(ids)
    inputs = {"input_word_ids": ids, "input_mask": mask.astype(np.int32), "input_type_ids": types}
    return np.asarray(built.classifier.network(inputs)[1])


def test_a_job_adds_the_vector_of_each_row_and_changes_nothing_else(
    run_job: Score, texts: Path, classes: Built, tmp_path: Path
) -> None:
    plain = run_job(texts, output=tmp_path / "plain")
    exact = run_job(texts, output=tmp_path / "exact", embeddings="float32")
    half = run_job(texts, output=tmp_path / "half", embeddings="float16", top_k=1, min_probability=0.5)
    assert "embedding" not in plain.rows()[0]
    assert without(exact, "embedding") == without(plain)
    assert exact.codes() == half.codes() == {f"r{COUNT}": "missing_text"}
    rows = pq.read_table(texts).to_pylist()[:COUNT]
    expected = of_keras(classes, [row["text"] for row in rows])
    found = vectors(exact)
    np.testing.assert_allclose([found[row["id"]] for row in rows], expected, rtol=0, atol=1e-5)
    assert all(found[f"r{i}"] == found[f"r{COUNT - 20 + i}"] for i in range(20)), "copies share the vector"
    assert exact.manifest["work"]["copied"] == 20
    # A conversion, and no computing in it.
    assert vectors(half) == {id: np.float16(vector).tolist() for id, vector in found.items()}
    assert {len(row["probabilities"]) for row in half.rows()} == {1}
    assert {row["decision"] for row in half.rows()} <= {"play", "book", "rate", "abstain"}
    for outcome, numbers in ((exact, "float32"), (half, "float16")):
        assert outcome.manifest["settings"]["embeddings"] == numbers
        (part,) = outcome.manifest["files"]
        file = pq.ParquetFile(outcome.output / part["path"])
        field = file.read().schema.field("embedding")
        assert (field.nullable, field.type.list_size) == (True, WIDTH)
        assert field.type.equals(embedding_type(numbers, WIDTH)) or field.type.value_field.name == "element"
        assert str(field.type.value_type) == {"float32": "float", "float16": "halffloat"}[numbers]


def test_a_regression_has_the_vector_behind_its_value(
    run_job: Score, texts: Path, regression: Built, tmp_path: Path
) -> None:
    found = run_job(texts, bundle=str(regression.path), embeddings="float32", keep="none")
    expected = of_keras(regression, [row["text"] for row in pq.read_table(texts).to_pylist()[:COUNT]])
    mine = vectors(found)
    np.testing.assert_allclose([mine[f"r{i}"] for i in range(COUNT)], expected, rtol=0, atol=1e-5)
    head = regression.classifier.classifier
    values = {row["id"]: row["value"] for row in found.rows()}
    for id in ("r0", "r99"):
        assert float(head(np.array([mine[id]], np.float32))[0, 0]) == pytest.approx(values[id], abs=1e-5)


# === --only-new ===


def night(run_job: Score, texts: Any, number: int, **settings: Any) -> Outcome:
    date = (dt.date.fromisoformat(DATE) + dt.timedelta(days=number)).isoformat()
    done = run_job(texts, date=date, now=NOW + dt.timedelta(days=number), **settings)
    return Outcome(verdict=done.verdict, output=done.output, date=date)


def test_unchanged_texts_keep_their_vector_and_others_get_one(run_job: Score, texts: Path, tmp_path: Path) -> None:
    asked = {"embeddings": "float16", "only_new": True}
    first = night(run_job, texts, 0, **asked)
    rows = pq.read_table(texts).slice(0, COUNT).to_pylist()[::-1]
    changed = [{**row, "text": f"{row['text']} again"} if row["n"] % 3 == 0 else row for row in rows]
    file = write_parquet(tmp_path / "next.parquet", pa.Table.from_pylist(changed))
    second, full = night(run_job, file, 1, **asked), night(run_job, file, 1, output=tmp_path / "full", **asked)
    assert (second.verdict.counts["skipped"], full.verdict.counts["skipped"]) == (80, 0)
    before, after, anew = vectors(first), vectors(second), vectors(full)
    same = [f"r{i}" for i in range(COUNT) if i % 3]
    assert {id: after[id] for id in same} == {id: before[id] for id in same}
    assert after.keys() == anew.keys()
    np.testing.assert_allclose([after[id] for id in anew], list(anew.values()), rtol=0, atol=2e-3)
    part = second.output / second.manifest["files"][0]["path"]
    assert pq.read_schema(part).field("embedding").type.list_size == WIDTH


@pytest.mark.parametrize(
    ("before", "now", "skipped"),
    [
        ("float32", "float32", 3),
        ("float32", "float16", 0),
        ("float16", "float32", 0),
        (None, "float32", 0),
        # What is not asked for may be there.
        ("float32", None, 3),
    ],
)
def test_scores_of_a_date_are_taken_only_if_it_has_the_same_embeddings(
    run_job: Score, tmp_path: Path, before: str | None, now: str | None, skipped: int
) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a", "b", "c"], "text": many_texts(3)})
    first = night(run_job, file, 0, keep_text_digests=True, embeddings=before)
    second = night(run_job, file, 1, only_new=True, embeddings=now)
    assert second.verdict.counts["skipped"] == skipped
    if now is None:
        assert "embedding" not in second.rows()[0]
    elif skipped:
        assert vectors(second) == vectors(first)
    else:
        assert {len(vector) for vector in vectors(second).values()} == {WIDTH}


def test_vectors_of_many_splits_and_row_groups_come_to_their_rows(
    run_job: Score, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", 40)
    monkeypatch.setattr("transforms.read.inspect_file.MAX_ROWS", 7)
    monkeypatch.setattr("transforms.write.ROW_GROUP_ROWS", 16)
    # Six rows of one batch, with what an earlier date has of them.
    monkeypatch.setattr("transforms.batches.sizes.MAX_BATCH_BYTES", 1_500)
    monkeypatch.setattr("transforms.batches.sizes.MAX_TEXT_BYTES", 1_200)
    rows = pq.read_table(texts).slice(0, COUNT)
    given = {"embeddings": "float32", "only_new": True}
    file = write_parquet(tmp_path / "a.parquet", rows, row_group_size=7)
    first = night(run_job, file, 0, **given)
    backwards = write_parquet(tmp_path / "b.parquet", rows.take(pa.array(range(COUNT)[::-1])), row_group_size=30)
    second = night(run_job, backwards, 1, **given)
    assert second.verdict.counts["skipped"] == COUNT
    assert vectors(second) == vectors(first)


# === Resume ===


def test_a_run_that_died_is_gone_on_with_only_under_the_same_setting(
    run_job: Score, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", 30)
    rows = pq.read_table(texts).slice(0, COUNT)
    files = [write_parquet(tmp_path / "in" / f"{i}.parquet", rows.slice(30 * i, 30)) for i in range(4)]
    full = run_job(files, output=tmp_path / "full", embeddings="float32")
    score_all, scored = macro_batch._score_all, []

    def dies(*given: Any) -> Any:
        if len(scored) == 3:
            raise RuntimeError("the machine is gone")
        scored.append(1)
        return score_all(*given)

    for setting, taken_over in ((None, 0), ("float16", 0), ("float32", 2)):
        scored.clear()
        folder = tmp_path / str(setting)
        with monkeypatch.context() as patch:
            patch.setattr(macro_batch, "_score_all", dies)
            with pytest.raises(RunFailedError):
                run_job(files, output=folder, embeddings="float32")
        again = run_job(files, output=folder, embeddings=setting)
        assert again.manifest["splits_taken_over"] == taken_over
        assert ("embedding" in again.rows()[0]) == (setting is not None)
    assert vectors(again) == vectors(full)


# === What is refused, and what is told ===


def test_a_bundle_of_an_earlier_version_is_refused_before_the_run_and_scores_without(
    run_job: Score, classes: Built, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(classes.path, tmp_path / "old"))
    found = json.loads((old / "bundle.json").read_text()) | {"format": 4}
    for key in ("embedding_width", "graph", "long_texts"):
        del found[key]
    found["fingerprint"] = fingerprint(found)
    (old / "bundle.json").write_text(json.dumps(found))
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["play"]})
    for bundle in (old, DATA / "bundles" / "huggingface"):
        with pytest.raises(
            ConfigError, match=rf"--embeddings float32: the graph of {bundle} gives none.*import or train"
        ):
            run_job(file, bundle=str(bundle), embeddings="float32")
    assert run_job(file, bundle=str(old)).verdict.status == "published"


def test_float16_is_refused_where_a_table_is_written() -> None:
    flags = {"bundle": "b", "input": ["in.parquet"], "output": ["out", "bq://project.set.t"], "staging": "gs://b/s"}
    assert described(JobConfig, {**flags, "embeddings": "float32"}).embeddings == "float32"
    with pytest.raises(ConfigError, match="--embeddings float16: BigQuery has no such type; take float32"):
        described(JobConfig, {**flags, "embeddings": "float16"})
    with pytest.raises(ConfigError, match="--embeddings"):
        described(JobConfig, {**flags, "embeddings": "float64"})


def test_a_kept_column_may_have_its_name_unless_the_job_writes_it(run_job: Score, tmp_path: Path) -> None:
    mine = pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))
    file = write_parquet(tmp_path / "own.parquet", pa.table({"id": ["a"], "text": ["play"], "embedding": mine}))
    assert vectors(run_job(file)) == {"a": [1.0, 2.0]}
    with pytest.raises(
        PlanError, match=r"column 'embedding' has the name of an output column; rename it with --rename"
    ):
        run_job(file, embeddings="float32", output=tmp_path / "other")
    renamed = run_job(file, embeddings="float32", output=tmp_path / "other", rename={"embedding": "mine"})
    assert [(row["mine"], len(row["embedding"])) for row in renamed.rows()] == [([1.0, 2.0], WIDTH)]


def test_inspect_and_check_say_whether_a_bundle_gives_them(classes: Built, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["play"]})
    old = DATA / "bundles" / "huggingface"
    for bundle, width, said in ((classes.path, WIDTH, "embeddings of 32 numbers"), (old, 0, "gives no embeddings")):
        code, out, _ = invoke("inspect", bundle)
        assert (code, ["embedding_width", str(width)] in [line.split() for line in out.splitlines()]) == (0, True)
        job = ("--bundle", bundle, "--input", file, "--output", tmp_path / "out", "--date", DATE)
        code, out, _ = invoke("check", *job)
        assert (code, said in out) == (0, True)
    code, out, _ = invoke("check", *job[:1], classes.path, *job[2:], "--embeddings", "float16")
    assert "fixed_size_list" in out
