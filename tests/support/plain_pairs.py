"""What a plain loop computes for pairs of texts."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_text as tf_text
from support.bundles import Built
from support.plain_tokenizer import makers, token_ids

TRUNCATORS = {"round_robin": tf_text.RoundRobinTrimmer, "waterfall": tf_text.WaterfallTrimmer}

SETTINGS = {"text_pair_column": "other"}


def plain_loop(
    built: Built, texts: list[tuple[str, str]], *, no_types: bool = False, mask_zero: bool = False
) -> npt.NDArray[np.float32]:
    """Row by row: word pieces of each text, a trimmer, ids and type ids, the Keras model; logits float32 [B, C].

    `no_types` and `mask_zero` do what serving of the Model Garden does by default, and we never.
    """
    vocabulary = built.vocabulary.read_text(encoding="utf-8").split("\n")[:-1]
    ids = {token: i for i, token in enumerate(vocabulary)}
    pieces = _bert_tokenizer(vocabulary)
    if built.spec.flavour == "huggingface":
        pieces = lambda text: token_ids(text, ids, makers()["huggingface"], lower_case=True)  # noqa: E731
    trimmer = TRUNCATORS[built.spec.truncator](built.spec.max_tokens - 3)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)] * 2, autograph=False)
    def logits(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        segments = [tf.RaggedTensor.from_tensor(segment[tf.newaxis]) for segment in (first, second)]
        combined, segment_ids = tf_text.combine_segments(trimmer.trim(segments), ids["[CLS]"], ids["[SEP]"])
        word_ids, type_ids = combined.to_tensor(), segment_ids.to_tensor()
        mask = tf.cast(word_ids != 0, tf.int32) if mask_zero else tf.ones_like(word_ids)
        types = tf.zeros_like(type_ids) if no_types else type_ids
        inputs = {"input_word_ids": word_ids, "input_mask": mask, "input_type_ids": types}
        return built.classifier({name: tf.cast(value, tf.int32) for name, value in inputs.items()})[0]

    return np.stack([logits(*(tf.constant(pieces(text), tf.int32) for text in pair)) for pair in texts])


def _bert_tokenizer(vocabulary: list[str]) -> Callable[[str], list[int]]:
    rows = tf.lookup.KeyValueTensorInitializer(vocabulary, tf.range(len(vocabulary), dtype=tf.int64))
    tokenizer = tf_text.BertTokenizer(tf.lookup.StaticHashTable(rows, -1), lower_case=True, token_out_type=tf.int64)
    return lambda text: tokenizer.tokenize([text]).merge_dims(1, 2)[0].numpy().tolist()
