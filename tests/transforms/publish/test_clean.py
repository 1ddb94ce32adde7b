"""Cleaning: what dead runs left goes, and what counts stays. On a disk and on gs://."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.runs.cleaning import (
    DEATHS,
    LONG_AGO,
    NOW,
    OTHER,
    clean,
    everything,
    folder_of,
    killed_at,
    left,
    old_run,
    superseded,
)
from support.runs.publishing import (
    COMMITTED,
    DATE,
    assert_holds,
    planned,
    ready,
    status,
    visible,
)

from transforms.errors import LockedError, RecordError
from transforms.publish import clean as cleaning
from transforms.publish.clean import REPLACED_DAYS, TOMBSTONE_DAYS
from transforms.publish.commit import publish
from transforms.runs.run import read_manifest
from transforms.stores.choose import store_for
from transforms.stores.paths import join

# === Dead runs ===


@pytest.mark.parametrize("published_before", [True, False])
@pytest.mark.parametrize("death", DEATHS)
def test_a_dead_run_goes_with_all_it_left_and_the_published_rows_stay(
    death: str, published_before: bool, output: str
) -> None:
    other = ready(output, date=OTHER)
    publish(other)
    old = ready(output, started=LONG_AGO)
    if published_before:
        publish(old)
    run = DEATHS[death](output)
    holds = read_manifest(run.manifest)
    files = {path for path in everything(output) if run.run_id in path and path != run.verdict}
    found = clean(output, days=4)
    assert [(item.what, item.files, item.kept) for item in found if run.run_id in item.what] == [
        (f"run {run.run_id}", len(files), False)
    ]
    assert [path for path in everything(output) if run.run_id in path] == [run.verdict]
    assert status(run) == "abandoned"
    assert read_manifest(run.manifest) == holds
    assert_holds(output, other)
    if published_before and death != "superseded":
        assert_holds(output, old)
    assert clean(output, days=4) == []


@pytest.mark.parametrize("death", DEATHS)
def test_a_run_that_is_not_old_is_left_alone(death: str, output: str) -> None:
    DEATHS[death](output)
    there = everything(output)
    assert clean(output, days=6) == []
    assert everything(output) == there


def test_a_dry_run_says_the_same_and_changes_nothing(output: str) -> None:
    for number, death in enumerate(DEATHS.values()):
        if death is not superseded:
            death(output)
        publish(ready(output, date=DATE - dt.timedelta(number + 1), started=LONG_AGO))
    options = {"days": 4, "keep_from": DATE - dt.timedelta(3)}
    there = everything(output)
    told = clean(output, dry_run=True, **options)
    assert everything(output) == there
    done = clean(output, **options)
    assert {item.why for item in done} >= {"too old", "replaced", "not ended", "not published", "unbalanced"}
    # The end that is written into a verdict makes it longer before it goes.
    assert told == [replace(item, bytes=before.bytes) for item, before in zip(done, told, strict=True)]
    assert sum(item.bytes for item in told) > 1_000


def test_the_folder_of_a_run_is_gone_too(tmp_path: Path) -> None:
    run = DEATHS["committing"](str(tmp_path))
    assert (tmp_path / "_runs" / run.run_id).exists()
    clean(str(tmp_path))
    assert {path.name for path in (tmp_path / "_runs" / run.run_id).iterdir()} == {"verdict.json", ".verdict.json.lock"}
    clean(str(tmp_path), now=NOW + dt.timedelta(TOMBSTONE_DAYS))
    assert list((tmp_path / "_runs").iterdir()) == []


def test_copies_cut_short_go_with_their_run(tmp_path: Path) -> None:
    run = DEATHS["committing"](str(tmp_path))
    half = tmp_path / f"dt={DATE}" / f".part-{run.run_id}-00001.parquet.0123abcd.tmp"
    half.write_bytes(b"half")
    clean(str(tmp_path))
    assert not half.exists()


def test_parts_of_a_run_of_which_nothing_is_known_stay(output: str) -> None:
    run = DEATHS["committing"](output)
    for path in folder_of(run):
        store_for(output).delete(path)
    there = everything(output)
    assert visible(output)
    assert clean(output) == []
    assert everything(output) == there


def test_a_part_that_is_copied_after_the_cleaning_goes_the_next_time(output: str) -> None:
    run = DEATHS["committing"](output)
    part = join(output, sorted(visible(output))[-1])
    data = store_for(output).read(part)
    clean(output)
    assert data
    store_for(output).write(part, data)
    assert [(item.why, item.files) for item in clean(output)] == [("cleaned away", 1)]
    store_for(output).write(part, data)
    publish(ready(output, started=NOW))
    assert store_for(output).stat(part) is None
    assert left(output).keys() == everything(output).keys() - {run.verdict}
    assert clean(output) == []


def test_what_stays_of_a_run_that_was_cleaned_away_goes_a_month_later(output: str) -> None:
    run = DEATHS["over_budget"](output)
    clean(output)
    assert clean(output, now=NOW + dt.timedelta(TOMBSTONE_DAYS - 1)) == []
    assert list(everything(output)) == [run.verdict]
    assert [item.files for item in clean(output, now=NOW + dt.timedelta(TOMBSTONE_DAYS))] == [1]
    assert everything(output) == {}


def test_a_run_that_was_gone_on_with_lately_is_not_old(output: str) -> None:
    run = DEATHS["staged"](output)
    later = run.file(f"taken-{NOW:%Y%m%dT%H%M%SZ}-0123.json")
    store_for(output).write(later, b"{}")
    assert clean(output) == []
    assert [item.kept for item in clean(output, now=NOW + dt.timedelta(3))] == [False]


def test_files_that_are_no_runs_stay(output: str) -> None:
    for name in ("_runs/README.md", "_runs/mine/x.json", f"dt={DATE}/part-mine-1.parquet", "dt=x/part-1.parquet"):
        store_for(output).write(join(output, name), b"x")
    there = everything(output)
    assert clean(output, days=0) == []
    assert everything(output) == there


@pytest.mark.parametrize("missing", [True, False])
def test_there_may_be_nothing_to_clean(missing: bool, tmp_path: Path) -> None:
    assert clean(str(tmp_path / "nowhere" if missing else tmp_path), keep_from=DATE) == []
    assert list(tmp_path.iterdir()) == []


# === Pending dates, replaced runs, clocks ===


@pytest.mark.parametrize("step", COMMITTED)
def test_what_was_committed_is_finished_first_and_kept(step: str, output: str) -> None:
    old = old_run(output)
    publish(old)
    run = killed_at(step)(output)
    clean(output)
    assert_holds(output, run)
    assert status(run) == "published"
    assert folder_of(run)


def test_the_plan_of_a_run_that_was_replaced_is_kept_a_while_and_that_of_the_other_always(output: str) -> None:
    first, second = old_run(output), None
    publish(first)
    second = old_run(output)
    publish(second)
    assert clean(output) == []
    found = clean(output, now=LONG_AGO + dt.timedelta(REPLACED_DAYS + 1))
    assert [(item.what, item.why) for item in found] == [(f"run {first.run_id}", "replaced")]
    assert clean(output, now=NOW + dt.timedelta(4_000)) == []
    assert_holds(output, second)
    assert len(folder_of(second)) == 2


def test_a_clock_that_was_set_back_deletes_no_run_that_counts(output: str) -> None:
    replaced = ready(output, started=NOW + dt.timedelta(400))
    publish(replaced)
    counts = ready(output, started=NOW - dt.timedelta(400))
    publish(counts)
    in_the_future = ready(output, started=NOW + dt.timedelta(1))
    there = everything(output)
    assert clean(output) == []
    assert everything(output) == there
    clean(output, now=NOW + dt.timedelta(500))
    assert_holds(output, counts)
    assert folder_of(counts)
    assert (folder_of(replaced), folder_of(in_the_future)) == ([], [in_the_future.verdict])


def test_a_broken_manifest_keeps_the_runs_of_its_date_and_no_others(output: str) -> None:
    kept, gone = DEATHS["committing"](output), old_run(output, date=OTHER)
    store_for(output).write(kept.manifest, b"{")
    there = {path: data for path, data in everything(output).items() if gone.run_id not in path}
    found = clean(output, keep_from=DATE + dt.timedelta(9))
    assert {item.what: item.kept for item in found} == {f"run {kept.run_id}": True, f"run {gone.run_id}": False}
    assert left(output) == there


def test_rows_whose_manifest_somebody_deleted_are_not_deleted_too(output: str) -> None:
    run = old_run(output)
    publish(run)
    store_for(output).delete(run.manifest)
    there = everything(output)
    assert [item.kept for item in clean(output, now=NOW + dt.timedelta(100))] == [True]
    assert everything(output) == there


def test_a_run_whose_files_are_damaged_is_named_or_goes(output: str) -> None:
    plan, verdict = old_run(output), old_run(output)
    store_for(output).write(plan.plan, b"damaged")
    store_for(output).write(verdict.verdict, b"damaged")
    found = {item.what: item.kept for item in clean(output)}
    assert found == {f"run {plan.run_id}": False, f"run {verdict.run_id}": True}


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), LockedError("held"), RecordError("torn")])
def test_a_run_that_may_not_be_touched_stops_no_other(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = str(tmp_path / "out")
    first, second = (planned(output, started=LONG_AGO - dt.timedelta(days)) for days in (2, 1))
    real = cleaning._delete

    def refuses(output: str, run: Any, *more: Any) -> Any:
        if run.run_id == first.run_id:
            raise error
        return real(output, run, *more)

    monkeypatch.setattr(cleaning, "_delete", refuses)
    found = {one.what: one.kept for one in clean(output)}
    assert found == {f"run {first.run_id}": True, f"run {second.run_id}": False}
    assert folder_of(first)
