"""Hostile rows in every format, and what an independent parser says of each: csv, json, str, pyarrow's own Parquet.

A row is expected as `Expected`: the text and the kept values it is scored with, or None for a dead letter. Values are
compared as `same` says, so that a column may be typed or text.
"""

import bz2
import gzip
import io
import json
import math
import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from support.files import csv_oracle

KEPT = ("n", "s", "f")
MARKS = [
    "a",
    "bc",
    " ",
    "é",
    "日",
    "\u00a0",
    "😀",
    "\ufeff",
    "\0",
    "\t",
    ",",
    ";",
    '"',
    '""',
    "'",
    "\\",
    "\n",
    "\r\n",
    "\r",
]
VALUES = [
    "1",
    "-7",
    "007",
    "1e5",
    "1.10",
    "2.5",
    "9007199254740993",
    "9" * 19,
    "9" * 30,
    "nan",
    "true",
    "",
    "2026-01-31",
]
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".zst": lambda data: bytes(pa.Codec("zstd").compress(data, asbytes=True)),
}
Expected = tuple[str, dict[str, Any]] | None


@dataclass(frozen=True, kw_only=True)
class HostileFile:
    """A file, how the job must say it is written, and row -> what becomes of it."""

    path: Path
    rows: dict[int, Expected]
    dialect: dict[str, Any] = field(default_factory=dict)


def same(found: Any, expected: Any) -> bool:
    """Whether a kept value is the one of the file: itself, or as text, or the number that is written there."""
    if found is None or expected is None:
        return found is expected or expected == ""
    if isinstance(found, float) and isinstance(expected, float) and math.isnan(found):
        return math.isnan(expected)
    if found == expected and isinstance(found, bool) == isinstance(expected, bool):
        return True
    if isinstance(found, str):
        try:
            return bool(json.loads(found) == expected)
        except ValueError:
            return False
    return isinstance(expected, str) and str(found) == expected


