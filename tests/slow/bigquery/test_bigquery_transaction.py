"""The transaction that puts a date into a table, a table that is not up to date, and tables of others."""

import datetime as dt
import json
from pathlib import Path

import pytest
from support.cloud.bigquery_proxy import LOST, Answer, BigQueryProxy, Request, failed
from support.cloud.table_publishing import IDS, Place, assert_published
from support.commands import invoke
from support.runs.publishing import DATE, Killed, before, die, status

from transforms.errors import PlanError, PublishError
from transforms.publish import table_commit as bigquery_commit
from transforms.publish.clean import clean
from transforms.publish.commit import STEPS, publish
from transforms.publish.table_commit import check_record
from transforms.publish.tidy import finish_pending
from transforms.runs.run import read_manifest
from transforms.stores.choose import store_for
from transforms.stores.gcs import GcsStore

TOMORROW = DATE + dt.timedelta(days=1)


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
    monkeypatch.setattr(bigquery_commit, "TRIES", 3)
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
