"""What Dataflow would charge for nothing, or fail on in the night, is refused before a job is sent."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator as Validator

from pipeline.dataflow.buckets import bucket_of
from pipeline.dataflow.gpu_checks import all_hints, placement_problems
from pipeline.dataflow.secret_values import is_secret, shown
from pipeline.errors import ConfigError

IMAGE_PYTHON = "3.11"
"""The minor version of Python in the image of deploy/Dockerfile."""
ARM = ("t2a-", "c4a-", "n4a-", "a4x-")
DIGEST = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9._:/]*@sha256:[0-9a-f]{64}")
LABEL = re.compile(r"[^\W\d_][\w-]{0,62}(=[\w-]{0,63})?")
REQUIRED = {"project": "my-project", "region": "us-central1", "temp_location": "gs://my-bucket/temp"}


def check_dataflow(options: PipelineOptions, hints: Mapping[str, str]) -> None:
    """Looks at a job's options and the hints of its scoring step, and asks nobody.

    Raises ConfigError with one line for every problem: what it is about, its value, the rule, and the way out.
    """
    problems = [
        *_kind_problems(options),
        *_name_problems(options),
        *_zone_problems(options),
        *_python_problems(),
        *_worker_problems(options),
        *_label_problems(options),
        *placement_problems(options, all_hints(options, hints)),
        *_secret_problems(options),
    ]
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def _kind_problems(options: PipelineOptions) -> Iterator[str]:
    standard, setup = options.view_as(StandardOptions), options.view_as(SetupOptions)
    runner = standard.runner or ""
    if runner.rsplit(".", 1)[-1].lower() not in ("dataflowrunner", "dataflow"):
        yield f"--runner {shown(runner)}: the job would not run on Dataflow; leave it out"
    if standard.streaming:
        yield "--streaming: this job is a batch, which ends; leave it out"
    if options.view_as(GoogleCloudOptions).update:
        yield "--update: only a streaming job can be updated; leave it out"
    # Beam takes any word for true, False too.
    if options.view_as(TestOptions).dry_run:
        yield "--dry_run: nothing would be sent, and no verdict ever come; leave it out, `submit --plan` shows the job"
    if setup.requirements_file:
        yield f"--requirements_file {shown(setup.requirements_file)}: the image holds all packages; build them into it"
    if setup.save_main_session:
        yield "--save_main_session: workers would load what this command imported; the image holds all; leave it out"


def _name_problems(options: PipelineOptions) -> Iterator[str]:
    google = options.view_as(GoogleCloudOptions)
    for flag, example in REQUIRED.items():
        if not getattr(google, flag):
            yield f"--{flag} is missing; give one, such as --{flag}={example}"
    for flag, pattern in {"project": Validator.PROJECT_ID_PATTERN, "job_name": Validator.JOB_PATTERN}.items():
        value = getattr(google, flag)
        if value and not re.fullmatch(pattern, value):
            yield f"--{flag} {shown(value)}: is none that Dataflow takes; write one that matches {pattern}"
    if (machine := options.view_as(WorkerOptions).machine_type) and machine.startswith(ARM):
        yield f"--machine_type {shown(machine)}: is Arm, and the image is for x86; take one such as n2-standard-4"
    for flag in ("temp_location", "staging_location"):
        path = getattr(google, flag) or ""
        # Beam takes no bucket for its uppermost folder, and another bucket, new and its own, for what is no folder.
        if path and (not (bucket := bucket_of(path)) or path == f"gs://{bucket}" or re.search(r"\s", path)):
            yield f"--{flag} {shown(path)}: is no gs:// folder; give one such as gs://my-bucket/temp, or gs://my-bucket/"


def _zone_problems(options: PipelineOptions) -> Iterator[str]:
    region, worker = options.view_as(GoogleCloudOptions).region, options.view_as(WorkerOptions)
    for flag in ("worker_region", "worker_zone", "zone"):
        place = getattr(worker, flag)
        if region and place and (place if flag == "worker_region" else place.rpartition("-")[0]) != region:
            yield (
                f"--{flag} {shown(place)}: lies outside --region {region}, where the data and the network are; "
                "leave it out, or change --region"
            )


def _python_problems() -> Iterator[str]:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if own != IMAGE_PYTHON:
        yield (
            f"--sdk_container_image: this command runs on Python {own}, the image on {IMAGE_PYTHON}, and only "
            f"the same minor version reads what Beam pickles; submit from an environment of Python {IMAGE_PYTHON}"
        )


def _worker_problems(options: PipelineOptions) -> Iterator[str]:
    worker = options.view_as(WorkerOptions)
    if worker.max_num_workers is None:
        yield "--max_num_workers is missing, so the cost has no limit; give one, such as --max_num_workers=10"
    yield from Validator(options, None).validate_num_workers(worker)
    image = worker.sdk_container_image or worker.worker_harness_container_image
    if not image:
        yield "--sdk_container_image is missing: workers need this package and its TensorFlow; name it IMAGE@sha256:…"
    given = [("sdk_container_image", image, image)]
    others = worker.sdk_harness_container_image_overrides or []
    given += [("sdk_harness_container_image_overrides", other, other.rpartition(",")[2]) for other in others]
    for flag, value, name in given:
        if value and not DIGEST.fullmatch(name):
            yield (
                f"--{flag} {shown(value)}: has no digest, so another image can take its place midway; "
                "name it IMAGE@sha256:<64 hex digits>"
            )


def _label_problems(options: PipelineOptions) -> Iterator[str]:
    labels = options.view_as(GoogleCloudOptions).labels or []
    if not labels:
        yield "--labels is missing, so nobody can tell what the job costs; give one, such as --labels=team=search"
    for label in labels:
        # A launcher gives JSON, all labels in one.
        if label.startswith("{"):
            if not _is_mapping(label):
                yield f'--labels {shown(label)}: is no JSON object; write {{"key": "value"}}, or key=value'
        elif label != label.lower() or not LABEL.fullmatch(label):
            yield (
                f"--labels {shown(label)}: write key=value, each at most 63 lowercase letters, digits, - and _, and "
                "begin the key with a letter"
            )


def _is_mapping(text: str) -> bool:
    """Whether Beam will read a mapping in `text`."""
    try:
        return isinstance(ast.literal_eval(text), dict)
    except (ValueError, SyntaxError, RecursionError):
        return False


def _secret_problems(options: PipelineOptions) -> Iterator[str]:
    given = options.get_all_options(drop_default=True)
    # Names of modules and words such as DEBUG.
    given.pop("sdk_harness_log_level_overrides", None)
    for name in [name for name, value in given.items() if is_secret(name, value)]:
        yield (
            f"--{name}: looks like a secret (value not shown), which all who see the job would see; remove it, and "
            "give the workers' service account the right"
        )
