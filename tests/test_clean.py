"""Cleaning: what dead runs left goes, what counts stays, and nobody who is slow is hurt. On a disk and on gs://."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from publishing import (
    DATE,
    assert_holds,
    books,
    dead,
    judge_and_publish_books,
    judged,
    planned,
    read_parts,
    ready,
    rows_of,
    scored,
    visible,
)
from test_publish import COMMITTED, Killed, before, die, status

from transforms.clean import REPLACED_DAYS, Cleaned
from transforms.clean import clean as clean_lazily
from transforms.history import published
from transforms.local import LocalStore
from transforms.publish import STEPS, PublishError, finish_pending, publish
from transforms.runs import ErrorBudget, Run, read_manifest, run_file
from transforms.stores import join, store_for
from transforms.verdicts import claim

# Claims carry the time of the clock, so everything here is told from it.
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
LONG_AGO = NOW - dt.timedelta(5)
OTHER = DATE + dt.timedelta(1)


def clean(output: str, *, now: dt.datetime = NOW, days: float = 2, **options: Any) -> list[Cleaned]:
    return list(clean_lazily(output, now=now, older_than=dt.timedelta(days), **options))


def everything(output: str) -> dict[str, bytes | None]:
    return {path: store_for(output).read(path) for path in store_for(output).list(output)}


def folder_of(run: Run) -> list[str]:
    return store_for(run.output).list(run.file(""))


def old_run(output: str, **settings: Any) -> Run:
    return ready(output, started=LONG_AGO, **settings)


def killed_at(step: str) -> Callable[[str], Run]:
    def make(output: str) -> Run:
        run = old_run(output)
        with pytest.raises(Killed):
            publish(run, before(step, die))
        return run

    return make


def only_staged(output: str) -> Run:
    run = planned(output, started=LONG_AGO)
    scored(run)
    dead(run, [4])
    return run


def unbalanced(output: str) -> Run:
    run = planned(output, started=LONG_AGO)
    read, files, dead_files = books(run)
    with pytest.raises(PublishError):
        judge_and_publish_books(run, (read, files[1:], dead_files))
    return run


def over_budget(output: str) -> Run:
    run = planned(output, started=LONG_AGO, budget=ErrorBudget(fraction=0))
    with pytest.raises(PublishError):
        judge_and_publish_books(run, books(run))
    return run


def superseded(output: str) -> Run:
    run = old_run(output)
    publish(ready(output, started=LONG_AGO))
    assert publish(run).status == "superseded"
    return run


DEATHS: dict[str, Callable[[str], Run]] = {
    "planned": lambda output: planned(output, started=LONG_AGO),
    "staged": only_staged,
    "judged": old_run,
    "copying": killed_at("copy"),
    "committing": killed_at("commit"),
    "unbalanced": unbalanced,
    "over_budget": over_budget,
    "superseded": superseded,
}


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
    files = {path for path in everything(output) if run.run_id in path}
    found = clean(output, days=4)
    assert [(item.what, item.files, item.kept) for item in found if run.run_id in item.what] == [
        (f"run {run.run_id}", len(files), False)
    ]
    assert not [path for path in everything(output) if run.run_id in path]
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
    assert list((tmp_path / "_runs").iterdir()) == []


def test_copies_cut_short_go_with_their_run(tmp_path: Path) -> None:
    run = DEATHS["committing"](str(tmp_path))
    half = tmp_path / f"dt={DATE}" / f".part-{run.run_id}-00001.parquet.0123abcd.tmp"
    half.write_bytes(b"half")
    clean(str(tmp_path))
    assert not half.exists()


def test_parts_of_a_run_whose_folder_is_gone_go(output: str) -> None:
    run = DEATHS["committing"](output)
    for path in folder_of(run):
        store_for(output).delete(path)
    assert visible(output)
    assert [item.why for item in clean(output)] == ["not ended"]
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
        assert not [path for path in everything(output) if run.run_id in path]


@pytest.mark.parametrize("rows", [("a", "b", "c", "d"), ()])
def test_a_publisher_in_the_middle_of_its_swap_is_waited_for(
    rows: tuple[str, ...], output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(output, started=LONG_AGO, rows=len(rows))
    judged(run, books(run, rows, []))
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
    assert everything(output) == {}


def test_a_run_killed_right_before_its_swap_can_still_be_published(output: str) -> None:
    run = DEATHS["committing"](output)
    assert claim(run.verdict)
    clean(output)
    assert publish(run).status == "published"
    assert_holds(output, run)


@pytest.mark.parametrize("rows", [("a", "b", "c", "d"), ()])
def test_a_slow_run_that_was_cleaned_away_publishes_nothing(rows: tuple[str, ...], output: str) -> None:
    run = planned(output, started=LONG_AGO, rows=len(rows))
    found = books(run, rows, [])
    clean(output)
    with pytest.raises(FileNotFoundError, match="cleaned away while it worked"):
        judge_and_publish_books(run, found)
    # It had its plan in memory already.
    judged(run, found)
    with pytest.raises((PublishError, FileNotFoundError)):
        publish(run)
    assert read_manifest(run.manifest) == (None, None)
    clean(output, now=NOW + dt.timedelta(3))
    assert everything(output) == {}


def test_a_run_whose_cleaning_has_begun_is_not_published(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = old_run(output)
    with monkeypatch.context() as patch:
        patch.setattr("transforms.clean._delete_files", lambda *_: die())
        with pytest.raises(Killed):
            clean(output)
    assert status(run) == "abandoned"
    with pytest.raises(PublishError, match="taken for dead"):
        publish(run)
    assert [item.why for item in clean(output)] == ["cleaned by half"]
    assert everything(output) == {}


def test_a_publisher_that_comes_while_the_files_go_publishes_nothing(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms import clean as code

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
        assert folder_of(run) == []


@pytest.mark.parametrize("published_before", [True, False])
def test_a_run_published_while_the_others_were_listed_is_kept(
    published_before: bool, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms import clean as code

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
    found = books(run)
    clean(output)
    judged(run, found)
    assert publish(run, lambda step: clean(output) and None).status == "published"
    assert_holds(output, run)
    assert folder_of(lost) == []


def test_two_cleanings_at_once_end_as_one(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from transforms import clean as code

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
    assert [path for path in everything(output) if "_runs" in path and old.run_id not in path] == []


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
    assert folder_of(replaced) == folder_of(in_the_future) == []


def test_a_broken_manifest_keeps_the_runs_of_its_date_and_no_others(output: str) -> None:
    kept, gone = DEATHS["committing"](output), old_run(output, date=OTHER)
    store_for(output).write(kept.manifest, b"{")
    there = {path: data for path, data in everything(output).items() if gone.run_id not in path}
    found = clean(output, keep_from=DATE + dt.timedelta(9))
    assert {item.what: item.kept for item in found} == {f"run {kept.run_id}": True, f"run {gone.run_id}": False}
    assert everything(output) == there


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
    assert published(output, DATE) is None
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
    assert published(output, DATE)


@pytest.mark.parametrize("step", ["swap", "tidy"])
def test_a_cleaning_killed_while_a_date_goes_never_leaves_a_manifest_of_missing_files(
    step: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = two_dates(output)
    with monkeypatch.context() as patch:
        patch.setattr("transforms.clean.to_bytes" if step == "swap" else "transforms.clean.tidy", lambda *_: die())
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
    assert not store_for(output).list(run_file(output, lost.run_id, ""))


# === A server that somebody else wrote ===


def test_dead_runs_and_dates_that_are_too_old_go_from_the_storage_emulator(bucket_folder: str) -> None:
    run, kept = two_dates(bucket_folder)
    for death in ("staged", "committing", "over_budget"):
        DEATHS[death](bucket_folder)
    assert len(clean(bucket_folder, keep_from=KEEP_FROM)) == 5
    assert_holds(bucket_folder, kept)
    left = [path.removeprefix(bucket_folder + "/") for path in everything(bucket_folder) if kept.run_id not in path]
    assert left == [f"dt={DATE}/_manifest.json", f"dt={OTHER}/_manifest.json"]
    assert read_parts(bucket_folder, run.date) == []
    assert clean(bucket_folder, keep_from=KEEP_FROM) == []
