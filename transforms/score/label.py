"""From a model's numbers to the columns of Scores."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.batches.dead_letters import reject
from transforms.batches.measures import MEASURES, packed, sample, unpacked
from transforms.batches.repeated import WORK_FIELD, value_of
from transforms.batches.schemas import check, outputs_schema
from transforms.batches.score_columns import EMBEDDING
from transforms.runs.labelling import STAGE, Labelling, decided, same_for_all
from transforms.score.certainty import with_certainty

_FEW = 16


def label(batch: pa.RecordBatch, labelling: Labelling) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """What the model gave -> Scores with positions, and dead letters for rows that failed or are not finite (or None).

    `batch` has the schema outputs_schema.
    """
    check(batch, outputs_schema(labelling.columns), STAGE)
    width, more = max(1, len(labelling.labels)), 0 if labelling.embedding is None else labelling.embedding.list_size
    # The embedding stands behind the numbers that scores are made of.
    numbers = batch.column("outputs").flatten().to_numpy().reshape(batch.num_rows, width + more)
    outputs, vectors = numbers[:, :width], _vectors(numbers[:, width:], labelling.embedding)
    failed = batch.column("failed").to_numpy(zero_copy_only=False)
    good = np.isfinite(outputs).all(axis=1) & np.isfinite(vectors).all(axis=1) & ~failed
    dead = None
    if not good.all():
        bad = np.flatnonzero(~good)
        codes, reasons = zip(*(_fault(failed[row], numbers[row]) for row in bad), strict=True)
        dead = reject(batch, bad, STAGE, codes, reasons)
        batch, outputs, vectors = batch.filter(pa.array(good)), outputs[good], vectors[good]
    schema = labelling.schema
    if not labelling.labels:
        own = {"value": pa.array(np.ascontiguousarray(outputs[:, 0]))}
    else:
        own, ranked = _classes(outputs, labelling)
        measured, chosen = unpacked(batch.column(MEASURES)), sample(batch.column("text_hash"))
        own[MEASURES] = packed(with_certainty(measured, outputs, ranked, chosen, labelling.thresholds))
    if labelling.embedding is not None:
        own[EMBEDDING] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=labelling.embedding)
    own |= same_for_all(labelling, batch.num_rows, value_of(batch, WORK_FIELD)["precision"])
    arrays = [own[name] if name in own else batch.column(name) for name in schema.names]
    return check(pa.RecordBatch.from_arrays(arrays, schema=schema), schema, STAGE), dead


def _fault(failed: bool, numbers: npt.NDArray[np.float32]) -> tuple[str, str]:
    """Code and reason of a row that has no scores."""
    if failed:
        return "not_scored", "the model failed on this text"
    if not np.isfinite(numbers).all():
        return "not_finite", "the model gave NaN or infinity"
    return "not_finite", "a number of the embedding is beyond 65,504, the largest of float16; take --embeddings float32"


def _vectors(numbers: npt.NDArray[np.float32], kind: pa.FixedSizeListType | None) -> npt.NDArray[np.floating]:
    """The embeddings [B, H] as numbers of the column, in memory of their own; infinity where float16 ends."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32 if kind is None else kind.value_type.to_pandas_dtype())


def _classes(
    probabilities: npt.NDArray[np.float32], labelling: Labelling
) -> tuple[dict[str, pa.Array], npt.NDArray[np.float32]]:
    """label and probability, or labels, and probabilities, most probable first; equal ones in the order of the labels.

    What is given of several labels does not depend on top_k. Beside the columns: the two largest probabilities of each
    row, or more of them, largest first.
    """
    several = bool(labelling.thresholds)
    kept = labelling.top_k or len(labelling.labels)
    sorted_ = len(labelling.labels) if several else max(kept, min(2, len(labelling.labels)))
    order = _top(probabilities, sorted_).astype(np.int32)
    ranked = np.take_along_axis(probabilities, order, axis=1)
    cut = (slice(None), slice(kept))
    listed = _listed(order[cut], ranked[cut], np.ones((len(order), kept), bool), labelling)
    if several:
        given = ranked >= np.array(labelling.thresholds, np.float32)[order]
        return {"labels": _listed(order, ranked, given, labelling), "probabilities": listed}, ranked
    best, probability = _labels(order[:, 0], labelling.labels), pa.array(np.ascontiguousarray(ranked[:, 0]))
    own = {"label": best, "probability": probability, "probabilities": listed}
    return own | decided(best, probability, labelling), ranked


def _listed(
    order: npt.NDArray[np.int32], ranked: npt.NDArray[np.float32], given: npt.NDArray[np.bool_], labelling: Labelling
) -> pa.ListArray:
    """Of each row the entries that are `given`: numbers of labels [B, K] and their probabilities."""
    kind = labelling.schema.field("probabilities").type
    columns = [_labels(order[given], labelling.labels), pa.array(ranked[given])]
    entries = pa.StructArray.from_arrays(columns, fields=list(kind.value_type))
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(given.sum(axis=1), dtype=np.int32)])
    return pa.ListArray.from_arrays(pa.array(offsets), entries, type=kind)


def _top(probabilities: npt.NDArray[np.float32], kept: int) -> npt.NDArray[np.intp]:
    """Columns of the `kept` largest of each row, largest first; of equal ones the first column comes first."""
    if kept > _FEW or kept == probabilities.shape[1]:
        return np.argsort(-probabilities, axis=1, kind="stable")[:, :kept]
    # A few passes cost less than sorting many classes.
    left = probabilities.copy()
    order = np.empty((len(left), kept), np.intp)
    for place in range(kept):
        order[:, place] = left.argmax(axis=1)
        np.put_along_axis(left, order[:, place : place + 1], -np.inf, axis=1)
    return order


def _labels(indices: npt.NDArray[np.int32], labels: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.ascontiguousarray(indices)), pa.array(labels, pa.string()))
