"""Named runner presets -> Beam options. Unknown Beam options are errors here: Beam only warns about them."""

import argparse
import datetime as dt
import difflib
from collections.abc import Mapping, Sequence

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, PortableOptions, StandardOptions

from pipeline.dataflow.buckets import check_buckets
from pipeline.dataflow.checks import check_dataflow
from pipeline.errors import ConfigError, RunFailedError
from pipeline.jobs.config import LOCAL, JobConfig

JOB_SERVER_SECONDS = 5.0
JOB_SECONDS = 10 * 365 * 24 * 3600
"""No job takes that long."""


def beam_options(runner: str, workers: int, extra: Sequence[str]) -> PipelineOptions:
    """The options of a preset plus Beam's own from the command line; raises ConfigError for an unknown one.

    `direct` (alias `local`) is FnApiRunner, the runner inside Beam's DirectRunner: DirectRunner itself chooses a
    runner by the graph, and tries to download one first.
    """
    preset = {
        "direct": ["--runner=FnApiRunner"],
        "local": ["--runner=FnApiRunner"],
        "dataflow": ["--runner=DataflowRunner"],
        "portable": ["--runner=PortableRunner"],
    }[runner]
    if runner == "portable":
        # The first is read by our own job server, the second by Flink's; others pass over them.
        preset += [f"--direct_num_workers={workers}", f"--parallelism={workers}"]
        # To Beam this is the time that a whole job may take; after it Beam leaves the job, which still works. Whether
        # the job server answers is checked before. Later options win, so the user's own does.
        preset.append(f"--job_server_timeout={JOB_SECONDS}")
    if workers > 1 and runner in LOCAL:
        preset += [f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing"]
    _refuse_unknown(extra)
    if runner == "portable" and not PipelineOptions(list(extra)).view_as(PortableOptions).job_endpoint:
        raise ConfigError("--runner portable needs a job server; say which after `--`: -- --job_endpoint=HOST:PORT")
    # A worker must know tensorflow-text's ops before it loads any graph.
    return PipelineOptions([*preset, "--beam_plugins=tensorflow_text", *extra])


def job_options(job: JobConfig, hints: Mapping[str, str], date: dt.date) -> PipelineOptions:
    """The options of a job for `date`, looked at first if it is for Dataflow; raises ConfigError.

    A job for Dataflow without a name gets one that is the same for the same date: Dataflow refuses a second one.
    """
    options = beam_options(job.runner, job.workers, job.beam_options)
    if job.runner == "dataflow":
        google = options.view_as(GoogleCloudOptions)
        google.job_name = google.job_name or f"bert-batch-{date:%Y%m%d}"
        _refuse_local_paths(job)
        check_dataflow(options, hints)
        temp = {f"--{name}": getattr(google, name) for name in ("temp_location", "staging_location")}
        check_buckets(google.region, {flag: path for flag, path in {**temp, **_paths(job)}.items() if path})
    return options


def _paths(job: JobConfig) -> dict[str, str]:
    inputs = {"--input" if number == 1 else f"--input ({number})": path for number, path in enumerate(job.input, 1)}
    outputs = {"--output": job.outputs.folder, "--staging": job.outputs.staging}
    given = {"--bundle": job.bundle, **inputs, **outputs}
    return {flag: path for flag, path in given.items() if path is not None}


def _refuse_local_paths(job: JobConfig) -> None:
    problems = [
        f"{flag} {path}: is on this machine, where Dataflow's workers do not see it; copy it to gs:// and name that"
        for flag, path in _paths(job).items()
        if not path.startswith(("gs://", "bq://"))
    ]
    if problems:
        raise ConfigError(*problems)


def check_job_server(options: PipelineOptions) -> None:
    """Raises RunFailedError if the job server of a portable job does not answer; Beam itself would try for a minute."""
    endpoint = options.view_as(PortableOptions).job_endpoint
    if options.view_as(StandardOptions).runner != "PortableRunner" or endpoint == "embed":
        return
    import grpc

    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=JOB_SERVER_SECONDS)
        except grpc.FutureTimeoutError:
            raise RunFailedError(
                f"no job server answers at {endpoint} (--job_endpoint): none within {JOB_SERVER_SECONDS:.0f} s; "
                "nothing has run"
            ) from None


def _refuse_unknown(extra: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # Beam offers no public list of its options; its own parser is built the same way.
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    known = [flag for action in parser._actions for flag in action.option_strings]
    try:
        _, unknown = parser.parse_known_args(list(extra))
    except SystemExit as error:
        raise ConfigError(f"Beam options {list(extra)} cannot be parsed") from error
    for flag in unknown:
        if not flag.startswith("-"):
            raise ConfigError(f"{flag!r} belongs to no flag; put patterns in quotes for the shell")
        near = difflib.get_close_matches(flag.split("=")[0], known, 1)
        raise ConfigError(f"{flag}: no such Beam option" + (f"; did you mean {near[0]}?" if near else ""))
