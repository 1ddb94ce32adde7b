"""Every engine behind the one protocol: the same faults, the same answers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from support.bundles import Built
from support.scorers import ragged

from model.bundle import OPENVINO, TENSORFLOW, Bundle, seal
from model.network.config import BertConfig
from model.serving.scoring_graph import ENGINES, ScoringGraph
from transforms.errors import BadRowError, DeviceMemoryError, EngineError, OutOfMemoryError
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines import openvino_scorer
from transforms.score.engines.choice import load_scorer
from transforms.score.engines.scorer import Scorer
from transforms.score.macro_batch import score_rows
from transforms.score.micro_batches import LEAST_BUDGET

CPU = Device(kind="cpu")
NAN_TOKEN = 9
Load = Callable[..., Scorer]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def load(engine: str) -> Load:
    """The model of a bundle in the engine."""
    return lambda built, **compute: load_scorer(
        Bundle.describe(built), Compute(**{"precision": "float32", "engine": engine, **compute}), CPU
    )


def some_rows(count: int, seed: int = 3, longest: int = 20) -> list[tuple[list[int], int]]:
    """Rows of 1 to `longest` tokens that are all different."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(2, longest + 1, count)
    return [
        ([2, *generator.integers(10, 80, length - 1).tolist()], int(generator.integers(1, length + 1)))
        for length in lengths
    ]


def expected(built: Built, rows: list[tuple[list[int], int]]) -> np.ndarray:
    """What the Keras classifier gives, nothing padded: rows of one length together."""
    by_length: dict[int, list[int]] = {}
    for place, (tokens, _) in enumerate(rows):
        by_length.setdefault(len(tokens), []).append(place)
    found = np.empty((len(rows), len(built.labels)), np.float32)
    for length, places in by_length.items():
        ids = np.array([rows[place][0] for place in places], np.int32)
        types = (np.arange(length) >= np.array([[rows[place][1]] for place in places])).astype(np.int32)
        inputs = {"input_word_ids": ids, "input_mask": np.ones_like(ids), "input_type_ids": types}
        found[places] = tf.nn.softmax(built.classifier(inputs))
    return found


