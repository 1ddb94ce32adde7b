"""Lints every file of deploy/ that is no Python, and holds them to the rules of this project.

Prints what the linters say, and ends with 1 if one is not content, a rule is broken or a file belongs to no linter.
"""

import configparser
import copy
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from deploy.lint import images, rules

DEPLOY = Path(__file__).resolve().parents[1]
ROOT = DEPLOY.parent
_LOCKED = ("airflow", "deploy", "dev", "docs", "emulators", "runtime", "uv", "weights")
LOCKS = [
    *(ROOT / f"requirements/{name}.txt" for name in _LOCKED),
    *(ROOT / f"benchmarks/{name}.txt" for name in ("peers", "peers-full")),
]
BIN = Path(sys.executable).parent
KUBERNETES = "1.33"
CACHES = {"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"}
YAML_RULES = (
    "{extends: default, rules: {document-start: disable, line-length: {max: 150}, comments-indentation: disable}}"
)


def dockerfile(file: Path) -> list[str]:
    """What hadolint says."""
    return _run("hadolint", str(file))


def shell(file: Path) -> list[str]:
    """What shellcheck says of a script."""
    return _run("shellcheck", str(file))


def yaml_style(file: Path) -> list[str]:
    """What yamllint says, and shellcheck of the scripts inside."""
    problems = _run("yamllint", "--strict", "--config-data", YAML_RULES, str(file))
    with tempfile.TemporaryDirectory() as folder:
        for number, script in enumerate(scripts(yaml.safe_load(file.read_text(encoding="utf-8")))):
            inner = Path(folder) / f"{file.stem}-{number}.sh"
            # Cloud Build takes $$ for a dollar of the shell.
            inner.write_text(script.replace("$$", "$"), encoding="utf-8")
            problems += _run("shellcheck", "--shell=bash", str(inner))
    return problems


def manifest(file: Path) -> list[str]:
    """What the schemas of Kubernetes say of a manifest."""
    return _run("kubernetes-validate", "--strict", "-k", KUBERNETES, str(file))


