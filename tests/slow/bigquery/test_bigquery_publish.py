"""Publishing into a table: one run wins, nothing is lost, everything can be done twice."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.cloud.bigquery_proxy import LOST, Answer, BigQueryProxy, Request, failed
from support.cloud.table_publishing import IDS, Place, assert_published
from support.commands import invoke
from support.runs.publishing import COMMITTED, DATE, Killed, before, die, in_lockstep, status

from transforms.errors import PlanError, PublishError
from transforms.publish import table_commit, table_load
from transforms.publish.clean import clean
from transforms.publish.commit import STEPS, publish
from transforms.publish.table_commit import check_record
from transforms.publish.table_sink import TableSink
from transforms.publish.tidy import finish_pending
from transforms.runs.run import Run, read_manifest
from transforms.stores.choose import store_for
from transforms.stores.gcs import GcsStore
from transforms.stores.paths import join

TOMORROW = DATE + dt.timedelta(days=1)


@pytest.fixture
def local(dataset: str, bucket_folder: str, tmp_path: Path) -> Place:
    """A table beside a local folder, where the swap of the manifest can be relied on."""
    return Place(home=str(tmp_path / "out"), table=f"{dataset}.scores", staging=bucket_folder)


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


# === Load jobs ===


def test_a_load_job_says_what_bigquery_must_not_guess(proxy: BigQueryProxy, place: Place) -> None:
    run = place.ready()
    publish(run)
    rows, dead = proxy.loads
    assert rows.load
    assert rows.load["parquetOptions"] == {"enableListInference": True}
    assert (rows.load["sourceFormat"], rows.load["writeDisposition"]) == ("PARQUET", "WRITE_TRUNCATE")
    assert rows.load["createDisposition"] == "CREATE_NEVER"
    assert rows.load["schema"]["fields"] == place.sink.fields
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    folder = join(place.staging or place.home, "_runs", run.run_id, "load" if place.staging else "staged")
    names = [part["staged"].rsplit("/", 1)[1] for part in manifest["files"]]
    assert rows.load["sourceUris"] == [join(folder, name) for name in names]
    assert len(rows.load["sourceUris"]) == 2
    assert rows.job_id.startswith(f"{run.run_id}-")
    assert rows.job_id.endswith("-1")
    assert dead.job_id != rows.job_id
    made = [r.body for r in proxy.requests if r.method == "POST" and "expirationTime" in r.body]
    in_days = (int(made[0]["expirationTime"]) / 1000 - dt.datetime.now().timestamp()) / 86_400
    assert in_days == pytest.approx(7, abs=0.1)
    assert [body["tableReference"]["tableId"] for body in made] == [
        f"scores{kind}__staging_{run.run_id.replace('-', '_')}" for kind in ("", "__dead_letters")
    ]


def is_load(request: Request) -> bool:
    return request.load is not None


def lose_the_files(request: Request) -> Answer | None:
    assert request.load
    request.load["sourceUris"] = [uri + ".gone" for uri in request.load["sourceUris"]]
    return None


def test_a_load_job_that_failed_is_followed_by_another(proxy: BigQueryProxy, local: Place) -> None:
    proxy.next(1, is_load, lose_the_files)
    run = local.ready()
    assert publish(run).status == "published"
    assert [load.job_id[-2:] for load in proxy.loads] == ["-1", "-2", "-1"]
    assert_published(local, run)


def test_a_load_job_that_fails_three_times_publishes_nothing_and_is_named(proxy: BigQueryProxy, local: Place) -> None:
    old = local.ready()
    publish(old)
    proxy.requests.clear()
    proxy.next(4, is_load, lose_the_files)
    run = local.ready(["new"])
    with pytest.raises(PublishError, match=f"{run.run_id} is not published.*{run.run_id}-[0-9a-f]*-3 failed") as error:
        publish(run)
    assert "gone" not in str(error.value)
    assert [load.job_id[-2:] for load in proxy.loads] == ["-1", "-2", "-3"]
    assert {row["run_id"] for row in local.rows()} == {old.run_id}
    assert status(run) == "passed"


def test_load_jobs_that_failed_do_not_block_the_tries_that_come_later(
    proxy: BigQueryProxy, local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(table_load, "time", SimpleNamespace(sleep=pauses.append))
    run = local.ready()
    for tried, last in ((["-1", "-2", "-3"], 3), ([f"-{n}" for n in range(1, 7)], 6)):
        proxy.requests.clear()
        proxy.next(last, is_load, lose_the_files)
        with pytest.raises(PublishError, match=f"-{last} failed .*, and 2 before it"):
            publish(run)
        assert [load.job_id[-2:] for load in proxy.loads] == tried
        assert pauses == [1, 2] * (last // 3)
        proxy.hooks.clear()
    assert publish(run).status == "published"
    assert_published(local, run)


def test_a_committed_run_whose_load_jobs_failed_is_finished_when_the_cause_is_mended(
    proxy: BigQueryProxy, local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_load, "PAUSE", 0)
    run = local.ready()
    with pytest.raises(Killed):
        publish(run, before("replace_rows", die))
    for name in local.tables():
        if "__staging_" in name:
            local.query(f"DROP TABLE `{local.table}{name}`")
    proxy.next(99, is_load, lose_the_files)
    assert [finish_pending(local.home), finish_pending(local.home)] == [[], []]
    proxy.hooks.clear()
    assert finish_pending(local.home) == [run.run_id]
    assert_published(local, run)


def test_a_lost_answer_loads_nothing_twice(proxy: BigQueryProxy, local: Place) -> None:
    proxy.next(1, is_load, lambda request: LOST)
    run = local.ready()
    assert publish(run).status == "published"
    assert [load.job_id[-2:] for load in proxy.loads] == ["-1", "-1", "-1"], "the second is told 409"
    assert_published(local, run)


def test_rows_that_are_missing_stop_the_run_before_its_commit(proxy: BigQueryProxy, local: Place) -> None:
    def skip_a_file(request: Request) -> None:
        assert request.load
        del request.load["sourceUris"][0]

    proxy.next(1, is_load, skip_a_file)
    run = local.ready()
    with pytest.raises(PublishError, match=r"holds 2 rows after load job .*-1, the manifest says 4"):
        publish(run)
    assert read_manifest(run.manifest) == (None, None)
    assert local.rows() == []


def test_more_files_than_a_job_takes_are_loaded_by_several(
    proxy: BigQueryProxy, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_load, "FILES_PER_JOB", 2)
    ids = [f"row {n}" for n in range(9)]
    run = place.ready(ids)
    publish(run)
    assert [len(load.load["sourceUris"]) for load in proxy.loads if load.load] == [2, 2, 1, 1]
    assert_published(place, run, ids)


def test_a_staging_table_that_expired_after_the_commit_is_loaded_again(proxy: BigQueryProxy, place: Place) -> None:
    run = place.ready()
    with pytest.raises(Killed):
        publish(run, before("replace_rows", die))
    for name in place.tables():
        if "__staging_" in name:
            place.query(f"DROP TABLE `{place.table}{name}`")
    assert finish_pending(place.home) == [run.run_id]
    assert sorted(load.job_id[-2:] for load in proxy.loads if load.job_id in proxy.jobs) == ["-1"] * 4 + ["-2"] * 2
    assert_published(place, run)


# === The transaction ===


def is_transaction(request: Request) -> bool:
    return "BEGIN TRANSACTION" in request.sql


def abort(request: Request) -> Answer:
    message = "Transaction is aborted due to concurrent update against table test-project:d.scores__published"
    return failed(400, "invalidQuery", message)


def test_a_transaction_aborted_for_another_is_tried_again(proxy: BigQueryProxy, local: Place) -> None:
    proxy.next(3, is_transaction, abort)
    run = local.ready()
    assert publish(run).status == "published"
    assert len([request for request in proxy.requests if is_transaction(request)]) == 4
    assert_published(local, run)


def test_a_transaction_aborted_again_and_again_is_left_to_the_next_command(
    proxy: BigQueryProxy, local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_commit, "TRIES", 3)
    proxy.next(6, is_transaction, abort)
    run = local.ready()
    with pytest.raises(PublishError, match=f"{run.run_id} is committed.*not replaced after 3 tries"):
        publish(run)
    assert finish_pending(local.home) == []
    assert finish_pending(local.home) == [run.run_id]
    assert_published(local, run)


def test_a_transaction_whose_answer_is_lost_replaces_the_rows_once(proxy: BigQueryProxy, local: Place) -> None:
    proxy.next(1, is_transaction, lambda request: LOST)
    run = local.ready()
    assert publish(run).status == "published"
    assert_published(local, run)


def test_a_refusal_is_told_without_its_message(proxy: BigQueryProxy, local: Place) -> None:
    proxy.next(9, is_transaction, lambda request: failed(403, "accessDenied", "secret"))
    run = local.ready()
    with pytest.raises(PublishError, match=r"after 1 tries \(403 accessDenied") as error:
        publish(run)
    assert "secret" not in str(error.value)
    assert local.rows() == []


@pytest.mark.parametrize("step", STEPS)
def test_a_service_that_fails_for_a_while_delays_and_changes_nothing(
    step: str, proxy: BigQueryProxy, local: Place
) -> None:
    publish(local.ready(["old", "older"]))
    run = local.ready()
    later = before(step, lambda: proxy.next(10, lambda request: True, lambda request: failed(503, "backendError")))
    assert publish(run, later).status == "published"
    proxy.hooks.clear()
    assert_published(local, run)


# === A table that is not up to date ===


def test_a_date_whose_table_is_pending_is_no_success_and_is_marked(proxy: BigQueryProxy, local: Place) -> None:
    def refuse() -> None:
        proxy.next(1, is_transaction, lambda request: failed(403, "accessDenied"))

    run = local.ready()
    refuse()
    with pytest.raises(PublishError, match="is committed"):
        publish(run)
    outputs = ("--output", local.home, "--output", f"bq://{local.table}", "--staging", local.staging)
    skip = ("score", "--bundle", "b", "--input", "i", "--date", DATE, "--if-published", "skip", *outputs)
    refuse()
    code, out, err = invoke(*skip)
    assert (code, out) == (1, "")
    assert f"{local.table}: may not have the rows of {DATE} yet" in err
    assert "the same command again completes it" in err
    # It changes nothing, and so asks the service for nothing.
    line = invoke("runs", "--output", local.home)[1].splitlines()[1]
    assert f"table pending: bert-batch publish {run.run_id}" in line, line
    (row,) = json.loads(invoke("runs", "--output", local.home, "--format", "json")[1])["dates"]
    assert row["pending"] == "table"
    assert invoke(*skip)[0] == 99
    assert_published(local, run)


def is_drop(request: Request) -> bool:
    return request.method == "DELETE"


def test_a_superseded_run_whose_staging_tables_stay_is_superseded(
    proxy: BigQueryProxy, local: Place, caplog: pytest.LogCaptureFixture
) -> None:
    late, early = local.ready(["late"]), local.ready()

    def overtake() -> None:
        publish(early)
        proxy.next(99, is_drop, lambda request: failed(403, "accessDenied", "secret"))

    assert publish(late, before("commit", overtake)).status == "superseded"
    assert status(late) == "superseded"
    assert "cannot be dropped: 403 accessDenied" in caplog.text
    assert "secret" not in caplog.text
    proxy.hooks.clear()
    assert publish(late).status == "superseded"
    assert_published(local, early)


def test_uploads_that_may_not_be_deleted_are_deleted_by_the_next_command(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.api_core.exceptions import Forbidden

    def refuse(*_: object) -> None:
        raise Forbidden("secret")

    run = local.ready()
    with monkeypatch.context() as patch:
        patch.setattr(GcsStore, "delete", refuse)
        with pytest.raises(PublishError, match=f"{run.run_id}/load: cannot be deleted: 403 Forbidden"):
            publish(run)
        assert finish_pending(local.home) == []
    assert finish_pending(local.home) == [run.run_id]
    assert_published(local, run)


def test_what_a_dead_run_uploaded_and_loaded_is_cleaned_away(local: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    old = local.ready()
    publish(old)
    with pytest.raises(Killed):
        publish(local.ready(["dead"]), before("commit", die))
    assert store_for(local.staging).list(local.staging)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=900)
    list(clean(local.home, now=later, older_than=dt.timedelta(2), dry_run=True))
    assert store_for(local.staging).list(local.staging)
    assert len(list(clean(local.home, now=later, older_than=dt.timedelta(2)))) == 1
    assert_published(local, old)


# === Other folders, other tables ===


def test_a_table_that_another_folder_publishes_into_is_refused_while_planning(local: Place, tmp_path: Path) -> None:
    run = local.ready()
    check_record(local.table, run.date, run.manifest)
    publish(run)
    check_record(local.table, run.date, run.manifest)
    check_record(local.table, TOMORROW, run.manifest)
    with pytest.raises(PlanError, match=r"holds 2026-11-21 from run .*\(sequence 1\), but .* is at 0"):
        check_record(local.table, run.date, str(tmp_path / "elsewhere" / "dt=2026-11-21" / "_manifest.json"))


def test_a_table_that_another_folder_published_into_meanwhile_is_left_alone(local: Place, tmp_path: Path) -> None:
    other = Place(home=str(tmp_path / "other"), table=local.table, staging=local.staging + "2")
    first, second = local.ready(), other.ready(["x"])
    publish(first)
    with pytest.raises(PublishError, match="another folder publishes into this table"):
        publish(second)
    assert {row["run_id"] for row in local.rows()} == {first.run_id}
    assert status(second) == "passed"


def test_a_table_changed_since_the_plan_stops_the_run_before_its_commit(local: Place) -> None:
    run = local.ready()
    publish(run)
    later = local.ready(["x"])
    local.query(f"DROP TABLE `{local.table}`")
    local.query(f"CREATE TABLE `{local.table}` (id INT64)")
    with pytest.raises(PublishError, match=r"column 'id': found INT64 NULLABLE, wanted STRING REQUIRED"):
        publish(later)
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    assert manifest["run_id"] == run.run_id


def test_one_date_that_cannot_be_finished_does_not_keep_the_others(proxy: BigQueryProxy, local: Place) -> None:
    runs = [local.ready(), local.ready(date=TOMORROW)]
    for run in runs:
        with pytest.raises(Killed):
            publish(run, before("replace_rows", die))
    first = runs[0].run_id
    proxy.next(1, lambda r: is_transaction(r) and first in r.sql, lambda request: failed(403, "accessDenied"))
    assert finish_pending(local.home) == [runs[1].run_id]
    assert (len(local.rows(TOMORROW)), local.rows()) == (len(IDS), [])
    assert finish_pending(local.home) == [first]
    for run in runs:
        assert_published(local, run)
