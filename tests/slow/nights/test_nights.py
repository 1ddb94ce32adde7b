"""The whole story on the emulators: a table in, scored, Parquet and a table out, night after night, each row once.

What is published is compared with a plain computation over the rows of each night: a dictionary, a loop, Keras.
"""

import datetime as dt
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml
from google.cloud import bigquery
from support.bundles import Built
from support.cloud.emulators import Emulators, empty_dataset
from support.commands import run_forked
from support.jobs import many_texts
from support.plain_loops import plain_loop

from transforms.runs.fail_points import VARIABLE

NIGHTS = ("2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21")
ROWS = 60
Rows = dict[str, tuple[Any, ...]]


def texts_of(night: str) -> list[dict[str, Any]]:
    """What the table holds of a night: most rows as the night before, some new, some changed, two that are bad."""
    number = NIGHTS.index(night)
    texts = many_texts(ROWS + len(NIGHTS))
    rows = [{"id": f"r{i}", "text": texts[i], "day": night, "price": 100 * number + i} for i in range(ROWS)]
    for i in range(number):
        rows[i]["text"] = f"{texts[i]} play"
    rows += [{"id": f"new{i}", "text": texts[ROWS + i], "day": night, "price": i} for i in range(number)]
    return [*rows, {"id": f"bad{number}", "text": None, "day": night, "price": 0}, {**rows[7], "price": -1}]


@dataclass(frozen=True, kw_only=True)
class Place:
    """The job file of the nights, and what readers find where it publishes."""

    job: Path
    output: Path
    scores: str
    built: Built

    def run(self, command: str, *arguments: str, code: int = 0, **environment: str) -> str:
        """Runs the command in a process of its own, as a scheduler does; gives what it prints."""
        return run_forked([sys.executable, "-m", "pipeline", command, *arguments], code=code, **environment)

    def score(self, night: str, *arguments: str, code: int = 0, **environment: str) -> dict[str, Any]:
        self.run("score", "--job", str(self.job), "--date", night, *arguments, code=code, **environment)
        return self.manifest(night)

    def manifest(self, night: str) -> dict[str, Any]:
        return json.loads((self.output / f"dt={night}" / "_manifest.json").read_bytes())

    def plain(self, night: str) -> Rows:
        """The same answer, computed plainly."""
        rows = {row["id"]: row for row in reversed(texts_of(night)) if row["text"] is not None}
        # Whichever of the two rows with one id comes first is the one that is scored: their texts are the same.
        texts = [row["text"] for row in rows.values()]
        probabilities = tf.nn.softmax(plain_loop(self.built, texts)).numpy()
        hashes = np.ascontiguousarray(tf.fingerprint(tf.constant(texts)).numpy()).view("<i8").reshape(-1)
        labels = self.built.bundle.labels
        return {
            key: (labels[int(row.argmax())], pytest.approx(float(row.max()), abs=1e-5), int(text_hash), night)
            for key, row, text_hash in zip(rows, probabilities, hashes, strict=True)
        }

    def parquet(self, night: str) -> Rows:
        return self._rows([row for part in self.manifest(night)["files"] for row in self._part(part["path"])])

    def table(self, night: str) -> Rows:
        return self._rows(query(f"SELECT * FROM `{self.scores}` WHERE logical_date = '{night}'"))

    def dead(self, night: str) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """(id, code) of the dead letters in Parquet and in the table."""
        listed = [row for part in self.manifest(night)["dead_letters"] for row in self._part(part["path"])]
        found = query(f"SELECT * FROM `{self.scores}__dead_letters` WHERE logical_date = '{night}'")
        assert len(listed) == len(found)
        return {(row["id"], row["code"]) for row in listed}, {(row["id"], row["code"]) for row in found}

    def _part(self, path: str) -> list[dict[str, Any]]:
        return pq.ParquetFile(self.output / path).read().to_pylist()  # type: ignore[no-any-return]

    @staticmethod
    def _rows(rows: list[dict[str, Any]]) -> Rows:
        found: Rows = {}
        for row in rows:
            assert row["id"] not in found, "a row stands there twice"
            assert len(row["probabilities"]) == 3
            assert row["probabilities"][0]["probability"] == pytest.approx(row["probability"], abs=1e-6)
            found[row["id"]] = (row["label"], row["probability"], row["text_hash"], row["logical_date"].isoformat())
        return found

    def assert_holds(self, *nights: str) -> None:
        """Each night is there once, in both places, and nothing besides."""
        for night in nights:
            expected = self.plain(night)
            assert self.parquet(night) == expected
            assert self.table(night) == expected
            dead = {(f"bad{NIGHTS.index(night)}", "missing_text"), ("r7", "duplicate_id")}
            assert self.dead(night) == (dead, dead)
        manifests = {night: self.manifest(night) for night in nights}
        published = query(f"SELECT * FROM `{self.scores}__published` ORDER BY logical_date")
        assert [(row["logical_date"].isoformat(), row["sequence"], row["run_id"]) for row in published] == [
            (night, manifests[night]["sequence"], manifests[night]["run_id"]) for night in sorted(nights)
        ]
        dates = query(f"SELECT DISTINCT logical_date FROM `{self.scores}`")
        assert {row["logical_date"].isoformat() for row in dates} == set(nights)
        left = [table for table in tables(self.scores.rsplit(".", 1)[0]) if "staging" in table]
        assert left == []
        assert all(manifest["finished"] for manifest in manifests.values())


