"""What Dataflow would reject or charge for nothing: each fault alone, with its message."""

import datetime as dt
import re
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.resources import parse_resource_hints
from support.cloud.dataflow_stub import DataflowStub
from support.cloud.fake_gcs import Answer, FakeGcs
from support.commands import ROOT
from support.deploy.profiles import CPU, IMAGE

from pipeline.dataflow import checks
from pipeline.dataflow.buckets import check_places, place_problem
from pipeline.dataflow.checks import IMAGE_PYTHON, check_dataflow
from pipeline.dataflow.options import dataflow_arguments, job_name
from pipeline.dataflow.profile import Profile
from pipeline.errors import ConfigError

PROFILE = Profile(**CPU)
ONE = "--experiments=no_use_multiple_sdk_containers"
# What a profile says, without the one process that only workers with a GPU must have.
GOOD = [one for one in dataflow_arguments(PROFILE, job_name(PROFILE, dt.date(2026, 11, 21))) if one != ONE]
HINT = "type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver"
POOL = "--dataflow_service_options=worker_accelerator="
# While a test runs it is the Python of the test.


def problems(arguments: list[str], hints: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the error; none if there is none."""
    try:
        check_dataflow(PipelineOptions(arguments), hints or {})
    except ConfigError as error:
        return str(error).split("\n")
    return []


def without(*flags: str) -> list[str]:
    return [argument for argument in GOOD if argument.split("=")[0] not in flags]


@pytest.mark.parametrize(
    ("more", "hints"),
    [
        ([], {}),
        ([ONE], {"accelerator": HINT, "min_ram": "14GB"}),
        ([ONE], {"accelerator": HINT + ":5xx"}),
        ([ONE], {"accelerator": "count:1;install-nvidia-driver;type:nvidia-tesla-t4"}),
        ([ONE], {"accelerator": "type:nvidia-tesla-t4;count:1;machine_type:n1-custom-4-15360;install-nvidia-driver"}),
        ([ONE, "--machine_type=g2-standard-32", POOL + "type:nvidia-l4;count:1;install-nvidia-driver:5xx"], {}),
        ([ONE, "--machine_type=a2-highgpu-1g", POOL + "type:nvidia-tesla-a100;count:1;install-nvidia-driver"], {}),
        (["--flexrs_goal=SPEED_OPTIMIZED", ONE], {"accelerator": HINT}),
        (["--flexrs_goal=COST_OPTIMIZED"], {}),
        (["--num_workers=3"], {}),
        (['--labels={"mass": "1_3kg"}', "--labels=airflow-version=v3-3-2", "--labels=alone"], {}),
        (["--resource_hints=min_ram=14GB"], {}),
        (["--dataflow_service_options=automatically_use_created_reservation"], {}),
        ([f"--sdk_harness_container_image_overrides=.*java.*,{IMAGE}"], {}),
        (['--sdk_harness_log_level_overrides={"pipeline.dataflow.secret_values":"DEBUG"}'], {}),
        (["--subnetwork=https://www.googleapis.com/compute/v1/projects/p/regions/us-central1/subnetworks/s"], {}),
        (["--service_account_email=123-compute@developer.gserviceaccount.com"], {}),
        (["--runner=dataflow", "--worker_zone=us-central1-b"], {}),
        (["--worker_region=us-central1"], {}),
        (["--machine_type=c3-standard-192-metal"], {}),
        (["--machine_type=c2d-highcpu-2"], {}),
        (["--machine_type=n1-standard-1"], {}),
        (["--experiments=tokens_per_second=abc"], {}),
    ],
)
def test_what_is_right_passes(more: list[str], hints: dict[str, str]) -> None:
    assert problems([*GOOD, *more], hints) == []


def test_the_image_has_the_minor_version_of_python_that_submits(monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert own == checks.IMAGE_PYTHON
    monkeypatch.setattr(checks, "IMAGE_PYTHON", "3.9")
    assert problems(GOOD) == [
        f"--sdk_container_image: this command runs on Python {own}, the image on 3.9, and only the same minor version "
        "reads what Beam pickles; submit from an environment of Python 3.9"
    ]


def test_the_python_of_the_image_is_that_of_the_dockerfile() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    assert re.findall(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)-", dockerfile, re.MULTILINE) == [IMAGE_PYTHON]
    assert dockerfile.count("FROM ${PYTHON_IMAGE} AS ") == 2


GPU_ALONE = "type:nvidia-l4;count:1;install-nvidia-driver"
NO_MACHINE = "has the GPU nvidia-l4, but no machine type: say one of g2-standard-*"
FORM = (
    "is no single GPU with its driver; write type:GPU;count:1;machine_type:MACHINE;install-nvidia-driver, or …:5xx for "
    "a newer driver: a worker scores on one GPU, and sees none without a driver"
)
EXCLUDE = (
    "--dataflow_service_options worker_accelerator and resource hints exclude each other; "
    "give every worker a GPU (placement all), or only the scoring step's (placement score)"
)
FLEXRS = "--flexrs_goal COST_OPTIMIZED: FlexRS goes neither with resource hints nor with GPUs; leave it out"
PROCESSES = (
    f"{ONE} is missing: every processor would have a process with a model of its own, all on the same GPU; add it"
)
GPUS = "known are nvidia-l4, nvidia-tesla-t4, nvidia-tesla-a100, nvidia-a100-80gb"

ACCELERATORS = {
    "a part misspelt": ("type:nvidia-l4;cout:1;machine_type:g2-standard-4;install-nvidia-driver", FORM),
    "the driver misspelt": ("type:nvidia-l4;count:1;machine_type:g2-standard-4;install_nvidia_driver", FORM),
    "no driver": ("type:nvidia-l4;count:1;machine_type:g2-standard-4", FORM),
    "another driver": (HINT + ":535", FORM),
    "a driver that is not said": (HINT + ":", FORM),
    "spaces": (HINT.replace(";count", "; count"), FORM),
    "commas": (HINT.replace(";", ","), FORM),
    "a last semicolon": (HINT + ";", FORM),
    "a part twice": (HINT + ";count:1", FORM),
    "no whole number": (HINT.replace("count:1", "count:one"), FORM),
    "none": (HINT.replace("count:1", "count:0"), FORM),
    "nothing": ("", FORM),
    "GPUs that nothing is scored on": (
        HINT.replace("count:1", "count:4").replace("g2-standard-4", "g2-standard-48"),
        FORM,
    ),
    "a value for what has none": (HINT + ";use_nvidia_mps:1", FORM),
    "one process, which shares the GPU with itself": (HINT + ";use_nvidia_mps", FORM),
    "a GPU misspelt": (HINT.replace("nvidia-l4", "nvidia-l44"), f"has the unknown GPU type 'nvidia-l44'; {GPUS}"),
    "the old name of a GPU": (HINT.replace("nvidia-l4", "nvidia-t4"), f"has the unknown GPU type 'nvidia-t4'; {GPUS}"),
    "an L4 without a machine": (GPU_ALONE, NO_MACHINE),
    "eight L4, one of which is used": (
        HINT.replace("g2-standard-4", "g2-standard-96"),
        "has one GPU, and 'g2-standard-96' has another number of them, all paid for; take a machine with one",
    ),
    "two A100, one of which is used": (
        "type:nvidia-tesla-a100;count:1;machine_type:a2-highgpu-2g;install-nvidia-driver",
        "has one GPU, and 'a2-highgpu-2g' has another number of them, all paid for; take a machine with one",
    ),
    "an L4 on n1": (
        HINT.replace("g2-standard-4", "n1-standard-4"),
        "has the GPU nvidia-l4, which goes on g2-standard-* only, not on 'n1-standard-4'",
    ),
    "a T4 on g2": (
        HINT.replace("nvidia-l4", "nvidia-tesla-t4"),
        "has the GPU nvidia-tesla-t4, which goes on n1-* only, not on 'g2-standard-4'",
    ),
    "a T4 on n2": (
        "type:nvidia-tesla-t4;count:1;machine_type:n2-standard-4;install-nvidia-driver",
        "has the GPU nvidia-tesla-t4, which goes on n1-* only, not on 'n2-standard-4'",
    ),
    "an A100 of 80 GB on the machine of 40 GB": (
        "type:nvidia-a100-80gb;count:1;machine_type:a2-highgpu-1g;install-nvidia-driver",
        "has the GPU nvidia-a100-80gb, which goes on a2-ultragpu-* only, not on 'a2-highgpu-1g'",
    ),
}


@pytest.mark.parametrize("case", ACCELERATORS)
def test_an_accelerator_that_dataflow_cannot_give(case: str) -> None:
    text, line = ACCELERATORS[case]
    found = problems([*GOOD, ONE], {"accelerator": text})
    assert found == [f"accelerator hint {text!r}: {line}"]
    # The same hint for every step.
    assert problems([*GOOD, ONE, f"--resource_hints=accelerator={text}"]) == found


PLACEMENTS = {
    "both ways": ([ONE, POOL + GPU_ALONE, "--machine_type=g2-standard-4"], {"accelerator": HINT}, [EXCLUDE]),
    "memory as a hint beside the other way": (
        [ONE, POOL + GPU_ALONE, "--machine_type=g2-standard-4"],
        {"min_ram": "14GB"},
        [EXCLUDE],
    ),
    "hints and FlexRS": ([ONE, "--flexrs_goal=COST_OPTIMIZED"], {"accelerator": HINT}, [FLEXRS]),
    "memory as a hint and FlexRS": (["--flexrs_goal=COST_OPTIMIZED"], {"min_ram": "14GB"}, [FLEXRS]),
    "a GPU for all and FlexRS": (
        [ONE, "--flexrs_goal=COST_OPTIMIZED", POOL + GPU_ALONE, "--machine_type=g2-standard-4"],
        {},
        [FLEXRS],
    ),
    "several processes on the GPU of a step": ([], {"accelerator": HINT}, [PROCESSES]),
    "several processes on the GPU of a worker": (
        ["--experiments=use_runner_v2", "--machine_type=g2-standard-4", POOL + GPU_ALONE],
        {},
        [PROCESSES],
    ),
    "no machine for all": (
        [ONE, POOL + GPU_ALONE],
        {},
        [f"--dataflow_service_options worker_accelerator '{GPU_ALONE}': {NO_MACHINE}"],
    ),
    "a machine where Dataflow does not look for it": (
        [ONE, POOL + HINT, "--machine_type=g2-standard-4"],
        {},
        [
            f"--dataflow_service_options worker_accelerator '{HINT}': "
            "has a machine_type, which Dataflow does not read there; say --machine_type"
        ],
    ),
    "a pool of machines with eight GPUs": (
        [ONE, POOL + "type:nvidia-tesla-a100;count:1;install-nvidia-driver", "--machine_type=a2-highgpu-8g"],
        {},
        [
            "--dataflow_service_options worker_accelerator 'type:nvidia-tesla-a100;count:1;install-nvidia-driver': "
            "has one GPU, and 'a2-highgpu-8g' has another number of them, all paid for; take a machine with one"
        ],
    ),
    "as an experiment": (
        [ONE, f"--experiments=worker_accelerator={GPU_ALONE}", "--machine_type=n1-standard-4"],
        {},
        [
            f"--dataflow_service_options worker_accelerator '{GPU_ALONE}': "
            "has the GPU nvidia-l4, which goes on g2-standard-* only, not on 'n1-standard-4'"
        ],
    ),
    "a GPU that nobody uses": (
        ["--machine_type=g2-standard-4"],
        {},
        [
            "--machine_type 'g2-standard-4': comes with a GPU that these workers do not use; "
            "take a machine without, or say worker_accelerator"
        ],
    ),
    "a GPU that nobody uses beside those of a step": (
        [ONE, "--machine_type=a2-highgpu-1g"],
        {"accelerator": HINT},
        [
            "--machine_type 'a2-highgpu-1g': comes with a GPU that these workers do not use; "
            "take a machine without, or say worker_accelerator"
        ],
    ),
    "memory without a unit": (
        [],
        {"min_ram": "14"},
        ["min_ram hint '14': is no size; write a number and a unit, such as 14GB"],
    ),
    "the hint that sums up": (
        [ONE],
        {"accelerator": HINT, "max_active_bundles_per_worker": "1"},
        [
            "resource hint 'max_active_bundles_per_worker' is none of accelerator, min_ram, "
            "which alone are known to do what they say"
        ],
    ),
}


@pytest.mark.parametrize("case", PLACEMENTS)
def test_gpus_in_the_wrong_place(case: str) -> None:
    arguments, hints, lines = PLACEMENTS[case]
    assert problems([*GOOD, *arguments], hints) == lines


DIGEST = "name it IMAGE@sha256:<64 hex digits>"
LABEL = "write key=value, each at most 63 lowercase letters, digits, - and _, and begin the key with a letter"
FOLDER = "is no gs:// folder; give one such as gs://my-bucket/temp, or gs://my-bucket/"
ELSEWHERE = "lies outside --region us-central1, where the data and the network are; leave it out, or change --region"
OPTIONS = {
    "a runner on this machine": (
        [*GOOD, "--runner=DirectRunner"],
        "--runner 'DirectRunner': the job would not run on Dataflow; leave it out",
    ),
    "an update": ([*GOOD, "--update"], "--update: only a streaming job can be updated; leave it out"),
    "an Arm machine": (
        [*GOOD, "--machine_type=t2a-standard-4"],
        "--machine_type 't2a-standard-4': is Arm, and the image is for x86; take one such as n2-standard-4",
    ),
    "labels that are no JSON": (
        [*GOOD, "--labels={oops"],
        '--labels \'{oops\': is no JSON object; write {"key": "value"}, or key=value',
    ),
    "a stream": ([*GOOD, "--streaming"], "--streaming: this job is a batch, which ends; leave it out"),
    **{
        f"a dry run that is {said}": (
            [*GOOD, f"--dry_run={said}"],
            "--dry_run: nothing would be sent, and no verdict ever come; leave it out, `submit --plan` shows the job",
        )
        for said in ("True", "False")
    },
    "packages beside the image": (
        [*GOOD, "--requirements_file=more.txt"],
        "--requirements_file 'more.txt': the image holds all packages; build them into it",
    ),
    "what this command imported": (
        [*GOOD, "--save_main_session"],
        "--save_main_session: workers would load what this command imported; the image holds all; leave it out",
    ),
    "workers in another region": (
        [*GOOD, "--worker_region=us-central2"],
        f"--worker_region 'us-central2': {ELSEWHERE}",
    ),
    "workers in a zone of another region": (
        [*GOOD, "--worker_zone=us-central10-a"],
        f"--worker_zone 'us-central10-a': {ELSEWHERE}",
    ),
    "workers in such a zone by the old option": ([*GOOD, "--zone=us-east1-b"], f"--zone 'us-east1-b': {ELSEWHERE}"),
    "no limit": (
        without("--max_num_workers"),
        "--max_num_workers is missing, so the cost has no limit; give one, such as --max_num_workers=10",
    ),
    "a limit of none": (
        [*GOOD, "--max_num_workers=0"],
        "Invalid value (0) for option: max_num_workers. Value needs to be positive.",
    ),
    "a limit below the beginning": ([*GOOD, "--num_workers=4"], "num_workers (4) cannot exceed max_num_workers (3)"),
    "a beginning with none": (
        [*GOOD, "--num_workers=0"],
        "Invalid value (0) for option: num_workers. Value needs to be positive.",
    ),
    **{
        f"the label {label}": ([*GOOD, f"--labels={label}"], f"--labels {label!r}: {LABEL}")
        for label in ("Team=search", "1st=x", "=x", "version=1.2", "team=Search", f"app={'x' * 64}", "a={b")
    },
    "temp on this machine": ([*GOOD, "--temp_location=/tmp/x"], f"--temp_location '/tmp/x': {FOLDER}"),
    "temp without a folder": (
        [*GOOD, "--temp_location=gs://my-bucket"],
        f"--temp_location 'gs://my-bucket': {FOLDER}",
    ),
    "staging in a bucket that cannot be": (
        [*GOOD, "--staging_location=gs://My_Bucket/x"],
        f"--staging_location 'gs://My_Bucket/x': {FOLDER}",
    ),
    "the latest image": (
        [*GOOD, "--sdk_container_image=repo/image:latest"],
        "--sdk_container_image 'repo/image:latest': has no digest, so another image can take its place midway; "
        f"{DIGEST}",
    ),
    "the number of a project": (
        [*GOOD, "--project=123456"],
        "--project '123456': is none that Dataflow takes; write one that matches [a-z][-a-z0-9:.]+[a-z0-9]",
    ),
    "a job with capitals": (
        [*GOOD, "--job_name=Score_Nightly"],
        "--job_name 'Score_Nightly': is none that Dataflow takes; write one that matches [a-z]([-a-z0-9]*[a-z0-9])?",
    ),
    "no label": (
        without("--labels"),
        "--labels is missing, so nobody can tell what the job costs; give one, such as --labels=team=search",
    ),
    "no image": (
        without("--sdk_container_image"),
        "--sdk_container_image is missing: workers need this package and its TensorFlow; name it IMAGE@sha256:…",
    ),
    "an image by tag": (
        [*GOOD, "--sdk_container_image=repo/image:1.0"],
        f"--sdk_container_image 'repo/image:1.0': has no digest, so another image can take its place midway; {DIGEST}",
    ),
    "half a digest": (
        [*GOOD, f"--sdk_container_image={IMAGE[:-1]}"],
        f"--sdk_container_image {IMAGE[:-1]!r}: has no digest, so another image can take its place midway; {DIGEST}",
    ),
    "an image by the old option": (
        [*without("--sdk_container_image"), "--worker_harness_container_image=repo/image"],
        f"--sdk_container_image 'repo/image': has no digest, so another image can take its place midway; {DIGEST}",
    ),
    "two images": (
        [*GOOD, f"--sdk_container_image=repo/image,{IMAGE}"],
        f"--sdk_container_image 'repo/image,{IMAGE}': "
        f"has no digest, so another image can take its place midway; {DIGEST}",
    ),
    "an image in place of another": (
        [*GOOD, "--sdk_harness_container_image_overrides=.*,repo/image"],
        "--sdk_harness_container_image_overrides '.*,repo/image': "
        f"has no digest, so another image can take its place midway; {DIGEST}",
    ),
    "no project": (
        without("--project"),
        "--project is missing; give one, such as --project=my-project",
    ),
    "no region": (without("--region"), "--region is missing; give one, such as --region=us-central1"),
    "no temp": (
        without("--temp_location"),
        "--temp_location is missing; give one, such as --temp_location=gs://my-bucket/temp",
    ),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_one_fault_is_one_line(case: str) -> None:
    arguments, line = OPTIONS[case]
    assert problems(arguments) == [line]


SECRETS = {
    "by name": ("--s3_secret_access_key=abc", "--s3_secret_access_key", "abc"),
    "in a label": ("--labels=api-key=k123", "--labels", "k123"),
    "in a label as JSON": ('--labels={"db_password": "x1y2"}', "--labels", "x1y2"),
    "a password in an address": ("--subnetwork=https://me:h3llo@host/x", "--subnetwork", "h3llo"),
    "a token as an experiment": ("--experiments=auth_token=t0k3n", "--experiments", "t0k3n"),
    "a private key": ("--experiments=-----BEGIN PRIVATE KEY-----", "--experiments", "BEGIN"),
    "in an image": ("--sdk_container_image=https://me:h3llo@host/x", "--sdk_container_image", "h3llo"),
    "in the mapping of an option": ("--environment_options=secret=s3s4me", "--environment_options", "s3s4me"),
}


@pytest.mark.parametrize("case", SECRETS)
def test_a_secret_is_found_and_never_shown(case: str) -> None:
    argument, flag, value = SECRETS[case]
    found = problems([*GOOD, argument])
    assert (
        f"{flag}: looks like a secret (value not shown), which all who see the job would see; remove it, and give the "
        "workers' service account the right"
    ) in found
    assert value not in "\n".join(found)


def test_where_a_secret_is_kept_is_none() -> None:
    kept = "projects/my-project/secrets/db/versions/3"
    assert problems([*GOOD, f"--experiments=db_password={kept}", f"--s3_secret_access_key={kept}"]) == []


def test_everything_is_told_at_once() -> None:
    bad = [line for case in ("no limit", "the label Team=search", "an image by tag") for line in [OPTIONS[case][1]]]
    arguments = [*without("--max_num_workers"), "--labels=Team=search", "--sdk_container_image=repo/image:1.0"]
    found = problems(arguments, {"accelerator": "type:nvidia-l44;cout:1"})
    assert set(bad) <= set(found)
    assert len(found) == len(set(found)) == len(bad) + 2


def test_a_label_is_measured_in_letters() -> None:
    right = ["--labels=straße=größe", f"--labels={'x' * 63}={'字' * 63}"]
    assert problems([*GOOD, *right]) == []
    assert len(problems([*GOOD, f"--labels={'x' * 64}=y", f"--labels=x={'字' * 64}"])) == 2


PLACES = {
    "the region itself": (("US-CENTRAL1", [], "us-central1"), True),
    "another region": (("US-EAST1", [], "us-central1"), False),
    "a region whose name begins alike": (("EUROPE-WEST1", [], "europe-west12"), False),
    "the same the other way round": (("EUROPE-WEST12", [], "europe-west1"), False),
    "the United States": (("US", [], "us-central1"), True),
    "not Canada": (("US", [], "northamerica-northeast1"), False),
    "Europe": (("EU", [], "europe-west4"), True),
    "not London": (("EU", [], "europe-west2"), False),
    "nor from elsewhere": (("EU", [], "us-central1"), False),
    "Asia": (("ASIA", [], "asia-east1"), True),
    "one of two": (("NAM4", [], "us-east1"), True),
    "two of another continent": (("EUR4", [], "us-east1"), False),
    "one of two that Storage names": (("NAM4", ["US-CENTRAL1", "US-EAST1"], "us-central1"), True),
    "one of two chosen": (("US", ["US-EAST1", "US-WEST1"], "us-west1"), True),
    "neither of two chosen": (("US", ["US-EAST1", "US-WEST1"], "us-central1"), False),
    "not known": ((None, [], "us-central1"), True),
}


@pytest.mark.parametrize("case", PLACES)
def test_which_regions_a_bucket_lies_in(case: str) -> None:
    (location, parts, region), fits = PLACES[case]
    problem = place_problem(location, parts, region)
    assert (problem is None) == fits
    if problem is not None:
        assert problem.endswith(f"take a bucket in {region}, or another region")


@pytest.mark.slow
def test_buckets_are_looked_up(bucket_folder: str) -> None:
    # The emulator says of every bucket that it is in the multi-region US.
    name = f"b-{uuid.uuid4().hex[:12]}"
    missing = f"gs://{name}/x"
    # Folders need not be there; what is not gs:// is another's concern.
    check_places("us-central1", {"--temp_location": bucket_folder, "--output": "/tmp/out"})
    places = {"--temp_location": missing, "--staging_location": missing + "/staging", "bundle": bucket_folder}
    places |= {"--input": f"{missing}/day {{date}}/*.csv"}
    with pytest.raises(ConfigError) as error:
        check_places("europe-west4", places)
    assert str(error.value).split("\n") == [
        f"--temp_location, --staging_location, --input {missing!r}: there is no bucket {name}; make it, or mend the "
        "name",
        f"bundle {bucket_folder!r}: the bucket is in the multi-region US, the workers in europe-west4: every byte "
        "between them costs and takes longer; take a bucket in europe-west4, or another region",
    ]


class GuardedGcs(FakeGcs):
    """Answers a look at its bucket, and a listing, with these codes where they are not 200."""

    def __init__(self, look: int, listing: int) -> None:
        super().__init__()
        self._codes = {"/storage/v1/b/bucket": look, "/storage/v1/b/bucket/o": listing}

    def handle(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        code = self._codes.get(target.split("?")[0], 200)
        return super().handle(method, target, headers, body) if code == 200 else Answer(code, b"{}")


@pytest.mark.parametrize(
    ("look", "listing", "problem"),
    [
        (200, 403, None),
        # The usual roles of a service account: objects, but not the bucket itself.
        (403, 200, None),
        (403, 403, "may not be read with these credentials; grant roles/storage.objectAdmin, or sign in"),
        (403, 404, "there is no bucket bucket; make it, or mend the name"),
        (404, 200, "there is no bucket bucket; make it, or mend the name"),
    ],
)
def test_a_bucket_that_may_not_be_looked_at(
    look: int, listing: int, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GuardedGcs(look, listing) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        if problem is None:
            check_places("us-central1", {"bundle": "gs://bucket/x"})
        else:
            with pytest.raises(ConfigError, match=problem):
                check_places("us-central1", {"bundle": "gs://bucket/x"})


def test_without_credentials_it_is_said_how_to_sign_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(ConfigError, match=r"not found or .*; sign in with `gcloud auth application-default login`"):
        check_places("us-central1", {"bundle": "gs://bucket/x"})


class Expired(DataflowStub):
    """Gives no token any more."""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}


def test_with_credentials_that_ran_out_it_is_said_how_to_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    with Expired() as stub:
        key = stub.write_credentials(tmp_path / "key.json")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        with pytest.raises(ConfigError, match=r"run out or .*; sign in with `gcloud auth application-default login`"):
            check_places("us-central1", {"bundle": "gs://bucket/x"})


@pytest.mark.parametrize("unit", ["B", "MB", "GiB", " GB"])
@pytest.mark.parametrize("size", ["14", "0.5", "30", "31", "1000000"])
def test_sizes_of_memory_are_those_of_beam(size: str, unit: str) -> None:
    assert parse_resource_hints({"min_ram": size + unit})
    assert problems([*GOOD, f"--resource_hints=min_ram={size}{unit}"]) == []


@pytest.mark.parametrize("size", ["14", "1iB", "GB", "14 gigabytes"])
def test_what_beam_takes_for_no_size_is_refused_before(size: str) -> None:
    with pytest.raises(ValueError, match="invalid value"):
        parse_resource_hints({"min_ram": size})
    (line,) = problems(GOOD, {"min_ram": size})
    assert "is no size" in line
