"""Reading one stream of a BigQuery read session: Arrow from the service to the blocks."""

from collections.abc import Sequence

import pyarrow as pa

from transforms.bigquery.clients import read_client
from transforms.errors import TableError
from transforms.read.formats.blocks import Block, Blocks, positions
from transforms.runs.plan import Piece


def read_blocks(piece: Piece, wanted: Sequence[str]) -> Blocks:
    """The rows of the stream that `piece.version` names, one block a message; the position of a row is its offset.

    A stream that breaks is resumed by Google's client at the offset it had come to. Raises TableError when the service
    no longer serves the stream.
    """
    from google.api_core.exceptions import GoogleAPICallError

    done, schema = 0, None
    try:
        for message in read_client().read_rows(piece.version):
            if not message.row_count:
                continue
            if schema is None:
                # Only the first message has it.
                schema = pa.ipc.read_schema(pa.py_buffer(message.arrow_schema.serialized_schema))
            data = pa.py_buffer(message.arrow_record_batch.serialized_record_batch)
            rows = pa.ipc.read_record_batch(data, schema)
            rows = rows.select([name for name in dict.fromkeys(wanted) if name in schema.names])
            yield Block(positions(done, message.row_count), rows, positions(done, rows.num_rows), [])
            done += message.row_count
    except GoogleAPICallError as error:
        raise TableError(
            f"{piece.file}: no longer read after row {done:,} ({type(error).__name__}); start the run again. A read "
            "session ends six hours after it began: a longer run needs more workers, or fewer rows (--input-filter)"
        ) from error
