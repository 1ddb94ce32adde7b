"""What both DAGs share: settings, the timetable, which day a run is for, and retries."""

import datetime as dt
import os
import zoneinfo
from pathlib import Path
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, Variable
from airflow.sdk.exceptions import AirflowFailException


def setting(name: str, default: str | None = None) -> str:
    """The environment's BERT_BATCH_<NAME>, else the Airflow Variable bert_batch_<name>, else the default.

    Read when the file is parsed, so that what is missing is shown as an import error of the DAG, not at night. Raises
    AirflowFailException that names the setting.
    """
    variable, key = f"BERT_BATCH_{name.upper()}", f"bert_batch_{name}"
    value = os.environ.get(variable) or Variable.get(key, default=None) or default
    if value is None:
        raise AirflowFailException(f"{variable} is missing: set it in Airflow's environment, or the Variable {key}")
    return value


def job_file() -> str:
    """The absolute path of the job file; raises AirflowFailException."""
    path = Path(setting("job")).absolute()
    if not path.is_file():
        raise AirflowFailException(f"BERT_BATCH_JOB {str(path)!r} is no file")
    return str(path)


def zone() -> zoneinfo.ZoneInfo:
    """Where the day begins and ends."""
    name = setting("timezone", "UTC")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        message = f"BERT_BATCH_TIMEZONE {name!r} is unknown; use a name such as UTC or Europe/Berlin"
        raise AirflowFailException(message) from error


def scored_date(data_interval_start: dt.datetime | None, asked: str) -> str:
    """The date somebody asked for, else the day on which the data interval began; raises AirflowFailException.

    `{{ ds }}` is not it: that one is in UTC, and so a day early wherever midnight comes before UTC's.
    """
    if asked:
        return asked
    if data_interval_start is None:
        raise AirflowFailException('A run without a logical date says which day it is for: {"date": "2026-11-20"}')
    return data_interval_start.astimezone(zone()).date().isoformat()


DATE = "{{ scored_date(data_interval_start, params.date) }}"
IF_PUBLISHED = "{{ params.if_published }}"


def nightly() -> dict[str, Any]:
    """Arguments of a DAG that scores the day that ended, every night and every day since the first."""
    first = setting("first_date")
    try:
        start = dt.datetime.combine(dt.date.fromisoformat(first), dt.time(), zone())
    except ValueError as error:
        raise AirflowFailException(f"BERT_BATCH_FIRST_DATE {first!r} is no date; use YYYY-MM-DD") from error
    return {
        # A plain cron string would make the day of the run the logical date: the wrong one, and not complete yet.
        "schedule": CronDataIntervalTimetable(setting("schedule", "0 3 * * *"), timezone=setting("timezone", "UTC")),
        "start_date": start,
        "catchup": True,
        "max_active_runs": 1,
        "user_defined_macros": {"scored_date": scored_date},
        # For runs that somebody starts: another date, or a published one again.
        "params": {
            "date": Param("", type="string", pattern=r"^(\d{4}-\d{2}-\d{2})?$"),
            "if_published": Param("skip", enum=["skip", "replace"]),
        },
        # Safe, as a date is published whole or not at all, and one that is published is left alone.
        "default_args": {
            "retries": int(setting("retries", "8")),
            "retry_delay": dt.timedelta(seconds=float(setting("retry_seconds", "900"))),
            "execution_timeout": dt.timedelta(hours=float(setting("timeout_hours", "20"))),
        },
    }
