"""The gate: a run that it holds is complete and not published, until it is accepted or judged anew."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from support.bundles import Built
from support.commands import command, invoke, lines
from support.jobs import DATE as JOB_DATE
from support.runs.drifting import FEWER, days_before, held, night_published, weeks
from support.runs.history import not_published, shown
from support.runs.nights import Histograms, World
from support.runs.publishing import (
    DATE,
    assert_holds,
    in_lockstep,
    planned,
    read_parts,
    ready,
    row_counts,
    rows_of,
    status,
    visible,
)

from pipeline.publishing import publish_again
from transforms.errors import PublishError
from transforms.outputs.drift.record import Beyond, beyond
from transforms.publish.commit import publish, standing
from transforms.publish.gate import Gate
from transforms.publish.step import PublishRun, judge_and_publish
from transforms.runs.run import accept_command, read_manifest
from transforms.runs.verdicts import accept
from transforms.score import macro_batch
from transforms.stores.choose import store_for


@pytest.fixture
def local(tmp_path: Path) -> str:
    return str(tmp_path / "out")


# === What holds a run ===


def test_a_run_that_drifts_is_held_if_its_job_asks_for_that(local: str) -> None:
    generator = np.random.default_rng(11)
    world = World.drawn(generator)

    def drawn(date: dt.date, mixed: float = 0.0) -> Histograms:
        return world.night(generator, date, mixed=mixed)

    gate = Gate(drift=True)
    for date in days_before(13):
        assert night_published(local, date, drawn(date), gate)[1].status == "published"
    run, verdict = night_published(local, DATE, drawn(DATE, 0.3), gate)
    assert verdict.status == "held"
    (problem,) = verdict.problems
    assert "from earlier dates, and its bound is 0." in problem
    assert problem.endswith("more (--hold-if-drift)")
    assert read_manifest(run.manifest) == (None, None)
    first, *_ = found = beyond(verdict.drift)
    assert problem.startswith(f"{first.statistic} is {first.distance:.3f} from earlier dates")
    (told,) = shown(local)["runs"]
    assert [Beyond(**one) for one in told["beyond"]] == found
    code, _, err = invoke("publish", run.run_id, "--output", local)
    named = [f"{one.statistic} is {one.distance:.3f} from the last 13 dates (bound {one.bound:.3f})" for one in found]
    assert (code, f"\ndrift: {', '.join(named[:3])}" in err) == (5, True)
    code, out, _ = invoke("publish", run.run_id, "--output", local, "--log-format", "json")
    events = [json.loads(line) for line in out.splitlines()]
    assert [(one["event"], one.get("drift")) for one in events] == [("warning", verdict.drift), ("held", None)]
    code, _, err = invoke("publish", run.run_id, "--output", local, "--accept")
    manifest, _ = read_manifest(run.manifest)
    assert manifest is not None
    assert (code, "warning: drift: " in err, manifest["drift"]) == (0, True, verdict.drift)
    _, verdict = night_published(local, DATE, drawn(DATE, 0.3))
    assert verdict.status == "published", "without the flag it is told, and published"


def test_fewer_rows_than_the_share_are_held_and_as_many_are_not(output: str) -> None:
    weeks(output)
    run = held(output, Gate(min_rows_ratio=0.51))
    assert visible(output) == set()
    assert store_for(output).list(run.staged) != []
    other = planned(output, rows=3)
    found = judge_and_publish(other, *row_counts(other, ("a", "b"), [2]), [], gate=Gate(min_rows_ratio=0.5))
    assert found.status == "published"


def test_fewer_than_seven_dates_hold_nothing(local: str) -> None:
    weeks(local, 6)
    run = planned(local, rows=3)
    gate = Gate(drift=True, min_rows_ratio=1.0)
    assert judge_and_publish(run, *row_counts(run, ("a", "b"), [2]), [], gate=gate).status == "published"


def test_dead_letters_come_before_the_gate(local: str) -> None:
    from transforms.runs.error_budget import ErrorBudget

    weeks(local)
    run = planned(local, rows=3, budget=ErrorBudget(fraction=0))
    with pytest.raises(PublishError):
        judge_and_publish(run, *row_counts(run, ("a", "b"), [2]), [], gate=FEWER)
    assert status(run) == "over_budget"


def test_a_run_that_was_overtaken_is_superseded_and_not_held(output: str) -> None:
    weeks(output)
    run = planned(output, rows=3)
    winner = ready(output)
    publish(winner)
    found = judge_and_publish(run, *row_counts(run, ("a", "b"), [2]), [], gate=FEWER)
    # Its JSON event has no reason of a gate.
    assert (found.status, found.problems) == ("superseded", ())
    assert_holds(output, winner)


def test_a_pipeline_whose_run_is_held_fails_and_its_verdict_says_held(local: str) -> None:
    weeks(local)
    run = planned(local, rows=3)
    read, files, dead = row_counts(run, ("a", "b"), [2])
    p = beam.Pipeline()
    counts, scores, letters, nothing = (
        p | name >> beam.Create(some) for name, some in (("c", read), ("s", files), ("d", dead), ("n", []))
    )
    p | PublishRun(run, read=counts, scores=scores, dead=letters, work=nothing, unchanged=nothing, gate=FEWER)
    with pytest.raises(Exception, match="is held: 2 rows"):
        p.run().wait_until_finish()
    assert (status(run), visible(local)) == ("held", set())


# === Held, and what can become of it ===


def test_a_held_run_is_told_and_refused_without_accept(output: str) -> None:
    weeks(output)
    run = held(output)
    problem = "2 rows are 0.500 of the 4 that the last dates have, and --min-rows-ratio is 0.9"
    code, _, err = invoke("publish", run.run_id, "--output", output)
    assert code == 5
    assert err == (f"held, nothing was published: {problem}; to publish it: {accept_command(output, run.run_id)}\n")
    code, out, _ = invoke("publish", run.run_id, "--output", output, "--log-format", "json")
    event = json.loads(out)
    assert (code, event["event"], event["problems"]) == (5, "held", [problem])
    (found,) = not_published(output)
    reason = f"{problem}; to publish it: {accept_command(output, run.run_id)}"
    assert (found.run_id, found.state, found.reason) == (run.run_id, "held", reason)
    with pytest.raises(PublishError, match=f"run {run.run_id} is held: 2 rows"):
        publish(run)
    _, metrics, _ = invoke("runs", "--output", output, "--format", "openmetrics")
    assert f'unpublished_runs{{output="{output}",state="held"}} 1' in metrics


def test_accepting_it_publishes_it_and_the_manifest_says_so(output: str) -> None:
    weeks(output)
    run = held(output)
    code, out, _ = invoke("publish", run.run_id, "--output", output, "--accept")
    assert (code, f"published {run.folder}" in out, read_parts(output)) == (0, True, rows_of(run, ("a", "b")))
    manifest, _ = read_manifest(run.manifest)
    assert manifest is not None
    assert dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(manifest["accepted"]) < dt.timedelta(minutes=5)
    assert invoke("publish", run.run_id, "--output", output, "--accept")[0] == 0
    assert read_manifest(run.manifest)[0] == manifest


def test_a_run_that_is_not_held_needs_no_accept_and_takes_it(output: str) -> None:
    run = ready(output)
    assert publish_again(output, run.run_id, accepted=True).status == "published"
    assert_holds(output, run)
    assert "accepted" not in (read_manifest(run.manifest)[0] or {})


def test_it_is_replaced_by_a_run_that_is_published_meanwhile(output: str) -> None:
    weeks(output)
    run, winner = held(output), ready(output)
    publish(winner)
    verdict = standing(run)
    assert verdict is not None
    assert ([found.state for found in not_published(output)], verdict.status) == (["superseded"], "superseded")
    code, _, err = invoke("publish", run.run_id, "--output", output, "--accept")
    assert (code, "another run of the date was published" in err, status(run)) == (4, True, "superseded")
    assert_holds(output, winner)
    assert store_for(output).list(run.staged) == []


def test_one_that_was_overtaken_is_superseded_without_accept_too(output: str) -> None:
    weeks(output)
    run, winner = held(output), ready(output)
    publish(winner)
    assert invoke("publish", run.run_id, "--output", output)[0] == 4
    assert_holds(output, winner)


def test_it_replaces_the_rows_that_were_there(output: str) -> None:
    weeks(output)
    old = ready(output)
    publish(old)
    run = held(output)
    assert_holds(output, old)
    assert publish_again(output, run.run_id, accepted=True).status == "published"
    assert read_parts(output) == rows_of(run, ("a", "b"))
    assert all(run.run_id in path for path in visible(output))


def test_of_two_held_runs_that_are_accepted_at_once_one_is_published(output: str) -> None:
    weeks(output)
    runs = [held(output), held(output)]
    for run in runs:
        accept(run.verdict)
    assert in_lockstep(*runs) == ["published", "superseded"]
    (winner,) = (run for run in runs if status(run) == "published")
    assert read_parts(output) == rows_of(winner, ("a", "b"))


# === The command ===


@pytest.fixture
def job(classes: Built, tmp_path: Path, local: str) -> Callable[..., tuple[int, str, str]]:
    """`score` of two rows into an output whose last dates have four."""
    for date in days_before(7, dt.date.fromisoformat(JOB_DATE)):
        publish(ready(local, date=date))
    source = lines(tmp_path / "in.jsonl", 2)
    return lambda *flags: invoke(*command(classes, source, Path(local), *flags)[3:])


def test_the_command_holds_and_the_same_again_judges_anew_and_scores_nothing(
    job: Callable[..., tuple[int, str, str]], local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = job("--min-rows-ratio", "0.9")
    assert (code, "published" in out) == (5, False)
    assert "held, nothing was published: 2 rows are 0.500 of the 4" in err
    (run,) = shown(local)["runs"]

    def never(*_: object) -> None:
        raise AssertionError("a row was scored again")

    monkeypatch.setattr(macro_batch, "_score_all", never)
    assert job("--min-rows-ratio", "0.9")[0] == 5
    assert [one["run_id"] for one in shown(local)["runs"]] == [run["run_id"]]
    assert job("--min-rows-ratio", "0.4")[0] == 0
    assert shown(local)["runs"] == []
    assert shown(local)["dates"][-1]["run_id"] == run["run_id"]
    manifest = json.loads((Path(local) / f"dt={JOB_DATE}" / "_manifest.json").read_text())
    assert sum(pq.read_metadata(Path(local) / part["path"]).num_rows for part in manifest["files"]) == 2


def test_a_run_that_died_is_resumed_and_held(
    job: Callable[..., tuple[int, str, str]], local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms.publish import step

    def dies(*_: object) -> None:
        raise RuntimeError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr(step, "judge", dies)
        assert job("--min-rows-ratio", "0.9")[0] == 1
    (run,) = shown(local)["runs"]
    assert job("--min-rows-ratio", "0.9")[0] == 5
    assert [(one["run_id"], one["state"]) for one in shown(local)["runs"]] == [(run["run_id"], "held")]
    assert invoke("publish", run["run_id"], "--output", local, "--accept")[0] == 0


def test_the_command_says_that_nothing_can_be_held(classes: Built, tmp_path: Path, local: str) -> None:
    source = lines(tmp_path / "in.jsonl", 2)
    code, out, _ = invoke(*command(classes, source, Path(local), "--hold-if-drift")[3:])
    sentence = "nothing can be held: 0 dates to compare with, and it takes 7"
    assert (code, f"drift      {sentence}" in out) == (0, True)
    code, out, _ = invoke(*command(classes, source, Path(local), "--hold-if-drift", "--log-format", "json")[3:])
    warned = [event["message"] for event in map(json.loads, out.splitlines()) if event["event"] == "warning"]
    assert (code, warned) == (0, [f"drift: {sentence}"])
