"""Staged files: their schema, their sizes, their names, and that nothing else is left."""

import datetime as dt
import gc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs.publishing import run_bundle

from transforms import write
from transforms.batches.dead_letters import position_columns, reject_positions
from transforms.batches.measures import MEASURE, MEASURES, packed
from transforms.batches.misfits import named
from transforms.batches.repeated import WORK, WORK_FIELD, repeated
from transforms.batches.schemas import DEAD_LETTERS, Columns, outputs_schema
from transforms.runs.labelling import Labelling
from transforms.runs.row_counts import Work, count_positions
from transforms.runs.run import Run
from transforms.runs.staged import StagedFile
from transforms.score.label import _top, label
from transforms.stores.choose import store_for
from transforms.write import StagingFile, _Stage, _StageDeadLetters, repetitive

KEPT = pa.schema([("k", pa.int64()), ("code", pa.list_(pa.string()))])
LABELS = ("play", "book", "rate")


def run_at(output: str) -> Run:
    started = dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC)
    return Run(run_id="r", output=output, date=dt.date(2026, 11, 21), started=started, sequence=0, bundle="b@0")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_at(str(tmp_path / "out"))


def labelling(run: Run, labels: tuple[str, ...] = LABELS, top_k: int | None = None) -> Labelling:
    return Labelling(labels=labels, columns=Columns(text="text", id="id", kept=KEPT), run=run, top_k=top_k)


def gave(outputs: Any, *, split: int = 0, first_row: int = 0, failed: tuple[int, ...] = ()) -> pa.RecordBatch:
    """What the model gives for rows of two kept columns: these outputs, [B, C]."""
    outputs = np.asarray(outputs, np.float32)
    rows = np.arange(first_row, first_row + len(outputs))
    bad = np.isin(np.arange(len(outputs)), failed)
    columns = {
        "id": pa.array([f"r{row}" for row in rows]),
        "kept:k": pa.array(rows),
        "kept:code": pa.array([["x", None]] * len(rows), pa.list_(pa.string())),
        **dict(zip(("source", "split", "row"), position_columns("in.parquet", split, rows), strict=True)),
        "kept_misfits": named(len(rows), {}),
        "text_hash": pa.array(rows),
        "truncated": pa.array(rows > 3),
        "token_count": pa.array(rows + 2, pa.int32()),
        "outputs": pa.array(list(outputs), pa.list_(pa.float32())),
        "failed": pa.array(bad),
        MEASURES: packed(np.zeros(len(rows), MEASURE)),
        WORK: repeated(Work(scored=len(rows), precision="float32")._asdict(), WORK_FIELD, len(rows)),
    }
    schema = outputs_schema(labelling(run_at("out")).columns)
    return pa.RecordBatch.from_pydict({name: columns[name] for name in schema.names}, schema=schema)


def placed_scores(run: Run, count: int, *, split: int = 0, first_row: int = 0) -> pa.RecordBatch:
    outputs = np.random.default_rng(0).dirichlet([1, 1, 1], count)
    scores, _ = label(gave(outputs, split=split, first_row=first_row), labelling(run))
    return scores


def stage_scores(run: Run, *batches: pa.RecordBatch) -> list[StagedFile]:
    made = labelling(run)
    return run_bundle(_Stage(run, made.schema, made.file_schema), *batches)


def as_in_files(batch: pa.RecordBatch) -> pa.Table:
    """Placed scores with kept columns under their own names."""
    return pa.table(batch).rename_columns([name.removeprefix("kept:") for name in batch.schema.names])


def dead_letters(split: int, rows: list[int]) -> pa.RecordBatch:
    (batch,) = reject_positions("Read", "not_json", "no", source="in", split=split, rows=np.array(rows))
    return batch


# === Schemas ===


def levels(path: str) -> dict[str, tuple[str, str, int, int]]:
    """Column -> physical type, logical type, and how many of its levels are optional or repeated."""
    schema = pq.ParquetFile(path).schema
    columns = (schema.column(i) for i in range(len(schema)))
    return {
        column.path: (
            column.physical_type,
            str(column.logical_type).split(", is_from_")[0],
            column.max_definition_level,
            column.max_repetition_level,
        )
        for column in columns
    }


UTC = "Timestamp(isAdjustedToUTC=true, timeUnit=microseconds"
ALWAYS = {
    "id": ("BYTE_ARRAY", "String", 0, 0),
    "k": ("INT64", "None", 1, 0),
    "code.list.element": ("BYTE_ARRAY", "String", 3, 1),
    "token_count": ("INT32", "None", 0, 0),
    "truncated": ("BOOLEAN", "None", 0, 0),
    "text_hash": ("INT64", "None", 0, 0),
    "logical_date": ("INT32", "Date", 0, 0),
    "bundle": ("BYTE_ARRAY", "String", 0, 0),
    "run_id": ("BYTE_ARRAY", "String", 0, 0),
    "scored_at": ("INT64", UTC, 0, 0),
}
CLASSES = {
    "label": ("BYTE_ARRAY", "String", 0, 0),
    "probability": ("FLOAT", "None", 0, 0),
    # One level each: that the list may be empty. None that anything in it may be null.
    "probabilities.list.element.label": ("BYTE_ARRAY", "String", 1, 1),
    "probabilities.list.element.probability": ("FLOAT", "None", 1, 1),
}


