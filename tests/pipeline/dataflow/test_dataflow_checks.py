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
from support.cloud.dataflow_stub import DataflowStub
from support.cloud.fake_gcs import Answer, FakeGcs
from support.commands import ROOT
from support.profiles import CPU, IMAGE

from pipeline.dataflow import names
from pipeline.dataflow.accelerators import memory_problem
from pipeline.dataflow.bucket_regions import place_problem
from pipeline.dataflow.checks import check_dataflow, check_places
from pipeline.dataflow.names import label_problems
from pipeline.dataflow.options import dataflow_arguments, job_name
from pipeline.dataflow.profile import Profile
from pipeline.jobs.config import ConfigError

PROFILE = Profile(**CPU)
ONE = "--experiments=no_use_multiple_sdk_containers"
# What a profile says, without the one process that only workers with a GPU must have.
GOOD = [one for one in dataflow_arguments(PROFILE, job_name(PROFILE, dt.date(2026, 11, 21))) if one != ONE]
HINT = "type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver"
POOL = "--dataflow_service_options=worker_accelerator="
# While a test runs it is the Python of the test.
IMAGE_PYTHON = names.IMAGE_PYTHON


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
        ([POOL + "type:nvidia-tesla-t4;count:1;install-nvidia-driver;use_nvidia_mps"], {}),
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
    assert own == names.IMAGE_PYTHON
    monkeypatch.setattr(names, "IMAGE_PYTHON", "3.9")
    assert problems(GOOD) == [
        f"--sdk_container_image: this command runs on Python {own}, the image on 3.9, and only the same minor version "
        "reads what Beam pickles; submit from an environment of Python 3.9"
    ]


