"""Options and hints that give workers a GPU: do they fit each other and the machines?"""

from collections.abc import Iterator, Mapping

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)

from pipeline.dataflow.accelerators import gpu_problems, is_gpu_machine, memory_problem, read_accelerator
from pipeline.dataflow.names import machine_problem
from pipeline.dataflow.options import ONE_PROCESS
from pipeline.dataflow.secret_values import shown

HINTS = ("accelerator", "min_ram")
_POOL = "worker_accelerator="


def all_hints(options: PipelineOptions, hints: Mapping[str, str]) -> dict[str, str]:
    """Hints of a step, and those for every step, which are options."""
    given = options.view_as(StandardOptions).resource_hints or []
    general = given if isinstance(given, dict) else dict(hint.partition("=")[::2] for hint in given)
    return {**general, **hints}


def needs_gpu(options: PipelineOptions, hints: Mapping[str, str]) -> bool:
    """Whether the workers that score are to have a GPU."""
    return "accelerator" in all_hints(options, hints) or bool(_pool_accelerators(options))


def placement_problems(options: PipelineOptions, hints: Mapping[str, str]) -> Iterator[str]:
    """One line for everything that is wrong with which workers have a GPU, on which machine."""
    worker, flexrs = options.view_as(WorkerOptions), options.view_as(GoogleCloudOptions).flexrs_goal
    pools, hint = _pool_accelerators(options), hints.get("accelerator")
    if pools and hints:
        yield (
            "--dataflow_service_options worker_accelerator and resource hints exclude each other; "
            "give every worker a GPU (placement all), or only the scoring step's (placement score)"
        )
    if flexrs == "COST_OPTIMIZED" and (pools or hints):
        yield "--flexrs_goal COST_OPTIMIZED: FlexRS goes neither with resource hints nor with GPUs; leave it out"
    yield from _hint_problems(hints)
    for text in pools:
        # The machine of the pool is an option of its own.
        yield from _accelerator_problems("--dataflow_service_options worker_accelerator", text, worker.machine_type)
    if hint is not None:
        yield from _accelerator_problems("accelerator hint", hint, None, hints.get("min_ram"))
    if not pools and worker.machine_type and is_gpu_machine(worker.machine_type):
        yield (
            f"--machine_type {shown(worker.machine_type)}: comes with a GPU that these workers do not use; "
            "take a machine without, or say worker_accelerator"
        )
    yield from _process_problems(options, [*pools, *([] if hint is None else [hint])])


def _pool_accelerators(options: PipelineOptions) -> list[str]:
    given = [
        *(options.view_as(GoogleCloudOptions).dataflow_service_options or []),
        *(options.view_as(DebugOptions).experiments or []),
    ]
    return [one.removeprefix(_POOL) for one in given if one.startswith(_POOL)]


def _hint_problems(hints: Mapping[str, str]) -> Iterator[str]:
    for key, value in hints.items():
        if key not in HINTS:
            yield f"resource hint {key!r} is none of {', '.join(HINTS)}, which alone are known to do what they say"
        elif key == "min_ram" and (problem := memory_problem(value, None)):
            yield f"min_ram hint {shown(value)}: {problem}"


def _accelerator_problems(where: str, text: str, pool_machine: str | None, min_ram: str | None = None) -> Iterator[str]:
    gpu, problems = read_accelerator(text)
    is_pool = where.startswith("--")
    if is_pool and gpu.machine_type is not None:
        problems.append("has a machine_type; say that with --machine_type")
    machine = pool_machine if is_pool else gpu.machine_type
    found = gpu_problems(gpu, machine)
    # The machine of a pool is told by its own option.
    if not found and not is_pool and machine is not None and (problem := machine_problem(machine)):
        found = [f"has the machine {shown(machine)}, which {problem}"]
    problems += found
    if min_ram is not None and (problem := memory_problem(min_ram, machine)):
        yield f"min_ram hint {shown(min_ram)}: {problem}"
    yield from (f"{where} {shown(text)}: {problem}" for problem in problems)


def _process_problems(options: PipelineOptions, accelerators: list[str]) -> Iterator[str]:
    if not accelerators:
        return
    one_process = options.view_as(DebugOptions).lookup_experiment(ONE_PROCESS)
    mps = any(read_accelerator(text)[0].shared_by_processes for text in accelerators)
    if mps and one_process:
        yield f"use_nvidia_mps lets processes share a GPU, --experiments={ONE_PROCESS} makes one only; leave one out"
    if not mps and not one_process:
        yield (
            f"--experiments={ONE_PROCESS} is missing: every processor would have a process with a model of its own, "
            "all on the same GPU; add it"
        )
