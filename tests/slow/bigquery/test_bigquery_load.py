"""Load jobs of a table: what they say, and what follows when one fails or its answer is lost."""

import datetime as dt
from types import SimpleNamespace

import pytest
from support.cloud.bigquery_proxy import LOST, Answer, BigQueryProxy, Request
from support.cloud.table_publishing import Place, assert_published
from support.runs.publishing import Killed, before, die, status

from transforms.errors import PublishError
from transforms.publish import table_load
from transforms.publish.commit import publish
from transforms.publish.tidy import finish_pending
from transforms.runs.run import read_manifest
from transforms.stores.paths import join


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
