"""The image: what is copied exists, versions agree, packages are locked; every file of deploy/ has a linter."""

import os
import re
import shlex
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.commands import ROOT, run_command
from support.deploy.deployment import DEPLOY, content, module, parsed, project_version

DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
STEPS = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
TARGETS = ("cpu", "gpu")
PINNED = re.compile(r"[\w.-]+==\S+")
IMAGE = {
    "python_version": "3.11",
    "python_full_version": "3.11.9",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
}

lint = module("lint.py")


def pins(file: Path) -> dict[str, str]:
    """The versions that a lock has for the image."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if PINNED.match(line)]
    found = [Requirement(line.removesuffix("\\")) for line in lines]
    there = [one for one in found if one.marker is None or one.marker.evaluate(IMAGE)]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in there}


def copied() -> list[tuple[list[str], str]]:
    """Sources in the checkout and destination of every COPY, for all targets."""
    found = [step.split()[1:] for step in STEPS if step.startswith("COPY ") and "--from=" not in step]
    return [
        ([source.replace("${TARGET}", t) for t in TARGETS for source in sources], place) for *sources, place in found
    ]


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps a file from the builder: the last pattern that names it or a folder above decides."""
    ignored, above = False, [path, *map(str, Path(path).parents)]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.lstrip("!").replace("**/", "")
        if line and not line.startswith("#"):
            names = [Path(name).name for name in above] if "**/" in line else above
            ignored = not line.startswith("!") if any(fnmatch(name, pattern) for name in names) else ignored
    return ignored


def test_every_file_has_a_linter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [file for file in lint.files() if not lint.linters(file)] == []
    monkeypatch.setattr(lint, "DEPLOY", tmp_path)
    (tmp_path / "main.tf").write_text("")
    assert [lint.linters(file) for file in lint.files()] == [[]]
    assert lint.main() == 1


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    assert len(copied()) >= 8
    for sources, _ in copied():
        for source in sources:
            assert (ROOT / source).exists(), source
            assert not is_ignored(source), source
    for secret in (".git/config", ".venv/bin/python", "tests/conftest.py", "pipeline/__pycache__/cli.cpython-311.pyc"):
        assert is_ignored(secret), secret


