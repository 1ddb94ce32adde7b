"""An own WordPiece vocabulary, learned from the training texts."""

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf
from tensorflow_text.tools.wordpiece_vocab.bert_vocab_from_dataset import bert_vocab_from_dataset

from model.tokenizer.tokenization import SPECIAL_TOKENS


def learn_vocabulary(texts: Iterable[bytes], path: str | Path, *, size: int, lower_case: bool) -> int:
    """Writes a vocabulary of at most about `size` tokens to `path`, one a line, and gives the number there are.

    The algorithm is that of tensorflow-text's WordPiece learner; small corpora give fewer tokens.
    """
    dataset = tf.data.Dataset.from_tensor_slices(tf.constant(list(texts), tf.string)).batch(1_000)
    tokens = bert_vocab_from_dataset(
        dataset,
        vocab_size=size,
        reserved_tokens=list(SPECIAL_TOKENS),
        bert_tokenizer_params={"lower_case": lower_case},
        # Without this bound the learner stops at a few hundred tokens on a corpus of some thousand texts.
        learn_params={"lower_thresh": 2},
    )
    Path(path).write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return len(tokens)
