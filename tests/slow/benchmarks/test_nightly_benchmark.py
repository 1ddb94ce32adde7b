"""benchmarks/nightly/nights.py: its short form with the demo bundle, and that it would notice other rows."""

import re
import sys
from types import SimpleNamespace

import pyarrow as pa
import pytest
from support.runs.forked import Forked

from benchmarks.nightly.nights import Nights, Scale, limits, main, report
from benchmarks.nightly.scored_output import differences


def rows(**changed: list[object]) -> pa.Table:
    same = {"id": ["a", "b"], "label": ["x", "y"], "text_hash": [1, 2], "probability": [0.5, 0.75]}
    return pa.table({**same, **changed})


def test_other_rows_are_noticed() -> None:
    assert differences(rows(), rows(probability=[0.5, 0.750001])) == []
    found = {
        name: differences(rows(), rows(**{name: values}))
        for name, values in {"id": ["a", "c"], "label": ["x", "x"], "text_hash": [3, 4]}.items()
    }
    assert found == {
        "id": ["1 rows with another id"],
        "label": ["1 rows with another label"],
        "text_hash": ["2 rows with another text_hash"],
    }
    assert differences(rows(), rows(probability=[0.5, 0.8])) == ["probabilities off by 0.05"]
    assert differences(rows(), rows().slice(1)) == ["1 rows, not 2"]


def test_a_limit_counts_against_the_full_run() -> None:
    figures = {"until_killed": 95.0, "staged_share": 0.9, "carried": 9, "taken_over": 9, "splits": 10}
    kept = Nights(full=100, unchanged=10, resumed=25, **figures)
    missed = Nights(full=100, unchanged=11, resumed=26, **figures)
    assert [[bar.kept for bar in limits(nights)] for nights in (kept, missed)] == [[True] * 2, [False] * 2]
    assert "9 of 10 splits taken over | 25.0 |" in report(kept, Scale())


def test_unchanged_and_killed_nights_publish_the_same_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Times of whole commands are for the long form: here their processes are forked.
    monkeypatch.setattr("benchmarks.nightly.scored_output.subprocess", SimpleNamespace(Popen=Forked))
    monkeypatch.setattr(sys, "argv", ["nights.py", "--short"])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().out
    assert end.value.code == 0, said
    taken_over = re.search(r"splits taken over: (\d+) of (\d+)", said)
    assert taken_over, said
    assert 0 < int(taken_over[1]) < int(taken_over[2])
