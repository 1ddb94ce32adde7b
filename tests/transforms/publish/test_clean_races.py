"""Cleaning while others work: nobody who is slow is hurt, and nothing half done counts. On a disk and on gs://."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from support.runs.cleaning import (
    DEATHS,
    LONG_AGO,
    NOW,
    clean,
    everything,
    folder_of,
    killed_at,
    left,
    old_run,
)
from support.runs.publishing import (
    COMMITTED,
    Killed,
    assert_holds,
    before,
    die,
    judge_and_publish_counts,
    judged,
    planned,
    read_parts,
    ready,
    row_counts,
    rows_of,
    scored,
    status,
)

from transforms.errors import PublishError
from transforms.publish.clean import REPLACED_DAYS
from transforms.publish.commit import STEPS, publish
from transforms.runs.run import read_manifest
from transforms.runs.verdicts import claim
from transforms.stores.choose import store_for
from transforms.stores.local import LocalStore

# === Slow runs, held publishers ===


@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_held_before_any_step_publishes_whole_rows_or_none(step: str, output: str) -> None:
    old = old_run(output)
    publish(old)
    run = old_run(output)

    def meanwhile() -> None:
        clean(output)

    if step in COMMITTED:
        assert publish(run, before(step, meanwhile)).status == "published"
        assert_holds(output, run)
    else:
        with pytest.raises(PublishError, match=r"cleaned away|is gone"):
            publish(run, before(step, meanwhile))
        assert_holds(output, old)
        clean(output)
        assert [path for path in everything(output) if run.run_id in path] == [run.verdict]


@pytest.mark.parametrize("rows", [("a", "b", "c", "d"), ()])
def test_a_publisher_in_the_middle_of_its_swap_is_waited_for(
    rows: tuple[str, ...], output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(output, started=LONG_AGO, rows=len(rows))
    judged(run, row_counts(run, rows, []))
    store = type(store_for(output))
    swap, found = store.swap, []

    def swap_later(self: Any, path: str, before: bytes | None, new: bytes) -> bool:
        if path == run.manifest and not found:
            found.extend(clean(output))
        return swap(self, path, before, new)

    monkeypatch.setattr(store, "swap", swap_later)
    assert publish(run).status == "published"
    assert [(item.kept, "being published" in item.why) for item in found] == [(True, True)]
    assert read_parts(output) == rows_of(run, rows)


def test_a_run_killed_right_before_its_swap_is_dead_when_that_is_long_ago(output: str) -> None:
    run = DEATHS["committing"](output)
    assert claim(run.verdict)
    there = everything(output)
    assert [item.kept for item in clean(output)] == [True]
    assert everything(output) == there
    assert [item.kept for item in clean(output, now=NOW + dt.timedelta(3))] == [False]
    assert left(output) == {}


def test_a_run_killed_right_before_its_swap_can_still_be_published(output: str) -> None:
    run = DEATHS["committing"](output)
    assert claim(run.verdict)
    clean(output)
    assert publish(run).status == "published"
    assert_holds(output, run)


@pytest.mark.parametrize("rows", [("a", "b", "c", "d"), ()])
def test_a_slow_run_that_was_cleaned_away_publishes_nothing(rows: tuple[str, ...], output: str) -> None:
    run = planned(output, started=LONG_AGO, rows=len(rows))
    found = row_counts(run, rows, [])
    clean(output)
    with pytest.raises(PublishError, match="cleaned away"):
        judge_and_publish_counts(run, found)
    # It had its plan in memory already.
    judged(run, found)
    with pytest.raises(PublishError, match="cleaned away"):
        publish(run)
    assert read_manifest(run.manifest) == (None, None)
    scored(run, rows)
    clean(output, now=NOW + dt.timedelta(3))
    assert left(output) == {}


def test_a_run_whose_cleaning_has_begun_is_not_published(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = old_run(output)
    with monkeypatch.context() as patch:
        patch.setattr("transforms.publish.clean._delete_files", lambda *_: die())
        with pytest.raises(Killed):
            clean(output)
    assert status(run) == "abandoned"
    with pytest.raises(PublishError, match="taken for dead"):
        publish(run)
    assert [item.why for item in clean(output)] == ["cleaned away"]
    assert left(output) == {}


def test_a_publisher_that_comes_while_the_files_go_publishes_nothing(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms.publish import clean as code

    old = old_run(output)
    publish(old)
    run, delete_files = DEATHS["committing"](output), code._delete_files

    def publish_then_delete(*given: Any) -> None:
        with pytest.raises(PublishError):
            publish(run)
        delete_files(*given)

    monkeypatch.setattr(code, "_delete_files", publish_then_delete)
    assert len(clean(output)) == 1
    assert_holds(output, old)


def test_a_cleaning_killed_at_any_file_can_be_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delete = LocalStore.delete
    for count in range(8):
        output = str(tmp_path / str(count))
        old = ready(output, started=LONG_AGO)
        publish(old)
        run = killed_at("commit")(output)
        left = [count]

        def delete_some(self: LocalStore, path: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            delete(self, path)

        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "delete", delete_some)
            with pytest.raises(Killed):
                clean(output)
        assert read_parts(output) == rows_of(old)
        with pytest.raises((PublishError, FileNotFoundError)):
            publish(run)
        clean(output)
        assert_holds(output, old)
        assert folder_of(run) == [run.verdict]


@pytest.mark.parametrize("published_before", [True, False])
def test_a_run_published_while_the_others_were_listed_is_kept(
    published_before: bool, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms.publish import clean as code

    if published_before:
        publish(ready(output, started=NOW))
    run, look = ready(output, started=NOW - dt.timedelta(REPLACED_DAYS + 5)), code._dates_with_parts

    def publish_then_look(output: str) -> dict[str, set[str]]:
        publish(run)
        return look(output)

    monkeypatch.setattr(code, "_dates_with_parts", publish_then_look)
    assert [item.kept for item in clean(output)] == [True]
    assert_holds(output, run)
    assert folder_of(run)


def test_a_score_that_runs_meanwhile_is_not_disturbed(output: str) -> None:
    publish(old_run(output))
    lost = DEATHS["committing"](output)
    run = planned(output, started=NOW)
    found = row_counts(run)
    clean(output)
    judged(run, found)
    assert publish(run, lambda step: clean(output) and None).status == "published"
    assert_holds(output, run)
    assert folder_of(lost) == [lost.verdict]


def test_two_cleanings_at_once_end_as_one(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from transforms.publish import clean as code

    old = old_run(output)
    publish(old)
    for death in ("staged", "committing", "over_budget"):
        DEATHS[death](output)
    delete_files, inner = code._delete_files, []

    def clean_first(*given: Any) -> None:
        if not inner:
            inner.append(True)
            inner.extend(clean(output))
        delete_files(*given)

    monkeypatch.setattr(code, "_delete_files", clean_first)
    clean(output)
    assert len(inner) > 1
    assert_holds(output, old)
    assert [path for path in left(output) if "_runs" in path and old.run_id not in path] == []
