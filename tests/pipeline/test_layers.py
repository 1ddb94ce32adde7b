"""Who may import whom: one row for each room, and no circle anywhere. docs/internals/architecture.md says why."""

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.commands import ROOT

PACKAGES = ("model", "transforms", "pipeline")
GROUND = ("transforms.errors",)
RECORD = ("transforms.outputs", "transforms.runs")
A_STEP = (*GROUND, *RECORD, "transforms.stores", "transforms.bigquery", "transforms.batches", "model")
STEPS = ("read", "validate", "featurize", "score", "carry", "write", "publish")
PAGES = ("pipeline.preparing", "pipeline.scoring", "pipeline.submitting", "pipeline.backfill", "pipeline.publishing")
BELOW = ("pipeline.jobs", "pipeline.dataflow", "pipeline.runners", "pipeline.errors", "transforms", "model")
ROWS: Mapping[str, tuple[str, ...]] = {
    "model.errors": (),
    "model.long_texts": (),
    "model.windows": ("model.long_texts",),
    "model.bundle": ("model.long_texts", "model.errors"),
    "model.network": ("model.errors",),
    "model.tokenizer": ("model.long_texts", "model.errors"),
    "model.checkpoints": ("model.network", "model.tokenizer", "model.errors"),
    "model.serving": ("model.network", "model.bundle", "model.errors"),
    "model.training": ("model.network", "model.bundle", "model.windows", "model.errors"),
    "transforms.errors": (),
    "transforms.batches": GROUND,
    "transforms.stores": (*GROUND, "model.bundle", "model.errors"),
    "transforms.bigquery": GROUND,
    "transforms.outputs": (*GROUND, "transforms.batches", "transforms.stores"),
    "transforms.runs": (*GROUND, "transforms.batches", "transforms.stores", "transforms.outputs"),
    # A step imports no other step.
    **{f"transforms.{step}": A_STEP for step in STEPS},
    "pipeline.errors": ("transforms.errors", "transforms.runs.verdict_record", "model.errors"),
    "pipeline.jobs": ("pipeline.errors", "transforms", "model"),
    "pipeline.dataflow": ("pipeline.errors", "pipeline.jobs", "transforms.errors"),
    "pipeline.runners": ("pipeline.jobs", "pipeline.dataflow", "pipeline.errors", "transforms", "model.bundle"),
    "pipeline.bundling": ("pipeline.jobs", "pipeline.runners", "pipeline.errors", "transforms", "model"),
    "pipeline.preparing": BELOW,
    "pipeline.scoring": (*BELOW, "pipeline.preparing"),
    "pipeline.submitting": (*BELOW, "pipeline.preparing", "pipeline.scoring"),
    "pipeline.backfill": BELOW,
    "pipeline.publishing": BELOW,
    "pipeline.terminal": (*BELOW, *PAGES, "pipeline.bundling"),
    "pipeline.commands": ("pipeline", "transforms", "model"),
    "pipeline.__main__": ("pipeline.commands",),
}
"""Room -> what it may import of the project, besides itself."""
WITH_BEAM = {
    "transforms.validate",
    "transforms.carry",
    "transforms.write",
    "transforms.featurize.fit",
    "transforms.read.duplicates",
    "transforms.read.unchanged",
    "transforms.batches.coder",
    *(f"transforms.{step}.step" for step in ("read", "featurize", "score", "publish")),
}
FORBIDDEN = {
    "model": {"apache_beam", "argparse", "click", "typer"},
    "transforms": {"argparse", "click", "typer", "PipelineOptions"},
    "pipeline": {"tensorflow", "tensorflow_text", "tf_keras"},
}


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the three packages, at any depth."""
    files = (file for package in PACKAGES for file in (root / package).rglob("*.py"))
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imported(file: Path) -> set[str]:
    """What a file imports, as `module` and as `module.name`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def graph(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """Module -> modules of the project that it imports."""
    return {name: {one for one in imported(file) if one in known} - {name} for name, file in known.items()}


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def offences(arrows: Mapping[str, set[str]], rows: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Imports that no row allows."""
    found = []
    for module, others in arrows.items():
        allowed = (room(module), *rows.get(room(module), ()))
        for other in others - set(PACKAGES):
            if not any(other == one or other.startswith(one + ".") for one in allowed):
                found.append(f"{module} imports {other}")
    return sorted(found)


def circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """A circle of imports, or nothing."""
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> list[str]:
        if module in above:
            return [*above[above.index(module) :], module]
        if module in done:
            return []
        for other in sorted(arrows[module]):
            if found := visit(other, (*above, module)):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(arrows) if (found := visit(module, ()))), [])


def test_each_room_imports_only_what_its_row_allows() -> None:
    known = modules()
    assert {room(module) for module in known} - set(PACKAGES) == set(ROWS)
    assert offences(graph(known), ROWS) == []


def test_no_imports_go_in_a_circle() -> None:
    assert circle(graph(modules())) == []


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("transforms.validate", "transforms.read.step"),
        ("transforms.runs.plan", "transforms.publish.commit"),
        ("pipeline.scoring", "pipeline.terminal.console"),
        ("model.network.encoder", "model.serving.scoring_graph"),
    ],
)
def test_a_broken_row_is_found(module: str, other: str) -> None:
    arrows = graph(modules())
    arrows[module].add(other)
    assert offences(arrows, ROWS) == [f"{module} imports {other}"]


def test_a_circle_is_found() -> None:
    arrows = graph(modules())
    arrows["transforms.stores.paths"].add("transforms.stores.local")
    assert set(circle(arrows)) >= {"transforms.stores.paths", "transforms.stores.local"}


@pytest.mark.parametrize("package", PACKAGES)
def test_libraries_of_other_layers_stay_out(package: str) -> None:
    files = [file for module, file in modules().items() if module.split(".")[0] == package]
    assert len(files) > 3
    for file in files:
        names = {part for name in imported(file) for part in (name.split(".")[0], name.split(".")[-1])}
        assert not names & FORBIDDEN[package], file


def test_beam_is_only_where_a_step_meets_it() -> None:
    with_beam = {
        module
        for module, file in modules().items()
        if module.startswith("transforms.") and any(name.split(".")[0] == "apache_beam" for name in imported(file))
    }
    assert with_beam == WITH_BEAM


def test_every_module_with_beam_imports_the_coder_of_batches() -> None:
    # Without it Beam pickles RecordBatches, and nothing fails.
    for module in WITH_BEAM - {"transforms.batches.coder"}:
        assert "transforms.batches.coder" in imported(modules()[module]), module


def test_no_transform_switches_beams_type_checks_off() -> None:
    for module, file in modules().items():
        if module.startswith("transforms"):
            assert "from __future__ import annotations" not in file.read_text(encoding="utf-8"), file


def test_a_file_is_as_long_as_a_person_reads() -> None:
    for file in modules().values():
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 280, file


def test_a_folder_is_as_full_as_a_person_sees() -> None:
    for top in (*PACKAGES, "benchmarks", "tests"):
        for folder in [ROOT / top, *(ROOT / top).rglob("*")]:
            if folder.is_dir() and folder.name != "__pycache__" and "data" not in folder.relative_to(ROOT).parts:
                entries = [e for e in folder.iterdir() if e.name != "__pycache__" and not e.name.startswith(".")]
                assert len(entries) <= 14, folder
