"""Options of a job for Dataflow that are right, and what the checker says of others."""

import datetime as dt
from collections.abc import Mapping

from apache_beam.options.pipeline_options import PipelineOptions
from support.deploy.profiles import CPU

from pipeline.dataflow.checks import check_dataflow
from pipeline.dataflow.options import dataflow_arguments, job_name
from pipeline.dataflow.profile import Profile
from pipeline.errors import ConfigError

PROFILE = Profile(**CPU)
ONE = "--experiments=no_use_multiple_sdk_containers"
# What a profile says, without the one process that only workers with a GPU must have.
GOOD = [one for one in dataflow_arguments(PROFILE, job_name(PROFILE, dt.date(2026, 11, 21))) if one != ONE]
HINT = "type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver"
POOL = "--dataflow_service_options=worker_accelerator="


def problems(arguments: list[str], hints: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the error; none if there is none."""
    try:
        check_dataflow(PipelineOptions(arguments), hints or {})
    except ConfigError as error:
        return str(error).split("\n")
    return []


def without(*flags: str) -> list[str]:
    return [argument for argument in GOOD if argument.split("=")[0] not in flags]
