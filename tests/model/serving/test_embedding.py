"""The output `embedding`: what goes into the last product of the Keras classifier's head, for each kind of head."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.checkpoints.fitted_once import InFloat32
from support.checkpoints.networks import CASES, CONFIG, case_model, random_rows
from support.commands import DATA

from model.checkpoints.checkpoint import build_from
from model.checkpoints.detect import load
from model.network.classifier import BertClassifier, ClassificationHead, build_classifier
from model.network.config import BertConfig
from model.network.encoder import BertEncoder
from model.serving.scoring_graph import COMPILED, PADDED, ScoringGraph
from transforms.score.engines.openvino_scorer import Compiled

LENGTHS = [16, 3, 9, 1]
Export = Callable[[BertClassifier, BertConfig], Path]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    def write(classifier: BertClassifier, config: BertConfig) -> Path:
        InFloat32.from_classifier(classifier, config).export(tmp_path / "scoring")
        return tmp_path / "scoring"

    return write


def head_input(classifier: BertClassifier, padded: dict[str, np.ndarray]) -> np.ndarray:
    """What the head of the Keras model multiplies last, computed layer by layer."""
    sequence, pooled = classifier.network(padded)
    if classifier.use_encoder_pooler:
        return np.asarray(pooled)
    return np.asarray(classifier.classifier(sequence, only_project=True))


def assert_all_give_it(folder: Path, classifier: BertClassifier, seed: int = 3) -> None:
    """TensorFlow and OpenVINO do, and the last product of the head makes the logits of it."""
    flat, padded = random_rows(LENGTHS, seed=seed)
    expected = head_input(classifier, padded)
    assert np.ptp(expected, axis=0).max() > 0.1, "rows that are all the same would prove nothing"
    signatures = tf.saved_model.load(str(folder)).signatures
    rows = {**flat, "tokens": tf.constant(padded["input_word_ids"])}
    for outputs in (signatures["score"](**flat), signatures[PADDED](**rows)):
        np.testing.assert_allclose(outputs["embedding"], expected, rtol=0, atol=1e-5)
    inputs = {name: value.numpy() for name, value in rows.items()}
    embedding, logits = Compiled(str(folder), "float32").read(inputs, ["embedding", "logits"])
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-5)
    head = getattr(classifier.classifier, "out_proj", classifier.classifier)
    np.testing.assert_allclose(head(embedding), logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(logits, classifier(padded), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_head_gives_what_goes_into_its_last_product(case: str, exports: Callable[[str], Path]) -> None:
    classifier, config = case_model(case)
    assert_all_give_it(exports(case), classifier)
    assert ScoringGraph.from_classifier(classifier, config).embedding_width == config.hidden_size


def test_half_precision_gives_it_in_float32_too(exports: Callable[..., Path]) -> None:
    flat, padded = random_rows(LENGTHS, seed=3)
    expected = head_input(case_model("cls3_nopooler_v1")[0], padded)
    signatures = tf.saved_model.load(str(exports("cls3_nopooler_v1", whole=True))).signatures
    rows = {**flat, "tokens": tf.constant(padded["input_word_ids"])}
    # What XLA compiles takes seconds a shape: float16 has the same function.
    assert all("embedding" in signatures[f"compiled_{precision}"].structured_outputs for precision in COMPILED)
    for outputs in (signatures["score_bfloat16"](**flat), signatures["compiled_bfloat16"](**rows)):
        assert outputs["embedding"].dtype == tf.float32
        np.testing.assert_allclose(outputs["embedding"], expected, rtol=0, atol=0.1)


def test_a_head_that_pools_to_another_width_gives_that_width(export: Export) -> None:
    config = CONFIG.replace(num_layers=1, use_encoder_pooler=False, initializer_range=0.5)
    head = ClassificationHead(24, 3)
    classifier = BertClassifier(BertEncoder.from_bert_config(config), 3, use_encoder_pooler=False, cls_head=head)
    assert ScoringGraph.from_classifier(classifier, config).embedding_width == 24
    assert_all_give_it(export(classifier, config), classifier)


def test_the_width_of_a_factorised_table_of_words_is_not_that_of_the_embedding(export: Export) -> None:
    config = CONFIG.replace(num_layers=1, embedding_width=24, initializer_range=0.5)
    classifier = build_classifier(config, 1)
    assert ScoringGraph.from_classifier(classifier, config).embedding_width == 16
    assert_all_give_it(export(classifier, config), classifier)


@pytest.mark.parametrize("case", ["distilbert_cls2", "distilbert_reg1", "electra_cls3_projected"])
def test_the_heads_of_kin_give_theirs(case: str, export: Export) -> None:
    checkpoint = load(DATA / "hf_kin" / case / "model")
    classifier = build_from(checkpoint)
    assert checkpoint.config.head_activation in ("relu", "gelu_erf")
    assert_all_give_it(export(classifier, checkpoint.config), classifier)
