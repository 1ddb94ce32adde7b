"""`publish RUN_ID` and `clean`: a run that is there is published, or told why not."""

import datetime as dt
import json
from pathlib import Path

import pytest
from support.commands import invoke
from support.runs.cleaning import DEATHS, NOW, old_run
from support.runs.history import not_published, shown
from support.runs.publishing import (
    DATE,
    Killed,
    before,
    die,
    judge_and_publish_counts,
    judged,
    planned,
    ready,
    row_counts,
)

from transforms.publish.clean import clean
from transforms.publish.commit import publish
from transforms.runs.history import list_runs, published_verdict
from transforms.runs.run import read_manifest
from transforms.stores.choose import store_for

# === Publishing a run that is there ===


def test_a_run_that_died_after_its_verdict_is_published_by_its_id(output: str) -> None:
    run = DEATHS["committing"](output)
    code, out, _ = invoke("publish", run.run_id, "--output", output)
    assert (code, f"published {run.folder}" in out, "5 read = 4 scored + 1 dead letters" in out) == (0, True, True)
    code, out, _ = invoke("publish", run.run_id, "--output", output, "--log-format", "json")
    assert (code, json.loads(out)["event"]) == (0, "published")


@pytest.mark.parametrize(
    ("death", "code", "message"),
    [
        ("staged", 1, "has not come to its end"),
        ("unbalanced", 1, "nothing was published: split"),
        ("over_budget", 3, "1 of 5 rows are dead letters"),
        ("superseded", 4, "another run of the date"),
    ],
)
def test_publish_ends_as_score_would_have(death: str, code: int, message: str, output: str) -> None:
    run = DEATHS[death](output)
    found, _, err = invoke("publish", run.run_id, "--output", output)
    assert (found, message in err) == (code, True), err
    assert len(err.strip().splitlines()) == 1


def test_an_unknown_run_is_refused_with_the_newest_there_are(output: str) -> None:
    code, _, err = invoke("publish", "20261122T020003Z-000000", "--output", output)
    assert (code, "there are none" in err) == (2, True)
    runs = [ready(output) for _ in range(7)]
    code, _, err = invoke("publish", "20261122T020003Z-000000", "--output", output)
    assert code == 2
    assert [run.run_id in err for run in runs] == [False] * 2 + [True] * 5


def test_a_staged_file_that_is_gone_ends_with_1(output: str) -> None:
    run = ready(output)
    store_for(output).delete(next(path for path in store_for(output).list(run.staged) if path.endswith(".parquet")))
    code, _, err = invoke("publish", run.run_id, "--output", output)
    assert (code, "a staged file is gone, changed or not visible here" in err) == (1, True)


def test_a_run_of_a_date_deleted_for_its_age_is_told_so(output: str) -> None:
    publish(old_run(output))
    run = ready(output, started=NOW)
    list(clean(output, now=NOW, older_than=dt.timedelta(2), keep_from=DATE + dt.timedelta(1)))
    assert [(found.run_id, found.reason) for found in not_published(output)] == [
        (run.run_id, "the rows of the date were deleted for their age")
    ]
    code, _, err = invoke("publish", run.run_id, "--output", output)
    assert (code, "deleted for their age" in err, "stay" in err) == (4, True, False)


def test_publish_finishes_other_dates_first(output: str) -> None:
    other = ready(output, date=DATE + dt.timedelta(1))
    with pytest.raises(Killed):
        publish(other, before("finish", die))
    run = ready(output)
    assert invoke("publish", run.run_id, "--output", output)[0] == 0
    manifest, _ = read_manifest(other.manifest)
    assert manifest
    assert manifest["finished"]


def test_a_run_of_an_output_that_was_moved_is_not_published_elsewhere(tmp_path: Path) -> None:
    run = ready(str(tmp_path / "before"))
    (tmp_path / "before").rename(tmp_path / "after")
    code, _, err = invoke("publish", run.run_id, "--output", tmp_path / "after")
    assert (code, f"was planned for --output {tmp_path / 'before'}" in err) == (2, True)
    assert not (tmp_path / "before").exists()


def test_an_empty_run_is_published_by_its_id(output: str) -> None:
    run = planned(output, rows=0)
    judged(run, row_counts(run, [], []))
    code, out, _ = invoke("publish", run.run_id, "--output", output)
    assert (code, "0 read" in out) == (0, True)
    assert judge_and_publish_counts(run, row_counts(run, [], [])).status == "published"


def test_clean_prints_what_it_did(output: str) -> None:
    gone, published_once = DEATHS["committing"](output), old_run(output, date=DATE + dt.timedelta(1))
    publish(published_once)
    code, told, _ = invoke("clean", "--output", output, "--dry-run")
    assert (code, "would delete run" in told) == (0, True)
    assert gone.run_id in list_runs(output)
    code, out, _ = invoke("clean", "--output", output)
    assert (code, f"deleted run {gone.run_id} (not published): 10 files" in out) == (0, True), out
    assert [run["run_id"] for run in shown(output)["runs"]] == []
    assert list_runs(output)[gone.run_id] == [gone.verdict]
    assert invoke("clean", "--output", output)[1] == "deleted 0 files, 0 bytes in all\n"
    assert published_verdict(output, published_once.date)


def test_clean_keeps_the_days_it_is_told(output: str) -> None:
    today = dt.datetime.now(dt.UTC).date()
    runs = [old_run(output, date=today - dt.timedelta(day)) for day in (10, 11)]
    for run in runs:
        publish(run)
    code, out, _ = invoke("clean", "--output", output, "--keep-days", "10")
    assert (code, f"deleted dt={runs[1].date} (too old): 3 files" in out) == (0, True)
    assert published_verdict(output, runs[0].date)
    assert not published_verdict(output, runs[1].date)
    assert invoke("clean", "--output", output, "--keep-days", "0")[0] == 2
