"""Sends the shipped demo job to the storage emulator and to a stand-in for Dataflow, and looks at what was sent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as pb
from google.cloud import storage
from support.commands import ROOT

DEMO = ROOT / "examples" / "snips"
GIVEN = {
    "project": "demo-project",
    "region": "us-central1",
    "image": "us-docker.pkg.dev/demo/images/bert-batch@sha256:" + "0" * 64,
    "service_account": "worker@demo-project.iam.gserviceaccount.com",
    "subnetwork": "regions/us-central1/subnetworks/private",
    "kms_key": "projects/demo-project/locations/us-central1/keyRings/ring/cryptoKeys/key",
}
"""What the shipped profiles leave to the user."""


def upload(folder: str) -> None:
    """Copies bundle and sample below the gs:// folder."""
    bucket = storage.Client().bucket(folder.split("/")[2])
    prefix = folder.split("/", 3)[3]
    for file in (*(DEMO / "bundle").rglob("*"), DEMO / "validation.parquet"):
        if file.is_file():
            bucket.blob(f"{prefix}/{file.relative_to(DEMO)}").upload_from_filename(str(file))


def read(path: str) -> bytes:
    """An object."""
    bucket, name = path.removeprefix("gs://").split("/", 1)
    return bytes(storage.Client().bucket(bucket).blob(name).download_as_bytes())


def names(folder: str) -> list[str]:
    """The objects below a gs:// folder."""
    bucket, prefix = folder.removeprefix("gs://").split("/", 1)
    return [blob.name for blob in storage.Client().list_blobs(bucket, prefix=prefix + "/")]


def sent_pipeline(job: Mapping[str, Any]) -> pb.Pipeline:
    """The pipeline that a job request names."""
    return pb.Pipeline.FromString(read(job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]))


def hints_of(pipeline: pb.Pipeline) -> dict[str, dict[str, str]]:
    """Leaf step -> its resource hints."""
    environments = pipeline.components.environments
    return {
        step.unique_name: {
            urn.split(":")[-2]: value.decode()
            for urn, value in environments[step.environment_id].resource_hints.items()
        }
        for step in pipeline.components.transforms.values()
        if step.environment_id and not step.subtransforms
    }


def essence(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a golden file holds of a job request: all that a profile decides."""
    environment = job["environment"]
    (pool,) = environment["workerPools"]
    hinted = {}
    for step, hints in sorted(hints_of(sent_pipeline(job)).items()):
        if hints:
            hinted["/".join(step.split("/")[:2])] = hints
    pool_keys = ("kind", "machineType", "diskSizeGb", "numThreadsPerWorker", "ipConfiguration", "subnetwork")
    return {
        "name": job["name"],
        "labels": job["labels"],
        "experiments": sorted(environment["experiments"]),
        "service_options": sorted(environment.get("serviceOptions", [])),
        "flexrs": environment.get("flexResourceSchedulingGoal"),
        "service_account": environment.get("serviceAccountEmail"),
        "kms_key": environment.get("serviceKmsKeyName"),
        "pool": {key: pool.get(key) for key in pool_keys},
        "max_workers": pool["autoscalingSettings"]["maxNumWorkers"],
        "packages": len(pool.get("packages", [])),
        "images": sorted({image["containerImage"] for image in pool["sdkHarnessContainerImages"]}),
        "hints": hinted,
    }


def as_local_workers(pipeline: pb.Pipeline) -> pb.Pipeline:
    """The pipeline with workers in this process in place of containers."""
    for environment in pipeline.components.environments.values():
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
    return pipeline


def golden(name: str) -> Path:
    """The golden file of a profile."""
    return ROOT / "tests" / "data" / "dataflow" / f"{name}.json"
