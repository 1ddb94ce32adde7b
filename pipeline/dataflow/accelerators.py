"""GPUs of Dataflow workers: how they are written, and which machines they go with."""

import difflib
import re
from dataclasses import dataclass

from pipeline.dataflow.secret_values import shown

KEYS = ("type", "count", "machine_type", "install-nvidia-driver", "use_nvidia_mps")
DRIVERS = ("5xx",)
GPU_FAMILIES = ("g2-", "g4-", "a2-", "a3-", "a4-", "a4x-")
"""Machines that come with a GPU, whether it is used or not."""

_COUNT = re.compile(r"[1-9][0-9]{0,2}")
_L4_OF_G2 = {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}
_SIZES = {"B": 1, **{f"{unit}B": 10 ** (3 * n) for n, unit in enumerate("KMGTP", 1)}}
_SIZES |= {f"{unit}iB": 2 ** (10 * n) for n, unit in enumerate("KMGTP", 1)}
_MEMORY_OF_A_CPU = {"g2-standard": 4 * 2**30, "n1-standard": 15 * 2**28}


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """`machines` names in words what `pattern` matches; only `anywhere` may stand without a machine type."""

    machines: str
    pattern: str
    anywhere: bool = False


KINDS = {
    "nvidia-l4": _Kind(machines="g2-standard-*", pattern=r"g2-standard-([1-9][0-9]*)"),
    "nvidia-tesla-t4": _Kind(
        machines="n1-*",
        pattern=r"n1-(?:standard|highmem|highcpu)-[0-9]+|n1-custom-[0-9]+-[0-9]+(?:-ext)?",
        anywhere=True,
    ),
    "nvidia-tesla-a100": _Kind(
        machines="a2-highgpu-*g or a2-megagpu-16g", pattern=r"a2-(?:high|mega)gpu-([1-9][0-9]*)g"
    ),
    "nvidia-a100-80gb": _Kind(machines="a2-ultragpu-*g", pattern=r"a2-ultragpu-([1-9][0-9]*)g"),
}


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """What `type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver` says."""

    type: str | None
    count: int | None
    machine_type: str | None = None
    driver: str | None = None
    shared_by_processes: bool = False

    def __str__(self) -> str:
        driver = "install-nvidia-driver" if self.driver is None else f"install-nvidia-driver:{self.driver}"
        machine = [] if self.machine_type is None else [f"machine_type:{self.machine_type}"]
        return ";".join([f"type:{self.type}", f"count:{self.count}", *machine, driver])


def read_accelerator(text: str) -> tuple[Accelerator, list[str]]:
    """The accelerator as far as it can be read, and all that is wrong with how it is written."""
    found: dict[str, str | None] = {}
    problems = []
    for part in text.split(";"):
        key, colon, value = part.partition(":")
        if key not in KEYS:
            near = difflib.get_close_matches(key.strip().lower(), KEYS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(KEYS)}"
            problems.append(f"has the unknown part {shown(key)}; {hint}")
        elif key in found:
            problems.append(f"says {key!r} twice; say it once")
        found[key] = value if colon else None
    problems += [f"lacks {key!r}; add {key}:…" for key in ("type", "count") if not found.get(key)]
    count = found.get("count") or ""
    if count and not _COUNT.fullmatch(count):
        problems.append(f"has the count {shown(count)}; give a whole number from 1, such as count:1")
    if "install-nvidia-driver" not in found:
        problems.append(
            "installs no driver, so no GPU would be seen; add install-nvidia-driver, or …:5xx for a newer one"
        )
    elif (driver := found["install-nvidia-driver"]) is not None and driver not in DRIVERS:
        problems.append(f"has the driver {shown(driver)}; say install-nvidia-driver, or install-nvidia-driver:5xx")
    if found.get("use_nvidia_mps") is not None:
        problems.append("gives use_nvidia_mps a value; say it without")
    accelerator = Accelerator(
        type=found.get("type") or None,
        count=int(count) if _COUNT.fullmatch(count) else None,
        machine_type=found.get("machine_type"),
        driver=found.get("install-nvidia-driver"),
        shared_by_processes="use_nvidia_mps" in found,
    )
    return accelerator, problems


def is_gpu_machine(machine: str) -> bool:
    """Whether machines of this type come with a GPU."""
    return machine.startswith(GPU_FAMILIES)


def gpu_problems(gpu: Accelerator, machine: str | None) -> list[str]:
    """Why Dataflow cannot make workers with this GPU on this machine, or would for nothing."""
    if gpu.type is None:
        return []
    kind = KINDS.get(gpu.type)
    if kind is None:
        return [f"has the unknown GPU type {shown(gpu.type)}; known are {', '.join(KINDS)}"]
    problems = []
    if gpu.count is not None and gpu.count > 1:
        problems.append(
            f"has {gpu.count} GPUs a worker: a worker scores on one, the others cost and idle; say 1 and more workers"
        )
    if machine is None:
        if not kind.anywhere:
            problems.append(f"has the GPU {gpu.type}, but no machine type: say one of {kind.machines}")
        return problems
    match = re.fullmatch(kind.pattern, machine)
    if match is None:
        return [*problems, f"has the GPU {gpu.type}, which goes on {kind.machines} only, not on {shown(machine)}"]
    if match.groups():
        return [*problems, *_count_problems(gpu, machine, int(match[1]))]
    return problems


def _count_problems(gpu: Accelerator, machine: str, size: int) -> list[str]:
    # The name of an a2 machine says how many GPUs it has, that of a g2 machine how many processors.
    holds = _L4_OF_G2.get(size) if gpu.type == "nvidia-l4" else size
    if holds is None:
        sizes = ", ".join(map(str, _L4_OF_G2))
        return [f"has the machine {shown(machine)}, which does not exist; g2-standard- comes as {sizes}"]
    if gpu.count not in (None, holds):
        return [
            f"asks for {gpu.count} of the GPU {gpu.type} on {shown(machine)}, which has {holds}: let both be the same"
        ]
    return []


def memory_problem(min_ram: str, machine: str | None) -> str | None:
    """What is wrong with a least memory such as `14GB`, by itself or on the machine."""
    size = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMGTP]?i?B)", min_ram)
    if size is None or size[2] not in _SIZES:
        return "is no size; write a number and a unit, such as 14GB"
    named = re.fullmatch(r"([a-z0-9]+-[a-z]+)-([0-9]+)", machine or "")
    if named is None or named[1] not in _MEMORY_OF_A_CPU:
        return None
    memory = _MEMORY_OF_A_CPU[named[1]] * int(named[2])
    if float(size[1]) * _SIZES[size[2]] <= memory:
        return None
    return f"is more than {machine} has ({memory / 2**30:g}GiB); ask for less or take a larger machine"
