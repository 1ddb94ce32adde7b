"""FeaturizeTexts: Texts -> Tokens, through the TF Transform graph of the bundle."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_text  # noqa: F401  TF Transform registers its ops only after it has loaded the graph
import tensorflow_transform as tft
from apache_beam.pvalue import TaggedOutput

from model.long_texts import LongTexts
from model.tokenizer.flavours import UNKNOWN
from model.tokenizer.tokenization import SEGMENTS, read_vocabulary
from transforms.batches import coder as coder
from transforms.batches.dead_letters import reject
from transforms.batches.measures import MEASURES, packed, sample
from transforms.batches.schemas import MAX_ROWS, Columns, check, texts_schema, tokens_schema
from transforms.featurize.preprocessing import LABELS
from transforms.featurize.traits import count_tokens, measure
from transforms.stores.bundles import BundleReference, open_pinned_bundle
from transforms.stores.loaded import once_a_process

STAGE = "Featurize"
PORTION_BYTES = 512 * 1024
"""Texts given to the graph at once: several forms of them stay in a core's cache."""
MOST_TOKENS = MAX_ROWS * 512
"""Tokens of one RecordBatch of windows at most, as many as a full one of texts cut to 512 has; one longer row travels
alone."""


class TokenArrays(NamedTuple):
    """`values` int32 [N] and `offsets` int64 [B + 1] of the tokens, `first_segment` int32 [B], `truncated` bool [B].

    Where the bundle makes windows, `windows` int32 [W] are their tokens, and row r has those from `ends[r]` to
    `ends[r + 1]`, int64 [B + 1]; none if it has too many.
    """

    values: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    first_segment: npt.NDArray[np.int32]
    truncated: npt.NDArray[np.bool_]
    windows: npt.NDArray[np.int32] | None = None
    ends: npt.NDArray[np.int64] | None = None


class Tokenize(Protocol):
    """What featurize needs of the graph."""

    def __call__(self, *texts: npt.NDArray[np.object_]) -> TokenArrays: ...


class TransformGraph:
    """The transform_fn in a bundle folder, as one function of `segments` columns of texts; `windows`: it makes them."""

    def __init__(self, folder: str, segments: int = 1, windows: bool = False) -> None:
        layer = tft.TFTransformOutput(folder).transform_features_layer()

        # AutoGraph would rewrite the sources of TF Transform's own layer, in which no branch depends on a tensor: that
        # takes most of the first call.
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)] * segments, autograph=False)
        @tf.autograph.experimental.do_not_convert
        def transform(*texts: tf.Tensor) -> tuple[Any, ...]:
            features = layer(dict(zip(SEGMENTS[:segments], texts, strict=True)))
            found = features.get("windows")
            return (
                tf.cast(features["tokens"].values, tf.int32),
                features["tokens"].row_splits,
                tf.cast(features["first_segment"], tf.int32),
                tf.cast(features["truncated"], tf.bool),
                *((tf.cast(found.values, tf.int32), found.row_splits) if windows else ()),
            )

        self._transform = transform

    def __call__(self, *texts: npt.NDArray[np.object_]) -> TokenArrays:
        tensors = self._transform(*(tf.constant(column, tf.string) for column in texts))
        return TokenArrays(*(tensor.numpy() for tensor in tensors))


def read_labels(folder: str) -> list[str]:
    """The labels of a classification: the asset of the label vocabulary in a bundle folder, in order."""
    return [label.decode() for label in tft.TFTransformOutput(folder).vocabulary_by_name(LABELS)]


def read_unknown(folder: str) -> int:
    """The token of words that the vocabulary in a bundle folder does not have."""
    # The vocabulary has the name of the file that a training was given; the other asset is that of the labels.
    assets = Path(folder, tft.TFTransformOutput.TRANSFORM_FN_DIR, "assets")
    (vocabulary,) = (file for file in assets.iterdir() if file.name != LABELS)
    return read_vocabulary(vocabulary).index(UNKNOWN)


class Featurized(NamedTuple):
    """`tokens`: PCollection[RecordBatch of Tokens]; `dead`: PCollection[RecordBatch of REJECTED]."""

    tokens: beam.PCollection[pa.RecordBatch]
    dead: beam.PCollection[pa.RecordBatch]


