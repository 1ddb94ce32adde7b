"""A whole job whose bundle, input and output are on gs://, on a server that honours preconditions."""

import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.bundles import Built
from support.cloud.fake_gcs import FakeGcs
from support.jobs import DATE, NOW, Score, many_texts, write_parquet
from support.runs.same_rows import assert_same_rows

from model.bundle import BundleError
from pipeline.jobs.config import JobConfig
from pipeline.scoring import score
from transforms.runs.run import read_manifest
from transforms.runs.verdict_record import Verdict
from transforms.stores.bundles import BundleReference, open_bundle, open_pinned_bundle

BUNDLE, OUTPUT = "gs://bucket/models/test", "gs://bucket/out"
MANIFEST = f"{OUTPUT}/dt={DATE}/_manifest.json"


@pytest.fixture
def gcs(gcs_over_http: FakeGcs) -> FakeGcs:
    """Whole jobs over real connections."""
    return gcs_over_http


@pytest.fixture
def uploaded(gcs: FakeGcs, classes: Built) -> Built:
    """The bundle, on the server too."""
    upload(gcs, classes)
    return classes


def upload(gcs: FakeGcs, built: Built) -> None:
    for file in built.path.rglob("*"):
        if file.is_file():
            gcs.put(f"models/test/{file.relative_to(built.path).as_posix()}", file.read_bytes())


def put_input(gcs: FakeGcs, name: str, ids: range) -> None:
    sink = io.BytesIO()
    texts = many_texts(len(ids), seed=ids.start)
    pq.write_table(pa.table({"id": [f"r{i}" for i in ids], "text": [" ", *texts[1:]], "k": list(ids)}), sink)
    gcs.put(f"in/{name}", sink.getvalue())


def run(**settings: Any) -> Verdict:
    job = {"bundle": BUNDLE, "input": ("gs://bucket/in/*.parquet",), "output": OUTPUT, "date": DATE}
    return score(JobConfig(**{**job, "max_dead_fraction": 0.1, **settings}), now=NOW)


def published(gcs: FakeGcs, key: str) -> list[dict[str, Any]]:
    manifest, _ = read_manifest(MANIFEST)
    assert manifest
    objects = gcs.objects()
    parts = [objects[f"out/{part['path']}"] for part in manifest[key]]
    return [row for part in parts for row in pq.read_table(io.BytesIO(part)).to_pylist()]


