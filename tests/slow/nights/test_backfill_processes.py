"""Which processes of a back-fill run when: real ones, of a program that only says that it scored."""

import datetime as dt
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.bundles import Built
from support.jobs import DATE
from support.runs.publishing import ready

from pipeline import backfill as code
from pipeline.jobs.config import JobConfig, load_job
from pipeline.terminal.backfill_report import DateReporter
from transforms.publish import tidy as tidying
from transforms.publish.commit import publish
from transforms.runs.run import manifest_path
from transforms.stores.choose import store_for

SCORE = """#!/bin/sh
echo "start $8 $TF_NUM_INTRAOP_THREADS" >> {log}
{act}
echo "end $8" >> {log}
echo '{{"event": "planned"}}'
echo '{{"event": "published", "problems": [], "counts": {{"read": 2, "scored": 2, "dead": 0}}}}'
"""


@pytest.fixture
def fake_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: Built) -> Callable[..., Any]:
    """Runs a back-fill of jobs that do what `act`, a line of shell, says for the date in $8."""
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)

    def run(act: str = ":", *, days: int = 4, max_parallel: int = 1, **settings: Any) -> Any:
        program, log = tmp_path / "score.sh", tmp_path / "log"
        program.write_text(SCORE.format(log=log, act=act))
        program.chmod(0o755)
        log.write_text("")
        monkeypatch.setattr("pipeline.runners.children.sys", SimpleNamespace(executable=str(program), path=sys.path))
        values = {"bundle": str(classes.path), "input": ("in/{date}",), "output": str(tmp_path / "out"), **settings}
        job = JobConfig(if_published=values.pop("if_published", "skip"), **values)
        told: list[code.Ended] = []
        dates = [dt.date(2026, 11, 1) + dt.timedelta(day) for day in range(days)]
        ended = code.backfill(job, dates, max_parallel, told.append)
        return SimpleNamespace(code=ended, told=told, log=[line.split() for line in log.read_text().splitlines()])

    return run


def test_dates_run_in_order_one_after_the_other(fake_score: Callable[..., Any]) -> None:
    found = fake_score()
    days = [f"2026-11-0{day}" for day in range(1, 5)]
    assert [line[:2] for line in found.log] == [[what, day] for day in days for what in ("start", "end")]
    assert [(ended.date, ended.code, ended.outcome) for ended in found.told] == [(day, 0, "published") for day in days]
    assert found.code == 0


def at_once(log: list[list[str]]) -> int:
    running, most = 0, 0
    for what, *_ in log:
        running += 1 if what == "start" else -1
        most = max(most, running)
    return most


