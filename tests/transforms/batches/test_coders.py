"""RecordBatches travel as Arrow, never as pickles, and a slice travels without its parent."""

import copyreg
import datetime as dt
from pathlib import Path
from typing import Any, NoReturn

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import Built
from support.jobs import DATE, Score, many_texts, prepared, write_parquet

from pipeline.jobs.config import JobConfig
from pipeline.scoring import build
from transforms.batches.coder import RecordBatchCoder
from transforms.batches.schemas import LABEL
from transforms.batches.score_columns import PROBABILITIES

CODER = RecordBatchCoder()


def travelled(batch: pa.RecordBatch) -> pa.RecordBatch:
    found = CODER.decode(CODER.encode(batch))
    found.validate(full=True)
    return found


@given(
    rows=st.lists(st.tuples(st.text(), st.none() | st.integers(0, 9), st.lists(st.floats(width=32)), st.binary())),
    data=st.data(),
)
def test_any_slice_arrives_as_it_was(rows: list[tuple[Any, ...]], data: st.DataObject) -> None:
    kinds = [pa.string(), pa.int64(), pa.large_list(pa.float32()), pa.binary()]
    columns = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
    schema = pa.schema([pa.field(name, kind) for name, kind in zip("abcd", kinds, strict=True)])
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    start = data.draw(st.integers(0, len(rows)))
    part = batch.slice(start, data.draw(st.integers(0, len(rows))))
    assert str(travelled(part).to_pylist()) == str(part.to_pylist())
    assert travelled(part).schema.equals(batch.schema, check_metadata=True)


def test_dictionaries_arrive_alone_in_slices_and_in_lists() -> None:
    labels = pa.DictionaryArray.from_arrays(pa.array([2, 0, 1, 1], pa.int32()), pa.array(["a", "b", "c"]))
    item = PROBABILITIES.value_type
    entries = pa.StructArray.from_arrays([labels, pa.array([0.1, 0.2, 0.3, 0.4], pa.float32())], fields=list(item))
    listed = pa.ListArray.from_arrays(pa.array([0, 1, 4], pa.int32()), entries, type=PROBABILITIES)
    schema = pa.schema([pa.field("label", LABEL, nullable=False), pa.field("p", PROBABILITIES, nullable=False)])
    batch = pa.RecordBatch.from_arrays([labels[:2], listed], schema=schema)
    for part in (batch, batch.slice(1), batch.slice(0, 1), batch.slice(2)):
        assert travelled(part).equals(part)
        assert travelled(part).schema.equals(schema)


def test_a_row_of_a_large_batch_is_encoded_small() -> None:
    batch = pa.RecordBatch.from_pydict({"text": ["x" * 1000] * 2000, "row": range(2000)})
    assert len(CODER.encode(batch)) > 2_000_000
    assert len(CODER.encode(batch.slice(1234, 1))) < 3_000


def test_the_coder_is_found_by_type_and_says_what_it_is() -> None:
    assert isinstance(beam.coders.registry.get_coder(pa.RecordBatch), RecordBatchCoder)
    assert CODER.is_deterministic()
    assert CODER.to_type_hint() is pa.RecordBatch


class _Outputs(PipelineVisitor):
    def __init__(self) -> None:
        self.found: dict[str, beam.PCollection[Any]] = {}

    def visit_transform(self, node: AppliedPTransform) -> None:
        self.found |= {f"{node.full_label}:{tag}": pcoll for tag, pcoll in node.outputs.items()}


@pytest.mark.parametrize("trust_ids", [False, True])
def test_no_arrow_of_texts_has_a_pickling_coder(trust_ids: bool, classes: Built, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["b"]})
    output = str(tmp_path / "out")
    job = JobConfig(bundle=str(classes.path), input=(str(file),), output=output, date=DATE, trust_ids=trust_ids)
    p = beam.Pipeline(runner="FnApiRunner")
    build(p, prepared(job, dt.datetime(2026, 11, 22, tzinfo=dt.UTC)))
    proto, context = p.to_runner_api(return_context=True)
    outputs = _Outputs()
    p.visit(outputs)
    batches, unknown = set(), set()
    for name, pcoll in outputs.found.items():
        coder = context.coders.get_by_id(proto.components.pcollections[context.pcollections.get_id(pcoll)].coder_id)
        if pcoll.element_type is pa.RecordBatch:
            assert isinstance(coder, RecordBatchCoder), f"{name} travels with {coder}"
            batches.add(name.split("/")[0])
        elif pcoll.element_type in (Any, beam.typehints.Any):
            unknown.add(name)
    assert batches >= {"Read", "Validate", "Featurize", "Score", "Carry"}
    # What has no type could be anything.
    assert unknown == set()


def test_nothing_in_a_running_job_pickles_a_batch(
    run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(batch: pa.RecordBatch) -> NoReturn:
        raise AssertionError("a RecordBatch was pickled")

    monkeypatch.setitem(copyreg.dispatch_table, pa.RecordBatch, refuse)
    rows = {"id": [f"r{i}" for i in range(50)], "text": [*many_texts(48), " ", ""]}
    assert run_job(write_parquet(tmp_path / "in.parquet", rows)).verdict.status == "published"
