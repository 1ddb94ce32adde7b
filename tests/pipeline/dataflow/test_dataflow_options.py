"""Profiles as Beam's options and resource hints."""

import datetime as dt
import logging
from collections import Counter
from typing import Any

import pydantic
import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.transforms.resources import parse_resource_hints
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.deploy.profiles import CPU, IMAGE, L4

from pipeline.dataflow.checks import check_dataflow
from pipeline.dataflow.options import dataflow_arguments, job_name, resource_hints
from pipeline.dataflow.profile import Profile
from pipeline.errors import ConfigError
from pipeline.runners.presets import beam_options

DATE = dt.date(2026, 11, 21)
EVERYTHING = {
    **CPU,
    "temp": "gs://my-bucket",
    "machine_type": "n2-standard-4",
    "disk_gb": 80,
    "threads": 6,
    "labels": {"team": "search", "app": "scores"},
    "service_account": "scorer@my-project.iam.gserviceaccount.com",
    "subnetwork": "regions/us-central1/subnetworks/batch",
    "kms_key": "projects/my-project/locations/us-central1/keyRings/ring/cryptoKeys/key",
    "job_name": "scores",
}


def options_of(profile: Profile) -> PipelineOptions:
    return PipelineOptions(dataflow_arguments(profile, job_name(profile, DATE)))


def test_a_job_is_named_for_its_date_and_always_the_same() -> None:
    profile = Profile(**CPU)
    assert job_name(profile, DATE) == "bert-batch-20261121" == job_name(profile, DATE)
    assert job_name(Profile(**CPU | {"job_name": "scores"}), dt.date(987, 1, 2)) == "scores-09870102"


def test_every_key_arrives_in_the_options_beam_reads() -> None:
    options = options_of(Profile(**EVERYTHING))
    google, worker = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    assert options.view_as(StandardOptions).runner == "DataflowRunner"
    assert (google.project, google.region, google.job_name) == ("my-project", "us-central1", "scores-20261121")
    assert (google.temp_location, google.staging_location) == ("gs://my-bucket/", "gs://my-bucket/staging")
    assert google.labels == ["team=search", "app=scores"]
    assert google.service_account_email == EVERYTHING["service_account"]
    assert google.dataflow_kms_key == EVERYTHING["kms_key"]
    assert google.flexrs_goal is None
    assert (worker.sdk_container_image, worker.max_num_workers) == (IMAGE, 3)
    assert (worker.machine_type, worker.disk_size_gb) == ("n2-standard-4", 80)
    assert (worker.subnetwork, worker.use_public_ips) == (EVERYTHING["subnetwork"], False)
    assert options.view_as(DebugOptions).number_of_worker_harness_threads == 6
    setup = options.view_as(SetupOptions)
    assert (setup.sdk_location, setup.save_main_session) == ("container", False)


def test_what_is_not_said_is_left_to_dataflow() -> None:
    options = options_of(Profile(**CPU | {"private_addresses": False, "flexrs": True}))
    worker = options.view_as(WorkerOptions)
    assert (worker.machine_type, worker.disk_size_gb, worker.subnetwork, worker.use_public_ips) == (
        None,
        None,
        None,
        True,
    )
    assert options.view_as(GoogleCloudOptions).flexrs_goal == "COST_OPTIMIZED"
    assert options.view_as(DebugOptions).experiments == ["no_use_multiple_sdk_containers"]
    assert resource_hints(Profile(**CPU)) == {}


def test_a_gpu_of_the_scoring_step_is_a_hint() -> None:
    profile = Profile(**EVERYTHING, gpu=L4 | {"driver": "5xx", "min_ram": "14GB"})
    accelerator = "type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver:5xx"
    assert resource_hints(profile) == {"accelerator": accelerator, "min_ram": "14GB"}
    options = options_of(profile)
    assert options.view_as(WorkerOptions).machine_type == "n2-standard-4"
    assert options.view_as(DebugOptions).experiments == ["no_use_multiple_sdk_containers"]
    assert not options.view_as(GoogleCloudOptions).dataflow_service_options


def test_a_gpu_of_every_worker_is_an_option() -> None:
    profile = Profile(**EVERYTHING, gpu=L4 | {"placement": "all", "min_ram": "14GB"})
    assert resource_hints(profile) == {}
    options = options_of(profile)
    # Not the machine of workers without a GPU: there are none.
    assert options.view_as(WorkerOptions).machine_type == "g2-standard-4"
    assert options.view_as(DebugOptions).experiments == ["no_use_multiple_sdk_containers"]
    service = options.view_as(GoogleCloudOptions).dataflow_service_options
    assert service == ["worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"]