def test_no_more_dates_at_once_than_allowed_and_they_share_the_cores(
    fake_score: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    found = fake_score("sleep 0.5", days=6, max_parallel=3, workers=2)
    assert at_once(found.log) == 3
    assert {line[2] for line in found.log if line[0] == "start"} == {"2"}
    assert fake_score(days=1, workers=2).log[0][2:] == [], "one date shares with nobody"
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    assert fake_score(days=1, max_parallel=3).log[0][2:] == ["5"]


def test_the_share_of_a_date_is_not_overridden_by_its_own_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.runners.cores import share_cores

    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    with share_cores(2):
        assert os.environ["TF_NUM_INTRAOP_THREADS"] == "1"
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "1"
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    with share_cores(2):
        assert os.environ["TF_NUM_INTRAOP_THREADS"] == "8"
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ


def test_incremental_dates_wait_for_each_other(fake_score: Callable[..., Any]) -> None:
    assert at_once(fake_score("sleep 0.2", max_parallel=4, only_new=True).log) == 1


@pytest.mark.parametrize("max_parallel", [1, 4])
def test_the_exit_code_is_that_of_the_first_date_that_failed(max_parallel: int, fake_score: Callable[..., Any]) -> None:
    act = "case $8 in *-02) sleep 0.3; exit 75;; *-03) exit 3;; esac"
    found = fake_score(act, max_parallel=max_parallel)
    assert found.code == 75
    assert {ended.date[-2:]: ended.code for ended in found.told} == {"01": 0, "02": 75, "03": 3, "04": 0}


@pytest.mark.parametrize(
    ("act", "code_", "message"),
    [
        ("kill -9 $$", 1, "ended by SIGKILL"),
        ("kill -SEGV $$", 1, "ended by SIGSEGV"),
        ("echo 1 >&2; echo 2 >&2; echo 3 >&2; echo 4 >&2; exit 1", 1, "2\n3\n4"),
        ("echo 'no json'; exit 1", 1, ""),
        ('echo \'{"event": "error", "message": "a\\\\nb"}\'; exit 2', 2, "a\nb"),
        ("echo '[1]'; exit 0", 1, ""),
        ("exit 0", 1, ""),
    ],
)
def test_whatever_a_process_ends_with_is_told_and_no_success(
    act: str, code_: int, message: str, fake_score: Callable[..., Any]
) -> None:
    found = fake_score(act, days=1)
    (ended,) = found.told
    assert (found.code, ended.code, ended.outcome) == (code_, code_, "failed")
    assert ended.message.endswith(message)


def test_a_verdict_that_publishes_nothing_is_told_with_its_problems(fake_score: Callable[..., Any]) -> None:
    verdict = '{"event": "over_budget", "problems": ["too many"], "counts": {"read": 2, "scored": 1, "dead": 1}}'
    (ended,) = fake_score(f"echo '{verdict}'; exit 3", days=1).told
    assert (ended.code, ended.outcome, ended.message, ended.counts["dead"]) == (3, "over_budget", "too many", 1)


def test_dates_that_are_published_need_no_process(fake_score: Callable[..., Any], tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    for day in (1, 3):
        publish(ready(output, date=dt.date(2026, 11, day)))
    # Nobody can tell what the date of a broken manifest holds: that is for `score` to say.
    store_for(output).write(manifest_path(output, dt.date(2026, 11, 4)), b"{")
    found = fake_score()
    assert [line[1] for line in found.log if line[0] == "start"] == ["2026-11-02", "2026-11-04"]
    assert [(ended.date[-2:], ended.outcome, ended.code) for ended in found.told] == [
        ("01", "already_published", 99),
        ("02", "published", 0),
        ("03", "already_published", 99),
        ("04", "published", 0),
    ]
    assert found.code == 0
    assert len(fake_score(if_published="replace").log) == 8


def test_a_published_date_that_is_not_finished_is_left_to_score(
    fake_score: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.runs.publishing import Killed, before, die

    for day, step in ((1, "delete_parts"), (2, "finish")):
        with pytest.raises(Killed):
            publish(ready(str(tmp_path / "out"), date=dt.date(2026, 11, day)), before(step, die))
    tidy = tidying.tidy
    monkeypatch.setattr(tidying, "tidy", lambda *given: 1 / 0 if "-01/" in given[1] else tidy(*given))
    found = fake_score("exit 1", days=2)
    assert [line[1] for line in found.log] == ["2026-11-01"]
    assert (found.code, [ended.outcome for ended in found.told]) == (1, ["failed", "already_published"])


def test_rows_taken_over_unchanged_are_rows_of_the_date(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"read": 61, "scored": 2, "skipped": 58, "dead": 1}
    DateReporter("text").tell(code.Ended(date=DATE, code=0, outcome="published", counts=counts))
    assert capsys.readouterr().out == f"{DATE}  published, 60 rows, 1 dead letters\n"


def test_every_process_gets_the_whole_job(tmp_path: Path, fake_score: Callable[..., Any]) -> None:
    copied = tmp_path / "copied.yaml"
    settings = {
        "input": ("in ü/{date}/*.jsonl", "more 😀/{date}"),
        "rename": {"label": "gold: label"},
        "schema": {"price": "float64"},
        "keep": "none",
        "top_k": 2,
        "allow_missing": True,
        "beam_options": ("--sdk_worker_parallelism=1",),
        "workers": 2,
        "text_pair_column": None,
        "timezone": "Europe/Berlin",
        "if_published": "replace",
    }
    fake_score(f"cp $6 {copied}", days=1, **settings)
    given = load_job(str(copied), {"date": "2026-11-01"})
    values = given.model_dump(by_alias=True)
    assert {key: values[key] for key in settings} == settings
    assert Path(given.home) == tmp_path / "out"
    assert not list(Path(copied.read_text().split("\n")[0]).glob("job.yaml")), "the file it was in is gone"


def test_a_job_file_may_say_what_happens_to_published_dates(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("bundle: b\ninput: i\noutput: o\nif_published: replace\n")
    assert load_job(str(tmp_path / "job.yaml"), {}, if_published="skip").if_published == "replace"
    assert load_job(None, {"bundle": "b", "input": "i", "output": "o"}, if_published="skip").if_published == "skip"
