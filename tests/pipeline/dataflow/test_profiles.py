"""Profiles: what a file and --set make of them, and what is said where they are wrong."""

import datetime as dt
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from apache_beam.options.pipeline_options import PipelineOptions
from support.commands import ROOT
from support.deploy.profiles import CPU, L4, OF_THE_USER

from pipeline.dataflow.checks import check_dataflow
from pipeline.dataflow.options import dataflow_arguments, job_name, resource_hints
from pipeline.dataflow.profile import REQUIRED, Profile, load_profile
from pipeline.errors import ConfigError

SHIPPED = ROOT / "deploy" / "profiles"


def problems(content: Any, tmp_path: Path, **overrides: str) -> list[str]:
    """The lines of the error, less the name of the file."""
    file = tmp_path / "profile.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_profile(str(file), {key.replace("__", "."): value for key, value in overrides.items()})
    return [line.removeprefix(f"--profile {file}: ") for line in str(error.value).split("\n")]


def test_these_profiles_are_shipped() -> None:
    names = ["dataflow-cpu.yaml", "dataflow-gpu-l4.yaml", "dataflow-gpu-t4.yaml", "local.yaml"]
    assert sorted(path.name for path in SHIPPED.iterdir()) == names


def test_the_local_profile_is_whole() -> None:
    assert load_profile(str(SHIPPED / "local.yaml"), {}) == Profile(runner="direct", workers=1)


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("dataflow-*.yaml")), ids=lambda file: file.stem)
def test_a_shipped_profile_asks_for_what_only_its_user_knows(file: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_profile(str(file), {})
    lines = str(error.value).split("\n")
    assert lines == [
        f"--profile {file}: {key} is missing; add --set {key}=…, or the key to the profile" for key in OF_THE_USER
    ]
    profile = load_profile(str(file), OF_THE_USER)
    assert {key: getattr(profile, key) for key in OF_THE_USER} == OF_THE_USER
    assert all(getattr(profile, key) for key in REQUIRED)
    assert (profile.gpu is None) == (file.stem == "dataflow-cpu")


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_key_of_a_shipped_profile_has_a_reason(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    for before, line in itertools.pairwise(lines):
        key = line.strip().split(":")[0]
        # `gpu` and `labels` hold the keys with the reasons, `type` is what the file is named for.
        if not line.startswith("#") and key not in ("runner", "gpu", "labels", "app", "type"):
            assert before.strip().startswith("#") or line.strip().startswith("#"), line


def test_keys_are_overridden_at_any_depth_and_read_as_their_type(tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    content = {**CPU, "gpu": L4 | {"min_ram": "14GB"}, "kms_key": "none", "labels": {"team": "search", "app": "x"}}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    profile = load_profile(
        str(file),
        {
            "max_workers": "7",
            "gpu.machine_type": "g2-standard-8",
            "gpu.min_ram": "",
            "kms_key": "",
            "private_addresses": "false",
            "labels.app": "",
            "labels.cost-centre": "17",
            "tokens_per_second": "1.5e4",
        },
    )
    assert profile.gpu is not None
    assert (profile.max_workers, profile.gpu.machine_type, profile.gpu.min_ram) == (7, "g2-standard-8", None)
    assert (profile.kms_key, profile.private_addresses, profile.tokens_per_second) == (None, False, 15_000.0)
    assert profile.labels == {"team": "search", "cost-centre": "17"}


def test_a_gpu_can_be_taken_out_and_put_in(tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(yaml.safe_dump({**CPU, "gpu": L4}), encoding="utf-8")
    assert load_profile(str(file), {"gpu": ""}).gpu is None
    file.write_text(yaml.safe_dump(CPU), encoding="utf-8")
    gpu = load_profile(str(file), {f"gpu.{key}": value for key, value in L4.items()}).gpu
    assert gpu is not None
    assert (gpu.type, gpu.count, gpu.placement) == ("nvidia-l4", 1, "score")


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "misspelt key": ({"max_worker": 3}, ["key 'max_worker' is unknown; did you mean 'max_workers'?"]),
    "misspelt key of the gpu": (
        {"gpu": L4 | {"cout": 1}},
        ["key 'gpu.cout' is unknown; did you mean 'count'?"],
    ),
    "no machine for the gpu": (
        {"gpu": {"type": "nvidia-l4"}},
        ["gpu.machine_type is missing; add --set gpu.machine_type=…, or the key to the profile"],
    ),
    "other runner": ({"runner": "flink"}, ["runner 'flink': Input should be 'direct' or 'dataflow'"]),
    "no worker": ({"max_workers": 0}, ["max_workers 0: Input should be greater than or equal to 1"]),
    "workers of the other runner": ({"workers": 2}, ["workers is for the runner direct; say max_workers"]),
    "a disk that holds no image": ({"disk_gb": 3}, ["disk_gb 3: Input should be greater than or equal to 30"]),
    "several at once": (
        {"image": "", "temp": None, "labels": {}},
        [
            "temp is missing; add --set temp=…, or the key to the profile",
            "image is missing; add --set image=…, or the key to the profile",
            "labels is missing; add --set labels.team=…, or the key to the profile",
        ],
    ),
    "a number as a label": ({"labels": {"cost": 17}}, ["labels.cost 17: Input should be a valid string"]),
    "a speed that is no number": (
        {"tokens_per_second": "abc"},
        [
            "tokens_per_second 'abc': Input should be a valid number, unable to parse string as a number",
        ],
    ),
    "no speed": ({"tokens_per_second": 0}, ["tokens_per_second 0: Input should be greater than 0"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_full(case: str, tmp_path: Path) -> None:
    keys, lines = BAD[case]
    assert problems({**CPU, **keys}, tmp_path) == lines


def test_a_profile_for_this_machine_knows_no_cloud(tmp_path: Path) -> None:
    lines = problems({"runner": "direct", "workers": 4, "region": "us-central1", "gpu": L4}, tmp_path)
    assert lines == [
        f"{key} is for the runner dataflow; leave it out, or set runner=dataflow" for key in ("gpu", "region")
    ]


def test_an_empty_profile_says_what_it_lacks_first(tmp_path: Path) -> None:
    assert problems("", tmp_path) == ["runner is missing; add --set runner=…, or the key to the profile"]


@pytest.mark.parametrize("content", ["[1, 2]", "just text", "a: [", "\x00", "a: 1\na: {b"], ids=repr)
def test_a_file_that_is_no_profile(content: str, tmp_path: Path) -> None:
    (line,) = problems(content, tmp_path)
    assert line.startswith(("is not a mapping", "is not YAML", "cannot be read as YAML"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such file"):
        load_profile(str(tmp_path / "nowhere.yaml"), {})


def test_a_key_below_one_that_has_none(tmp_path: Path) -> None:
    assert problems(CPU, tmp_path, project__id="x") == [
        "--set project.id: project has no keys in it; say --set project=…"
    ]


# What the options of a profile must be is said by the checker of a job; here that it sees each of them.
CHECKED: dict[str, tuple[dict[str, Any], str]] = {
    "image by tag": ({"image": "repo/image:1.0"}, "--sdk_container_image 'repo/image:1.0': has no digest"),
    "temp on this machine": ({"temp": "/tmp/x"}, "--temp_location '/tmp/x/': is not a gs:// folder"),
    "FlexRS and a GPU": ({"flexrs": True, "gpu": L4}, "--flexrs_goal COST_OPTIMIZED: FlexRS goes neither"),
    "L4 on the wrong machine": (
        {"gpu": L4 | {"machine_type": "n1-standard-4"}},
        "has the GPU nvidia-l4, which is on g2-standard-* machines only, not on 'n1-standard-4'",
    ),
    "L4 of every worker on the wrong machine": (
        {"gpu": L4 | {"machine_type": "n1-standard-4", "placement": "all"}},
        "has the GPU nvidia-l4, which is on g2-standard-* machines only, not on 'n1-standard-4'",
    ),
    "GPUs that idle": ({"gpu": L4 | {"count": 2}}, "is no single GPU with its driver"),
    "memory without a unit": ({"gpu": L4 | {"min_ram": "14"}}, "min_ram hint '14': is not a size"),
    "GPU machine for workers without a GPU": (
        {"machine_type": "g2-standard-4"},
        "--machine_type 'g2-standard-4': comes with a GPU that these workers do not use",
    ),
    "name with capitals": (
        {"job_name": "Nightly_Scores"},
        "--job_name 'Nightly_Scores-20261121': is not accepted by Dataflow",
    ),
    "a secret as a label": ({"labels": {"password": "hunter2"}}, "--labels: looks like a secret (value not shown)"),
    "a secret as an image": (
        {"image": "https://me:s3same@registry/image"},
        "--sdk_container_image (value not shown): has no digest",
    ),
}


@pytest.mark.parametrize("case", CHECKED)
def test_what_the_checker_says_of_a_profile(case: str) -> None:
    keys, said = CHECKED[case]
    profile = Profile(**CPU | keys)
    options = PipelineOptions(dataflow_arguments(profile, job_name(profile, dt.date(2026, 11, 21))))
    with pytest.raises(ConfigError) as error:
        check_dataflow(options, resource_hints(profile))
    assert said in str(error.value)
    assert not re.search("hunter2|s3same", str(error.value))


@pytest.mark.parametrize(("key", "value"), [("max_workers", "api_key=abc123"), ("gpu.driver", "token=abc123")])
def test_a_secret_in_a_wrong_value_is_never_shown(key: str, value: str, tmp_path: Path) -> None:
    (line,) = problems({**CPU, "gpu": L4}, tmp_path, **{key: value})
    assert line.startswith(f"{key} (value not shown)")
