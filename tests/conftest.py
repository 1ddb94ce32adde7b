"""Bundles built the real way (TF Transform, Keras, export), and a way to run a job and look at what it left."""

import datetime as dt
import json
import os
import signal
import string
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from bigquery_proxy import BigQueryProxy, bigquery_proxy
from emulators import Emulators, emulators
from fake_gcs import FakeGcs
from storage_proxy import StorageProxy
from table_publishing import Place

from model.bundle import Bundle, seal
from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.serving.scoring_graph import PRECISIONS, ScoringGraph
from model.tokenizer.tokenization import SPECIAL_TOKENS, TokenizerSpec
from pipeline.jobs.config import JobConfig
from pipeline.scoring import score
from transforms.featurize.fit import FitPreprocessing, training_batch
from transforms.featurize.preprocessing import Preprocessing
from transforms.runs.verdict_record import Verdict

DATE = "2026-11-21"
NOW = dt.datetime(2026, 11, 22, 2, 0, tzinfo=dt.UTC)
WORDS = [
    "the",
    "a",
    "to",
    "of",
    "in",
    "for",
    "add",
    "play",
    "book",
    "rate",
    "weather",
    "song",
    "restaurant",
    "album",
    "playlist",
    "movie",
    "what",
    "is",
    "me",
    "my",
    "on",
    "at",
]


@dataclass(frozen=True, kw_only=True)
class Built:
    """A bundle and the Keras classifier it was made from."""

    path: Path
    classifier: BertClassifier
    vocabulary: Path
    spec: TokenizerSpec

    @property
    def bundle(self) -> Bundle:
        return Bundle.describe(self.path)


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Characters, their continuations and a few words: enough for any English text without many [UNK]."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = [*SPECIAL_TOKENS, *characters, *("##" + c for c in string.ascii_lowercase + string.digits), *WORDS[2:]]
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(dict.fromkeys(tokens)) + "\n", encoding="utf-8")
    return path


def build_bundle(
    path: Path,
    vocabulary: Path,
    *,
    labels: tuple[str, ...],
    seed: int = 7,
    max_tokens: int = 64,
    name: str = "test",
    **tokenizer: Any,
) -> Built:
    """A classifier with random but lively weights (a regressor without labels), fitted and exported for real."""
    import tf_keras

    task = "classification" if labels else "regression"
    spec = TokenizerSpec(max_tokens=max_tokens, **tokenizer)
    texts = [f"play song {i}" for i in range(max(2, len(labels)))]
    # The label vocabulary is sorted by frequency: repeat earlier labels more often, and the order is that of `labels`.
    targets: list[Any] = list(labels) or [0.5, 1.5]
    repeat = range(len(targets), 0, -1)
    texts = [text for text, n in zip(texts, repeat, strict=False) for _ in range(n)]
    targets = [target for target, n in zip(targets, repeat, strict=False) for _ in range(n)]
    keys = pa.array([str(i) for i in range(len(texts))])
    pairs = pa.array(texts) if spec.segments == 2 else None
    batch = training_batch(pa.array(texts), pa.array(targets), keys, task, pairs)
    path.mkdir(parents=True)
    fit = FitPreprocessing(Preprocessing(vocabulary=vocabulary, tokenizer=spec, task=task))
    with (
        beam.Pipeline(runner=FnApiRunner()) as p,
        tft_beam.Context(temp_dir=str(path.parent / f"{path.name}-temp"), passthrough_keys={"row_key"}),
    ):
        p | beam.Create([batch]) | fit | tft_beam.WriteTransformFn(str(path))
    tf_keras.utils.set_random_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary.read_text().split("\n")) - 1,
        hidden_size=32,
        num_layers=2,
        num_attention_heads=2,
        inner_dim=64,
        max_sequence_length=max_tokens,
        initializer_range=0.3,
    )
    classifier = build_classifier(config, max(1, len(labels)))
    ScoringGraph.from_classifier(classifier, config).export(path / "scoring")
    description = {
        "name": name,
        "task": task,
        "labels": list(labels),
        "max_tokens": max_tokens,
        "tokenizer": spec.described,
        "segments": spec.segments,
        "model": config.to_dict(),
        "precisions": list(PRECISIONS),
        **{key: {} for key in ("quality", "baseline", "origin", "versions")},
        "created": "2026-11-01T00:00:00+00:00",
    }
    seal(path, description)
    return Built(path=path, classifier=classifier, vocabulary=vocabulary, spec=spec)


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Built:
    """A classifier with three labels."""
    return build_bundle(tmp_path_factory.mktemp("bundles") / "classes", vocabulary, labels=("play", "book", "rate"))


