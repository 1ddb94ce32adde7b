"""What tests of deploy/ share."""

import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
import yaml
from support.commands import ROOT

from pipeline.commands.app import app

DEPLOY = ROOT / "deploy"


def module(name: str) -> ModuleType:
    """A Python file below deploy/, which is no package."""
    spec = importlib.util.spec_from_file_location("deploy_" + Path(name).stem, DEPLOY / name)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    # Its data classes look themselves up there.
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def content(name: str) -> Any:
    """A YAML file below deploy/."""
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def project_version() -> str:
    """The version of this project."""
    (found,) = re.findall(r'version="([^"]+)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    return str(found)


def parsed(arguments: Sequence[str]) -> dict[str, Any]:
    """What the command line makes of `bert-batch ARGUMENTS`; fails as the command would, and runs nothing."""
    command = typer.main.get_command(app)
    context = command.make_context("bert-batch", list(arguments))  # type: ignore[attr-defined]
    name, chosen, rest = command.resolve_command(context, [*context._protected_args, *context.args])  # type: ignore
    return chosen.make_context(name, rest, parent=context).params
