"""A profile as Beam's options for Dataflow: pure functions."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

from pipeline.dataflow.profile import Profile

ONE_PROCESS = "no_use_multiple_sdk_containers"
"""The experiment that makes one SDK process of a worker; by default there is one for each of its processors."""


def job_name(profile: Profile, date: dt.date) -> str:
    """`bert-batch-20261121`: the same for the same date, so that Dataflow refuses a second job beside an active one."""
    return f"{profile.job_name}-{date.isoformat().replace('-', '')}"


def dataflow_arguments(profile: Profile, name: str) -> list[str]:
    """Beam's flags for a job called `name`; resource hints are not among them."""
    return [
        "--runner=DataflowRunner",
        f"--job_name={name}",
        *_place(profile),
        *_workers(profile),
        *(f"--labels={key}={value}" for key, value in profile.labels.items()),
        # The image holds the SDK and this package: nothing is to be staged.
        "--sdk_location=container",
        "--no_save_main_session",
    ]


def resource_hints(profile: Profile) -> dict[str, str]:
    """Hints for the scoring step; none if every worker has a GPU, or none has."""
    gpu = profile.gpu
    if gpu is None or gpu.placement == "all":
        return {}
    return {"accelerator": str(gpu.accelerator), **({} if gpu.min_ram is None else {"min_ram": gpu.min_ram})}


def _place(profile: Profile) -> Iterator[str]:
    temp = (profile.temp or "").rstrip("/")
    yield f"--project={profile.project}"
    yield f"--region={profile.region}"
    yield f"--temp_location={temp}/"
    yield f"--staging_location={temp}/staging"
    yield "--no_use_public_ips" if profile.private_addresses else "--use_public_ips"
    if profile.service_account is not None:
        yield f"--service_account_email={profile.service_account}"
    if profile.subnetwork is not None:
        yield f"--subnetwork={profile.subnetwork}"
    if profile.kms_key is not None:
        yield f"--dataflow_kms_key={profile.kms_key}"


def _workers(profile: Profile) -> Iterator[str]:
    gpu = profile.gpu
    yield f"--sdk_container_image={profile.image}"
    yield f"--max_num_workers={profile.max_workers}"
    machine = gpu.machine_type if gpu is not None and gpu.placement == "all" else profile.machine_type
    if machine is not None:
        yield f"--machine_type={machine}"
    if profile.disk_gb is not None:
        yield f"--disk_size_gb={profile.disk_gb}"
    if profile.threads is not None:
        yield f"--number_of_worker_harness_threads={profile.threads}"
    if profile.flexrs:
        yield "--flexrs_goal=COST_OPTIMIZED"
    # One model: it has the GPU to itself, or all processors, which TensorFlow in each of several processes would want.
    yield f"--experiments={ONE_PROCESS}"
    if gpu is not None and gpu.placement == "all":
        # The machine is an option of its own there.
        yield f"--dataflow_service_options=worker_accelerator={replace(gpu.accelerator, machine_type=None)}"
