"""Files of digests are staged, resumed, published, replaced and cleaned away with the parts that they stand beside."""

import datetime as dt
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.runs.cleaning import LONG_AGO, clean, everything, only_staged
from support.runs.publishing import DATE, ROWS, Killed, assert_holds, before, die, planned, ready, row_counts, visible

from transforms.errors import PublishError
from transforms.outputs.digest_files import read_digests
from transforms.publish.commit import STEPS, publish
from transforms.runs.resume import finished_splits, read_taken, write_taken
from transforms.runs.row_counts import Count
from transforms.runs.run import read_manifest
from transforms.runs.staged import record_read
from transforms.runs.verdicts import read_verdict
from transforms.stores.choose import store_for
from transforms.stores.paths import join


@pytest.fixture(autouse=True)
def digests_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.runs.publishing.DIGESTS", True)


@pytest.fixture
def here(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def digest_files(output: str) -> set[str]:
    return {path for path in visible(output) if path.endswith(".sha128")}


def test_they_are_published_row_for_row_and_replaced(output: str) -> None:
    publish(ready(output))
    run = ready(output)
    publish(run)
    assert_holds(output, run)
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    beside = [part["digests"] for part in manifest["files"]]
    assert [file["path"] for file in beside] == [
        f"dt={DATE}/_digests-{run.run_id}-{number:05d}.sha128" for number in range(2)
    ]
    assert digest_files(output) == {file["path"] for file in beside}
    for file in beside:
        path, store = join(output, file["path"]), store_for(output)
        info = store.stat(path)
        assert info
        assert (info.size, store.checksum(path)) == (file["bytes"], file["checksum"])
    found = [digest for file in beside for digest in read_digests(join(output, file["path"])).to_pylist()]
    assert found == [hashlib.sha256(row.encode()).digest()[:16] for row in ROWS]
    assert all("digests" not in part for part in manifest["dead_letters"])


@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_killed_before_a_step_leaves_none_besides(step: str, here: str) -> None:
    publish(ready(here))
    run = ready(here)
    with pytest.raises(Killed):
        publish(run, before(step, die))
    publish(run)
    assert_holds(here, run)


def test_a_run_that_was_overtaken_leaves_none(output: str) -> None:
    first, late = ready(output), ready(output)
    with pytest.raises(Killed):
        publish(late, before("commit", die))
    assert any(late.run_id in path for path in digest_files(output))
    publish(first)
    assert publish(late).status == "superseded"
    assert_holds(output, first)


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_a_staged_one_that_is_gone_or_changed_stops_the_run(harm: str, output: str) -> None:
    run, store = ready(output), store_for(output)
    path = next(path for path in store.list(run.staged) if path.endswith(".sha128"))
    store.delete(path) if harm == "gone" else store.write(path, b"other")
    with pytest.raises(PublishError, match=path.rsplit("/", 1)[1]):
        publish(run)


def test_a_verdict_without_them_is_read_as_it_was_written(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.runs.publishing.DIGESTS", False)
    run = ready(here)
    path = Path(run.verdict)
    verdict = json.loads(path.read_bytes())
    for part in verdict["files"] + verdict["dead_letters"]:
        assert part.pop("digests") is None
    path.write_text(json.dumps(verdict))
    found = read_verdict(run.verdict)
    assert found
    assert [part.digests for part in found.files] == [None, None]
    publish(run)
    assert_holds(here, run)


# === A run that died ===


def test_a_staged_file_is_whole_only_with_its_digests(output: str) -> None:
    run, store = planned(output), store_for(output)
    for count in row_counts(run)[0]:
        record_read(run.staged, count)
    # Each row was counted by itself; a split of two rows is counted twice and not taken over.
    taken = finished_splits(run)
    assert taken.splits == {2}
    for path in store.list(run.staged):
        if "/read-" in path:
            store.delete(path)
    for count in _by_split(run.staged):
        record_read(run.staged, count)
    assert finished_splits(run).splits == {0, 1, 2}
    first, second = (path for path in store.list(run.staged) if path.endswith(".sha128"))
    taken = finished_splits(run)
    assert {file.digests.path for file in taken.files["scores"] if file.digests} == {first, second}
    assert read_taken(write_taken(run, taken, "x")) == taken
    data = store.read(second)
    assert data
    store.write(second, data[:-1] + b"?")
    assert finished_splits(run).splits == {0, 2}
    store.delete(first)
    assert finished_splits(run).splits == {2}


def test_what_a_run_staged_before_there_were_digests_is_taken_over(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.runs.publishing.DIGESTS", False)
    run = planned(here)
    row_counts(run)
    for path in Path(run.staged).glob("scores-*.json"):
        content = json.loads(path.read_bytes())
        assert content.pop("digests") is None
        path.write_text(json.dumps(content))
    for count in _by_split(run.staged):
        record_read(run.staged, count)
    taken = finished_splits(run)
    assert taken.splits == {0, 1, 2}
    assert [file.digests for file in taken.files["scores"]] == [None, None]


def _by_split(staged: str) -> list[Count]:
    """What Read would have recorded of the splits that are staged."""
    store = store_for(staged)
    records = [store.read(path) for path in store.list(staged) if path.endswith(".json") and "/read-" not in path]
    return [Count(*count) for record in records for count in json.loads(record or b"")["counts"]]


# === Cleaning ===


def test_those_of_a_dead_run_go_and_those_of_a_published_one_stay(output: str) -> None:
    publish(old := ready(output, started=LONG_AGO))
    dead_run = ready(output, started=LONG_AGO)
    with pytest.raises(Killed):
        publish(dead_run, before("commit", die))
    only_staged(output)
    files = {path for path in everything(output) if dead_run.run_id in path}
    assert sum(path.endswith(".sha128") for path in files) == 4
    (found,) = (item for item in clean(output) if dead_run.run_id in item.what)
    # The verdict stays, as a tombstone.
    assert found.files == len(files) - 1
    assert_holds(output, old)
    assert {path for path in everything(output) if path.endswith(".sha128")} == {
        join(output, path) for path in digest_files(output)
    }


def test_those_of_a_run_of_which_nothing_is_known_are_somebody_elses(output: str) -> None:
    run, store = ready(output, started=LONG_AGO), store_for(output)
    with pytest.raises(Killed):
        publish(run, before("commit", die))
    for path in everything(output):
        if "_digests-" not in path:
            store.delete(path)
    left = everything(output)
    assert left
    clean(output)
    assert everything(output) == left


def test_those_of_a_date_that_is_too_old_go(output: str) -> None:
    publish(ready(output, started=LONG_AGO))
    (found, *_) = clean(output, keep_from=DATE + dt.timedelta(1))
    # Two parts, their digests, one file of dead letters.
    assert (found.what, found.files) == (f"dt={DATE}", 5)
    assert not digest_files(output)


def test_a_verdict_names_them_once(here: str) -> None:
    verdict = read_verdict(ready(here).verdict)
    assert verdict
    named = [part.path for part in verdict.all_files]
    assert len(named) == len(set(named)) == 5
    assert replace(verdict, files=()).all_files == verdict.dead_letters