def of_any_run(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(({**row, "run_id": "", "source": ""} for row in rows), key=lambda row: row["id"])


def test_a_job_on_gs_gives_the_rows_of_the_local_one_also_when_it_runs_again(
    gcs: FakeGcs, uploaded: Built, run_job: Score, tmp_path: Path
) -> None:
    put_input(gcs, "a.parquet", range(100))
    put_input(gcs, "b.parquet", range(100, 150))
    for name in ("a", "b"):
        file = tmp_path / "in" / f"{name}.parquet"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(gcs.objects()[f"in/{name}.parquet"])
    local = run_job(tmp_path / "in", bundle=str(uploaded.path))
    for sequence in (1, 2):
        assert run().status == "published"
        manifest, _ = read_manifest(MANIFEST)
        assert manifest
        assert (manifest["sequence"], manifest["finished"]) == (sequence, True)
        assert_same_rows(of_any_run(published(gcs, "files")), of_any_run(local.rows()))
        assert of_any_run(published(gcs, "dead_letters")) == of_any_run(local.dead())
        assert [found["path"] for found in manifest["inputs"]] == [f"gs://bucket/in/{n}.parquet" for n in "ab"]
        listed = {f"out/{part['path']}" for key in ("files", "dead_letters") for part in manifest[key]}
        left = {name for name in gcs.objects() if name.startswith("out/") and not name.startswith("out/_runs/")}
        assert left == {*listed, f"out/dt={DATE}/_manifest.json"}
    assert {name.rsplit("/", 1)[1] for name in gcs.objects() if "_runs" in name} == {"plan.parquet", "verdict.json"}


def test_the_bundle_comes_to_the_machine_once_and_is_verified_there(gcs: FakeGcs, uploaded: Built) -> None:
    put_input(gcs, "a.parquet", range(20))
    run()
    assert any("saved_model.pb" in request.path for request in gcs.requests)
    gcs.requests.clear()
    run()
    assert not any("saved_model.pb" in request.path for request in gcs.requests)
    (cache,) = Path(tempfile.gettempdir()).glob("bert-batch-bundles-*")
    assert cache.stat().st_mode & 0o777 == 0o700
    (copy,) = (path for path in cache.iterdir() if path.is_dir())
    assert copy.name == uploaded.bundle.fingerprint


@pytest.mark.parametrize("harm", ["cleared", "changed", "half_copied"])
def test_a_local_copy_that_is_not_whole_is_fetched_again(harm: str, gcs: FakeGcs, uploaded: Built) -> None:
    bundle = open_bundle(BUNDLE)
    model = Path(bundle.scoring) / "saved_model.pb"
    if harm == "cleared":
        model.unlink()
    elif harm == "changed":
        model.write_bytes(b"other")
    else:
        shutil.move(bundle.path, bundle.path.with_suffix(".partial"))
        (bundle.path.with_suffix(".partial") / "of an earlier try").touch()
    again = open_pinned_bundle(BundleReference(path=BUNDLE, fingerprint=bundle.fingerprint))
    assert again == bundle
    assert model.read_bytes() == gcs.objects()["models/test/scoring/saved_model.pb"]


def test_a_bundle_replaced_during_the_run_is_refused_by_a_machine_that_has_no_copy(
    gcs: FakeGcs, uploaded: Built, regression: Built
) -> None:
    pinned = BundleReference(path=BUNDLE, fingerprint=open_bundle(BUNDLE).fingerprint)
    upload(gcs, regression)
    # This machine has the copy of the bundle the run began with.
    assert open_pinned_bundle(pinned).fingerprint == pinned.fingerprint
    (cache,) = Path(tempfile.gettempdir()).glob("bert-batch-bundles-*")
    shutil.rmtree(cache)
    with pytest.raises(BundleError, match=BUNDLE) as error:
        open_pinned_bundle(pinned)
    assert "replaced while the run worked" in str(error.value)
    # Nothing of the wrong bundle stays behind under the name of the right one.
    upload(gcs, uploaded)
    assert open_pinned_bundle(pinned).fingerprint == pinned.fingerprint


def test_a_bundle_with_a_file_changed_is_refused_by_its_name_on_the_server(gcs: FakeGcs, uploaded: Built) -> None:
    gcs.put("models/test/scoring/saved_model.pb", b"other")
    with pytest.raises(BundleError, match=f"{BUNDLE}/scoring/saved_model.pb: was changed"):
        open_bundle(BUNDLE)


def test_a_bundle_that_is_not_there_is_named(gcs: FakeGcs) -> None:
    with pytest.raises(BundleError, match="gs://bucket/nothing: is no bundle"):
        open_bundle("gs://bucket/nothing")


def test_a_bundle_replaced_between_plan_and_start_publishes_nothing(
    gcs: FakeGcs, uploaded: Built, regression: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_input(gcs, "a.parquet", range(20))

    def replace_it() -> None:
        upload(gcs, regression)
        shutil.rmtree(next(Path(tempfile.gettempdir()).glob("bert-batch-bundles-*")))

    after_planning(monkeypatch, replace_it)
    with pytest.raises(Exception, match="replaced while the run worked"):
        run()
    assert read_manifest(MANIFEST) == (None, None)


def test_an_input_overwritten_between_plan_and_read_fails_the_run_and_is_named(
    gcs: FakeGcs, uploaded: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_input(gcs, "a.parquet", range(20))
    run()
    before = {name: data for name, data in gcs.objects().items() if "dt=" in name}
    after_planning(monkeypatch, lambda: put_input(gcs, "a.parquet", range(20)))
    with pytest.raises(Exception, match=r"gs://bucket/in/a\.parquet: expected version"):
        run()
    assert {name: data for name, data in gcs.objects().items() if "dt=" in name} == before


def after_planning(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Something happens when the plan is written and nothing has been read yet."""
    from transforms.runs.plan import write_plan

    def write_then_act(*args: Any) -> None:
        write_plan(*args)
        act()

    monkeypatch.setattr("pipeline.scoring.write_plan", write_then_act)


def test_every_object_that_can_be_contested_is_written_under_a_condition(gcs: FakeGcs, uploaded: Built) -> None:
    put_input(gcs, "a.parquet", range(20))
    run()
    uploads = [request for request in gcs.requests if "/upload/" in request.path and request.method == "POST"]
    unconditional = [request for request in uploads if "ifGenerationMatch" not in request.query]
    # The plan, and under names nobody else uses: one staged file each of scores and dead letters, the description of
    # each, and the record of the split that was read.
    assert len(unconditional) == 6
    # Verdict, claim, commit, report, finish.
    assert len(uploads) - len(unconditional) == 5


def test_a_service_that_fails_now_and_then_changes_nothing(
    gcs: FakeGcs, uploaded: Built, run_job: Score, tmp_path: Path
) -> None:
    put_input(gcs, "a.parquet", range(20))
    handle, count = gcs.handle, 0

    def fail_now_and_then(*request: Any) -> Any:
        nonlocal count
        count += 1
        if count % 3 == 0:
            gcs.fail_next()
        if count % 7 == 0:
            gcs.lose_answer_next()
        return handle(*request)

    gcs.handle = fail_now_and_then  # type: ignore[method-assign]
    assert run().status == "published"
    gcs.handle = handle  # type: ignore[method-assign]
    write_parquet(tmp_path / "in.parquet", pq.read_table(io.BytesIO(gcs.objects()["in/a.parquet"])))
    local = run_job(tmp_path / "in.parquet", bundle=str(uploaded.path))
    assert_same_rows(of_any_run(published(gcs, "files")), of_any_run(local.rows()))
