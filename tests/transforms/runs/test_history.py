"""What `runs` shows: every published date once, every run that did not publish, and why."""

import datetime as dt
import errno
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.cloud.fake_gcs import FakeGcs
from support.commands import invoke
from support.runs.cleaning import DEATHS, LONG_AGO, NOW, everything, old_run
from support.runs.history import not_published, shown
from support.runs.publishing import (
    DATE,
    ROWS,
    Killed,
    assert_holds,
    before,
    die,
    planned,
    ready,
)

from transforms.publish.clean import clean
from transforms.publish.commit import publish
from transforms.runs.history import find_run, published_verdict
from transforms.runs.run import Run, read_manifest, to_bytes
from transforms.runs.verdict_record import ABANDONED
from transforms.runs.verdicts import abandon
from transforms.stores.choose import store_for
from transforms.stores.paths import join


def change_manifest(run: Run, **changes: Any) -> None:
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    store_for(run.output).write(run.manifest, to_bytes({**manifest, **changes}))


# === Dates ===


def test_every_published_date_is_shown_once_newest_last(output: str) -> None:
    runs = [ready(output, date=DATE + dt.timedelta(day)) for day in (2, 0, 1, 0)]
    for run in runs[:3]:
        publish(run)
    again = ready(output)
    publish(again)
    begin = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(seconds=60)
    found = shown(output)["dates"]
    assert [(row["date"], row["run_id"]) for row in found] == [
        (DATE.isoformat(), again.run_id),
        ((DATE + dt.timedelta(1)).isoformat(), runs[2].run_id),
        ((DATE + dt.timedelta(2)).isoformat(), runs[0].run_id),
    ]
    for row in found:
        assert (row["rows"], row["dead"], row["skipped"], row["splits_taken_over"]) == (len(ROWS), 1, 0, 0)
        assert row["bundle"] == "test@0123"
        assert begin <= dt.datetime.fromisoformat(row["published_at"]) <= dt.datetime.now(dt.UTC)


def test_the_duration_is_from_the_start_to_the_swap(output: str) -> None:
    run = ready(output, started=NOW)
    publish(run)
    change_manifest(run, published_at=(run.started + dt.timedelta(hours=1, seconds=2)).isoformat())
    assert shown(output)["dates"][0]["seconds"] == 3602
    assert " 1:00:02" in invoke("runs", "--output", output)[1]


def test_counts_of_an_incremental_run_are_shown(output: str) -> None:
    run = ready(output)
    publish(run)
    counts = {"read": 5_000, "scored": 1_000, "dead": 1_000, "skipped": 3_000}
    change_manifest(run, counts=counts, splits_taken_over=17)
    _, out, _ = invoke("runs", "--output", output)
    assert out.splitlines()[1].split()[4:8] == ["4,000", "1,000", "3,000", "17"]
    row = shown(output)["dates"][0]
    assert (row["skipped"], row["splits_taken_over"]) == (3_000, 17)


def test_a_manifest_of_an_earlier_version_says_no_time(output: str) -> None:
    run = ready(output)
    publish(run)
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    del manifest["published_at"]
    store_for(output).write(run.manifest, to_bytes(manifest))
    row = shown(output)["dates"][0]
    assert (row["published_at"], row["seconds"]) == (None, None)
    assert run.run_id in invoke("runs", "--output", output)[1]


def test_a_clock_that_was_set_back_gives_no_negative_duration_and_no_wrong_run(output: str) -> None:
    first = ready(output, started=dt.datetime.now(dt.UTC) + dt.timedelta(400))
    publish(first)
    second = ready(output, started=LONG_AGO)
    publish(second)
    assert first.run_id > second.run_id
    third = ready(output, started=dt.datetime.now(dt.UTC) + dt.timedelta(300))
    found = shown(output)
    assert [row["run_id"] for row in found["dates"]] == [second.run_id]
    assert [(run["run_id"], run["state"]) for run in found["runs"]] == [(third.run_id, "passed")]
    publish(third)
    assert shown(output)["dates"][0]["seconds"] is None


def test_a_broken_manifest_of_one_date_does_not_hide_the_others(output: str) -> None:
    broken, good = ready(output), ready(output, date=DATE + dt.timedelta(1))
    for run in (broken, good):
        publish(run)
    store_for(output).write(broken.manifest, b"{")
    found = json.loads(invoke("runs", "--output", output, "--format", "json")[1])
    assert [row["run_id"] for row in found["dates"]] == [good.run_id]
    assert list(found["broken"]) == [DATE.isoformat()]
    assert found["runs"] == []
    code, out, err = invoke("runs", "--output", output)
    assert (code, good.run_id in out) == (0, True)
    assert f"dt={DATE}/_manifest.json: is not JSON" in err


