"""What a training reads of its rows."""

from typing import Any

import pyarrow as pa

from pipeline.bundling.training_job import TrainingJob, plan_rows
from transforms.featurize.fit import _TakeTargets
from transforms.read.step import read_rows
from transforms.validate import validate


def labels_and_codes(job: TrainingJob) -> tuple[list[Any], dict[int, str]]:
    """What a training learns, without graph and network: labels of the rows that are left, codes of the others."""
    columns = (plan := plan_rows(job, "--input", job.input)).columns
    labels: list[Any] = []
    codes: dict[int, str] = {}
    for piece in (piece for split in plan.splits for piece in split.pieces):
        for batches, dead, _ in read_rows(piece, 0, columns):
            for batch in batches:
                texts, rejected = validate(batch, columns)
                dead += [rejected] if rejected is not None else []
                for found in _TakeTargets(separator=job.label_separator).process(texts, job.task):
                    if isinstance(found, pa.RecordBatch):
                        labels += found.column("target").flatten().to_pylist()
                    else:
                        dead.append(found.value)
            for rejected in dead:
                codes |= dict(zip(rejected.column("row").to_pylist(), rejected.column("code").to_pylist(), strict=True))
    return labels, codes
