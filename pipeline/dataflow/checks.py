"""What Dataflow would reject, or charge for nothing, is refused before a job is sent."""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
)

from pipeline.dataflow import names
from pipeline.dataflow.bucket_regions import place_problem
from pipeline.dataflow.gpu_checks import all_hints, placement_problems
from pipeline.dataflow.secret_values import secrets_of, shown
from pipeline.jobs.config import ConfigError


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


def check_places(region: str, places: Mapping[str, str]) -> None:
    """Asks Cloud Storage whether the bucket of every gs:// path exists and is in the region; `places`: flag -> path.

    A path that is not gs:// is passed over; so is where a bucket lies, if these credentials may use the bucket but not
    look at it. Raises ConfigError with one line for every problem.
    """
    from google.cloud.storage import Client

    buckets: dict[str, tuple[str, list[str]]] = {}
    for flag, path in places.items():
        if (bucket := names.bucket_of(path)) is not None:
            buckets.setdefault(bucket, (path, []))[1].append(flag)
    problems = []
    with _signed_in(), Client(project=None) as client:
        for bucket, (path, flags) in buckets.items():
            if problem := _bucket_problem(client, bucket, region):
                problems.append(f"{', '.join(flags)} {shown(path)}: {problem}")
    if problems:
        raise ConfigError(*problems)


@contextmanager
def _signed_in() -> Iterator[None]:
    from google.auth.exceptions import DefaultCredentialsError, RefreshError

    try:
        yield
    except (DefaultCredentialsError, RefreshError) as error:
        what = "have run out or been taken back" if isinstance(error, RefreshError) else "are not found or not readable"
        raise ConfigError(
            f"the credentials for Google Cloud {what}; sign in with `gcloud auth application-default login`, or name "
            "the key of a service account in GOOGLE_APPLICATION_CREDENTIALS"
        ) from error


def _kind_problems(options: PipelineOptions) -> Iterator[str]:
    standard, google = options.view_as(StandardOptions), options.view_as(GoogleCloudOptions)
    runner, setup = standard.runner or "", options.view_as(SetupOptions)
    if runner.rsplit(".", 1)[-1].lower() not in ("dataflowrunner", "dataflow"):
        yield f"--runner {shown(runner)}: the job would not run on Dataflow; leave it out"
    if standard.streaming:
        yield "--streaming: this job is a batch, which ends; leave it out"
    if google.update:
        yield "--update: only a streaming job can be updated; leave it out"
    # Beam takes any word for true, False too.
    if options.view_as(TestOptions).dry_run:
        yield "--dry_run: nothing would be sent, and no verdict ever come; leave it out, `submit --plan` shows the job"
    if setup.requirements_file:
        yield f"--requirements_file {shown(setup.requirements_file)}: the image holds all packages; build them into it"
    if setup.save_main_session:
        yield "--save_main_session: workers would load what this command imported; the image holds all; leave it out"


def _zone_problems(options: PipelineOptions) -> Iterator[str]:
    region, worker = options.view_as(GoogleCloudOptions).region, options.view_as(WorkerOptions)
    for flag in ("worker_region", "worker_zone", "zone"):
        place = getattr(worker, flag)
        if region and place and (place if flag == "worker_region" else place.rpartition("-")[0]) != region:
            yield (
                f"--{flag} {shown(place)}: lies outside --region {region}, where the data and the network are; "
                "leave it out, or change --region"
            )


def _name_problems(options: PipelineOptions) -> Iterator[str]:
    google, worker = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    region = google.region
    required = {"project": "my-project", "region": "us-central1", "temp_location": "gs://my-bucket/temp"}
    for flag, example in required.items():
        if not getattr(google, flag):
            yield f"--{flag} is missing; give one, such as --{flag}={example}"
    rules: dict[str, tuple[str | None, Callable[[str], str | None]]] = {
        "project": (google.project, names.project_problem),
        "region": (region, names.region_problem),
        "temp_location": (google.temp_location, names.gs_folder_problem),
        "staging_location": (google.staging_location, names.gs_folder_problem),
        "job_name": (google.job_name, names.job_name_problem),
        "machine_type": (worker.machine_type, names.machine_problem),
        "service_account_email": (google.service_account_email, names.service_account_problem),
        "subnetwork": (worker.subnetwork, lambda value: names.subnetwork_problem(value, region)),
        "dataflow_kms_key": (google.dataflow_kms_key, lambda value: names.kms_key_problem(value, region)),
    }
    for flag, (value, rule) in rules.items():
        if value and (problem := rule(value)):
            yield f"--{flag} {shown(value)}: {problem}"


