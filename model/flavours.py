"""Tokenizer flavours: what a text goes through before WordPiece, as graph pieces on tensorflow-text's fast kernels."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text

UNKNOWN = "[UNK]"

# FastWordpieceTokenizer splits at all Unicode white space and at the punctuation of ICU's Unicode version;
# BertTokenizer at `\s` and `\p{P}` as RE2 has them. Lists: every code point c in "a{c}b", compared one by one.
_LATER_PUNCTUATION = (
    r"\x{1B4E}\x{1B4F}\x{1B7F}\x{10D6E}\x{113D4}\x{113D5}\x{113D7}\x{113D8}\x{11BE1}\x{16D6D}-\x{16D6F}\x{1E5FF}"
)
_NO_SPACE = {  # By lower_case: case folding makes the others U+0020.
    True: r"\x{1680}\x{2028}\x{2029}",
    False: r"\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}",
}
_PRIVATE_USE = "\ue000"

# RE2 has no class for unassigned code points: they are what is in no class, as controls and format characters are here.
_DROPPED = {True: r"[^\pL\p{Mc}\p{Me}\pN\pP\pS\pZ\t\n\r]|\x{FFFD}", False: r"[^\pL\pM\pN\pP\pS\pZ\t\n\r]|\x{FFFD}"}
_ASCII_PUNCTUATION = r"!-/:-@\[-`{-~"
_CJK = r"\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2CEAF}\x{2F800}-\x{2FA1F}"
_MAX_CHARACTERS = 100
_MAX_BYTES = 4 * _MAX_CHARACTERS
_LONG_WORD = rf"[^ \t\n\r{_ASCII_PUNCTUATION}]{{{_MAX_CHARACTERS + 1}}}"
_NOT_PLAIN = rf"(?s).*(?:[\x00-\x08\x0B\x0C\x0E-\x1F\x7F]|{_LONG_WORD}).*"
"""ASCII with a control that is dropped, or perhaps with a word that is too long."""
_TOO_LONG = "x" * (_MAX_BYTES + 1)


class ModelGarden(tf.Module):
    """`tokenize(texts)`: string [B] -> ragged int32 [B, (T)], what tensorflow_text.BertTokenizer gives.

    Lower case means NFKC case folding, NFD and no accents; controls become spaces; a word of more than 100 bytes is
    [UNK].
    """

    def __init__(self, tokens: Sequence[str], *, lower_case: bool) -> None:
        super().__init__()
        self._odd = f"[{_NO_SPACE[lower_case]}{_LATER_PUNCTUATION}]"
        self._kernel: Any = tf_text.FastBertTokenizer(
            list(tokens), token_out_type=tf.int32, unknown_token=UNKNOWN, lower_case_nfd_strip_accents=lower_case
        )

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._kernel.tokenize(tf.strings.regex_replace(texts, self._odd, _PRIVATE_USE))


class HuggingFace(tf.Module):
    """`tokenize(texts)`: string [B] -> ragged int32 [B, (T)], what transformers' BertTokenizer gives.

    Controls, format characters, unassigned code points and U+FFFD are dropped; lower case also means NFD and no
    accents; a word of more than 100 characters is [UNK]. Cased texts stay as they are composed, as in its fast
    tokenizer (the slow one of version 4 makes them NFC).
    """

    def __init__(self, tokens: Sequence[str], *, lower_case: bool) -> None:
        super().__init__()
        self._lower_case = lower_case
        self._kernel: Any = tf_text.FastWordpieceTokenizer(
            list(tokens), token_out_type=tf.int32, unknown_token=UNKNOWN, max_bytes_per_word=_MAX_BYTES
        )

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._kernel.tokenize(self._normalized(texts))

    def _normalized(self, texts: tf.Tensor) -> tf.Tensor:
        if not self._lower_case:
            return _without_long_words(tf.strings.regex_replace(texts, _DROPPED[False], ""))
        # Most texts are plain ASCII, where lower case is a matter of bytes: ten times as fast as with Unicode's tables.
        lower = tf.strings.lower(texts)
        ascii_ = tf.strings.length(texts, "UTF8_CHAR") == tf.strings.length(texts)
        other = tf.where(~ascii_ | tf.strings.regex_full_match(texts, _NOT_PLAIN))

        def replaced() -> tf.Tensor:
            decomposed = tf_text.normalize_utf8(tf.gather_nd(texts, other), "NFD")
            kept = tf.strings.regex_replace(decomposed, _DROPPED[True], "")
            # Last, because this op ends a text at its first NUL, which is gone by now.
            folded = _without_long_words(tf.strings.lower(kept, encoding="utf-8"))
            return tf.tensor_scatter_nd_update(lower, other, folded)

        return tf.cond(tf.size(other) > 0, replaced, lambda: lower)


def _without_long_words(texts: tf.Tensor) -> tf.Tensor:
    """Puts something too long even in bytes, which the kernel counts, for words of more than 100 characters."""
    long = tf.where(tf.strings.length(texts) > _MAX_CHARACTERS)
    long = tf.boolean_mask(long, tf.strings.regex_full_match(tf.gather_nd(texts, long), rf"(?s).*{_LONG_WORD}.*"))

    def replaced() -> tf.Tensor:
        # Splits first: counting to 101 in a class as large as "no punctuation" is too much for RE2's memory.
        spaced = tf.strings.regex_replace(tf.gather_nd(texts, long), r"[\pZ\t\n\r]", " ")
        spaced = tf.strings.regex_replace(spaced, rf"([\pP{_ASCII_PUNCTUATION}{_CJK}])", r" \1 ")
        spaced = tf.strings.regex_replace(spaced, rf"[^ ]{{{_MAX_CHARACTERS + 1},}}", _TOO_LONG)
        return tf.tensor_scatter_nd_update(texts, long, spaced)

    return tf.cond(tf.size(long) > 0, replaced, lambda: texts)


FLAVOURS: dict[str, type[ModelGarden | HuggingFace]] = {"model_garden": ModelGarden, "huggingface": HuggingFace}
