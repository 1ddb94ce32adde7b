"""Published rows of two runs that must be the same: exactly, but for the last digits of what the model computed.

Two runs may put rows into other micro-batches, for instance when a runner hands out splits in another order. Then sums
are rounded differently (1e-6 of a probability at most; see `score_rows`).
"""

from typing import Any

import pytest

Rows = list[dict[str, Any]]
COMPUTED = ("probability", "probabilities", "value")


def assert_same_rows(found: Rows, expected: Rows) -> None:
    """Rows in the same order with the same labels, and numbers of the model within 1e-5."""
    assert expected
    assert [_exact(row) for row in found] == [_exact(row) for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert _computed(row) == pytest.approx(_computed(other), abs=1e-5), row["id"]


def _exact(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in COMPUTED}


def _computed(row: dict[str, Any]) -> dict[str, float]:
    """The numbers by name; probabilities by label, since two that are nearly equal may change places."""
    found = {name: row[name] for name in ("probability", "value") if row.get(name) is not None}
    return found | {f"of {entry['label']}": entry["probability"] for entry in row.get("probabilities") or []}
