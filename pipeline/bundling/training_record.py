"""What a bundle keeps of its training: training/history.json, a drawing of it beside it, and the baseline of drift."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.network.classifier import BertClassifier
from model.tokenizer.tokenization import TokenizerSpec
from model.training.calibration import (
    FEWEST_ROWS,
    calibration_error,
    decided,
    divide_logits,
    fit_temperature,
)
from model.training.examples import Examples
from model.training.fine_tune import TrainingResult, predict
from model.training.metrics import confusion, metrics_of, reliability
from model.training.thresholds import fit_thresholds, label_metrics, published, sigmoid
from model.windows import softmax
from pipeline.bundling.labelled_rows import Classes, short_names
from pipeline.bundling.training_plot import drawing
from transforms.batches.repeated import WORK, WORK_FIELD, repeated
from transforms.batches.schemas import OF_WINDOWS, Columns, outputs_schema
from transforms.featurize.fit import row_keys
from transforms.featurize.step import TransformGraph, featurize, read_unknown, within
from transforms.outputs.summary.tally import Summarizer
from transforms.read.step import read_rows
from transforms.runs.labelling import Labelling
from transforms.runs.plan import Plan
from transforms.runs.row_counts import Work
from transforms.runs.run import Run, new_run_id
from transforms.score.label import label
from transforms.validate import validate

FOLDER, HISTORY, PLOT = "training", "history.json", "plot.svg"
_SHOWN_VALUES = 300
DECIDED_AT = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""The values of --min-probability of which a training says what they decide."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A trained classifier on its validation rows: logits float32 `[B, C]`, with the temperature in them.

    `thresholds` are those of several labels, else empty. `quality` is what the bundle says of it.
    """

    logits: np.ndarray
    thresholds: tuple[float, ...]
    quality: Mapping[str, Any]


def measure(classifier: BertClassifier, validation: Examples, test: Examples | None) -> Measured:
    """Fits a temperature, which goes into the classifier, and thresholds on the validation rows, and measures.

    `quality` has metrics of `validation` and `test`, and of a classifier `calibration` (temperature; error before and
    after, of the test rows too, which nothing was fitted on; of few validation rows the temperature is None) and
    `decided` (see calibration.decided, of test rows if there are any).
    """
    parts = {"validation": validation, **({} if test is None else {"test": test})}
    logits = {part: predict(classifier, rows) for part, rows in parts.items()}
    calibration: dict[str, Any] = {}
    if validation.targets.dtype != np.float32:
        errors = {"before": {part: calibration_error(logits[part], rows.targets) for part, rows in parts.items()}}
        temperature = None
        if len(validation) >= FEWEST_ROWS:
            temperature = fit_temperature(logits["validation"], validation.targets)
            divide_logits(classifier, temperature)
            # As they are computed from now on, to the last bit.
            logits = {part: predict(classifier, rows) for part, rows in parts.items()}
            errors["after"] = {part: calibration_error(logits[part], rows.targets) for part, rows in parts.items()}
        calibration = {"calibration": {"temperature": temperature, "rows": len(validation), **errors}}
    several = validation.targets.dtype == np.bool_
    thresholds = fit_thresholds(logits["validation"], validation.targets) if several else ()
    quality: dict[str, Any] = {
        part: {"rows": len(rows), **metrics_of(logits[part], rows.targets, thresholds)} for part, rows in parts.items()
    }
    if calibration and not several:
        last = "validation" if test is None else "test"
        calibration["decided"] = {"of": last, "at": decided(logits[last], parts[last].targets, DECIDED_AT)}
    return Measured(logits=logits["validation"], thresholds=thresholds, quality={**quality, **calibration})


