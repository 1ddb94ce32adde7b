"""What is deleted: files of our own names, of runs that the output knows. All others stay, on a disk and on gs://."""

import ast
import datetime as dt
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from support.commands import ROOT
from support.runs.cleaning import DEATHS, NOW, clean, everything, killed_at, old_run
from support.runs.publishing import DATE, assert_holds, judge_and_publish_counts, planned, ready, row_counts

from transforms.errors import RecordError
from transforms.outputs import deletion, names
from transforms.publish.commit import publish
from transforms.publish.tidy import finish_pending
from transforms.runs.heartbeats import begin_listening, end_listening
from transforms.runs.resume import TakenOver, read_taken, write_taken
from transforms.runs.run import read_manifest, to_bytes
from transforms.runs.verdict_record import Part
from transforms.runs.verdicts import read_verdict
from transforms.stores.choose import store_for
from transforms.stores.paths import join

UNKNOWN = "20261121T020003Z-abcdef"
FOREIGN = (
    f"dt={DATE}/part-00000-8a6e7d2c-1b0a-4a53-9f5e-0d5a3c9b7f10-c000.snappy.parquet",
    f"dt={DATE}/part-{UNKNOWN}-00000.parquet",
    f"dt={DATE}/.part-{UNKNOWN}-00000.parquet.0123456789abcdef.tmp",
    f"dt={DATE}/part-0.parquet",
    f"dt={DATE}/_SUCCESS",
    f"dt={DATE}/._SUCCESS.crc",
    f"dt={DATE}/sub/deep/rows.parquet",
    f"_dead_letters/dt={DATE}/part-mine-00000.parquet",
    f"_dead_letters/dt={DATE}/notes.txt",
    "_runs/README.md",
    f"_runs/{UNKNOWN}/mine.txt",
    "dt=x/part-1.parquet",
    "elsewhere/dt=2026-11-21/part-20261121T020003Z-abcdef-00000.parquet",
)
"""Files of other writers, below an output."""


def put_foreign(output: str, *more: str) -> dict[str, bytes | None]:
    for name in (*FOREIGN, *more):
        store_for(output).write(join(output, name), name.encode())
    return {join(output, name): name.encode() for name in (*FOREIGN, *more)}


def assert_stay(foreign: dict[str, bytes | None]) -> None:
    assert {path: store_for(path).read(path) for path in foreign} == foreign


# === Foreign files stay ===


def test_files_of_another_writer_survive_every_way_of_deleting(output: str) -> None:
    foreign = put_foreign(output)
    first = old_run(output)
    publish(first)
    # Names of a known run, where it puts no file of that name.
    ours = f"part-{first.run_id}-00000.parquet"
    foreign |= put_foreign(
        output, f"dt={DATE}/{ours}.bak", f"dt={DATE}/sub/{ours}", f"_runs/{first.run_id}/mine.txt", f"_runs/{ours}"
    )
    late, killed = old_run(output), killed_at("commit")(output)
    foreign |= put_foreign(output, f"_runs/{killed.run_id}/staged/mine.parquet", f"_runs/{late.run_id}/staged/scores")
    second = ready(output, started=NOW)
    publish(second)
    assert publish(late).status == "superseded"
    assert_stay(foreign)
    clean(output, days=0)
    clean(output, keep_from=DATE + dt.timedelta(1), now=NOW + dt.timedelta(90))
    finish_pending(output)
    manifest, _ = read_manifest(second.manifest)
    assert manifest
    assert manifest["expired"]
    assert_stay(foreign)
    left = everything(output).keys() - foreign.keys() - {second.manifest}
    assert not left, "all that was ours is gone"


@pytest.mark.parametrize("death", ["planned", "staged", "judged", "committing"])
def test_foreign_files_beside_a_run_that_died_survive(death: str, output: str) -> None:
    run = DEATHS[death](output)
    foreign = put_foreign(output, f"_runs/{run.run_id}/staged/mine.txt", f"_runs/{run.run_id}/beats/x-1.00")
    clean(output)
    publish(ready(output, started=NOW))
    assert_stay(foreign)
    assert [path for path in everything(output) if run.run_id in path and path not in foreign] == [run.verdict]


def test_foreign_files_are_named_and_ours_are_not(output: str) -> None:
    foreign = put_foreign(output)
    publish(old_run(output))
    for death in DEATHS.values():
        death(output)
    named = read_manifest(join(output, f"dt={DATE}", "_manifest.json"))[0] or {}
    found = deletion.foreign(output, [named["run_id"]])
    assert sorted(found) == sorted(path.removeprefix(output + "/") for path in foreign if "/elsewhere/" not in path)
    assert deletion.examples(["a\x1b[2J\nb", "c"]) == "2 files (a\\x1b[2J\\nb, c)"
    assert deletion.examples(["é"] * 4) == "4 files (é, é, é, …)"


def test_parts_of_a_run_whose_plan_somebody_deleted_go_when_it_is_replaced(output: str) -> None:
    first = ready(output)
    publish(first)
    for path in store_for(output).list(first.file("")):
        store_for(output).delete(path)
    second = ready(output)
    publish(second)
    assert_holds(output, second)


