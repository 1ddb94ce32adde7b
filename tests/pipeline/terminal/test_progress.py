"""How far a run is: every row is told of once, as soon as it has its end."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import Built
from support.jobs import DATE, NOW, many_texts, write_parquet
from support.scorers import POISON, FakeScorer, ragged

from pipeline.jobs.config import JobConfig
from pipeline.scoring import score
from pipeline.terminal import bar, console
from pipeline.terminal.bar import Bar, Steps, steps_of
from transforms.runs import progress
from transforms.runs.progress import IDS, PUBLISH, ROWS, Teller, Told, advance
from transforms.score.engines.choice import Choice
from transforms.score.macro_batch import score_rows

# Few tokens, so that there are duplicates, and rows at fault.
ROW = st.tuples(st.lists(st.integers(POISON - 2, POISON + 2), min_size=1, max_size=4), st.just(1))


@given(st.lists(ROW, max_size=40), st.sampled_from([None, 1024]))
def test_micro_batches_tell_of_every_row_once(rows: list[tuple[list[int], int]], largest: int | None) -> None:
    scorer, told = FakeScorer(largest), list[int]()
    for _ in range(2):  # The second time the results are remembered.
        told.clear()
        score_rows(ragged(rows), scorer, told.append)
        assert sum(told) == len(rows)


def test_a_micro_batch_is_told_of_before_the_next_is_computed() -> None:
    scorer, seen = FakeScorer(token_budget=512), list[tuple[int, int]]()
    rows = [([token] * 4, 1) for token in range(20, 60)]
    score_rows(ragged(rows), scorer, lambda rows: seen.append((scorer.calls, rows)))
    assert len(seen) > 10
    assert [calls for calls, rows in seen if rows] == list(range(1, scorer.calls + 1))


def test_rows_that_share_their_tokens_are_told_of_with_the_one_that_is_computed() -> None:
    told = list[int]()
    score_rows(ragged([([20, 21], 1)] * 5 + [([22], 1)]), FakeScorer(token_budget=512), told.append)
    assert sorted(told) == [0, 1, 5] or told == [0, 6]


def test_a_worker_writes_a_few_times_a_second_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, written = [100.0], list[int]()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(progress, "advance", lambda path, rows, what: written.append(rows))
    teller = Teller("file", 1000)
    for _ in range(90):
        now[0] += 0.01
        teller(10)
    assert written == [250, 250, 250] or (len(written) == 3 and sum(written) < 900)
    teller.end()
    assert sum(written) == 1000
    silent = Teller(None, 7)
    silent(7)
    silent.end()


def test_what_several_processes_tell_is_summed_and_read_on(tmp_path: Path) -> None:
    path = str(tmp_path / "progress")
    told = Told(path)
    assert told.look() == {IDS: 0, ROWS: 0, PUBLISH: 0}
    advance(path, 5)
    advance(path, 7, IDS)
    with open(path, "ab") as file:
        file.write(b"cut")  # A record of which only the beginning is there yet.
        file.flush()
        assert told.look() == {IDS: 7, ROWS: 5, PUBLISH: 0}
        file.truncate(file.tell() - 3)
    advance(path, 1)
    advance(path, 0)
    advance(path, 1, PUBLISH)
    assert told.look() == {IDS: 7, ROWS: 6, PUBLISH: 1}
    advance(None, 3)


def test_the_steps_follow_one_another(tmp_path: Path) -> None:
    path = str(tmp_path / "progress")
    steps = Steps(path, rows=100, exact=True, before=40, first=IDS)
    assert steps.look() == (IDS, 0, 100)
    advance(path, 30, IDS)
    assert steps.look() == (IDS, 30, 100)
    advance(path, 70, IDS)
    assert steps.look() == (ROWS, 40, 100)
    advance(path, 50)
    assert steps.look() == (ROWS, 90, 100)
    advance(path, 1, PUBLISH)
    assert steps.look() == (PUBLISH, 90, 90)


def test_an_estimate_that_was_too_low_is_not_overrun(tmp_path: Path) -> None:
    path = str(tmp_path / "progress")
    steps = Steps(path, rows=10, exact=False)
    advance(path, 12)
    assert steps.look() == (ROWS, 12, 12)


def test_the_bar_has_a_line_for_each_step(tmp_path: Path) -> None:
    path, written = str(tmp_path / "progress"), io.StringIO()
    shown = Bar(console.Terminal(file=written, force_terminal=True, width=120, **console.PLAIN))
    steps = Steps(path, rows=100, exact=False, first=IDS)
    with shown.drawn():
        shown.show(steps)
        advance(path, 100, IDS)
        shown.show(steps)
        advance(path, 33)
        shown.show(steps)
        task = shown._progress.tasks[-1]
        assert (task.completed, task.total, task.fields["rows"]) == (33, 100, "33/~100 rows")
        with shown.following(steps):
            advance(path, 1, PUBLISH)
        assert [task.description for task in shown._progress.tasks] == list(bar.STEPS.values())
    last = written.getvalue().split("\x1b[2K")
    said = "".join(last[-8:])
    for name in (*bar.STEPS.values(), "33 rows"):
        assert name in said


def test_of_a_run_that_never_began_nothing_stays_on_the_terminal() -> None:
    written = io.StringIO()
    shown = Bar(console.Terminal(file=written, force_terminal=True, width=120, **console.PLAIN))
    with pytest.raises(ZeroDivisionError), shown.drawn():
        raise ZeroDivisionError
    assert bar.STEPS[bar.LOOK] not in written.getvalue().split("\x1b[2K")[-1]


def told_of(job: JobConfig, path: Path) -> dict[int, int]:
    """What the workers of a job tell."""
    path.unlink(missing_ok=True)
    assert score(job, now=NOW, progress=str(path)).status == "published"
    return Told(str(path)).look()


def test_rows_scored_dead_copied_and_carried_are_all_told_of(classes: Built, tmp_path: Path) -> None:
    texts = [*many_texts(30), " ", "", *["play"] * 8]
    rows: dict[str, Any] = {"id": [f"r{i % 38}" for i in range(40)], "text": texts}
    file = write_parquet(tmp_path / "in.parquet", rows)
    job: dict[str, Any] = {"bundle": str(classes.path), "input": (str(file),), "output": (str(tmp_path / "out"),)}
    job |= {"max_dead_fraction": 1.0, "precision": "float32"}
    path = tmp_path / "progress"
    first = told_of(JobConfig(**job, date=DATE), path)
    assert first == {IDS: 40, ROWS: 40, PUBLISH: 1}
    carried = told_of(JobConfig(**job, date="2026-11-22", only_new=True), path)
    assert carried == {IDS: 40, ROWS: 40, PUBLISH: 1}
    trusted = told_of(JobConfig(**job, date="2026-11-23", trust_ids=True), path)
    assert trusted == {IDS: 0, ROWS: 40, PUBLISH: 1}


def test_what_an_attempt_before_has_finished_counts_from_the_beginning(tmp_path: Path) -> None:
    taken = SimpleNamespace(read=[SimpleNamespace(rows=30), SimpleNamespace(rows=12)])
    plan = SimpleNamespace(rows=100, exact=True, columns=SimpleNamespace(id="id"))
    for trust_ids, passed, expected in (
        (True, False, (ROWS, 42, 100)),
        (False, False, (IDS, 0, 100)),
        (False, True, (PUBLISH, 42, 42)),
    ):
        job, resumed = SimpleNamespace(trust_ids=trust_ids), SimpleNamespace(taken=taken, passed=passed)
        prepared: Any = SimpleNamespace(plan=plan, resumed=resumed, job=job, earlier=None)
        assert steps_of(prepared, str(tmp_path / "none")).look() == expected


def test_machines_are_told_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import json
    import time

    monkeypatch.setattr(console, "PROGRESS_SECONDS", 0.05)
    reporter = console.console_for("json")
    path = str(tmp_path / "progress")
    run = SimpleNamespace(run_id="20261121T020003Z-5f3a9c", date=NOW.date(), bundle="b@0")
    plan = SimpleNamespace(rows=100, exact=True, columns=SimpleNamespace(id=None))
    compute, job = SimpleNamespace(progress=path), SimpleNamespace(trust_ids=False)
    prepared: Any = SimpleNamespace(
        run=run,
        plan=plan,
        resumed=None,
        compute=compute,
        choice=Choice(precision="bfloat16", notes=("why",)),
        job=job,
        earlier=None,
        passed_over=None,
    )
    with reporter.watch(prepared):
        advance(path, 33)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and '"rows_done": 33' not in (said := said_so_far(capsys)):
            time.sleep(0.05)
    events = [json.loads(line) for line in said.splitlines()]
    assert {event["event"] for event in events} == {"planned", "progress"}
    assert [events[0][key] for key in ("precision", "engine", "notes")] == ["bfloat16", "tensorflow", ["why"]]
    assert events[-1]["step"] == "scoring"
    assert not Path(path).exists()


_said: list[str] = []


def said_so_far(capsys: pytest.CaptureFixture[str]) -> str:
    _said.append(capsys.readouterr().out)
    return "".join(_said)
