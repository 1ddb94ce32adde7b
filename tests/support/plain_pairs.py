"""What a plain loop computes for pairs of texts."""

from collections.abc import Callable
from functools import lru_cache

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
    pieces, logits = _graph(built)
    rows = [[tf.constant(pieces(text), tf.int32) for text in pair] for pair in texts]
    return np.stack([logits(*row, tf.constant([not no_types, mask_zero])) for row in rows])


@lru_cache(maxsize=2)
def _graph(built: Built) -> tuple[Callable[[str], list[int]], Callable[..., tf.Tensor]]:
    """Word pieces of a text, and the logits of a pair of them, with type ids or not, with id 0 masked or not."""
    vocabulary = built.vocabulary.read_text(encoding="utf-8").split("\n")[:-1]
    ids = {token: i for i, token in enumerate(vocabulary)}
    pieces = _bert_tokenizer(vocabulary)
    if built.spec.flavour == "huggingface":
        pieces = lambda text: token_ids(text, ids, makers()["huggingface"], lower_case=True)  # noqa: E731
    trimmer = TRUNCATORS[built.spec.truncator](built.spec.max_tokens - 3)
    numbers = [tf.TensorSpec([None], tf.int32)] * 2

    @tf.function(input_signature=[*numbers, tf.TensorSpec([2], tf.bool)], autograph=False)
    def logits(first: tf.Tensor, second: tf.Tensor, switches: tf.Tensor) -> tf.Tensor:
        segments = [tf.RaggedTensor.from_tensor(segment[tf.newaxis]) for segment in (first, second)]
        combined, segment_ids = tf_text.combine_segments(trimmer.trim(segments), ids["[CLS]"], ids["[SEP]"])
        word_ids, type_ids = combined.to_tensor(), segment_ids.to_tensor()
        types_count, no_zero = tf.unstack(tf.cast(switches, tf.int32))
        types = tf.cast(type_ids, tf.int32) * types_count
        mask = 1 - tf.cast(word_ids == 0, tf.int32) * no_zero
        inputs = {"input_word_ids": word_ids, "input_mask": mask, "input_type_ids": types}
        return built.classifier({name: tf.cast(value, tf.int32) for name, value in inputs.items()})[0]

    return pieces, logits


def _bert_tokenizer(vocabulary: list[str]) -> Callable[[str], list[int]]:
    rows = tf.lookup.KeyValueTensorInitializer(vocabulary, tf.range(len(vocabulary), dtype=tf.int64))
    tokenizer = tf_text.BertTokenizer(tf.lookup.StaticHashTable(rows, -1), lower_case=True, token_out_type=tf.int64)
    return lambda text: tokenizer.tokenize([text]).merge_dims(1, 2)[0].numpy().tolist()
