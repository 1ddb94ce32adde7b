"""What comes from outside moves no cursor and forges no line."""

import io
import json
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from support.commands import ROOT, invoke

from pipeline.terminal import bar, console
from pipeline.terminal.escaping import escaped, json_text
from pipeline.terminal.quiet import _Steps

ANY = st.text(st.characters(codec=None))
HOSTILE = "a\x1b[2J\nerror: all is fine\r\t\x07\x9b31m\u202egpj\u2028\udcff\ud800"
SHOWN = r"a\x1b[2J\nerror: all is fine\r\t\x07\x9b31m\u202egpj\u2028\xff\ud800"


def test_each_kind_is_shown() -> None:
    assert escaped(HOSTILE) == SHOWN
    assert escaped("Füße 🎉 日本 a\\nb [bold]") == "Füße 🎉 日本 a\\nb [bold]"


@given(ANY)
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    shown = escaped(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    assert not any(
        unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"} for c in shown
    )
    shown.encode()


@given(st.recursive(ANY, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner)))
def test_json_says_the_same_to_its_readers(document: object) -> None:
    text = json_text(document)
    assert json.loads(text) == document
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)
    text.encode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    for name in ("out", "err"):
        monkeypatch.setattr(
            console, name, console.Terminal(file=written, force_terminal=True, width=400, **console.PLAIN)
        )
    return written


def test_lines_cells_headings_and_json_are_escaped(terminal: io.StringIO) -> None:
    console.out.print(HOSTILE)
    table = Table(HOSTILE)
    table.add_row(HOSTILE)
    console.err.print(table)
    console.print_json({HOSTILE: [HOSTILE]})
    said = terminal.getvalue()
    assert said.count(SHOWN) == 3
    assert HOSTILE[:3] not in said
    assert "\u202e" not in said
    assert "\nerror" not in said


def test_a_library_that_logs_an_error_does_not_write_raw_names(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    handler = _Steps()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    # Not through a logger: pytest keeps what is logged, and its workers could not hand over such names.
    for name, level in (("google.cloud", logging.ERROR), ("transforms.publish.tidy", logging.WARNING)):
        handler.emit(logging.LogRecord(name, level, "f.py", 1, "%s: gone", (HOSTILE,), None))
    assert ascii(written.getvalue()) == ascii(f"{SHOWN}: gone\nwarning: {SHOWN}: gone\n")


def test_a_file_name_forges_no_line_of_an_error(tmp_path: Path) -> None:
    name = "x\nerror: nothing is wrong\x1b[31m"
    code, out, err = invoke("check", "--bundle", "b", "--input", tmp_path / "a", "--output", f"{tmp_path}/{name}/\0")
    assert (code, out, err.count("\n")) == (2, "", 1)
    (tmp_path / name).mkdir()
    code, out, err = invoke("inspect", tmp_path / name)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {escaped(str(tmp_path / name))}: is neither a bundle")
    assert err.count("\n") == 1


def test_a_job_with_several_problems_has_a_line_for_each(
    terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.errors import ConfigError
    from pipeline.terminal import report

    monkeypatch.setattr(report, "err", console.err)
    assert report.explain(ConfigError("--a x\ny: is wrong", "--b: too"), "text") == 2
    assert terminal.getvalue() == "error: --a x\\ny: is wrong\n--b: too\n"


@pytest.mark.slow
def test_a_terminal_without_unicode_is_no_reason_to_fail(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "runs", "--output", str(tmp_path / "Füße")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"F\\xfc\\xdfe: nothing was published there" in done.stdout


def test_steps_have_names() -> None:
    assert set(bar.STEPS) >= {bar.LOOK, bar.IDS, bar.ROWS, bar.PUBLISH}
