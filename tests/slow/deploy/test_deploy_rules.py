"""The rules of deploy/ hold for the files that there are, and each one finds what breaks it."""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import ROOT
from support.deploy.deployment import DEPLOY, content

from deploy.lint import images, rules
from deploy.lint.linters import LOCKS, broken_rules

DOCKERFILE, BUILD = ((DEPLOY / name).read_text(encoding="utf-8") for name in ("Dockerfile", "cloudbuild.yaml"))
RECORD = images.RECORD.read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
DIGEST = "sha256:" + "0123456789abcdef" * 4
PYTHON = "python:3.11-slim-bookworm"


def test_the_files_of_deploy_keep_every_rule() -> None:
    assert broken_rules() == []


# === Images by digest ===


def with_digest(record: str, tagged: str, digest: str = DIGEST) -> str:
    return re.sub(rf"^(\S+ {re.escape(tagged)}) \S+$", rf"\1 {digest}", record, flags=re.MULTILINE)


def test_a_digest_that_is_on_record_is_demanded_wherever_the_image_is_named() -> None:
    for image in images.recorded(RECORD):
        record = with_digest(RECORD, image.tagged)
        assert f"{image.tagged}@{DIGEST}" in "".join(images.problems(record, DOCKERFILE, BUILD))
        files = (images.pinned(text, image, DIGEST) for text in (DOCKERFILE, BUILD))
        assert [*images.problems(record, *files)] == []
        # Another one than that on record, as after an update of one file only.
        newer = (images.pinned(text, image, DIGEST[:-1] + "0") for text in (DOCKERFILE, BUILD))
        assert [*images.problems(record, *newer)] != []


def test_a_digest_that_nobody_has_recorded_is_refused() -> None:
    for image in images.recorded(RECORD):
        files = [images.pinned(text, image, DIGEST) for text in (DOCKERFILE, BUILD)]
        assert [*images.problems(RECORD, *files)] != []


@pytest.mark.parametrize(
    ("record", "dockerfile", "build", "said"),
    [
        (RECORD.replace(PYTHON, "python:latest"), DOCKERFILE, BUILD, "no `latest`"),
        (RECORD.replace(PYTHON, "python"), DOCKERFILE, BUILD, "write VARIABLE image:tag digest"),
        (with_digest(RECORD, PYTHON, "sha256:0"), DOCKERFILE, BUILD, "a digest is sha256: and 64 hexadecimal"),
        (RECORD.replace("PYTHON_IMAGE", "OTHER_IMAGE"), DOCKERFILE, BUILD, "PYTHON_IMAGE is not in images.txt"),
        (RECORD + f"- {PYTHON} unknown\n", DOCKERFILE, BUILD, f"nothing builds on {PYTHON}"),
        (RECORD, DOCKERFILE.replace("FROM ${BEAM_IMAGE}", "FROM apache/beam:1"), BUILD, "FROM apache/beam:1 is no"),
        (RECORD, re.sub("^ARG BEAM_IMAGE=.*\n", "", DOCKERFILE, flags=re.MULTILINE), BUILD, "FROM ${BEAM_IMAGE} is no"),
        (
            RECORD,
            DOCKERFILE.replace(":2.77.0\n", ":2.78.0\n"),
            BUILD,
            "BEAM_IMAGE is apache/beam_python3.11_sdk:2.78.0",
        ),
        (RECORD, DOCKERFILE, BUILD.replace("cli:528.0.0", "cli:529.0.0"), "a step runs gcr.io/google.com/cloudsdktool"),
    ],
)
def test_what_is_not_pinned_by_the_record_is_found(record: str, dockerfile: str, build: str, said: str) -> None:
    assert (record, dockerfile, build) != (RECORD, DOCKERFILE, BUILD)
    assert said in "\n".join(images.problems(record, dockerfile, build))


