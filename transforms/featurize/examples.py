"""What training reads of the rows that the Beam job has made: their tokens stay in a file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.training.examples import Examples, TokenFile
from model.windows import Folding, Windows, joined
from transforms.batches.fingerprints import text_hash

_ROWS = 8_192


def examples_schema(task: str, windows: bool = False) -> pa.Schema:
    """What TransformDataset gives for Preprocessing, the row key passed through; `windows`: it makes them."""
    integers = pa.large_list(pa.int64())
    target = pa.large_list(pa.float32()) if task == "regression" else integers
    columns = {"first_segment": integers, "target": target, "tokens": integers, "truncated": integers}
    columns |= {"windows": integers} if windows else {}
    return pa.schema([*columns.items(), ("row_key", pa.large_list(pa.large_binary()))])


class RowsRead(NamedTuple):
    """Examples and their row keys; `unknown` of them have a label that is not in the vocabulary.

    `too_many` rows have too many windows, and are left out.
    """

    examples: Examples
    row_keys: pa.Array
    unknown: int
    too_many: int = 0


def read_examples(
    pattern: str, task: str, tokens_file: Path, labels: int = 0, folding: Folding | None = None
) -> RowsRead:
    """Examples from the Parquet files that match `pattern`, sorted by row key; `labels` is how many there are.

    Their tokens go to `tokens_file` and are read there row by row: they may be more than memory holds. With `folding`
    the texts have windows.
    """
    folder, name = Path(pattern).parent, Path(pattern).name
    flat: dict[str, list[pa.Array]] = {name: [] for name in ("first_segment", "row_key")}
    lengths, targets = [np.empty(0, np.int64)], [_targets(None, task, labels)]
    parts: list[Windows] = []
    with tokens_file.open("wb") as written:
        for file in sorted(folder.glob(name)):
            with pq.ParquetFile(file) as opened:
                for batch in opened.iter_batches(_ROWS):
                    tokens = batch.column("tokens")
                    tokens.flatten().to_numpy().astype("<i4").tofile(written)
                    lengths.append(np.diff(tokens.offsets.to_numpy()))
                    targets.append(_targets(batch.column("target"), task, labels))
                    if folding is not None:
                        parts.append(_windows(batch.column("windows")))
                    for column, found in flat.items():
                        found.append(batch.column(column).flatten())
    schema = examples_schema(task)
    columns = {c: pa.chunked_array(found, schema.field(c).type.value_type) for c, found in flat.items()}
    length = np.concatenate(lengths)
    keys = columns["row_key"].combine_chunks()
    # Beam promises no order; sorted rows make a seed mean the same thing twice.
    order = pc.sort_indices(keys).to_numpy()
    windows = None
    if folding is not None:
        windows = joined(parts)
        order = order[windows.counts[order] > 0]
        windows = windows.take(order)
    examples = Examples(
        TokenFile(tokens_file),
        length[order].astype(np.int32),
        columns["first_segment"].to_numpy()[order].astype(np.int32),
        np.concatenate([part for part, _ in targets])[order],
        (np.cumsum(length) - length)[order],
        windows,
        folding,
    )
    return RowsRead(
        examples, keys.take(pa.array(order)), sum(unknown for _, unknown in targets), len(length) - len(order)
    )


def _windows(column: pa.Array) -> Windows:
    offsets = column.offsets.to_numpy().astype(np.int64)
    return Windows(column.flatten().to_numpy().astype(np.int32), offsets - offsets[0])


def _targets(column: pa.Array | None, task: str, labels: int) -> tuple[np.ndarray, int]:
    """Targets as Examples has them, of a column of examples_schema, and how many rows have an unknown label (-1)."""
    if column is None:
        shape = (0, labels) if task == "multilabel" else 0
        return np.empty(shape, {"classification": np.int64, "multilabel": np.bool_, "regression": np.float32}[task]), 0
    found = column.flatten().to_numpy()
    if task == "regression":
        return found, 0
    if task == "classification":
        return found, int((found < 0).sum())
    rows = pc.list_parent_indices(column).to_numpy()
    targets = np.zeros((len(column), labels), np.bool_)
    targets[rows[found >= 0], found[found >= 0]] = True
    return targets, len(np.unique(rows[found < 0]))


def held_rows(row_keys: pa.Array, share: float) -> npt.NDArray[np.bool_]:
    """Which rows are held out for validation, by a hash of the row key: the same rows each time."""
    hashes = text_hash(row_keys).to_numpy().view(np.uint64)
    return hashes % np.uint64(10_000) < np.uint64(round(share * 10_000))  # type: ignore[no-any-return]


def hold_out(examples: Examples, row_keys: pa.Array, share: float) -> tuple[Examples, Examples]:
    """Splits examples into training and validation, as held_rows says."""
    held = held_rows(row_keys, share)
    return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))
