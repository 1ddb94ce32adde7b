"""What `--help` is derived from is imported by every command: it waits for nothing heavy."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.commands import ROOT

FILES = [
    *sorted((ROOT / "pipeline/jobs").glob("*.py")),
    ROOT / "pipeline/bundling/training_job.py",
    ROOT / "pipeline/bundling/import_job.py",
    ROOT / "pipeline/bundling/networks/flags.py",
]
OURS = (
    "pipeline.jobs.",
    "pipeline.bundling.networks.flags",
    "pipeline.bundling.networks.formula",
    "pipeline.errors",
    "transforms.errors",
    "transforms.batches.formats",
    "model.long_texts",
)
"""What of the project these files may import when they are imported themselves."""


def at_import(nodes: list[ast.stmt]) -> Iterator[str]:
    """Modules that are imported with a file: those outside of functions and of `if TYPE_CHECKING`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
        elif isinstance(node, ast.ClassDef) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test)
        ):
            yield from at_import(node.body)


def test_jobs_import_the_standard_library_pydantic_and_light_modules_of_ours() -> None:
    assert len(FILES) > 12
    for file in FILES:
        for name in at_import(ast.parse(file.read_text(encoding="utf-8")).body):
            outside = name.split(".")[0] in sys.stdlib_module_names or name in ("pydantic", "yaml")
            assert outside or name.startswith(OURS), f"{file}: {name}"


def test_with_the_jobs_nothing_heavy_is_imported() -> None:
    names = [".".join(Path(file).relative_to(ROOT).with_suffix("").parts) for file in FILES]
    code = "import importlib, json, sys\nfor name in json.loads(sys.argv[1]): importlib.import_module(name)\n"
    code += "print(sorted({'pyarrow', 'numpy', 'tensorflow', 'apache_beam', 'rich'} & set(sys.modules)))"
    command = [sys.executable, "-c", code, json.dumps(names)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"
