"""JSON as records have it on disk."""

import json
import re
from collections.abc import Mapping
from typing import Any

_NUMBERS = re.compile(r"\[\n\s*-?\d+(?:,\n\s*-?\d+)*\n\s*\]")
_TALLY = re.compile(r'\{\n\s*"rows": \d+,\n\s*"sum": -?\d+,\n(?:\s*"first": \d+,\n)?\s*"bins": \[[\d,]*\]\n\s*\}')


def written(content: Mapping[str, Any]) -> bytes:
    """One value a line; but a list of integers, and a tally of a summary, on one line."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    # No string of JSON has the end of a line in it, so neither pattern can be found in one.
    for pattern in (_NUMBERS, _TALLY):
        text = pattern.sub(lambda found: "".join(line.strip() for line in found[0].split("\n")), text)
    return (text + "\n").encode()
