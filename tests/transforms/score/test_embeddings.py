"""Embeddings between the model and the columns: each engine, the memo, batches and numbers that get too large."""

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from support.bundles import Built
from support.scorers import FakeScorer, ragged

from model.bundle import Bundle
from model.serving.scoring_graph import ENGINES
from transforms.batches.dead_letters import position_columns
from transforms.batches.measures import MEASURE, MEASURES, packed
from transforms.batches.misfits import named
from transforms.batches.repeated import WORK, WORK_FIELD, repeated
from transforms.batches.schemas import MAX_BATCH_BYTES, Columns, outputs_schema, tokens_schema
from transforms.batches.score_columns import embedding_type, scores_schema, written_names
from transforms.batches.sizes import row_bytes, total_bytes
from transforms.bigquery.fields import SCORES, table_fields
from transforms.runs.labelling import Labelling
from transforms.runs.row_counts import Work, total_work
from transforms.runs.run import Run
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.choice import load_scorer
from transforms.score.engines.scorer import Scorer
from transforms.score.label import label
from transforms.score.macro_batch import score_rows
from transforms.score.memo import MAX_BYTES
from transforms.score.step import cut_outputs, score_batch, work_of
from transforms.write import repetitive

COLUMNS = Columns(text="text", id="id")
RUN = Run(
    run_id="r",
    output="out",
    date=dt.date(2026, 11, 21),
    started=dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC),
    sequence=0,
    bundle="b@0",
)


def labelling(numbers: str | None, width: int, labels: tuple[str, ...] = ("a", "b"), **more: Any) -> Labelling:
    kind = None if numbers is None else embedding_type(numbers, width)
    return Labelling(labels=labels, columns=COLUMNS, run=RUN, embedding=kind, **more)