def test_a_date_kept_long_enough_is_not_shown(output: str) -> None:
    publish(old_run(output))
    list(clean(output, now=NOW, older_than=dt.timedelta(2), keep_from=DATE + dt.timedelta(1)))
    assert shown(output) == {"dates": [], "runs": [], "broken": {}}
    assert published_verdict(output, DATE) is None


def test_what_is_pending_is_shown_with_the_command_that_finishes_it(output: str) -> None:
    publish(ready(output))
    run = ready(output)
    with pytest.raises(Killed):
        publish(run, before("delete_parts", die))
    there = everything(output)
    command = f"bert-batch publish {run.run_id} --output {output}"
    assert invoke("runs", "--output", output)[1].splitlines()[1].endswith(f"files pending: {command}")
    (row,) = shown(output)["dates"]
    assert (row["run_id"], row["pending"], row["finish"]) == (run.run_id, "files", command)
    assert everything(output) == there
    assert invoke(*command.split()[1:])[0] == 0
    assert_holds(output, run)
    (row,) = shown(output)["dates"]
    assert (row["pending"], "finish" in row) == (None, False)


def test_a_committed_run_is_finished_by_its_id_without_its_plan_too(output: str) -> None:
    run = ready(output)
    with pytest.raises(Killed):
        publish(run, before("delete_parts", die))
    store_for(output).delete(run.plan)
    code, out, _ = invoke("publish", run.run_id, "--output", output)
    assert (code, "5 read = 4 scored + 1 dead letters" in out) == (0, True)
    assert shown(output)["dates"][0]["pending"] is None


