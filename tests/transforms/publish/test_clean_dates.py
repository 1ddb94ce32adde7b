"""Dates that were kept long enough go, and no reader finds a manifest of missing files. On a disk and on gs://."""

import datetime as dt
from typing import Any

import pytest
from support.runs.cleaning import (
    DEATHS,
    NOW,
    OTHER,
    clean,
    everything,
    folder_of,
    left,
    old_run,
)
from support.runs.publishing import (
    DATE,
    Killed,
    assert_holds,
    die,
    read_parts,
    ready,
    rows_of,
    visible,
)

from transforms.publish.commit import publish
from transforms.publish.tidy import finish_pending
from transforms.runs.history import published_verdict
from transforms.runs.run import Run, read_manifest
from transforms.stores.choose import store_for

# === Dates that are kept long enough ===

KEEP_FROM = DATE + dt.timedelta(1)


def two_dates(output: str) -> tuple[Run, Run]:
    runs = old_run(output), old_run(output, date=OTHER)
    for run in runs:
        publish(run)
    return runs


def test_a_date_that_is_too_old_loses_rows_dead_letters_and_run(output: str) -> None:
    run, kept = two_dates(output)
    found = clean(output, keep_from=KEEP_FROM)
    assert [(item.what, item.why) for item in found] == [(f"dt={DATE}", "too old"), (f"run {run.run_id}", "replaced")]
    assert found[0].files == 3
    assert [path for path in everything(output) if f"dt={DATE}" in path] == [run.manifest]
    assert visible(output) == set()
    assert folder_of(run) == []
    assert_holds(output, kept)
    assert published_verdict(output, DATE) is None
    assert clean(output, keep_from=KEEP_FROM) == []


def test_its_manifest_stays_so_that_the_sequence_goes_on(output: str) -> None:
    run, _ = two_dates(output)
    planned_before = ready(output, started=NOW)
    clean(output, keep_from=KEEP_FROM)
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    assert (manifest["sequence"], manifest["finished"], manifest["expired"]) == (2, True, True)
    assert (manifest["files"], manifest["dead_letters"], manifest["inputs"]) == ([], [], [])
    assert manifest["counts"] == {"read": 0, "scored": 0, "skipped": 0, "dead": 0}
    assert publish(planned_before).status == "superseded"
    again = ready(output)
    assert publish(again).status == "published"
    assert_holds(output, again)
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    assert (manifest["sequence"], manifest.get("expired")) == (3, None)
    assert published_verdict(output, DATE)


@pytest.mark.parametrize("step", ["swap", "tidy"])
def test_a_cleaning_killed_while_a_date_goes_never_leaves_a_manifest_of_missing_files(
    step: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = two_dates(output)
    with monkeypatch.context() as patch:
        patch.setattr(
            "transforms.publish.clean.to_bytes" if step == "swap" else "transforms.publish.clean.tidy", lambda *_: die()
        )
        with pytest.raises(Killed):
            clean(output, keep_from=KEEP_FROM)
    assert read_parts(output) == (rows_of(run) if step == "swap" else [])
    assert len(visible(output)) == 3
    finish_pending(output)
    clean(output, keep_from=KEEP_FROM)
    assert visible(output) == set()


def test_a_date_published_again_meanwhile_is_left_for_the_next_time(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_dates(output)
    newer, store = ready(output, started=NOW), type(store_for(output))
    swap, raced = store.swap, []

    def swap_late(self: Any, path: str, before: bytes | None, new: bytes) -> bool:
        if b'"expired": true' in new and not raced:
            raced.append(publish(newer).status)
        return swap(self, path, before, new)

    monkeypatch.setattr(store, "swap", swap_late)
    clean(output, keep_from=KEEP_FROM)
    assert raced == ["published"]
    assert_holds(output, newer)
    clean(output, keep_from=KEEP_FROM)
    assert visible(output) == set()


def test_without_keep_from_no_date_is_too_old(output: str) -> None:
    two_dates(output)
    there = everything(output)
    assert clean(output, now=NOW + dt.timedelta(4_000)) == []
    assert everything(output) == there


def test_a_run_of_an_expired_date_that_never_published_goes_like_any_other(output: str) -> None:
    two_dates(output)
    lost = DEATHS["committing"](output)
    clean(output, keep_from=KEEP_FROM)
    assert visible(output) == set()
    assert folder_of(lost) == [lost.verdict]


# === A server that somebody else wrote ===


@pytest.mark.slow
def test_dead_runs_and_dates_that_are_too_old_go_from_the_storage_emulator(bucket_folder: str) -> None:
    run, kept = two_dates(bucket_folder)
    for death in ("staged", "committing", "over_budget"):
        DEATHS[death](bucket_folder)
    assert len(clean(bucket_folder, keep_from=KEEP_FROM)) == 5
    assert_holds(bucket_folder, kept)
    stays = [path.removeprefix(bucket_folder + "/") for path in left(bucket_folder) if kept.run_id not in path]
    assert stays == [f"dt={DATE}/_manifest.json", f"dt={OTHER}/_manifest.json"]
    assert read_parts(bucket_folder, run.date) == []
    assert clean(bucket_folder, keep_from=KEEP_FROM) == []
