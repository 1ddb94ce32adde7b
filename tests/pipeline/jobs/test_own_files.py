"""A job whose input lies among its own output is refused before anything runs; other outputs are valid input."""

import datetime as dt
import os
from pathlib import Path

import pytest
from support.bundles import Built
from support.cloud.fake_gcs import FakeGcs
from support.commands import invoke
from support.jobs import DATE, write_parquet
from support.runs.cleaning import everything

from pipeline.errors import ConfigError
from pipeline.jobs.config import JobConfig
from pipeline.jobs.own_files import check_file, check_input_apart
from transforms.stores.choose import store_for
from transforms.stores.store import FileInfo

ROWS = b'{"id": "a", "text": "play some jazz"}\n'
OTHER = "2026-11-20"
DAY = dt.date.fromisoformat(DATE)


def refused(output: str, pattern: str) -> bool:
    """Whether a job with this input is refused, by its pattern or by a file that it names."""
    job = JobConfig(bundle="b", input=(pattern,), output=(output,), date=DATE)
    try:
        check_input_apart(job, DAY)
        for info in store_for(pattern).match(pattern.replace("{date}", DATE)):
            check_file(job.home)(info)
    except ConfigError as error:
        return "Keep them apart" in str(error)
    return False


OWN = (
    "dt={date}/part-00000.jsonl",
    "dt={date}/part-*.jsonl",
    "dt={date}",
    "dt={date}/",
    f"dt={OTHER}/*.parquet",
    f"dt={OTHER}",
    "dt=*/*.parquet",
    "dt=*/part-*.jsonl",
    "dt=2026*/nothing-there.jsonl",
    "d[t]=2026-11-21/part-*.jsonl",
    "*/part-*.jsonl",
    "**",
    "",
    "../out",
    "dt={date}/sub/deep/*.jsonl",
    "_dead_letters",
    "_dead_letters/dt={date}/*.parquet",
    "_runs/20261122T020000Z-0123ab/staged/*.parquet",
    "_runs",
    "_runs/*/staged/*",
    "./x/../dt={date}/part-*.jsonl",
)
NOT_OWN = (
    "in/part-*.jsonl",
    "in/dt={date}/part-*.jsonl",
    "dt-{date}/*.jsonl",
    "other/dt={date}/part-*.parquet",
    "../other/dt={date}/*.parquet",
    "../out2/dt={date}/*.parquet",
    "runs/*.jsonl",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("dt=2026-11-21", f"dt={OTHER}", "dt=2026-11-21/sub/deep", "in", "in/dt=2026-11-21", "runs"):
        (tmp_path / "out" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name / "part-00000.jsonl").write_bytes(ROWS)
    for name in ("other/dt=2026-11-21", "out2/dt=2026-11-21", "out/other/dt=2026-11-21"):
        write_parquet(tmp_path / name / "part-0.parquet", {"id": ["a"], "text": ["b"]})
    return tmp_path


@pytest.mark.parametrize("through_a_link", [False, True])
@pytest.mark.parametrize("pattern", [*OWN, *NOT_OWN])
def test_only_what_is_among_the_own_output_is_refused(pattern: str, through_a_link: bool, data: Path) -> None:
    output, base = data / "out", data / "out"
    if through_a_link:
        os.symlink(data / "out", data / "link")
        base = data / "out" if ".." in pattern else data / "link"
    found = refused(str(output), f"{base}/{pattern}")
    assert found == (pattern in OWN)


def test_links_to_own_files_are_resolved_both_ways(data: Path) -> None:
    own = data / "out" / "dt=2026-11-21"
    os.symlink(own / "part-00000.jsonl", data / "a.jsonl")
    os.symlink(own, data / "days")
    os.symlink(data / "out", data / "link")
    (data / "deep").mkdir()
    os.symlink(own, data / "deep" / "link")
    for pattern in ("a.jsonl", "*.jsonl", "days", "days/*.jsonl", "deep/**/*.jsonl", "deep"):
        assert refused(str(data / "out"), f"{data}/{pattern}")
        assert refused(str(data / "link"), f"{data}/{pattern}")
        assert not refused(str(data / "elsewhere"), f"{data}/{pattern}")
    assert refused(str(data / "link"), f"{own}/*.jsonl")


def test_on_cloud_storage_too(gcs: FakeGcs) -> None:
    for pattern in OWN:
        if ".." not in pattern:
            assert refused("gs://bucket/out", f"gs://bucket/out/{pattern}")
    gcs.put("out/dt=2026-11-20/data.jsonl", ROWS)
    assert refused("gs://bucket/out", "gs://bucket/out/*/data.jsonl")
    assert not refused("gs://bucket/out", "gs://bucket/in/dt={date}/*.jsonl")
    assert not refused("gs://bucket/out", "gs://bucket/out2/dt={date}/*.jsonl")
    assert not refused("gs://other/out", "gs://bucket/out/dt={date}/*.jsonl")


def test_the_command_ends_with_2_and_nothing_was_written(data: Path, classes: Built) -> None:
    there = everything(str(data))
    flags = ("--bundle", classes.path, "--output", data / "out")
    source = ("--input", f"{data}/out/dt={{date}}/part-*.jsonl")
    os.symlink(data / "out/dt=2026-11-21/part-00000.jsonl", data / "in.jsonl")
    for command in (
        ("score", *flags, *source, "--date", DATE),
        ("check", *flags, *source, "--date", DATE),
        ("score", *flags, "--input", data / "in.jsonl", "--date", DATE),
        ("backfill", *flags, *source, "--from", OTHER, "--to", DATE),
    ):
        code, _, err = invoke(*command)
        assert (code, "Keep them apart" in err) == (2, True), err
    (data / "in.jsonl").unlink()
    assert everything(str(data)) == there


def test_a_file_name_is_shown_escaped() -> None:
    with pytest.raises(ConfigError) as caught:
        check_file("/out")(FileInfo(path="/out/dt=2026-11-21/\x1b[2J\n.jsonl", size=1, version="1"))
    assert str(caught.value).isprintable()


def test_the_output_table_is_no_input() -> None:
    from pipeline.preparing import plan_of

    output = ("bq://my-project.texts.scores",)
    for table in ("scores", "scores__dead_letters"):
        job = JobConfig(
            bundle="b", input=(f"bq://my-project.texts.{table}",), output=output, staging="gs://b/x", date=DATE
        )
        with pytest.raises(ConfigError, match="is the output table"):
            plan_of(job, DAY)