def test_columns_of_ours_are_required_and_kept_ones_optional(run: Run) -> None:
    (file,) = stage_scores(run, placed_scores(run, 5))
    assert levels(file.path) == {**ALWAYS, **CLASSES}
    made = labelling(run, labels=())
    scores, _ = label(gave([[0.5], [1.5]]), made)
    (file,) = run_bundle(_Stage(run, made.schema, made.file_schema), scores)
    assert levels(file.path) == {**ALWAYS, "value": ("FLOAT", "None", 0, 0)}
    assert pq.read_table(file.path)["value"].to_pylist() == [0.5, 1.5]


def test_dead_letters_have_their_declared_columns(run: Run) -> None:
    (file,) = run_bundle(_StageDeadLetters(run), dead_letters(0, [3, 9]))
    optional = {field.name for field in DEAD_LETTERS if field.nullable}
    assert {path for path, (_, _, definition, _) in levels(file.path).items() if definition} == optional
    assert pq.read_table(file.path).to_pylist()[1] == {
        "id": None,
        "stage": "Read",
        "code": "not_json",
        "reason": "no",
        "source": "in",
        "row": 9,
        "text_hash": None,
        "logical_date": run.date,
        "run_id": "r",
        "failed_at": run.started,
    }
    assert file.codes == {"not_json": (2, "in#3")}


def test_scores_are_read_back_as_they_were_made(run: Run) -> None:
    batch = placed_scores(run, 20)
    (file,) = stage_scores(run, batch.slice(0, 7), batch.slice(7))
    table = pq.ParquetFile(file.path).read()
    expected = as_in_files(batch).select(table.schema.names)
    assert table.to_pylist() == expected.to_pylist()
    assert table["probabilities"][0].as_py()[0]["label"] == table["label"][0].as_py()


def test_a_kept_column_named_code_is_only_kept(run: Run) -> None:
    (file,) = stage_scores(run, placed_scores(run, 2))
    assert file.codes == {}
    assert pq.read_table(file.path)["code"].to_pylist() == [["x", None]] * 2


# === Sizes ===


def test_row_groups_are_filled_up_to_their_rows_or_bytes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = placed_scores(run, 40)
    parts = [batch.slice(start, 4) for start in range(0, 40, 4)]

    def groups() -> list[int]:
        (file,) = stage_scores(run, *parts)
        metadata = pq.ParquetFile(file.path).metadata
        assert metadata.row_group(0).column(0).compression == "ZSTD"
        return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]

    assert groups() == [40]
    with monkeypatch.context() as patch:
        patch.setattr(write, "ROW_GROUP_ROWS", 10)
        assert groups() == [8] * 5
    monkeypatch.setattr(write, "ROW_GROUP_BYTES", 1)
    assert groups() == [4] * 10


def test_a_file_is_closed_when_the_split_changes(run: Run) -> None:
    batches = [placed_scores(run, 3, split=split, first_row=row) for split, row in ((1, 0), (1, 3), (2, 6), (1, 9))]
    files = stage_scores(run, *batches)
    assert [[count.split for count in file.counts] for file in files] == [[1], [2], [1]]
    assert [file.rows for file in files] == [6, 3, 3]
    assert files[0].counts == (count_positions(1, "in.parquet", np.arange(6)),)


def test_a_full_file_is_closed_and_the_next_one_opened(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "FILE_ROWS", 5)
    files = stage_scores(run, *(placed_scores(run, 3, first_row=row) for row in range(0, 21, 3)))
    assert [file.rows for file in files] == [6, 6, 6, 3]


def test_a_file_of_dead_letters_is_of_one_split_too(run: Run) -> None:
    stage = _StageDeadLetters(run)
    files = run_bundle(stage, dead_letters(0, [1, 2]), dead_letters(5, [7]))
    assert [[(count.split, count.rows) for count in file.counts] for file in files] == [[(0, 2)], [(5, 1)]]
    assert run_bundle(stage) == []