def test_paths_that_others_name_are_copied_there() -> None:
    (place,) = re.findall(r"^WORKDIR (/opt/\S+)", DOCKERFILE, re.MULTILINE)
    there = {f"{place}/{destination}" for _, destination in copied()}
    (entry,) = re.findall(r"FLEX_TEMPLATE_PYTHON_PY_FILE=(\S+)", DOCKERFILE)
    patch = content("kubernetes/gpu/cronjob.yaml")
    (gpu,) = patch["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]
    assert {entry, gpu["command"][1], f"{place}/deploy/profiles"} <= there


def test_settings_that_workers_cannot_do_without() -> None:
    settings = dict(re.findall(r"([A-Z_]+)=(\S+)", next(step for step in STEPS if step.startswith("ENV "))))
    assert settings["RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"] == "1"
    assert settings["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert settings["LD_LIBRARY_PATH"] == "/usr/local/nvidia/lib64"
    assert "FLEX_TEMPLATE_PYTHON_REQUIREMENTS_FILE" not in settings
    assert STEPS[-1] == 'ENTRYPOINT ["/opt/apache/beam/boot"]'


def test_versions_agree() -> None:
    runtime = pins(ROOT / "requirements/runtime.txt")
    values = dict(re.findall(r"^ARG (\w+)=(\S+)", DOCKERFILE, re.MULTILINE))
    assert values["BEAM_VERSION"] == runtime["apache-beam"]
    python = IMAGE["python_version"]
    (least,) = re.findall(r'python_requires=">=([\d.]+),<3.14"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert [*map(int, least.split("."))] <= [*map(int, python.split("."))] < [3, 14]
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    for base in bases:
        assert base.startswith((f"python:{python}-slim", f"apache/beam_python{python}_sdk:")) or (
            f"/python{python.replace('.', '')}-template-launcher-base:" in base
        )
    assert f"bert-batch:{project_version()}-gpu" in DOCKERFILE
    assert content("cloudbuild.yaml")["substitutions"]["_VERSION"] == project_version()
    for target in TARGETS:
        (image,) = content(f"kubernetes/{target}/kustomization.yaml")["images"]
        assert image["newTag"] == f"{project_version()}-{target}"


def test_the_build_names_what_is_there() -> None:
    build = content("cloudbuild.yaml")
    arguments = dict(part.split("=", 1) for step in build["steps"] for part in step["args"] if part.startswith("--"))
    assert (ROOT / arguments["--file"]).samefile(DEPLOY / "Dockerfile")
    assert arguments["--build-arg"] == "TARGET=${_TARGET}"
    assert build["substitutions"]["_TARGET"] in TARGETS
    (metadata,) = re.findall(r"--metadata-file=(\S+)", build["steps"][-1]["args"][-1])
    assert (ROOT / metadata).samefile(DEPLOY / "flex/metadata.json")


def test_commands_in_the_documents_parse() -> None:
    documents = "".join(file.read_text(encoding="utf-8") for file in sorted(DEPLOY.rglob("*.md")))
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```$", documents, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    commands = re.findall(r"^bert-batch (.*)$", blocks, re.MULTILINE)
    assert len(commands) >= 4
    for line in commands:
        assert parsed(shlex.split(line, comments=True)), line


def test_no_image_is_the_latest() -> None:
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    images += [step["name"] for step in content("cloudbuild.yaml")["steps"]]
    assert len(images) >= 7
    assert [image for image in images if not re.fullmatch(r"[^:\s]+:[\w${}.-]+", image) or "latest" in image] == []
    stages = set(re.findall(r" AS (\w+)$", DOCKERFILE, re.MULTILINE))
    assert set(re.findall(r"--from=(\S+)", DOCKERFILE)) <= stages


def test_locks_are_the_pins_the_tests_ran_with() -> None:
    runtime, build = pins(ROOT / "requirements/runtime.txt"), pins(DEPLOY / "requirements-build.txt")
    cpu, gpu = (pins(DEPLOY / f"requirements-{target}.txt") for target in TARGETS)
    dev = pins(ROOT / "requirements/dev.txt")
    openvino = {name: version for name, version in dev.items() if name.startswith("openvino")}
    assert openvino.keys() >= {"openvino"}
    assert cpu == {**runtime, **openvino}
    assert dev.items() > cpu.items()
    assert {"pytest", "mypy", "ruff"} <= dev.keys() - runtime.keys()
    assert {name: gpu[name] for name in runtime} == runtime
    cuda = gpu.keys() - runtime.keys()
    assert {"nvidia-cudnn-cu12", "nvidia-cublas-cu12", "nvidia-cuda-nvcc-cu12"} <= cuda
    assert all(name.startswith("nvidia-") for name in cuda)
    assert build.items() <= cpu.items()


@pytest.mark.parametrize("name", ["build", *TARGETS])
def test_locks_hold_a_hash_for_every_package_and_no_address(name: str) -> None:
    text = (DEPLOY / f"requirements-{name}.txt").read_text(encoding="utf-8")
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ;[^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), entry[:80]
    assert "://" not in text


def test_smoke_scores_three_texts() -> None:
    command = [sys.executable, os.fspath(DEPLOY / "smoke.py")]
    assert "ok scores: 3 texts scored" in run_command(command, BERT_BATCH_TARGET="cpu")


def test_smoke_fails_without_a_gpu_where_there_must_be_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["smoke.py"])
    monkeypatch.setenv("BERT_BATCH_TARGET", "gpu")
    assert module("smoke.py").main() == 1
    assert "FAILED gpu: TensorFlow sees no GPU" in capsys.readouterr().out
