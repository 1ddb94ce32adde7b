"""Checks that the buckets which a job names exist, and that they are near its workers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.dataflow.secret_values import shown
from pipeline.errors import ConfigError

CONTINENTS = {"us": "us-", "nam": "us-", "eu": "europe-", "eur": "europe-", "asia": "asia-"}
"""A location of several regions, less its number -> what the names of its regions begin with."""
_IN_BUCKET = re.compile(r"gs://([a-z0-9][-_a-z0-9.]{1,220}[a-z0-9])(?:/|$)")


def bucket_of(path: str) -> str | None:
    """The bucket of a gs:// path or pattern, None if it is no such path."""
    match = _IN_BUCKET.match(path)
    return None if match is None else match[1]


def check_buckets(region: str, paths: Mapping[str, str]) -> None:
    """Asks Cloud Storage whether the bucket of every gs:// path exists and is near the region; `paths`: flag -> path.

    Paths that are not gs:// are left out. Where a bucket lies is not checked if the credentials may use the bucket but
    not read its metadata. Raises ConfigError with one line for every problem.
    """
    from google.auth.exceptions import DefaultCredentialsError, RefreshError
    from google.cloud.storage import Client

    buckets: dict[str, list[str]] = {}
    for flag, path in paths.items():
        if (bucket := bucket_of(path)) is not None:
            buckets.setdefault(bucket, []).append(flag)
    try:
        with Client(project=None) as client:
            found = {bucket: _bucket_problem(client, bucket, region) for bucket in buckets}
    except (DefaultCredentialsError, RefreshError) as error:
        what = "have run out or been taken back" if isinstance(error, RefreshError) else "are not found or not readable"
        raise ConfigError(
            f"the credentials for Google Cloud {what}; sign in with `gcloud auth application-default login`, or name "
            "the key of a service account in GOOGLE_APPLICATION_CREDENTIALS"
        ) from error
    told = ((f"{', '.join(flags)} {shown(paths[flags[0]])}", found[bucket]) for bucket, flags in buckets.items())
    if problems := [f"{about}: {problem}" for about, problem in told if problem]:
        raise ConfigError(*problems)


def _bucket_problem(client: Any, name: str, region: str) -> str | None:
    from google.api_core.exceptions import Forbidden, NotFound

    try:
        try:
            bucket = client.get_bucket(name)
        except Forbidden:
            # The roles for objects do not include a look at the bucket.
            next(iter(client.list_blobs(name, max_results=1)), None)
            return None
    except NotFound:
        return f"there is no bucket {name}; make it, or correct the name"
    except Forbidden:
        return f"the bucket {name} may not be read with these credentials; grant roles/storage.objectAdmin, or sign in"
    return location_problem(bucket.location, bucket.data_locations or (), region)


def location_problem(location: str | None, parts: Sequence[str], region: str) -> str | None:
    """What is wrong with a bucket in this location, as Cloud Storage writes it, for workers in this region.

    `parts` are the regions of a bucket in two regions, where Cloud Storage names them. None without a location.
    """
    places = [place.lower() for place in parts or (location or region,)]
    beginning = CONTINENTS.get(places[0].rstrip("0123456789"))
    # London and Zurich are named for Europe, and are no part of the multi-region EU.
    outside = places == ["eu"] and region in ("europe-west2", "europe-west6")
    if region in places or (beginning and region.startswith(beginning) and not outside):
        return None
    return (
        f"the bucket is in {' and '.join(places)}, the workers in {region}: every byte between them costs and takes "
        f"longer; take a bucket in {region}, or another region"
    )
