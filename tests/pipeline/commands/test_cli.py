"""The commands as a user meets them: what they print, and how they end."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.bundles import Built
from support.commands import ROOT, invoke
from support.jobs import DATE, many_texts, write_parquet
from support.runs.forked import Forked


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    columns = {"id": [f"r{i}" for i in range(50)], "text": many_texts(50)}
    return write_parquet(tmp_path / "in.parquet", columns)


def arguments(classes: Built, rows: Path, tmp_path: Path) -> list[object]:
    return ["score", "--bundle", classes.path, "--input", rows, "--output", tmp_path / "out", "--date", DATE]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"], ["train", "--help"]], ids=" ".join)
def test_help_answers_in_under_half_a_second_and_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; sys.argv = ['bert-batch', *{arguments}]\n"
    code += "from pipeline.commands.app import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += (
        "print('heavy' if {'tensorflow', 'apache_beam', 'pyarrow', 'numpy', 'yaml'} & set(sys.modules) else 'light')"
    )
    # Seconds of computing: a machine that does other things meanwhile takes longer by the clock.
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.stdout.rstrip().endswith("light")
    assert min(seconds) < 0.5


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["score", "--no-such-flag"], 2)])
def test_the_process_ends_before_the_interpreter_is_taken_down(arguments: list[str], code: int) -> None:
    """What is registered to be done at the end is done; threads that are left wake in a whole interpreter, or never."""
    script = "import atexit, sys\n"
    script += "class Left:\n    def __del__(self, write=sys.stdout.write): write('taken down')\n"
    script += "sys.modules['left'] = Left()\n"
    script += "from pipeline.commands.app import app\nfrom pipeline.commands.start import end_of_process\n"
    script += "def command():\n    atexit.register(print, 'the end of others')\n    app(sys.argv[1:])\n"
    script += "end_of_process(command)\n"
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, "the end of others")
    assert "taken down" not in done.stdout


def test_score_says_what_it_published_and_ends_with_0(classes: Built, rows: Path, tmp_path: Path) -> None:
    code, out, _ = invoke(*arguments(classes, rows, tmp_path))
    assert code == 0
    assert f"published {tmp_path}/out/dt={DATE}" in out
    assert "50 read = 50 scored + 0 dead letters" in out


def test_log_format_json_prints_one_object_a_line(classes: Built, rows: Path, tmp_path: Path) -> None:
    code, out, _ = invoke(*arguments(classes, rows, tmp_path), "--log-format", "json")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [event["event"] for event in events] == ["planned", "published"]
    assert events[-1]["counts"] == {"read": 50, "scored": 50, "skipped": 0, "dead": 0}


@pytest.mark.slow
def test_a_pipe_stays_quiet_but_for_the_result(classes: Built, rows: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline", *map(str, arguments(classes, rows, tmp_path))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""


def test_a_mistyped_flag_names_the_right_one() -> None:
    code, _, err = invoke("score", "--inptu", "x")
    assert code == 2
    assert "--input" in err


def test_a_mistyped_key_of_the_yaml_file_names_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("bundle: b\ninput: i\noutput: o\ntext_colum: body\n")
    code, _, err = invoke("score", "--job", tmp_path / "job.yaml")
    assert code == 2
    assert "'text_colum' is unknown; did you mean 'text_column'?" in err


def test_a_mistyped_beam_option_names_the_right_one(classes: Built, rows: Path, tmp_path: Path) -> None:
    code, _, err = invoke(*arguments(classes, rows, tmp_path), "--", "--direct_num_worker=2")
    assert code == 2
    assert "did you mean --direct_num_workers?" in err


def test_flags_override_the_yaml_file(classes: Built, rows: Path, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        f"bundle: {classes.path}\ninput: nowhere\noutput: {tmp_path / 'out'}\ntop_k: 2\n"
    )
    code, _, err = invoke("score", "--job", tmp_path / "job.yaml", "--input", rows, "--date", DATE)
    assert code == 0, err


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--text-column", "body"], 2, "has no column 'body'; it has 'id', 'text'"),
        (["--id-column", "key"], 2, "--id-from position"),
        (["--input", "nowhere/*.parquet"], 75, "no input file matches"),
        (["--date", "tomorrow"], 2, "YYYY-MM-DD, today or yesterday"),
        (["--timezone", "Mars/Olympus"], 2, "--timezone 'Mars/Olympus' is unknown"),
        (["--top-k", "4"], 2, "--top-k is 4; the bundle has 3 labels"),
        (["--rename", "x"], 2, "--rename 'x' is not of the form"),
        (["--max-dead-fraction", "2"], 2, "between 0 and 1"),
        (["--bundle", "nowhere"], 2, "is no bundle"),
        (["--log-format", "xml"], 2, "--log-format 'xml' is unknown"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    classes: Built, rows: Path, tmp_path: Path, flags: list[str], code: int, message: str
) -> None:
    given = arguments(classes, rows, tmp_path)
    if flags[0] == "--input":
        given = [*given[:3], *given[5:]]
    found, _, err = invoke(*given, *flags)
    assert (found, message in err) == (code, True), err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "_runs").exists()


def test_over_budget_ends_with_3_and_names_codes_and_places(classes: Built, tmp_path: Path) -> None:
    rows = write_parquet(tmp_path / "in.parquet", {"id": ["a", "b", None], "text": ["x", " ", "y"]})
    code, out, err = invoke(*arguments(classes, rows, tmp_path))
    assert code == 3
    assert "nothing was published: 2 of 3 rows are dead letters; --max-dead-fraction allows 0.01" in err.replace(
        "\n", " "
    )
    assert f"1 blank_text, for example {rows}#1" in out
    assert not (tmp_path / "out" / f"dt={DATE}").exists()


def test_a_run_overtaken_by_another_of_its_date_ends_with_4(
    classes: Built, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import scoring

    write_plan, others = scoring.write_plan, []

    def overtake(*given: object) -> None:
        write_plan(*given)  # type: ignore[arg-type]
        if not others:
            others.append(True)
            others[0] = invoke(*arguments(classes, rows, tmp_path))[0] == 0

    monkeypatch.setattr(scoring, "write_plan", overtake)
    code, _, err = invoke(*arguments(classes, rows, tmp_path))
    assert (code, others) == (4, [True])
    assert "superseded" in err


def test_row_counts_that_do_not_agree_end_with_1(
    classes: Built, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms import validate

    plain = validate.validate

    def lose_one(batch: object, columns: object) -> object:
        texts, dead = plain(batch, columns)  # type: ignore[arg-type]
        return texts.slice(1), dead

    monkeypatch.setattr(validate, "validate", lose_one)
    code, _, err = invoke(*arguments(classes, rows, tmp_path))
    assert code == 1
    assert "split 0: 50 rows read, 49 scored or dead" in err
    assert not (tmp_path / "out" / f"dt={DATE}").exists()


def test_check_runs_nothing_and_prints_the_schema(classes: Built, rows: Path, tmp_path: Path) -> None:
    command = ["check", *arguments(classes, rows, tmp_path)[1:]]
    code, out, _ = invoke(*command)
    assert code == 0
    assert "50 rows" in out
    assert "probabilities" in out
    assert not (tmp_path / "out").exists()


def test_inspect_shows_a_bundle_and_a_published_date(classes: Built, rows: Path, tmp_path: Path) -> None:
    invoke(*arguments(classes, rows, tmp_path))
    assert "fingerprint" in invoke("inspect", classes.path)[1]
    assert '"sequence": 1' in invoke("inspect", tmp_path / "out" / f"dt={DATE}")[1]
    code, _, err = invoke("inspect", tmp_path)
    assert (code, "neither a bundle" in err) == (2, True)


def test_demo_shows_rows(tmp_path: Path) -> None:
    code, out, _ = invoke("demo", "--output", tmp_path / "out")
    assert code == 0
    assert "700 read = 700 scored + 0 dead letters" in out
    assert "gold_label" in out


def test_demo_takes_another_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    shutil.copytree(ROOT / "examples/snips/bundle", tmp_path / "ours/bundle")
    write_parquet(tmp_path / "ours/validation.parquet", {"id": ["a"], "text": ["play a song"], "label": ["PlayMusic"]})
    code, out, _ = invoke("demo", "--output", tmp_path / "out", "--examples", tmp_path / "ours")
    assert (code, "1 read = 1 scored" in out) == (0, True)
    code, _, err = invoke("demo", "--output", tmp_path / "out", "--examples", tmp_path / "none")
    assert (code, f"{tmp_path / 'none'}: the folder of the demo is not there" in err) == (2, True)


@pytest.mark.slow
def test_train_makes_a_bundle_that_scores(tmp_path: Path, rows: Path) -> None:
    texts = ["play a song", "book a table"] * 60
    labelled = write_parquet(tmp_path / "train.parquet", {"text": texts, "label": ["play", "book"] * 60})
    bundle = tmp_path / "bundle"
    command = ["train", "--input", labelled, "--output", bundle, "--name", "two", "--epochs", 4, "--max-tokens", 16]
    code, out, err = invoke(*command, "--vocabulary-size", 200, "--seed", 3)
    assert code == 0, err
    assert "('play', 'book')" in out
    assert "accuracy" in out
    code, out, err = invoke("score", "--bundle", bundle, "--input", rows, "--output", tmp_path / "out")
    assert code == 0, err
    code, _, err = invoke(*command)
    assert (code, "never overwritten" in err) == (2, True)


@pytest.mark.slow
def test_the_progress_bar_is_drawn_on_a_terminal(classes: Built, rows: Path, tmp_path: Path) -> None:
    import pty

    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "pipeline", *map(str, arguments(classes, rows, tmp_path))]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = Forked(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=terminal, env=environment)
    os.close(terminal)
    drawn = b""
    try:
        while chunk := os.read(controller, 65_536):
            drawn += chunk
    except OSError:
        pass  # The terminal is gone when the process has ended.
    assert process.wait(120) == 0
    assert b"scoring" in drawn
    assert b"texts/s" in drawn
