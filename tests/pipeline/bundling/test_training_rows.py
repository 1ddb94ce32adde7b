"""The rows of a training: what is dropped is counted apart and told, and what cannot work is refused by its flag."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.commands import invoke
from support.jobs import write_parquet

from model.bundle import Bundle
from model.network.weights import read_weights
from model.training.examples import Examples
from model.training.fine_tune import Progress, Step, TrainingResult
from pipeline.bundling import certifying
from pipeline.bundling.certifying import HeldOut, certify_held_out, held_out_rows
from pipeline.bundling.labelled_rows import TRAIN, Classes, check_labels, dropped_rows
from pipeline.bundling.telling import RowsFound, Silent
from pipeline.bundling.training import train
from pipeline.bundling.training_job import TrainingJob, plan_rows, training_job
from pipeline.errors import ConfigError, RunFailedError
from pipeline.terminal.certificate import show_trained
from transforms.errors import DeviceMemoryError, PlanError
from transforms.featurize.examples import RowsRead
from transforms.score.certificates.certificate import read_certificates
from transforms.score.devices import Device
from transforms.score.engines.chips import Chip

pytestmark = pytest.mark.slow  # Trainings.


def job(tmp_path: Path, rows: Any, **settings: object) -> TrainingJob:
    file = write_parquet(tmp_path / "train.parquet", rows)
    defaults = {"output": str(tmp_path / "bundle"), "name": "n", "max_tokens": 16, "vocabulary_size": 300}
    return training_job({"input": [str(file)], "epochs": 1, **defaults, **settings})


class Heard(Silent):
    """Remembers what was told."""

    def __init__(self) -> None:
        self.rows: RowsFound | None = None
        self.epochs: list[Progress] = []
        self.steps: list[Step] = []
        self.result: TrainingResult | None = None

    def found(self, rows: RowsFound) -> None:
        self.rows = rows

    def step(self, at: Step) -> bool:
        self.steps.append(at)
        return False

    def epoch(self, at: Progress) -> None:
        self.epochs.append(at)

    def ended(self, result: TrainingResult) -> None:
        self.result = result


def test_dropped_rows_are_told_by_part_and_code_and_kept_in_the_bundle_with_every_epoch(tmp_path: Path) -> None:
    # 2 of 202 training rows, and 2 of 10 test rows, which would be 1.9 % of all.
    texts = [f"{'play a song' if i % 3 else 'book a table'} {i}" for i in range(200)]
    labels = ["music" if i % 3 else "food" for i in range(200)]
    ids = [f"r{i}" for i in range(200)]
    rows = {"text": [*texts, " ", "again"], "label": [*labels, "food", "food"], "id": [*ids, "blank", "r0"]}
    held_out = {"text": [*["play a song", "book a table"] * 4, "", None], "label": ["music", "food"] * 5}
    test = write_parquet(tmp_path / "test.parquet", {**held_out, "id": [f"t{i}" for i in range(10)]})
    heard = Heard()
    settings = {"id_column": "id", "test_input": [str(test)], "max_dead_fraction": 0.2, "epochs": 2}
    trained = train(job(tmp_path, rows, **settings), heard)

    dropped = {"train": {"blank_text": 1, "duplicate_id": 1}, "test": {"blank_text": 1, "missing_text": 1}}
    assert trained.bundle.origin["dropped"] == dropped
    assert heard.rows is not None
    assert heard.rows.dropped == dropped
    assert heard.rows.rows["training"] + heard.rows.rows["validation"] == 200
    assert heard.rows.rows["test"] == 8
    assert heard.rows.classes == Classes(rows={"music": 133, "food": 67})
    history = json.loads((trained.bundle.path / "training" / "history.json").read_text())
    assert history["dropped"] == dropped
    assert history["classes"] == {"music": 133, "food": 67}
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2] == [at.epoch for at in heard.epochs]
    assert history["epochs"][1]["validation"] == heard.epochs[1].metrics
    assert history["epochs"][0]["learning_rate"] == heard.epochs[0].learning_rate > 0
    assert sum(map(sum, history["confusion"])) == heard.rows.rows["validation"]
    assert sum(step["rows"] for step in history["reliability"]) == heard.rows.rows["validation"]
    assert heard.result is not None
    assert heard.result.ended == trained.bundle.origin["ended"] == history["ended"]
    assert heard.steps[-1].step == heard.steps[-1].steps
    # What lies in the bundle belongs to it: it has its checksum.
    assert {"training/history.json", "training/plot.svg"} <= trained.bundle.files.keys()
    ET.fromstring((trained.bundle.path / "training" / "plot.svg").read_text())


def a_chip(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certifying, "find_chip", lambda: Chip(kind=kind, name="Chip 1"))
    monkeypatch.setattr(certifying, "find_device", lambda: Device(kind="cpu"))


def test_the_command_certifies_what_it_has_trained_on_the_rows_that_it_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_chip("avx512_bf16", monkeypatch)
    # OpenVINO says that it does not compute it here, whatever the chip of the machine: TensorFlow does.
    monkeypatch.setattr("transforms.score.engines.choice.computes", lambda precision: False)
    texts = [f"{'play a song' if i % 3 else 'book a table'} {i}" for i in range(200)]
    file = write_parquet(tmp_path / "in.parquet", {"text": texts, "label": [f"l{i % 2}" for i in range(200)]})
    flags = ("--input", file, "--epochs", "1", "--max-tokens", "16", "--vocabulary-size", "300", "--name", "n")
    code, out, err = invoke("train", *flags, "--output", tmp_path / "bundle", "--log-format", "json")
    assert code == 0, err
    bundle = Bundle.load(tmp_path / "bundle")
    told = [json.loads(line) for line in out.splitlines()]
    (event,) = [line for line in told if line["event"] == "certificate"]
    (found,) = read_certificates(str(tmp_path / "bundle"), bundle, "avx512_bf16")
    assert (event["certificate"]["rows"], event["problem"]) == (found.rows, None)
    assert Path(event["path"]).parent == tmp_path / "bundle.certificates"
    assert (found.bundle, found.precision, found.copies) == (bundle.reference, "bfloat16", 0)
    assert found.rows == bundle.quality["validation"]["rows"]
    assert found.gold is not None
    # It is the accuracy that the training itself has measured.
    assert found.gold.plain == pytest.approx(bundle.quality["validation"]["accuracy"], abs=1e-6)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DeviceMemoryError("there is no room for one row more"), "there is no room for one row more; `bert-batch cert"),
        (RuntimeError("play the song"), "RuntimeError (its message is withheld: it may quote a text); `bert-batch"),
    ],
)
def test_a_certificate_that_fails_costs_no_bundle_and_quotes_nobody(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_chip("amx", monkeypatch)

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(certifying, "certify_rows", fails)
    nothing: Any = None
    found = certify_held_out("b", nothing, HeldOut(nothing, []))
    assert isinstance(found, str)
    assert found.startswith(told)
    show_trained(found, "text")
    show_trained(found, "json")
    text, line = capsys.readouterr().out.splitlines()
    assert text == f"certificate  none: {found}"
    assert json.loads(line)["problem"] == found


def test_where_bfloat16_would_be_slower_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    a_chip("avx2", monkeypatch)
    monkeypatch.setattr(certifying, "certify_rows", None)
    nothing: Any = None
    found = certify_held_out("b", nothing, HeldOut(nothing, []))
    assert "bfloat16 would be no faster on Chip 1 (class avx2)" in str(found)


def test_of_many_held_out_rows_some_are_taken_from_all_over_pairs_with_their_first_segment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certifying, "ROWS", 4)
    lengths = np.array([3, 1, 2, 4, 2, 3, 1], np.int32)
    tokens = np.concatenate([np.full(n, i, np.int32) for i, n in enumerate(lengths)])
    first = np.array([1, 1, 2, 3, 1, 2, 1], np.int32)
    for targets, labels, gold in (
        (np.array([0, 1, 1, 0, 0, 1, 0]), ("no", "yes"), ["no", "yes", "no", "no"]),
        (np.array([0, 1, 2, 3, 4, 5, 6], np.float32), (), [0, 2, 4, 6]),
    ):
        found = held_out_rows(Examples(tokens, lengths, first, targets), labels)
        assert found.gold == gold
        assert found.rows.values.tolist() == [0, 0, 0, 2, 2, 4, 4, 6]
        assert found.rows.offsets.tolist() == [0, 3, 5, 7, 8]
        assert found.rows.first_segment.tolist() == [1, 2, 1, 1]


def test_bad_test_rows_are_not_charged_to_the_training_rows_nor_the_other_way_round(tmp_path: Path) -> None:
    rows = {"text": ["a b", "c d"] * 30, "label": ["x", "y"] * 30}
    test = write_parquet(tmp_path / "test.parquet", {"text": ["a", " ", "c"], "label": ["x", "y", "x"]})
    with pytest.raises(ConfigError, match=r"--test-input: 1 of 3 rows .*1 blank_text.*test\.parquet#1.*--max-dead-fr"):
        train(job(tmp_path, rows, test_input=[str(test)], max_dead_fraction=0.3))


def test_labels_of_test_rows_that_training_has_not_are_named(tmp_path: Path) -> None:
    rows = {"text": ["a b", "c d"] * 30, "label": ["x", "y"] * 30}
    labels = ["x", "Y", "z ", *map(str, range(5))]
    test = write_parquet(tmp_path / "test.parquet", {"text": ["a"] * 8, "label": labels})
    with pytest.raises(ConfigError, match=r"7 rows with labels that no .* row has \('Y', 'z ', '0', '1', '2', …\)"):
        train(job(tmp_path, rows, test_input=[str(test)]))


def rows_read(targets: np.ndarray) -> RowsRead:
    """Rows of one token each, of which those below 0 have an unknown label."""
    ones = np.ones(len(targets), np.int32)
    keys = pa.array([str(i) for i in range(len(targets))])
    return RowsRead(Examples(ones, ones, ones, targets), keys, int((targets < 0).sum()))


def test_numbers_with_fractions_are_no_classes_and_the_flag_is_named(tmp_path: Path) -> None:
    def labels(values: list[str]) -> None:
        rows = rows_read(np.arange(300) % len(values))
        check_labels(job(tmp_path, {"text": ["a"], "label": ["x"]}), tuple(values), rows, None)

    with pytest.raises(ConfigError, match=r"60 different labels, which are numbers; .* --task regression"):
        labels([f"{i / 7 + 0.01:.3f}" for i in range(60)])
    for classes in ([f"{i / 2:.1f}" for i in range(10)], list(map(str, range(60))), [f"c{i}.5" for i in range(60)]):
        labels(classes)


def test_the_same_rows_and_seed_make_the_same_bundle_in_another_folder_too(tmp_path: Path) -> None:
    texts = [f"{'play a song' if i % 3 else 'book a table'} {i}" for i in range(120)]
    rows = {"text": texts, "label": [f"l{i % 2}" for i in range(120)]}
    made = []
    for folder in ("one", "two/deep"):
        file = write_parquet(tmp_path / folder / "in.parquet", rows)
        given = {"name": "n", "max_tokens": 16, "vocabulary_size": 300, "epochs": 1}
        made.append(train(training_job({"input": [str(file)], "output": str(tmp_path / folder / "b"), **given})))
    one, two = made
    assert one.held_out.rows.values.tolist() == two.held_out.rows.values.tolist()
    assert len(one.held_out.gold) > 3
    weights = read_weights(one.classifier)
    assert all((weights[name] == array).all() for name, array in read_weights(two.classifier).items())


def test_a_training_that_diverges_makes_no_bundle_and_names_the_way_out(tmp_path: Path) -> None:
    rows = {"text": ["a b", "c d"] * 60, "label": ["x", "y"] * 60}
    with pytest.raises(RunFailedError, match=r"epoch 1, step \d of \d, .*1e\+30; .*a lower --learning-rate"):
        train(job(tmp_path, rows, learning_rate=1e30))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        (
            {"text": ["a", "b"], "label": ["x", "y"]},
            {"validation_share": 1e-4},
            "of 2 labelled rows .*--validation-share",
        ),
        (
            {"text": ["a", "b"] * 9, "label": ["good", "bad"] * 9},
            {"task": "regression"},
            "--task regression needs numbers in --label-column label; for classes leave --task out",
        ),
        ({"text": ["a", "b"] * 9, "label": pa.nulls(18, pa.string())}, {}, "18 missing_label.*another --label-column"),
    ],
    ids=["two rows", "a regression on strings", "no labels"],
)
def test_rows_that_cannot_be_trained_on_name_the_flag_that_helps(
    tmp_path: Path, rows: Any, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(job(tmp_path, pa.table(rows), **settings))


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (pa.array([["a"], ["b"]]), {}, "label column 'label' is list<.*a label is one string.*--label-column"),
        (pa.array([True, False]), {"task": "regression"}, "is bool: of which no double can be made; for classes leave"),
        (
            pa.array(["a", "b"]),
            {"label_column": "stars"},
            "no column 'stars' .*it has .*: choose with --label-column",
        ),
    ],
    ids=["lists", "booleans for values", "no such column"],
)
def test_a_column_that_holds_no_labels_is_refused_before_anything_is_read(
    tmp_path: Path, labels: pa.Array, settings: dict[str, object], message: str
) -> None:
    wanted = job(tmp_path, pa.table({"text": ["a", "b"], "label": labels}), **settings)
    with pytest.raises(PlanError, match=message):
        plan_rows(wanted, "--input", wanted.input)


def test_labels_of_test_rows_are_looked_at_before_the_training(tmp_path: Path) -> None:
    wanted = job(tmp_path, {"text": ["a"], "label": ["x"]})
    with pytest.raises(ConfigError, match="--test-input has 2 rows with labels that no training row has"):
        check_labels(wanted, ("x", "y"), rows_read(np.array([0, 1, 1])), rows_read(np.array([0, -1, -1])))


def test_rare_classes_and_imbalance() -> None:
    classes = Classes.of(("a", "b", "c"), np.repeat([0, 1, 2], [40, 10, 9]))
    assert classes.rare == ["c"]
    assert classes.imbalance == pytest.approx(40 / 9)


def test_rows_with_too_many_windows_count_as_dropped(tmp_path: Path) -> None:
    wanted = training_job({"input": ["rows.csv"], "output": str(tmp_path / "b"), "name": "n", "max_dead_fraction": 0.1})
    assert dropped_rows(wanted, tmp_path, TRAIN, 100) == {}
    assert dropped_rows(wanted, tmp_path, TRAIN, 100, too_many=10) == {"too_many_windows": 10}
    with pytest.raises(ConfigError) as error:
        dropped_rows(wanted, tmp_path, TRAIN, 100, too_many=11)
    assert "(11 too_many_windows): allow more windows with --max-windows" in str(error.value)
