"""Between the Storage Read client and the emulator: what the service does and the emulator does not.

Sessions say when they end, messages are small, offsets are honoured, and a stream breaks off where a test says so.
Requests are recorded.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

SERVICE = "/google.cloud.bigquery.storage.v1.BigQueryRead/"
SECONDS = 30
SESSION_ENDS = dt.datetime(2026, 11, 22, 8, tzinfo=dt.UTC)


class StorageProxy(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A gRPC server on `address`, in front of the emulator at `target`.

    Each call that reads a stream takes the first of `breaks`: after how many rows it ends, and with which status.
    """

    def __init__(self, target: str, message_rows: int = 7) -> None:
        self.sessions: list[types.CreateReadSessionRequest] = []
        self.reads: list[tuple[str, int]] = []
        self.breaks: list[tuple[int, grpc.StatusCode]] = []
        self.before_session: Callable[[], None] = lambda: None
        self._message_rows = message_rows
        self._channel = grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", -1)])
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> "StorageProxy":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait(SECONDS)
        self._channel.close()

    def service(self, call: Any) -> Any:
        if call.method == SERVICE + "CreateReadSession":
            return grpc.unary_unary_rpc_method_handler(self._create)
        return grpc.unary_stream_rpc_method_handler(self._read)

    def _create(self, request: bytes, context: Any) -> bytes:
        self.before_session()
        asked = types.CreateReadSessionRequest.deserialize(request)
        self.sessions.append(types.CreateReadSessionRequest.deserialize(request))
        # The emulator knows no parts of records, and gives them whole.
        fields = asked.read_session.read_options.selected_fields
        fields[:] = dict.fromkeys(field.split(".")[0] for field in fields)
        request = types.CreateReadSessionRequest.serialize(asked)
        try:
            session = self._channel.unary_unary(SERVICE + "CreateReadSession")(request, timeout=SECONDS)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        made = types.ReadSession.deserialize(session)
        made.expire_time = SESSION_ENDS
        return types.ReadSession.serialize(made)  # type: ignore[no-any-return]

    def _read(self, request: bytes, context: Any) -> Iterator[bytes]:
        asked = types.ReadRowsRequest.deserialize(request)
        self.reads.append((asked.read_stream.rsplit("/", 1)[1], asked.offset))
        left, status = self.breaks.pop(0) if self.breaks else (None, None)
        first = True
        for rows in self._rows(request, asked.offset):
            if left is not None and left <= 0:
                break
            message = types.ReadRowsResponse(row_count=rows.num_rows)
            message.arrow_record_batch.serialized_record_batch = rows.serialize().to_pybytes()
            if first:
                message.arrow_schema.serialized_schema = rows.schema.serialize().to_pybytes()
            first, left = False, None if left is None else left - rows.num_rows
            yield types.ReadRowsResponse.serialize(message)
        if status is not None:
            context.abort(status, "as the test says")

    def _rows(self, request: bytes, offset: int) -> Iterator[pa.RecordBatch]:
        schema, batches = None, []
        for data in self._channel.unary_stream(SERVICE + "ReadRows")(request, timeout=SECONDS):
            message = types.ReadRowsResponse.deserialize(data)
            schema = schema or pa.ipc.read_schema(pa.py_buffer(message.arrow_schema.serialized_schema))
            batch = pa.py_buffer(message.arrow_record_batch.serialized_record_batch)
            batches.append(pa.ipc.read_record_batch(batch, schema))
        table = pa.Table.from_batches(batches).combine_chunks().slice(offset)
        yield from table.to_batches(max_chunksize=self._message_rows)