REGIONS = st.shared(st.sampled_from(["us-central1", "europe-west4"]), key="region")
NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
OTHER_IMAGE = "registry:5000/token/secret:latest@" + IMAGE.split("@")[1]
MACHINES = {
    "nvidia-l4": ["g2-standard-4", "g2-standard-32"],
    "nvidia-tesla-t4": ["n1-standard-4", "n1-highmem-16", "n1-custom-6-23040-ext"],
    "nvidia-tesla-a100": ["a2-highgpu-1g"],
    "nvidia-a100-80gb": ["a2-ultragpu-1g"],
}
GPUS = st.sampled_from(list(MACHINES)).flatmap(
    lambda kind: st.fixed_dictionaries(
        {
            "type": st.just(kind),
            "machine_type": st.sampled_from(MACHINES[kind]),
            "placement": st.sampled_from(["score", "all"]),
        },
        optional={
            "count": st.just(1),
            "driver": st.sampled_from(["default", "5xx"]),
            "min_ram": st.sampled_from(["14GB", "3.5 GiB", "900MB"]),
        },
    )
)
GOOD = st.fixed_dictionaries(
    {
        "runner": st.just("dataflow"),
        "project": st.sampled_from(["my-project", "example.com:scores"]),
        "region": REGIONS,
        "temp": st.sampled_from(["gs://bucket", "gs://bucket/", "gs://bucket/a/b=1//"]),
        "image": st.sampled_from([IMAGE, OTHER_IMAGE]),
        "max_workers": st.integers(1, 3000),
        "labels": st.dictionaries(NAMES | st.just("straße"), NAMES | st.just(""), min_size=1, max_size=3),
    },
    optional={
        "machine_type": st.sampled_from(["n2-standard-4", "e2-custom-4-16384", "n2d-highmem-8"]),
        "disk_gb": st.integers(30, 500),
        "threads": st.integers(1, 64),
        "service_account": st.sampled_from(
            ["scorer@p.iam.gserviceaccount.com", "1-compute@developer.gserviceaccount.com"]
        ),
        "subnetwork": REGIONS.map("regions/{}/subnetworks/s".format),
        "kms_key": REGIONS.map("projects/p/locations/{}/keyRings/r/cryptoKeys/k".format),
        "private_addresses": st.booleans(),
        "flexrs": st.sampled_from([False, False, False, True]),
        "job_name": st.sampled_from(["scores", "x", "a--b-c9"]),
        "gpu": GPUS,
        "tokens_per_second": st.floats(1, 1e9),
    },
)
WILD_TEXTS = {
    "project": ["123", "token"],
    "region": ["us-central1-a", "asia-east1"],
    "temp": ["gs://bucket/a b", "gs://b?", "gs://BUCKET/x", "gs://bucket/token=x", "gs://bucket/x\n"],
    "image": ["image:1", "a=b@" + IMAGE[-71:], "password=" + OTHER_IMAGE],
    "machine_type": ["g2-standard-4", "--x", "n1-standard-1,x"],
    "subnetwork": ["regions/x", "default"],
    "kms_key": ["k", "projects/p/locations/global/keyRings/r/cryptoKeys/k"],
    "service_account": ["me@example.com"],
    "job_name": ["a-", "9a", "ab" * 510, "sk-" + "a1" * 20],
}
WILD: dict[str, st.SearchStrategy[Any]] = {
    **{key: st.sampled_from(texts) | st.text(max_size=12) for key, texts in WILD_TEXTS.items()},
    "labels": st.dictionaries(
        NAMES | st.sampled_from(["token", "a=b", "{a"]) | st.text(max_size=4), st.text(max_size=4)
    ),
    **dict.fromkeys(("max_workers", "disk_gb", "threads"), st.integers(-1, 40)),
    "gpu": st.fixed_dictionaries(
        {
            "type": st.sampled_from(list(MACHINES)) | st.text(max_size=9),
            "machine_type": st.sampled_from(["g2-standard-48", "g2-standard-٤", "n1-custom-6;count:2"]),
        },
        optional={"count": st.integers(0, 4), "min_ram": st.sampled_from(["14", "1iB", "٣GB", "0GB", "1e3GB"])},
    ),
}


@st.composite
def profiles(draw: st.DrawFn) -> dict[str, Any]:
    """Valid but for at most one key, which may be anything."""
    content = draw(GOOD)
    for key in draw(st.lists(st.sampled_from(list(WILD)), max_size=1)):
        content[key] = draw(WILD[key])
    return content


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(EVERYTHING | {"gpu": L4})
@given(profiles())
def test_what_a_profile_and_the_checker_take_beam_takes(content: dict[str, Any]) -> None:
    try:
        profile = Profile(**content)
    except pydantic.ValidationError:
        return
    arguments, hints = dataflow_arguments(profile, job_name(profile, DATE)), resource_hints(profile)
    # Refuses flags that Beam does not know: no value of a key is one.
    options = beam_options("dataflow", 1, arguments)
    try:
        check_dataflow(options, hints)
    except ConfigError:
        return
    parse_resource_hints(hints)
    assert (
        PipelineOptionsValidator(options, DataflowRunner()).validate_cloud_options(options.view_as(GoogleCloudOptions))
        == []
    )


def test_that_property_sees_profiles_of_every_kind() -> None:
    seen = []

    @settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @given(profiles())
    def look(content: dict[str, Any]) -> None:
        try:
            profile = Profile(**content)
            options = PipelineOptions(dataflow_arguments(profile, job_name(profile, DATE)))
            check_dataflow(options, resource_hints(profile))
            seen.append("none" if profile.gpu is None else profile.gpu.placement)
        except pydantic.ValidationError:
            seen.append("refused")
        except ConfigError:
            seen.append("refused by the checker")

    look()
    # Which examples are drawn depends on the version of Python.
    kinds = ("none", "score", "all", "refused", "refused by the checker")
    assert min(seen.count(kind) for kind in kinds) > 1, Counter(seen)


def test_beam_itself_accepts_the_options(caplog: pytest.LogCaptureFixture) -> None:
    from apache_beam import Pipeline

    caplog.set_level(logging.ERROR)
    profile = Profile(**EVERYTHING, gpu=L4)
    # A dry run asks nobody.
    p = Pipeline(options=PipelineOptions([*dataflow_arguments(profile, job_name(profile, DATE)), "--dry_run=True"]))
    assert p.options.view_as(GoogleCloudOptions).temp_location == "gs://my-bucket/"


def test_the_checker_is_no_part_of_making_options() -> None:
    with pytest.raises(ConfigError, match="--job_name 'Nightly'"):
        check_dataflow(PipelineOptions(dataflow_arguments(Profile(**CPU), "Nightly")), {})
