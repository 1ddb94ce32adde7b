"""The stand-in for Dataflow's API answers Google's own client."""

from typing import Any

import pytest
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import Conflict, TooManyRequests
from google.auth.credentials import AnonymousCredentials
from google.cloud import dataflow
from support.cloud.dataflow_stub import PROJECT, DataflowStub


def launch(stub: DataflowStub) -> Any:
    client = dataflow.FlexTemplatesServiceClient(
        credentials=AnonymousCredentials(), transport="rest", client_options=ClientOptions(api_endpoint=stub.url)
    )
    parameter = dataflow.LaunchFlexTemplateParameter(job_name="bert-batch-20261121", parameters={"date": "2026-11-21"})
    request = dataflow.LaunchFlexTemplateRequest(project_id=PROJECT, location="us-central1", launch_parameter=parameter)
    return client.launch_flex_template(request)


def test_a_launch_is_recorded_and_gets_a_job() -> None:
    with DataflowStub() as stub:
        assert launch(stub).job.name == "bert-batch-20261121"
        (body,) = stub.launched
    assert body["launchParameter"]["parameters"] == {"date": "2026-11-21"}


def test_it_refuses_for_quota_and_for_a_name_in_use() -> None:
    with DataflowStub(fail=(429, "quota")) as stub, pytest.raises(TooManyRequests):
        launch(stub)
    with DataflowStub(duplicate=True) as stub, pytest.raises(Conflict):
        launch(stub)
