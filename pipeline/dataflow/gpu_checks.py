"""GPUs of Dataflow workers: how they are requested, and which requests would fail or cost money for nothing."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.dataflow.options import ONE_PROCESS
from pipeline.dataflow.secret_values import shown

HINTS = ("accelerator", "min_ram")
MACHINES = {
    "nvidia-l4": "g2-standard-",
    "nvidia-tesla-t4": "n1-",
    "nvidia-tesla-a100": "a2-highgpu-",
    "nvidia-a100-80gb": "a2-ultragpu-",
}
"""GPU -> how the machines that it goes on are named."""
_ONE_GPU = re.compile(r"g2-standard-(4|8|12|16|32)|a2-(highgpu|ultragpu)-1g|n1-.*")
_WITH_GPU = re.compile(r"[ag][2-9]")
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)? ?([KMGTP]i?)?B")
_POOL = "worker_accelerator="
# Its parts in the order of the alphabet.
_ACCELERATOR = re.compile(
    r"count:1;install-nvidia-driver(?::5xx)?;(?:machine_type:(?P<machine>[^;]+);)?type:(?P<gpu>[^;]+)"
)


def all_hints(given: Mapping[str, Any], hints: Mapping[str, str]) -> dict[str, str]:
    """The hints of a step, and those among the options, which are for every step."""
    return {**dict(hint.partition("=")[::2] for hint in given.get("resource_hints") or []), **hints}


def needs_gpu(options: PipelineOptions, hints: Mapping[str, str]) -> bool:
    """Whether the workers that score are to have a GPU."""
    given = options.get_all_options(drop_default=True)
    return "accelerator" in all_hints(given, hints) or bool(_pool_accelerators(given))


def placement_problems(given: Mapping[str, Any], hints: Mapping[str, str]) -> Iterator[str]:
    """One line for every mistake in which workers have a GPU, and on which machine."""
    machine, pools = given.get("machine_type"), _pool_accelerators(given)
    if pools and hints:
        yield (
            "--dataflow_service_options worker_accelerator and resource hints exclude each other; "
            "give every worker a GPU (placement all), or only the scoring step's (placement score)"
        )
    if given.get("flexrs_goal") == "COST_OPTIMIZED" and (pools or hints):
        yield "--flexrs_goal COST_OPTIMIZED: FlexRS goes neither with resource hints nor with GPUs; leave it out"
    for key, value in hints.items():
        if key not in HINTS:
            yield f"resource hint {key!r} is not known to work here; use {' and '.join(HINTS)} only"
        elif key == "min_ram" and not _MEMORY.fullmatch(value):
            yield f"min_ram hint {shown(value)}: is not a size; write a number and a unit, such as 14GB"
    for text in pools:
        about = f"--dataflow_service_options {_POOL[:-1]} {shown(text)}"
        yield from (f"{about}: {problem}" for problem in _accelerator_problems(text, machine, of_pool=True))
    if (hint := hints.get("accelerator")) is not None:
        yield from (f"accelerator hint {shown(hint)}: {problem}" for problem in _accelerator_problems(hint, None))
    if not pools and machine and _WITH_GPU.match(machine):
        yield (
            f"--machine_type {shown(machine)}: comes with a GPU that these workers do not use; "
            "take a machine without, or say worker_accelerator"
        )
    if (pools or hint is not None) and ONE_PROCESS not in (given.get("experiments") or []):
        yield (
            f"--experiments={ONE_PROCESS} is missing: every processor would have a process with a model of its own, "
            "all on the same GPU; add it"
        )


def _pool_accelerators(given: Mapping[str, Any]) -> list[str]:
    service = [*(given.get("dataflow_service_options") or []), *(given.get("experiments") or [])]
    return [one.removeprefix(_POOL) for one in service if one.startswith(_POOL)]


def _accelerator_problems(text: str, machine: str | None, *, of_pool: bool = False) -> Iterator[str]:
    """What is wrong with the GPU of a step, or of a pool, whose machines are those of the job (`machine`)."""
    found = _ACCELERATOR.fullmatch(";".join(sorted(text.split(";"))))
    if found is None:
        yield (
            "is no single GPU with its driver; write type:GPU;count:1;machine_type:MACHINE;install-nvidia-driver, or "
            "…:5xx for a newer driver: a worker scores on one GPU, and sees none without a driver"
        )
        return
    if of_pool and found["machine"]:
        yield "has a machine_type, which Dataflow does not read there; say --machine_type"
        return
    gpu, machine = found["gpu"], machine if of_pool else found["machine"]
    family = MACHINES.get(gpu)
    if family is None:
        yield f"has the unknown GPU type {shown(gpu)}; known are {', '.join(MACHINES)}"
    elif not (machine or "n1-").startswith(family):
        given = shown(machine) if machine else "n1-*, the default of Dataflow"
        yield f"has the GPU {gpu}, which is on {family}* machines only, not on {given}"
    elif machine and not _ONE_GPU.fullmatch(machine):
        yield f"asks for one GPU, and {shown(machine)} has several, which all cost money; take a machine with one"