def _python_problems() -> Iterator[str]:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if own != names.IMAGE_PYTHON:
        yield (
            f"--sdk_container_image: this command runs on Python {own}, the image on {names.IMAGE_PYTHON}, and only "
            f"the same minor version reads what Beam pickles; submit from an environment of Python {names.IMAGE_PYTHON}"
        )


def _worker_problems(options: PipelineOptions) -> Iterator[str]:
    worker = options.view_as(WorkerOptions)
    most, first = worker.max_num_workers, worker.num_workers
    if most is None:
        yield "--max_num_workers is missing, so the cost has no limit; give one, such as --max_num_workers=10"
    elif most < 1:
        yield f"--max_num_workers {most}: is less than one worker; give 1 or more"
    elif first is not None and first > most:
        yield f"--max_num_workers {most}: is less than --num_workers {first}; raise it, or lower the other"
    if first is not None and first < 1:
        yield f"--num_workers {first}: is less than one worker; give 1 or more"
    image = worker.sdk_container_image or worker.worker_harness_container_image
    if not image:
        yield "--sdk_container_image is missing: workers need this package and its TensorFlow; name it IMAGE@sha256:…"
    elif problem := names.image_problem(image):
        yield f"--sdk_container_image {shown(image)}: {problem}"
    for entry in worker.sdk_harness_container_image_overrides or []:
        if problem := names.image_problem(entry.rsplit(",", 1)[-1]):
            yield f"--sdk_harness_container_image_overrides {shown(entry)}: {problem}"


def _label_problems(options: PipelineOptions) -> Iterator[str]:
    labels = options.view_as(GoogleCloudOptions).labels
    if not labels:
        yield "--labels is missing, so nobody can tell what the job costs; give one, such as --labels=team=search"
        return
    found: dict[str, str] = {}
    for label in [labels] if isinstance(labels, (str, dict)) else labels:
        try:
            found |= label if isinstance(label, dict) else _label(label)
        except ValueError:
            yield f"--labels {shown(label)}: is no JSON object; write key=value"
    yield from (f"--labels {problem}" for problem in names.label_problems(found))


def _label(text: str) -> dict[str, str]:
    if "{" in text:
        # As Beam reads it.
        try:
            read = ast.literal_eval(text)
        except (SyntaxError, TypeError) as error:
            raise ValueError("no mapping") from error
        if not isinstance(read, dict):
            raise ValueError("no mapping")
        return {str(key): str(value) for key, value in read.items()}
    key, _, value = text.partition("=")
    return {key: value}


def _secret_problems(options: PipelineOptions) -> Iterator[str]:
    given = options.get_all_options(drop_default=True)
    # Names of modules and words such as DEBUG.
    given.pop("sdk_harness_log_level_overrides", None)
    for name in secrets_of(given):
        yield (
            f"--{name}: looks like a secret (value not shown), which all who see the job would see; remove it, and "
            "give the workers' service account the right"
        )


def _bucket_problem(client: Any, name: str, region: str) -> str | None:
    from google.api_core.exceptions import Forbidden, NotFound

    try:
        bucket = client.get_bucket(name)
    except NotFound:
        return f"there is no bucket {name}; make it, or mend the name"
    except Forbidden:
        # The roles for objects do not include a look at the bucket.
        return _use_problem(client, name)
    return place_problem(bucket.location, bucket.data_locations or (), region)


def _use_problem(client: Any, name: str) -> str | None:
    from google.api_core.exceptions import Forbidden, NotFound

    try:
        next(iter(client.list_blobs(name, max_results=1)), None)
    except NotFound:
        return f"there is no bucket {name}; make it, or mend the name"
    except Forbidden:
        return f"the bucket {name} may not be read with these credentials; grant roles/storage.objectAdmin, or sign in"
    return None
