"""Publishers that are held, overtaken, or tidy up beside each other, and readers meanwhile: on a disk and on gs://."""

import datetime as dt
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.runs.publishing import (
    COMMITTED,
    DATE,
    ROWS,
    Killed,
    assert_holds,
    before,
    die,
    read_parts,
    ready,
    rows_of,
    status,
    visible,
)

from transforms.publish import commit as publishing_code
from transforms.publish.commit import STEPS, publish
from transforms.publish.tidy import finish_pending, tidy
from transforms.runs.run import Run, read_manifest
from transforms.stores.choose import store_for

# === Held, and overtaken ===


@pytest.mark.parametrize("planned_when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_held_before_a_step_never_undoes_a_newer_run(step: str, planned_when: str, output: str) -> None:
    publish(ready(output))
    older = ready(output)
    newer: list[Run] = [ready(output)] if planned_when == "before" else []

    def overtake() -> None:
        if not newer:
            newer.append(ready(output))
        publish(newer[0])

    verdict = publish(older, before(step, overtake))
    first_wins = step in COMMITTED
    loses = first_wins and planned_when == "before"
    # The date is the newer run's: the older one ends superseded, even where it was published for a moment.
    assert verdict.status == ("published" if loses else "superseded")
    assert status(older) == ("published" if first_wins else "superseded")
    assert status(newer[0]) == ("superseded" if loses else "published")
    assert_holds(output, older if loses else newer[0])


@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_that_wakes_after_its_run_was_published_and_replaced_changes_nothing(
    step: str, output: str
) -> None:
    run, newer = ready(output), []

    def meanwhile() -> None:
        publish(run)
        newer.append(ready(output))
        publish(newer[0])

    assert publish(run, before(step, meanwhile)).status == "superseded"
    assert status(run) == "published", "what it was once stays written down"
    assert_holds(output, newer[0])


@pytest.mark.parametrize("meanwhile", ["other_run", "same_run", "same_run_then_other"])
def test_a_publisher_overtaken_while_it_copies_leaves_nothing_of_its_own(
    meanwhile: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = ready(output), ready(output)
    calls: list[Run] = []

    def look_and_be_overtaken(run: Run, manifest: dict[str, Any] | None) -> bool:
        found = is_open(run, manifest)
        calls.append(run)
        if len(calls) == 1:
            if meanwhile != "other_run":
                publish(run)
            if meanwhile == "same_run_then_other":
                publish(replace(other, sequence=1))
            elif meanwhile == "other_run":
                publish(other)
        return found

    is_open = publishing_code.is_open
    monkeypatch.setattr(publishing_code, "is_open", look_and_be_overtaken)
    verdict = publish(run)
    assert calls[0] == run
    assert verdict.status == ("published" if meanwhile == "same_run" else "superseded")
    assert status(run) == ("superseded" if meanwhile == "other_run" else "published")
    assert_holds(output, run if meanwhile == "same_run" else other)


def test_a_run_known_to_have_lost_copies_nothing(output: str) -> None:
    late, early = ready(output), ready(output)
    publish(early)
    publish(late, before("commit", lambda: assert_holds(output, early)))


@pytest.mark.parametrize("step", COMMITTED)
def test_a_run_replaced_before_it_could_report_was_published_all_the_same(step: str, output: str) -> None:
    run = ready(output)
    with pytest.raises(Killed):
        publish(run, before(step, die))
    newer = ready(output)
    publish(newer)
    # The runner tries again, and sees that the date belongs to another run.
    assert publish(run).status == "superseded"
    assert status(run) == "published"
    assert_holds(output, newer)


@pytest.mark.parametrize("same_run", [True, False])
@pytest.mark.parametrize("held", STEPS)
def test_one_held_and_another_killed_at_any_step_end_with_one_run_published(
    held: str, same_run: bool, tmp_path: Path
) -> None:
    for killed in STEPS:
        output = str(tmp_path / killed)
        publish(ready(output))
        first = ready(output)
        second = first if same_run else ready(output)

        def dies(second: Run = second, killed: str = killed) -> None:
            with pytest.raises(Killed):
                publish(second, before(killed, die))

        # A run that is superseded passes fewer steps; then nobody dies.
        verdict = publish(first, before(held, dies)) if same_run or held not in COMMITTED else publish(first)
        ends = {verdict.status, publish(second).status}
        assert ends == ({"published"} if same_run else {"published", "superseded"})
        assert_holds(output, first if verdict.status == "published" else second)


def test_tidying_spares_what_a_run_planned_later_has_prepared(output: str) -> None:
    run = ready(output)
    with pytest.raises(Killed):
        publish(run, before("delete_parts", die))
    later = ready(output)
    with pytest.raises(Killed):
        publish(later, before("commit", die))
    prepared = visible(output)
    assert len(prepared) == 6
    assert finish_pending(output) == [run.run_id]
    assert visible(output) == prepared
    assert publish(later).status == "published"
    assert_holds(output, later)


@pytest.mark.parametrize("cleaned_away", [False, True])
def test_what_a_lost_run_had_prepared_is_deleted_by_the_next_one(cleaned_away: bool, output: str) -> None:
    lost, run = ready(output), ready(output)
    with pytest.raises(Killed):
        publish(lost, before("commit", die))
    if cleaned_away:
        store_for(output).delete(lost.plan)
    publish(run)
    assert_holds(output, run)


@pytest.mark.parametrize("damaged", [b"PAR1 cut", b"", b"PAR1" + b"\xff" * 40 + b"\x20\0\0\0PAR1"])
def test_parts_of_a_run_whose_plan_is_damaged_are_left_and_nothing_stops(damaged: bytes, output: str) -> None:
    other, run = ready(output), ready(output)
    with pytest.raises(Killed):
        publish(other, before("commit", die))
    prepared = visible(output)
    store_for(output).write(other.plan, damaged)
    assert publish(run).status == "published"
    assert (prepared < visible(output), read_parts(output)) == (True, rows_of(run))


def test_whatever_stops_the_finishing_of_one_date_the_others_are_finished_and_no_text_is_logged(
    output: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from transforms.publish import tidy as code

    stuck, run = ready(output), ready(output, date=DATE + dt.timedelta(1))
    for each in (stuck, run):
        with pytest.raises(Killed):
            publish(each, before("delete_parts", die))
    delete_replaced = code._delete_replaced

    def refuse(*given: Any) -> None:
        if stuck.run_id in given:
            raise PermissionError("a text of somebody")
        delete_replaced(*given)

    with monkeypatch.context() as patch:
        patch.setattr(code, "_delete_replaced", refuse)
        assert finish_pending(output) == [run.run_id]
    assert caplog.messages == [f"{stuck.manifest}: cannot be finished: PermissionError"]
    assert finish_pending(output) == [stuck.run_id]
    assert_holds(output, stuck)


def test_a_run_published_and_cleaned_away_while_tidying_looked_is_spared(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ready(output)
    with pytest.raises(Killed):
        publish(run, before("delete_parts", die))
    later = ready(output)
    with pytest.raises(Killed):
        publish(later, before("commit", die))
    waiting = [later]

    def publish_it_and_know_nothing(*_: object) -> bool:
        while waiting:
            publish(waiting.pop())
        return True

    monkeypatch.setattr("transforms.publish.tidy._is_lost", publish_it_and_know_nothing)
    tidy(output, run.manifest, run.run_id)
    assert_holds(output, later)


# === Readers ===


def test_a_reader_with_the_manifest_always_sees_one_whole_run(output: str) -> None:
    first = ready(output)
    publish(first)
    seen: list[list[tuple[str, str]]] = []
    gone: list[bool] = []
    stop = threading.Event()

    def read() -> None:
        # Once more at the end: a busy machine may have let this thread wait until then.
        while not stop.is_set() or not seen or seen[-1] == rows_of(first):
            _, raw = read_manifest(first.manifest)
            try:
                seen.append(read_parts(output))
            except FileNotFoundError:
                # Documented: read the manifest again. It must be another one by then.
                gone.append(read_manifest(first.manifest)[1] != raw)

    thread = threading.Thread(target=read)
    thread.start()
    runs = [publish_fresh(output) for _ in range(10)]
    stop.set()
    thread.join(60)
    assert all(gone)
    for rows in seen:
        assert [id_ for id_, _ in rows] == list(ROWS)
        assert len({run_id for _, run_id in rows}) == 1
    assert {rows[0][1] for rows in seen} & {run.run_id for run in runs}


def publish_fresh(output: str) -> Run:
    run = ready(output)
    publish(run)
    return run