@dataclass(frozen=True, kw_only=True)
class Record:
    """A training as its bundle tells it. No times of day and no durations: equal trainings make equal bundles.

    `rows` and `dropped` are by part (training, validation, test; train, test); `classes` is None for a regression.
    `measured` is of the validation rows, whose `targets` are as Examples has them.
    """

    result: TrainingResult
    rows: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]
    classes: Classes | None
    labels: tuple[str, ...]
    measured: "Measured"
    targets: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """The content of history.json."""
        result, logits = self.result, self.measured.logits
        epochs = [
            {"epoch": at.epoch, "loss": at.loss, "learning_rate": at.learning_rate, "validation": at.metrics}
            for at in result.history
        ]
        found: dict[str, Any] = {
            "epochs": epochs,
            "best_epoch": result.best_epoch,
            "ended": result.ended,
            "rows": dict(self.rows),
            "dropped": {part: dict(codes) for part, codes in self.dropped.items()},
        }
        if self.classes is None:
            return {**found, "values": self._values()}
        found |= {"classes": dict(self.classes.rows), "rare_classes": self.classes.rare}
        found |= {"reliability": reliability(logits, self.targets)}
        if self.measured.thresholds:
            return {**found, "rows_without_label": self.classes.without, "labels": self._labels()}
        return {**found, "confusion": confusion(logits.argmax(axis=1), self.targets, len(self.labels)).tolist()}

    def _labels(self) -> dict[str, dict[str, float]]:
        """How good each label is on the validation rows, on which its threshold was fitted."""
        shown = published(self.measured.logits).T
        each = zip(self.labels, shown, self.targets.T, self.measured.thresholds, strict=True)
        return {label: label_metrics(shown, right, threshold) for label, shown, right, threshold in each}

    def _values(self) -> list[list[float]]:
        """Some validation rows: the value that is right, and the one that was predicted."""
        every = max(1, len(self.targets) // _SHOWN_VALUES)
        pairs = zip(self.targets[::every], self.measured.logits[::every, 0], strict=True)
        return [[float(right), float(predicted)] for right, predicted in pairs]

    def write(self, bundle: Path) -> None:
        """Puts both files into the folder of a bundle that is not sealed yet."""
        folder, content = bundle / FOLDER, self.to_json()
        folder.mkdir()
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / HISTORY).write_text(text + "\n", encoding="utf-8")
        (folder / PLOT).write_text(drawing(content, self.labels), encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class ValidationRows:
    """The rows of `plan` that a training held out: their keys (row_keys), and their logits float32 `[B, C]`."""

    plan: Plan
    keys: pa.Array
    logits: np.ndarray

    def summary(self, bundle: Path, spec: TokenizerSpec, labels: tuple[str, ...], thresholds: tuple[float, ...]) -> Any:
        """Their summary, as a run would have it, for the baseline of a bundle: that of each label has its rows only."""
        columns = replace(self.plan.columns, windows=spec.long_texts.windows)
        labelling = Labelling(labels=labels, columns=columns, run=no_run(), thresholds=thresholds)
        shown = self.logits if not labels else sigmoid(self.logits) if thresholds else softmax(self.logits)
        summarizer = Summarizer(labels)
        for tokens in self._tokens(bundle, spec, columns):
            places = self._places(tokens)
            scores, _ = label(_outputs(tokens, shown[places.to_numpy()].astype(np.float32), columns), labelling)
            summarizer.add(scores)
        found = summarizer.described()
        found["labels"] = [{**one, "statistics": {}} for one in found["labels"]]
        if found["other_labels"]:
            found["other_labels"] = {**found["other_labels"], "statistics": {}}
        return found

    def _places(self, rows: pa.RecordBatch) -> pa.Array:
        """Where the keys of rows are among those of the validation rows; null for others."""
        return pc.index_in(row_keys(rows, short_names(self.plan)).cast(self.keys.type), self.keys)

    def _tokens(self, bundle: Path, spec: TokenizerSpec, columns: Columns) -> Iterator[pa.RecordBatch]:
        """Read and made into tokens once more: the examples of a training have no texts."""
        graph, unknown = TransformGraph(str(bundle), spec.segments, columns.windows), read_unknown(str(bundle))
        for split in self.plan.splits:
            for piece in split.pieces:
                for batches, _, _ in read_rows(piece, split.number, columns):
                    for batch in batches:
                        texts, _ = validate(batch, columns)
                        texts = texts.filter(self._places(texts).is_valid())
                        step = spec.long_texts.step(spec.max_tokens) if columns.windows else None
                        for part in [texts] if step is None else within(texts, spec.max_tokens, step):
                            tokens, _ = featurize(part, graph, columns, unknown)
                            if tokens.num_rows:
                                yield tokens


def _outputs(tokens: pa.RecordBatch, shown: np.ndarray, columns: Columns) -> pa.RecordBatch:
    """What the model would give for Tokens whose numbers are known: see outputs_schema."""
    rows, schema = tokens.num_rows, outputs_schema(columns)
    ends = pa.array(np.arange(rows + 1, dtype=np.int32) * shown.shape[1])
    lengths = np.diff(tokens.column("tokens").offsets.to_numpy())
    made = {
        "token_count": pa.array(lengths, pa.int32()),
        "outputs": pa.ListArray.from_arrays(ends, pa.array(shown.reshape(-1)), type=schema.field("outputs").type),
        "failed": pa.array(np.zeros(rows, np.bool_)),
        WORK: repeated(Work()._asdict(), WORK_FIELD, rows),
        **({field.name: pa.nulls(rows, field.type) for field in OF_WINDOWS} if columns.windows else {}),
    }
    arrays = [made[name] if name in made else tokens.column(name) for name in schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def no_run() -> Run:
    """Rows have columns of their run, which no summary counts."""
    start = dt.datetime.fromtimestamp(0, dt.UTC)
    return Run(run_id=new_run_id(start), output="", date=start.date(), started=start, sequence=0, bundle="")