@pytest.fixture(scope="session")
def regression(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Built:
    """A regressor."""
    return build_bundle(tmp_path_factory.mktemp("bundles") / "regression", vocabulary, labels=())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job left behind."""

    verdict: Verdict
    output: Path
    date: str = DATE

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.output / f"dt={self.date}" / "_manifest.json").read_bytes())

    def rows(self) -> list[dict[str, Any]]:
        """The published rows, as a reader of the manifest sees them."""
        return self._read("files")

    def dead(self) -> list[dict[str, Any]]:
        """The published dead letters."""
        return self._read("dead_letters")

    def codes(self) -> dict[str | None, str]:
        """id -> code of the dead letters."""
        return {row["id"]: row["code"] for row in self.dead()}

    def _read(self, key: str) -> list[dict[str, Any]]:
        return [
            row for part in self.manifest[key] for row in pq.ParquetFile(self.output / part["path"]).read().to_pylist()
        ]


Score = Callable[..., Outcome]


@pytest.fixture
def run_job(tmp_path: Path, classes: Built) -> Score:
    """Runs `score` on FnApiRunner; hostile rows are allowed unless the test says otherwise."""

    def run(input: Any, *, output: Path = tmp_path / "out", now: dt.datetime = NOW, **settings: Any) -> Outcome:
        job = {"bundle": str(classes.path), "date": DATE, "max_dead_fraction": 1.0, **settings}
        paths = [str(path) for path in input] if isinstance(input, list) else str(input)
        verdict = score(JobConfig(input=paths, output=str(output), **job), now=now)
        return Outcome(verdict=verdict, output=output)

    return run


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeGcs]:
    """A server with the bucket `bucket`; retries do not wait; bundles are kept in a temporary folder of the test."""
    fast = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
    monkeypatch.setattr("google.api_core.retry.retry_unary.time", fast)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with FakeGcs() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def running_emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """The emulators of BigQuery and Cloud Storage; fails where they do not start."""
    with emulators(tmp_path_factory.mktemp("emulators")) as running:
        yield running


@pytest.fixture
def cloud(running_emulators: Emulators, monkeypatch: pytest.MonkeyPatch) -> Emulators:
    """Google's clients of this process, and of processes it starts, talk to the emulators."""
    for name, value in running_emulators.environment.items():
        monkeypatch.setenv(name, value)
    return running_emulators


@pytest.fixture
def dataset(cloud: Emulators) -> Iterator[str]:
    """An empty BigQuery dataset of this test alone, as `project.dataset`."""
    from google.cloud import bigquery

    name = f"{cloud.project}.t_{uuid.uuid4().hex[:12]}"
    with bigquery.Client(project=cloud.project) as client:
        client.create_dataset(name)
        yield name
        client.delete_dataset(name, delete_contents=True, not_found_ok=True)


@pytest.fixture
def bucket_folder(cloud: Emulators) -> str:
    """A gs:// folder of this test alone on the storage emulator (which ignores preconditions)."""
    return f"gs://{cloud.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def proxy(cloud: Emulators, monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryProxy]:
    """Every request of ours to BigQuery passes it; nobody waits between two tries."""
    fast = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
    monkeypatch.setattr("google.api_core.retry.retry_unary.time", fast)
    monkeypatch.setattr("transforms.publish.table_commit.LONGEST_PAUSE", 0.0)
    with bigquery_proxy(cloud.environment["BIGQUERY_EMULATOR_HOST"]) as running:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", running.url)
        yield running


@pytest.fixture(params=["local", "gs"])
def place(request: pytest.FixtureRequest, dataset: str, bucket_folder: str, tmp_path: Path) -> Place:
    """A table beside a local folder, and a table alone."""
    if request.param == "gs":
        return Place(home=bucket_folder, table=f"{dataset}.scores")
    return Place(home=str(tmp_path / "out"), table=f"{dataset}.scores", staging=bucket_folder)


@pytest.fixture(params=["local", "gs"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An output folder of each store."""
    if request.param == "local":
        return str(tmp_path / "out")
    request.getfixturevalue("gcs")
    return "gs://bucket/out"


def write_parquet(path: Path, rows: dict[str, Any] | pa.Table, **options: Any) -> Path:
    """Writes columns as a Parquet file."""
    table = rows if isinstance(rows, pa.Table) else pa.table(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def many_texts(count: int, seed: int = 0) -> list[str]:
    """Distinct texts of 1 to 12 words."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 12))) + f" {i}" for i in range(count)]


@pytest.fixture
def two_minutes() -> Iterator[None]:
    """A test that takes longer fails: gRPC would wait for ever."""

    def end(*_: object) -> None:
        raise TimeoutError("the test takes longer than two minutes")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def storage_proxy(cloud: Emulators, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageProxy]:
    """Where the Storage Read API of this test is."""
    with StorageProxy(cloud.environment["BIGQUERY_STORAGE_EMULATOR_HOST"]) as running:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", running.address)
        yield running
