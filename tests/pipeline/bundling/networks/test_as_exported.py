"""A SavedModel of any network scores through import and whole jobs as its maker's function does, or is refused."""

import datetime as dt
import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from support.checkpoints.exports import (
    CASES,
    SCORED,
    VOCABULARY,
    Case,
    Clamped,
    Inverted,
    OneHot,
    Tiny,
    by_chance,
    by_place,
    by_xla,
    constant,
    counts_its_calls,
    edit,
    for_each_token,
    in_a_batch_of_one,
    mean_with_padding,
    over_the_batch,
    partly_masked,
    reads_a_file,
    sees_its_neighbour,
    sigmoid,
    softmax,
    stored_case,
    write_export,
    write_words,
)
from support.checkpoints.imports import EXPORT, job, probabilities
from support.commands import DATA, invoke
from support.jobs import Score, write_parquet

from model.bundle import AS_EXPORTED, FUSED, Bundle
from pipeline.bundling.importing import import_model
from pipeline.errors import ConfigError, RunFailedError
from pipeline.jobs.bundle import check_precision
from transforms.featurize.step import TransformGraph
from transforms.score import macro_batch
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.chips import Chip
from transforms.score.engines.choice import Place, choose, choose_fastest, load_scorer
from transforms.score.engines.tensorflow_scorer import TensorFlowScorer
from transforms.score.macro_batch import Ragged, score_rows

REASONS = {
    "trap_padding_mean": "the scores of a row depend on how far it is padded",
    "trap_padding_mobilebert": "scores otherwise without padding than with one or more [PAD] behind it",
    "trap_rows_batchnorm": "the rows of a batch change each other's scores",
    "trap_random_dropout": "the same rows score differently each time",
}
FAST = ("albert_list", "softmax_garden", "fixed_length")
"""Those whose graphs are loaded in a second or two."""
CPU = Device(kind="cpu")
GPU = Place(device=Device(kind="gpu", memory=80 << 30), chip=Chip(kind="gpu", name="a GPU"))
Imported = Callable[[str], Bundle]


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """The bundles of the stored cases, each imported once, for pairs."""

    @functools.cache
    def imported(name: str) -> Bundle:
        case = stored_case(name)
        return import_model(job(case.path, tmp_path_factory.mktemp(name), max_tokens=18, **case.flags)).bundle

    return imported


def ragged(tokens: list[list[int]], first_segment: list[int]) -> Ragged:
    ends = np.cumsum([0, *map(len, tokens)])
    return Ragged(np.concatenate(tokens).astype(np.int32), ends, np.array(first_segment, np.int32))


def shown(case: Case) -> np.ndarray:
    """What a job shows of the maker's numbers."""
    return case.wanted if case.probabilities or not case.labels else np.asarray(tf.nn.softmax(case.wanted))


def slow_but(names: Iterable[str], fast: tuple[str, ...]) -> list[Any]:
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", slow_but(SCORED, FAST))
def test_every_row_of_a_stored_case_scores_as_its_makers_function_does(
    name: str, imports: Imported, run_job: Score, tmp_path: Path
) -> None:
    case, bundle = stored_case(name), imports(name)
    outputs = tf.saved_model.load(bundle.scoring).signatures["score"](
        tokens=tf.constant(np.concatenate(case.tokens), tf.int32),
        lengths=tf.constant([len(row) for row in case.tokens], tf.int32),
        first_segment=tf.constant(case.first_segment, tf.int32),
    )
    if case.probabilities:
        assert list(outputs) == ["probabilities"]
    else:
        np.testing.assert_allclose(outputs["logits"], case.wanted, rtol=0, atol=1e-5)
    # The whole way, from texts.
    rows = [i for i, texts in enumerate(case.texts) if len(texts) == 2]
    assert len(rows) >= 4
    texts = [np.array([case.texts[i][part].encode() for i in rows], object) for part in (0, 1)]
    tokens = TransformGraph(str(bundle.path), 2)(*texts)
    assert [row.tolist() for row in np.split(tokens.values, tokens.offsets[1:-1])] == [case.tokens[i] for i in rows]
    columns = {"id": [str(i) for i in range(len(rows))], "text": [case.texts[i][0] for i in rows]}
    file = write_parquet(tmp_path / "in.parquet", {**columns, "other": [case.texts[i][1] for i in rows]})
    scored = run_job(file, bundle=str(bundle.path), text_pair_column="other", max_dead_fraction=0.0)
    if case.labels:
        found = probabilities(scored.rows(), case.labels)
    else:
        values = {row["id"]: row["value"] for row in scored.rows()}
        found = np.array([[values[str(i)]] for i in range(len(rows))])
    np.testing.assert_allclose(found, shown(case)[rows], rtol=0, atol=1e-6 if case.labels else 1e-5)
    assert np.ptp(shown(case)[rows], axis=0).max() > 0.05
    assert (scored.manifest["graph"], scored.manifest["precision"]) == (AS_EXPORTED, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORED)
