"""Two texts a row: packing, the whole pipeline against a plain loop, training."""

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bundles import Built, build_bundle
from support.commands import DATA
from support.jobs import Score, many_texts, prepared, write_parquet
from support.plain_loops import ADVERSARIAL
from support.plain_pairs import SETTINGS, TRUNCATORS, plain_loop

from model.tokenizer.tokenization import SPECIAL_TOKENS, TokenizerSpec, pack
from pipeline.bundling.training import train
from pipeline.bundling.training_job import training_job
from pipeline.errors import ConfigError
from pipeline.jobs.config import JobConfig
from transforms.batches.fingerprints import text_hash
from transforms.batches.misfits import named
from transforms.batches.schemas import SOURCE, Columns, texts_schema
from transforms.featurize.examples import examples_schema, read_examples
from transforms.featurize.fit import MakeExamples, training_batch
from transforms.featurize.step import TransformGraph, featurize

PACKING = DATA / "oracle" / "text" / "packing.json"
COLUMNS = Columns(text="text", id="id", text_pair="text_pair")
CASES = [case for case in json.loads(PACKING.read_text()) if len(case["segments"]) <= 2]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Built:
    """A classifier of pairs that cuts many of them: Model Garden's texts, round robin."""
    path = tmp_path_factory.mktemp("bundles") / "pairs"
    return build_bundle(path, vocabulary, labels=("same", "other"), max_tokens=24, segments=2)


@pytest.fixture(scope="module")
def similarity(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Built:
    """A regressor of pairs: Hugging Face's texts, waterfall."""
    path = tmp_path_factory.mktemp("bundles") / "similarity"
    tokenizer = {"segments": 2, "flavour": "huggingface", "truncator": "waterfall"}
    return build_bundle(path, vocabulary, labels=(), max_tokens=24, **tokenizer)


def spec_for(truncator: str, max_tokens: int, segments: int) -> TokenizerSpec:
    return TokenizerSpec(truncator=truncator, max_tokens=max_tokens, segments=segments)


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{len(case['segments'])}-{case['truncator']}-{case['seq_length']}"
)
def test_packing_gives_the_tensors_of_the_reference(case: dict[str, Any]) -> None:
    pieces = [tf.ragged.constant(segment, tf.int32) for segment in case["segments"]]
    spec = spec_for(case["truncator"], case["seq_length"], len(pieces))
    tokens, first_segment, *_ = pack(pieces, spec, start=3, end=4)
    columns = tf.range(case["seq_length"])[tf.newaxis]
    mask = tf.sequence_mask(tokens.row_lengths(), case["seq_length"], tf.int32)
    found = {
        "input_word_ids": tokens.to_tensor(shape=[None, case["seq_length"]]),
        "input_mask": mask,
        "input_type_ids": mask * tf.cast(columns >= first_segment[:, tf.newaxis], tf.int32),
    }
    assert {name: tensor.numpy().tolist() for name, tensor in found.items()} == case["out"]


@pytest.mark.parametrize(
    ("truncator", "segments", "expected", "first_segment"),
    [
        ("round_robin", 1, [[1001, 11, 12, 1002], [1001, 21, 22, 23, 24, 25, 26, 27, 28, 1002]], [4, 10]),
        ("waterfall", 1, [[1001, 11, 12, 1002], [1001, 21, 22, 23, 24, 25, 26, 27, 28, 1002]], [4, 10]),
        (
            "round_robin",
            2,
            [[1001, 11, 12, 1002, 31, 32, 33, 1002], [1001, 21, 22, 23, 24, 1002, 41, 42, 43, 1002]],
            [4, 6],
        ),
        (
            "waterfall",
            2,
            [[1001, 11, 12, 1002, 31, 32, 33, 1002], [1001, 21, 22, 23, 24, 25, 26, 27, 1002, 1002]],
            [4, 9],
        ),
    ],
)
def test_packing_at_the_sizes_of_the_reference_test(
    truncator: str, segments: int, expected: list[list[int]], first_segment: list[int]
) -> None:
    """Ten places, 1001 and 1002 around the segments, as in BertPackInputsTest (semantics document, section 4)."""
    first = tf.ragged.constant([[11, 12], list(range(21, 30))], tf.int32)
    second = tf.ragged.constant([[31, 32, 33], list(range(41, 49))], tf.int32)
    packed = pack([first, second][:segments], spec_for(truncator, 10, segments), start=1001, end=1002)
    assert packed.tokens.to_list() == expected
    assert packed.first_segment.numpy().tolist() == first_segment
    assert packed.truncated.numpy().tolist() == [False, True]


