"""What Dataflow would reject or charge for nothing: each fault alone, with its message."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from support.commands import ROOT, invoke
from support.deploy.options import GOOD, HINT, ONE, POOL, problems, without
from support.deploy.profiles import CPU, IMAGE

from pipeline.dataflow import checks
from pipeline.dataflow.checks import IMAGE_PYTHON


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


@pytest.mark.parametrize("more", [(), ("--plan",)])
def test_another_python_than_the_images_ends_submit_with_2(
    more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "IMAGE_PYTHON", "3.9")
    profile = tmp_path / "profile.yaml"
    profile.write_text(yaml.safe_dump(CPU), encoding="utf-8")
    job = ("--bundle", "gs://b/bundle", "--input", "gs://b/in.parquet", "--output", "gs://b/out")
    code, out, err = invoke("submit", "--profile", profile, *job, *more)
    assert (code, out) == (2, "")
    assert "and only the same minor version reads what Beam pickles; submit from an environment of Python 3.9" in err


def test_the_python_of_the_image_is_that_of_the_dockerfile() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    bases = re.findall(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)-", dockerfile, re.MULTILINE)
    assert dockerfile.count("FROM ${PYTHON_IMAGE} AS ") == 2
    assert {*bases, *re.findall(r'^LABEL bert-batch\.python="(.*)"$', dockerfile, re.MULTILINE)} == {IMAGE_PYTHON}
    assert dockerfile.count("LABEL bert-batch.python") == 1


DIGEST = "name it IMAGE@sha256:<64 hex digits>"
LABEL = (
    "write key=value, each at most 63 lowercase letters, digits, - and _, and begin the key with a letter; or all "
    "labels as one JSON object"
)
FOLDER = "is not a gs:// folder; give one such as gs://my-bucket/temp, or gs://my-bucket/"
ELSEWHERE = "lies outside --region us-central1, where the data and the network are; leave it out, or change --region"
NO_IMAGE = (
    "--sdk_container_image is missing, and workers need this package and its TensorFlow; give one, such as "
    "--sdk_container_image=IMAGE@sha256:…"
)
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
        f"--labels '{{oops': {LABEL}",
    ),
    "a stream": ([*GOOD, "--streaming"], "--streaming: this job is a batch, which ends; leave it out"),
    **{
        f"a dry run that is {said}": (
            [*GOOD, f"--dry_run={said}"],
            "--dry_run: nothing would be sent, and no verdict written; leave it out, `submit --plan` shows the job",
        )
        for said in ("True", "False")
    },
    "packages beside the image": (
        [*GOOD, "--requirements_file=more.txt"],
        "--requirements_file: the image holds all packages; build them into it",
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
        "--project '123456': is not accepted by Dataflow; write one that matches [a-z][-a-z0-9:.]+[a-z0-9]",
    ),
    "a job with capitals": (
        [*GOOD, "--job_name=Score_Nightly"],
        "--job_name 'Score_Nightly': is not accepted by Dataflow; write one that matches [a-z]([-a-z0-9]*[a-z0-9])?",
    ),
    "no label": (
        without("--labels"),
        "--labels is missing, so nobody can tell what the job costs; give one, such as --labels=team=search",
    ),
    "no image": (
        without("--sdk_container_image"),
        NO_IMAGE,
    ),
    "an image by tag": (
        [*GOOD, "--sdk_container_image=repo/image:1.0"],
        f"--sdk_container_image 'repo/image:1.0': has no digest, so another image can take its place midway; {DIGEST}",
    ),
    "half a digest": (
        [*GOOD, f"--sdk_container_image={IMAGE[:-1]}"],
        f"--sdk_container_image {IMAGE[:-1]!r}: has no digest, so another image can take its place midway; {DIGEST}",
    ),
    "an image by the old option alone": (
        [*without("--sdk_container_image"), f"--worker_harness_container_image={IMAGE}"],
        NO_IMAGE,
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