def test_a_superseded_run_takes_its_staged_files_with_it(output: str) -> None:
    late, early = ready(output), ready(output)
    publish(early)
    assert store_for(output).list(late.staged)
    for _ in range(2):
        assert publish(late).status == "superseded"
        assert store_for(output).list(late.staged) == []
    assert store_for(output).list(late.file("")) == [late.plan, late.verdict]
    assert_holds(output, early)


# === One place ===


def test_only_one_module_calls_the_delete_of_a_store() -> None:
    allowed = {"transforms/outputs/deletion.py", "transforms/stores/gcs.py"}
    found = set()
    for package in ("model", "transforms", "pipeline"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in ("delete", "prune"):
                    named = node.value.id if isinstance(node.value, ast.Name) else ""
                    if named not in ("np", "deletion"):
                        found.add(str(file.relative_to(ROOT)))
    assert found == allowed


def test_every_file_that_a_run_writes_has_a_name_of_ours(output: str) -> None:
    run = planned(output)
    judge_and_publish_counts(run, row_counts(run))
    for death in DEATHS.values():
        write_taken(death(output), TakenOver(), "20261122T020000Z-0123ab")
    store_for(output).write(run.job, b"{}")
    begin_listening(run.file("beats-20261122T020000Z-0123ab"))
    paths = [path.removeprefix(output + "/") for path in everything(output)]
    assert [path for path in paths if names.owner(path) is None and not names.is_manifest(path)] == []
    assert len(paths) > 30
    end_listening(run.file("beats-20261122T020000Z-0123ab"))
    assert not [path for path in everything(output) if "beats" in path]


def test_nothing_outside_the_output_and_nothing_unknown_is_deleted(output: str) -> None:
    run, beside = ready(output), ready(output + "2")
    there = everything(output) | everything(output + "2")
    outside = [*everything(output + "2"), run.file("../../x"), f"{output}/../{Path(output).name}2/dt={DATE}/x"]
    assert deletion.delete(output, [*outside, join(output, "dt=2026-11-21"), output]) == []
    unknown = join(output, f"dt={DATE}/part-{UNKNOWN}-00000.parquet")
    store_for(output).write(unknown, b"x")
    assert deletion.delete(output, [unknown]) == []
    assert everything(output) | everything(output + "2") == there | {unknown: b"x"}
    assert deletion.delete(output, [unknown], named=[UNKNOWN]) == [unknown]
    assert beside.output == output + "2"


# === Verdicts and records that lead elsewhere ===

ELSEWHERE = {
    "staged elsewhere": {"staged": "{victim}"},
    "published elsewhere": {"path": "{victim}"},
    "staged above": {"staged": "{output}/_runs/{run_id}/staged/../../../../victim"},
    "of another run": {"staged": f"{{output}}/_runs/{UNKNOWN}/staged/scores-000000-{'0' * 32}.parquet"},
    "of another date": {"path": "{output}/dt=2020-01-01/part-{run_id}-00000.parquet"},
    "not a part": {"path": "{output}/dt=2026-11-21/_manifest.json"},
}


@pytest.mark.parametrize("overtaken", [True, False])
@pytest.mark.parametrize("wrong", ELSEWHERE)
def test_a_verdict_with_a_path_that_is_not_its_runs_touches_nothing(wrong: str, overtaken: bool, output: str) -> None:
    run = ready(output)
    if overtaken:
        publish(ready(output))
    victim, verdict = output + "-victim", read_verdict(run.verdict)
    store_for(output).write(victim, b"theirs")
    assert verdict
    filled = {"victim": victim, "output": output, "run_id": run.run_id}
    part = asdict(verdict.files[0]) | {key: value.format(**filled) for key, value in ELSEWHERE[wrong].items()}
    hostile = replace(verdict, files=(Part(**part), *verdict.files[1:]))
    store_for(output).write(run.verdict, to_bytes(asdict(hostile)))
    there = everything(output)
    with pytest.raises(RecordError, match=r"verdict\.json: a path in it is"):
        publish(run)
    assert everything(output) == there
    assert store_for(output).read(victim) == b"theirs"


def test_what_was_taken_over_must_be_of_the_run(output: str) -> None:
    run = planned(output)
    read, files, dead = row_counts(run)
    taken = TakenOver(read=tuple(read), files={"scores": tuple(files), "dead": tuple(dead), "unchanged": ()})
    assert read_taken(write_taken(run, taken, "20261122T020000Z-0123ab")) == taken
    hostile = replace(taken, files={**taken.files, "scores": (replace(files[0], path=output + "-victim"),)})
    path = write_taken(run, hostile, "20261122T020000Z-0123ac")
    with pytest.raises(RecordError, match="of no file that this run has staged"):
        read_taken(path)
    for content in (b"{}", b"[]", b"null", b'{"read": [[0, -1, 2]], "scores": [], "dead": [], "unchanged": []}'):
        store_for(output).write(path, content)
        with pytest.raises(RecordError, match="taken-"):
            read_taken(path)
