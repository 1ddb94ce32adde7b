"""Profile: where a job runs and on which machines, from a YAML file and `--set key=value`."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pydantic

from pipeline.dataflow import names
from pipeline.dataflow.accelerators import KINDS, Accelerator, gpu_problems, is_gpu_machine, memory_problem
from pipeline.dataflow.secret_values import secrets_of, shown
from pipeline.jobs.config import ConfigError
from pipeline.jobs.yaml_file import YamlFileError, read_mapping

REQUIRED = ("project", "region", "temp", "image", "max_workers", "labels")
"""Keys that a profile for Dataflow must have."""


class Gpu(pydantic.BaseModel):
    """The GPU of a worker. `min_ram` is the least memory of a worker with `placement: score`, such as `14GB`.

    `score` gives a GPU to the workers of the scoring step alone, the other steps have workers of their own;
    `all` gives one to every worker.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    type: str
    count: int = pydantic.Field(default=1, ge=1)
    machine_type: str
    driver: Literal["default", "5xx"] = "default"
    placement: Literal["score", "all"] = "score"
    min_ram: str | None = None

    @property
    def accelerator(self) -> Accelerator:
        """The GPU with its machine."""
        driver = None if self.driver == "default" else self.driver
        return Accelerator(type=self.type, count=self.count, machine_type=self.machine_type, driver=driver)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Gpu":
        problems = gpu_problems(self.accelerator, self.machine_type)
        if not problems and (problem := names.machine_problem(self.machine_type)):
            problems.append(f"has the machine {shown(self.machine_type)}, which {problem}")
        if self.min_ram is not None and (problem := memory_problem(self.min_ram, self.machine_type)):
            problems.append(f"has min_ram {shown(self.min_ram)}, which {problem}")
        if problems:
            raise ValueError("\n".join(problems))
        return self


class Profile(pydantic.BaseModel):
    """Where a job runs. With the runner `direct` only `workers` may be set, with `dataflow` all but `workers`.

    `machine_type` is that of workers without a GPU: of all of them without `gpu`, of none where every worker has one.
    `tokens_per_second` is what one worker was measured to score, for estimates.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    runner: Literal["direct", "dataflow"]
    workers: int = pydantic.Field(default=1, ge=1)
    project: str | None = None
    region: str | None = None
    temp: str | None = None
    image: str | None = None
    machine_type: str | None = None
    max_workers: int | None = pydantic.Field(default=None, ge=1)
    disk_gb: int | None = pydantic.Field(default=None, ge=30)
    threads: int | None = pydantic.Field(default=None, ge=1)
    labels: Mapping[str, str] = pydantic.Field(default_factory=dict)
    service_account: str | None = None
    subnetwork: str | None = None
    private_addresses: bool = True
    kms_key: str | None = None
    flexrs: bool = False
    job_name: str = "bert-batch"
    gpu: Gpu | None = None
    tokens_per_second: float | None = pydantic.Field(default=None, gt=0, allow_inf_nan=False)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Profile":
        problems = list(self._direct_problems() if self.runner == "direct" else self._dataflow_problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _direct_problems(self) -> Iterator[str]:
        for key in sorted(self.model_fields_set - {"runner", "workers", "tokens_per_second"}):
            yield f"{key} is for the runner dataflow; leave it out, or set runner=dataflow"

    def _dataflow_problems(self) -> Iterator[str]:
        if "workers" in self.model_fields_set:
            yield "workers is for the runner direct; say max_workers"
        for key in REQUIRED:
            if not getattr(self, key):
                example = "labels.team=…" if key == "labels" else f"{key}=…"
                yield f"{key} is missing; add --set {example}, or the key to the profile"
        for key, problem in self._named_problems():
            if problem is not None:
                yield f"{key} {shown(getattr(self, key), key)}: {problem}"
        yield from (f"labels {problem}" for problem in names.label_problems(self.labels))
        yield from self._machine_problems()
        for key in secrets_of(self.model_dump()):
            yield f"{key}: looks like a secret (value not shown), which all who see the job would see; remove it"

    def _named_problems(self) -> Iterator[tuple[str, str | None]]:
        rules = {
            "project": names.project_problem,
            "region": names.region_problem,
            "temp": names.gs_problem,
            "image": names.image_problem,
            "job_name": names.job_name_prefix_problem,
            "service_account": names.service_account_problem,
            "subnetwork": lambda value: names.subnetwork_problem(value, self.region),
            "kms_key": lambda value: names.kms_key_problem(value, self.region),
            "machine_type": names.machine_problem,
        }
        for key, rule in rules.items():
            value = getattr(self, key)
            # A required key that is empty is told as missing.
            if value is not None and (value or key not in REQUIRED):
                yield key, rule(value)

    def _machine_problems(self) -> Iterator[str]:
        if self.machine_type is not None and is_gpu_machine(self.machine_type):
            yield (
                f"machine_type {shown(self.machine_type)}: is for workers without a GPU, and comes with one; "
                "take another, or say gpu.machine_type"
            )
        if self.flexrs and self.gpu is not None:
            yield "flexrs does not go with gpu; leave one of them out"


def load_profile(file: str, overrides: Mapping[str, str]) -> Profile:
    """The profile of a YAML file with keys replaced (`gpu.count` is a key of `gpu`; an empty value removes the key).

    Raises ConfigError with a line for every problem.
    """
    try:
        content = read_mapping(file)
    except YamlFileError as error:
        raise ConfigError(f"--profile {file}: {error}") from error
    if not content:
        raise ConfigError(f"--profile {file}: is not a mapping of keys to values")
    for key, value in overrides.items():
        _override(content, key, value)
    try:
        return Profile(**{str(key): value for key, value in content.items()})
    except pydantic.ValidationError as error:
        lines = [line for problem in error.errors() for line in _say(problem)]
        raise ConfigError(*(f"--profile {file}: {line}" for line in lines)) from error


def _override(content: dict[str, Any], key: str, value: str) -> None:
    *outer, last = key.split(".")
    for name in outer:
        if content.get(name) is None:
            content[name] = {}
        content = content[name]
        if not isinstance(content, dict):
            raise ConfigError(f"--set {key}: {name} has no keys in it; say --set {name}=…")
    if value:
        content[last] = value
    else:
        content.pop(last, None)


def _say(problem: Any) -> list[str]:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = list(Gpu.model_fields if key.startswith("gpu.") else Profile.model_fields)
        name = str(problem["loc"][-1])
        near = difflib.get_close_matches(name, known, 1)
        return [
            f"key {key!r} is unknown" + (f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}")
        ]
    if problem["type"] == "missing":
        kinds = f", one of {', '.join(KINDS)}" if key == "gpu.type" else ""
        return [f"{key} is missing{kinds}; add --set {key}=…, or the key to the profile"]
    lines = problem["msg"].removeprefix("Value error, ").split("\n")
    if problem["type"] == "value_error":
        return [f"{key} {line}".lstrip() for line in lines]
    return [f"{key} {shown(problem['input'], key)}: {line}" for line in lines]
