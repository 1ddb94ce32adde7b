"""One preprocessing graph for training and scoring."""

from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import Built
from support.jobs import many_texts
from support.plain_loops import ADVERSARIAL
from support.scorers import COLUMNS, texts_batch

from transforms.featurize.examples import examples_schema, hold_out, read_examples
from transforms.featurize.fit import (
    CorpusBaseline,
    MakeExamples,
    training_batch,
)
from transforms.featurize.step import TransformGraph, featurize, read_labels


def test_featurize_equals_transform_dataset_row_by_row(classes: Built, tmp_path: Path) -> None:
    texts = [*ADVERSARIAL, *many_texts(200)]
    tokens, dead = featurize(texts_batch(texts), TransformGraph(str(classes.path)), COLUMNS)
    assert dead is None
    keys = pa.array([f"{i:05d}" for i in range(len(texts))])
    batch = training_batch(pa.array(texts), pa.array(["play"] * len(texts)), keys, "classification")
    with (
        beam.Pipeline(runner=FnApiRunner()) as p,
        tft_beam.Context(temp_dir=str(tmp_path / "tft"), passthrough_keys={"row_key"}),
    ):
        graph = p | tft_beam.ReadTransformFn(str(classes.path))
        tables = p | beam.Create([batch]) | MakeExamples("classification", graph) | beam.Map(_table)
        tables | beam.io.WriteToParquetBatched(str(tmp_path / "examples"), examples_schema("classification"))
    examples, *_ = read_examples(str(tmp_path / "examples*"), "classification", tmp_path / "tokens")
    column = tokens.column("tokens")
    assert column.flatten().to_pylist() == examples.tokens[:].tolist()
    assert column.value_lengths().to_pylist() == examples.lengths.tolist()
    assert tokens.column("first_segment").to_pylist() == examples.first_segment.tolist()
    assert set(examples.targets.tolist()) == {read_labels(str(classes.path)).index("play")}
    assert sum(tokens.column("truncated").to_pylist()) == 1  # A word of 140,000 letters is one [UNK].


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def test_the_label_list_is_the_vocabulary_of_the_label_column(classes: Built) -> None:
    assert tuple(read_labels(str(classes.path))) == classes.bundle.labels == ("play", "book", "rate")


@given(st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=20), max_size=30), st.integers(1, 4))
def test_the_baseline_equals_a_plain_count_however_it_is_combined(rows: list[list[int]], parts: int) -> None:
    combine = CorpusBaseline(unknown_token=3)
    batches = [_examples(rows[i::parts]) for i in range(parts)]
    accumulators = [combine.add_input(combine.create_accumulator(), batch) for batch in batches]
    found = combine.extract_output(combine.merge_accumulators(accumulators))
    lengths = sorted(map(len, rows))
    assert found["rows"] == len(rows)
    if rows:
        assert found["token_quantiles"]["1.0"] == lengths[-1]
        assert found["token_quantiles"]["0.5"] == lengths[-(-len(lengths) // 2) - 1]
        unknown = sum(row.count(3) for row in rows) / sum(lengths)
        assert abs(found["unknown_token_share"] - unknown) < 1e-6


def _examples(rows: list[list[int]]) -> pa.RecordBatch:
    tokens = pa.array(rows, pa.large_list(pa.int64()))
    return pa.record_batch({"tokens": tokens, "truncated": pa.array([[0]] * len(rows), pa.large_list(pa.int64()))})


def test_rows_are_held_out_by_their_key_whatever_else_is_there(classes: Built) -> None:
    import numpy as np

    from model.training.examples import Examples

    count = 2_000
    one = np.ones(count, np.int32)
    examples = Examples(np.arange(count, dtype=np.int32), one, one, np.arange(count, dtype=np.int64))
    keys = pa.array([f"k{i}" for i in range(count)])
    training, validation = hold_out(examples, keys, 0.1)
    assert len(training) + len(validation) == count
    assert 140 <= len(validation) <= 260
    _, fewer = hold_out(examples.take(np.arange(1_000)), keys[:1_000], 0.1)
    assert fewer.targets.tolist() == [t for t in validation.targets.tolist() if t < 1_000]
