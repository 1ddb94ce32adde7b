"""Every night: the flex template for the day that ended, on Dataflow; the task follows the job to its end."""

import json
from collections.abc import Sequence
from typing import Any

from airflow.providers.google.cloud.hooks.gcs import GCSHook
from airflow.providers.google.cloud.operators.dataflow import DataflowStartFlexTemplateOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException
from bert_batch_nightly import DATE, IF_PUBLISHED, nightly, parsed, setting


class BertBatchFlexTemplateOperator(DataflowStartFlexTemplateOperator):
    """Launches the template, unless the manifest `unless_published` (gs://, empty for none) is there and finished.

    A job that finds its date published can only fail: the launcher has no other way to start nothing.
    """

    template_fields: Sequence[str] = (*DataflowStartFlexTemplateOperator.template_fields, "unless_published")

    def __init__(self, *, unless_published: str = "", **operator: Any) -> None:
        super().__init__(**operator)
        self.unless_published = unless_published

    def execute(self, context: Any) -> Any:
        if self.unless_published and self._is_finished():
            raise AirflowSkipException("the date is published already")
        return super().execute(context)

    def _is_finished(self) -> bool:
        bucket, _, name = self.unless_published.removeprefix("gs://").partition("/")
        store = GCSHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        # One that is not finished has a table behind: the same job again completes it.
        return store.exists(bucket, name) and bool(json.loads(store.download(bucket, name))["finished"])


def parameters() -> dict[str, str]:
    """Parameters of the template, as its metadata names them."""
    given = {"job": setting("flex_job"), "profile": setting("profile"), "set": setting("set", "")}
    return {**{key: value for key, value in given.items() if value}, "date": DATE, "if_published": IF_PUBLISHED}


def manifest() -> str:
    """The manifest of the date, where the folder of the output is known and published dates are to be left alone."""
    output = setting("output", "").rstrip("/")
    return f"{{% if params.if_published == 'skip' %}}{output}/dt={DATE}/_manifest.json{{% endif %}}" if output else ""


# Nothing says why a job failed: one that would fail again costs as much again.
with DAG("bert_batch_nightly_flex", tags=["bert-batch"], doc_md=__doc__, **nightly(retries=1)) as dag:
    BertBatchFlexTemplateOperator(
        task_id="score",
        project_id=setting("project"),
        location=setting("region"),
        unless_published=manifest(),
        # The same name every time: Dataflow refuses a second active job of it.
        append_job_name=False,
        # The task ends when the job does, and the job when the task does: one that is killed or out of time cancels its
        # job. A batch job cannot be drained.
        wait_until_finished=True,
        deferrable=False,
        cancel_on_kill=True,
        drain_pipeline=False,
        body={
            "launchParameter": {
                "jobName": "bert-batch-" + DATE.replace(" }}", " | replace('-', '') }}"),
                "containerSpecGcsPath": setting("template"),
                "parameters": parameters(),
                # Such as {"serviceAccountEmail": …, "subnetwork": …, "tempLocation": …}.
                "environment": parsed("environment", json.loads, "JSON", "{}"),
            }
        },
    )
