"""An own WordPiece vocabulary, learned from the training texts."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import tensorflow as tf
from tensorflow_text.tools.wordpiece_vocab.bert_vocab_from_dataset import bert_vocab_from_dataset

from model.tokenizer.tokenization import SPECIAL_TOKENS


def batched(texts: Iterable[bytes], size: int = 1_000) -> Iterator[list[bytes]]:
    """The texts in lists of `size`."""
    remaining = iter(texts)
    while some := list(islice(remaining, size)):
        yield some


def learn_vocabulary(texts: Iterable[bytes], path: str | Path, *, size: int, lower_case: bool) -> int:
    """Writes a vocabulary of at most about `size` tokens to `path`, one a line, and gives the number there are.

    `texts` may be more than memory holds. The algorithm is that of tensorflow-text's WordPiece learner; small corpora
    give fewer tokens.
    """
    some = tf.TensorSpec([None], tf.string)
    dataset = tf.data.Dataset.from_generator(lambda: batched(texts), output_signature=some)
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
