"""Back-fills, and dates that are left alone because they are published."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.bundles import Built
from support.commands import ROOT, command, invoke, lines
from support.jobs import DATE
from support.runs.publishing import read_parts, ready

from pipeline import backfill as code
from pipeline.errors import DateError
from pipeline.jobs.config import JobConfig, load_job
from pipeline.jobs.dates import MAX_DAYS, date_range
from pipeline.terminal.backfill_report import DateReporter
from transforms.publish import tidy as tidying
from transforms.publish.commit import publish
from transforms.runs.history import list_runs, published_verdict
from transforms.runs.run import date_folder, manifest_path, read_manifest
from transforms.stores.choose import store_for

NOW = dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC)
DATES = [f"2026-11-{day}" for day in (19, 20, 21)]

# === --if-published ===


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


# === Ranges ===


@pytest.mark.parametrize(
    ("first", "last", "dates"),
    [
        ("2026-11-20", "2026-11-20", ["2026-11-20"]),
        ("2026-02-27", "2026-03-01", ["2026-02-27", "2026-02-28", "2026-03-01"]),
        ("2028-02-28", "2028-03-01", ["2028-02-28", "2028-02-29", "2028-03-01"]),
        ("2026-12-31", "2027-01-01", ["2026-12-31", "2027-01-01"]),
        ("yesterday", "today", ["2026-11-21", "2026-11-22"]),
    ],
)
def test_both_ends_of_a_range_belong_to_it(first: str, last: str, dates: list[str]) -> None:
    assert [date.isoformat() for date in date_range(first, last, "UTC", NOW)] == dates


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2026-11-21", "2026-11-20", "--from 2026-11-21 is after --to 2026-11-20"),
        ("2016-01-01", "2026-11-20", "at most 3,700"),
        ("0001-01-01", "9999-12-31", "at most 3,700"),
        ("2026-11-31", "2026-12-01", "--from '2026-11-31' is no date"),
        ("2026-11-01", "soon", "--to 'soon' is no date"),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused(first: str, last: str, message: str) -> None:
    with pytest.raises(DateError, match=message):
        date_range(first, last, "UTC", NOW)


def test_the_longest_range_is_allowed() -> None:
    first = NOW.date() - dt.timedelta(MAX_DAYS - 1)
    assert len(date_range(first.isoformat(), "today", "UTC", NOW)) == MAX_DAYS


# === A back-fill of real scores ===


def backfill_command(classes: Built, folder: Path, *more: object) -> list[str]:
    arguments = ["--from", DATES[0], "--to", DATES[-1], "--bundle", classes.path, "--output", folder / "out"]
    return ["backfill", *map(str, [*arguments, "--input", folder / "in" / "{date}.jsonl", *more])]


def ids(output: Path, date: str) -> list[str]:
    return [id_ for id_, _ in read_parts(str(output), dt.date.fromisoformat(date))]


def run_id(output: Path, date: str) -> str:
    there = published_verdict(str(output), dt.date.fromisoformat(date))
    return there.run_id if there else ""


def test_a_back_fill_publishes_each_date_and_goes_on_where_it_stopped(classes: Built, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for number, date in ((0, DATES[0]), (2, DATES[2])):
        lines(tmp_path / "in" / f"{date}.jsonl", 3 + number, f"d{number}-")
    code, out, err = invoke(*backfill_command(classes, tmp_path, "--max-parallel", 2))
    assert code == 75
    assert sorted(out.splitlines()[:-1]) == [
        f"{DATES[0]}  published, 3 rows, 0 dead letters",
        f"{DATES[1]}  failed (exit code 75)",
        f"{DATES[2]}  published, 5 rows, 0 dead letters",
    ]
    assert out.splitlines()[-1] in ("3 dates: 2 published, 1 failed", "3 dates: 1 failed, 2 published")
    assert f"no input file matches {tmp_path}/in/{DATES[1]}.jsonl" in err
    runs = [run_id(output, date) for date in DATES]

    lines(tmp_path / "in" / f"{DATES[1]}.jsonl", 4, "d1-")
    code, out, _ = invoke(*backfill_command(classes, tmp_path))
    assert code == 0
    assert out.splitlines() == [
        f"{DATES[0]}  already published, 3 rows, 0 dead letters",
        f"{DATES[1]}  published, 4 rows, 0 dead letters",
        f"{DATES[2]}  already published, 5 rows, 0 dead letters",
        "3 dates: 2 already published, 1 published",
    ]
    assert [ids(output, date) for date in DATES] == [[f"d{n}-{i}" for i in range(3 + n)] for n in range(3)]
    assert [run_id(output, DATES[0]), run_id(output, DATES[2])] == [runs[0], runs[2]]


def children_of(process: "subprocess.Popen[str]") -> list[int]:
    """Processes below one, from the processes' own parents."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # It has just ended.
    found = [process.pid]
    for parent in found:
        found += [pid for pid, above in parents.items() if above == parent]
    return found[1:]


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def start(classes: Built, folder: Path, *more: object) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-m", "pipeline", *backfill_command(classes, folder, *more)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_date_that_is_killed_takes_no_other_with_it(classes: Built, tmp_path: Path) -> None:
    for number, date in enumerate(DATES):
        lines(tmp_path / "in" / f"{date}.jsonl", 3, f"d{number}-")
    publish(ready(str(tmp_path / "out"), date=dt.date.fromisoformat(DATES[1])))
    process = start(classes, tmp_path)
    assert wait_for(lambda: list_runs(str(tmp_path / "out")).keys() - {run_id(tmp_path / "out", DATES[1])})
    (child,) = children_of(process)
    os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out.splitlines() == [
        f"{DATES[0]}  failed (exit code 1)",
        f"{DATES[1]}  already published, 4 rows, 1 dead letters",
        f"{DATES[2]}  published, 3 rows, 0 dead letters",
        "3 dates: 1 failed, 1 already published, 1 published",
    ]
    assert err == "  its process was ended by SIGKILL\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_an_interrupt_ends_every_process_and_no_date_is_half_there(
    number: int, code: int, classes: Built, tmp_path: Path
) -> None:
    for date in DATES:
        lines(tmp_path / "in" / f"{date}.jsonl", 3)
    process = start(classes, tmp_path, "--max-parallel", 2, "--workers", 2)
    # Both have planned: their worker processes are there, or are being started.
    assert wait_for(lambda: len(list_runs(str(tmp_path / "out"))) == 2)
    wait_for(lambda: len(children_of(process)) > 2, 5)
    below = children_of(process)
    assert len(below) >= 2
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert "interrupted" in err or number != signal.SIGINT
    assert wait_for(lambda: not [pid for pid in below if Path(f"/proc/{pid}/exe").exists()], 20)
    for date in DATES:
        assert ids(tmp_path / "out", date) in ([], ["r0", "r1", "r2"])