def query(sql: str) -> list[dict[str, Any]]:
    with bigquery.Client() as client:
        return [dict(row) for row in client.query(sql).result()]


def tables(dataset: str) -> list[str]:
    with bigquery.Client() as client:
        return [table.table_id for table in client.list_tables(dataset)]


@pytest.fixture
def place(cloud: Emulators, dataset: str, bucket_folder: str, tmp_path: Path, classes: Built) -> Place:
    return place_of(dataset, bucket_folder, tmp_path, classes)


@pytest.fixture(scope="module")
def scored(running_emulators: Emulators, tmp_path_factory: pytest.TempPathFactory, classes: Built) -> Iterator[Place]:
    """A place where a night is published. Each test that kills a run publishes it once more."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running_emulators.environment.items():
            patch.setenv(name, value)
        with empty_dataset(running_emulators.project) as dataset:
            bucket_folder = f"gs://{running_emulators.bucket}/{dataset}"
            place = place_of(dataset, bucket_folder, tmp_path_factory.mktemp("nights"), classes)
            place.score(NIGHTS[1])
            yield place


def place_of(dataset: str, bucket_folder: str, folder: Path, classes: Built) -> Place:
    """A table with the texts of all nights, and a job file."""
    schema = [("id", "STRING"), ("text", "STRING"), ("day", "DATE"), ("price", "INT64")]
    with bigquery.Client() as client:
        client.create_table(bigquery.Table(f"{dataset}.texts", [bigquery.SchemaField(*field) for field in schema]))
        for night in NIGHTS:
            assert client.insert_rows_json(f"{dataset}.texts", texts_of(night)) == []
    output = folder / "scored"
    job = folder / "nightly.yaml"
    settings: dict[str, Any] = {
        "bundle": str(classes.path),
        "input": f"bq://{dataset}.texts",
        "input_filter": "day = '{date}'",
        "output": [str(output), f"bq://{dataset}.scores"],
        "staging": f"{bucket_folder}/staging",
        "dead_letters_table": True,
        "max_dead_fraction": 0.1,
    }
    job.write_text(yaml.safe_dump(settings))
    return Place(job=job, output=output, scores=f"{dataset}.scores", built=classes)


def test_night_after_night_each_row_is_there_once(place: Place) -> None:
    first = place.score(NIGHTS[2], "--keep-text-digests")
    place.assert_holds(NIGHTS[2])
    second = place.score(NIGHTS[3], "--only-new")
    place.assert_holds(NIGHTS[2], NIGHTS[3])
    # Of night 3, rows 0, 1 and new0, new1 are as the night before; row 2 has changed and new2 is new.
    assert second["counts"]["scored"] == 2
    assert second["counts"]["skipped"] == len(place.plain(NIGHTS[3])) - 2
    again = place.score(NIGHTS[2])
    assert (again["sequence"], again["counts"]) == (2, first["counts"])
    place.assert_holds(NIGHTS[2], NIGHTS[3])
    place.run("backfill", "--job", str(place.job), "--from", NIGHTS[0], "--to", NIGHTS[2])
    place.assert_holds(*NIGHTS)
    # The one that was there was left alone.
    assert place.manifest(NIGHTS[2]) == again
    place.score(NIGHTS[2], "--if-published", "skip", code=99)
    shown = place.run("runs", "--output", str(place.output))
    assert [night in shown for night in NIGHTS] == [True] * 4


@pytest.mark.parametrize("point", ["before write_session", "after write_session", "after record_read"])
def test_a_run_killed_while_it_reads_a_table_is_gone_on_with(scored: Place, point: str) -> None:
    old = scored.manifest(NIGHTS[1])
    scored.score(NIGHTS[1], "--top-k", "3", code=-signal.SIGKILL, **{VARIABLE: point})
    assert scored.manifest(NIGHTS[1]) == old
    scored.assert_holds(NIGHTS[1])
    assert scored.score(NIGHTS[1], "--top-k", "3")["sequence"] == old["sequence"] + 1
    scored.assert_holds(NIGHTS[1])


@pytest.mark.parametrize("step", ["load", "commit", "replace_rows", "drop_staging", "finish"])
def test_a_run_killed_while_it_publishes_to_a_table_is_finished(scored: Place, step: str) -> None:
    scored.score(NIGHTS[1], code=-signal.SIGKILL, **{VARIABLE: f"before {step}"})
    scored.score(NIGHTS[1])
    scored.assert_holds(NIGHTS[1])


def test_nights_that_ran_at_once_are_both_there(place: Place) -> None:
    command = ["backfill", "--job", str(place.job), "--from", NIGHTS[0], "--to", NIGHTS[1], "--max-parallel", "2"]
    place.run(command[0], *command[1:])
    place.assert_holds(NIGHTS[0], NIGHTS[1])
    assert dt.date.fromisoformat(place.manifest(NIGHTS[0])["logical_date"]) == dt.date(2026, 11, 18)