def patch(file: Path) -> list[str]:
    """What the schemas of Kubernetes say of the manifest of the base that this patch was applied to."""
    base = yaml.safe_load((DEPLOY / "kubernetes/base" / file.name).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / file.name
        whole.write_text(
            yaml.safe_dump(merged(base, yaml.safe_load(file.read_text(encoding="utf-8")))), encoding="utf-8"
        )
        return manifest(whole)


def cloud_build(file: Path) -> list[str]:
    """What the schema of Cloud Build says."""
    return _run("check-jsonschema", "--builtin-schema", "vendor.cloudbuild", str(file))


def json_syntax(file: Path) -> list[str]:
    """Whether it is JSON; what the parameters are is a test."""
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        return [f"{file}: {error}"]
    return []


def systemd_unit(file: Path) -> list[str]:
    """What systemd says, where it is installed. The command is not there: /bin/true stands for it."""
    if shutil.which("systemd-analyze") is None:
        print(f"{file.name}: not looked at, systemd-analyze is not installed")
        return []
    with tempfile.TemporaryDirectory() as folder:
        for unit in file.parent.iterdir():
            lines = unit.read_text(encoding="utf-8").splitlines()
            commands = ["ExecStart=/bin/true" if line.startswith("ExecStart=") else line for line in lines]
            (Path(folder) / unit.name).write_text("\n".join(commands) + "\n", encoding="utf-8")
        return _run("systemd-analyze", "verify", "--man=no", str(Path(folder) / file.name))


def ini_syntax(file: Path) -> list[str]:
    """Whether it is an INI file."""
    try:
        configparser.ConfigParser().read_string(file.read_text(encoding="utf-8"))
    except configparser.Error as error:
        return [f"{file}: {error}"]
    return []


def tested(_: Path) -> list[str]:
    """Nothing here: tests/slow/deploy/ or the tests of the DAGs read it."""
    return []


LINTERS: dict[str, tuple[Callable[[Path], list[str]], ...]] = {
    "Dockerfile": (dockerfile,),
    "*.ini": (ini_syntax,),
    "*.md": (tested,),
    "*.sh": (shell,),
    "*.yaml": (yaml_style,),
    "airflow/dags/.airflowignore": (tested,),
    "cloudbuild.yaml": (cloud_build,),
    "flex/*.json": (json_syntax,),
    "kubernetes/base/cronjob.yaml": (manifest,),
    "kubernetes/base/networkpolicy.yaml": (manifest,),
    "kubernetes/base/serviceaccount.yaml": (manifest,),
    "kubernetes/*pu/cronjob.yaml": (patch,),
    "requirements-*.txt": (tested,),
    "systemd/*.service": (systemd_unit,),
    "systemd/*.timer": (systemd_unit,),
}
"""Pattern of files below deploy/ -> what looks at them."""


def files() -> list[Path]:
    """All files of deploy/ but Python's, which ruff lints with the others."""
    found = (path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and not CACHES & set(path.parts))
    return [path for path in found if path.suffix != ".py"]


def linters(file: Path) -> list[Callable[[Path], list[str]]]:
    """What looks at a file; empty if nothing does."""
    name = file.relative_to(DEPLOY).as_posix()
    return [linter for pattern, chosen in LINTERS.items() if fnmatch(name, pattern) for linter in chosen]


def scripts(content: Any) -> Iterator[str]:
    """Shell scripts in a YAML file: what follows `-c` in a list."""
    if isinstance(content, dict):
        for value in content.values():
            yield from scripts(value)
    elif isinstance(content, list):
        if "-c" in content[:-1]:
            yield str(content[content.index("-c") + 1])
        for value in content:
            yield from scripts(value)


def merged(base: Any, change: Any) -> Any:
    """A manifest with a strategic merge patch applied: lists of what has a name are merged by it, others replaced."""
    if isinstance(base, dict) and isinstance(change, dict):
        return {**base, **{key: merged(base.get(key), value) for key, value in change.items()}}
    if isinstance(base, list) and isinstance(change, list) and all(_has_name(item) for item in [*base, *change]):
        names = {item["name"]: item for item in base}
        return list({**names, **{item["name"]: merged(names.get(item["name"]), item) for item in change}}.values())
    return copy.deepcopy(change)


def _has_name(item: Any) -> bool:
    return isinstance(item, dict) and "name" in item


def _run(program: str, *arguments: str) -> list[str]:
    inside = BIN / program
    command = [str(inside) if inside.exists() else program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [f"{program}: {done.stdout}{done.stderr}".rstrip()]


def broken_rules() -> list[str]:
    """What the rules of deploy/lint/rules.py and images.py say of the files that there are."""
    dockerfile, build = (_text(name) for name in ("Dockerfile", "cloudbuild.yaml"))
    base = {name: yaml.safe_load(_text(f"kubernetes/base/{name}.yaml")) for name in ("cronjob", "kustomization")}
    policies = list(yaml.safe_load_all(_text("kubernetes/base/networkpolicy.yaml")))
    gpu = merged(base["cronjob"], yaml.safe_load(_text("kubernetes/gpu/cronjob.yaml")))
    found = [
        *images.problems(images.RECORD.read_text(encoding="utf-8"), dockerfile, build),
        *rules.users(dockerfile),
        *rules.locked_installs(dockerfile),
        *rules.build_account(yaml.safe_load(build)),
        *rules.network(policies, base["cronjob"], base["kustomization"]["resources"]),
    ]
    for file in (*LOCKS, *sorted(DEPLOY.glob("requirements-*.txt"))):
        found += rules.lock(file.name, file.read_text(encoding="utf-8"))
    found += rules.makefile_installs((ROOT / "Makefile").read_text(encoding="utf-8"))
    return [*found, *rules.pods(base["cronjob"]), *rules.pods(gpu)]


def _text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def main() -> int:
    """Runs all linters over all files, then the rules."""
    problems = []
    for file in files():
        chosen = linters(file)
        problems += [problem for linter in chosen for problem in linter(file)]
        problems += [] if chosen else [f"{file}: no linter looks at it; name one in deploy/lint/linters.py"]
    problems += broken_rules()
    for tagged in images.unpinned(images.RECORD.read_text(encoding="utf-8")):
        print(f"not pinned: no digest of {tagged} is on record; `make lock-images` asks a registry for it")
    print("\n".join([*problems, f"{len(files())} files, {len(problems)} problems"]))
    return 1 if problems else 0
