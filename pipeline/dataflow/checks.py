"""Refuses, before a job is sent, what Dataflow would charge for without a result, or fail on during the night."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator as Validator

from pipeline.dataflow.buckets import bucket_of
from pipeline.dataflow.gpu_checks import all_hints, placement_problems
from pipeline.dataflow.secret_values import is_secret, shown
from pipeline.errors import ConfigError

IMAGE_PYTHON = "3.11"
"""The minor version of Python in the image: what its label `bert-batch.python` says (deploy/Dockerfile)."""
ARM = ("t2a-", "c4a-", "n4a-", "a4x-")
DIGEST = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9._:/]*@sha256:[0-9a-f]{64}")
LABEL = re.compile(r"[^\W\d_][\w-]{0,62}(=[\w-]{0,63})?")
REQUIRED = {
    "project": ("", "my-project"),
    "region": ("", "us-central1"),
    "temp_location": ("", "gs://my-bucket/temp"),
    "sdk_container_image": (", and workers need this package and its TensorFlow", "IMAGE@sha256:…"),
    "max_num_workers": (", so the cost has no limit", "10"),
    "labels": (", so nobody can tell what the job costs", "team=search"),
}
"""Option -> what it means that it is missing, and an example."""
UNFIT = {
    "streaming": "this job is a batch, which ends; leave it out",
    "update": "only a streaming job can be updated; leave it out",
    # Beam takes any word for true, False too.
    "dry_run": "nothing would be sent, and no verdict written; leave it out, `submit --plan` shows the job",
    "requirements_file": "the image holds all packages; build them into it",
    "save_main_session": "workers would load what this command imported; the image holds all; leave it out",
}
"""Options that do not go with this job, and why."""
_MATCHES = {"project": Validator.PROJECT_ID_PATTERN, "job_name": Validator.JOB_PATTERN}


def check_dataflow(options: PipelineOptions, hints: Mapping[str, str]) -> None:
    """Checks the options of a job and the hints of its scoring step, without asking any service.

    Raises ConfigError with one line for every problem: what it is about, its value, the rule, and the way out.
    """
    given = options.get_all_options(drop_default=True)
    problems = [
        *_kind_problems(given),
        *_name_problems(given),
        *_place_problems(given),
        *Validator(options, None).validate_num_workers(options.view_as(WorkerOptions)),
        *_image_problems(given),
        *_label_problems(given),
        *placement_problems(given, all_hints(given, hints)),
        *_secret_problems(given),
    ]
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def _kind_problems(given: Mapping[str, Any]) -> Iterator[str]:
    runner = given.get("runner", "")
    if runner.rsplit(".", 1)[-1].lower() not in ("dataflowrunner", "dataflow"):
        yield f"--runner {shown(runner)}: the job would not run on Dataflow; leave it out"
    for flag, why in UNFIT.items():
        if given.get(flag):
            yield f"--{flag}: {why}"


def _name_problems(given: Mapping[str, Any]) -> Iterator[str]:
    for flag, (why, example) in REQUIRED.items():
        if given.get(flag) in (None, ""):
            yield f"--{flag} is missing{why}; give one, such as --{flag}={example}"
    for flag, pattern in _MATCHES.items():
        value = given.get(flag)
        if value and not re.fullmatch(pattern, value):
            yield f"--{flag} {shown(value)}: is not accepted by Dataflow; write one that matches {pattern}"


def _place_problems(given: Mapping[str, Any]) -> Iterator[str]:
    for flag in ("temp_location", "staging_location"):
        path = given.get(flag) or ""
        # Beam wants a slash after the bucket, and for anything else it silently makes a new bucket of its own.
        if path and (not (bucket := bucket_of(path)) or path == f"gs://{bucket}" or re.search(r"\s", path)):
            yield f"--{flag} {shown(path)}: is not a gs:// folder; give one such as gs://my-bucket/temp, or gs://my-bucket/"
    region = given.get("region")
    for flag in ("worker_region", "worker_zone", "zone"):
        place = given.get(flag)
        if region and place and (place if flag == "worker_region" else place.rpartition("-")[0]) != region:
            yield (
                f"--{flag} {shown(place)}: lies outside --region {region}, where the data and the network are; "
                "leave it out, or change --region"
            )


def _image_problems(given: Mapping[str, Any]) -> Iterator[str]:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if own != IMAGE_PYTHON:
        yield (
            f"--sdk_container_image: this command runs on Python {own}, the image on {IMAGE_PYTHON}, and only "
            f"the same minor version reads what Beam pickles; submit from an environment of Python {IMAGE_PYTHON}"
        )
    if (machine := given.get("machine_type", "")).startswith(ARM):
        yield f"--machine_type {shown(machine)}: is Arm, and the image is for x86; take one such as n2-standard-4"
    replaced = "sdk_harness_container_image_overrides"
    images = [("sdk_container_image", given.get("sdk_container_image") or "")]
    for flag, value in [*images, *((replaced, other) for other in given.get(replaced) or [])]:
        if value and not DIGEST.fullmatch(value.rpartition(",")[2] if flag == replaced else value):
            yield (
                f"--{flag} {shown(value)}: has no digest, so another image can take its place midway; "
                "name it IMAGE@sha256:<64 hex digits>"
            )


def _label_problems(given: Mapping[str, Any]) -> Iterator[str]:
    for label in given.get("labels") or []:
        # A launcher gives all of them as JSON, which Beam reads as Python.
        if not (_is_mapping(label) if label.startswith("{") else LABEL.fullmatch(label) and label == label.lower()):
            yield (
                f"--labels {shown(label)}: write key=value, each at most 63 lowercase letters, digits, - and _, and "
                "begin the key with a letter; or all labels as one JSON object"
            )


def _is_mapping(text: str) -> bool:
    with suppress(ValueError, SyntaxError, RecursionError):
        return isinstance(ast.literal_eval(text), dict)
    return False


def _secret_problems(given: Mapping[str, Any]) -> Iterator[str]:
    for name, value in given.items():
        # Names of modules and words such as DEBUG are no secrets.
        if name != "sdk_harness_log_level_overrides" and is_secret(name, value):
            yield (
                f"--{name}: looks like a secret (value not shown), and whoever may see the job would see it; remove "
                "it, and give its rights to the workers' service account"
            )
