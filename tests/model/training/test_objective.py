"""What a head begins with."""

import numpy as np
import pytest
import tf_keras

from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.training.objective import start_at_shares


def head(outputs: int) -> BertClassifier:
    tf_keras.utils.set_random_seed(7)
    sizes = {"vocab_size": 8, "hidden_size": 4, "num_layers": 1, "num_attention_heads": 1, "inner_dim": 4}
    return build_classifier(BertConfig(**sizes, max_sequence_length=8), outputs)


def bias(classifier: BertClassifier) -> np.ndarray:
    return np.asarray(classifier.classifier.out_proj.get_weights()[1])


def test_a_new_head_of_several_labels_begins_with_their_shares() -> None:
    classifier, targets = head(3), np.zeros((98, 3), bool)
    targets[:49, 0] = targets[:4, 1] = True
    kernel = classifier.classifier.out_proj.get_weights()[0]
    start_at_shares(classifier, targets)
    # With a row more that has the label and one that has not: no share is 0 or 1.
    assert 1 / (1 + np.exp(-bias(classifier))) == pytest.approx([0.5, 0.05, 0.01], abs=1e-6)
    np.testing.assert_array_equal(classifier.classifier.out_proj.get_weights()[0], kernel)


def test_a_trained_head_and_one_of_classes_stay_as_they_are() -> None:
    classifier = head(3)
    start_at_shares(classifier, np.arange(9, dtype=np.int64) % 3)
    assert not bias(classifier).any()
    weights = classifier.classifier.out_proj.get_weights()
    classifier.classifier.out_proj.set_weights([weights[0], np.float32([1, 0, 0])])
    start_at_shares(classifier, np.ones((9, 3), bool))
    np.testing.assert_array_equal(bias(classifier), np.float32([1, 0, 0]))
