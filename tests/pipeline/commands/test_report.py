"""`report`, and `score --report`: which date, what became of it, and each mistake as one plain line."""

import datetime as dt
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bundles import Built
from support.commands import command, invoke, lines
from support.files.manifests import DATE, days, loaded, write_nights
from support.jobs import DATE as JOB_DATE
from support.runs.drifting import FEWER, held, weeks
from support.runs.publishing import dead, judge_and_publish_counts, planned, ready, row_counts

from pipeline.jobs.config import load_job
from pipeline.terminal.pages.nights import after
from pipeline.terminal.pages.nights.reading import Attempt, read_history
from transforms.errors import PublishError
from transforms.publish.commit import publish
from transforms.publish.step import judge_and_publish
from transforms.runs.error_budget import ErrorBudget
from transforms.runs.run import manifest_path

Score = Callable[..., tuple[int, str, str]]


def reported(output: object, *more: object, code: int = 0) -> str:
    found, out, err = invoke("report", "--output", output, *more)
    assert found == code, out + err
    return out if code == 0 else err


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("nights")
    write_nights(output, 12)
    return output


def test_a_terminal_shows_what_is_worth_an_eye_and_where_the_page_is(nights: Path, tmp_path: Path) -> None:
    shown = reported(nights, "--date", DATE)
    assert shown.startswith("Sat 2026-11-21: published\nPublished, and nothing stands out.\n")
    assert "Rows with scores" in shown
    assert shown.endswith("--html FILE writes all of it as one page\n")
    page = tmp_path / "new" / "report.html"
    assert f"written   {page}" in reported(nights, "--html", page)
    assert "Sat 2026-11-21: published" in page.read_text(encoding="utf-8")
    assert "The last 12 dates, 10 Nov to 21 Nov" in page.read_text(encoding="utf-8")


def test_a_page_is_written_although_nobody_reads_what_is_printed(
    nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `bert-batch report … | head -2` ends the command while it prints.
    def closed(history: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("pipeline.terminal.pages.nights.text.show", closed)
    page = tmp_path / "report.html"
    assert invoke("report", "--output", nights, "--html", page)[0] == 1
    assert "</html>" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), SystemExit(1)])
