"""Servers that Beam starts for worker processes of this machine listen on this machine alone.

Beam binds them to every interface (`[::]`) without a login, and has no option for it: anybody who reaches the machine
over the network could read what is scored, and send work of their own.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from apache_beam.runners.portability import abstract_job_service, local_job_service
from apache_beam.runners.portability.fn_api_runner import worker_handlers

EVERYWHERE, HERE = "[::]:", "localhost:"


class _Server:
    """A gRPC server whose ports are on the loopback interface."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def add_insecure_port(self, address: str) -> int:
        # Workers are told `localhost` by Beam itself.
        return int(self._server.add_insecure_port(address.replace(EVERYWHERE, HERE)))


class _Grpc:
    """The module grpc, as three modules of Beam see it."""

    def __init__(self, grpc: Any) -> None:
        self._grpc = grpc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grpc, name)

    def server(self, *given: Any, **named: Any) -> _Server:
        return _Server(self._grpc.server(*given, **named))


@contextmanager
def loopback_only() -> Iterator[None]:
    """Meanwhile Beam's servers for workers and artifacts are bound to the loopback interface."""
    with ExitStack() as stack:
        for module in (worker_handlers, local_job_service, abstract_job_service):
            stack.enter_context(mock.patch.object(module, "grpc", _Grpc(module.grpc)))
        # Control is at `localhost` for workers of a pool too; data and state would be asked for by the host's name.
        pool = worker_handlers.ExternalWorkerHandler
        stack.enter_context(mock.patch.object(pool, "host_from_worker", return_value="localhost"))
        yield
