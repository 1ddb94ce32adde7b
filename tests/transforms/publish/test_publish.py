"""Publishing: one run wins, nothing is lost, everything can be done twice. The same checks on a disk and on gs://."""

import datetime as dt
import multiprocessing
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cloud.fake_gcs import FakeGcs
from support.runs.publishing import (
    COMMITTED,
    DATE,
    ROWS,
    Killed,
    assert_holds,
    before,
    die,
    in_lockstep,
    judge_and_publish_counts,
    judged,
    planned,
    read_parts,
    ready,
    row_counts,
    rows_of,
    scored,
    status,
    visible,
)

from transforms.errors import PublishError
from transforms.publish import commit as publishing_code
from transforms.publish.commit import STEPS, publish
from transforms.publish.tidy import finish_pending, tidy
from transforms.runs.error_budget import ErrorBudget
from transforms.runs.row_counts import Work
from transforms.runs.run import Run, read_manifest
from transforms.runs.verdict_record import Part, Verdict
from transforms.runs.verdicts import read_verdict, settle, write_verdict
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

    is_open = publishing_code._is_open
    monkeypatch.setattr(publishing_code, "_is_open", look_and_be_overtaken)
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


# === What must not be published ===


@pytest.mark.parametrize("change", ["delete", "change"])
def test_a_staged_file_that_is_gone_or_changed_stops_the_run(change: str, output: str) -> None:
    old = ready(output)
    publish(old)
    run, store = ready(output), store_for(output)
    file = store.list(run.staged)[1]
    if change == "delete":
        store.delete(file)
    else:
        store.write(file, b"other")
    with pytest.raises(PublishError, match=Path(file).name):
        publish(run)
    assert read_parts(output) == rows_of(old)
    assert status(run) == "passed"
    # What was copied before the fault goes with the next run.
    assert_holds(output, publish_fresh(output))


def test_an_exceeded_budget_keeps_its_dead_letters_and_the_published_date(output: str) -> None:
    old = ready(output)
    publish(old)
    run = planned(output, budget=ErrorBudget(fraction=0.1))
    for _ in range(2):
        with pytest.raises(PublishError, match="1 of 5 rows are dead letters"):
            judge_and_publish_counts(run, row_counts(run))
    verdict = read_verdict(run.verdict)
    assert verdict
    assert verdict.status == "over_budget"
    assert verdict.dead_codes == {"not_json": [1, "in.parquet#4"]}
    assert all(store_for(output).stat(part.staged) for part in verdict.dead_letters)
    assert_holds(output, old)


def test_row_counts_that_do_not_agree_publish_nothing(output: str) -> None:
    old = ready(output)
    publish(old)
    run = planned(output)
    read, files, dead = row_counts(run)
    with pytest.raises(PublishError, match="split 0"):
        judge_and_publish_counts(run, (read, files[1:], dead))
    assert status(run) == "unbalanced"
    assert_holds(output, old)


def test_a_file_with_other_rows_than_it_was_given_does_not_balance(output: str) -> None:
    run = planned(output)
    read, files, dead = row_counts(run)
    with pytest.raises(PublishError, match="2 rows were given to the file, 1 are in it"):
        judge_and_publish_counts(run, (read, [replace(files[0], rows=1), *files[1:]], dead))


@pytest.mark.parametrize(
    ("budget", "dead", "read", "exceeded"),
    [
        (ErrorBudget(), 0, 0, False),
        (ErrorBudget(fraction=0), 0, 0, False),
        (ErrorBudget(fraction=0, rows=0), 0, 10, False),
        (ErrorBudget(fraction=0), 1, 1_000_000_000, True),
        (ErrorBudget(fraction=1), 10, 10, False),
        (ErrorBudget(fraction=0.01), 10, 1000, False),
        (ErrorBudget(fraction=0.01), 11, 1000, True),
        (ErrorBudget(fraction=0.29), 29, 100, False),
        (ErrorBudget(fraction=1, rows=5), 5, 10, False),
        (ErrorBudget(fraction=1, rows=5), 6, 10, True),
        (ErrorBudget(fraction=1, rows=0), 1, 10, True),
    ],
)
def test_the_error_budget_is_exact_at_its_edges(budget: ErrorBudget, dead: int, read: int, exceeded: bool) -> None:
    assert bool(budget.exceeded(dead, read)) == exceeded


def test_every_whole_percentage_allows_exactly_that_many_rows() -> None:
    for percent in range(101):
        budget = ErrorBudget(fraction=percent / 100)
        assert not budget.exceeded(percent, 100)
        assert percent == 100 or budget.exceeded(percent + 1, 100)


@pytest.mark.parametrize("wrong", [{"fraction": -0.1}, {"fraction": 1.1}, {"fraction": float("nan")}, {"rows": -1}])
def test_an_impossible_budget_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--max-dead"):
        ErrorBudget(**wrong)


# === Verdicts, and work done twice ===


def test_a_verdict_is_read_as_it_was_written_and_the_first_one_stands(output: str) -> None:
    run = planned(output)
    part = Part(staged="s", path="p", rows=1, bytes=2, checksum="crc32c:00000000")
    verdict = Verdict(
        status="passed",
        run_id=run.run_id,
        folder=run.folder,
        problems=("é", "b"),
        counts={"read": 3, "scored": 3, "dead": 0},
        dead_codes={"not_json": [1, "f#1"]},
        work=Work(scored=1, tokens=3, padded=4, precision="float32")._asdict(),
        files=(part,),
        dead_letters=(replace(part, rows=7),),
    )
    assert read_verdict(run.verdict) is None
    assert settle(run.verdict, "published") is None
    write_verdict(run, verdict)
    assert read_verdict(run.verdict) == verdict
    assert verdict.padding_factor == 1.3333
    write_verdict(run, replace(verdict, status="unbalanced"))
    assert status(run) == "passed"
    assert settle(run.verdict, "published") == read_verdict(run.verdict) == replace(verdict, status="published")
    settle(run.verdict, "superseded")
    assert status(run) == "published"


def test_judging_and_publishing_again_with_other_files_keeps_to_the_first(output: str) -> None:
    run = planned(output)
    first, second = row_counts(run), row_counts(run)
    verdict = judge_and_publish_counts(run, first)
    read, files, dead = second
    assert judge_and_publish_counts(run, (read[::-1], files[::-1], dead[::-1])) == verdict
    assert_holds(output, run)


def test_a_try_that_died_after_its_verdict_and_the_next_publish_the_same_files(output: str) -> None:
    run = planned(output)
    judged(run, row_counts(run))
    with pytest.raises(Killed):
        publish(run, before("commit", die))
    prepared = visible(output)
    assert judge_and_publish_counts(run, row_counts(run)).status == "published"
    assert visible(output) == prepared
    assert_holds(output, run)


def test_a_bundle_that_was_written_twice_is_published_once(output: str) -> None:
    run = planned(output)
    thrown_away = scored(run)
    found = row_counts(run)
    assert not {file.path for file in thrown_away} & {file.path for file in found[1]}
    assert judge_and_publish_counts(run, found).status == "published"
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
