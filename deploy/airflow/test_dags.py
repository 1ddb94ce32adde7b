"""The DAG files parsed by Airflow, and the nights of the command: it really scores."""

import datetime as dt
import json
import os
import shlex
import sys
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from conftest import COMMAND, FLEX, NIGHT, ROOT, parse_dags, run


def exits(*codes):
    """A command that ends with these codes, one try after the other, the last for ever; a signal is a negative code."""
    program = f"""
import os, pathlib, sys
tries = pathlib.Path("tries")
done = len(tries.read_text()) if tries.exists() else 0
tries.write_text("x" * (done + 1))
code = {codes}[min(done, {len(codes) - 1})]
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
    return shlex.join([sys.executable, "-c", program])


def ids(files):
    return sorted(i for file in files for i in pq.read_table(file)["id"].to_pylist())


def test_the_command_scores_and_publishes_the_day_that_ended_and_then_leaves_it_alone(load, job):
    dag = load()[COMMAND]

    assert run(dag) == ("success", 1, "success")

    published = job.parent / "scored/dt=2026-11-20"
    sample = ROOT / "examples/snips/validation.parquet"
    assert ids(published.glob("*.parquet")) == ids([sample])
    assert [p.name for p in (job.parent / "scored").glob("dt=*")] == ["dt=2026-11-20"]
    before = {p: p.stat().st_mtime_ns for p in published.iterdir()}

    assert run(dag)[0] == "skipped"

    assert {p: p.stat().st_mtime_ns for p in published.iterdir()} == before


def test_input_that_is_not_there_yet_is_tried_again_and_then_fails(load, job):
    night = NIGHT + dt.timedelta(days=1)

    assert run(load(retries="1")[COMMAND], night) == ("failed", 2, "failed")

    assert not list(job.parent.glob("scored/dt=*"))


def test_a_wrong_job_file_fails_at_once(load, job):
    job.write_text(job.read_text() + "top: 3\n")

    assert run(load()[COMMAND]) == ("failed", 1, "failed")


@pytest.mark.parametrize(
    ("codes", "end"),
    [
        ((3,), ("failed", 1, "failed")),
        ((5,), ("failed", 1, "failed")),
        ((1, 75, 0), ("success", 3, "success")),
        ((4, 99), ("skipped", 2, "success")),
        ((-9,), ("failed", 3, "failed")),
    ],
    ids=["over budget", "held", "failed, not there yet, published", "superseded", "killed"],
)
def test_exit_codes_of_the_command(load, codes, end):
    assert run(load(command=exits(*codes))[COMMAND]) == end


def test_a_command_that_is_not_there_fails_at_once(load):
    assert run(load(command="/nowhere/bert-batch")[COMMAND]) == ("failed", 1, "failed")


def test_a_command_out_of_time_is_ended_with_its_children(load, job):
    sleeper = "import subprocess; open('started', 'w'); subprocess.run(['sleep', '600'])"
    dag = load(command=shlex.join([sys.executable, "-c", sleeper]), timeout_hours=str(1 / 3600), retries="0")[COMMAND]

    assert run(dag) == ("failed", 1, "failed")

    assert _soon(lambda: not [p for p in Path("/proc").glob("[0-9]*") if _works_in(p, job.parent)])
    assert (job.parent / "started").exists()


def _soon(holds, seconds=10):
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


def _works_in(process, folder):
    try:
        return Path(os.readlink(process / "cwd")) == folder
    except OSError:
        return False


def arguments(command_line):
    """A command that writes down its arguments."""
    program = f"import json, sys; json.dump(sys.argv[1:], open({str(command_line)!r}, 'w'))"
    return shlex.join([sys.executable, "-c", program])


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles", "Pacific/Kiritimati"])
def test_the_run_after_midnight_scores_the_day_before(load, tmp_path, zone):
    dag = load(timezone=zone, command=arguments(tmp_path / "line"))[COMMAND]

    assert run(dag, dt.datetime(2026, 11, 21, 3, tzinfo=ZoneInfo(zone)))[0] == "success"

    assert asked(tmp_path / "line") == ("2026-11-20", "skip")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Kiritimati"])
@pytest.mark.parametrize("dag_id", [COMMAND, FLEX])
def test_every_day_since_the_first_is_scored_once_and_after_it_ended(load, zone, dag_id):
    from airflow.serialization.serialized_objects import DagSerialization

    # In Berlin the clocks are put back on 2026-10-25.
    dag = load(timezone=zone, first_date="2026-10-23")[dag_id]
    scheduled = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    end = dt.datetime(2026, 10, 28, tzinfo=ZoneInfo(zone))
    runs = list(scheduled.iter_dagrun_infos_between(dag.start_date, end))
    date = dag.user_defined_macros["scored_date"]

    dates = [dt.date.fromisoformat(date(run.data_interval.start, "")) for run in runs]
    assert dates == [dt.date(2026, 10, day) for day in range(23, 28)]
    starts = [run.run_after.astimezone(ZoneInfo(zone)) for run in runs]
    assert [(at.date(), at.time()) for at in starts] == [(day + dt.timedelta(days=1), dt.time(3)) for day in dates]
    assert (scheduled.catchup, scheduled.max_active_runs) == (True, 1)


def asked(command_line):
    """Date and --if-published that the command was given."""
    line = json.loads(command_line.read_text())
    return line[line.index("--date") + 1], line[line.index("--if-published") + 1]


def test_somebody_asks_for_a_date_and_for_its_replacement(load, tmp_path):
    dag = load(command=arguments(tmp_path / "line"))[COMMAND]

    assert run(dag, None, date="2026-11-03", if_published="replace")[0] == "success"

    assert asked(tmp_path / "line") == ("2026-11-03", "replace")


def test_a_run_without_any_date_fails_at_once(load):
    assert run(load(command=exits(0))[COMMAND], None) == ("failed", 1, "failed")


def errors():
    return {Path(file).name: message for file, message in parse_dags().import_errors.items()}


OF_COMMAND, OF_TEMPLATE = ("command", "job"), ("project", "region", "template", "flex_job", "profile")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("first_date", {"nightly_command.py", "nightly_flex.py"}),
        *((name, {"nightly_command.py"}) for name in OF_COMMAND),
        *((name, {"nightly_flex.py"}) for name in OF_TEMPLATE),
    ],
)
def test_a_setting_that_is_missing_is_named(settings, name, files):
    settings(**{name: None})

    found = errors()
    assert set(found) == files
    assert all(f"BERT_BATCH_{name.upper()} is missing" in message for message in found.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first_date", "yesterday"),
        ("timezone", "Mars/Olympus"),
        ("retries", "many"),
        ("retry_seconds", "15m"),
        ("timeout_hours", "a night"),
        ("environment", "{"),
        ("job", "/nowhere/nightly.yaml"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings, name, value):
    settings(**{name: value})

    found = errors()
    assert found
    assert all(f"BERT_BATCH_{name.upper()} {value!r} is not " in message for message in found.values())


def test_a_setting_may_be_a_variable_of_airflow(load, monkeypatch):
    # The one place of Variables that needs no scheduler.
    monkeypatch.setenv("AIRFLOW_VAR_BERT_BATCH_PROJECT", "from-a-variable")

    assert load(project=None)[FLEX].get_task("score").project_id == "from-a-variable"