def gave(outputs: npt.NDArray[np.float32], failed: tuple[int, ...] = ()) -> pa.RecordBatch:
    """What the model gave, [B, W]."""
    count, schema = len(outputs), outputs_schema(COLUMNS)
    columns = {
        "id": pa.array([f"r{row}" for row in range(count)], pa.string()),
        **dict(zip(("source", "split", "row"), position_columns("in", 0, np.arange(count)), strict=True)),
        "kept_misfits": named(count, {}),
        "text_hash": pa.array(range(count), pa.int64()),
        "truncated": pa.array([False] * count, pa.bool_()),
        MEASURES: packed(np.zeros(count, MEASURE)),
        "token_count": pa.array([3] * count, pa.int32()),
        "outputs": pa.array(list(outputs), schema.field("outputs").type),
        "failed": pa.array(np.isin(np.arange(count), failed)),
        WORK: repeated(Work(scored=count, precision="float32")._asdict(), WORK_FIELD, count),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


# === What engines give ===


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def scorer(built: Built, engine: str, *, embeddings: bool) -> Scorer:
    compute = Compute(precision="float32", engine=engine, token_budget=512, embeddings=embeddings)
    return load_scorer(Bundle.describe(built.path), compute, Device(kind="cpu"))


@pytest.mark.parametrize("kind", ["classes", "regression"])
def test_the_embedding_stands_behind_the_same_scores(engine: str, kind: str, request: pytest.FixtureRequest) -> None:
    built: Built = request.getfixturevalue(kind)
    generator = np.random.default_rng(5)
    tokens = [[2, *generator.integers(10, 80, length).tolist()] for length in generator.integers(1, 20, 40)]
    rows = ragged([(row, len(row)) for row in [*tokens, *tokens[:7]]])
    plain, wide = (scorer(built, engine, embeddings=asked) for asked in (False, True))
    scores, both = score_rows(rows, plain).outputs, score_rows(rows, wide)
    width = max(1, len(built.labels))
    assert (plain.width, wide.width, both.outputs.shape) == (width, width + 32, (47, width + 32))
    np.testing.assert_array_equal(both.outputs[:, :width], scores)
    expected = built.classifier.network(inputs_of(tokens))[1]
    np.testing.assert_allclose(both.outputs[:40, width:], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(both.outputs[40:], both.outputs[:7])
    assert (both.work.scored, both.work.copied) == (40, 7)
    again = score_rows(rows, wide)
    assert again.work.scored == 0
    np.testing.assert_array_equal(again.outputs, both.outputs)


def inputs_of(rows: list[list[int]]) -> dict[str, npt.NDArray[np.int32]]:
    longest = max(map(len, rows))
    ids = np.array([row + [0] * (longest - len(row)) for row in rows], np.int32)
    return {"input_word_ids": ids, "input_mask": (ids != 0).astype(np.int32), "input_type_ids": np.zeros_like(ids)}


def test_no_rows_give_no_embeddings(engine: str, classes: Built) -> None:
    assert score_rows(ragged([]), scorer(classes, engine, embeddings=True)).outputs.shape == (0, 3 + 32)


def test_the_memo_stays_within_its_memory_and_is_wider_only_with_embeddings(engine: str, classes: Built) -> None:
    plain, wide = (scorer(classes, engine, embeddings=asked).memo for asked in (False, True))
    assert (plain._outputs.shape[1], wide._outputs.shape[1]) == (3, 3 + 32)
    for memo in (plain, wide):
        assert MAX_BYTES // 4 < memo._keys.nbytes + memo._outputs.nbytes <= MAX_BYTES


# === From Score to Label ===


class Wide(FakeScorer):
    """Two scores and a long vector: the sum of the tokens, over and over."""

    width = 2 + 900

    def __call__(self, *arguments: Any) -> npt.NDArray[np.float32]:
        scores = super().__call__(*arguments)
        return np.concatenate([scores, np.repeat(scores[:, :1], self.width - 2, axis=1)], axis=1)


def test_a_macro_batch_goes_on_in_parts_of_the_agreed_size_and_its_work_counts_once() -> None:
    count = 8_000
    rows = ragged([([100 + row], 1) for row in range(count)])
    schema = tokens_schema(COLUMNS)
    values = {
        "tokens": pa.LargeListArray.from_arrays(pa.array(rows.offsets), pa.array(rows.values)),
        "first_segment": pa.array(rows.first_segment),
    }
    like = gave(np.zeros((count, 2), np.float32))
    arrays = [values.get(name, like.column(name) if name in like.schema.names else None) for name in schema.names]
    batch = pa.RecordBatch.from_arrays([a.cast(f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema)
    whole = score_batch(batch, Wide(), COLUMNS)
    assert total_bytes(whole) > MAX_BATCH_BYTES
    found = cut_outputs(whole)
    assert len(found) == 2
    sizes = [sum(int(row_bytes(column).sum()) for column in part.columns) for part in found]
    assert max(sizes) <= MAX_BATCH_BYTES < sum(sizes)
    assert pa.Table.from_batches(found).drop_columns([WORK]) == pa.table(whole).drop_columns([WORK])
    assert total_work(map(work_of, found)) == work_of(whole)
    for part in found:
        scores, dead = label(part, labelling("float32", 900))
        assert dead is None
        vectors = scores.column("embedding").flatten().to_numpy().reshape(-1, 900)
        np.testing.assert_array_equal(vectors[:, 899], [100 + int(id[1:]) for id in scores.column("id").to_pylist()])
    small = whole.slice(5, 10)
    assert [part.equals(small) for part in cut_outputs(small)] == [True]


def test_vectors_are_counted_without_looking_at_every_number() -> None:
    values = pa.array(np.arange(24, dtype=np.float32))
    lists = pa.ListArray.from_arrays(pa.array([0, 4, 4, 24], pa.int32()), values)
    vectors = pa.FixedSizeListArray.from_arrays(values.cast(pa.float16()), 8)
    assert row_bytes(lists).tolist() == [16, 0, 80]
    assert row_bytes(lists.slice(1)).tolist() == [0, 80]
    assert row_bytes(vectors.slice(1)).tolist() == [16, 16]
    assert row_bytes(vectors.take(pa.array([0, None]))).tolist() == [16, 16], "Arrow has room for what is null"


# === From Label to the files ===


@pytest.mark.parametrize("numbers", ["float32", "float16"])
@pytest.mark.parametrize("more", [{}, {"top_k": 1}, {"min_probability": 0.5}, {"thresholds": (0.5, 0.5)}, "regression"])
def test_all_other_columns_are_those_of_a_job_without(numbers: str, more: Any) -> None:
    labels: tuple[str, ...] = ("a", "b")
    if more == "regression":
        labels, more = (), {}
    width = max(1, len(labels))
    outputs = np.random.default_rng(2).random((9, width + 5), np.float32)
    plain, _ = label(gave(outputs[:, :width]), labelling(None, 0, labels, **more))
    found, dead = label(gave(outputs), labelling(numbers, 5, labels, **more))
    assert dead is None
    assert found.drop_columns(["embedding"]).equals(plain)
    vectors = found.column("embedding")
    assert vectors.type == embedding_type(numbers, 5)
    wanted = outputs[:, width:].astype(numbers)
    np.testing.assert_array_equal(vectors.flatten().to_numpy().reshape(9, 5), wanted)
    assert label(gave(outputs[:0]), labelling(numbers, 5, labels, **more))[0].num_rows == 0


@pytest.mark.parametrize("numbers", ["float32", "float16"])
def test_a_row_whose_embedding_is_no_number_of_the_column_is_a_dead_letter(numbers: str) -> None:
    outputs = np.full((7, 4), 0.5, np.float32)
    outputs[1, 3], outputs[2, 2], outputs[3, 3], outputs[4, 0], outputs[5] = np.nan, 70_000, -70_000, np.inf, np.nan
    outputs[6, 2] = 65_504
    found, dead = label(gave(outputs, failed=(5,)), labelling(numbers, 2))
    large = [] if numbers == "float32" else ["r2", "r3"]
    assert dead is not None
    told = {row["id"]: (row["code"], row["reason"]) for row in dead.to_pylist()}
    not_finite = ("not_finite", "the model gave NaN or infinity")
    too_large = (
        "not_finite",
        "a number of the embedding is beyond 65,504, the largest of float16; take --embeddings float32",
    )
    assert told == {
        **dict.fromkeys(["r1", "r4"], not_finite),
        **dict.fromkeys(large, too_large),
        "r5": ("not_scored", "the model failed on this text"),
    }
    assert found.column("id").to_pylist() == [row for row in ("r0", "r2", "r3", "r6") if row not in large]
    assert found.column("embedding")[-1].as_py() == [65_504, 0.5]


def test_the_column_is_nullable_and_a_list_of_numbers_in_tables() -> None:
    nothing = pa.schema([])
    for task in ("classification", "multilabel", "regression"):
        plain = scores_schema(nothing, task)
        with_it = scores_schema(nothing, task, embedding=embedding_type("float32", 4))
        assert [field for field in with_it if field not in list(plain)] == [with_it.field("embedding")]
        assert with_it.field("embedding").nullable
        (field,) = (field for field in table_fields(with_it, SCORES) if field["name"] == "embedding")
        assert (field["type"], field["mode"]) == ("FLOAT", "REPEATED")
        assert written_names(task, embedding=True) - written_names(task) == {"embedding"}


def test_no_dictionary_is_tried_for_vectors_and_one_of_a_users_column_as_before() -> None:
    with_it = scores_schema(pa.schema([]), "regression", embedding=embedding_type("float16", 4))
    assert "embedding.list.element" not in repetitive(with_it)
    users = scores_schema(pa.schema([("embedding", pa.list_(pa.float32()))]), "regression")
    assert "embedding.list.element" in repetitive(users)
