"""What both DAGs share: settings, the timetable, which day a run is for, and retries."""

import datetime as dt
import os
import zoneinfo
from collections.abc import Callable
from typing import Any, TypeVar

from airflow.sdk import CronDataIntervalTimetable, Param, Variable
from airflow.sdk.exceptions import AirflowFailException

T = TypeVar("T")


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


def parsed(name: str, parse: Callable[[str], T], rule: str, default: str | None = None) -> T:
    """A setting as `parse` reads it; raises AirflowFailException that names it, its value and the rule."""
    text = setting(name, default)
    try:
        return parse(text)
    except (ValueError, KeyError) as error:
        raise AirflowFailException(f"BERT_BATCH_{name.upper()} {text!r} is not {rule}") from error


def zone() -> zoneinfo.ZoneInfo:
    """Where the day begins and ends."""
    return parsed("timezone", zoneinfo.ZoneInfo, "a time zone, such as UTC or Europe/Berlin", "UTC")


def scored_date(data_interval_start: dt.datetime | None, asked: str) -> str:
    """The date somebody asked for, else the day on which the data interval began; raises AirflowFailException.

    `{{ ds }}` is not it: that one is in UTC, and so a day early wherever midnight comes before UTC's.
    """
    if asked:
        return asked
    if data_interval_start is None:
        raise AirflowFailException('a run without a logical date must say its day: {"date": "2026-11-20"}')
    return data_interval_start.astimezone(zone()).date().isoformat()


DATE = "{{ scored_date(data_interval_start | default(none), params.date) }}"
IF_PUBLISHED = "{{ params.if_published }}"


def nightly(retries: int = 8) -> dict[str, Any]:
    """Arguments of a DAG that scores the day that ended, every night and every day since the first."""
    first = parsed("first_date", dt.date.fromisoformat, "a date: use YYYY-MM-DD")
    return {
        # A plain cron string would make the day of the run the logical date: the wrong one, and not complete yet.
        "schedule": CronDataIntervalTimetable(setting("schedule", "0 3 * * *"), timezone=zone().key),
        "start_date": dt.datetime.combine(first, dt.time(), zone()),
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
            "retries": parsed("retries", int, "a whole number", str(retries)),
            "retry_delay": dt.timedelta(seconds=parsed("retry_seconds", float, "a number of seconds", "900")),
            "execution_timeout": dt.timedelta(hours=parsed("timeout_hours", float, "a number of hours", "20")),
        },
    }
