"""CronJob and systemd units: their commands parse, and exit codes do what the page on failures says."""

import configparser
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.commands import ROOT
from support.deploy.deployment import DEPLOY, content, parsed

from deploy.lint import linters as lint
from pipeline.errors import EXIT_CODES
from pipeline.jobs.config import load_job

BASE = content("kubernetes/base/cronjob.yaml")
GPU = lint.merged(BASE, content("kubernetes/gpu/cronjob.yaml"))
NIGHTLY = {"date": "yesterday", "if_published": "skip", "log_format": "json", "job": "/etc/bert-batch/job.yaml"}


def pod(cronjob: Any) -> Any:
    return cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def container(cronjob: Any, name: str = "score") -> Any:
    (found,) = (c for c in [*pod(cronjob).get("initContainers", []), *pod(cronjob)["containers"]] if c["name"] == name)
    return found


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "systemd" / name).read_text(encoding="utf-8"))
    return parser


SERVICE, UNIT = (unit("bert-batch.service")[part] for part in ("Service", "Unit"))


def command_of_pod() -> list[str]:
    (line,) = re.findall(r"bert-batch (.*?) \|\|", container(BASE)["command"][-1].replace("\\\n", " "))
    return shlex.split(line)


def run_in_pod(folder: Path, code: int) -> int:
    """How the container ends when `bert-batch` ends with this code."""
    program = folder / "bert-batch"
    program.write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(container(BASE)["command"], env=environment, check=False).returncode


def action(code: int) -> str:
    """What the CronJob does when its container ends with a code."""
    if code == 0:
        return "done"
    for rule in BASE["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes", {"values": []})
        if code in codes["values"]:
            assert (codes["operator"], codes["containerName"]) == ("In", "score")
            return {"FailJob": "fail", "Ignore": "later"}[rule["action"]]
    return "again"


def service_action(code: int) -> str:
    """The same for the systemd unit."""
    codes = {key: set(map(int, SERVICE[key].split())) for key in ("SuccessExitStatus", "RestartPreventExitStatus")}
    if code in {0} | codes["SuccessExitStatus"]:
        return "done"
    assert SERVICE["Restart"] == "on-failure"
    return "fail" if code in codes["RestartPreventExitStatus"] else "again"


# What the page on failures says to do -> what a scheduler does by itself.
ACTIONS = {0: "done", 1: "again", 2: "fail", 3: "fail", 4: "done", 5: "fail", 75: "later", 99: "done", 137: "again"}


def test_these_are_the_codes_that_there_are() -> None:
    page = (ROOT / "docs/use/failures.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| exit code \| do \|\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    documented = {int(code) for code in re.findall(r"^\| (\d+)", table, re.MULTILINE)}
    assert (documented | set(EXIT_CODES.values())) == ACTIONS.keys() - {137}


@pytest.mark.parametrize("code", ACTIONS)
def test_exit_codes_in_kubernetes(tmp_path: Path, code: int) -> None:
    assert action(run_in_pod(tmp_path, code)) == ACTIONS[code]


@pytest.mark.parametrize("code", ACTIONS)
def test_exit_codes_in_systemd(code: int) -> None:
    # One pause between all tries, twenty minutes: long enough for an input that is late.
    assert service_action(code) == ACTIONS[code].replace("later", "again")
    assert SERVICE["RestartSec"] == "20min"
    # A limit that tries of an hour never reach would be none.
    interval, burst = int(UNIT["StartLimitIntervalSec"].removesuffix("h")), int(UNIT["StartLimitBurst"])
    assert (burst - 1) * (20 + 60) / 60 < interval


def test_the_pod_runs_the_command_of_every_night() -> None:
    assert parsed(command_of_pod()).items() >= NIGHTLY.items()
    job = load_job(str(DEPLOY / "kubernetes/base/job.yaml"), {"date": "yesterday", "if_published": "skip"})
    assert job.outputs.folder == "gs://my-bucket/scored"


def test_the_unit_runs_the_command_of_every_night() -> None:
    program, *arguments = shlex.split(SERVICE["ExecStart"])
    assert Path(program).name == "bert-batch"
    assert parsed(arguments).items() >= NIGHTLY.items()


def test_a_flag_that_is_none_does_not_parse() -> None:
    with pytest.raises(Exception, match="No such option"):
        parsed(["score", "--partition", "yesterday"])


def test_one_at_a_time_and_in_a_zone_that_is_said() -> None:
    spec = BASE["spec"]
    assert (spec["concurrencyPolicy"], spec["timeZone"]) == ("Forbid", "Etc/UTC")
    # The next night finds the one before ended.
    assert spec["startingDeadlineSeconds"] + spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 24 * 3600
    # Exit codes are not looked at where the container is started anew in its pod.
    assert pod(BASE)["restartPolicy"] == "Never"
    timer = unit("bert-batch.timer")["Timer"]
    assert timer["OnCalendar"].endswith(" UTC")
    assert timer["Persistent"] == "true"
    assert SERVICE["Type"] == "oneshot"


def test_the_gpu_overlay_changes_the_machine_and_nothing_else() -> None:
    for name in ("gpu", "score"):
        assert container(GPU, name)["resources"]["limits"]["nvidia.com/gpu"] == "1"
        for key in ("image", "securityContext"):
            assert container(GPU, name)[key] == container(BASE)[key]
    assert "nvidia.com/gpu" not in container(BASE)["resources"]["limits"]
    assert container(GPU)["command"] == container(BASE)["command"]
    assert container(GPU)["resources"]["limits"]["ephemeral-storage"] == "10Gi"
    pod_without = {key: value for key, value in pod(GPU).items() if key not in ("initContainers", "tolerations")}
    assert pod_without | {"containers": pod(BASE)["containers"]} == pod(BASE)


def test_merging_replaces_lists_of_nameless_things() -> None:
    base = {"a": [{"name": "x", "v": [1, 2]}, {"name": "y"}], "b": ["name"], "c": 1}
    change = {"a": [{"name": "x", "v": [3]}, {"name": "z"}], "b": ["no name"], "d": 2}
    merged = {"a": [{"name": "x", "v": [3]}, {"name": "y"}, {"name": "z"}], "b": ["no name"], "c": 1, "d": 2}
    assert lint.merged(base, change) == merged


def test_volumes_and_files_are_those_of_the_base() -> None:
    (maps,) = content("kubernetes/base/kustomization.yaml")["configMapGenerator"]
    (job,) = (volume["configMap"]["name"] for volume in pod(BASE)["volumes"] if "configMap" in volume)
    assert (job, maps["files"]) == (maps["name"], ["job.yaml"])
    for folder in ("base", "cpu", "gpu"):
        kustomization = content(f"kubernetes/{folder}/kustomization.yaml")
        named = [*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", []))]
        assert all((DEPLOY / "kubernetes" / folder / name).exists() for name in named)
    mounts = {mount["name"] for name in ("gpu", "score") for mount in container(GPU, name)["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod(GPU)["volumes"]}
