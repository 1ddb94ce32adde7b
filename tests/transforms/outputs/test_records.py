"""What is read from an output is checked: one broken manifest is named, and no other date suffers from it."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import Built
from support.commands import invoke
from support.jobs import write_parquet
from support.runs.cleaning import everything, old_run
from support.runs.publishing import DATE, ready

from transforms.errors import RecordError
from transforms.outputs import records
from transforms.publish.commit import publish
from transforms.runs.history import read_manifests
from transforms.runs.run import Run, read_manifest, to_bytes
from transforms.runs.verdicts import read_verdict
from transforms.stores.choose import store_for

PATH = f"/out/dt={DATE}/_manifest.json"
PART = {
    "path": f"dt={DATE}/part-20261122T020000Z-0123ab-00000.parquet",
    "rows": 1,
    "bytes": 2,
    "checksum": "crc32c:00000000",
}
OLDEST: dict[str, Any] = {
    "sequence": 1,
    "run_id": "20261122T020000Z-0123ab",
    "logical_date": DATE.isoformat(),
    "finished": True,
    "bundle": "test@0123",
    "files": [PART],
    "dead_letters": [],
    "counts": {"read": 1, "scored": 1, "dead": 0},
}
"""With no more keys than every version has written."""
BROKEN: dict[str, bytes] = {
    "empty object": b"{}",
    "list": b"[]",
    "null": b"null",
    "nothing": b"",
    "cut off": b"{",
    "nested deeply": b"[" * 100_000,
    "nested deeply in an object": b'{"settings": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NaN": json.dumps(OLDEST | {"sequence": float("nan")}).encode(),
    "huge number": json.dumps(OLDEST).replace('"sequence": 1', '"sequence": 1e999').encode(),
    "many digits": json.dumps(OLDEST).replace('"sequence": 1', '"sequence": ' + "9" * 5_000).encode(),
    "not UTF-8": b"\xff\xfe{\x00}\x00",
    "number": b"7",
    "format of another kind": json.dumps(OLDEST | {"format": "1"}).encode(),
}
WRONG: dict[str, dict[str, Any]] = {
    "run id is a path": {"run_id": "../../victim"},
    "run id is no text": {"run_id": 7},
    "run id with more": {"run_id": "20261122T020000Z-0123ab/../x"},
    "run id in other digits": {"run_id": "٢٠٢٦1122T020000Z-0123ab"},
    "replaces a path": {"replaces": "../x"},
    "another date": {"logical_date": "2026-11-20"},
    "no date": {"logical_date": "2026-99-99"},
    "sequence is text": {"sequence": "1"},
    "sequence is a truth": {"sequence": True},
    "sequence below 1": {"sequence": 0},
    "finished is text": {"finished": "no"},
    "count is negative": {"counts": {"read": 1, "scored": -1, "dead": 0}},
    "count is a fraction": {"counts": {"read": 1.5, "scored": 1, "dead": 0}},
    "counts are a list": {"counts": []},
    "counts are not all": {"counts": {"read": 1}},
    "files are text": {"files": "x"},
    "file is null": {"files": [None]},
    "path is absolute": {"files": [PART | {"path": "/etc/passwd"}]},
    "path has a scheme": {"files": [PART | {"path": "gs://bucket/dt=2026-11-21/x"}]},
    "path leads out": {"files": [PART | {"path": f"dt={DATE}/../../x"}]},
    "path leads out at its end": {"dead_letters": [PART | {"path": f"_dead_letters/dt={DATE}/.."}]},
    "path is elsewhere in the output": {"files": [PART | {"path": "_runs/x/plan.parquet"}]},
    "staged leads out": {"files": [PART | {"staged": "../x"}]},
    "checksum is none": {"files": [PART | {"checksum": "x"}]},
    "rows are text": {"files": [PART | {"rows": "1"}]},
    "started without a zone": {"started": "2026-11-22T02:00:00"},
    "table is a list": {"table": []},
    "uploads on this disk": {"table": {"table": "p.d.t", "fields": [], "staging": "/victim"}},
    "compared with a path": {"compared_with": {"date": "2026-11-20", "run_id": "../x"}},
    "settings are null": {"settings": None},
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_no_manifest_is_named(broken: str) -> None:
    with pytest.raises(RecordError, match=rf"^{PATH}: .*restore the file"):
        records.manifest(BROKEN[broken], PATH)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_manifest_with_a_wrong_value_is_named_and_the_value_is_not(wrong: str) -> None:
    with pytest.raises(RecordError, match=rf"^{PATH}: ") as caught:
        records.manifest(json.dumps(OLDEST | WRONG[wrong]).encode(), PATH)
    assert "victim" not in str(caught.value)
    assert "passwd" not in str(caught.value)


def test_a_manifest_of_the_first_version_is_read_and_unknown_keys_stay() -> None:
    assert records.manifest(json.dumps(OLDEST).encode(), PATH)["settings"] == {}
    later = OLDEST | {"something": {"new": [1]}, "counts": {**OLDEST["counts"], "other": 3}}
    assert records.manifest(json.dumps(later).encode(), PATH).items() >= later.items()


def test_a_newer_format_says_what_to_do() -> None:
    with pytest.raises(RecordError, match=r"is of format 2; this version .* Use the version that wrote it"):
        records.manifest(json.dumps(OLDEST | {"format": 2}).encode(), PATH)


def test_a_manifest_too_large_for_any_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / f"dt={DATE}" / "_manifest.json"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RecordError, match="too large"):
        read_manifest(str(path))
    assert list(read_manifests(str(tmp_path)).broken) == [DATE.isoformat()]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda some: st.lists(some)))
def test_any_json_in_any_place_is_a_manifest_or_named(value: Any) -> None:
    for key in (*OLDEST, "settings", "table", "work", "expired", "published_at"):
        content = json.dumps(OLDEST | {key: value}).encode()
        with suppress(RecordError):
            found = records.manifest(content, PATH)
            assert found["sequence"] >= 1
            assert found["run_id"] == OLDEST["run_id"]


@pytest.mark.parametrize("broken", [*BROKEN.values(), b'{"status": "passed", "run_id": "../../x"}'])
def test_a_verdict_that_is_none_is_named(broken: bytes, tmp_path: Path) -> None:
    run = old_run(str(tmp_path))
    store_for(run.output).write(run.verdict, broken)
    with pytest.raises(RecordError, match=r"verdict\.json: "):
        read_verdict(run.verdict)
    code, out, _ = invoke("runs", "--output", tmp_path)
    assert (code, "unreadable" in out) == (0, True)
    code, _, err = invoke("publish", run.run_id, "--output", tmp_path)
    assert (code, "verdict.json" in err) == (2, True)


# === Commands beside a broken manifest ===


def two_dates(tmp_path: Path, broken: bytes) -> tuple[str, Run, Run]:
    output = str(tmp_path / "out")
    bad, good = old_run(output), old_run(output, date=DATE.replace(day=20))
    for run in (bad, good):
        publish(run)
    store_for(output).write(bad.manifest, broken)
    return output, bad, good


@pytest.mark.parametrize("broken", ["empty object", "list", "null", "nested deeply", "newer"])
def test_another_date_that_is_broken_is_named_once_and_the_command_goes_on(
    broken: str, tmp_path: Path, classes: Built
) -> None:
    content = BROKEN.get(broken, to_bytes(OLDEST | {"format": 2}))
    output, bad, good = two_dates(tmp_path, content)
    rows = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["play"]})
    code, out, err = invoke("runs", "--output", output)
    assert (code, err.count(bad.manifest)) == (0, 1)
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["2026-11-20", "2026-11-21"]
    assert "broken" in out.splitlines()[2]
    later = ready(output, date=DATE.replace(day=19))
    score = ("score", "--bundle", classes.path, "--input", rows, "--output", output, "--date")
    for command, expected in (
        ((*score, "2026-11-18"), 0),
        (("publish", later.run_id, "--output", output), 0),
        (("clean", "--output", output), 0),
        (("clean", "--output", output, "--dry-run"), 0),
        ((*score, DATE.isoformat()), 2),
        (("check", *score[1:], DATE.isoformat()), 2),
        (("inspect", bad.folder), 2),
    ):
        code, _, err = invoke(*command)
        # The own date is named once more, by the error.
        assert (code, err.count(bad.manifest) >= 1) == (expected, True), (command, err)
        assert expected or err.count(bad.manifest) == 1, (command, err)
    assert store_for(output).read(bad.manifest) == content
    assert good.manifest in everything(output)
