"""What training reads of the rows that the Beam job has made: their tokens stay in a file."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.training.examples import Examples, TokenFile
from transforms.batches.fingerprints import text_hash

_ROWS = 8_192


def examples_schema(task: str) -> pa.Schema:
    """What TransformDataset gives for Preprocessing, the row key passed through."""
    integers = pa.large_list(pa.int64())
    target = integers if task == "classification" else pa.large_list(pa.float32())
    columns = {"first_segment": integers, "target": target, "tokens": integers, "truncated": integers}
    return pa.schema([*columns.items(), ("row_key", pa.large_list(pa.large_binary()))])


def read_examples(pattern: str, task: str, tokens_file: Path) -> tuple[Examples, pa.Array]:
    """Examples from the Parquet files that match `pattern`, sorted by row key, and their row keys.

    Their tokens go to `tokens_file` and are read there row by row: they may be more than memory holds.
    """
    folder, name = Path(pattern).parent, Path(pattern).name
    flat: dict[str, list[pa.Array]] = {name: [] for name in ("first_segment", "target", "row_key")}
    lengths = [np.empty(0, np.int64)]
    with tokens_file.open("wb") as written:
        for file in sorted(folder.glob(name)):
            with pq.ParquetFile(file) as opened:
                for batch in opened.iter_batches(_ROWS):
                    tokens = batch.column("tokens")
                    tokens.flatten().to_numpy().astype("<i4").tofile(written)
                    lengths.append(np.diff(tokens.offsets.to_numpy()))
                    for column, found in flat.items():
                        found.append(batch.column(column).flatten())
    schema = examples_schema(task)
    columns = {c: pa.chunked_array(found, schema.field(c).type.value_type) for c, found in flat.items()}
    length = np.concatenate(lengths)
    keys = columns["row_key"].combine_chunks()
    # Beam promises no order; sorted rows make a seed mean the same thing twice.
    order = pc.sort_indices(keys).to_numpy()
    examples = Examples(
        TokenFile(tokens_file),
        length[order].astype(np.int32),
        columns["first_segment"].to_numpy()[order].astype(np.int32),
        columns["target"].to_numpy()[order],
        (np.cumsum(length) - length)[order],
    )
    return examples, keys.take(pa.array(order))


def hold_out(examples: Examples, row_keys: pa.Array, share: float) -> tuple[Examples, Examples]:
    """Splits examples into training and validation by a hash of the row key: the same rows each time."""
    hashes = text_hash(row_keys).to_numpy().view(np.uint64)
    held = hashes % np.uint64(10_000) < np.uint64(round(share * 10_000))
    return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))