class FeaturizeTexts(beam.PTransform):
    """PCollection[RecordBatch of Texts] -> Featurized."""

    def __init__(self, bundle: BundleReference, columns: Columns) -> None:
        super().__init__()
        self._bundle, self._columns = bundle, columns

    def expand(self, texts: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        featurizer = _Featurize(self._bundle, self._columns)
        outputs = texts | "TokenizeTexts" >> beam.ParDo(featurizer).with_outputs("dead", main="tokens")
        return Featurized(outputs.tokens, outputs.dead)


class _Featurize(beam.DoFn):
    def __init__(self, bundle: BundleReference, columns: Columns) -> None:
        self._bundle, self._columns = bundle, columns

    def setup(self) -> None:
        bundle = open_pinned_bundle(self._bundle)
        columns = self._columns
        self._graph: Tokenize = once_a_process(
            "preprocessing",
            bundle.fingerprint,
            lambda: TransformGraph(str(bundle.path), columns.segments, columns.windows),
        )
        self._step = LongTexts.of(bundle.long_texts).step(bundle.max_tokens) if columns.windows else None
        self._max_tokens = bundle.max_tokens
        self._unknown: int = once_a_process("unknown", bundle.fingerprint, lambda: read_unknown(str(bundle.path)))

    def process(
        self, texts: pa.RecordBatch
    ) -> Iterator[pa.RecordBatch | TaggedOutput[Literal["dead"], pa.RecordBatch]]:
        parts = [texts] if self._step is None else within(texts, self._max_tokens, self._step)
        for part in parts:
            tokens, dead = featurize(part, self._graph, self._columns, self._unknown)
            if tokens.num_rows:
                yield tokens
            if dead is not None:
                yield TaggedOutput("dead", dead)


def within(texts: pa.RecordBatch, max_tokens: int, step: int, most: int = MOST_TOKENS) -> Iterator[pa.RecordBatch]:
    """Slices of Texts with at most MAX_ROWS windows, which have at most `most` tokens together; a longer text is alone.

    A window of `max_tokens` begins every `step` tokens, and a token has a byte or more, but for a few signs that stand
    for several words.
    """
    sizes = pc.binary_length(texts.column("text")).to_numpy().astype(np.int64)
    needed, most = np.cumsum(1 + sizes // step), min(most // max_tokens, MAX_ROWS)
    start = 0
    while start < texts.num_rows:
        before = int(needed[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(needed, before + most, side="right")))
        yield texts.slice(start, end - start)
        start = end


def featurize(
    texts: pa.RecordBatch, graph: Tokenize, columns: Columns, unknown: int = -1
) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """Texts -> Tokens, and dead letters of rows on which the graph fails, or with too many windows (None for none).

    `unknown` is the token of unknown words, which are counted.
    """
    check(texts, texts_schema(columns), STAGE)
    segments = [texts.column(name) for name in SEGMENTS[: columns.segments]]
    values = [column.cast(pa.binary()).to_numpy(zero_copy_only=False) for column in segments]
    isolated = [_isolate(values, rows, graph) for rows in portions(segments)]
    good = np.concatenate([np.empty(0, np.intp), *(rows for rows, _ in isolated)])
    parts = [part for _, some in isolated for part in some]
    dead = None
    if len(good) < texts.num_rows:
        bad = np.setdiff1d(np.arange(texts.num_rows), good)
        reason = "the tokenizer failed on this text"
        dead = reject(texts, bad, STAGE, ["not_tokenized"] * len(bad), [reason] * len(bad))
        texts = texts.take(pa.array(good))
    lengths = np.concatenate([np.zeros(1, np.int64), *(np.diff(part.offsets) for part in parts)])
    tokens = pa.LargeListArray.from_arrays(
        pa.array(np.cumsum(lengths)),
        pa.array(np.concatenate([np.empty(0, np.int32), *(p.values for p in parts)])),
    )
    schema = tokens_schema(columns)
    first_segment = np.concatenate([np.empty(0, np.int32), *(p.first_segment for p in parts)])
    truncated = np.concatenate([np.empty(0, bool), *(p.truncated for p in parts)])
    own = {
        "tokens": tokens.cast(schema.field("tokens").type),
        "first_segment": pa.array(first_segment),
        "truncated": pa.array(truncated),
        **({"windows": _windows(parts)} if columns.windows else {}),
    }
    unknown_tokens = count_tokens(unknown, tokens.values.to_numpy(), tokens.offsets.to_numpy())
    segments = [texts.column(name) for name in SEGMENTS[: columns.segments]]
    own[MEASURES] = packed(measure(segments, unknown_tokens, sample(texts.column("text_hash"))))
    arrays = [own[name] if name in own else texts.column(name) for name in schema.names]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    return _reject_too_many(batch, dead) if columns.windows else (batch, dead)


def _windows(parts: Sequence[TokenArrays]) -> pa.ListArray:
    """The lengths of the windows of each row, list<int32>."""
    counts = [np.diff(part.ends) for part in parts if part.ends is not None]
    lengths = [part.windows for part in parts if part.windows is not None]
    ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts]), dtype=np.int32)
    values = pa.array(np.concatenate([np.empty(0, np.int32), *lengths]))
    kind = pa.list_(pa.field("item", pa.int32(), nullable=False))
    return pa.ListArray.from_arrays(pa.array(ends), values, type=kind)


def _reject_too_many(
    tokens: pa.RecordBatch, dead: pa.RecordBatch | None
) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """The rows that have windows, and dead letters for the others beside those that there are."""
    has = pc.greater(pc.list_value_length(tokens.column("windows")), 0)
    bad = np.flatnonzero(~has.to_numpy(zero_copy_only=False))
    if not len(bad):
        return tokens, dead
    reason = "the text has more windows than the bundle allows (--max-windows of its import or training)"
    more = reject(tokens, bad, STAGE, ["too_many_windows"] * len(bad), [reason] * len(bad))
    return tokens.filter(has), more if dead is None else pa.concat_batches([dead, more])


def portions(segments: Sequence[pa.Array]) -> list[npt.NDArray[np.intp]]:
    """The rows of one or two columns of texts, in portions of about PORTION_BYTES."""
    sizes = sum(pc.binary_length(column).to_numpy().astype(np.int64) for column in segments)
    number = np.cumsum(sizes) // PORTION_BYTES
    return np.split(np.arange(len(number)), np.flatnonzero(np.diff(number)) + 1)


def _isolate(
    values: list[npt.NDArray[np.object_]], rows: npt.NDArray[np.intp], graph: Tokenize
) -> tuple[npt.NDArray[np.intp], list[TokenArrays]]:
    """Halves a batch on which the graph fails down to the rows at fault, and gives the others with their tokens."""
    if not len(rows):
        return rows, []
    try:
        return rows, [graph(*(column[rows] for column in values))]
    except tf.errors.InvalidArgumentError:
        # No text is to blame for another error. The message may quote the text: it goes nowhere.
        if len(rows) == 1:
            return rows[:0], []
    half = len(rows) // 2
    left, left_parts = _isolate(values, rows[:half], graph)
    right, right_parts = _isolate(values, rows[half:], graph)
    return np.concatenate([left, right]), left_parts + right_parts