def test_the_images_that_nobody_has_looked_up_are_named() -> None:
    # Shown by every run of the linters. Once they are looked up, there are none.
    assert len(images.unpinned(RECORD)) == RECORD.count(" unknown\n")
    assert images.unpinned(with_digest(RECORD, PYTHON)) == [one for one in images.unpinned(RECORD) if one != PYTHON]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that `make lock-images` reads and writes, and a docker that answers for a registry."""
    for name in ("requirements/images.txt", *images.NAMED_IN, *(f"deploy/lint/{n}.py" for n in ("__init__", "images"))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "bin").mkdir()
    return tmp_path


def lock_images(checkout: Path, docker: str) -> subprocess.CompletedProcess[str]:
    program = checkout / "bin" / "docker"
    program.write_text(f"#!{sys.executable}\nimport hashlib, sys\n{docker}\n", encoding="utf-8")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "deploy.lint.images"]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def test_the_digests_of_a_registry_come_to_the_record_and_to_every_place(checkout: Path) -> None:
    answer = "print('sha256:' + hashlib.sha256(sys.argv[-1].encode()).hexdigest())"
    for _ in range(2):  # Once more: what is pinned already is pinned anew.
        done = lock_images(checkout, answer)
        assert (done.returncode, done.stdout.count("@sha256:")) == (0, len(images.recorded(RECORD))), done.stderr
    record, dockerfile, build = (
        (checkout / name).read_text(encoding="utf-8") for name in ("requirements/images.txt", *images.NAMED_IN)
    )
    assert images.unpinned(record) == []
    assert [*images.problems(record, dockerfile, build)] == []
    assert [*images.problems(RECORD, dockerfile, build)] != []
    assert re.sub("@sha256:[0-9a-f]{64}", "", dockerfile) == DOCKERFILE
    assert re.sub("@sha256:[0-9a-f]{64}", "", build) == BUILD


@pytest.mark.parametrize("docker", ["sys.exit('no such host')", "print('latest')"])
def test_nothing_is_written_where_a_digest_is_not_to_be_had(checkout: Path, docker: str) -> None:
    done = lock_images(checkout, docker)
    assert (done.returncode, "no digest was written" in done.stdout) == (1, True)
    for name in ("requirements/images.txt", *images.NAMED_IN):
        assert (checkout / name).read_text(encoding="utf-8") == (ROOT / name).read_text(encoding="utf-8")


# === Who runs what ===


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("USER 10001:10001\n", "", "the stage command must end as USER 10001:10001"),
        ("USER 10001:10001\n", "USER bert-batch\n", "not as ['bert-batch']"),
        ("USER 10001:10001\n", "USER 10001:10001\nUSER root\n", "not as ['root']"),
        ('ENTRYPOINT ["bert-batch"]', 'ENTRYPOINT ["bash"]', "must start bert-batch"),
        (" AS command", " AS other", "the stage command must end as"),
        (
            "AS worker\n",
            "AS worker\nUSER 10001:10001\n",
            "worker, the last stage, must start Beam's boot as root",
        ),
        (
            "FROM installed AS worker",
            'FROM installed AS early\nENTRYPOINT ["/opt/apache/beam/boot"]\nFROM installed AS worker',
            "the stage early starts Beam's boot",
        ),
    ],
)
def test_a_command_that_could_run_as_root_is_found(old: str, new: str, said: str) -> None:
    assert old in DOCKERFILE
    assert said in "\n".join(rules.users(DOCKERFILE.replace(old, new)))


def pod(cronjob: Any) -> Any:
    return cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pod: pod["securityContext"].pop("runAsNonRoot"), "with runAsNonRoot"),
        (lambda pod: pod["securityContext"].update(runAsUser=0), "must run as the user of the image, 10001"),
        (lambda pod: pod["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False), "readOnlyRoot"),
        (lambda pod: pod["containers"][0]["securityContext"].pop("capabilities"), "score has no capabilities"),
        (lambda pod: pod["containers"][0]["securityContext"].update(runAsUser=0), "score runs as another user"),
        (
            lambda pod: pod.update(initContainers=[{"name": "first", "securityContext": {}}]),
            "first has no allowPrivilegeEscalation, capabilities, readOnlyRootFilesystem",
        ),
    ],
)
def test_a_pod_that_could_become_root_is_found(change: Callable[[Any], object], said: str) -> None:
    cronjob = content("kubernetes/base/cronjob.yaml")
    change(pod(cronjob))
    assert said in "\n".join(rules.pods(cronjob))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda build: build.pop("serviceAccount"), "serviceAccount is not said"),
        (
            lambda build: build.update(serviceAccount="projects/p/serviceAccounts/1@cloudbuild.gserviceaccount.com"),
            "name an account made for this build",
        ),
        (
            lambda build: build["substitutions"].update(_BUILDER="1-compute@developer.gserviceaccount.com"),
            "is a default account",
        ),
        (lambda build: build["options"].pop("logging"), "options.logging must be CLOUD_LOGGING_ONLY"),
    ],
)
def test_a_build_with_the_rights_of_the_project_is_found(change: Callable[[Any], object], said: str) -> None:
    build = content("cloudbuild.yaml")
    change(build)
    assert said in "\n".join(rules.build_account(build))


# === Who reaches whom ===

POLICY = content("kubernetes/base/networkpolicy.yaml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda spec: spec["podSelector"].update(matchLabels={"app": "other"}), "does not choose the pods"),
        (lambda spec: spec.update(podSelector={}), "does not choose the pods"),
        (lambda spec: spec["policyTypes"].remove("Ingress"), "must have both policyTypes"),
        (lambda spec: spec["policyTypes"].remove("Egress"), "must have both policyTypes"),
        (lambda spec: spec.update(ingress=[{"from": [{"podSelector": {}}]}]), "lets connections in"),
        (lambda spec: spec.update(ingress=[{}]), "lets connections in"),
        (lambda spec: spec["egress"].append({}), "of any number"),
        (lambda spec: spec.pop("egress"), "lets out everywhere"),
        (lambda spec: spec["egress"][1].pop("to"), "lets out everywhere"),
        (lambda spec: spec["egress"][1]["ports"][0].update(port=22), "lets out to the ports ['22']"),
        (lambda spec: spec["egress"][1]["to"][0]["ipBlock"].pop("except"), "metadata included"),
    ],
)
def test_a_policy_that_opens_more_is_found(change: Callable[[Any], object], said: str) -> None:
    policy, resources = copy.deepcopy(POLICY), content("kubernetes/base/kustomization.yaml")["resources"]
    cronjob = content("kubernetes/base/cronjob.yaml")
    assert [*rules.network([policy], cronjob, resources)] == []
    change(policy["spec"])
    assert said in "\n".join(rules.network([policy], cronjob, resources))


def test_a_policy_that_is_not_applied_is_found() -> None:
    cronjob = content("kubernetes/base/cronjob.yaml")
    for policies, resources in (([], ["networkpolicy.yaml"]), ([POLICY], ["cronjob.yaml"])):
        assert "every pod of the cluster may reach ours" in "\n".join(rules.network(policies, cronjob, resources))


# === Installs with hashes ===


@pytest.mark.parametrize("file", [*LOCKS, *sorted(DEPLOY.glob("requirements-*.txt"))], ids=lambda file: file.name)
def test_a_lock_has_a_hash_for_every_package_and_no_address(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert [*rules.lock(file.name, text)] == []
    assert text.count("--hash=sha256:") >= len(re.findall(r"^[\w.-]+==", text, re.MULTILINE)) > 0


def test_the_rule_looks_at_every_lock() -> None:
    found = {*(ROOT / "requirements").glob("*.txt"), *(ROOT / "benchmarks").glob("*.txt")}
    assert {*LOCKS, images.RECORD} == found


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.4.6\n",
        "numpy>=2 \\\n    --hash=sha256:" + "0" * 64 + "\n",
        "numpy @ https://example.org/numpy.whl \\\n    --hash=sha256:" + "0" * 64 + "\n",
        "numpy==2.4.6 \\\n    --hash=sha256:0\n",
        "--requirement other.txt\n",
        "",
    ],
)
def test_a_requirement_without_a_hash_is_found(line: str) -> None:
    whole = "# A comment.\nuv==1 ; python_version < '3.12' \\\n    --hash=sha256:" + "a" * 64 + "\n"
    assert [*rules.lock("x.txt", whole)] == []
    assert len([*rules.lock("x.txt", whole + line if line else "# Nothing.\n")]) == 1


@pytest.mark.parametrize(
    "line",
    [
        "\t$(BIN)/pip install numpy\n",
        "\t$(BIN)/pip install --requirement requirements/dev.txt\n",
        '\t"$$bin/pip" install --quiet "$$folder"/*.whl\n',
        "\t$(1)/bin/uv pip install \\\n\t\t--requirement x.txt || true\n",
    ],
)
def test_an_install_of_make_without_hashes_is_found(line: str) -> None:
    assert [*rules.makefile_installs(MAKEFILE)] == []
    assert len([*rules.makefile_installs(MAKEFILE + line)]) == 1


@pytest.mark.parametrize("command", ["pip install numpy", "pip install --no-deps numpy && pip check"])
def test_an_install_of_the_image_without_hashes_is_found(command: str) -> None:
    assert [*rules.locked_installs(DOCKERFILE)] == []
    assert len([*rules.locked_installs(f"{DOCKERFILE}\nRUN {command}\n")]) == 1
