"""What the launcher of the flex template starts: `python main.py --NAME=VALUE …`.

Parameters are the keys of a job file, and `job` (such a file), `profile` and `set`. All else is Beam's options, which
the launcher makes of the launch request; they win over the profile's. What the command line repeats is separated by
commas here: `--input=gs://a/*.parquet,gs://b/*.parquet`, `--set=gpu.placement=all,labels.team=ml`.
"""

import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.commands.flags import form_of, kind_of
from pipeline.commands.start import end_of_process
from pipeline.dataflow.profile import Profile, load_profile, overrides
from pipeline.errors import EXIT_CODES, ConfigError
from pipeline.jobs.config import JobConfig, load_job
from pipeline.submitting import submit
from pipeline.terminal.report import explain
from pipeline.terminal.submit import teller
from transforms.runs.verdict_record import Verdict
from transforms.stores.choose import store_for

PROFILES = Path(__file__).resolve().parent.parent / "profiles"
FIELDS = {field.alias or name: field for name, field in JobConfig.model_fields.items()}
PAIRS = {key: form_of(field)["pairs"] for key, field in FIELDS.items() if "pairs" in form_of(field)}
"""Parameters that are mappings, and what stands between a key and its value."""
LISTS = tuple(key for key, field in FIELDS.items() if kind_of(field) == list[str] and key not in PAIRS)
# The launcher does not wait for the end, of which a report would be.
NOT_FOR_TEMPLATES = ("runner", "workers", "beam_options", "report")
JOB_KEYS = tuple(key for key in FIELDS if key not in NOT_FOR_TEMPLATES)
PARAMETERS = ("job", "profile", "set", *JOB_KEYS)
KEYS_OF_OPTIONS = {
    "project": "project",
    "region": "region",
    "temp_location": "temp",
    "sdk_container_image": "image",
    "max_num_workers": "max_workers",
}
"""Options of the launcher that stand for keys which a profile must have."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What is to be submitted."""

    job: JobConfig
    profile: Profile
    beam_options: list[str]


def read(arguments: Sequence[str]) -> Launch:
    """The arguments of the launcher as what is to be submitted; raises ConfigError."""
    parameters: dict[str, str] = {}
    options: dict[str, str] = {}
    beam_options = []
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        if name in PARAMETERS and argument.startswith("--"):
            # Schedulers send optional parameters that were left empty.
            parameters.update({name: value} if value else {})
        else:
            options[name] = value
            beam_options.append(argument)
    given = overrides(parameters["set"].split(",") if "set" in parameters else [])
    launched = {key: options[name] for name, key in KEYS_OF_OPTIONS.items() if options.get(name)}
    with tempfile.TemporaryDirectory() as folder:
        profile = load_profile(_profile_file(parameters, folder), {**given, **launched})
        file = _local(parameters["job"], folder) if "job" in parameters else None
        job = load_job(file, {name: _value(name, parameters[name]) for name in JOB_KEYS if name in parameters})
    if profile.runner != "dataflow":
        raise ConfigError(f"parameter profile: its runner is {profile.runner}, but a template runs on dataflow")
    return Launch(job=job, profile=profile, beam_options=beam_options)


def _value(name: str, text: str) -> Any:
    if name not in PAIRS:
        return text.split(",") if name in LISTS else text
    pairs = [item.partition(PAIRS[name]) for item in text.split(",")]
    for left, separator, right in pairs:
        if not (left and separator):
            raise ConfigError(f"parameter {name}: {left + right!r} is not of the form key{PAIRS[name]}value")
    return {left: right for left, _, right in pairs}


def _profile_file(parameters: Mapping[str, str], folder: str) -> str:
    shipped = sorted(path.stem for path in PROFILES.glob("dataflow-*.yaml"))
    name = parameters.get("profile")
    if name is None:
        raise ConfigError(f"parameter profile is missing: one of {', '.join(shipped)}, or the gs:// path of your own")
    return str(PROFILES / f"{name}.yaml") if name in shipped else _local(name, folder)


def _local(path: str, folder: str) -> str:
    """The file itself, or a copy with the same name in `folder` if it is on Cloud Storage."""
    if not path.startswith("gs://"):
        return path
    content = store_for(path).read(path)
    if content is None:
        raise ConfigError(f"{path}: there is no such file")
    copy = Path(folder, path.removeprefix("gs://"))
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(content)
    return str(copy)


def main(arguments: Sequence[str]) -> int:
    """Submits a launch without waiting for its end; gives the exit codes of `bert-batch submit`."""
    # The launcher, and who watches it, read the job's id from this log.
    logging.basicConfig(level=logging.INFO)
    try:
        launch = read(arguments)
        # Of options that are given twice the last ones win.
        options = (*launch.job.beam_options, *launch.beam_options)
        job = launch.job.model_copy(update={"beam_options": options})
        result = submit(job, launch.profile, wait=False, tell=teller("text"))
    except Exception as error:
        return explain(error, "text")
    if isinstance(result, Verdict):
        logging.info("nothing to launch: %s is %s", result.folder, result.status)
        return EXIT_CODES.get(result.status, 1)
    return 0


if __name__ == "__main__":
    end_of_process(lambda: sys.exit(main(sys.argv[1:])))
