"""What the commands show of an output."""

import json
from typing import Any

from support.commands import invoke

from transforms.runs.history import Unpublished, list_runs, read_manifests, unpublished


def not_published(output: str) -> list[Unpublished]:
    return unpublished(output, list(list_runs(output)), read_manifests(output))


def shown(output: str) -> Any:
    code, out, err = invoke("runs", "--output", output, "--format", "json")
    assert (code, err) == (0, "")
    return json.loads(out)
