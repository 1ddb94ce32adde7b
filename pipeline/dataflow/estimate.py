"""What a job will take: time and GPU-hours from rows, tokens and a throughput that was measured. Pure functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.dataflow.profile import Profile

CPU_TOKENS_PER_SECOND = 2_152
"""BERT-base on two cores: benchmarks/reports/RESULTS.md, a token budget of 4,096, rows of 128."""
CPU_CORES = 2
_BASE = {"num_layers": 12, "hidden_size": 768, "inner_dim": 3072}


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens that are computed for a row, and where the figure is from."""

    per_row: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What scoring takes at its best, without the start of the workers, reading and writing.

    `tokens` of the whole job; `worker_seconds` of all workers together, None where no throughput is known; `source`
    says where the throughput is from, or how to get one.
    """

    rows: int
    tokens: int
    workers: int
    gpus: int
    worker_seconds: float | None
    source: str

    @property
    def seconds(self) -> float | None:
        """With all workers from beginning to end."""
        return None if self.worker_seconds is None else self.worker_seconds / self.workers

    @property
    def gpu_hours(self) -> float | None:
        """Hours of one GPU; None where no throughput is known."""
        return None if self.worker_seconds is None else self.worker_seconds * self.gpus / 3600


def estimate(rows: int, tokens: Tokens, profile: Profile, model: Mapping[str, Any], cores: int) -> Estimate:
    """The estimate for so many rows and a model of this configuration; `cores` are those of this machine."""
    throughput, source = _throughput(profile, model, cores)
    total = round(rows * tokens.per_row)
    return Estimate(
        rows=rows,
        tokens=total,
        # Processes of one machine share its cores.
        workers=profile.max_workers or 1,
        gpus=0 if profile.gpu is None else profile.gpu.count,
        worker_seconds=None if throughput is None else total / throughput,
        source=source,
    )


def tokens_of(manifest: Mapping[str, Any]) -> float | None:
    """Tokens that were computed for a row of a published date; None if its record does not tell."""
    scored, tokens = manifest["counts"]["scored"], (manifest.get("work") or {}).get("tokens", 0)
    tokens = tokens if isinstance(tokens, int) else 0
    # The work is that of the last try alone.
    if not scored or not tokens or manifest.get("splits_taken_over"):
        return None
    return float(tokens / scored)


def relative_work(model: Mapping[str, Any]) -> float:
    """Matrix work a token of an encoder, that of BERT-base being 1; attention between tokens is left out."""
    return _work(model) / _work(_BASE)


def vcpus(machine_type: str) -> int | None:
    """Processors of a machine type of Compute Engine, by its name."""
    match = re.fullmatch(r"[a-z][a-z0-9]*-(?:[a-z]+-)?custom-(\d+)-\d+(?:-ext)?|custom-(\d+)-\d+", machine_type)
    match = match or re.fullmatch(r"[a-z][a-z0-9]*-[a-z]+-(\d+)(?:-[a-z]+)?", machine_type)
    match = match or re.fullmatch(r"[a-z][a-z0-9]*-custom-(\d+)-\d+", machine_type)
    return None if match is None else next(int(group) for group in match.groups() if group)


def _work(model: Mapping[str, Any]) -> int:
    hidden = model["hidden_size"]
    return int(model["num_layers"] * (4 * hidden * hidden + 2 * hidden * model["inner_dim"]))


def _throughput(profile: Profile, model: Mapping[str, Any], cores: int) -> tuple[float | None, str]:
    if profile.tokens_per_second is not None:
        return profile.tokens_per_second, f"{profile.tokens_per_second:,.0f} tokens/s a worker, by the profile"
    if profile.gpu is not None:
        return None, (
            f"no throughput of {profile.gpu.type} is committed, so none is invented: score one date, divide "
            "work.tokens of its manifest by the seconds its scoring took and by the workers, and --set "
            "tokens_per_second=…"
        )
    if profile.runner == "dataflow":
        found = None if profile.machine_type is None else vcpus(profile.machine_type)
        if found is None:
            return None, (
                f"the processors of machine_type {profile.machine_type} are not known by its name; "
                "measure one date and --set tokens_per_second=…"
            )
        cores = found
    figure = CPU_TOKENS_PER_SECOND / relative_work(model) * cores / CPU_CORES
    return figure, (
        f"{figure:,.0f} tokens/s a worker, scaled from {CPU_TOKENS_PER_SECOND:,} of BERT-base on {CPU_CORES} cores "
        f"(benchmarks/reports/RESULTS.md) by the model's matrix work (× {relative_work(model):.3g}) and to {cores} "
        "processors; "
        "measure one date and --set tokens_per_second=… for a better one"
    )
