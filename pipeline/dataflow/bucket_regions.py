"""Which regions a bucket of Cloud Storage lies in."""

from collections.abc import Iterable

MULTI_REGIONS = {"US": "us-", "EU": "europe-", "ASIA": "asia-"}
"""What the names of the regions in a multi-region begin with."""
OUTSIDE = {"EU": ("europe-west2", "europe-west6")}
"""Regions that their name puts into a multi-region that leaves them out."""
DUAL_REGIONS = {
    "NAM4": ("us-central1", "us-east1"),
    "EUR4": ("europe-north1", "europe-west4"),
    "EUR5": ("europe-west1", "europe-west2"),
    "EUR7": ("europe-west2", "europe-west3"),
    "EUR8": ("europe-west3", "europe-west6"),
    "ASIA1": ("asia-northeast1", "asia-northeast2"),
}


def place_problem(location: str | None, parts: Iterable[str], region: str) -> str | None:
    """What is wrong with a bucket in this location, as Cloud Storage writes it, for workers in this region.

    `parts` are the regions of a bucket in two regions of the user's choice. A location that is not known is none.
    """
    regions = [part.lower() for part in parts] or list(DUAL_REGIONS.get((location or "").upper(), ()))
    if location is None or location.lower() == region or region in regions:
        return None
    beginning, outside = MULTI_REGIONS.get(location.upper()), OUTSIDE.get(location.upper(), ())
    if not regions and beginning and region.startswith(beginning) and region not in outside:
        return None
    where = " and ".join(regions) or (f"the multi-region {location}" if beginning else location.lower())
    return (
        f"the bucket is in {where}, the workers in {region}: every byte between them costs and takes longer; "
        f"take a bucket in {region}, or another region"
    )
