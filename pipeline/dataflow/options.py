"""A profile as Beam's options for Dataflow: pure functions."""

import datetime as dt

from pipeline.dataflow.profile import Profile

ONE_PROCESS = "no_use_multiple_sdk_containers"
"""The experiment that makes one SDK process of a worker; by default there is one for each of its processors."""


def job_name(profile: Profile, date: dt.date) -> str:
    """`bert-batch-20261121`: the same for the same date, so that Dataflow refuses a second job beside an active one."""
    return f"{profile.job_name}-{date.isoformat().replace('-', '')}"


def dataflow_arguments(profile: Profile, name: str) -> list[str]:
    """Beam's flags for a job called `name`; resource hints are not among them."""
    temp, gpu = (profile.temp or "").rstrip("/"), profile.gpu
    everywhere = gpu if gpu is not None and gpu.placement == "all" else None
    values = {
        "runner": "DataflowRunner",
        "job_name": name,
        "project": profile.project,
        "region": profile.region,
        "temp_location": f"{temp}/",
        "staging_location": f"{temp}/staging",
        "service_account_email": profile.service_account,
        "subnetwork": profile.subnetwork,
        "dataflow_kms_key": profile.kms_key,
        "sdk_container_image": profile.image,
        "max_num_workers": profile.max_workers,
        "machine_type": profile.machine_type if everywhere is None else everywhere.machine_type,
        "disk_size_gb": profile.disk_gb,
        "number_of_worker_harness_threads": profile.threads,
        "flexrs_goal": "COST_OPTIMIZED" if profile.flexrs else None,
        # One model: it has the GPU or all processors to itself, which each of several processes would want.
        "experiments": ONE_PROCESS,
        # The machine is an option of its own there.
        "dataflow_service_options": everywhere and f"worker_accelerator={everywhere.accelerator(with_machine=False)}",
        # The image holds the SDK and this package: nothing is to be staged.
        "sdk_location": "container",
    }
    return [
        *(f"--{flag}={value}" for flag, value in values.items() if value is not None),
        *(f"--labels={key}={value}" for key, value in profile.labels.items()),
        "--no_use_public_ips" if profile.private_addresses else "--use_public_ips",
        "--no_save_main_session",
    ]


def resource_hints(profile: Profile) -> dict[str, str]:
    """Hints for the scoring step; none if every worker has a GPU, or none has."""
    gpu = profile.gpu
    if gpu is None or gpu.placement == "all":
        return {}
    return {"accelerator": gpu.accelerator(), **({} if gpu.min_ram is None else {"min_ram": gpu.min_ram})}