def test_the_python_of_the_image_is_that_of_the_dockerfile() -> None:
    bases = re.findall(r"^FROM python:(\d+\.\d+)-", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert len(bases) == 2
    assert set(bases) == {IMAGE_PYTHON}


GPU_ALONE = "type:nvidia-l4;count:1;install-nvidia-driver"
NO_MACHINE = "has the GPU nvidia-l4, but no machine type: say one of g2-standard-*"
EXCLUDE = (
    "--dataflow_service_options worker_accelerator and resource hints exclude each other; "
    "give every worker a GPU (placement all), or only the scoring step's (placement score)"
)
FLEXRS = "--flexrs_goal COST_OPTIMIZED: FlexRS goes neither with resource hints nor with GPUs; leave it out"
PROCESSES = (
    f"{ONE} is missing: every processor would have a process with a model of its own, all on the same GPU; add it"
)
GPUS = "known are nvidia-l4, nvidia-tesla-t4, nvidia-tesla-a100, nvidia-a100-80gb"
DRIVERS = "say install-nvidia-driver, or install-nvidia-driver:5xx"

ACCELERATORS = {
    "a part misspelt": (
        "type:nvidia-l4;cout:1;machine_type:g2-standard-4;install-nvidia-driver",
        ["has the unknown part 'cout'; did you mean 'count'?", "lacks 'count'; add count:…"],
    ),
    "the driver misspelt": (
        "type:nvidia-l4;count:1;machine_type:g2-standard-4;install_nvidia_driver",
        [
            "has the unknown part 'install_nvidia_driver'; did you mean 'install-nvidia-driver'?",
            "installs no driver, so no GPU would be seen; add install-nvidia-driver, or …:5xx for a newer one",
        ],
    ),
    "another driver": (
        HINT + ":535",
        [f"has the driver '535'; {DRIVERS}"],
    ),
    "a driver that is not said": (
        HINT + ":",
        [f"has the driver ''; {DRIVERS}"],
    ),
    "spaces": (
        HINT.replace(";count", "; count"),
        ["has the unknown part ' count'; did you mean 'count'?", "lacks 'count'; add count:…"],
    ),
    "commas": (
        HINT.replace(";", ","),
        [
            "lacks 'count'; add count:…",
            "installs no driver, so no GPU would be seen; add install-nvidia-driver, or …:5xx for a newer one",
            f"has the unknown GPU type 'nvidia-l4,count:1,machine_type:g2-standard-4,install-nvidia-driver'; {GPUS}",
        ],
    ),
    "a last semicolon": (
        HINT + ";",
        ["has the unknown part ''; known are type, count, machine_type, install-nvidia-driver, use_nvidia_mps"],
    ),
    "a part twice": (HINT + ";count:1", ["says 'count' twice; say it once"]),
    "no whole number": (
        HINT.replace("count:1", "count:one"),
        ["has the count 'one'; give a whole number from 1, such as count:1"],
    ),
    "none": (HINT.replace("count:1", "count:0"), ["has the count '0'; give a whole number from 1, such as count:1"]),
    "a GPU misspelt": (
        HINT.replace("nvidia-l4", "nvidia-l44"),
        [f"has the unknown GPU type 'nvidia-l44'; {GPUS}"],
    ),
    "the old name of a GPU": (
        HINT.replace("nvidia-l4", "nvidia-t4"),
        [f"has the unknown GPU type 'nvidia-t4'; {GPUS}"],
    ),
    "nothing": (
        "",
        [
            "has the unknown part ''; known are type, count, machine_type, install-nvidia-driver, use_nvidia_mps",
            "lacks 'type'; add type:…",
            "lacks 'count'; add count:…",
            "installs no driver, so no GPU would be seen; add install-nvidia-driver, or …:5xx for a newer one",
        ],
    ),
    "an L4 without a machine": (GPU_ALONE, [NO_MACHINE]),
    "an L4 on n1": (
        HINT.replace("g2-standard-4", "n1-standard-4"),
        ["has the GPU nvidia-l4, which goes on g2-standard-* only, not on 'n1-standard-4'"],
    ),
    "a T4 on g2": (
        HINT.replace("nvidia-l4", "nvidia-tesla-t4"),
        ["has the GPU nvidia-tesla-t4, which goes on n1-* only, not on 'g2-standard-4'"],
    ),
    "a T4 on n2": (
        "type:nvidia-tesla-t4;count:1;machine_type:n2-standard-4;install-nvidia-driver",
        ["has the GPU nvidia-tesla-t4, which goes on n1-* only, not on 'n2-standard-4'"],
    ),
    "an A100 of 80 GB on the machine of 40 GB": (
        "type:nvidia-a100-80gb;count:1;machine_type:a2-highgpu-1g;install-nvidia-driver",
        ["has the GPU nvidia-a100-80gb, which goes on a2-ultragpu-*g only, not on 'a2-highgpu-1g'"],
    ),
    "a machine that is none": (
        HINT.replace("g2-standard-4", "g2-standard-6"),
        ["has the machine 'g2-standard-6', which does not exist; g2-standard- comes as 4, 8, 12, 16, 24, 32, 48, 96"],
    ),
    "a machine with more GPUs": (
        HINT.replace("g2-standard-4", "g2-standard-48"),
        ["asks for 1 of the GPU nvidia-l4 on 'g2-standard-48', which has 4: let both be the same"],
    ),
    "an A100 machine with more GPUs": (
        "type:nvidia-tesla-a100;count:1;machine_type:a2-highgpu-2g;install-nvidia-driver",
        ["asks for 1 of the GPU nvidia-tesla-a100 on 'a2-highgpu-2g', which has 2: let both be the same"],
    ),
    "GPUs that nothing is scored on": (
        HINT.replace("count:1", "count:4").replace("g2-standard-4", "g2-standard-48"),
        ["has 4 GPUs a worker: a worker scores on one, the others cost and idle; say 1 and more workers"],
    ),
    "a T4 on a machine that is none": (
        "type:nvidia-tesla-t4;count:1;machine_type:n1-standard-3;install-nvidia-driver",
        ["has the machine 'n1-standard-3', which does not exist; n1 machines come as 1, 2, 4, 8, 16, 32, 64, 96"],
    ),
    "a value for what has none": (HINT + ";use_nvidia_mps:1", ["gives use_nvidia_mps a value; say it without"]),
}


@pytest.mark.parametrize("case", ACCELERATORS)
def test_an_accelerator_that_dataflow_cannot_give(case: str) -> None:
    text, lines = ACCELERATORS[case]
    alone = [] if "mps" in text else [ONE]
    found = problems([*GOOD, *alone], {"accelerator": text})
    assert found == [f"accelerator hint {text!r}: {line}" for line in lines]
    # The same hint for every step.
    assert problems([*GOOD, *alone, f"--resource_hints=accelerator={text}"]) == found


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
    "one process, which shares the GPU with itself": (
        [ONE],
        {"accelerator": HINT + ";use_nvidia_mps"},
        [f"use_nvidia_mps lets processes share a GPU, {ONE} makes one only; leave one out"],
    ),
    "no machine for all": (
        [ONE, POOL + GPU_ALONE],
        {},
        [f"--dataflow_service_options worker_accelerator '{GPU_ALONE}': {NO_MACHINE}"],
    ),
    "the machine for all in the wrong place": (
        [ONE, "--machine_type=g2-standard-4", POOL + HINT],
        {},
        [f"--dataflow_service_options worker_accelerator '{HINT}': has a machine_type; say that with --machine_type"],
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
    "more memory than the machine has": (
        [ONE],
        {"accelerator": HINT, "min_ram": "17.2GB"},
        ["min_ram hint '17.2GB': is more than g2-standard-4 has (16GiB); ask for less or take a larger machine"],
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
LABEL = "begin with a lowercase letter, then letters, digits, - and _, at most 63"
LABEL_VALUE = "its value has other than lowercase letters, digits, - and _, or more than 63"
ELSEWHERE = "lies outside --region us-central1, where the data and the network are; leave it out, or change --region"
N1 = "does not exist; n1 machines come as 1, 2, 4, 8, 16, 32, 64, 96"
ODD = "does not exist; a machine has one processor or an even number of them"
ARM = "has Arm processors, on which the image does not run; take an x86 machine such as n2-standard-4"
OPTIONS = {
    "a runner on this machine": (
        [*GOOD, "--runner=DirectRunner"],
        "--runner 'DirectRunner': the job would not run on Dataflow; leave it out",
    ),
    "a stream": ([*GOOD, "--streaming"], "--streaming: this job is a batch, which ends; leave it out"),
    "an update": ([*GOOD, "--update"], "--update: only a streaming job can be updated; leave it out"),
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
    **{
        f"the machine {machine}": ([*GOOD, f"--machine_type={machine}"], f"--machine_type '{machine}': {problem}")
        for machine, problem in {
            "t2a-standard-4": ARM,
            "c4a-highmem-8": ARM,
            "n1-standard-3": N1,
            "n1-highmem-12": N1,
            "n2-standard-7": ODD,
            "n2-standard-banana": "does not exist; a number of processors stands after n2-standard-",
            "n2-standard-0": "does not exist; a number of processors stands after n2-standard-",
        }.items()
    },
    "no limit": (
        without("--max_num_workers"),
        "--max_num_workers is missing, so the cost has no limit; give one, such as --max_num_workers=10",
    ),
    "a limit of none": (
        [*GOOD, "--max_num_workers=0"],
        "--max_num_workers 0: is less than one worker; give 1 or more",
    ),
    "a limit below the beginning": (
        [*GOOD, "--num_workers=4"],
        "--max_num_workers 3: is less than --num_workers 4; raise it, or lower the other",
    ),
    "a beginning with none": ([*GOOD, "--num_workers=0"], "--num_workers 0: is less than one worker; give 1 or more"),
    "no label": (
        without("--labels"),
        "--labels is missing, so nobody can tell what the job costs; give one, such as --labels=team=search",
    ),
    "a label with a capital": ([*GOOD, "--labels=Team=search"], f"--labels key 'Team': {LABEL}"),
    "a label that begins with a digit": ([*GOOD, "--labels=1st=x"], f"--labels key '1st': {LABEL}"),
    "a label without a name": ([*GOOD, "--labels==x"], f"--labels key '': {LABEL}"),
    "the value of a label with a dot": ([*GOOD, "--labels=version=1.2"], f"--labels 'version': {LABEL_VALUE}"),
    "a long label": ([*GOOD, f"--labels=app={'x' * 64}"], f"--labels 'app': {LABEL_VALUE}"),
    "labels that are no JSON": (
        [*GOOD, "--labels={team: search}"],
        "--labels '{team: search}': is no JSON object; write key=value",
    ),
    "no image": (
        without("--sdk_container_image"),
        "--sdk_container_image is missing: workers need this package and its TensorFlow; name it IMAGE@sha256:…",
    ),
    "the latest image": (
        [*GOOD, "--sdk_container_image=repo/image:latest"],
        "--sdk_container_image 'repo/image:latest': is whatever was pushed last; "
        "name the image by digest: IMAGE@sha256:<64 hex digits>",
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
    "an image in place of another": (
        [*GOOD, "--sdk_harness_container_image_overrides=.*,repo/image"],
        "--sdk_harness_container_image_overrides '.*,repo/image': "
        f"has no digest, so another image can take its place midway; {DIGEST}",
    ),
    "no project": (
        without("--project"),
        "--project is missing; give one, such as --project=my-project",
    ),
    "the number of a project": (
        [*GOOD, "--project=123456"],
        "--project '123456': is the number of a project; give its id, such as my-project",
    ),
    "no region": (without("--region"), "--region is missing; give one, such as --region=us-central1"),
    "no temp": (
        without("--temp_location"),
        "--temp_location is missing; give one, such as --temp_location=gs://my-bucket/temp",
    ),
    "temp on this machine": (
        [*GOOD, "--temp_location=/tmp/x"],
        "--temp_location '/tmp/x': is no gs:// folder; give one such as gs://my-bucket/temp",
    ),
    "temp without a folder": (
        [*GOOD, "--temp_location=gs://my-bucket"],
        "--temp_location 'gs://my-bucket': is a bucket and no folder; write gs://my-bucket/",
    ),
    "staging in a bucket that cannot be": (
        [*GOOD, "--staging_location=gs://My_Bucket/x"],
        "--staging_location 'gs://My_Bucket/x': is no gs:// folder; give one such as gs://my-bucket/temp",
    ),
    "a job with capitals": (
        [*GOOD, "--job_name=Score_Nightly"],
        "--job_name 'Score_Nightly': is no job name; use a-z, 0-9 and -, begin with a letter and do not end with -",
    ),
    "a person": (
        [*GOOD, "--service_account_email=me@example.com"],
        "--service_account_email 'me@example.com': is no service account; "
        "give one such as scorer@my-project.iam.gserviceaccount.com",
    ),
    "a subnetwork by its name alone": (
        [*GOOD, "--subnetwork=batch"],
        "--subnetwork 'batch': is no subnetwork; write regions/REGION/subnetworks/NAME, or its whole https:// name",
    ),
    "a subnetwork elsewhere": (
        [*GOOD, "--subnetwork=regions/us-east1/subnetworks/s"],
        "--subnetwork 'regions/us-east1/subnetworks/s': lies in us-east1, the job runs in us-central1: "
        "take a subnetwork in us-central1, or another region",
    ),
    "a key by its name alone": (
        [*GOOD, "--dataflow_kms_key=my-key"],
        "--dataflow_kms_key 'my-key': is no key; write projects/P/locations/REGION/keyRings/R/cryptoKeys/K",
    ),
    "a key elsewhere": (
        [*GOOD, "--dataflow_kms_key=projects/p/locations/us/keyRings/r/cryptoKeys/k"],
        "--dataflow_kms_key 'projects/p/locations/us/keyRings/r/cryptoKeys/k': lies in us, the job runs in "
        "us-central1: take a key in us-central1, or another region",
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
    "of Google": ("--dataflow_service_options=x=AIza" + "Sy0" * 12, "--dataflow_service_options", "AIza"),
    "of GitHub": ("--job_name=ghp_" + "a1" * 18, "--job_name", "ghp_"),
    "of Amazon": ("--experiments=AKIA" + "ABCD" * 4, "--experiments", "AKIA"),
    "a private key": ("--experiments=-----BEGIN PRIVATE KEY-----", "--experiments", "BEGIN"),
    "a web token": ("--project=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "--project", "eyJ"),
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
    bad = [line for case in ("no limit", "a label with a capital", "an image by tag") for line in [OPTIONS[case][1]]]
    arguments = [*without("--max_num_workers"), "--labels=Team=x", "--sdk_container_image=repo/image:1.0"]
    found = problems(arguments, {"accelerator": "type:nvidia-l44;cout:1"})
    assert set(bad) <= set(found)
    assert len(found) == len(set(found)) == len(bad) + 5


def test_too_many_labels() -> None:
    labels = [f"--labels=l{i}=x" for i in range(64)]
    assert problems([*GOOD, *labels]) == ["--labels are 65 labels; 64 are the most"]


def test_a_label_is_measured_in_letters_and_in_bytes() -> None:
    assert label_problems({"straße": "größe", "x" * 63: "字" * 42}) == []
    assert len(label_problems({"x" * 64: "字" * 43})) == 2


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
    "one of two that Storage names": (("NAM4", ["US-CENTRAL1", "US-EAST1"], "us-central1"), True),
    "neither of two": (("NAM4", [], "us-west1"), False),
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
    from apache_beam.transforms.resources import parse_resource_hints

    (value,) = parse_resource_hints({"min_ram": size + unit}).values()
    for machine, memory in (("g2-standard-4", 16), ("n1-standard-8", 30)):
        assert (memory_problem(size + unit, machine) is None) == (int(value) <= memory * 2**30)
    assert memory_problem(size + unit, "n1-custom-4-15360") is None
