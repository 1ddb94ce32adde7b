"""The gate on a table: what it holds changes no table, until it is accepted or judged anew; of two runs one wins."""

import datetime as dt

import pytest
from support.cloud.table_publishing import FEW, Place, assert_published
from support.commands import invoke
from support.runs.cleaning import NOW, clean, folder_of
from support.runs.drifting import FEWER, weeks
from support.runs.publishing import Killed, before, die, in_lockstep, judged, status

from pipeline.publishing import publish_again
from transforms.errors import PublishError
from transforms.publish import table_load
from transforms.publish.commit import STEPS, publish
from transforms.publish.gate import Gate, publish_judged
from transforms.runs.run import Run, read_manifest
from transforms.runs.verdicts import accept, read_verdict


def accepted(place: Place, run: Run) -> int:
    """The exit code of the command that publishes a held run."""
    return invoke("publish", run.run_id, "--output", place.home, "--accept")[0]


def drop_staging_tables(place: Place) -> int:
    """What BigQuery does with them after seven days."""
    names = [name for name in place.tables() if "__staging_" in name]
    for name in names:
        place.query(f"DROP TABLE `{place.table}{name}`")
    return len(names)


# === Held, accepted, judged anew, replaced ===


def test_a_held_run_changes_no_table_and_accepted_it_replaces_the_rows_there(place: Place) -> None:
    old = place.ready(["old"])
    publish(old)
    run = place.held()
    assert_published(place, old, ["old"])
    assert invoke("publish", run.run_id, "--output", place.home)[0] == 5
    assert_published(place, old, ["old"])
    assert accepted(place, run) == 0
    assert_published(place, run, FEW)
    assert "accepted" in (read_manifest(run.manifest)[0] or {})
    assert accepted(place, run) == 0
    assert_published(place, run, FEW)


def test_judged_anew_it_is_held_again_or_published_into_the_table(place: Place) -> None:
    old = place.ready(["old"])
    publish(old)
    run = place.held()
    with pytest.raises(PublishError, match=r"is held: .*--min-rows-ratio is 0.6"):
        publish_judged(run, Gate(min_rows_ratio=0.6), None)
    assert_published(place, old, ["old"])
    assert publish_judged(run, Gate(min_rows_ratio=0.5), None).status == "published"
    assert_published(place, run, FEW)


def test_a_run_that_was_replaced_meanwhile_is_superseded_and_the_table_stays(place: Place) -> None:
    run, winner = place.held(), place.ready()
    publish(winner)
    assert (accepted(place, run), status(run)) == (4, "superseded")
    assert_published(place, winner)


# === Killed and resumed ===


@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_of_an_accepted_run_killed_before_a_step_is_resumed(step: str, local: Place) -> None:
    run = local.held()
    accept(run.verdict)
    with pytest.raises(Killed):
        publish(run, before(step, die))
    assert accepted(local, run) == 0
    assert_published(local, run, FEW)


def test_a_run_that_died_once_its_table_was_loaded_is_judged_anew_and_held(local: Place) -> None:
    weeks(local.home)
    run, counts = local.few()
    judged(run, counts)
    # A publisher that dies there has not claimed the run yet.
    with pytest.raises(Killed):
        publish(run, before("commit", die))
    with pytest.raises(PublishError, match="is held: 2 rows"):
        publish_judged(run, FEWER, None)
    assert (status(run), local.rows()) == ("held", [])
    assert accepted(local, run) == 0
    assert_published(local, run, FEW)


@pytest.mark.parametrize("died_before", ["commit", "replace_rows"])
def test_staging_that_has_expired_is_loaded_again_when_it_is_accepted(died_before: str, place: Place) -> None:
    run = place.held()
    accept(run.verdict)
    with pytest.raises(Killed):
        publish(run, before(died_before, die))
    assert drop_staging_tables(place) == 2
    assert accepted(place, run) == 0
    assert_published(place, run, FEW)


def test_staging_that_expired_while_the_run_was_held_is_loaded_again(place: Place) -> None:
    weeks(place.home)
    run, counts = place.few()
    judged(run, counts)
    with pytest.raises(Killed):
        publish(run, before("commit", die))
    with pytest.raises(PublishError, match="is held"):
        publish_judged(run, FEWER, None)
    assert drop_staging_tables(place) == 2
    assert accepted(place, run) == 0
    assert_published(place, run, FEW)


# === Raced ===


def test_of_two_held_runs_that_are_accepted_at_once_one_is_in_the_table(local: Place) -> None:
    runs = [local.held(), local.held()]
    for run in runs:
        accept(run.verdict)
    assert in_lockstep(*runs) == ["published", "superseded"]
    (winner,) = (run for run in runs if status(run) == "published")
    assert_published(local, winner, FEW)


@pytest.mark.parametrize("step", STEPS[: STEPS.index("commit") + 1])
def test_an_accepted_run_that_is_overtaken_before_its_commit_leaves_nothing(step: str, local: Place) -> None:
    run, newer = local.held(), local.ready(["new"])
    accept(run.verdict)
    assert publish(run, before(step, lambda: publish(newer))).status == "superseded"
    assert_published(local, newer, ["new"])


def test_a_publisher_that_is_slower_than_a_gate_changes_no_table(local: Place) -> None:
    old = local.ready(["old"])
    publish(old)
    weeks(local.home)
    run, counts = local.few()
    judged(run, counts)

    def hold() -> None:
        with pytest.raises(PublishError, match="is held"):
            publish_judged(run, FEWER, None)

    with pytest.raises(PublishError, match="is held: 2 rows"):
        publish(run, before("commit", hold))
    assert status(run) == "held"
    assert {row["run_id"] for row in local.rows()} == {old.run_id}
    assert accepted(local, run) == 0
    assert_published(local, run, FEW)


# === Cleaned ===


@pytest.mark.parametrize(("days", "stays"), [(13, True), (15, False)])
def test_it_is_kept_for_fourteen_days_and_its_table_stays_as_it_was(days: int, stays: bool, local: Place) -> None:
    old = local.ready(["old"])
    publish(old)
    run = local.held(NOW - dt.timedelta(days))
    (found,) = clean(local.home, days=0)
    assert (found.kept, found.what, len(folder_of(run)) > 1) == (stays, f"run {run.run_id}", stays)
    assert_published(local, old, ["old"])
    assert accepted(local, run) == (0 if stays else 2)
    assert_published(local, *((run, FEW) if stays else (old, ["old"])))


def test_one_that_was_accepted_and_could_not_be_loaded_is_kept_and_published_later(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = local.held(NOW - dt.timedelta(13))

    def fails(*_: object) -> None:
        raise PublishError("BigQuery is away")

    with monkeypatch.context() as patch:
        patch.setattr(table_load, "load", fails)
        assert accepted(local, run) == 1
    verdict = read_verdict(run.verdict)
    assert verdict is not None
    assert (verdict.status, verdict.accepted != "") == ("passed", True)
    assert [one.kept for one in clean(local.home, now=NOW + dt.timedelta(10))] == [True]
    assert publish_again(local.home, run.run_id).status == "published"
    assert_published(local, run, FEW)
