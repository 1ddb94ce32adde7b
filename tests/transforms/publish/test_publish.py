"""Publishing: one run wins, nothing is lost, everything can be done twice. The same checks on a disk and on gs://."""

import datetime as dt
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from support.cloud.fake_gcs import FakeGcs
from support.runs.publishing import (
    COMMITTED,
    DATE,
    Killed,
    assert_holds,
    before,
    die,
    in_lockstep,
    judge_and_publish_counts,
    planned,
    read_parts,
    ready,
    row_counts,
    rows_of,
    status,
    visible,
)

from transforms.errors import PublishError
from transforms.publish.commit import STEPS, publish
from transforms.publish.tidy import finish_pending, tidy
from transforms.runs.run import Run, read_manifest
from transforms.stores.choose import store_for

# === One run after the other ===


def test_a_second_run_replaces_the_first_and_leaves_other_dates_alone(output: str) -> None:
    other = ready(output, date=DATE + dt.timedelta(days=1))
    publish(other)
    untouched = {path: store_for(output).read(path) for path in store_for(output).list(output)}
    first = ready(output)
    assert publish(first).status == "published"
    assert_holds(output, first)
    second = ready(output)
    assert publish(second).status == "published"
    assert_holds(output, second)
    manifest, _ = read_manifest(second.manifest)
    assert manifest
    assert manifest["sequence"] == 2
    assert manifest["counts"] == {"read": 5, "scored": 4, "skipped": 0, "dead": 1}
    assert manifest["dead_codes"] == {"not_json": 1}
    assert {path: store_for(output).read(path) for path in untouched} == untouched
    assert (status(first), status(second)) == ("published", "published")


def test_an_empty_input_publishes_an_empty_date(output: str) -> None:
    publish(ready(output))
    run = planned(output, rows=0)
    assert judge_and_publish_counts(run, row_counts(run, [], [])).status == "published"
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    assert (manifest["files"], manifest["dead_letters"], manifest["finished"]) == ([], [], True)
    assert manifest["padding_factor"] == 1.0
    assert visible(output) == set()


def test_a_run_planned_before_the_commit_of_another_is_superseded(output: str) -> None:
    late, early = ready(output), ready(output)
    publish(early)
    assert publish(late).status == "superseded"
    assert publish(late).status == "superseded"
    assert status(late) == "superseded"
    assert_holds(output, early)


def test_a_run_without_a_verdict_is_not_published(output: str) -> None:
    run = planned(output)
    with pytest.raises(PublishError, match=run.run_id):
        publish(run)
    assert visible(output) == set()


# === Again, and at the same time ===


def test_publishing_twice_changes_nothing(output: str) -> None:
    run = ready(output)
    first = publish(run)
    manifest = read_manifest(run.manifest)
    assert publish(run) == first
    assert read_manifest(run.manifest) == manifest
    assert_holds(output, run)


def test_two_publishers_of_one_run_in_lockstep_publish_it_once(output: str) -> None:
    publish(ready(output))
    for _ in range(3):
        run = ready(output)
        assert in_lockstep(run, run, run) == ["published"] * 3
        assert_holds(output, run)


def test_of_two_runs_in_lockstep_one_is_published_and_the_other_superseded(output: str) -> None:
    for _ in range(3):
        runs = [ready(output), ready(output)]
        assert in_lockstep(*runs) == ["published", "superseded"]
        (winner,) = (run for run in runs if status(run) == "published")
        assert_holds(output, winner)


def publish_in_process(run: Run, barrier: Any, ends: Any) -> None:
    barrier.wait(60)
    ends.put(publish(run).status)


