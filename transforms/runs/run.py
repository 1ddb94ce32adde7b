"""A run: the work of publishing one logical date once, and where its files are."""

import datetime as dt
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from transforms.outputs import records
from transforms.outputs.json_text import written
from transforms.outputs.names import MANIFEST, RUN_ID
from transforms.runs.error_budget import ErrorBudget
from transforms.stores.paths import join


@dataclass(frozen=True, kw_only=True)
class Run:
    """One attempt to publish `date` below `output`.

    `sequence` is that of the date's manifest when the run was planned (0: there was none); `started` is the time
    every row of the run carries; `bundle` is `name@fingerprint`.
    """

    run_id: str
    output: str
    date: dt.date
    started: dt.datetime
    sequence: int
    bundle: str
    budget: ErrorBudget = field(default_factory=ErrorBudget)

    @property
    def plan(self) -> str:
        return self.file("plan.parquet")

    @property
    def staged(self) -> str:
        return self.file("staged")

    @property
    def verdict(self) -> str:
        return self.file("verdict.json")

    @property
    def job(self) -> str:
        """The file that names the Dataflow job of the run, if it has one."""
        return self.file("job.json")

    @property
    def folder(self) -> str:
        """Where the rows of the date are published."""
        return date_folder(self.output, self.date)

    @property
    def dead_folder(self) -> str:
        """Where the dead letters of the date are published."""
        return date_folder(join(self.output, "_dead_letters"), self.date)

    @property
    def manifest(self) -> str:
        return manifest_path(self.output, self.date)

    def file(self, name: str) -> str:
        """A path in the run's own folder."""
        return run_file(self.output, self.run_id, name)

    def to_json(self) -> dict[str, Any]:
        """The run as plain values."""
        return {**asdict(self), "date": self.date.isoformat(), "started": self.started.isoformat()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Run":
        """The run that `to_json` described; raises ValueError, KeyError or TypeError for anything else."""
        date, started = dt.date.fromisoformat(values["date"]), dt.datetime.fromisoformat(values["started"])
        budget, sequence = ErrorBudget(**values["budget"]), values["sequence"]
        texts = [values[name] for name in ("run_id", "output", "bundle")]
        if not all(isinstance(text, str) for text in texts) or not RUN_ID.fullmatch(values["run_id"]):
            raise ValueError("the plan describes no run")
        if type(sequence) is not int or sequence < 0 or started.tzinfo is None:
            raise ValueError("the plan describes no run")
        return cls(**{**values, "date": date, "started": started, "budget": budget})


def run_file(output: str, run_id: str, name: str) -> str:
    """A path in the folder of a run: plan.parquet, verdict.json, staged."""
    return join(output, "_runs", run_id, name)


def date_folder(output: str, date: dt.date) -> str:
    """`<output>/dt=<date>`."""
    return join(output, f"dt={date.isoformat()}")


def manifest_path(output: str, date: dt.date) -> str:
    """The manifest of a date, which decides what is published."""
    return join(date_folder(output, date), MANIFEST)


def new_run_id(now: dt.datetime) -> str:
    """An id that sorts by time: `20261121T020003Z-5f3a9c`."""
    return f"{now.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def accept_command(output: str, run_id: str) -> str:
    """The command that publishes a run that is held."""
    return f"bert-batch publish {run_id} --accept --output {shlex.quote(output)}"


def read_manifest(path: str) -> tuple[dict[str, Any] | None, bytes | None]:
    """The manifest at `path`, parsed and as it stands there; (None, None) if the date was never published.

    Raises RecordError, a ValueError, naming a file that is no manifest, or one of a newer format.
    """
    raw = records.read(path)
    return (None, None) if raw is None else (records.manifest(raw, path), raw)


def to_bytes(content: Mapping[str, Any]) -> bytes:
    """JSON as it is written to disk."""
    return written(content)
