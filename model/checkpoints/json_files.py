"""JSON files beside a checkpoint, and what they must say."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.errors import CheckpointError


def read_json(file: Path) -> dict[str, Any]:
    """A file that holds a JSON object; raises CheckpointError for any other."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: is not JSON; restore it from its source") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file}: is not a JSON object; restore it from its source")
    return content


def require(file: Path, prefix: str, content: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises CheckpointError unless `content` has every value of `wanted`; `prefix` is where it stands in `file`."""
    for key, value in wanted.items():
        if content.get(key) != value:
            raise CheckpointError(
                f"{file}: {prefix}{key} is {content.get(key)!r}, but only {value!r} can be imitated: the tokens would "
                "differ. Use a model with a standard BERT tokenizer"
            )
