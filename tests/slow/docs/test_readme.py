"""The README says what the code does."""

import re

import typer
from support.commands import ROOT

from pipeline.commands.app import app
from transforms.batches.dead_letters import CODES

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_code_of_a_dead_letter_is_in_the_readme_with_its_meaning() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", README, re.MULTILINE))
    assert {code: rows.get(code) for code in CODES} == CODES


def test_every_flag_in_the_readme_exists() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {
        flag
        for command in commands.values()
        for param in command.params
        for flag in (*param.opts, *param.secondary_opts)
    }
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert len(used) > 15
    assert used <= known


def test_the_first_screen_has_the_two_commands_that_do_all_the_set_up() -> None:
    first = README.splitlines()[:20]
    assert any(line.startswith("make demo") for line in first)
    assert any(line.startswith("make test") for line in first)
