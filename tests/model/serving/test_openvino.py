"""What OpenVINO reads of an export computes what the Keras classifier computes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.checkpoints.fitted_once import InFloat32
from support.checkpoints.networks import CASES, CONFIG, ORACLE, arrays_of, case_model, ragged, random_rows

from model.checkpoints.checkpoint import build_from
from model.checkpoints.hugging_face import read_hugging_face
from model.network.classifier import build_classifier
from model.network.encoder import INPUT_NAMES
from model.serving.scoring_graph import ScoringGraph
from transforms.score.engines.openvino_scorer import Compiled

# The all-zero mask and type ids out of range have no ragged form.
SETS = ["main", "short", "full", "one", "main_pad16"]


def inputs_of(padded: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows that are padded already, with what the ragged form says of them."""
    said = ragged(padded)
    words = padded["input_word_ids"].astype(np.int32)
    return {"tokens": words, **{name: said[name].numpy() for name in ("lengths", "first_segment")}}


@pytest.mark.parametrize("case", CASES)
def test_float32_equals_the_reference(case: str, exports: Callable[[str], Path]) -> None:
    compiled, sets = Compiled(str(exports(case)), "float32"), arrays_of(ORACLE / "inputs.npz")
    for name in SETS:
        expected = arrays_of(ORACLE / case / f"outputs_{name}.npz")
        inputs = inputs_of({key: sets[f"{name}/{key}"] for key in INPUT_NAMES})
        np.testing.assert_allclose(compiled(inputs, "logits"), expected["logits"], atol=1e-5)
        if CASES[case][0] > 1:
            np.testing.assert_allclose(compiled(inputs, "probabilities"), expected["probs"], atol=1e-5)
        else:
            np.testing.assert_allclose(compiled(inputs, "value"), expected["logits"][:, 0], atol=1e-5)


def test_the_exact_gelu_of_hugging_face_is_kept(tmp_path: Path) -> None:
    folder = ORACLE / "hf" / "hf_cls3_gelu"
    checkpoint = read_hugging_face(folder)
    ScoringGraph.from_classifier(build_from(checkpoint), checkpoint.config).export(tmp_path)
    sets = arrays_of(ORACLE / "inputs.npz")
    inputs = inputs_of({key: sets[f"main/{key}"] for key in INPUT_NAMES})
    expected = arrays_of(folder / "hf_outputs_main.npz")["logits"]
    np.testing.assert_allclose(Compiled(str(tmp_path), "float32")(inputs, "logits"), expected, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": 1, "type_vocab_size": 1, "activation": "relu"},
        {"norm_first": True, "embedding_width": 24, "num_attention_heads": 1, "use_encoder_pooler": False},
    ],
)
def test_unusual_sizes_and_a_sigmoid_equal_keras(changes: dict[str, object], tmp_path: Path) -> None:
    config = CONFIG.replace(initializer_range=0.5, **changes)
    classifier = build_classifier(config, 1)
    InFloat32.from_classifier(classifier, config, "sigmoid").export(tmp_path)
    _, padded = random_rows([1, 16, 7, 2], seed=1)
    found = Compiled(str(tmp_path), "float32")(inputs_of(padded), "value")
    expected = tf.sigmoid(classifier(padded))[:, 0].numpy()
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_widths_beyond_the_positions_and_what_stands_in_the_padding_change_nothing(tmp_path: Path) -> None:
    ScoringGraph.from_classifier(*case_model("cls3_pooler_v2")).export(tmp_path)
    compiled, (_, padded) = Compiled(str(tmp_path), "float32"), random_rows([16, 3, 9, 1], seed=7)
    inputs = inputs_of(padded)
    wide = np.pad(inputs["tokens"], ((0, 0), (0, 4)), constant_values=9)
    wide[1, 3:] = 5
    np.testing.assert_allclose(
        compiled({**inputs, "tokens": wide}, "logits"), compiled(inputs, "logits"), rtol=0, atol=1e-6
    )
