"""Profiles of the tests."""

from typing import Any

IMAGE = "europe-docker.pkg.dev/my-project/images/bert-batch@sha256:" + "0123456789abcdef" * 4

OF_THE_USER = {"project": "my-project", "region": "us-central1", "temp": "gs://my-bucket/temp", "image": IMAGE}

CPU: dict[str, Any] = {"runner": "dataflow", **OF_THE_USER, "max_workers": 3, "labels": {"team": "search"}}

L4 = {"type": "nvidia-l4", "machine_type": "g2-standard-4"}
