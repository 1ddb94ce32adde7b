"""What scoring a job takes: its tokens, and time and GPU-hours only where somebody has measured a worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.dataflow.profile import Profile

UNKNOWN = (
    "not measured: score one date, divide work.tokens of its manifest by the seconds its scoring took and by the "
    "workers, and --set tokens_per_second=…"
)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What scoring takes at its best, without the start of the workers, reading and writing.

    `tokens` of the whole job. `worker_seconds` of all workers together, `seconds` with all of them from beginning to
    end, `gpu_hours` of one GPU: None where no throughput was measured. `source` says where the throughput is from.
    """

    rows: int
    tokens: int
    tokens_per_row: float
    tokens_source: str
    workers: int
    gpus: int
    worker_seconds: float | None
    seconds: float | None
    gpu_hours: float | None
    source: str


def estimate(rows: int, tokens_per_row: float, tokens_source: str, profile: Profile) -> Estimate:
    """The estimate for so many rows of so many tokens."""
    tokens, measured = round(rows * tokens_per_row), profile.tokens_per_second
    # Processes of one machine share its cores.
    workers, gpus = profile.max_workers or 1, 0 if profile.gpu is None else profile.gpu.count
    took = None if measured is None else tokens / measured
    return Estimate(
        rows=rows,
        tokens=tokens,
        tokens_per_row=tokens_per_row,
        tokens_source=tokens_source,
        workers=workers,
        gpus=gpus,
        worker_seconds=took,
        seconds=None if took is None else took / workers,
        gpu_hours=None if took is None else took * gpus / 3600,
        source=UNKNOWN if measured is None else f"{measured:,.0f} tokens/s a worker, by the profile",
    )


def computed_tokens(manifest: Mapping[str, Any]) -> float | None:
    """Tokens that were computed for a row of a published date; None if its record does not tell."""
    scored, tokens = manifest["counts"]["scored"], (manifest.get("work") or {}).get("tokens", 0)
    # The work is that of the last attempt alone.
    if not scored or not tokens or not isinstance(tokens, int) or manifest.get("splits_taken_over"):
        return None
    return float(tokens / scored)
