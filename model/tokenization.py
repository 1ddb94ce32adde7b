"""Texts to token ids, as graph pieces: WordPiece on the fast kernels of tensorflow-text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FLAVOURS = ("model_garden",)


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """How texts become tokens. `model_garden` is tensorflow_text.BertTokenizer (NFKC case folding when lower case)."""

    flavour: str = "model_garden"
    lower_case: bool = True
    max_tokens: int = 128

    def __post_init__(self) -> None:
        if self.flavour not in FLAVOURS:
            raise ValueError(f"tokenizer flavour {self.flavour!r} is unknown; known are {', '.join(FLAVOURS)}")
        if self.max_tokens < 2:
            raise ValueError(f"max_tokens is {self.max_tokens}; at least 2, for [CLS] and [SEP]")


class Tokenized(NamedTuple):
    """`tokens`: ragged int32 [B, (T)] with [CLS] and [SEP]; `first_segment`: int32 [B]; `truncated`: bool [B]."""

    tokens: tf.RaggedTensor
    first_segment: tf.Tensor
    truncated: tf.Tensor


def read_vocabulary(path: str | Path) -> list[str]:
    """The tokens of a vocabulary file, one a line; raises ValueError naming a special token it lacks."""
    tokens = Path(path).read_text(encoding="utf-8").split("\n")
    if tokens and not tokens[-1]:
        tokens.pop()
    missing = [token for token in SPECIAL_TOKENS if token not in tokens]
    if missing:
        raise ValueError(f"{path}: the vocabulary has {len(tokens):,} tokens but not {', '.join(missing)}")
    return tokens


class Tokenizer(tf.Module):
    """`tokenize(texts)` for one vocabulary and TokenizerSpec; the vocabulary travels as an asset of the graph."""

    def __init__(self, vocabulary: str | Path, spec: TokenizerSpec) -> None:
        super().__init__()
        tokens = read_vocabulary(vocabulary)
        self._asset = tf.saved_model.Asset(str(vocabulary))
        self._spec = spec
        self._start, self._end = tokens.index("[CLS]"), tokens.index("[SEP]")
        self._word_pieces: Any = tf_text.FastBertTokenizer(
            tokens, token_out_type=tf.int32, lower_case_nfd_strip_accents=spec.lower_case
        )

    def tokenize(self, texts: tf.Tensor) -> Tokenized:
        """[CLS] pieces [SEP] of each text (string [B]), cut at `max_tokens`."""
        pieces = self._word_pieces.tokenize(texts)
        room = self._spec.max_tokens - 2
        kept = pieces[:, :room]
        column = tf.ones([tf.shape(texts)[0], 1], tf.int32)
        tokens = tf.concat([self._start * column, kept, self._end * column], axis=1)
        lengths = tf.cast(tokens.row_lengths(), tf.int32)
        return Tokenized(tokens, lengths, pieces.row_lengths() > room)