# === Which processes run when: the real ones, of a program that only says that it scored ===

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


# === What is wrong with every date ends before the first ===


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input", "in.jsonl"], "has no {date}, so every date would get the same rows"),
        (["--from", "2026-11-22"], "--from 2026-11-22 is after --to 2026-11-21"),
        (["--to", "2049-01-01"], "at most 3,700"),
        (["--bundle", "nowhere"], "is no bundle"),
        (["--bundle-fingerprint", "0123"], "not the 0123 of the job"),
        (["--text-pair-column", "b"], "scores single texts"),
        (["--id-from", "x"], "--id-from"),
        (["--if-published", "never"], "--if-published 'never'"),
        (["--log-format", "xml"], "--log-format 'xml' is unknown"),
        (["--", "--direct_num_worker=2"], "did you mean --direct_num_workers?"),
    ],
)
def test_what_is_wrong_with_every_date_is_said_once(
    flags: list[str], message: str, classes: Built, tmp_path: Path
) -> None:
    given = backfill_command(classes, tmp_path)
    if flags[0] == "--input":
        given = given[:-2]
    found, out, err = invoke(*given, *flags)
    assert (found, out, message in err) == (2, "", True), err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_one_date_needs_no_date_in_its_input(classes: Built, tmp_path: Path) -> None:
    given = backfill_command(classes, tmp_path)[:-2]
    found, out, _ = invoke(*given, "--input", tmp_path / "in.jsonl", "--to", DATES[0], "--log-format", "json")
    assert found == 75
    events = [json.loads(line) for line in out.splitlines()]
    assert [(event["event"], event.get("code"), event.get("failed")) for event in events] == [
        ("date", 75, None),
        ("dates", None, 1),
    ]


def test_a_date_is_no_flag_of_a_back_fill_and_a_mistyped_flag_names_the_right_one() -> None:
    assert invoke("backfill", "--from", "today", "--to", "today", "--date", "today")[0] == 2
    found, _, err = invoke("backfill", "--form", "today")
    assert (found, "--from" in err or "--format" in err) == (2, True)


# === A run that died after its verdict ===


def test_a_score_killed_after_its_verdict_is_published_by_its_id(classes: Built, tmp_path: Path) -> None:
    killed = (
        "import os, sys; from pipeline.commands import app; from transforms.publish import commit\n"
        "commit._commit = lambda *given: os.kill(os.getpid(), 9)\n"
        "sys.argv = ['bert-batch', *sys.argv[1:]]; app.main()\n"
    )
    output = tmp_path / "out"
    arguments = command(classes, lines(tmp_path / "in.jsonl", 5), output)[3:]
    done = subprocess.run([sys.executable, "-c", killed, *arguments], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_manifest(manifest_path(str(output), dt.date.fromisoformat(DATE))) == (None, None)
    ((run, _),) = list_runs(str(output)).items()
    _, out, _ = invoke("runs", "--output", output)
    assert f"bert-batch publish {run}" in out
    found, out, _ = invoke("publish", run, "--output", output)
    assert (found, f"published {date_folder(str(output), dt.date.fromisoformat(DATE))}" in out) == (0, True)
    assert ids(output, DATE) == [f"r{i}" for i in range(5)]
    assert "not published" not in invoke("runs", "--output", output)[1]
