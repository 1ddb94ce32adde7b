"""Profile: where a job runs and on which machines, from a YAML file and `--set key=value`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pydantic

from pipeline.dataflow.secret_values import shown
from pipeline.errors import ConfigError, YamlFileError
from pipeline.jobs.sentences import unknown_key
from pipeline.jobs.yaml_file import read_mapping

REQUIRED = {key: key for key in ("project", "region", "temp", "image", "max_workers")} | {"labels": "labels.team"}
"""Keys that a profile for Dataflow must have, and what `--set` gives."""


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

    def accelerator(self, *, with_machine: bool = True) -> str:
        """As Dataflow writes it: `type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver`."""
        machine = f"machine_type:{self.machine_type};" if with_machine else ""
        driver = "" if self.driver == "default" else f":{self.driver}"
        return f"type:{self.type};count:{self.count};{machine}install-nvidia-driver{driver}"


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
        given = self.model_fields_set
        if self.runner == "direct":
            others = sorted(given - {"runner", "workers", "tokens_per_second"})
            problems = [f"{key} is for the runner dataflow; leave it out, or set runner=dataflow" for key in others]
        else:
            problems = ["workers is for the runner direct; say max_workers"] if "workers" in given else []
            missing = [(key, how) for key, how in REQUIRED.items() if not getattr(self, key)]
            problems += [f"{key} is missing; add --set {how}=…, or the key to the profile" for key, how in missing]
        if problems:
            raise ValueError("\n".join(problems))
        return self


def overrides(pairs: Sequence[str]) -> dict[str, str]:
    """What `--set` says; an empty value removes a key. Raises ConfigError."""
    parted = [pair.partition("=") for pair in pairs]
    if wrong := [pair for pair, (key, equals, _) in zip(pairs, parted, strict=True) if not (key and equals)]:
        raise ConfigError(f"--set {wrong[0]!r} is not of the form key=value")
    return {key: value for key, _, value in parted}


def load_profile(file: str, overrides: Mapping[str, str]) -> Profile:
    """The profile of a YAML file with keys replaced (`gpu.count` is a key of `gpu`; an empty value removes the key).

    Raises ConfigError with a line for every problem.
    """
    try:
        content = read_mapping(file)
    except YamlFileError as error:
        raise ConfigError(f"--profile {file}: {error}") from error
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
    key, kind, message = ".".join(map(str, problem["loc"])), problem["type"], problem["msg"]
    if kind == "extra_forbidden":
        return [unknown_key(key, Gpu if key.startswith("gpu.") else Profile)]
    if kind == "missing":
        return [f"{key} is missing; add --set {key}=…, or the key to the profile"]
    if kind == "value_error":
        # Ours, of the whole profile; each line names its key.
        return list(message.removeprefix("Value error, ").split("\n"))
    return [f"{key} {shown(problem['input'], key)}: {message}"]
