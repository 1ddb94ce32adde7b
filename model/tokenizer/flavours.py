"""Tokenizer flavours: what a text goes through before WordPiece, as graph pieces on tensorflow-text's fast kernels."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text

from model.tokenizer.code_points import GOOGLE_RESEARCH, HUGGING_FACE, CodePoints, members, pairs, ranges

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

_ASCII_PUNCTUATION = r"!-/:-@\[-`{-~"
_CJK = r"\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2CEAF}\x{2F800}-\x{2FA1F}"
_SIGMA = ("\u03a3", "\u03c3")
_SPACES = frozenset(c for c in map(chr, range(0x3001)) if c.isspace())
_STAND_INS = range(0x40000, 0x50000)
"""A plane where nothing is assigned: letters to ICU, RE2 and every maker."""


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


class _ByCharacter(tf.Module):
    """`tokenize(texts)`: string [B] -> ragged int32 [B, (T)], by the rules of `code_points`.

    `strip_accents` means NFD without nonspacing marks, before case is folded; without it texts stay as they are
    composed. None: as `lower_case`. Where the kernel takes a character otherwise than the maker does, another one,
    which is a letter to all, stands for it in texts and in the vocabulary.
    """

    code_points: CodePoints

    def __init__(self, tokens: Sequence[str], *, lower_case: bool, strip_accents: bool | None = None) -> None:
        super().__init__()
        self._lower_case = lower_case
        self._strips = lower_case if strip_accents is None else strip_accents
        unknown, stand_ins = _stand_ins(tokens, self.code_points, self._strips)
        self._replaced = _replacements(tokens, self.code_points, lower_case, self._strips, unknown, stand_ins)
        self._touched = f"(?s).*(?:{'|'.join(pattern for pattern, _ in self._replaced)}).*"
        self._marks = _class(self.code_points.marks)
        most = self.code_points.max_characters
        self._long_word = rf"[^ \t\n\r{_ASCII_PUNCTUATION}]{{{most + 1}}}"
        # ASCII with a control that is dropped, or perhaps with a word that is too long.
        self._not_plain = rf"(?s).*(?:[\x00-\x08\x0B\x0C\x0E-\x1F\x7F]|{self._long_word}).*"
        table = str.maketrans(stand_ins)
        self._kernel: Any = tf_text.FastWordpieceTokenizer(
            [token.translate(table) for token in tokens],
            token_out_type=tf.int32,
            unknown_token=UNKNOWN,
            max_bytes_per_word=4 * most,
        )

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._kernel.tokenize(self._normalized(texts))

    def _normalized(self, texts: tf.Tensor) -> tf.Tensor:
        # Most texts are plain ASCII, where lower case is a matter of bytes: ten times as fast as with Unicode's tables.
        plain = tf.strings.lower(texts) if self._lower_case else texts
        ascii_ = tf.strings.length(texts, "UTF8_CHAR") == tf.strings.length(texts)
        # The others need no look, which takes longer than leaving them out.
        asked = tf.cond(tf.reduce_all(ascii_), lambda: texts, lambda: tf.where(ascii_, texts, ""))
        return _where(~ascii_ | tf.strings.regex_full_match(asked, self._not_plain), texts, self._cleaned, plain)

    def _cleaned(self, texts: tf.Tensor) -> tf.Tensor:
        texts = _where(tf.strings.regex_full_match(texts, self._touched), texts, self._mended, texts)
        if self._strips:
            texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFD"), self._marks, "")
        if self._lower_case:
            # Last, because this op ends a text at its first NUL, which is gone by now.
            texts = tf.strings.lower(texts, encoding="utf-8")
        most = self.code_points.max_characters
        # Two steps, because the pattern is slow and few texts are that long.
        long = tf.strings.length(texts) > most
        return _where(long, texts, self._without_long_words, texts)

    def _mended(self, texts: tf.Tensor) -> tf.Tensor:
        for pattern, other in self._replaced:
            texts = tf.strings.regex_replace(texts, pattern, other)
        return texts

    def _without_long_words(self, texts: tf.Tensor) -> tf.Tensor:
        found = tf.strings.regex_full_match(texts, rf"(?s).*{self._long_word}.*")
        return _where(found, texts, self._with_unknown, texts)

    def _with_unknown(self, texts: tf.Tensor) -> tf.Tensor:
        """Puts something too long even in bytes, which the kernel counts, for words of too many characters."""
        most = self.code_points.max_characters
        # Splits first: counting to 101 in a class as large as "no punctuation" is too much for RE2's memory.
        spaced = tf.strings.regex_replace(texts, r"[\pZ\t\n\r]", " ")
        spaced = tf.strings.regex_replace(spaced, rf"([\pP{_ASCII_PUNCTUATION}{_CJK}])", r" \1 ")
        return tf.strings.regex_replace(spaced, rf"[^ ]{{{most + 1},}}", "x" * (4 * most + 1))


class HuggingFace(_ByCharacter):
    """What transformers 5's BertTokenizer gives: the fast tokenizers (Rust) 0.13 to 0.23.

    Controls, format characters, private use and U+FFFD are dropped; unassigned code points are letters; a word of more
    than 100 characters is [UNK]. Case and accents are two options.
    """

    code_points = HUGGING_FACE


class GoogleResearch(_ByCharacter):
    """What google-research/bert's FullTokenizer gives on a Python with Unicode 14.

    Controls, format characters and U+FFFD are dropped; private use and unassigned code points are letters; a word of
    more than 200 characters is [UNK].
    """

    code_points = GOOGLE_RESEARCH


def _where(
    condition: tf.Tensor, texts: tf.Tensor, change: Callable[[tf.Tensor], tf.Tensor], others: tf.Tensor
) -> tf.Tensor:
    """`change` of the texts where `condition` holds, `others` elsewhere; costs nothing where it holds nowhere."""
    rows = tf.where(condition)

    def changed() -> tf.Tensor:
        return tf.tensor_scatter_nd_update(others, rows, change(tf.gather_nd(texts, rows)))

    return tf.cond(tf.size(rows) > 0, changed, lambda: others)


def _stand_ins(tokens: Sequence[str], code_points: CodePoints, strips: bool) -> tuple[str, dict[str, str]]:
    """What stands in for all characters that no token has, and for each one that some token has."""
    known = set().union(*tokens)
    free = (chr(c) for c in _STAND_INS if chr(c) not in known)
    unknown = next(free)
    # White space is in no word, but the kernel would find a token of it between two.
    return unknown, dict(zip(sorted(known & (_letters(code_points, strips) | _SPACES)), free, strict=False))


def _letters(code_points: CodePoints, strips: bool) -> set[str]:
    return members(code_points.letters) | (members(code_points.undecomposed) if strips else set())


def _replacements(
    tokens: Sequence[str],
    code_points: CodePoints,
    lower_case: bool,
    strips: bool,
    unknown: str,
    stand_ins: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Patterns and what comes in their place, in order."""
    found = [(_class(code_points.dropped), "")]
    if lower_case:
        known = set().union(*tokens)
        # Where no token has either letter, the word is unknown with both.
        found += [pair for pair in pairs(code_points.lowered) if known & set(pair)]
        found += [] if code_points.final_sigma else [_SIGMA]
    if code_points.split:
        found.append((_class(code_points.split), r" \0 "))
    letters = (_letters(code_points, strips) - stand_ins.keys()) | {unknown, *stand_ins.values()}
    own = [(letter, other) for letter, other in stand_ins.items() if letter not in _SPACES]
    return [*found, (f"[{''.join(sorted(letters))}]", unknown), *own]


def _class(text: str) -> str:
    """The ranges as a class of RE2."""
    return "[" + "".join(rf"\x{{{first:X}}}-\x{{{last:X}}}" for first, last in ranges(text)) + "]"


FLAVOURS: dict[str, type[ModelGarden | HuggingFace | GoogleResearch]] = {
    "model_garden": ModelGarden,
    "huggingface": HuggingFace,
    "google_research": GoogleResearch,
}
