"""GPUs of Dataflow workers: how they are asked for, and what would fail or cost for nothing."""

import re
from collections.abc import Iterator, Mapping

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)

from pipeline.dataflow.options import ONE_PROCESS
from pipeline.dataflow.secret_values import shown

HINTS = ("accelerator", "min_ram")
MACHINES = {
    "nvidia-l4": "g2-standard-",
    "nvidia-tesla-t4": "n1-",
    "nvidia-tesla-a100": "a2-highgpu-",
    "nvidia-a100-80gb": "a2-ultragpu-",
}
"""GPU -> how the machines that it goes on are named. Dataflow takes an n1 machine where none is named."""
_ONE_GPU = re.compile(r"g2-standard-(4|8|12|16|32)|a2-(highgpu|ultragpu)-1g|n1-.*")
_WITH_GPU = re.compile(r"[ag][2-9]")
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)? ?([KMGTP]i?)?B")
_POOL = "worker_accelerator="
# Its parts in the order of the alphabet.
_ACCELERATOR = re.compile(
    r"count:1;install-nvidia-driver(?::5xx)?;(?:machine_type:(?P<machine>[^;]+);)?type:(?P<gpu>[^;]+)"
)


def all_hints(options: PipelineOptions, hints: Mapping[str, str]) -> dict[str, str]:
    """Hints of a step, and those for every step, which are options."""
    general = options.view_as(StandardOptions).resource_hints or []
    return {**dict(hint.partition("=")[::2] for hint in general), **hints}


def needs_gpu(options: PipelineOptions, hints: Mapping[str, str]) -> bool:
    """Whether the workers that score are to have a GPU."""
    return "accelerator" in all_hints(options, hints) or bool(_pool_accelerators(options))


def placement_problems(options: PipelineOptions, hints: Mapping[str, str]) -> Iterator[str]:
    """One line for everything that is wrong with which workers have a GPU, on which machine."""
    machine, flexrs = options.view_as(WorkerOptions).machine_type, options.view_as(GoogleCloudOptions).flexrs_goal
    pools = _pool_accelerators(options)
    if pools and hints:
        yield (
            "--dataflow_service_options worker_accelerator and resource hints exclude each other; "
            "give every worker a GPU (placement all), or only the scoring step's (placement score)"
        )
    if flexrs == "COST_OPTIMIZED" and (pools or hints):
        yield "--flexrs_goal COST_OPTIMIZED: FlexRS goes neither with resource hints nor with GPUs; leave it out"
    for key, value in hints.items():
        if key not in HINTS:
            yield f"resource hint {key!r} is none of {', '.join(HINTS)}, which alone are known to do what they say"
        elif key == "min_ram" and not _MEMORY.fullmatch(value):
            yield f"min_ram hint {shown(value)}: is no size; write a number and a unit, such as 14GB"
    asked = [(f"--dataflow_service_options {_POOL[:-1]} {shown(text)}", text, True) for text in pools]
    asked += [(f"{key} hint {shown(text)}", text, False) for key, text in hints.items() if key == "accelerator"]
    for about, text, of_pool in asked:
        yield from (f"{about}: {problem}" for problem in _accelerator_problems(text, of_pool, machine))
    if not pools and machine and _WITH_GPU.match(machine):
        yield (
            f"--machine_type {shown(machine)}: comes with a GPU that these workers do not use; "
            "take a machine without, or say worker_accelerator"
        )
    if asked and not options.view_as(DebugOptions).lookup_experiment(ONE_PROCESS):
        yield (
            f"--experiments={ONE_PROCESS} is missing: every processor would have a process with a model of its own, "
            "all on the same GPU; add it"
        )


def _pool_accelerators(options: PipelineOptions) -> list[str]:
    service = options.view_as(GoogleCloudOptions).dataflow_service_options or []
    given = [*service, *(options.view_as(DebugOptions).experiments or [])]
    return [one.removeprefix(_POOL) for one in given if one.startswith(_POOL)]


def _accelerator_problems(text: str, of_pool: bool, machine: str | None) -> Iterator[str]:
    """What is wrong with the GPU of a pool, whose machines are those of the job, or with that of a step."""
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
    elif machine is None and family != "n1-":
        yield f"has the GPU {gpu}, but no machine type: say one of {family}*"
    elif machine is not None and not machine.startswith(family):
        yield f"has the GPU {gpu}, which goes on {family}* only, not on {shown(machine)}"
    elif machine is not None and not _ONE_GPU.fullmatch(machine):
        yield f"has one GPU, and {shown(machine)} has another number of them, all paid for; take a machine with one"
