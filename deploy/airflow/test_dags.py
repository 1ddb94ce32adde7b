"""The DAG files, parsed and run by Airflow: the command really scores, the flex template goes to a stand-in."""

import datetime as dt
import gc
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from conftest import ROOT, parse_dags
from dataflow_stub import DataflowStub

COMMAND, FLEX = "bert_batch_nightly_command", "bert_batch_nightly_flex"
# The night after 2026-11-20.
NIGHT = dt.datetime(2026, 11, 21, 3, tzinfo=dt.UTC)


def run(dag, night=NIGHT, **conf):
    """State of the task, number of tries, and of the run."""
    done = dag.test(logical_date=night, run_conf=conf)
    (task,) = done.get_task_instances()
    return str(task.state), task.try_number, str(done.state)


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
        ((1, 75, 0), ("success", 3, "success")),
        ((4, 99), ("skipped", 2, "success")),
        ((-9,), ("failed", 3, "failed")),
    ],
    ids=["over budget", "failed, not there yet, published", "superseded", "killed"],
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


class Cancellable(DataflowStub):
    """Jobs run until somebody cancels them."""

    def _look(self, method, *request):
        if method == "PUT":
            self._left = ["JOB_STATE_CANCELLED"]
        return super()._look(method, *request)


@pytest.fixture
def to_stub(monkeypatch):
    """Sends the Dataflow operators to a stub, and lets them look often."""
    from airflow.providers.google.cloud.hooks.dataflow import DataflowHook
    from google.api_core.client_options import ClientOptions

    def send(dag, stub):
        options = ClientOptions(api_endpoint=stub.url + "/")
        monkeypatch.setattr(DataflowHook, "get_client_options", lambda self: options)
        dag.get_task("score").poll_sleep = 0
        return dag

    yield send
    # Ends what connections are left, while somebody listens.
    gc.collect()


def test_the_template_is_launched_for_the_day_that_ended(load, to_stub):
    environment = {"maxWorkers": 3, "serviceAccountEmail": "scoring@demo-project.iam.gserviceaccount.com"}
    dag = load(timezone="Asia/Tokyo", set="labels.team=ml", environment=json.dumps(environment))[FLEX]

    with DataflowStub() as stub:
        night = dt.datetime(2026, 11, 21, 3, tzinfo=ZoneInfo("Asia/Tokyo"))
        assert run(to_stub(dag, stub), night) == ("success", 1, "success")

    (body,) = stub.launched
    assert body["launchParameter"] == {
        "jobName": "bert-batch-20261120",
        "containerSpecGcsPath": "gs://templates/bert-batch.json",
        "parameters": {
            "job": "gs://jobs/nightly.yaml",
            "profile": "dataflow-gpu-l4",
            "set": "labels.team=ml",
            "date": "2026-11-20",
            "if_published": "skip",
        },
        "environment": environment,
    }
    assert "/projects/demo-project/locations/europe-west4/flexTemplates:launch" in stub.requests[0].path


def test_the_template_gets_parameters_that_its_metadata_knows(load):
    metadata = json.loads((ROOT / "deploy/flex/metadata.json").read_text())["parameters"]
    known = {parameter["name"]: parameter for parameter in metadata}
    sent = load(set="labels.team=ml")[FLEX].get_task("score").body["launchParameter"]["parameters"]

    assert set(sent) <= set(known)
    assert {name for name, parameter in known.items() if not parameter.get("isOptional")} <= set(sent)
    # The other values are templates.
    for name in ("job", "profile", "set"):
        assert all(re.fullmatch(regex, sent[name]) for regex in known[name].get("regexes", []))


def test_a_job_that_fails_is_launched_again_under_its_name(load, to_stub):
    with DataflowStub(states=["JOB_STATE_FAILED", "JOB_STATE_DONE"]) as stub:
        assert run(to_stub(load()[FLEX], stub)) == ("success", 2, "success")

    assert [body["launchParameter"]["jobName"] for body in stub.launched] == ["bert-batch-20261120"] * 2


def test_a_second_job_of_the_name_is_refused_and_the_task_fails_after_its_tries(load, to_stub):
    with DataflowStub(duplicate=True) as stub:
        assert run(to_stub(load(retries="1")[FLEX], stub)) == ("failed", 2, "failed")


def test_a_task_out_of_time_cancels_its_job(load, to_stub):
    dag = load(timeout_hours=str(2 / 3600), retries="0")[FLEX]

    with Cancellable(states=["JOB_STATE_RUNNING"]) as stub:
        assert run(to_stub(dag, stub)) == ("failed", 1, "failed")

    (put,) = [request for request in stub.requests if request.method == "PUT"]
    assert put.body["requestedState"] == "JOB_STATE_CANCELLED"


@pytest.mark.parametrize(
    ("manifest", "asked", "state"),
    [
        ({"finished": True}, {}, "skipped"),
        ({"finished": True}, {"if_published": "replace"}, "success"),
        ({"finished": False}, {}, "success"),
        (None, {}, "success"),
    ],
    ids=["published", "published, to be replaced", "its table is behind", "not published"],
)
def test_a_published_date_is_not_launched(load, to_stub, bucket, manifest, asked, state):
    if manifest is not None:
        bucket.blob("scored/dt=2026-11-20/_manifest.json").upload_from_string(json.dumps(manifest))
    dag = load(output="gs://texts/scored/")[FLEX]

    with DataflowStub() as stub:
        assert run(to_stub(dag, stub), **asked)[0] == state

    assert [body["launchParameter"]["parameters"]["if_published"] for body in stub.launched] == (
        [] if state == "skipped" else [asked.get("if_published", "skip")]
    )
