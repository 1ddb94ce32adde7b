"""Manifests of many nights, drawn and written without a run: what `report` reads of an output."""

import datetime as dt
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from support.runs.nights import World, summary_of
from support.runs.publishing import DATE

from transforms.outputs.drift.compared import Dated, drift_of
from transforms.outputs.json_text import written

BUNDLE = "snips@" + "0123456789abcdef" * 4
LABELS = ("AddToPlaylist", "BookRestaurant", "GetWeather", "PlayMusic", "RateBook")
_MIDDLES = {
    "probability": lambda at: (at + 0.5) * 50_000,
    "margin": lambda at: (at + 0.5) * 50_000,
    "entropy": lambda at: (at + 0.5) * 50_000,
    "token_count": lambda at: at + 1,
}
"""What a row in a bin adds to the sum, as if all were in its middle."""


def days(count: int, last: dt.date = DATE) -> list[dt.date]:
    return [last - dt.timedelta(back) for back in reversed(range(count))]


@functools.cache
def world(seed: int) -> World:
    return World.drawn(np.random.default_rng(seed))


def drawn_summary(
    generator: np.random.Generator, date: dt.date, rows: int = 2_000, mixed: float = 0.0, names: Sequence[str] = LABELS
) -> dict[str, Any]:
    """The summary of a night, of which another corpus has a share `mixed`."""
    summary = summary_of(world(7).night(generator, date, rows, mixed))
    for name, tally in summary["statistics"].items():
        middle = _MIDDLES.get(name, lambda at: at)
        tally["sum"] = int(sum(count * middle(at) for at, count in enumerate(tally["bins"])))
    for label, name in zip(summary["labels"], names, strict=True):
        label["label"] = name
    return summary


def manifest(date: dt.date, number: int = 0, **changes: Any) -> dict[str, Any]:
    """A manifest without summary and drift, of 2,000 rows; `changes` replace keys."""
    started = dt.datetime.combine(date, dt.time(2), dt.UTC) + dt.timedelta(days=1)
    read = 2_005
    content = {
        "format": 1,
        "sequence": 1,
        "run_id": f"{started:%Y%m%dT%H%M%SZ}-{number:06x}",
        "logical_date": date.isoformat(),
        "started": started.isoformat(),
        "published_at": (started + dt.timedelta(seconds=200)).isoformat(),
        "finished": True,
        "replaces": None,
        "bundle": BUNDLE,
        "settings": {"max_dead_fraction": 0.01, "threshold": None},
        "table": None,
        "inputs": [],
        "files": [],
        "dead_letters": [],
        "counts": {"read": read, "scored": 2_000, "skipped": 0, "dead": 5},
        "dead_codes": {"blank_text": 5},
        "notes": {},
        "kept_misfits": {},
        "work": {"scored": 1_500, "copied": 400, "remembered": 100, "model_nanos": 10**11, "precision": "float32"},
        "precision": "float32",
        "engine": "tensorflow",
        "splits_taken_over": 0,
    }
    return {**content, **changes}


def write(output: Path, content: Mapping[str, Any]) -> None:
    folder = output / f"dt={content['logical_date']}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_manifest.json").write_bytes(written(content))


def write_nights(
    output: Path,
    count: int,
    *,
    last: dt.date = DATE,
    mixed: Mapping[dt.date, float] | None = None,
    names: Sequence[str] = LABELS,
    seed: int = 0,
    **changes: Any,
) -> list[dict[str, Any]]:
    """Nights with summaries and with the drift that a run would have found, oldest first."""
    generator, before = np.random.default_rng(seed), list[Dated]()
    found = []
    for number, date in enumerate(days(count, last)):
        rows = int(generator.normal(2_000, 60))
        summary = drawn_summary(generator, date, rows, (mixed or {}).get(date, 0.0), names)
        drift = drift_of(Dated(date, summary), before[-14:], None, rows, [one.summary["rows"] for one in before[-14:]])
        before.append(Dated(date, summary))
        dead = int(generator.integers(2, 8))
        counts = {"read": rows + dead, "scored": rows, "skipped": 0, "dead": dead}
        more = {"counts": counts, "dead_codes": {"blank_text": dead}, "summary": summary, "drift": drift, **changes}
        found.append(manifest(date, number, **more))
        write(output, found[-1])
    return found


def loaded(output: Path, date: dt.date = DATE) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / f"dt={date.isoformat()}" / "_manifest.json").read_bytes())
    return content
