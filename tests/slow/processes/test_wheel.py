"""The wheel alone: what is in it, and that it works where there is no checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from support.commands import ROOT

PACKAGES = ("model", "pipeline", "transforms")
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", *PACKAGES, "examples")
IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
found = [one.name for name in sys.argv[2:] for one in pkgutil.walk_packages([f"{sys.argv[1]}/{name}"], f"{name}.")]
found.remove("pipeline.__main__")  # It is the command.
for name in found:
    module = importlib.import_module(name)
    assert module.__file__.startswith(sys.argv[1]), module.__file__
print(*found)
"""


def modules(folder: Path) -> set[str]:
    """The modules below the three packages; a package by its own name."""
    files = [file.relative_to(folder) for name in PACKAGES for file in (folder / name).rglob("*.py")]
    return {".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files}


def python(*arguments: object, folder: Path, path: Path | None = None) -> str:
    """What this Python prints when it finds no checkout, and the packages of `path` before installed ones."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy of the sources: setuptools leaves files where it builds, and packs what is there."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    python("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", ".", folder=folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of packages of an environment that has the wheel: it holds no code that is run at installation."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


def test_the_wheel_holds_exactly_three_packages_that_nobody_else_owns(unpacked: Path) -> None:
    (about,) = unpacked.glob("*.dist-info")
    assert {entry.name for entry in unpacked.iterdir()} == {*PACKAGES, about.name}
    lines = (about / "METADATA").read_text(encoding="utf-8").splitlines()
    (required,) = (line.removeprefix("Requires-Python: ") for line in lines if line.startswith("Requires-Python"))
    assert set(required.split(",")) == {">=3.11", "<3.14"}
    owners = packages_distributions()
    for package in PACKAGES:
        assert set(owners.get(package, ["bert-batch"])) == {"bert-batch"}, package


def test_every_module_of_the_checkout_is_in_the_wheel_and_can_be_imported_from_it(
    unpacked: Path, tmp_path: Path
) -> None:
    imported = python("-c", IMPORT_EVERYTHING, unpacked, *PACKAGES, folder=tmp_path, path=unpacked).split()
    assert {*imported, *PACKAGES, "pipeline.__main__"} == modules(unpacked) == modules(ROOT)
    assert "transforms.read.formats.delimited" in imported


def test_the_demo_runs_from_the_wheel_with_the_data_in_it(unpacked: Path, tmp_path: Path) -> None:
    said = python("-m", "pipeline", "demo", folder=tmp_path, path=unpacked)
    assert "700 read = 700 scored + 0 dead letters" in said
    assert (tmp_path / "demo-output").is_dir()


def test_the_data_of_the_demo_is_that_of_the_checkout_with_its_origin_and_licence(unpacked: Path) -> None:
    kept, packed = ROOT / "examples" / "snips", unpacked / "pipeline" / "demo"
    files = {file.relative_to(kept) for file in kept.rglob("*") if file.is_file()}
    assert {file.relative_to(packed) for file in packed.rglob("*") if file.is_file()} == files
    assert len(files) > 10
    assert all((packed / file).read_bytes() == (kept / file).read_bytes() for file in files)
    assert "CC0 1.0" in (packed / "README.md").read_text(encoding="utf-8")
