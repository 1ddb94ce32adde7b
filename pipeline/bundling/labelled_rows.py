"""Labelled rows -> the TF Transform graph and files of tokens; what of them was dropped, and how many of a class."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_transform.beam as tft_beam

from model.tokenizer.tokenization import read_vocabulary
from pipeline.bundling.training_job import TrainingJob
from pipeline.errors import ConfigError
from pipeline.runners.presets import beam_options
from transforms.batches.schemas import KEPT, REJECTED
from transforms.batches.texts import split_labels
from transforms.featurize.examples import RowsRead, examples_schema
from transforms.featurize.fit import (
    TARGET,
    CorpusBaseline,
    FitPreprocessing,
    Labelled,
    LabelTexts,
    MakeExamples,
    targets_of,
)
from transforms.featurize.preprocessing import Preprocessing
from transforms.read.step import ReadTexts, WriteMarked, read_rows
from transforms.runs.error_budget import ErrorBudget
from transforms.runs.plan import Plan, write_plan
from transforms.stores.choose import store_for
from transforms.validate import ValidateTexts, validate

TRAIN, TEST = "train", "test"
TOO_MANY = "too_many_windows"
"""The code of a row with too many windows."""
_MANY, _NAMED = 50, 5
"""Classes that may be numbers with fractions, and labels that an error names."""
RARE_ROWS = 10
"""A class with fewer rows is named: nothing can be measured on the one or none of them that is held out."""


def prepare_rows(job: TrainingJob, plan: Plan, test: Plan | None, preprocessing: Preprocessing, work: Path) -> None:
    """The Beam jobs: write bundle/transform_fn, train-*, test-* and dead-*.parquet, and baseline.json to `work`.

    Two jobs, which read the rows twice: in one, the rows would wait in memory until the graph that they make is done.
    """
    options = beam_options("direct", 1, ())
    context = {"temp_dir": str(work / "tft"), "passthrough_keys": {"row_key"}}
    with beam.Pipeline(options=options) as p, tft_beam.Context(**context):
        labelled = _labelled(p, plan, job, work, TRAIN)
        transform_fn = labelled.rows | "Fit" >> FitPreprocessing(preprocessing)
        transform_fn | "WriteGraph" >> tft_beam.WriteTransformFn(str(work / "bundle"))
        labelled.dead | "WriteDead" >> _WriteBatches(str(work / f"dead-{TRAIN}"), REJECTED)
    with beam.Pipeline(options=options) as p, tft_beam.Context(**context):
        transform_fn = p | "ReadGraph" >> tft_beam.ReadTransformFn(str(work / "bundle"))
        for part, rows in {TRAIN: plan, **({} if test is None else {TEST: test})}.items():
            labelled = _labelled(p, rows, job, work, part)
            making = MakeExamples(preprocessing.task, transform_fn, preprocessing.tokenizer.segments)
            examples = labelled.rows | f"MakeExamples {part}" >> making
            schema = examples_schema(preprocessing.task, preprocessing.tokenizer.long_texts.windows)
            examples | f"WriteExamples {part}" >> _WriteBatches(str(work / part), schema)
            if part == TEST:
                labelled.dead | "WriteDead" >> _WriteBatches(str(work / f"dead-{part}"), REJECTED)
                continue
            unknown = read_vocabulary(preprocessing.vocabulary).index("[UNK]")
            (
                examples
                | "Describe" >> beam.CombineGlobally(CorpusBaseline(unknown))
                | "ToJson" >> beam.Map(json.dumps)
                | "WriteBaseline" >> beam.io.WriteToText(str(work / "baseline.json"), shard_name_template="")
            )


def _labelled(p: beam.Pipeline, plan: Plan, job: TrainingJob, work: Path, part: str) -> Labelled:
    path = str(work / f"{part}-plan")
    write_plan(store_for(path), path, plan, {})
    read = p | f"Read {part}" >> ReadTexts(path, plan.columns)
    valid = read.rows | f"Validate {part}" >> ValidateTexts(plan.columns)
    read.counts | f"Marks {part}" >> WriteMarked(str(work / f"marked-{part}"))
    labelled = valid.texts | f"Label {part}" >> LabelTexts(job.task, short_names(plan), job.label_separator)
    return Labelled(labelled.rows, (read.dead, valid.dead, labelled.dead) | f"Dead {part}" >> beam.Flatten())


def short_names(plan: Plan) -> dict[str, str] | None:
    """File -> its name below the folder that all have in common; None where rows have ids of their own.

    Which rows are held out goes by their ids: the same files in another folder are the same rows.
    """
    if plan.columns.id is not None:
        return None
    paths = [info.path for info in plan.inputs]
    # Not by os.path, which takes the slashes of gs:// for one.
    levels = zip(*(path.split("/")[:-1] for path in paths), strict=False)
    common = sum(1 for _ in itertools.takewhile(lambda names: len({*names}) == 1, levels))
    return {path: "/".join(path.split("/")[common:]) for path in paths}


class _WriteBatches(beam.PTransform):
    def __init__(self, prefix: str, schema: pa.Schema) -> None:
        super().__init__()
        self._prefix, self._schema = prefix, schema

    def expand(self, batches: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        tables = batches | "ToTable" >> beam.Map(lambda batch: pa.Table.from_batches([batch]))
        return tables | beam.io.WriteToParquetBatched(self._prefix, self._schema, file_name_suffix=".parquet")


def dropped_rows(job: TrainingJob, work: Path, part: str, rows: int, too_many: int = 0) -> dict[str, int]:
    """How many rows of a part were dropped, by code; raises ConfigError if they are more than its budget allows.

    `too_many` rows have too many windows: what is read of the examples says so.
    """
    files = sorted(work.glob(f"dead-{part}-*.parquet"))
    tables = [pq.read_table(file, columns=["code", "source", "row"]) for file in files]
    dead = pa.concat_tables(tables) if tables else REJECTED.empty_table()
    counts = Counter(dead.column("code").to_pylist()) + Counter({TOO_MANY: too_many})
    codes = dict(sorted(counts.items()))
    exceeded = ErrorBudget(fraction=job.max_dead_fraction).exceeded(sum(codes.values()), rows)
    if not exceeded:
        return codes
    first = "".join(
        f"; the first is {row['source']}#{row['row']} ({row['code']})" for row in dead.slice(0, 1).to_pylist()
    )
    code = max(codes, key=codes.__getitem__)
    way_out = "mend them, or allow more with --max-dead-fraction"
    if job.task == "regression" and code in ("wrong_type", "missing_label"):
        way_out = (
            f"--task regression needs numbers in --label-column {job.label_column}; for classes leave --task out, "
            "for numbers in another column choose it with --label-column"
        )
    elif job.task == "multilabel" and code == "missing_label":
        listed = (
            "strings with labels between which --label-separator stands" if job.label_separator else "lists of strings"
        )
        other = "leave the flag out for lists" if job.label_separator else "for strings give --label-separator"
        way_out = (
            f"--task multilabel reads {listed} in --label-column {job.label_column}, an empty one for none; {other}"
        )
    elif code == "missing_label":
        way_out = "choose another --label-column, mend them, or allow more with --max-dead-fraction"
    elif code == TOO_MANY:
        way_out = "allow more windows with --max-windows, or more such rows with --max-dead-fraction"
    told = ", ".join(f"{count:,} {name}" for name, count in codes.items())
    raise ConfigError(f"{flag_of(part)}: {exceeded} ({told}){first}: {way_out}")


def flag_of(part: str) -> str:
    """The flag that gives the rows of a part."""
    return "--input" if part == TRAIN else "--test-input"


@dataclass(frozen=True, kw_only=True)
class Classes:
    """How many rows each class has, most first: of all labelled rows, those held out included.

    `without`: of a text with any number of labels, how many rows have none; None where each row has one.
    """

    rows: Mapping[str, int]
    without: int | None = None

    @classmethod
    def of(cls, labels: tuple[str, ...], targets: np.ndarray) -> "Classes":
        """Counts class numbers int64 `[B]`, or labels bool `[B, C]`."""
        several = targets.dtype == np.bool_
        counts = (targets.sum(axis=0) if several else np.bincount(targets, minlength=len(labels))).tolist()
        rows = dict(sorted(zip(labels, counts, strict=True), key=lambda found: -found[1]))
        return cls(rows=rows, without=int((~targets.any(axis=1)).sum()) if several else None)

    @property
    def rare(self) -> list[str]:
        """Classes of which there are too few rows to learn or measure anything."""
        return [name for name, rows in self.rows.items() if rows < RARE_ROWS]

    @property
    def imbalance(self) -> float:
        """Rows of the largest class for each row of the smallest."""
        counts = list(self.rows.values())
        return counts[0] / counts[-1]


def check_labels(
    job: TrainingJob, labels: tuple[str, ...], rows: RowsRead, test: RowsRead | None, test_plan: Plan | None = None
) -> None:
    """Raises ConfigError for labels that make no classification, and of test rows for those that no training row has.

    `test_plan` is read once more to name these.
    """
    if job.task == "regression":
        return
    if rows.unknown:
        raise ConfigError(
            f"--label-column {job.label_column}: {rows.unknown:,} rows have an empty label, or one with the end of a "
            "line; mend them, or leave these rows out"
        )
    if len(labels) < 2:
        few = "a classification needs two or more. For numbers to be predicted give --task regression"
        if job.task == "multilabel":
            few = "--task multilabel needs two or more. For one that a text has or has not, make a label of each answer"
        raise ConfigError(f"--label-column {job.label_column}: the rows have {len(labels)} different labels; {few}")
    said = job.schema_.get(job.label_column) == "string" or job.task == "multilabel"
    many = len(labels) > max(_MANY, len(rows.examples) // 10)
    if not said and many and sum(map(_is_fraction, labels)) > 0.9 * len(labels):
        raise ConfigError(
            f"--label-column {job.label_column}: the rows have {len(labels):,} different labels, which are numbers; "
            f"for numbers to be predicted give --task regression, for classes --schema {job.label_column}:string"
        )
    if test is not None and test.unknown:
        others = [] if test_plan is None else _others(test_plan, job, labels)
        named = f" ({', '.join(others)})" if others else ""
        raise ConfigError(
            f"--test-input has {test.unknown:,} rows with labels that no training row has{named}; leave them out, or "
            "add rows with these labels to --input"
        )


def _is_fraction(label: str) -> bool:
    """Whether it is a number that is no whole one: 3.5, and neither 3 nor 3.0, of which classes may be named."""
    try:
        return math.isfinite(float(label)) and float(label) % 1 != 0
    except ValueError:
        return False


def _others(plan: Plan, job: TrainingJob, labels: tuple[str, ...]) -> list[str]:
    """Up to five labels of a plan that are not among `labels`, as they are shown."""
    found: dict[str, None] = {}
    known = frozenset(labels)
    for piece in (piece for split in plan.splits for piece in split.pieces):
        for batches, _, _ in read_rows(piece, 0, plan.columns):
            for batch in batches:
                # Rows that became dead letters were not counted either.
                texts, _ = validate(batch, plan.columns)
                targets, _ = targets_of(texts.column(KEPT + TARGET), job.task, job.label_separator)
                column = targets.drop_null().unique().to_pylist()
                if job.task == "multilabel":
                    column = [label for joined in column for label in split_labels(joined)]
                found |= dict.fromkeys(repr(label) for label in column if label not in known)
                if len(found) > _NAMED:
                    return [*list(found)[:_NAMED], "…"]
    return list(found)