def test_a_date_deleted_for_its_age_that_is_pending_is_shown_with_the_command(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(old_run(output))
    options = {"now": NOW, "older_than": dt.timedelta(2), "keep_from": DATE + dt.timedelta(1)}
    with monkeypatch.context() as patch:
        patch.setattr("transforms.publish.clean.tidy", lambda *_: die())
        with pytest.raises(Killed):
            list(clean(output, **options))
    command = f"bert-batch clean --output {output}"
    assert shown(output)["expired_pending"] == {DATE.isoformat(): command}
    assert f"deleted for its age, files pending: {command}" in invoke("runs", "--output", output)[1]
    assert invoke(*command.split()[1:])[0] == 0
    assert "expired_pending" not in shown(output)


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_or_missing_output_is_no_error(there: bool, tmp_path: Path) -> None:
    output = tmp_path if there else tmp_path / "nowhere"
    assert shown(str(output)) == {"dates": [], "runs": [], "broken": {}}
    code, out, _ = invoke("runs", "--output", output)
    assert (code, out) == (0, f"{output}: nothing was published there, and no run is there\n")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_bucket_is_no_error(gcs: FakeGcs) -> None:
    assert shown("gs://bucket/nowhere") == {"dates": [], "runs": [], "broken": {}}


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    code, _, err = invoke("runs", "--output", tmp_path, "--format", "xml")
    assert (code, "use text, json or openmetrics" in err) == (2, True)


# === Runs that did not publish ===


@pytest.mark.parametrize(
    ("death", "state", "reason"),
    [
        ("planned", "not_ended", "run the job again"),
        ("staged", "not_ended", "run the job again"),
        ("judged", "passed", "bert-batch publish {run_id}"),
        ("committing", "passed", "bert-batch publish {run_id}"),
        ("unbalanced", "unbalanced", "split 0: 5 rows read"),
        ("over_budget", "over_budget", "1 of 5 rows are dead letters"),
        ("superseded", "superseded", "another run of the date was published"),
    ],
)
def test_a_run_that_did_not_publish_says_why(death: str, state: str, reason: str, output: str) -> None:
    run = DEATHS[death](output)
    (found,) = not_published(output)
    assert (found.run_id, found.date, found.state) == (run.run_id, DATE.isoformat(), state)
    reason = reason.format(run_id=run.run_id)
    assert reason.split(":")[0] in found.reason
    _, out, _ = invoke("runs", "--output", output)
    line = next(line for line in out.splitlines() if run.run_id in line and DATE.isoformat() in line)
    assert state.replace("_", " ") in line
    assert not line.endswith("…")


def test_a_run_that_was_overtaken_before_it_was_published_is_superseded(output: str) -> None:
    run = ready(output)
    publish(ready(output))
    assert [(found.run_id, found.state) for found in not_published(output)] == [(run.run_id, "superseded")]


def test_runs_that_published_are_not_among_them_also_when_they_were_replaced(output: str) -> None:
    for _ in range(3):
        publish(ready(output))
    assert not_published(output) == []


def test_damaged_files_of_a_run_hide_no_other(output: str) -> None:
    plan, verdict, abandoned, lost, good = (ready(output) for _ in range(5))
    store = store_for(output)
    store.write(plan.plan, b"damaged")
    store.write(verdict.verdict, b"damaged")
    store.delete(lost.plan)
    store.write(join(output, "_runs", "notes.txt"), b"mine")
    abandon(abandoned.verdict, abandoned.run_id, NOW)
    found = {run.run_id: run.state for run in not_published(output)}
    unreadable = dict.fromkeys((plan.run_id, verdict.run_id, lost.run_id), "unreadable")
    assert found == {**unreadable, abandoned.run_id: ABANDONED, good.run_id: "passed"}
    assert invoke("runs", "--output", output)[0] == 0


def test_a_run_is_found_as_it_was_planned(output: str) -> None:
    run = planned(output)
    assert find_run(output, run.run_id) == run
    for unknown in ("20261122T020003Z-000000", "x", "", "../x", f"{run.run_id}/staged"):
        assert find_run(output, unknown) is None


# === Many dates ===


def test_four_hundred_dates_take_two_listings_and_one_request_each(gcs: FakeGcs) -> None:
    output, dates = "gs://bucket/out", 400
    publish(ready(output))
    objects = gcs.objects()
    manifest = json.loads(objects[f"out/dt={DATE}/_manifest.json"])
    for day in range(1, dates):
        date = DATE - dt.timedelta(day)
        run_id = f"20250101T{day:06d}Z-0123ab"
        content = {**manifest, "logical_date": date.isoformat(), "run_id": run_id}
        gcs.put(f"out/dt={date}/_manifest.json", to_bytes(content))
        gcs.put(f"out/_runs/{run_id}/plan.parquet", b"never read")
        gcs.put(f"out/_runs/{run_id}/verdict.json", b"never read")
    lost = planned(output, date=DATE + dt.timedelta(1))
    gcs.requests.clear()
    found = shown(output)
    assert len(found["dates"]) == dates
    assert [run["run_id"] for run in found["runs"]] == [lost.run_id]
    paths = [request.path for request in gcs.requests]
    listings = [path for path in paths if path.endswith("/o")]
    # Pages of a listing are requests too: 3 objects a date, a thousand a page.
    assert len(listings) <= 2 * (1 + 3 * dates // 1000)
    assert sum(path.endswith("_manifest.json") and "dt%3D2" in path for path in paths) == dates
    assert len(paths) <= dates + len(listings) + 6


def test_a_date_that_nobody_may_look_into_is_named_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = str(tmp_path / "out")
    run = ready(output)
    publish(run)
    closed = tmp_path / "out" / "dt=2030-01-01"
    closed.mkdir()
    scandir, stat = os.scandir, os.stat

    def refuses(path: Any, real: Any) -> Any:
        # Root, which tests may run as, may look everywhere.
        if str(path).startswith(str(closed)):
            raise PermissionError(errno.EACCES, "Permission denied", str(closed))
        return real(path)

    monkeypatch.setattr(os, "scandir", lambda path=".": refuses(path, scandir))
    monkeypatch.setattr(io, "FileIO", _closed_file(closed))
    found = shown(output)
    assert [row["date"] for row in found["dates"]] == [DATE.isoformat()]
    assert "cannot be read (PermissionError)" in found["broken"]["2030-01-01"]
    monkeypatch.undo()
    assert stat(closed)


def _closed_file(folder: Path) -> Any:
    class Closed(io.FileIO):
        def __init__(self, path: Any, *arguments: Any, **named: Any) -> None:
            if str(path).startswith(str(folder)):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            super().__init__(path, *arguments, **named)

    return Closed


def test_an_output_that_was_copied_is_shown_by_what_lies_in_the_copy(tmp_path: Path) -> None:
    run = planned(str(tmp_path / "out"))
    job = {"job_id": "j", "project": "p", "region": "r", "url": "https://x"}
    store_for(run.output).write(run.job, json.dumps(job).encode())
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    shutil.rmtree(tmp_path / "out")
    (found,) = shown(str(tmp_path / "copy"))["runs"]
    assert (found["state"], found["job"]) == ("not_ended", job)