@pytest.mark.slow
def test_two_processes_publish_a_run_once(output: str) -> None:
    run = ready(output)
    context = multiprocessing.get_context("spawn")
    barrier, ends = context.Barrier(2), context.Queue()
    processes = [context.Process(target=publish_in_process, args=(run, barrier, ends)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [ends.get(timeout=60) for _ in processes] == ["published"] * 2
    for process in processes:
        process.join(60)
    assert_holds(output, run)


@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_killed_before_a_step_leaves_exactly_the_old_or_the_new_rows(step: str, output: str) -> None:
    old = ready(output)
    publish(old)
    run = ready(output)
    with pytest.raises(Killed):
        publish(run, before(step, die))
    assert read_parts(output) == rows_of(run if step in COMMITTED else old)
    assert publish(run).status == "published"
    assert_holds(output, run)
    assert status(run) == "published"


@pytest.mark.parametrize("step", STEPS)
def test_anyone_finishes_what_a_killed_publisher_committed_and_nothing_else(step: str, output: str) -> None:
    old = ready(output)
    publish(old)
    run = ready(output)
    with pytest.raises(Killed):
        publish(run, before(step, die))
    assert finish_pending(output) == ([run.run_id] if step in COMMITTED else [])
    assert finish_pending(output) == []
    if step in COMMITTED:
        assert_holds(output, run)
        assert status(run) == "published"
    else:
        assert read_parts(output) == rows_of(old)
        assert status(run) == "passed"


def test_finishing_survives_being_killed_at_every_step(output: str) -> None:
    run = ready(output)
    with pytest.raises(Killed):
        publish(run, before(COMMITTED[0], die))
    for step in COMMITTED:
        with pytest.raises(Killed):
            tidy(output, run.manifest, run.run_id, before(step, die))
    assert finish_pending(output) == [run.run_id]
    assert_holds(output, run)


# === Paths ===


def test_a_relative_output_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        run = ready("out")
        publish(run)
        assert read_parts("out") == rows_of(run)
    assert len(list((tmp_path / "out" / f"dt={DATE}").glob("*.parquet"))) == 2
    assert finish_pending("out") == []


def test_a_date_below_a_folder_that_looks_like_a_glob_is_finished(tmp_path: Path) -> None:
    for name in ("[ab]", "a*b?", "x[1"):
        output = str(tmp_path / name / "out")
        run = ready(output)
        with pytest.raises(Killed):
            publish(run, before("finish", die))
        assert finish_pending(output) == [run.run_id]


def test_a_manifest_that_is_not_json_is_named(tmp_path: Path) -> None:
    run = ready(str(tmp_path))
    store_for(run.output).write(run.manifest, b"{")
    with pytest.raises(ValueError, match=r"_manifest\.json: is not JSON"):
        publish(run)


def test_a_second_output_is_not_touched(output: str) -> None:
    one, other = ready(output), ready(output + "2")
    publish(one)
    publish(other)
    assert finish_pending(output) == []
    assert_holds(output, one)
    assert_holds(output + "2", other)


# === Google Cloud Storage ===


def uploads(gcs: FakeGcs) -> list[dict[str, str]]:
    return [request.query for request in gcs.requests if "/upload/" in request.path]


def test_every_write_of_manifest_and_verdict_is_conditional(gcs: FakeGcs) -> None:
    for _ in range(2):
        run = ready("gs://bucket/out")
        gcs.requests.clear()
        publish(run)
        # Claim, commit, report and finish; parts are copied by rewriting.
        assert len(uploads(gcs)) == 4
        assert all("ifGenerationMatch" in query for query in uploads(gcs))


@pytest.mark.parametrize("step", STEPS)
def test_a_service_that_fails_for_a_while_delays_and_changes_nothing(step: str, gcs: FakeGcs) -> None:
    publish(ready("gs://bucket/out"))
    run = ready("gs://bucket/out")
    assert publish(run, before(step, lambda: gcs.fail_next(20))).status == "published"
    assert_holds("gs://bucket/out", run)


@pytest.mark.parametrize("step", STEPS)
def test_lost_answers_change_nothing(step: str, gcs: FakeGcs) -> None:
    publish(ready("gs://bucket/out"))
    run = ready("gs://bucket/out")
    assert publish(run, before(step, lambda: gcs.lose_answer_next(2))).status == "published"
    assert_holds("gs://bucket/out", run)
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    assert manifest["sequence"] == 2
