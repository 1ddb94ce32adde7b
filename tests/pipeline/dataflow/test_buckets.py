"""Buckets that a job names: are they there, and near its workers?"""

import uuid
from pathlib import Path
from typing import Any

import pytest
from support.cloud.dataflow_stub import DataflowStub
from support.cloud.fake_gcs import FakeGcs
from support.cloud.gcs_messages import Answer

from pipeline.dataflow.buckets import check_buckets, location_problem
from pipeline.errors import ConfigError

PLACES = {
    "the region itself": (("US-CENTRAL1", [], "us-central1"), True),
    "another region": (("US-EAST1", [], "us-central1"), False),
    "a region whose name begins alike": (("EUROPE-WEST1", [], "europe-west12"), False),
    "the same the other way round": (("EUROPE-WEST12", [], "europe-west1"), False),
    "the United States": (("US", [], "us-central1"), True),
    "not Canada": (("US", [], "northamerica-northeast1"), False),
    "Europe": (("EU", [], "europe-west4"), True),
    "not London": (("EU", [], "europe-west2"), False),
    "nor from elsewhere": (("EU", [], "us-central1"), False),
    "Asia": (("ASIA", [], "asia-east1"), True),
    "one of two": (("NAM4", [], "us-east1"), True),
    "two of another continent": (("EUR4", [], "us-east1"), False),
    "one of two that Storage names": (("NAM4", ["US-CENTRAL1", "US-EAST1"], "us-central1"), True),
    "one of two chosen": (("US", ["US-EAST1", "US-WEST1"], "us-west1"), True),
    "neither of two chosen": (("US", ["US-EAST1", "US-WEST1"], "us-central1"), False),
    "not known": ((None, [], "us-central1"), True),
}


@pytest.mark.parametrize("case", PLACES)
def test_which_regions_a_bucket_lies_in(case: str) -> None:
    (location, parts, region), fits = PLACES[case]
    problem = location_problem(location, parts, region)
    assert (problem is None) == fits
    if problem is not None:
        assert problem.endswith(f"take a bucket in {region}, or another region")


@pytest.mark.slow
def test_buckets_are_looked_up(bucket_folder: str) -> None:
    # The emulator says of every bucket that it is in the multi-region US.
    name = f"b-{uuid.uuid4().hex[:12]}"
    missing = f"gs://{name}/x"
    # Folders need not be there; what is not gs:// is another's concern.
    check_buckets("us-central1", {"--temp_location": bucket_folder, "--output": "/tmp/out"})
    places = {"--temp_location": missing, "--staging_location": missing + "/staging", "bundle": bucket_folder}
    places |= {"--input": f"{missing}/day {{date}}/*.csv"}
    with pytest.raises(ConfigError) as error:
        check_buckets("europe-west4", places)
    assert str(error.value).split("\n") == [
        f"--temp_location, --staging_location, --input {missing!r}: there is no bucket {name}; make it, or correct the "
        "name",
        f"bundle {bucket_folder!r}: the bucket is in us, the workers in europe-west4: every byte "
        "between them costs and takes longer; take a bucket in europe-west4, or another region",
    ]


class GuardedGcs(FakeGcs):
    """Answers a look at its bucket, and a listing, with these codes where they are not 200."""

    def __init__(self, look: int, listing: int) -> None:
        super().__init__()
        self._codes = {"/storage/v1/b/bucket": look, "/storage/v1/b/bucket/o": listing}

    def handle(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        code = self._codes.get(target.split("?")[0], 200)
        return super().handle(method, target, headers, body) if code == 200 else Answer(code, b"{}")


@pytest.mark.parametrize(
    ("look", "listing", "problem"),
    [
        (200, 403, None),
        # The usual roles of a service account: objects, but not the bucket itself.
        (403, 200, None),
        (403, 403, "may not be read with these credentials; grant roles/storage.objectAdmin, or sign in"),
        (403, 404, "there is no bucket bucket; make it, or correct the name"),
        (404, 200, "there is no bucket bucket; make it, or correct the name"),
    ],
)
def test_a_bucket_that_may_not_be_looked_at(
    look: int, listing: int, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GuardedGcs(look, listing) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        if problem is None:
            check_buckets("us-central1", {"bundle": "gs://bucket/x"})
        else:
            with pytest.raises(ConfigError, match=problem):
                check_buckets("us-central1", {"bundle": "gs://bucket/x"})


def test_without_credentials_it_is_said_how_to_sign_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(ConfigError, match=r"not found or .*; sign in with `gcloud auth application-default login`"):
        check_buckets("us-central1", {"bundle": "gs://bucket/x"})


class Expired(DataflowStub):
    """Gives no token any more."""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}


def test_with_credentials_that_ran_out_it_is_said_how_to_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    with Expired() as stub:
        key = stub.write_credentials(tmp_path / "key.json")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        with pytest.raises(ConfigError, match=r"run out or .*; sign in with `gcloud auth application-default login`"):
            check_buckets("us-central1", {"bundle": "gs://bucket/x"})
