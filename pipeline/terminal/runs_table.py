"""What `bert-batch runs` prints: the dates that are published, and the runs that did not publish."""

import datetime as dt
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError
from pipeline.terminal.console import err, out
from pipeline.terminal.escaping import escaped, json_text
from pipeline.terminal.openmetrics import openmetrics
from transforms.outputs.drift.record import beyond, is_compared
from transforms.runs.history import (
    Manifest,
    Manifests,
    Unpublished,
    is_expired,
    list_runs,
    pending,
    read_manifests,
    unpublished,
)
from transforms.runs.verdict_record import HELD
from transforms.runs.verdicts import rows_published


def show_history(output: str, format: str) -> None:
    """Prints the dates and runs of `output`, and changes nothing there; raises ConfigError for another format."""
    if format not in ("text", "json", "openmetrics"):
        raise ConfigError(f"--format {format!r} is unknown; use text, json or openmetrics")
    manifests = read_manifests(output)
    unfinished = {
        date: Pending(what=what, finish=_finish(output, manifest))
        for date, manifest in manifests.read.items()
        if (what := pending(manifest))
    }
    runs = unpublished(output, list(list_runs(output)), manifests)
    if format == "json":
        sys.stdout.write(json_text(_document(manifests, unfinished, runs), indent=1) + "\n")
        return
    if format == "openmetrics":
        sys.stdout.write(openmetrics(output, _document(manifests, unfinished, runs)))
        return
    if not (manifests.published or manifests.broken or unfinished or runs):
        out.print(f"{output}: nothing was published there, and no run is there")
    _print_dates(manifests, unfinished)
    if runs and (manifests.published or manifests.broken or unfinished):
        out.print()
    _print_runs(runs)
    for problem in manifests.broken.values():
        err.print(problem)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What a committed run has not finished, and the command that does."""

    what: str
    finish: str


def _finish(output: str, manifest: Manifest) -> str:
    words = ["clean"] if is_expired(manifest) else ["publish", manifest["run_id"]]
    return shlex.join(["bert-batch", *words, "--output", output])


def _document(manifests: Manifests, unfinished: Mapping[str, Pending], runs: list[Unpublished]) -> dict[str, Any]:
    expired = {date: found.finish for date, found in unfinished.items() if date not in manifests.published}
    return {
        "dates": [
            {"date": date, **_row(manifest), **_pending(unfinished.get(date))}
            for date, manifest in manifests.published.items()
        ],
        "runs": [
            {
                "run_id": run.run_id,
                "date": run.date or None,
                "state": run.state,
                "reason": run.reason,
                **({"job": dict(run.job)} if run.job else {}),
                **({"beyond": [one._asdict() for one in beyond(run.drift)]} if run.state == HELD else {}),
            }
            for run in runs
        ],
        "broken": dict(manifests.broken),
        # Dates whose rows were deleted for their age, and whose files may still be there.
        **({"expired_pending": expired} if expired else {}),
    }


def _pending(found: Pending | None) -> dict[str, str | None]:
    return {"pending": None} if found is None else {"pending": found.what, "finish": found.finish}


def _row(manifest: Manifest) -> dict[str, Any]:
    counts, drift = manifest["counts"], manifest.get("drift", {})
    return {
        "run_id": manifest["run_id"],
        "published_at": manifest.get("published_at"),
        "rows": rows_published(counts),
        "dead": counts["dead"],
        "skipped": counts.get("skipped", 0),
        "splits_taken_over": manifest.get("splits_taken_over", 0),
        "bundle": manifest["bundle"],
        # Statistics beyond their bound, farthest first; null where it was not looked at.
        "drift": list(dict.fromkeys(one.statistic for one in beyond(drift))) if is_compared(drift) else None,
        "seconds": _seconds(manifest),
    }


def _seconds(manifest: Manifest) -> int | None:
    """From the start of the run to its publication; None if that is not known, or the clock was set back meanwhile."""
    if not (manifest.get("started") and manifest.get("published_at")):
        return None
    start, end = (dt.datetime.fromisoformat(manifest[key]) for key in ("started", "published_at"))
    seconds = round((end - start).total_seconds())
    return seconds if seconds >= 0 else None


def _print_dates(manifests: Manifests, unfinished: Mapping[str, Pending]) -> None:
    counted = ("rows", "dead", "skipped", "splits_taken_over")
    table = [
        ["date", "run", "published (UTC)", "rows", "dead", "skipped", "taken over", "bundle", "duration", "drift", ""]
    ]
    for date, manifest in manifests.published.items():
        row = _row(manifest)
        name, _, fingerprint = row["bundle"].partition("@")
        when = (row["published_at"] or "?").replace("T", " ").removesuffix("+00:00")
        counts = [f"{row[key]:,}" for key in counted]
        mark = _mark(unfinished[date]) if date in unfinished else ""
        about = (f"{name}@{fingerprint[:12]}", _duration(row["seconds"]), _drift(row["drift"]), mark)
        table.append([date, row["run_id"], when, *counts, *about])
    nothing = ["?"] * 9
    table += [[date, *nothing, "broken: its manifest, see below"] for date in manifests.broken]
    gone = (date for date in unfinished if date not in manifests.published)
    table += [[date, *nothing, f"deleted for its age, {_mark(unfinished[date])}"] for date in gone]
    table[1:] = sorted(table[1:])
    print_table(table, right=range(3, 7))


def _mark(found: Pending) -> str:
    return f"{found.what} pending: {found.finish}"


def _drift(names: Sequence[str] | None) -> str:
    if names is None:
        return "?"
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else "".join(names) or "none"


def _duration(seconds: int | None) -> str:
    return "?" if seconds is None else f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _print_runs(runs: list[Unpublished]) -> None:
    table = [["not published", "date", "state", "reason"]]
    table += [[run.run_id, run.date or "?", run.state.replace("_", " "), run.reason] for run in runs]
    print_table(table)


def print_table(rows: list[list[str]], right: Collection[int] = ()) -> None:
    """Prints rows below their headings, if there are any; never cut to a width, so that they can be searched."""
    if len(rows) == 1:
        return
    rows = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{'>' if i in right else '<'}{widths[i]}}" for i, cell in enumerate(row))
        out.print("  ".join(cells).rstrip())