def fails(scorer: Scorer, times: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lets the runtime below an engine raise its own error at the next calls; gives the rows of each call."""
    calls: list[int] = []

    def failing(run: Callable[..., Any], rows: Callable[..., int]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            calls.append(rows(*arguments, **named))
            if len(calls) <= times:
                raise error
            return run(*arguments, **named)

        return call

    if scorer.engine == OPENVINO:
        compiled: Any = scorer._compiled  # type: ignore[attr-defined]
        monkeypatch.setattr(compiled, "_infer", failing(compiled._infer, lambda inputs: len(inputs["lengths"])))
    else:
        signature = scorer._signature  # type: ignore[attr-defined]
        monkeypatch.setattr(scorer, "_signature", failing(signature, lambda lengths, **_: len(lengths)))
    return calls


NO_MEMORY = {
    TENSORFLOW: [tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")],
    OPENVINO: [
        # As version 2026.4 says it, in one place or another.
        RuntimeError("[CPU] Add node: Check 'ptr' failed at cpu_memory.cpp:257:\nFailed to allocate 61440000 bytes"),
        RuntimeError("Exception from src/core/src/runtime/allocator.cpp:79:\nstd::bad_alloc\n"),
        RuntimeError("[CPU] ReduceMean node with name 'Mean' can't alloc"),
        RuntimeError("could not create a memory object: Could not allocate memory"),
        MemoryError(),
    ],
}
NOBODYS = {
    TENSORFLOW: tf.errors.InternalError(None, None, "the device is gone"),
    OPENVINO: RuntimeError("Check 'input_shape[j] == 1' failed at eltwise.cpp:52"),
}


def test_both_give_what_keras_gives(load: Load, classes: Built) -> None:
    rows = some_rows(40)
    results = score_rows(ragged(rows), load(classes.path, token_budget=128))
    assert not results.failed.any()
    assert np.ptp(results.outputs) > 0.5
    np.testing.assert_allclose(results.outputs, expected(classes, rows), rtol=0, atol=1e-5)
    assert results.work.precision == "float32"


def test_both_give_the_values_of_a_regression(load: Load, regression: Built) -> None:
    rows = some_rows(12, seed=4)
    found = score_rows(ragged(rows), load(regression.path)).outputs
    logits = [
        float(regression.classifier({
            "input_word_ids": np.array([tokens], np.int32),
            "input_mask": np.ones((1, len(tokens)), np.int32),
            "input_type_ids": (np.arange(len(tokens)) >= first).astype(np.int32)[np.newaxis],
        })[0, 0])
        for tokens, first in rows
    ]  # fmt: skip
    np.testing.assert_allclose(found[:, 0], logits, rtol=0, atol=1e-5)


def test_no_rows_give_no_outputs(load: Load, classes: Built) -> None:
    nothing = np.empty(0, np.int32)
    assert load(classes.path)(nothing, nothing, nothing).shape == (0, 3)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([2, 10**6], "token 1000000 is not in the vocabulary"),
        ([2, -1], "token -1 is not in"),
        ([5] * 65, "65 tokens, more than the 64 positions"),
    ],
)
def test_a_row_at_fault_fails_alone_and_the_others_are_scored(
    load: Load, classes: Built, tokens: list[int], message: str
) -> None:
    scorer, rows = load(classes.path), some_rows(9)
    rows[4] = (tokens, 1)
    results = score_rows(ragged(rows), scorer)
    assert np.flatnonzero(results.failed).tolist() == [4]
    good = [row for place, row in enumerate(rows) if place != 4]
    np.testing.assert_allclose(np.delete(results.outputs, 4, 0), expected(classes, good), rtol=0, atol=1e-5)
    values, lengths = np.array(tokens, np.int32), np.array([len(tokens)], np.int32)
    with pytest.raises(BadRowError, match=message):
        scorer(values, lengths, lengths)


def test_a_row_without_tokens_is_at_fault_and_sums_that_do_not_agree_are_nobodys(load: Load, classes: Built) -> None:
    scorer, ints = load(classes.path), lambda *values: np.array(values, np.int32)
    with pytest.raises(BadRowError, match="a row has no tokens"):
        scorer(ints(2, 3), ints(2, 0), ints(2, 0))
    for lengths, first in ((ints(1), ints(1)), (ints(2), ints(2, 1))):
        with pytest.raises(ValueError, match="do not go together") as raised:
            scorer(ints(2, 3), lengths, first)
        assert not isinstance(raised.value, BadRowError)


def test_memory_that_is_short_for_a_moment_halves_the_budget_and_costs_no_row(
    engine: str, load: Load, classes: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One micro-batch, which is the first to be computed.
    rows, wanted = [([2, *tokens[1:], *range(10, 40 - len(tokens))], first) for tokens, first in some_rows(60)], None
    assert {len(tokens) for tokens, _ in rows} == {30}
    for error in NO_MEMORY[engine]:
        scorer = load(classes.path, token_budget=2_048)
        with monkeypatch.context() as patch:
            calls = fails(scorer, 1, error, patch)
            results = score_rows(ragged(rows), scorer)
        assert (calls, scorer.token_budget) == ([60, 30, 30], 60 * 30 // 2)
        assert not results.failed.any()
        wanted = expected(classes, rows) if wanted is None else wanted
        np.testing.assert_allclose(results.outputs, wanted, rtol=0, atol=1e-5)


def test_no_memory_for_the_least_is_an_error_of_the_device(
    engine: str, load: Load, classes: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in NO_MEMORY[engine]:
        scorer = load(classes.path)
        with monkeypatch.context() as patch:
            fails(scorer, 1_000, error, patch)
            with pytest.raises(DeviceMemoryError, match=f"{LEAST_BUDGET} must fit"):
                score_rows(ragged(some_rows(200)), scorer)


def test_an_error_of_the_runtime_is_raised_and_no_row_fails_for_it(
    engine: str, load: Load, classes: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, error = load(classes.path), NOBODYS[engine]
    with monkeypatch.context() as patch:
        calls = fails(scorer, 1_000, error, patch)
        with pytest.raises(type(error)) as raised:
            score_rows(ragged(some_rows(8)), scorer)
    assert raised.value is error
    assert not isinstance(error, OutOfMemoryError)
    assert len(calls) == 1, "retrying is for the runner"
    assert not score_rows(ragged(some_rows(8)), scorer).failed.any()


@pytest.fixture(scope="module")
def with_nan(classes: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose model gives NaN for a row with NAN_TOKEN. Nothing here exports such weights."""
    folder = Path(shutil.copytree(classes.path, tmp_path_factory.mktemp("nan") / "bundle"))
    found = json.loads((folder / "bundle.json").read_text())
    graph = ScoringGraph.from_classifier(classes.classifier, BertConfig(**found["model"]))
    words = graph._words.numpy()
    words[NAN_TOKEN] = np.nan
    graph._words.assign(words)
    shutil.rmtree(folder / "scoring")
    graph.export(folder / "scoring")
    seal(folder, {key: found[key] for key in found.keys() - {"format", "files", "fingerprint"}})
    return folder


def test_what_is_not_finite_is_said_and_not_remembered(load: Load, with_nan: Path) -> None:
    scorer, rows = load(with_nan), some_rows(6, longest=7)
    # The longest one: no padding of another row reads its tokens.
    rows[2] = ([2, NAN_TOKEN, *range(20, 40)], 3)
    first, again = score_rows(ragged(rows), scorer), score_rows(ragged(rows), scorer)
    assert np.flatnonzero(np.isnan(first.outputs).any(axis=1)).tolist() == [2]
    assert not first.failed.any()
    assert (again.work.scored, again.work.remembered) == (1, 5)


def test_threads_take_turns_and_each_gets_its_own_rows(load: Load, classes: Built) -> None:
    from concurrent.futures import ThreadPoolExecutor

    scorer, parts = load(classes.path), [some_rows(12, seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rows: score_rows(ragged(rows), scorer).outputs, parts))
    wanted = np.split(expected(classes, [row for rows in parts for row in rows]), len(parts))
    for outputs, own in zip(found, wanted, strict=True):
        np.testing.assert_allclose(outputs, own, rtol=0, atol=1e-5)


def openvino(built: Built, **compute: Any) -> Scorer:
    bundle = Bundle.describe(built.path)
    return load_scorer(bundle, Compute(**{"precision": "bfloat16", "engine": OPENVINO, **compute}), CPU)


def test_a_worker_without_openvino_says_how_to_install_it(classes: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_scorer, "is_installed", lambda: False)
    with pytest.raises(
        EngineError, match=r"--precision bfloat16: .*not installed.*pip install 'bert-batch\[openvino\]'"
    ):
        openvino(classes)


def test_a_worker_whose_chip_lacks_the_instructions_names_chip_and_flag(
    classes: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_scorer, "capabilities", lambda: ("FP32", "INT8"))
    with pytest.raises(EngineError, match=r"--precision bfloat16: .* this worker's chip, .+ \(class \w+\).*--chip"):
        openvino(classes)


def test_openvino_that_computes_in_another_precision_than_it_was_told_is_an_error(
    classes: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        """Takes the hint and computes in float32, as OpenVINO does on a chip without the instructions."""

        def read_model(self, folder: str) -> None: ...

        def compile_model(self, model: None, device: str, settings: dict[str, Any]) -> "Silent":
            assert settings["INFERENCE_PRECISION_HINT"] == "bf16"
            return self

        def get_property(self, name: str) -> Any:
            import openvino

            return openvino.Type.f32

    monkeypatch.setattr(openvino_scorer, "capabilities", lambda: ("FP32", "BF16"))
    monkeypatch.setattr(openvino_scorer, "_core", Silent)
    with pytest.raises(EngineError, match=r"does not compute it on this worker's chip"):
        openvino(classes)


def test_a_bundle_without_a_graph_for_openvino_is_refused_by_it(classes: Built, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(classes.path, tmp_path / "bundle"))
    found = json.loads((folder / "bundle.json").read_text())
    seal(folder, {key: found[key] for key in found.keys() - {"format", "files", "fingerprint", "engines"}})
    bundle = Bundle.describe(folder)
    with pytest.raises(EngineError, match="has no graph that OpenVINO reads"):
        load_scorer(bundle, Compute(precision="float32", engine=OPENVINO), CPU)