def test_a_file_of_several_row_groups_can_be_read_by_everybody(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.write.ROW_GROUP_ROWS", 7)
    batch = placed_scores(run, 20)
    (file,) = stage_scores(run, batch.slice(0, 7), batch.slice(7, 7), batch.slice(14))
    parquet = pq.ParquetFile(file.path)
    assert parquet.num_row_groups == 3
    rows = as_in_files(batch).select(parquet.schema_arrow.names).to_pylist()
    assert parquet.read().to_pylist() == ds.dataset(file.path).to_table().to_pylist() == rows
    assert not any(pa.types.is_dictionary(field.type) for field in parquet.schema_arrow)


# === What is described is what is there ===


def test_size_and_checksum_are_those_of_the_file(output: str) -> None:
    run = run_at(output)
    for file in stage_scores(run, placed_scores(run, 1000), placed_scores(run, 9, split=3)):
        store = store_for(output)
        assert store.checksum(file.path) == file.checksum
        info = store.stat(file.path)
        assert info
        assert info.size == file.bytes
        with store.open(file.path) as opened:
            assert pq.ParquetFile(opened).metadata.num_rows == file.rows


def test_two_tries_of_a_bundle_write_different_files(output: str) -> None:
    run = run_at(output)
    tries = [stage_scores(run, placed_scores(run, 3)) for _ in range(3)]
    paths = {file.path for files in tries for file in files}
    assert len(paths) == 3
    assert {path.rpartition("/")[0] for path in paths} == {run.staged}
    staged = store_for(output).list(run.staged)
    assert staged == sorted([*paths, *(path.replace(".parquet", ".json") for path in paths)])
    # The bytes do not depend on the try.
    assert len({file.checksum for files in tries for file in files}) == 1


def test_a_bundle_that_dies_leaves_no_file(output: str) -> None:
    run = run_at(output)
    made = labelling(run)
    stage = _Stage(run, made.schema, made.file_schema)
    stage.start_bundle()
    assert list(stage.process(placed_scores(run, 5))) == []
    stage.start_bundle()
    gc.collect()
    assert list(stage.finish_bundle()) == []
    assert store_for(output).list(run.staged) == []


def test_a_batch_of_another_schema_is_refused_by_name(run: Run) -> None:
    batch = placed_scores(run, 2).drop_columns(["bundle"])
    with pytest.raises(TypeError, match="bundle"):
        stage_scores(run, batch)
    file = StagingFile(f"{run.staged}/x", labelling(run).file_schema)
    with pytest.raises(KeyError, match="bundle"):
        file.add(batch)


# === Labels ===


def test_classes_are_sorted_and_equal_ones_keep_the_order_of_the_labels(run: Run) -> None:
    outputs = [[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [1 / 3, 1 / 3, 1 / 3]]
    scores, dead = label(gave(outputs), labelling(run))
    assert dead is None
    ranked = [[entry["label"] for entry in row] for row in scores.column("probabilities").to_pylist()]
    assert ranked == [["book", "rate", "play"], ["play", "rate", "book"], ["play", "book", "rate"]]
    assert scores.column("label").to_pylist() == [row[0] for row in ranked]
    top, _ = label(gave(outputs), labelling(run, top_k=1))
    assert [len(row) for row in top.column("probabilities").to_pylist()] == [1, 1, 1]
    with pytest.raises(ValueError, match="--top-k is 4"):
        labelling(run, top_k=4)


def test_trap_9_a_label_is_the_argmax_over_the_classes_of_its_row(run: Run) -> None:
    # As many rows as classes: over the batch the labels would be rate, play, rate, and no shape would tell.
    outputs = np.array([[0.5, 0.4, 0.1], [0.2, 0.5, 0.3], [0.6, 0.0, 0.4]])
    assert outputs.argmax(axis=0).tolist() == [2, 1, 2]
    scores, _ = label(gave(outputs), labelling(run))
    assert scores.column("label").to_pylist() == ["play", "book", "play"]
    np.testing.assert_allclose(scores.column("probability"), [0.5, 0.5, 0.6], atol=1e-6)


def test_rows_that_failed_or_are_not_finite_become_dead_letters(run: Run) -> None:
    outputs = [[np.nan] * 3, [0.2, 0.3, 0.5], [0.1, np.inf, 0.1]]
    batch = gave(outputs, failed=(0,))
    scores, dead = label(batch, labelling(run))
    assert scores.column("id").to_pylist() == ["r1"]
    assert dead is not None
    assert dead.column("code").to_pylist() == ["not_scored", "not_finite"]
    assert dead.column("row").to_pylist() == [0, 2]
    assert dead.column("text_hash").to_pylist() == [0, 2]
    nothing, _ = label(gave([[np.nan] * 3]), labelling(run))
    assert nothing.num_rows == 0


def test_dictionaries_are_tried_only_where_values_repeat() -> None:
    schema = labelling(run_at("out")).file_schema
    assert repetitive(schema) == [
        "k",
        "code.list.element",
        "label",
        "probabilities.list.element.label",
        "token_count",
        "truncated",
        "logical_date",
        "bundle",
        "run_id",
        "scored_at",
    ]


@given(
    st.integers(1, 30).flatmap(
        lambda width: st.tuples(
            st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.7]), min_size=width, max_size=width), min_size=1),
            st.integers(1, width),
        )
    )
)
def test_the_largest_come_first_and_equal_ones_in_order(drawn: tuple[list[list[float]], int]) -> None:
    rows, kept = drawn
    expected = [sorted(range(len(row)), key=lambda i: (-row[i], i))[:kept] for row in rows]
    assert _top(np.array(rows, np.float32), kept).tolist() == expected