def test_single_texts_of_a_stored_case_score_as_its_makers_function_does(
    name: str, run_job: Score, tmp_path: Path
) -> None:
    case = stored_case(name)
    bundle = import_model(job(case.path, tmp_path, **{**case.flags, "segments": 1})).bundle
    rows = [i for i, texts in enumerate(case.texts) if len(texts) == 1]
    columns = {"id": [str(i) for i in range(len(rows))], "text": [case.texts[i][0] for i in rows]}
    scored = run_job(write_parquet(tmp_path / "in.parquet", columns), bundle=str(bundle.path), max_dead_fraction=0.0)
    if case.labels:
        found = probabilities(scored.rows(), case.labels)
    else:
        values = {row["id"]: row["value"] for row in scored.rows()}
        found = np.array([[values[str(i)]] for i in range(len(rows))])
    np.testing.assert_allclose(found, shown(case)[rows], rtol=0, atol=1e-6 if case.labels else 1e-5)


def test_every_trap_has_a_reason() -> None:
    assert REASONS.keys() == CASES.keys() - set(SCORED)


@pytest.mark.parametrize("name", slow_but(REASONS, ("trap_padding_mean",)))
def test_a_trap_is_refused_for_its_reason(name: str, tmp_path: Path) -> None:
    case = stored_case(name)
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in case.flags.items() if value is not True]
    output = tmp_path / "bundle"
    code, out, err = invoke("import", case.path, "--as-exported", *flags, "--name", "n", "--output", output)
    assert (code, out, err.count("\n"), REASONS[name] in err) == (2, "", 1, True), err
    assert not output.exists()


def test_a_bundle_says_whose_graph_it_has_and_keeps_the_proof_as_numbers(imports: Imported) -> None:
    bundle = imports("albert_list")
    assert (bundle.graph, bundle.engines, bundle.precisions) == (AS_EXPORTED, ("tensorflow",), ("float32",))
    assert bundle.model == {"vocab_size": 120, "max_sequence_length": 18}
    proof = bundle.quality["proof"]
    tried = ("again", "alone", "more_padding", "alone_padded", "another_batch", "reversed", "written")
    assert all(0 <= proof[name] <= 1e-5 for name in tried)
    assert (proof["rows"], proof["longest"], proof["tolerance"]) == (9, 18, 1e-5)
    assert bundle.origin["inputs"] == {"ids": "input_word_ids", "mask": "input_mask", "types": "input_type_ids"}
    assert (bundle.origin["output"], bundle.origin["outputs_are"]) == ("sentence_prediction", "logits")
    code, out, _ = invoke("inspect", bundle.path)
    assert (code, "graph" in out, "as exported" in out, "another_batch" in out) == (0, True, True, True)


def test_an_older_bundle_has_the_fused_graph() -> None:
    assert Bundle.describe(DATA / "bundles" / "regression").graph == FUSED