def hostile_files(folder: Path, count: int, seed: int) -> list[HostileFile]:
    """About `count` rows in files of all formats, dialects and compressions."""
    rng = random.Random(seed)
    kinds = [*_CSV_KINDS, "jsonl", "text", "parquet"]
    files = []
    for number, kind in enumerate(kinds):
        for ending in COMPRESSIONS if kind != "parquet" else [""]:
            share = max(1, count // (len(kinds) * len(COMPRESSIONS) - 3))
            make = {"jsonl": _jsonl, "text": _text}.get(kind)
            stem = folder / f"{number}-{kind.partition(' ')[0]}"
            if kind == "parquet":
                files.append(_parquet(stem.with_suffix(".parquet"), rng, share))
                continue
            name, content, rows, dialect = _csv(kind, rng, share) if make is None else (*make(rng, share), {})
            path = stem.parent / f"{stem.name}.{name}{ending}"
            path.write_bytes(COMPRESSIONS[ending](content))
            files.append(HostileFile(path=path, rows=rows, dialect=dialect))
    return files


def _word(rng: random.Random) -> str:
    if rng.random() < 0.01:
        return "long words " * 2_000
    return "".join(rng.choice(MARKS) if rng.random() < 0.3 else rng.choice(string.ascii_letters) for _ in range(12))


def _judged(id: str, text: str, kept: dict[str, Any]) -> Expected:
    """What becomes of a row of valid values; ids are unique here. Kept values that are not UTF-8 are not made."""
    broken = any("\ud800" <= c <= "\udfff" for c in id + text)
    return None if broken or not id.strip() or not text.strip() else (text, kept)


_CSV_KINDS = {
    "csv": {"quote": '"'},
    "csv semicolon": {"delimiter": ";", "quote": "'"},
    "csv escaped": {"delimiter": "|", "quote": '"', "escape": "\\", "max_record_lines": 3},
    "csv latin": {"encoding": "cp1252", "quote": '"'},
    "csv wide": {"encoding": "utf-16", "quote": '"'},
    "tsv plain": {"quote": "none"},
    "tsv quoted": {"quote": '"'},
}


def _csv(kind: str, rng: random.Random, count: int) -> tuple[str, bytes, dict[int, Expected], dict[str, Any]]:
    said: dict[str, Any] = _CSV_KINDS[kind]
    name = kind[:3]
    delimiter = said.get("delimiter", "," if name == "csv" else "\t")
    quote = None if said.get("quote") == "none" else said.get("quote", '"')
    encoding, escape = said.get("encoding", "utf-8"), said.get("escape")
    end = rng.choice(["\n", "\r\n", "\r"])
    lines = [delimiter.join(["id", "text", *KEPT])]
    for i in range(count):
        fields = [f"r{i}", _word(rng), *(rng.choice(VALUES) for _ in KEPT)]
        if quote and rng.random() < 0.9:
            fields = [f"{quote}{f.replace(quote, quote * 2)}{quote}" if _special(f) else f for f in fields]
        odd = rng.random()
        if odd < 0.03:
            fields.pop()
        elif odd < 0.05:
            fields.append("more")
        elif odd < 0.06:
            fields[rng.randrange(5)] = f"{quote or ''}never closed"
        elif odd < 0.07:
            fields = [""]
        lines.append(delimiter.join(fields))
    text = end.join(lines) + rng.choice(["", end])
    if escape and quote:
        # Behind a closing mark the csv module takes an escape for text, Arrow does not.
        while quote + escape in text:
            text = text.replace(quote + escape, quote)
        text = text.rstrip(escape)
    if encoding == "cp1252":
        text = text.encode(encoding, "replace").decode(encoding)
    content = text.encode(encoding)
    if encoding == "utf-8":
        # Bytes that are not UTF-8, in texts only.
        content = content.replace("日".encode(), b"\xff", 5) if rng.random() < 0.5 else content
        text = content.decode("utf-8", "surrogateescape")
    given = {"delimiter": delimiter, "quote": quote, "escape": escape, "max_lines": said.get("max_record_lines", 1_000)}
    rows: dict[int, Expected] = {}
    for row, values in csv_oracle.rows(text, 5, **given).items():
        if isinstance(values, str):
            rows[row] = None
            continue
        id, body, *kept = (value.decode("utf-8", "surrogateescape") for value in values)
        rows[row] = _judged(id, body, dict(zip(KEPT, kept, strict=True)))
        if any("\udc80" <= c <= "\udcff" for c in "".join(kept)):
            rows[row] = None
    return name, content, rows, said


def _special(value: str) -> bool:
    return not value.isalnum()


def _jsonl(rng: random.Random, count: int) -> tuple[str, bytes, dict[int, Expected]]:
    values = [json.loads(v) if v[:1].isdigit() and _is_json(v) else v for v in VALUES] + [None, True, [1], {"a": "b"}]
    end = rng.choice(["\n", "\r\n", "\r"])
    lines, rows = [], dict[int, Expected]()
    for i in range(count):
        row = {"id": f"r{i}", "text": _word(rng), **{name: rng.choice(values) for name in KEPT if rng.random() < 0.9}}
        line = json.dumps(row, ensure_ascii=rng.random() < 0.5)
        if rng.random() < 0.05:
            line = rng.choice(["", " ", "{", "null", "[1]", line[:-1], line + line, line.replace('"text"', '"txt"')])
        lines.append(line)
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if line.strip():
            good = isinstance(found, dict) and isinstance(found.get("text"), str)
            rows[i] = _judged(found["id"], found["text"], {k: found.get(k) for k in KEPT}) if good else None
    return "jsonl", (end.join(lines) + end).encode(), rows


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


def _text(rng: random.Random, count: int) -> tuple[str, bytes, dict[int, Expected]]:
    content = "".join(_word(rng) + rng.choice(["\n", "\r\n", "\r", "\n\n"]) for _ in range(count)).encode()
    content = content.replace("日".encode(), b"\xe6\x97", count // 20)
    lines = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", "surrogateescape", newline=None).read().split("\n")
    return "txt", content, {i: _judged("x", line, {}) for i, line in enumerate(lines[:-1])}


def _parquet(path: Path, rng: random.Random, count: int) -> HostileFile:
    texts = [rng.choice([None, "", " ", _word(rng), _word(rng), _word(rng)]) for _ in range(count)]
    columns = {
        "n": [rng.choice([None, 0, -(2**63), 2**63 - 1]) for _ in texts],
        "s": [rng.choice([None, *VALUES]) for _ in texts],
        "f": [rng.choice([None, 0.5, math.nan, math.inf]) for _ in texts],
    }
    pq.write_table(
        pa.table({"id": [f"r{i}" for i in range(count)], "text": texts, **columns}),
        path,
        row_group_size=rng.choice([7, 100, 10_000]),
    )
    rows = pq.ParquetFile(path).read().to_pylist()
    return HostileFile(
        path=path,
        rows={
            i: None if row["text"] is None else _judged(row["id"], row["text"], {k: row[k] for k in KEPT})
            for i, row in enumerate(rows)
        },
    )
