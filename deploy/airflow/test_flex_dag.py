"""The nights of the flex template, run by Airflow against a stand-in of Dataflow."""

import datetime as dt
import json
import re
from zoneinfo import ZoneInfo

import pytest
from conftest import FLEX, ROOT, run
from support.cloud.dataflow_stub import DataflowStub


class Cancellable(DataflowStub):
    """Jobs run until somebody cancels them."""

    def __enter__(self):
        stub = super().__enter__()
        # A task out of time hangs up in the middle of a request.
        self._server.handle_error = lambda *_: None
        return stub

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

    return send


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