def test_the_precision_is_float32_on_a_gpu_too_and_another_one_is_refused(imports: Imported, tmp_path: Path) -> None:
    bundle = imports("albert_list")
    for place in (GPU, Place(device=CPU, chip=None), Place(device=None, chip=None)):
        for wanted in (None, "float32"):
            chosen = choose(bundle, wanted, place)
            assert (chosen.precision, chosen.engine) == ("float32", "tensorflow")
    assert choose_fastest(bundle, [], 0.01, GPU).precision == "float32"
    for precision in ("bfloat16", "float16", "int8"):
        with pytest.raises(ConfigError, match=f"--precision {precision}: .* network as exported, which TensorFlow"):
            check_precision(bundle, str(bundle.path), precision)
    command = ["score", "--bundle", bundle.path, "--input", "in", "--text-pair-column", "b", "--output", "out"]
    code, _, err = invoke(*command, "--date", "2026-11-21", "--precision", "bfloat16")
    assert (code, "network as exported" in err, err.count("\n")) == (2, True, 1)
    code, _, err = invoke(*command, "--date", "2026-11-21", "--embeddings", "float32")
    assert (code, "as its maker exported it; import a checkpoint" in err, err.count("\n")) == (2, True, 1), err
    rows = write_parquet(tmp_path / "in.parquet", {"id": ["1"], "text": ["a"], "b": ["b"]})
    for also in (["certify", bundle.path], ["quantize", bundle.path, "--output", tmp_path / "q"]):
        code, _, err = invoke(*also, "--input", rows, "--text-pair-column", "b")
        assert (code, "network as exported" in err, err.count("\n")) == (2, True, 1), err


def test_a_fixed_length_counts_in_every_row(imports: Imported) -> None:
    case, bundle = stored_case("fixed_length"), imports("fixed_length")
    assert bundle.model["fixed_length"] == 20
    proof = bundle.quality["proof"]
    assert (proof["alone"], proof["behind"] <= 1e-5) == (None, True)
    model = load_scorer(bundle, Compute(token_budget=60), CPU)
    lengths = np.array([len(row) for row in case.tokens])
    assert max(map(len, model.plan(lengths))) == 3
    assert model.shape(3, 5) == (3, 20)
    found = score_rows(ragged(case.tokens, case.first_segment), model)
    np.testing.assert_allclose(found.outputs, shown(case), rtol=0, atol=1e-6)
    assert (found.work.padded, found.work.tokens) == (9 * 20, int(lengths.sum()))


def test_a_genuine_export_scores_the_same_by_its_own_graph_as_by_the_fused_one(tmp_path: Path) -> None:
    """It has signatures of texts too, with a table that is filled from a file when it is loaded."""
    labels = {"labels": "bad,good,best", "lower_case": True}
    own = import_model(
        job(EXPORT, tmp_path, output=str(tmp_path / "own"), as_exported=True, outputs_are="logits", **labels)
    )
    fused = import_model(job(EXPORT, tmp_path, output=str(tmp_path / "fused"), **labels))
    assert (own.bundle.graph, fused.bundle.graph) == (AS_EXPORTED, FUSED)
    assert (own.bundle.tokenizer, own.bundle.max_tokens) == (fused.bundle.tokenizer, fused.bundle.max_tokens)
    rows = [[2, 7, 9, 3], [2, 11, 3], [2, 8, 8, 8, 8, 3]]
    np.testing.assert_allclose(scored(own.bundle, rows), scored(fused.bundle, rows), rtol=0, atol=1e-5)
    assert np.ptp(scored(own.bundle, rows), axis=0).max() > 0.05


# === Tiny networks in every form ===


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Bundle]:
    """Imports a tiny network, or raises what the import raises."""

    def imported(network: Tiny | None = None, flags: dict[str, Any] | None = None, **settings: Any) -> Bundle:
        vocabulary = write_words(tmp_path)
        path = write_export(tmp_path / "export", network, **settings)
        usual = {"as_exported": True, "vocabulary": str(vocabulary), "labels": "a,b,c", "outputs_are": "logits"}
        given = {key: value for key, value in {**usual, **(flags or {})}.items() if value is not None}
        return import_model(job(path, tmp_path, **given)).bundle

    return imported