def test_the_page_of_a_run_changes_no_exit_code_where_nobody_reads_that_it_is_written(
    log_format: str, error: BaseException, nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(after, "emit", closed)
    monkeypatch.setattr(after.out, "print", closed)
    job = load_job(None, {"bundle": "b", "input": ["in.jsonl"], "output": [str(nights)]})
    after.write_report(job, DATE, str(tmp_path / "r.html"), "", log_format, began=dt.datetime.now(dt.UTC))
    assert "</html>" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_last_says_how_many_dates_and_date_which_one(nights: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    reported(nights, "--date", days(12)[5], "--last", 3, "--html", page)
    written = page.read_text(encoding="utf-8")
    assert "The last 3 dates, 13 Nov to 15 Nov" in written
    assert "Sun 2026-11-15: published" in written
    assert "2026-11-16" not in written


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--output", "nowhere"], "nowhere: nothing was published there, and no run is there"),
        (["--output", "empty"], "empty: nothing was published there, and no run is there; give the folder"),
        (["--output", "there", "--date", "2026-01-01"], "2026-01-01 is not published there, and no run of it is there"),
        (["--output", "there", "--date", "2026-11-30"], "the last dates are 2026-11-19, 2026-11-20, 2026-11-21"),
        (["--output", "there", "--date", "tonight"], "--date 'tonight' is no date; use YYYY-MM-DD, today or yesterday"),
        (["--output", "there", "--html", "report.txt"], "--html 'report.txt': does not end in .html"),
        (["--output", "there", "--html", "there/report.html"], "is in the output"),
        (["--output", "there", "--html", "empty"], "does not end in .html"),
        (["--output", "there", "--html", "missing.html/report.html/"], "does not end in .html"),
        (["--output", "there", "--last", "0"], "--last"),
        (["--output", "there", "--bundle", "empty"], "is no bundle"),
    ],
)
def test_a_mistake_is_one_plain_line(
    arguments: list[str], told: str, nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "there").symlink_to(nights)
    code, out, err = invoke("report", *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_another_bundle_than_that_of_the_date_is_refused(nights: Path, classes: Built) -> None:
    told = reported(nights, "--bundle", classes.path, code=2)
    assert f"and the date was scored with {loaded(nights)['bundle']}; name that one" in told


def test_a_held_run_is_shown_with_its_reason_and_its_numbers(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    weeks(output)
    run = held(output)
    shown = reported(output)
    assert shown.startswith("Sat 2026-11-21: held: scored, not published\n")
    assert "2026-11-21 is held: it was scored, and is not published" in shown
    assert shown.count(f"bert-batch publish {run.run_id} --accept --output {output} publishes them") == 1
    assert f"they are in {run.file('staged')}, files scores-*.parquet" in shown
    assert "2 rows are 0.500 of the 4 that the last dates have" in shown
    page = tmp_path / "report.html"
    reported(output, "--html", page)
    assert 'class="held now"' in page.read_text(encoding="utf-8")


def test_a_held_run_that_staged_nothing_is_shown(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    weeks(output)
    run = planned(output, rows=0)
    with pytest.raises(PublishError, match=f"run {run.run_id} is held"):
        judge_and_publish(run, [], [], [], [], gate=FEWER)
    assert not Path(run.file("staged")).exists()
    for more in ((), ("--date", run.date)):
        assert reported(output, *more).startswith("Sat 2026-11-21: held: scored, not published\n")


def test_a_damaged_manifest_is_told_although_an_older_run_is_held(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    weeks(output)
    held(output)
    publish(ready(output))
    Path(manifest_path(output, DATE)).write_bytes(b"{")
    shown = reported(output)
    assert "2026-11-21: its manifest is damaged; nothing is published" in shown
    assert "Another run of this date was not published: held: scored, not published" in shown
    assert "--accept" not in shown


def test_a_run_over_its_budget_is_shown_with_its_dead_letters(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    run = planned(output, rows=7, budget=ErrorBudget(fraction=0.1))
    read, scores, _ = row_counts(run, dead_rows=(4, 5, 6))
    with pytest.raises(PublishError):
        judge_and_publish_counts(run, (read, scores, dead(run, (4, 5, 6))))
    shown = reported(output)
    assert shown.startswith("Sat 2026-11-21: failed: too many dead letters\n")
    assert f"Its dead letters are in {run.file('staged')}, files dead-*.parquet" in shown
    assert f"Give the same command again, with --date {run.date}. It scores all rows anew." in shown
    assert "3 not_json: the line is not a JSON object; one of them is in.parquet#4" in shown


def test_a_run_that_has_not_ended_is_shown(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    weeks(output)
    planned(output)
    shown = reported(output)
    assert "Sat 2026-11-21: has not ended" in shown
    assert "it is still running, or it died: run the job again" in shown
    assert "If it is not running any more: give the same command again, with --date 2026-11-21." in shown


def test_nights_that_failed_before_the_first_published_date_are_there(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    for back in range(8, -1, -1):
        date = DATE - dt.timedelta(back)
        started = dt.datetime.combine(date, dt.time(2), dt.UTC) + dt.timedelta(days=1)
        if back > 3:
            planned(output, date=date, started=started)
        else:
            publish(ready(output, date=date, started=started))
    now = dt.datetime.combine(DATE, dt.time(8), dt.UTC) + dt.timedelta(days=1)
    states = [night.state for night in read_history(output, None, 30, now).nights]
    assert states == ["not_ended"] * 5 + ["published"] * 4
    assert len(read_history(output, None, 3, now).nights) == 3


def test_a_newer_run_of_a_published_date_that_failed_is_told(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    publish(ready(output))
    planned(output)
    assert "A newer run of this date was not published: has not ended" in reported(output)


def test_a_published_date_has_positions_of_its_dead_letters(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    run = ready(output)
    publish(run)
    page = tmp_path / "report.html"
    reported(output, "--html", page)
    assert "in.parquet#4" in page.read_text(encoding="utf-8")
    os.unlink(run.verdict)
    reported(output, "--html", page)
    assert "in.parquet#4" not in page.read_text(encoding="utf-8")


def test_runs_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    publish(ready(output))
    broken = planned(output)
    Path(broken.plan).write_bytes(b"no Parquet")
    assert "1 runs are damaged" in reported(output)


def test_a_report_writes_nothing_into_the_output(nights: Path) -> None:
    before = sorted(nights.rglob("*"))
    reported(nights)
    assert sorted(nights.rglob("*")) == before


@pytest.fixture
def score(classes: Built, tmp_path: Path) -> Score:
    def run(*more: object, rows: int = 9) -> tuple[int, str, str]:
        source = lines(tmp_path / "in.jsonl", rows) if rows else tmp_path / "none.jsonl"
        arguments = command(classes, source, tmp_path / "out", *map(str, more))
        return invoke(*arguments[arguments.index("score") :])

    return run


def test_score_writes_the_page_of_a_night_that_is_published(score: Score, tmp_path: Path) -> None:
    code, out, err = score("--report", tmp_path / "pages" / "{date}.html")
    page = tmp_path / "pages" / f"{JOB_DATE}.html"
    assert (code, err) == (0, "")
    assert out.endswith(f"  report     {page}\n")
    assert f"{JOB_DATE}: published" in page.read_text(encoding="utf-8")
    settings = json.loads((tmp_path / "out" / f"dt={JOB_DATE}" / "_manifest.json").read_bytes())["settings"]
    assert "report" not in settings


def test_an_attempt_that_did_not_begin_leaves_a_held_run_its_reason(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    weeks(output)
    run = held(output)
    began = run.started + dt.timedelta(hours=1)
    attempt = Attempt(DATE, "in.jsonl: there is no such file", began)
    night = read_history(output, DATE, 30, began, attempt).chosen
    assert (night.state, night.later) == ("held", ("not_begun", attempt.told))
    assert night.reason.startswith("2 rows are 0.500 of the 4")
    told = f"run {run.run_id} is held: 2 rows"
    for mine in (Attempt(DATE, told, began), Attempt(DATE, "died", run.started)):
        night = read_history(output, DATE, 30, began, mine).chosen
        assert (night.state, night.reason, night.later) == ("held", mine.told, None)


def test_score_writes_the_page_of_a_night_that_failed(score: Score, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert score("--report", page, rows=0)[0] == 75
    assert "failed before it began" in page.read_text(encoding="utf-8")
    assert "none.jsonl" in page.read_text(encoding="utf-8")


def test_too_many_dead_letters_are_on_the_page_of_the_run(classes: Built, tmp_path: Path) -> None:
    source, page = tmp_path / "in.jsonl", tmp_path / "report.html"
    source.write_text('{"id": "1", "text": ""}\n{"id": "2", "text": "play"}\n')
    arguments = command(classes, source, tmp_path / "out", "--report", str(page), "--log-format", "json")
    code, out, _ = invoke(*arguments[arguments.index("score") :])
    assert code == 3
    assert json.loads(out.splitlines()[-1])["event"] == "report"
    written = page.read_text(encoding="utf-8")
    assert "failed: too many dead letters" in written
    assert f"{source}#0" in written


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("report.txt", "--report 'report.txt': does not end in .html; give the name of a page"),
        ("out/report.html", "is in the output"),
        ("{month}.html", "{month}"),
    ],
)
def test_a_place_for_no_page_is_refused_before_anything_runs(
    place: str, told: str, score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = score("--report", place)
    assert code == 2
    assert told in err
    assert not (tmp_path / "out").exists()


def test_a_page_that_cannot_be_written_changes_no_exit_code(
    score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: str, content: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("pipeline.terminal.pages.nights.after.write_page", write)
    code, _, err = score("--report", tmp_path / "report.html")
    assert code == 0
    assert f"warning: the report is not written: {tmp_path}/report.html: permission denied" in err
