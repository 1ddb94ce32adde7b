"""--if-published: dates that are left alone because they are published."""

import datetime as dt
import json
from pathlib import Path

import pytest
from support.bundles import Built
from support.commands import command, invoke, lines
from support.jobs import DATE
from support.runs.publishing import ready

from pipeline.jobs.config import JobConfig
from transforms.publish.commit import publish
from transforms.runs.run import read_manifest


def test_a_published_date_is_left_alone_when_told_so_before_the_input_is_looked_at(
    classes: Built, tmp_path: Path
) -> None:
    source, output = lines(tmp_path / "in.jsonl", 5), tmp_path / "out"
    skip = command(classes, source, output, "--if-published", "skip")[3:]
    assert invoke(*skip)[0] == 0, "nothing is there yet"
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    source.unlink()
    code, out, err = invoke(*skip)
    assert (code, err) == (99, "")
    assert out.startswith(f"already published {output}/dt={DATE}, by run ")
    code, out, _ = invoke(*skip, "--log-format", "json")
    event = json.loads(out)
    assert (code, event["event"], event["counts"]["scored"]) == (99, "already_published", 5)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    assert invoke(*command(classes, source, output)[3:])[0] == 75, "by default it is scored again"


def test_check_says_that_a_date_is_published(classes: Built, tmp_path: Path) -> None:
    source, output = lines(tmp_path / "in.jsonl", 5), str(tmp_path / "out")
    publish(ready(output, date=dt.date.fromisoformat(DATE)))
    check = ["check", *command(classes, source, output)[4:]]
    assert "already published" not in invoke(*check)[1]
    code, out, _ = invoke(*check, "--if-published", "skip")
    assert (code, f"already published {output}/dt={DATE}" in out, "5 rows" in out) == (0, True, True)


def test_a_date_that_is_pending_is_finished_and_then_left_alone(classes: Built, tmp_path: Path) -> None:
    from support.runs.publishing import Killed, before, die

    run = ready(str(tmp_path / "out"), date=dt.date.fromisoformat(DATE))
    with pytest.raises(Killed):
        publish(run, before("delete_parts", die))
    source = lines(tmp_path / "in.jsonl", 5)
    assert invoke(*command(classes, source, tmp_path / "out", "--if-published", "skip")[3:])[0] == 99
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    assert (manifest["run_id"], manifest["finished"]) == (run.run_id, True)


def test_a_run_that_failed_says_why_also_when_nothing_can_be_finished_after_it(
    classes: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        monkeypatch.setattr("pipeline.scoring.finish_pending", lambda _: 1 / 0)
        monkeypatch.setattr("pipeline.scoring.standing", lambda _: 1 / 0)
        raise FileNotFoundError("the first error")

    monkeypatch.setattr("pipeline.scoring.start", fail)
    code, _, err = invoke(*command(classes, lines(tmp_path / "in.jsonl", 5), tmp_path / "out")[3:])
    assert (code, "failed: FileNotFoundError: the first error" in err) == (1, True), err


def test_the_policy_is_no_setting_of_the_rows() -> None:
    jobs = [JobConfig(bundle="b", input=("i",), output="o", if_published=policy) for policy in ("skip", "replace")]
    assert jobs[0].settings == jobs[1].settings


def test_an_unknown_policy_is_refused(classes: Built, tmp_path: Path) -> None:
    code, _, err = invoke(*command(classes, "x", tmp_path, "--if-published", "never")[3:])
    assert (code, "--if-published 'never'" in err) == (2, True)