ROWS = [[2, 7, 9, 3], [2, 59, 3], [2, *range(5, 45), 3], [2, 8, 8, 8, 8, 3]]


def plain(network: Tiny, rows: list[list[int]], types: bool = False) -> np.ndarray:
    """Each row alone, without padding, by the network itself."""
    found = []
    for row in rows:
        ids = tf.constant([row], tf.int32)
        found.append(network(ids, tf.ones_like(ids), tf.ones_like(ids) if types else tf.zeros_like(ids)).numpy()[0])
    return np.array(found)


def scored(bundle: Bundle, rows: list[list[int]], name: str = "logits") -> np.ndarray:
    flat = ragged(rows, [len(row) for row in rows])
    score = tf.saved_model.load(bundle.scoring).signatures["score"]
    lengths = tf.constant(np.diff(flat.offsets), tf.int32)
    found = score(tokens=tf.constant(flat.values), lengths=lengths, first_segment=tf.constant(flat.first_segment))
    return np.asarray(found[name])


FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "int64": ({"types": dict.fromkeys(("ids", "mask", "types"), tf.int64)}, {}),
    "a mask of floats": ({"types": {"mask": tf.float32}}, {}),
    "other names": (
        {"names": {"mask": "a", "types": "b", "ids": "c"}},
        {"inputs": "ids=c,mask=a,types=b"},
    ),
    "names of transformers": ({"names": {"ids": "input_ids", "mask": "attention_mask", "types": "token_type_ids"}}, {}),
    "no types": ({"names": {"ids": "input_ids", "mask": "attention_mask"}}, {}),
    "ids alone": ({"names": {"ids": "input_word_ids"}}, {}),
    "a name that says logits": ({"output": "logits"}, {"outputs_are": None}),
    "one of two outputs": ({"more": lambda found: {"b": -found}}, {"outputs_are": "scores=logits"}),
    "another signature": ({"signature": "mine"}, {"signature": "mine"}),
}


@pytest.mark.parametrize("form", slow_but(FORMS, ("int64", "other names", "no types", "ids alone")))
def test_every_form_of_signature_gives_what_the_network_gives(form: str, tiny: Callable[..., Bundle]) -> None:
    settings, flags = FORMS[form]
    bundle = tiny(None, flags, **settings)
    assert bundle.max_tokens == 48
    np.testing.assert_allclose(scored(bundle, ROWS), plain(Tiny(), ROWS), rtol=0, atol=1e-5)


def test_a_value_may_be_a_number_a_row_without_a_second_axis(tiny: Callable[..., Bundle]) -> None:
    network = Tiny(1, logits=lambda it, rows, mask: it.sound(rows, mask)[:, 0])
    bundle = tiny(network, {"labels": None})
    assert (bundle.task, bundle.activation) == ("regression", "none")
    np.testing.assert_allclose(scored(bundle, ROWS, "value"), plain(Tiny(1), ROWS)[:, 0], rtol=0, atol=1e-5)


def test_long_texts_have_windows_here_too(tiny: Callable[..., Bundle], run_job: Score, tmp_path: Path) -> None:
    bundle = tiny(None, {"long_texts": "windows", "max_tokens": 8})
    words = (tmp_path / "vocab.txt").read_text().split()[8:28]
    file = write_parquet(tmp_path / "in.parquet", {"id": ["long", "short"], "text": [" ".join(words), words[0]]})
    found = {row["id"]: row for row in run_job(file, bundle=str(bundle.path)).rows()}
    ids = [[2, *range(8 + start, 8 + min(start + 6, 20)), 3] for start in range(0, 20, 6)]
    for name, windows in (("long", ids), ("short", [[2, 8, 3]])):
        expected = tf.nn.softmax(plain(Tiny(), windows).mean(axis=0)).numpy()
        by_label = {entry["label"]: entry["probability"] for entry in found[name]["probabilities"]}
        np.testing.assert_allclose([by_label[label] for label in bundle.labels], expected, rtol=0, atol=1e-5)
        assert found[name]["windows"] == len(windows)


