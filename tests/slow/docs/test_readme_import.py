"""What the documents show of `bert-batch import` is what it prints: every layout and every refusal, word for word."""

import ast
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support.checkpoints.every_layout import build_models
from support.checkpoints.import_refusals import Refused, block, collect, shown
from support.commands import ROOT, invoke

from model.checkpoints import checkpoint as checkpoints
from model.checkpoints import detect as layouts
from model.checkpoints import hugging_face as hf
from model.checkpoints import (
    json_files,
    model_garden,
    run_configs,
    safetensors_files,
    tf1,
    tokenizer_files,
    tokenizer_json,
)
from model.checkpoints import stored_variables as stored
from model.serving.exported import as_exported as graphs
from model.serving.exported import operations, scores, signature, trials
from pipeline.bundling import import_job
from pipeline.bundling.networks import as_exported, formula

PAGE = (ROOT / "docs/models/import.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        build_models()
    return folder


# === Layouts ===

LAYOUTS = [
    "mrpc --name mrpc --labels different,equivalent --output mrpc-bundle",
    "run --name mine --labels bad,good,best --output my-bundle",
    "weights/w --name similarity --output values",
    "encoder --name fresh --new-head 2 --labels no,yes --output fresh-bundle",
    "export --name exported --labels bad,good,best --output export-bundle",
    "hf --name theirs --output hf-bundle",
    "hf --name pairs --segments 2 --truncator waterfall --output pair-bundle",
    "cross --name relevance --segments 2 --output relevance-bundle",
    "single --name value --output value-bundle",
    "modern --name modern --output modern-bundle",
    "uncased --name google --labels bad,good,best --output google-bundle",
]


def shown_imports() -> dict[str, list[str]]:
    """Flags of an import on the page -> the lines below it."""
    parts = re.findall(r"^\$ bert-batch import (.+)\n((?:.+\n)*?)(?=\n|```)", PAGE, re.MULTILINE)
    return {flags: below.splitlines() for flags, below in parts}


@pytest.mark.parametrize("flags", LAYOUTS)
def test_the_page_shows_what_the_import_of_a_layout_prints(
    flags: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(models, tmp_path / "models"))
    code, out, err = invoke("import", *shlex.split(flags))
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.split(" ")[0] in ("read", "layout", "loaded", "ignored", "note")]
    assert shown_imports().get(flags) == lines


def test_the_page_shows_no_other_import() -> None:
    assert list(shown_imports()) == LAYOUTS


# === Refusals ===

MODULES = (checkpoints, hf, formula, import_job, json_files, layouts, model_garden, run_configs)
MODULES = (*MODULES, safetensors_files, stored, tf1, tokenizer_files, tokenizer_json)
MODULES = (*MODULES, as_exported, graphs, operations, scores, signature, trials)
# What flags say before anything is read, what only a training or only a library can meet.
ELSEWHERE = {"ImportJob", "load_vocabulary", "build_from", "of_layers", "of_output", "check_written"}


@pytest.fixture(scope="module")
def refused(models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Refused]:
    """Every refusal, from the real command."""
    with pytest.MonkeyPatch.context() as patch:
        return collect(models, tmp_path_factory.mktemp("refused"), patch)


def raises(module: ModuleType) -> Iterator[tuple[str, int]]:
    """The statements that raise in a module, by file and line."""
    path = str(module.__file__)
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    elsewhere = [node for node in ast.walk(tree) if getattr(node, "name", None) in ELSEWHERE]
    skipped = {inner for node in elsewhere for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node not in skipped:
            yield path, node.lineno


def test_the_page_shows_every_refusal_and_no_other(refused: list[Refused]) -> None:
    # `make refusals` writes the page anew.
    assert block(refused) == shown()
    assert len({one.line for one in refused}) == len(refused)


def test_no_reason_to_refuse_is_forgotten(refused: list[Refused]) -> None:
    seen = {one.site for one in refused}
    assert [site for module in MODULES for site in raises(module) if site not in seen] == []
