"""Every night: the flex template for the day that ended, on Dataflow; the task follows the job to its end."""

import json
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.google.cloud.operators.dataflow import DataflowStartFlexTemplateOperator
from airflow.sdk import DAG
from nightly import DATE, IF_PUBLISHED, job_file, nightly, setting


def parameters(job: str) -> dict[str, str]:
    """The keys of a job file as parameters of the template."""
    content: dict[str, Any] = yaml.safe_load(Path(job).read_text(encoding="utf-8"))
    given = {key: value if isinstance(value, str) else json.dumps(value) for key, value in content.items()}
    return {**given, "date": DATE, "if_published": IF_PUBLISHED}


with DAG("bert_batch_nightly_flex", tags=["bert-batch"], doc_md=__doc__, **nightly()) as dag:
    DataflowStartFlexTemplateOperator(
        task_id="score",
        project_id=setting("project"),
        location=setting("region"),
        # The same name every time: Dataflow refuses a second active job of it.
        append_job_name=False,
        wait_until_finished=True,
        # The task sees the job end, or ends it: when it is killed or out of time the job is cancelled. A batch job
        # cannot be drained.
        deferrable=False,
        cancel_on_kill=True,
        drain_pipeline=False,
        body={
            "launchParameter": {
                "jobName": "bert-batch-" + DATE.replace(" }}", " | replace('-', '') }}"),
                "containerSpecGcsPath": setting("template"),
                "parameters": parameters(job_file()),
                "environment": json.loads(setting("environment", "{}")),
            }
        },
    )
