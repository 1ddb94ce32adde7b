"""Publishing into a table: one run wins, nothing is lost, everything can be done twice."""

import datetime as dt
from dataclasses import asdict, replace

import pytest
from support.cloud.table_publishing import IDS, Place, assert_published
from support.runs.publishing import COMMITTED, DATE, Killed, before, die, in_lockstep, status

from transforms.errors import PublishError
from transforms.publish import table_commit, table_load
from transforms.publish.commit import STEPS, publish
from transforms.publish.table_sink import TableSink
from transforms.publish.tidy import finish_pending
from transforms.runs.run import Run, to_bytes
from transforms.runs.verdicts import accept, read_verdict
from transforms.stores.choose import store_for

TOMORROW = DATE + dt.timedelta(days=1)


# === One run after the other ===


def test_rows_and_dead_letters_arrive_complete_and_a_later_run_replaces_them(place: Place) -> None:
    other = place.ready(date=TOMORROW)
    publish(other)
    first = place.ready([f"row {n}" for n in range(9)], rejected=2)
    assert publish(first).status == "published"
    assert_published(place, first, [f"row {n}" for n in range(9)], rejected=2)
    second = place.ready(["a"])
    assert publish(second).status == "published"
    assert_published(place, second, ["a"])
    assert place.records()[0]["sequence"] == 2
    assert_published(place, other)


def test_an_empty_date_empties_the_table_of_the_date_and_makes_a_table_where_there_is_none(place: Place) -> None:
    for ids in ([], IDS, []):
        run = place.ready(ids, rejected=0)
        assert publish(run).status == "published"
        assert_published(place, run, ids, rejected=0)


def test_publishing_twice_changes_nothing(place: Place) -> None:
    run = place.ready()
    assert publish(run) == publish(run)
    assert_published(place, run)


def test_a_run_planned_before_the_commit_of_another_is_superseded(place: Place) -> None:
    late, early = place.ready(["late"]), place.ready()
    publish(early)
    assert publish(late).status == "superseded"
    assert_published(place, early)


def test_a_date_that_gets_its_table_later_keeps_the_sequence_of_its_manifest(place: Place) -> None:
    for _ in range(3):
        publish(place.ready())
    bare = Place(home=place.home, table=place.table + "2", staging=place.staging)
    run = bare.ready(["x"])
    publish(run)
    assert bare.records()[0]["sequence"] == 4
    assert sorted(row["id"] for row in bare.rows()) == ["x"]


def test_a_held_run_changes_no_table_until_it_is_accepted(place: Place) -> None:
    old = place.ready(["old"])
    publish(old)
    run = place.ready()
    verdict = read_verdict(run.verdict)
    assert verdict
    held = replace(verdict, status="held", problems=("2 rows are too few",))
    store_for(run.output).write(run.verdict, to_bytes(asdict(held)))
    with pytest.raises(PublishError, match="is held: 2 rows are too few"):
        publish(run)
    assert_published(place, old, ["old"])
    accept(run.verdict)
    assert publish(run).status == "published"
    assert_published(place, run)


# === Killed, and overtaken ===


@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_killed_before_a_step_is_finished_by_the_next(step: str, place: Place) -> None:
    old = place.ready(["old", "older"])
    publish(old)
    run = place.ready()
    with pytest.raises(Killed):
        publish(run, before(step, die))
    if step in COMMITTED[1:]:
        assert {row["run_id"] for row in place.rows()} == {run.run_id}
    else:
        assert {row["run_id"] for row in place.rows()} == {old.run_id}, "old rows stay until the transaction"
    assert publish(run).status == "published"
    assert_published(place, run)


@pytest.mark.parametrize("step", STEPS)
def test_anyone_finishes_what_a_killed_publisher_committed_and_nothing_else(step: str, local: Place) -> None:
    old = local.ready(["old", "older"])
    publish(old)
    run = local.ready()
    with pytest.raises(Killed):
        publish(run, before(step, die))
    assert finish_pending(local.home) == ([run.run_id] if step in COMMITTED else [])
    if step in COMMITTED:
        assert_published(local, run)
    else:
        assert {row["run_id"] for row in local.rows()} == {old.run_id}


@pytest.mark.parametrize("planned_when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_held_before_a_step_never_undoes_a_newer_run(step: str, planned_when: str, local: Place) -> None:
    publish(local.ready(["old", "older"]))
    older = local.ready()
    newer: list[Run] = [local.ready(["new"])] if planned_when == "before" else []

    def overtake() -> None:
        if not newer:
            newer.append(local.ready(["new"]))
        publish(newer[0])

    verdict = publish(older, before(step, overtake))
    loses = step in COMMITTED and planned_when == "before"
    assert verdict.status == ("published" if loses else "superseded")
    assert_published(local, *((older, IDS) if loses else (newer[0], ["new"])))


@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_that_wakes_after_its_run_was_published_and_replaced_changes_nothing(
    step: str, local: Place
) -> None:
    run, newer = local.ready(), []

    def meanwhile() -> None:
        publish(run)
        newer.append(local.ready(["new"]))
        publish(newer[0])

    assert publish(run, before(step, meanwhile)).status == "superseded"
    assert_published(local, newer[0], ["new"])


@pytest.mark.parametrize("function", ["load", "read_record", "_transact"])
def test_a_publisher_overtaken_while_it_replaces_rows_changes_nothing(
    function: str, local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, newer = local.ready(), []
    act = getattr(table_commit, function)

    def overtaken(*given: object, **named: object) -> object:
        monkeypatch.setattr(table_commit, function, act)
        newer.append(local.ready(["new"]))
        publish(newer[0])
        return act(*given, **named)

    monkeypatch.setattr(table_commit, function, overtaken)
    assert publish(run).status == "superseded"
    assert status(run) == "published"
    assert_published(local, newer[0], ["new"])


@pytest.mark.parametrize("meanwhile", ["same_run", "other_run", "same_run_then_other"])
def test_a_publisher_overtaken_while_it_loads_leaves_nothing_of_its_own(
    meanwhile: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = place.ready(), place.ready(["other"])
    ensure = table_load.ensure_tables

    def overtaken(sink: TableSink) -> None:
        monkeypatch.setattr(table_load, "ensure_tables", ensure)
        ensure(sink)
        if meanwhile != "other_run":
            publish(run)
        if meanwhile != "same_run":
            publish(replace(other, sequence=int(meanwhile != "other_run")))

    monkeypatch.setattr(table_load, "ensure_tables", overtaken)
    assert publish(run).status == ("published" if meanwhile == "same_run" else "superseded")
    assert_published(place, *((run, IDS) if meanwhile == "same_run" else (other, ["other"])))


def test_publishers_of_one_run_in_lockstep_publish_it_once(local: Place) -> None:
    for _ in range(2):
        run = local.ready()
        assert in_lockstep(run, run, run) == ["published"] * 3
        assert_published(local, run)


def test_of_two_runs_in_lockstep_one_is_published_and_the_other_leaves_nothing(local: Place) -> None:
    runs = [local.ready(), local.ready()]
    assert in_lockstep(*runs) == ["published", "superseded"]
    (winner,) = (run for run in runs if status(run) == "published")
    assert_published(local, winner)
