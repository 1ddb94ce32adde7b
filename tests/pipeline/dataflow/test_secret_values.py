"""Secrets in the options of a job, which everybody who may look at the job would see."""

import pytest
from support.deploy.options import GOOD, problems

SECRETS = {
    "by name": ("--s3_secret_access_key=abc", "--s3_secret_access_key", "abc"),
    "in a label": ("--labels=api-key=k123", "--labels", "k123"),
    "in a label as JSON": ('--labels={"db_password": "x1y2"}', "--labels", "x1y2"),
    "a password in an address": ("--subnetwork=https://me:h3llo@host/x", "--subnetwork", "h3llo"),
    "a token as an experiment": ("--experiments=auth_token=t0k3n", "--experiments", "t0k3n"),
    "a private key": ("--experiments=-----BEGIN PRIVATE KEY-----", "--experiments", "BEGIN"),
    "in an image": ("--sdk_container_image=https://me:h3llo@host/x", "--sdk_container_image", "h3llo"),
    "in the mapping of an option": ("--environment_options=secret=s3s4me", "--environment_options", "s3s4me"),
}


@pytest.mark.parametrize("case", SECRETS)
def test_a_secret_is_found_and_never_shown(case: str) -> None:
    argument, flag, value = SECRETS[case]
    found = problems([*GOOD, argument])
    assert (
        f"{flag}: looks like a secret (value not shown), and whoever may see the job would see it; remove it, and give "
        "its rights to the workers' service account"
    ) in found
    assert value not in "\n".join(found)


def test_where_a_secret_is_kept_is_none() -> None:
    kept = "projects/my-project/secrets/db/versions/3"
    assert problems([*GOOD, f"--experiments=db_password={kept}", f"--s3_secret_access_key={kept}"]) == []