def test_probabilities_are_taken_as_they_are_of_every_task(tiny: Callable[..., Bundle], tmp_path: Path) -> None:
    wanted = plain(Tiny(), ROWS)
    for logits, task, activation in ((softmax, None, "softmax"), (sigmoid, "multilabel", "sigmoid")):
        bundle = tiny(
            Tiny(logits=logits),
            {"outputs_are": "probabilities", "task": task, "output": str(tmp_path / activation)},
        )
        function = tf.nn.softmax if activation == "softmax" else tf.sigmoid
        assert bundle.activation == activation
        np.testing.assert_allclose(scored(bundle, ROWS, "probabilities"), function(wanted), rtol=0, atol=1e-6)
    one = tiny(Tiny(1, logits=sigmoid), {"outputs_are": "probabilities", "labels": None, "output": str(tmp_path / "v")})
    assert (one.task, one.activation) == ("regression", "sigmoid")
    np.testing.assert_allclose(scored(one, ROWS, "value"), tf.sigmoid(plain(Tiny(1), ROWS)[:, 0]), rtol=0, atol=1e-6)


def nan_weights() -> Tiny:
    network = Tiny()
    network.words.assign(np.where(np.arange(VOCABULARY)[:, None] == 33, np.nan, network.words.numpy()))
    return network


