"""README and the pages of docs/ say what the code does, and their links lead somewhere."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer
from support.commands import ROOT, run_command
from support.documents import GUIDES, PAGES, README, anchors, links, page

from pipeline.commands.app import app
from transforms.batches.dead_letters import CODES

TEXT = README.read_text(encoding="utf-8")
# Flags of other programs that the documents name.
OTHERS = {"--no-deps", "--wheel-dir", "--constraint", "--requirement"}


@pytest.fixture(scope="module")
def tools() -> ModuleType:
    """docs/tools/drawings.py."""
    spec = importlib.util.spec_from_file_location("drawings", ROOT / "docs" / "tools" / "drawings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_code_of_a_dead_letter_is_on_its_page_with_its_meaning() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page("use/dead-letters.md"), re.MULTILINE))
    assert {code: rows.get(code) for code in CODES} == CODES


def test_every_flag_in_the_documents_exists() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {
        flag
        for command in commands.values()
        for param in command.params
        for flag in (*param.opts, *param.secondary_opts)
    }
    texts = {file.name: file.read_text(encoding="utf-8") for file in GUIDES}
    used = {name: set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - OTHERS for name, text in texts.items()}
    assert sum(len(flags) for flags in used.values()) > 60
    assert {name: flags - known for name, flags in used.items() if flags - known} == {}


def test_the_first_screen_has_the_two_commands_that_do_all_the_set_up() -> None:
    first = TEXT.splitlines()[:20]
    assert any(line.startswith("make demo") for line in first)
    assert any(line.startswith("make test") for line in first)


def test_the_door_is_small() -> None:
    assert len(README.read_bytes()) <= 8_000


def test_readme_shows_what_the_demo_prints(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```\n(published .*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    printed = run_command([sys.executable, "-m", "pipeline", "demo"], folder=tmp_path)
    printed = printed.replace(f"{tmp_path.resolve()}/", "")

    def plain(text: str) -> list[str]:
        # The day it ran, and the last digit of a probability, are not the program's to promise.
        return re.sub(r"\d{4}-\d\d-\d\d", "DATE", re.sub(r"(0\.\d{3})\d\b", r"\1", text)).split()

    assert plain(shown) == plain(printed)


@pytest.mark.parametrize("file", GUIDES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_leads_somewhere(file: Path, tools: ModuleType) -> None:
    for link in links(file):
        path, _, anchor = link.partition("#")
        goal = (file.parent / path).resolve() if path else file
        if not goal.exists() and goal.is_relative_to(ROOT / "benchmarks/reports"):
            goal = tools.reports() / goal.name
        assert goal.exists(), f"{file.name}: {link}"
        if anchor and not anchor.startswith("only-"):
            assert anchor in anchors(goal), f"{file.name}: {link}"


def test_every_page_is_reached_from_readme_or_the_site() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"^ +- (\S+\.md)$", nav, re.MULTILINE))
    assert {str(file.relative_to(ROOT / "docs")) for file in PAGES} <= listed


def test_the_pictures_are_those_of_the_printed_results(tools: ModuleType) -> None:
    # `make drawings` draws them anew.
    results = (tools.reports() / "RESULTS.md").read_text(encoding="utf-8")
    assert len(tools.jobs(results)) > 4
    for name, content in tools.drawings(results):
        assert (ROOT / "docs" / "images" / name).read_text(encoding="utf-8") == content, name


@pytest.mark.parametrize("file", [README, ROOT / "docs/facts/speed.md"], ids=lambda file: file.name)
def test_figures_are_those_of_the_printed_results(file: Path, tools: ModuleType) -> None:
    results = (tools.reports() / "RESULTS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+ \| \*\*.+\*\* \| .+) \|$", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) >= 3
    for row in rows:
        assert f" {row} |" in results, row


def test_every_test_that_security_names_is_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    parts = re.split(r"`(tests/\S+\.py)`", text)[1:]
    named = [(file, re.findall(r"`(test_\w+)`", after)) for file, after in zip(parts[::2], parts[1::2], strict=True)]
    assert len(named) > 8
    for file, tests in named:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert tests, file
        assert [test for test in tests if f"def {test}(" not in source] == [], file


def test_every_target_that_the_documents_name_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w.-]+):", makefile, re.MULTILINE))
    texts = "".join(file.read_text(encoding="utf-8") for file in GUIDES)
    named = set(re.findall(r"`make ([\w-]+)", texts)) | set(re.findall(r"^make ([\w-]+)", texts, re.MULTILINE))
    assert len(named) > 15
    assert named <= targets


def test_every_file_of_the_code_that_the_documents_name_is_there() -> None:
    named = r"`((?:pipeline|transforms|model|tests|deploy)/[\w/]+(?:\.py|/))`"
    found = {path for file in GUIDES for path in re.findall(named, file.read_text(encoding="utf-8"))}
    assert len(found) > 50
    assert [path for path in sorted(found) if not (ROOT / path).exists()] == []
