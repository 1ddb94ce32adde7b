"""Texts to token ids, as graph pieces: word pieces of a flavour, cut and packed between [CLS] and [SEP]."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from model.long_texts import CUT, TAIL, LongTexts
from model.tokenizer.flavours import FLAVOURS, UNKNOWN

SPECIAL_TOKENS = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
SEGMENTS = ("text", "text_pair")
TRUNCATORS = ("round_robin", "longest_first", "waterfall")


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """How one text, or a pair (`segments` 2), becomes at most `max_tokens` tokens, special ones included.

    `flavour` names a class of model.tokenizer.flavours. `truncator` says which tokens of a pair stay: `round_robin`
    (Model Garden) and `longest_first` (Hugging Face's fast tokenizers) give each segment half the room and what the
    other leaves of its half, and differ only in an odd token of room; with `waterfall` the first takes all it needs.
    `long_texts` says which tokens of a single text stay, or that it becomes several windows of `max_tokens`.
    `strip_accents` None means: exactly if case is folded, which is all that the flavours but `huggingface` have.
    """

    flavour: str = "model_garden"
    lower_case: bool = True
    strip_accents: bool | None = None
    max_tokens: int = 128
    segments: int = 1
    truncator: str = "round_robin"
    long_texts: LongTexts = field(default_factory=LongTexts)

    def __post_init__(self) -> None:
        if self.flavour not in FLAVOURS:
            raise ValueError(f"tokenizer flavour {self.flavour!r} is unknown; known are {', '.join(FLAVOURS)}")
        if self.strips_on_its_own and self.flavour != "huggingface":
            raise ValueError(
                f"strip_accents is {self.strip_accents} with lower case {self.lower_case}; the tokenizer "
                f"{self.flavour} strips accents exactly when it folds case: only huggingface has the two apart"
            )
        if self.truncator not in TRUNCATORS:
            raise ValueError(f"truncator {self.truncator!r} is unknown; known are {', '.join(TRUNCATORS)}")
        if self.segments not in (1, 2):
            raise ValueError(f"segments is {self.segments}; a text has 1, a pair 2")
        if self.max_tokens < 1 + self.segments:
            raise ValueError(f"max_tokens is {self.max_tokens}; at least {1 + self.segments}, for [CLS] and each [SEP]")
        self.long_texts.check_fit(self.max_tokens, self.segments)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the text columns: `text`, and `text_pair` for pairs."""
        return SEGMENTS[: self.segments]

    @property
    def strips_on_its_own(self) -> bool:
        """Whether accents do not go with the case."""
        return self.strip_accents not in (None, self.lower_case)

    @property
    def described(self) -> dict[str, Any]:
        """The entry `tokenizer` of a bundle; its limit, segments and long texts have entries of their own."""
        found: dict[str, Any] = {"flavour": self.flavour, "lower_case": self.lower_case}
        if self.strips_on_its_own:
            found["strip_accents"] = self.strip_accents
        return found if self.segments == 1 else {**found, "truncator": self.truncator}


class Tokenized(NamedTuple):
    """`tokens`: ragged int32 [B, (T)] with [CLS] and [SEP]; `first_segment`: int32 [B]; `truncated`: bool [B].

    Where texts have windows, `tokens` are those of all windows of a text, one after the other, and `windows` has their
    lengths, ragged int64 [B, (W)]. A text with too many has none.
    """

    tokens: tf.RaggedTensor
    first_segment: tf.Tensor
    truncated: tf.Tensor
    windows: tf.RaggedTensor | None = None


def read_vocabulary(path: str | Path) -> list[str]:
    """The tokens of a vocabulary file, one a line; raises ValueError naming a special token it lacks."""
    tokens = Path(path).read_text(encoding="utf-8").split("\n")
    if tokens and not tokens[-1]:
        tokens.pop()
    missing = [token for token in SPECIAL_TOKENS if token not in tokens]
    if missing:
        raise ValueError(f"{path}: the vocabulary has {len(tokens):,} tokens but not {', '.join(missing)}")
    return tokens


def has_capitals(tokens: Iterable[str]) -> bool:
    """Whether a vocabulary was made without case folding, as far as its tokens tell."""
    return any(token != token.lower() for token in tokens if not token.startswith("["))


class Tokenizer(tf.Module):
    """`tokenize(*texts)` for one vocabulary and TokenizerSpec; the vocabulary travels as an asset of the graph."""

    def __init__(self, vocabulary: str | Path, spec: TokenizerSpec) -> None:
        super().__init__()
        tokens = read_vocabulary(vocabulary)
        self._asset = tf.saved_model.Asset(str(vocabulary))
        self._spec = spec
        self._start, self._end = tokens.index("[CLS]"), tokens.index("[SEP]")
        options = {"strip_accents": spec.strip_accents} if spec.strips_on_its_own else {}
        self._word_pieces = FLAVOURS[spec.flavour](tokens, lower_case=spec.lower_case, **options)

    def tokenize(self, *texts: tf.Tensor) -> Tokenized:
        """[CLS] pieces [SEP] of each text, or [CLS] pieces [SEP] pieces [SEP] of each pair; string [B] each."""
        pieces = [self._word_pieces.tokenize(segment) for segment in texts]
        if self._spec.long_texts.windows:
            return cut_windows(pieces[0], self._spec, start=self._start, end=self._end)
        return pack(pieces, self._spec, start=self._start, end=self._end)


def pack(pieces: list[tf.RaggedTensor], spec: TokenizerSpec, *, start: int, end: int) -> Tokenized:
    """Cuts one or two segments (ragged int32 [B, (T)]) to the room there is and sets the special tokens.

    As Model Garden's BertPackInputs, without padding: a pair keeps tokens in turns, from the front, until the room is
    used. With longest_first as Hugging Face's fast tokenizers: see `_first_share`. Of a single text `long_texts` says
    which tokens stay.
    """
    room = tf.constant(spec.max_tokens - 1 - len(pieces), tf.int64)
    lengths = [segment.row_lengths() for segment in pieces]
    if len(pieces) == 1:
        kept = [tf.minimum(lengths[0], room)]
    else:
        first = tf.minimum(lengths[0], _first_share(spec.truncator, room, *lengths))
        kept = [first, tf.minimum(lengths[1], room - first)]
    parts = [_kept(segment, count, spec.long_texts) for segment, count in zip(pieces, kept, strict=True)]
    tokens = _between(start, parts, end)
    return Tokenized(tokens, tf.cast(kept[0] + 2, tf.int32), tf.add_n(lengths) > tf.add_n(kept))


def _kept(segment: tf.RaggedTensor, count: tf.Tensor, long_texts: LongTexts) -> tf.RaggedTensor:
    """`count` int64 [B] tokens of each row: its first, its last, or the larger half first and the smaller half last."""
    places = tf.ragged.range(count)
    place, row = places.flat_values, places.value_rowids()
    source = tf.gather(segment.row_starts(), row) + place
    if long_texts.how != CUT:
        head = tf.zeros_like(count) if long_texts.how == TAIL else (count + 1) // 2
        left_out = tf.gather(segment.row_lengths() - count, row)
        source += tf.where(place < tf.gather(head, row), tf.zeros_like(place), left_out)
    return places.with_flat_values(tf.gather(segment.values, source))


def _between(start: int, parts: list[tf.RaggedTensor], end: int) -> tf.RaggedTensor:
    """`start`, then each of `parts` (ragged int32 [B, (T)]) with `end` behind it, in one row.

    Says to what place each token goes: tf.concat of ragged tensors has five times as many operations, which each
    import and training would trace eight times.
    """
    lengths = [part.row_lengths() for part in parts]
    total = tf.add_n(lengths) + 1 + len(parts)
    place = tf.cumsum(total, exclusive=True)
    places, values = [place], [tf.fill(tf.shape(place), start)]
    for part, length in zip(parts, lengths, strict=True):
        places += [tf.ragged.range(place + 1, place + 1 + length).flat_values, place + 1 + length]
        values += [part.flat_values, tf.fill(tf.shape(place), end)]
        place += 1 + length
    tokens = tf.dynamic_stitch([tf.cast(each, tf.int32) for each in places], values)
    return tf.RaggedTensor.from_row_lengths(tokens, total, validate=False)


def cut_windows(pieces: tf.RaggedTensor, spec: TokenizerSpec, *, start: int, end: int) -> Tokenized:
    """Windows of `max_tokens` with the special tokens in each: ragged int32 [B, (T)] -> see Tokenized.

    As Hugging Face's tokenizers with return_overflowing_tokens: the last window is the first that reaches the end.
    """
    long_texts = spec.long_texts
    room, step = spec.max_tokens - 2, long_texts.step(spec.max_tokens)
    lengths = pieces.row_lengths()
    counts = 1 + tf.maximum(lengths - room + step - 1, 0) // step
    counts = tf.where(counts > long_texts.max_windows, tf.zeros_like(counts), counts)
    # One row a window from here: which text it is of, and where it begins there.
    text = tf.repeat(tf.range(tf.size(counts)), counts)
    place = step * tf.ragged.range(counts).flat_values
    begins = tf.gather(pieces.row_starts(), text) + place
    ends = tf.minimum(begins + room, tf.gather(pieces.row_limits(), text))
    places = tf.ragged.range(begins, ends)
    inner = places.with_flat_values(tf.gather(pieces.values, places.flat_values))
    tokens = _between(start, [inner], end)
    windows = tf.RaggedTensor.from_row_lengths(tokens.row_lengths(), counts)
    joined = tf.RaggedTensor.from_row_lengths(tokens, counts).merge_dims(1, 2)
    total = tf.cast(joined.row_lengths(), tf.int32)
    return Tokenized(joined, total, tf.zeros_like(counts, tf.bool), windows)


def _first_share(truncator: str, room: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Tokens that the first segment of a pair may keep: int64, a scalar or `[B]`, of the lengths int64 `[B]`."""
    if truncator == "waterfall":
        return room
    # Who gets an odd token of room: always the first segment, or the longer one, and of two equally long the second.
    odd = tf.cast(first > second, tf.int64) if truncator == "longest_first" else 1
    return tf.maximum((room + odd) // 2, room - second)
