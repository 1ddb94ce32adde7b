"""What `bert-batch runs` prints: the dates that are published, and the runs that did not publish."""

import datetime as dt
import json
import sys
from typing import Any

from rich.table import Table

from pipeline.config import ConfigError
from pipeline.console import err, out
from transforms.history import Manifest, Manifests, Unpublished, list_runs, read_manifests, unpublished
from transforms.publish import finish_pending

# A table in a pipe is not cut to the width of a terminal.
WIDTH = 250


def show_history(output: str, format: str) -> None:
    """Finishes what is pending below `output` and prints its dates and runs; raises ConfigError for another format."""
    if format not in ("text", "json"):
        raise ConfigError(f"--format {format!r} is unknown; use text or json")
    manifests = read_manifests(output)
    finish_pending(output, manifests)
    runs = unpublished(output, list(list_runs(output)), manifests)
    if format == "json":
        sys.stdout.write(json.dumps(_document(manifests, runs), indent=1, ensure_ascii=False) + "\n")
        return
    if not manifests.published and not runs:
        out.print(f"{output}: nothing was published there, and no run is there")
    _print_dates(manifests)
    _print_runs(runs)
    for problem in manifests.broken.values():
        err.print(problem)


def _document(manifests: Manifests, runs: list[Unpublished]) -> dict[str, Any]:
    return {
        "dates": [{"date": date, **_row(manifest)} for date, manifest in manifests.published.items()],
        "runs": [
            {"run_id": run.run_id, "date": run.date or None, "state": run.state, "reason": run.reason} for run in runs
        ],
        "broken": dict(manifests.broken),
    }


def _row(manifest: Manifest) -> dict[str, Any]:
    counts = manifest["counts"]
    return {
        "run_id": manifest["run_id"],
        "published_at": manifest.get("published_at"),
        "rows": counts["scored"],
        "dead": counts["dead"],
        "skipped": counts.get("skipped", 0),
        "splits_taken_over": manifest.get("splits_taken_over", 0),
        "bundle": manifest["bundle"],
        "seconds": _seconds(manifest),
    }


def _seconds(manifest: Manifest) -> int | None:
    """From the start of the run to its publication; None where the clock was set back meanwhile, or it is not known."""
    if "published_at" not in manifest:
        return None
    start, end = (dt.datetime.fromisoformat(manifest[key]) for key in ("started", "published_at"))
    seconds = round((end - start).total_seconds())
    return seconds if seconds >= 0 else None


def _print_dates(manifests: Manifests) -> None:
    if not manifests.published:
        return
    numbers = ("rows", "dead", "skipped", "taken over")
    table = Table(box=None, pad_edge=False)
    for name in ("date", "run", "published (UTC)", *numbers, "bundle", "duration"):
        table.add_column(name, no_wrap=True, justify="right" if name in (*numbers, "duration") else "left")
    for date, manifest in manifests.published.items():
        row = _row(manifest)
        counts = (f"{row[key]:,}" for key in ("rows", "dead", "skipped", "splits_taken_over"))
        name, _, fingerprint = row["bundle"].partition("@")
        when = (row["published_at"] or "").replace("T", " ").removesuffix("+00:00")
        duration = "" if row["seconds"] is None else str(dt.timedelta(seconds=row["seconds"]))
        table.add_row(date, row["run_id"], when, *counts, f"{name}@{fingerprint[:12]}", duration)
    out.print(table, width=WIDTH, crop=False)


def _print_runs(runs: list[Unpublished]) -> None:
    if not runs:
        return
    table = Table(box=None, pad_edge=False, title="not published", title_justify="left")
    for name in ("run", "date", "state", "reason"):
        table.add_column(name, no_wrap=True)
    for run in runs:
        table.add_row(run.run_id, run.date or "?", run.state.replace("_", " "), run.reason)
    out.print(table, width=WIDTH, crop=False)