def infinite_scores(network: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return network.sound(rows, mask) / tf.zeros([])


def attention(network: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """A softmax over all places, which is even where the mask has none."""
    weights = tf.nn.softmax(tf.reduce_sum(rows, -1, keepdims=True) - 1e4 * (1 - mask), axis=1)
    return tf.reduce_sum(rows * weights, 1) @ network.head


REFUSED: dict[str, tuple[Callable[[], Tiny | None], dict[str, Any], dict[str, Any], str]] = {
    "padding in the mean": (lambda: Tiny(logits=mean_with_padding), {}, {}, "depend on how far it is padded"),
    "the neighbour": (lambda: Tiny(logits=sees_its_neighbour), {}, {}, "otherwise without padding than with one or"),
    "the batch": (lambda: Tiny(logits=over_the_batch), {}, {}, "the rows of a batch change each other's scores"),
    "the place": (lambda: Tiny(logits=by_place), {}, {}, "the rows of a batch change each other's scores"),
    "chance": (lambda: Tiny(logits=by_chance), {}, {}, "the same rows score differently each time"),
    "changed weights": (lambda: Tiny(logits=counts_its_calls), {}, {}, "changes its own weights while it scores"),
    "a file": (lambda: Tiny(logits=reads_a_file), {}, {}, "has the operation ReadFile, which does more than compute"),
    "tokens": (lambda: Tiny(logits=for_each_token), {}, {}, "none of them is a batch of numbers"),
    "NaN weights": (nan_weights, {}, {}, "its variable words has 8 of 480 weights that are NaN or infinite"),
    "infinite scores": (lambda: Tiny(logits=infinite_scores), {}, {}, "gives NaN or infinity for 9 of 9 rows"),
    "a small table": (lambda: Tiny(vocabulary=59), {}, {}, "does not score token 59 of the vocabulary, which has 60"),
    "a table that is cut to": (lambda: Clamped(vocabulary=50), {}, {}, "scores token 59, .* exactly like token 58"),
    "a table of one-hot vectors": (lambda: OneHot(vocabulary=59), {}, {}, "exactly like a number that no token has"),
    "no token counts": (lambda: Tiny(logits=constant), {}, {}, "scores rows of different tokens exactly alike"),
    "XLA": (lambda: Tiny(logits=by_xla), {}, {}, "is compiled by XLA"),
    "one row a batch": (lambda: Tiny(logits=in_a_batch_of_one), {}, {}, "ends in InvalidArgumentError for 3 rows"),
    "an inverted mask of a fixed length": (Inverted, {"length": 20}, {}, "gives NaN or infinity for 1 of 9 rows"),
    "a mask of a fixed length that counts padding": (
        lambda: Tiny(logits=partly_masked),
        {"length": 20},
        {},
        "other ids behind a row change its scores",
    ),
    "mask and types of a fixed length swapped": (
        lambda: Tiny(logits=attention),
        {"length": 20},
        {"inputs": "ids=input_word_ids,mask=input_type_ids,types=input_mask"},
        "other ids behind a row change its scores",
    ),
    "sigmoids that are called logits": (
        lambda: Tiny(logits=sigmoid),
        {"output": "logits"},
        {"outputs_are": None},
        "has only numbers from 0 to 1, as probabilities do",
    ),
    "lost names": (
        lambda: None,
        {"names": {"ids": "input_1", "mask": "input_2", "types": "input_3"}},
        {},
        "these names do not say which has the token ids",
    ),
    "a wrong name": (
        lambda: None,
        {},
        {"inputs": "ids=words,mask=input_mask,types=input_type_ids"},
        "has no input words",
    ),
    "mask and types swapped": (
        lambda: None,
        {},
        {"inputs": "ids=input_word_ids,mask=input_type_ids,types=input_mask"},
        "gives NaN or infinity|is padded|does not score",
    ),
    "unsaid outputs": (lambda: None, {}, {"outputs_are": None}, "may be logits or probabilities"),
    "a softmax that is called logits": (
        lambda: Tiny(logits=softmax),
        {"output": "logits"},
        {"outputs_are": None},
        "every row of its output logits adds up to 1, as probabilities do",
    ),
    "logits that are called probabilities": (
        lambda: None,
        {},
        {"outputs_are": "probabilities"},
        "which are no probabilities; give --outputs-are logits",
    ),
    "probabilities that do not add up": (
        lambda: Tiny(logits=sigmoid),
        {},
        {"outputs_are": "probabilities"},
        "in each row, not to 1; give --task multilabel",
    ),
    "a fixed length that is too short": (
        lambda: None,
        {"length": 20},
        {"max_tokens": 21},
        "--max-tokens 21: the model has 20 positions",
    ),
    "more tokens than it has positions": (
        lambda: None,
        {},
        {"max_tokens": 49},
        "--max-tokens 49: the model has 48 positions",
    ),
    "pairs of ids alone": (
        lambda: None,
        {"names": {"ids": "input_word_ids"}},
        {"segments": 2},
        "--segments 2: .* takes token ids alone, so the second text of a pair would score as if",
    ),
    "an activation of a probability": (
        lambda: Tiny(1, logits=sigmoid),
        {},
        {"outputs_are": "probabilities", "labels": None, "activation": "sigmoid"},
        "is a probability already",
    ),
    "windows of probabilities": (
        lambda: Tiny(logits=softmax),
        {},
        {"outputs_are": "probabilities", "long_texts": "windows"},
        "--long-texts windows: the logits of all windows make those of a text",
    ),
    "the formula of an encoder": (lambda: None, {}, {"norm_first": True}, "--norm-first: with --as-exported"),
    "labels of another number": (lambda: None, {}, {"labels": "a,b"}, "2 labels .2 different. for 3 outputs"),
}


# What is slow here is in test_trials.py or test_signature.py too.
SLOW = ("padding in the mean", "the batch", "the place", "chance", "tokens", "lost names", "a wrong name")


@pytest.mark.parametrize("what", slow_but(REFUSED, tuple(REFUSED.keys() - set(SLOW))))
def test_what_would_score_otherwise_is_refused_with_its_reason(
    what: str, tiny: Callable[..., Bundle], tmp_path: Path
) -> None:
    network, settings, flags, reason = REFUSED[what]
    with pytest.raises(ValueError, match=reason) as error:
        tiny(network(), flags, **settings)
    assert str(error.value).count("\n") == 0
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"inputs": "ids=a,ids=b"}, "must be ids=NAME"),
        ({"inputs": "mask=a"}, "must be ids=NAME"),
        ({"inputs": "ids=a,mask=a"}, "must be ids=NAME"),
        ({"inputs": "words=a"}, "must be ids=NAME"),
        ({"outputs_are": "scores"}, "must be logits, probabilities, or NAME=one of the two"),
        ({"as_exported": False, "signature": "serve"}, "are of --as-exported; give it too"),
    ],
)
def test_a_wrong_flag_is_refused_before_anything_is_read(flags: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        job(tmp_path / "nowhere", tmp_path, **{"as_exported": True, **flags})


def test_what_is_asked_for_against_appearances_is_noted(tiny: Callable[..., Bundle]) -> None:
    bundle = tiny(Tiny(logits=softmax))
    assert any("taken for logits as asked, although every trial row adds up to 1" in n for n in bundle.origin["notes"])


def test_sigmoids_that_are_said_to_be_logits_are_noted(tiny: Callable[..., Bundle]) -> None:
    bundle = tiny(Tiny(logits=sigmoid))
    assert any("although every trial row has only numbers from 0 to 1" in note for note in bundle.origin["notes"])


def test_one_logit_of_which_nothing_says_what_it_is_is_shown_as_it_is_with_a_note(tiny: Callable[..., Bundle]) -> None:
    bundle = tiny(Tiny(1), {"labels": None})
    assert bundle.activation == "none"
    assert any("nothing says what the model's maker shows" in note for note in bundle.origin["notes"])


def test_a_mask_that_a_network_of_a_fixed_length_never_reads_is_noted_and_padding_counts(
    tiny: Callable[..., Bundle],
) -> None:
    network = Tiny(logits=mean_with_padding)
    network.types.assign(tf.zeros_like(network.types))
    bundle = tiny(network, length=20)
    assert any("the network does not read it, so [PAD] counts" in note for note in bundle.origin["notes"])
    row = [2, 7, 9, 3]
    padded = tf.constant([row + [0] * 16], tf.int32)
    wanted = network(padded, tf.ones_like(padded), tf.zeros_like(padded))
    np.testing.assert_allclose(scored(bundle, [row]), wanted, rtol=0, atol=1e-5)


def test_a_signature_that_lists_other_names_than_its_function_has_is_refused(tmp_path: Path) -> None:
    def rename(meta: Any) -> None:
        outputs = meta.signature_def["serving_default"].outputs
        outputs["topic"].CopyFrom(outputs["scores"])
        del outputs["scores"]

    path = edit(write_export(tmp_path / "export"), rename)
    vocabulary = str(write_words(tmp_path))
    with pytest.raises(ValueError, match=r"is listed with .* and topic, and its function takes .* and gives scores"):
        import_model(job(path, tmp_path, as_exported=True, vocabulary=vocabulary, outputs_are="logits"))


def test_pairs_without_type_ids_are_noted(tiny: Callable[..., Bundle]) -> None:
    bundle = tiny(None, {"segments": 2}, names={"ids": "input_ids", "mask": "attention_mask"})
    assert any("[SEP] alone tells the second text" in note for note in bundle.origin["notes"])


# === Jobs ===


def words(count: int, seed: int = 0) -> list[str]:
    """Texts of 1 to 12 words of the vocabulary, no two alike."""
    rng = np.random.default_rng(seed)
    known = [f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(VOCABULARY - 5)]
    return [" ".join([*rng.choice(known, rng.integers(1, 10)), known[i % 50], known[i // 50]]) for i in range(count)]


def by_id(rows: list[dict[str, Any]]) -> dict[str, list[tuple[str, float]]]:
    return {r["id"]: sorted((p["label"], round(p["probability"], 5)) for p in r["probabilities"]) for r in rows}


def test_only_new_takes_scores_over_and_a_run_that_died_is_gone_on_with(
    tiny: Callable[..., Bundle], run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", 10)
    bundle = tiny(Tiny(logits=softmax), {"outputs_are": "probabilities"})
    texts, early = words(60), dt.datetime(2026, 11, 21, 2, tzinfo=dt.UTC)
    ids = [f"r{i}" for i in range(60)]
    settings: dict[str, Any] = {"bundle": str(bundle.path), "output": tmp_path / "out"}
    first = write_parquet(tmp_path / "1.parquet", {"id": ids, "text": texts})
    run_job(first, date="2026-11-20", now=early, keep_text_digests=True, **settings)
    # One row of each split is another one.
    changed = [words(60, 9)[i] if i % 10 == 3 else texts[i] for i in range(60)]
    files = [
        write_parquet(tmp_path / f"2-{i}.parquet", {"id": ids[i : i + 10], "text": changed[i : i + 10]})
        for i in range(0, 60, 10)
    ]
    late, calls, score_all = dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC), [0], macro_batch._score_all

    def gone(*more: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise RuntimeError("the machine is gone")
        return score_all(*more)

    monkeypatch.setattr(macro_batch, "_score_all", gone)
    with pytest.raises(RunFailedError):
        run_job(files, now=late, only_new=True, **settings)
    calls[0] = 9
    night = run_job(files, now=late + dt.timedelta(hours=1), only_new=True, **settings)
    assert {row["run_id"][:16] for row in night.rows() if row["id"] == "r3"} == {"20261122T020000Z"}
    counts = night.manifest["counts"]
    assert (counts["read"], counts["scored"], counts["skipped"], counts["dead"]) == (60, 6, 54, 0)
    assert night.manifest["splits_taken_over"] >= 1
    full = run_job(files, now=late, bundle=str(bundle.path), output=tmp_path / "full")
    assert by_id(night.rows()) == by_id(full.rows())


def refuses_a_word(network: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Only real rows have two of them: every token of a trial is another one, as far as the vocabulary goes."""
    same = tf.reduce_all(
        tf.abs(rows - network.positions[: tf.shape(rows)[1]] - network.words[50] - network.types[0]) < 1e-5, -1
    )
    with tf.control_dependencies([tf.debugging.assert_less(tf.reduce_sum(tf.cast(same, tf.int32), -1), 6)]):
        return network.sound(rows, mask)


def test_a_row_on_which_the_network_fails_is_a_dead_letter_and_the_others_are_scored(
    tiny: Callable[..., Bundle], run_job: Score, tmp_path: Path
) -> None:
    bundle = tiny(Tiny(logits=refuses_a_word))
    word = json.dumps((tmp_path / "vocab.txt").read_text().split()[50]).strip('"')
    texts = [*words(40), " ".join([word] * 7)]
    rows = {"id": [f"r{i}" for i in range(41)], "text": texts}
    outcome = run_job(write_parquet(tmp_path / "in.parquet", rows), bundle=str(bundle.path))
    assert outcome.codes() == {"r40": "not_scored"}
    assert len(outcome.rows()) == 40


def test_a_gpu_gets_the_same_graph(imports: Imported) -> None:
    """Where there is none the CPU computes: what is chosen for a GPU is what is compared."""
    case, bundle = stored_case("albert_list"), imports("albert_list")
    tf.config.experimental.enable_tensor_float_32_execution(True)
    model = TensorFlowScorer(bundle, Compute(), Device(kind="gpu", memory=16 << 30))
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    assert (model.precision, model.shape(3, 5)) == ("float32", (3, 5))
    found = score_rows(ragged(case.tokens, case.first_segment), model)
    np.testing.assert_allclose(found.outputs, shown(case), rtol=0, atol=1e-6)
