"""FeaturizeTexts: Texts -> Tokens, through the TF Transform graph of the bundle."""

from collections.abc import Iterator, Sequence
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

from model.tokenizer.flavours import UNKNOWN
from model.tokenizer.tokenization import SEGMENTS, read_vocabulary
from transforms.batches import coder as coder
from transforms.batches.dead_letters import reject
from transforms.batches.measures import MEASURES, packed
from transforms.batches.schemas import Columns, check, texts_schema, tokens_schema
from transforms.featurize.preprocessing import LABELS, VOCABULARY
from transforms.featurize.traits import count_tokens, measure
from transforms.stores.bundles import BundleReference, open_pinned_bundle
from transforms.stores.loaded import once_a_process
from transforms.stores.paths import join

STAGE = "Featurize"
PORTION_BYTES = 512 * 1024
"""Texts given to the graph at once: several forms of them stay in a core's cache."""


class TokenArrays(NamedTuple):
    """`values` int32 [N] and `offsets` int64 [B + 1] of the tokens, `first_segment` int32 [B], `truncated` bool [B]."""

    values: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    first_segment: npt.NDArray[np.int32]
    truncated: npt.NDArray[np.bool_]


class Tokenize(Protocol):
    """What featurize needs of the graph."""

    def __call__(self, *texts: npt.NDArray[np.object_]) -> TokenArrays: ...


class TransformGraph:
    """The transform_fn in a bundle folder, as one function of `segments` columns of texts."""

    def __init__(self, folder: str, segments: int = 1) -> None:
        layer = tft.TFTransformOutput(folder).transform_features_layer()

        # AutoGraph would rewrite the sources of TF Transform's own layer, in which no branch depends on a tensor: that
        # takes most of the first call.
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)] * segments, autograph=False)
        @tf.autograph.experimental.do_not_convert
        def transform(*texts: tf.Tensor) -> tuple[Any, ...]:
            features = layer(dict(zip(SEGMENTS[:segments], texts, strict=True)))
            return (
                tf.cast(features["tokens"].values, tf.int32),
                features["tokens"].row_splits,
                tf.cast(features["first_segment"], tf.int32),
                tf.cast(features["truncated"], tf.bool),
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
    return read_vocabulary(join(folder, tft.TFTransformOutput.TRANSFORM_FN_DIR, "assets", VOCABULARY)).index(UNKNOWN)


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
        self._graph: Tokenize = once_a_process(
            "preprocessing", bundle.fingerprint, lambda: TransformGraph(str(bundle.path), self._columns.segments)
        )
        self._unknown: int = once_a_process("unknown", bundle.fingerprint, lambda: read_unknown(str(bundle.path)))

    def process(
        self, texts: pa.RecordBatch
    ) -> Iterator[pa.RecordBatch | TaggedOutput[Literal["dead"], pa.RecordBatch]]:
        tokens, dead = featurize(texts, self._graph, self._columns, self._unknown)
        if tokens.num_rows:
            yield tokens
        if dead is not None:
            yield TaggedOutput("dead", dead)


def featurize(
    texts: pa.RecordBatch, graph: Tokenize, columns: Columns, unknown: int = -1
) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """Texts -> Tokens, and the dead letters of the rows on which the graph fails (None if there are none).

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
    }
    unknown_tokens = count_tokens(unknown, tokens.values.to_numpy(), tokens.offsets.to_numpy())
    own[MEASURES] = packed(measure([texts.column(name) for name in SEGMENTS[: columns.segments]], unknown_tokens))
    arrays = [own[name] if name in own else texts.column(name) for name in schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema), dead


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
