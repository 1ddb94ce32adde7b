"""Requests of Google's clients to a FakeGcs of this process, answered without a socket.

Opening a connection costs five times as much as answering the request. Some tests take the fixture `gcs_over_http`.
"""

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import requests
from requests.hooks import dispatch_hook
from requests.structures import CaseInsensitiveDict
from support.cloud.fake_gcs import FakeGcs
from support.cloud.gcs_messages import Answer
from urllib3 import HTTPResponse


def answering(fake: FakeGcs, elsewhere: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
    """In place of AuthorizedSession.request, which is `elsewhere`."""

    def request(
        session: Any, method: str, url: str, data: Any = None, headers: Any = None, **more: Any
    ) -> requests.Response:
        if not url.startswith(f"{fake.url}/"):
            return elsewhere(session, method, url, data=data, headers=headers, **more)
        body = data.encode() if isinstance(data, str) else data.read() if hasattr(data, "read") else bytes(data or b"")
        small = {name.lower(): _text(value) for name, value in (headers or {}).items()}
        response = _response(method, url, fake.handle(method, url.removeprefix(fake.url), small, body))
        return dispatch_hook("response", session.hooks, response)

    return request


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _response(method: str, url: str, answer: Answer) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response.url = url
    response.headers = CaseInsensitiveDict({**answer.headers, "Content-Length": str(len(answer.body))})
    response.raw = HTTPResponse(
        body=io.BytesIO(answer.body), headers=response.headers, status=answer.status, preload_content=False
    )
    response.request = SimpleNamespace(method=method, url=url)  # type: ignore[assignment]
    return response
