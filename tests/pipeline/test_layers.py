"""Arrows of import go down only: pipeline -> transforms -> model."""

import ast
from pathlib import Path

import pytest
from support.commands import ROOT

FORBIDDEN = {
    "model": {"apache_beam", "transforms", "pipeline", "tests", "argparse", "click", "typer"},
    "transforms": {"pipeline", "tests", "argparse", "click", "typer", "PipelineOptions"},
    "pipeline": {"tensorflow", "tensorflow_text", "tf_keras", "tests"},
}


def imported(file: Path) -> set[str]:
    """Top-level packages a file imports, and the names it takes from them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {str(node.module).split(".")[0], *(alias.name for alias in node.names)}
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_go_down_only(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert len(files) > 3
    for file in files:
        assert not imported(file) & FORBIDDEN[package], file


def test_no_transform_switches_beams_type_checks_off() -> None:
    for file in (ROOT / "transforms").rglob("*.py"):
        assert "from __future__ import annotations" not in file.read_text(encoding="utf-8"), file


def test_every_transform_with_beam_in_it_imports_the_coder_of_batches() -> None:
    # Without it Beam pickles RecordBatches, and nothing fails.
    with_beam = {
        file for file in (ROOT / "transforms").rglob("*.py") if "apache_beam" in imported(file) and file.stem != "coder"
    }
    assert len(with_beam) > 8
    assert with_beam == {
        file
        for file in (ROOT / "transforms").rglob("*.py")
        if "from transforms.batches import coder" in file.read_text(encoding="utf-8")
    }


def test_no_file_is_longer_than_a_person_reads() -> None:
    for package in FORBIDDEN:
        for file in (ROOT / package).rglob("*.py"):
            assert len(file.read_text(encoding="utf-8").splitlines()) <= 280, file
