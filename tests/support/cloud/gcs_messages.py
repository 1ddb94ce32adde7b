"""Requests to a FakeGcs, its answers, and how objects stand in both."""

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

Query = dict[str, str]


class Request(NamedTuple):
    """One line of the server's log; `path` is as sent, percent-encoded and without the query."""

    method: str
    path: str
    query: Query


class Call(NamedTuple):
    """A request: the names in its path (bucket, object …), its query, headers (lower case) and body."""

    names: list[str]
    query: Query
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012  never changed


class ApiError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Object:
    data: bytes
    content_type: str
    generation: int = 0


def as_json(body: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def parts_of(body: bytes, content_type: str) -> tuple[dict[str, Any], Object]:
    """Metadata and object of a multipart/related upload."""
    boundary = re.search(r"boundary=\"?([^\";]+)", content_type)
    if boundary is None:
        raise ApiError(400, "a multipart upload without boundary")
    mark = b"--" + boundary[1].encode()
    _, about, rest = body.split(mark, 2)
    header, _, content = rest.partition(b"\r\n\r\n")
    kind = re.search(rb"(?i)content-type: *(\S+)", header)
    data = content.rpartition(b"\r\n" + mark + b"--")[0]
    return json.loads(about.partition(b"\r\n\r\n")[2]), Object(data, kind[1].decode() if kind else "")


def ranged(data: bytes, wanted: str | None, headers: dict[str, str]) -> Answer:
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if asked is None:
        return Answer(200, data, headers)
    if asked[1]:
        start, stop = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data))
    else:
        start, stop = max(len(data) - int(asked[2]), 0), len(data)
    if start >= len(data):
        raise ApiError(416, "The requested range cannot be satisfied.")
    return Answer(206, data[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})