@pytest.mark.parametrize("truncator", TRUNCATORS)
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1), max_tokens=st.integers(3, 20))
def test_a_pair_is_cut_as_the_trimmers_of_tensorflow_text_cut_it(
    truncator: str, lengths: list[tuple[int, int]], max_tokens: int
) -> None:
    segments = [tf.RaggedTensor.from_row_lengths(tf.range(sum(part)), part) for part in zip(*lengths, strict=True)]
    tokens, first_segment, truncated, _ = pack(segments, spec_for(truncator, max_tokens, 2), start=-1, end=-2)
    first, second = (part.to_list() for part in TRUNCATORS[truncator](max_tokens - 3).trim(segments))
    expected = [[-1, *a, -2, *b, -2] for a, b in zip(first, second, strict=True)]
    assert tokens.to_list() == expected
    assert first_segment.numpy().tolist() == [len(a) + 2 for a in first]
    assert truncated.numpy().tolist() == [sum(pair) > max_tokens - 3 for pair in lengths]


def all_pairs() -> list[tuple[str, str]]:
    texts = [*ADVERSARIAL, *many_texts(60)]
    pairs = [*zip(texts, reversed(texts), strict=True), *zip(texts, texts[7:], strict=False)]
    # A text in either place, and with its neighbour's end: only the type ids tell these apart.
    return [*pairs, ("play song", "me"), ("play", "song me"), ("me", "play song")]


def pair_file(path: Path) -> Path:
    first, second = zip(*all_pairs(), strict=True)
    return write_parquet(path, {"id": [str(i) for i in range(len(first))], "text": first, "other": second})


@pytest.mark.slow
def test_probabilities_of_pairs_equal_those_of_a_plain_loop(run_job: Score, pairs: Built, tmp_path: Path) -> None:
    outcome = run_job(pair_file(tmp_path / "in.parquet"), bundle=str(pairs.path), **SETTINGS)
    rows = {int(row["id"]): row for row in outcome.rows()}
    texts = all_pairs()
    assert rows.keys() == set(range(len(texts)))
    expected = tf.nn.softmax(plain_loop(pairs, texts)).numpy()
    labels = pairs.bundle.labels
    found = [[{p["label"]: p["probability"] for p in rows[i]["probabilities"]}[name] for name in labels] for i in rows]
    assert expected.max() - expected.min() > 0.3, "a model that always says the same would prove nothing"
    assert np.abs(np.array(found) - expected[list(rows)]).max() <= 1e-5
    assert {row["truncated"] for row in rows.values()} == {True, False}
    assert "other" not in rows[0]
    hashes = text_hash(pa.array([a for a, _ in texts]), pa.array([b for _, b in texts])).to_pylist()
    assert [rows[i]["text_hash"] for i in range(len(texts))] == hashes


@pytest.mark.slow
def test_values_of_pairs_equal_those_of_a_plain_loop(run_job: Score, similarity: Built, tmp_path: Path) -> None:
    outcome = run_job(pair_file(tmp_path / "in.parquet"), bundle=str(similarity.path), **SETTINGS)
    rows = {int(row["id"]): row for row in outcome.rows()}
    expected = plain_loop(similarity, all_pairs())[:, 0]
    assert np.ptp(expected) > 0.5
    assert np.abs(np.array([rows[i]["value"] for i in range(len(expected))]) - expected).max() <= 1e-5
    assert rows[len(expected) - 3]["value"] != rows[len(expected) - 2]["value"]


def test_trap_6_the_second_text_keeps_its_type_and_a_token_with_id_0_is_seen(run_job: Score, tmp_path: Path) -> None:
    # No rule puts [PAD] first: here a word has the id 0, which serving of the Model Garden would mask.
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["song", *SPECIAL_TOKENS, "play", "me", "a"]) + "\n")
    built = build_bundle(tmp_path / "b", vocabulary, labels=("same", "other"), max_tokens=12, segments=2)
    texts = [("play a song", "song me"), ("song", "song"), ("me", "play song a")]
    first, second = zip(*texts, strict=True)
    file = write_parquet(tmp_path / "in.parquet", {"id": ["0", "1", "2"], "text": first, "other": second})
    rows = sorted(run_job(file, bundle=str(built.path), **SETTINGS).rows(), key=lambda row: row["id"])
    found = np.array([{p["label"]: p["probability"] for p in row["probabilities"]}["same"] for row in rows])
    assert np.abs(found - tf.nn.softmax(plain_loop(built, texts))[:, 0]).max() <= 1e-5
    assert np.abs(found - tf.nn.softmax(plain_loop(built, texts, no_types=True))[:, 0]).max() > 0.01
    assert np.abs(found - tf.nn.softmax(plain_loop(built, texts, mask_zero=True))[:, 0]).max() > 0.01


