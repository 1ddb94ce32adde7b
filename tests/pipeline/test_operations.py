"""What goes wrong at night: races while planning, files that change, errors in workers, odd names."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from support.bundles import Built
from support.commands import ROOT, command, invoke, lines
from support.jobs import DATE, NOW, Score, many_texts, prepared, write_parquet
from support.runs.forked import Forked

from pipeline import preparing, scoring
from pipeline.errors import ConfigError, RunFailedError, cause
from pipeline.jobs.config import JobConfig, load_job
from pipeline.terminal import console
from transforms import validate
from transforms.errors import FileChangedError, NoInputError, PlanError
from transforms.read.step import Joiner
from transforms.runs.progress import advance

MakeJob = Callable[..., JobConfig]


@pytest.fixture
def job(classes: Built, tmp_path: Path) -> MakeJob:
    """A job of two rows."""
    source = lines(tmp_path / "in.jsonl", 2)
    paths = {"bundle": str(classes.path), "input": (str(source),), "output": str(tmp_path / "out")}
    return lambda **settings: JobConfig(**paths, date=DATE, **settings)


def test_a_run_that_listed_less_is_overtaken_by_one_that_published_while_it_planned(
    run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_inputs, inner = preparing.plan_inputs, []

    def plan(*given: object, **named: object) -> object:
        found = plan_inputs(*given, **named)  # type: ignore[arg-type]
        if not inner:
            inner.append("started")
            lines(tmp_path / "in" / "b.jsonl", 5, "b")
            inner[0] = run_job(tmp_path / "in").verdict.status
        return found

    monkeypatch.setattr(preparing, "plan_inputs", plan)
    lines(tmp_path / "in" / "a.jsonl", 5, "a")
    outcome = run_job(tmp_path / "in")
    assert (inner, outcome.verdict.status) == (["published"], "superseded")
    assert len(outcome.rows()) == 10


def test_a_file_of_another_size_with_its_old_time_fails_the_run_by_name(
    run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, write_plan = lines(tmp_path / "in.jsonl", 3), scoring.write_plan

    def change(*given: object) -> None:
        write_plan(*given)  # type: ignore[arg-type]
        times = file.stat()
        lines(file, 4)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    monkeypatch.setattr(scoring, "write_plan", change)
    with pytest.raises(RunFailedError) as error:
        run_job(file)
    assert f"FileChangedError: {file}: expected version of" in str(error.value)


def test_linked_folders_are_read_and_a_link_in_a_circle_is_not_followed(run_job: Score, tmp_path: Path) -> None:
    lines(tmp_path / "elsewhere" / "x.jsonl", 2, "linked")
    lines(tmp_path / "in" / "day1" / "x.jsonl", 2)
    (tmp_path / "in" / "day2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "day1" / "circle").symlink_to(tmp_path / "in")
    assert len(run_job(tmp_path / "in").rows()) == 4
    assert len(run_job(tmp_path / "in" / "*" / "x.jsonl").rows()) == 4


@pytest.mark.parametrize("error", [ValueError, pa.ArrowInvalid, RuntimeError, KeyError])
def test_an_error_in_a_step_ends_with_1_and_quotes_no_text(
    classes: Built,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    capfd: pytest.CaptureFixture,
) -> None:
    def fail(*given: object) -> None:
        raise error("my secret text")

    monkeypatch.setattr(validate, "validate", fail)
    code, out, err = invoke(*command(classes, lines(tmp_path / "in.jsonl", 3), tmp_path / "out")[3:])
    assert code == 1
    assert "message is withheld" in err
    assert "secret" not in out + err + "".join(capfd.readouterr())


@pytest.mark.slow
def test_two_workers_fail_in_one_line_and_write_nothing_but_json(classes: Built, tmp_path: Path) -> None:
    # Bytes that change on disk after the plan are found by the workers only.
    source = lines(tmp_path / "in" / "a.jsonl", 5)
    code = (
        "import sys, pathlib; from pipeline.commands import app\n"
        "with app.quiet_stderr(): from pipeline import scoring\n"
        "write = scoring.write_plan\n"
        "def change(*given):\n"
        f"    write(*given); pathlib.Path({str(source)!r}).write_text('')\n"
        "scoring.write_plan = change\n"
        "sys.argv = ['bert-batch', *sys.argv[1:]]; app.main()\n"
    )
    arguments = command(classes, source, tmp_path / "out", "--workers", "2", "--log-format", "json")[3:]
    with Forked(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        out, err = process.communicate(timeout=150)
    assert (process.returncode, err) == (1, "")
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events] == ["planned", "error"]
    assert f"FileChangedError: {source}: expected version" in events[-1]["message"]


@pytest.mark.parametrize(("runner", "told"), [("direct", True), ("local", True), ("dataflow", False)])
def test_only_local_workers_are_told_where_to_say_how_far_they_are(runner: str, told: bool, job: MakeJob) -> None:
    ready = prepared(job(runner=runner), NOW, progress="/tmp/p")
    assert ready.compute.progress == ("/tmp/p" if told else None)


def test_the_progress_file_goes_when_a_run_fails(job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(console, "err", console.Console(file=io.StringIO(), force_terminal=True))
    reporter = console.console_for("text")
    assert reporter.progress is not None

    def fail() -> None:
        assert reporter.progress is not None
        advance(reporter.progress, 3)
        assert list(tmp_path.glob("*.progress"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), reporter.watch(prepared(job(), NOW, progress=reporter.progress)):
        fail()
    assert not list(tmp_path.glob("*.progress"))


@pytest.mark.parametrize("before", [None, "7"])
def test_the_cores_are_shared_only_while_the_workers_start(
    before: str | None, run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, seen = "TF_NUM_INTRAOP_THREADS", []

    def run(pipeline: object) -> None:
        seen.append(os.environ.get(name))
        raise ZeroDivisionError

    monkeypatch.setattr(scoring.beam.Pipeline, "run", run)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv(name, raising=False)
    if before is not None:
        monkeypatch.setenv(name, before)
    with pytest.raises(RunFailedError):
        run_job(lines(tmp_path / "in.jsonl", 2), workers=2)
    # A share that was given is kept.
    assert (seen, os.environ.get(name)) == ([before or "4"], before)


def test_the_cause_of_a_failure_is_told_only_where_it_holds_nobodys_text() -> None:
    far = "Traceback (most recent call last):\n  File \"x.py\"\n{}: {} [while running 'Read']\n"
    ours = RuntimeError(far.format("transforms.errors.FileChangedError", "gs://b/x: expected version 1"))
    assert cause(ours) == "FileChangedError: gs://b/x: expected version 1"
    assert cause(FileChangedError("a: changed [while running 'Read/ReadSplit']")) == "FileChangedError: a: changed"
    for quoting in (ValueError("secret"), RuntimeError(far.format("pyarrow.lib.ArrowInvalid", "secret"))):
        assert "secret" not in cause(quoting)
    assert (
        cause(PermissionError(13, "Permission denied", "/x")) == "PermissionError: [Errno 13] Permission denied: '/x'"
    )


@pytest.mark.parametrize("name", ["o[/red]", "o[bold]x", "o :smile: ü"])
def test_odd_names_are_printed_as_they_are(classes: Built, tmp_path: Path, name: str) -> None:
    source = lines(tmp_path / f"in {name}".replace("/", "") / "a[1].jsonl", 2)
    with source.open("a") as file:
        file.write("no json\n")
    output = tmp_path / name.replace("/", "")
    code, out, err = invoke(*command(classes, source.parent, output, "--max-dead-fraction", "1")[3:])
    assert code == 0, err
    assert f"published {output}/dt={DATE}" in out
    assert f"not_json, for example {source}#2" in out


def test_a_broken_manifest_stops_only_its_own_date(run_job: Score, tmp_path: Path) -> None:
    other = tmp_path / "out" / "dt=2020-01-01" / "_manifest.json"
    other.parent.mkdir(parents=True)
    other.write_text("{")
    source = lines(tmp_path / "in.jsonl", 2)
    assert run_job(source).verdict.status == "published"
    with pytest.raises(ValueError, match=r"dt=2020-01-01/_manifest\.json: is not JSON"):
        run_job(source, date="2020-01-01")


@pytest.mark.parametrize("act", ["score", "check"])
def test_what_is_wrong_with_the_own_date_is_told_once(act: str, classes: Built, tmp_path: Path) -> None:
    for date in (DATE, "2020-01-01"):
        (tmp_path / "out" / f"dt={date}").mkdir(parents=True)
        (tmp_path / "out" / f"dt={date}" / "_manifest.json").write_text("{")
    arguments = command(classes, lines(tmp_path / "in.jsonl", 2), tmp_path / "out")[4:]
    code, _, err = invoke(act, *arguments)
    assert code == 2
    said = {line.split("dt=")[1][:10]: line for line in err.splitlines() if "_manifest.json: is not JSON" in line}
    assert {date: line.split(":")[0] for date, line in said.items()} == {DATE: "error", "2020-01-01": "warning"}
    assert err.count("_manifest.json: is not JSON") == 2


def test_small_files_and_row_groups_travel_together(run_job: Score, tmp_path: Path) -> None:
    texts = ["play the song"] * 600 + many_texts(600)
    rows = {"id": [f"p{i}" for i in range(1_200)], "text": texts}
    write_parquet(tmp_path / "in" / "a.parquet", rows, row_group_size=7)
    for i in range(3):
        write_parquet(tmp_path / "in" / f"b{i}.parquet", {"id": [f"b{i}"], "text": ["play the song"]})
    outcome = run_job(tmp_path / "in")
    assert len(outcome.rows()) == 1_203
    assert outcome.manifest["work"]["copied"] == 602, "only one macro-batch sees all copies"


def test_joined_batches_stay_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.read.step.MAX_ROWS", 10)
    monkeypatch.setattr("transforms.read.step.MAX_TEXT_BYTES", 100)
    joiner, given = (
        Joiner(),
        [
            pa.record_batch({"text": [b"x" * size] * rows})
            for rows, size in ((3, 1), (3, 1), (4, 1), (1, 99), (1, 1), (1, 1), (1, 500), (2, 1))
        ],
    )
    joined = [batch for one in given for batch in joiner.add(one)] + list(joiner.rest())
    assert [batch.num_rows for batch in joined] == [10, 2, 1, 1, 2]
    assert pa.Table.from_batches(joined).equals(pa.Table.from_batches(given))


def test_a_job_can_pin_the_fingerprint_of_its_bundle(run_job: Score, classes: Built, tmp_path: Path) -> None:
    source = lines(tmp_path / "in.jsonl", 2)
    assert run_job(source, bundle_fingerprint=classes.bundle.fingerprint[:12]).verdict.status == "published"
    with pytest.raises(ConfigError, match="not the 0123 of the job"):
        run_job(source, bundle_fingerprint="0123")


def test_yaml_may_be_written_as_it_comes_naturally(tmp_path: Path) -> None:
    text = "bundle: ~/b\ninput: ~/i\noutput: o\ndate: 2026-11-21\nkeep: [a, b]\nallow_missing: true\n"
    (tmp_path / "job.yaml").write_text(text)
    job = load_job(str(tmp_path / "job.yaml"), {"allow_missing": False})
    home = os.path.expanduser("~")
    assert (job.date, job.columns.keep, job.allow_missing) == ("2026-11-21", ("a", "b"), False)
    assert (job.bundle, job.input) == (f"{home}/b", (f"{home}/i",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "o/{date}"}, "dt=<date> is made below it"),
        ({"output": __file__}, "is a file"),
        ({"bundle": __file__}, "is no bundle"),
        ({"date": "20261121"}, "YYYY-MM-DD"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_runs(
    classes: Built, tmp_path: Path, settings: dict[str, str], message: str
) -> None:
    flags = {"bundle": str(classes.path), "output": str(tmp_path / "out"), **settings}
    given = [part for key, value in flags.items() for part in (f"--{key}", value)]
    code, _, err = invoke("score", "--input", lines(tmp_path / "in.jsonl", 2), *given)
    assert (code, message in err) == (2, True), err


def test_an_output_among_the_input_is_refused_on_the_first_night(run_job: Score, tmp_path: Path) -> None:
    lines(tmp_path / "in" / "a.jsonl", 2)
    for pattern in (tmp_path / "in", tmp_path / "in" / "**" / "*.parquet"):
        with pytest.raises(ConfigError, match="Keep them apart"):
            run_job(pattern, output=tmp_path / "in")
    assert run_job(tmp_path / "in" / "*.jsonl", output=tmp_path / "in").verdict.status == "published"


def test_a_folder_named_like_a_pattern_is_a_folder(run_job: Score, tmp_path: Path) -> None:
    lines(tmp_path / "d[1]" / "a.jsonl", 2)
    assert len(run_job(tmp_path / "d[1]").rows()) == 2
    with pytest.raises(NoInputError):
        run_job(tmp_path / "d[2]")


def test_a_file_name_that_is_not_utf8_is_refused_by_name(run_job: Score, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Path(os.fsdecode(bytes(tmp_path / "in") + b"/\xff.jsonl")).write_text('{"id": "a", "text": "b"}\n')
    with pytest.raises(PlanError, match=r"\\udcff.jsonl': the name of the file is not UTF-8"):
        run_job(tmp_path / "in")


def test_a_csv_without_a_header_does_not_print_its_first_text(run_job: Score, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("my secret medical history as a text,7\nother,8\n")
    with pytest.raises(PlanError) as error:
        run_job(tmp_path / "in.csv")
    assert "medical" not in str(error.value)


def test_patterns_the_shell_has_opened_are_explained(classes: Built, tmp_path: Path) -> None:
    code, _, err = invoke(*command(classes, "a.parquet", tmp_path / "out")[3:], "b.parquet")
    assert (code, "put patterns in quotes" in err) == (2, True)


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_one_line(classes: Built, tmp_path: Path) -> None:
    import signal
    import time

    texts = many_texts(1_000)
    rows = {"id": map(str, range(400_000)), "text": [f"{texts[i % 1_000]} {i}" for i in range(400_000)]}
    source = write_parquet(tmp_path / "in.parquet", rows)
    process = Forked(
        command(classes, source, tmp_path / "out"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(600):
        if list(tmp_path.glob("out/_runs/*/plan.parquet")):
            break
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted; a date that is not published yet stays as it was\n"
    assert not (tmp_path / "out" / f"dt={DATE}").exists()