def test_a_pair_with_half_of_it_missing_is_a_dead_letter(run_job: Score, pairs: Built, tmp_path: Path) -> None:
    lines = [{"id": "a", "text": "x", "other": "y"}, {"id": "b", "text": "x"}, {"id": "c", "text": "x", "other": " "}]
    lines += [{"id": "d", "text": None, "other": "y"}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    outcome = run_job(tmp_path / "in.jsonl", bundle=str(pairs.path), **SETTINGS)
    assert [row["id"] for row in outcome.rows()] == ["a"]
    assert outcome.codes() == {"b": "missing_text", "c": "blank_text", "d": "missing_text"}
    assert {row["id"]: row["reason"] for row in outcome.dead()}["c"] == "the text_pair is empty or only white space"


def test_a_bundle_of_pairs_wants_two_columns_and_one_of_texts_wants_one(
    classes: Built, pairs: Built, tmp_path: Path
) -> None:
    import datetime as dt

    def job(built: Built, **given: str) -> JobConfig:
        return JobConfig(bundle=str(built.path), input=str(file), output=str(tmp_path / "out"), **given)

    file, now = pair_file(tmp_path / "in.parquet"), dt.datetime.now(dt.UTC)
    with pytest.raises(ConfigError, match="scores pairs of texts; name the column of the second text with --text-pair"):
        prepared(job(pairs), now)
    with pytest.raises(ConfigError, match=r"--text-pair-column 'other': .* scores single texts; leave the flag out"):
        prepared(job(classes, **SETTINGS), now)
    assert prepared(job(pairs, **SETTINGS), now).plan.columns.text_pair == "other"


def test_featurize_equals_transform_dataset_on_pairs(pairs: Built, tmp_path: Path) -> None:
    texts = all_pairs()
    first, second = (pa.array(column, pa.string()) for column in zip(*texts, strict=True))
    count = len(texts)
    source = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(["file"])).cast(SOURCE)
    keys = pa.array([f"{i:05d}" for i in range(count)])
    place = [source, pa.array([0] * count, pa.int32()), pa.array(range(count), pa.int64()), named(count, {})]
    columns = [keys, first, second, *place, text_hash(first, second)]
    batch = pa.RecordBatch.from_arrays(columns, schema=texts_schema(COLUMNS))
    tokens, dead = featurize(batch, TransformGraph(str(pairs.path), segments=2), COLUMNS)
    assert dead is None
    training = training_batch(first, pa.array(["same"] * count), keys, "classification", second)
    with (
        beam.Pipeline(runner=FnApiRunner()) as p,
        tft_beam.Context(temp_dir=str(tmp_path / "tft"), passthrough_keys={"row_key"}),
    ):
        graph = p | tft_beam.ReadTransformFn(str(pairs.path))
        made = p | beam.Create([training]) | MakeExamples("classification", graph, segments=2)
        tables = made | beam.Map(lambda batch: pa.Table.from_batches([batch]))
        tables | beam.io.WriteToParquetBatched(str(tmp_path / "examples"), examples_schema("classification"))
    examples, *_ = read_examples(str(tmp_path / "examples*"), "classification", tmp_path / "tokens")
    assert tokens.column("tokens").flatten().to_pylist() == examples.tokens[:].tolist()
    assert tokens.column("tokens").value_lengths().to_pylist() == examples.lengths.tolist()
    assert tokens.column("first_segment").to_pylist() == examples.first_segment.tolist()


def synthetic(count: int) -> dict[str, list[Any]]:
    """Two words each; 5 times the share of words the texts have in common, which no single text tells."""
    generator = np.random.default_rng(0)
    words = generator.integers(0, 4, (count, 2))
    names = np.array(["red", "blue", "green", "black"])
    same = words[:, 0] == words[:, 1]
    rows = {"first": names[words[:, 0]].tolist(), "other": names[words[:, 1]].tolist()}
    return {**rows, "id": list(map(str, range(count))), "score": (5.0 * same).tolist(), "kind": same.tolist()}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_pairs_are_learned_and_scored(run_job: Score, tmp_path: Path, task: str) -> None:
    rows = synthetic(1_200)
    file = write_parquet(tmp_path / "train.parquet", rows)
    columns = {"text_column": "first", "text_pair_column": "other", "id_column": "id"}
    label = "kind" if task == "classification" else "score"
    given = {"output": str(tmp_path / "b"), "name": "n", "max_tokens": 16, "vocabulary_size": 200, "task": task}
    # A network without an encoder stands still for a while before it finds out what the two texts have in common.
    given |= {"label_column": label, "epochs": 12, "patience": 12, "truncator": "waterfall", "learning_rate": 1e-3}
    trained = train(training_job({**given, **columns, "input": [str(file)]}))
    bundle = trained.bundle
    assert bundle.segments == 2
    assert bundle.tokenizer == {"flavour": "model_garden", "lower_case": True, "truncator": "waterfall"}
    measured = bundle.quality["validation"]
    outcome = run_job(file, bundle=str(bundle.path), keep=label, **columns)
    if task == "classification":
        assert measured["accuracy"] == measured["macro_f1"] == 1.0
        assert all(row["label"] == str(row["kind"]).lower() for row in outcome.rows())
    else:
        assert measured["pearson"] > 0.95
        assert {"spearman", "rmse"} <= measured.keys()
        assert np.sqrt(np.mean([(row["value"] - row["score"]) ** 2 for row in outcome.rows()])) < 1.0
