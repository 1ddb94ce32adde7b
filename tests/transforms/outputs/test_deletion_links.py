"""Links below an output: none is followed, and where one is in the way nothing is written. On a disk only."""

import datetime as dt
import os
from pathlib import Path

import pytest
from support.runs.cleaning import DEATHS, NOW, clean, killed_at, old_run
from support.runs.publishing import DATE, assert_holds, ready

from transforms.errors import PublishError
from transforms.publish.commit import publish
from transforms.publish.tidy import finish_pending
from transforms.stores.choose import store_for


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder outside the output, with names that a run could have given."""
    folder = tmp_path / "victim"
    run_id = "20261116T020000Z-0123ab"
    for name in ("thesis.txt", "plan.parquet", f"part-{run_id}-00000.parquet", f"scores-000000-{'0' * 32}.parquet"):
        (folder / "sub").mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
        (folder / "sub" / name).write_text(name)
    return folder


def tree(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for below, folders, files in os.walk(folder):
        for path in (Path(below) / name for name in (*folders, *files)):
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path)] = (path.lstat().st_mode, content)
    return found


def test_links_below_a_date_or_a_run_are_not_followed(tmp_path: Path, victim: Path) -> None:
    there, output = tree(victim), str(tmp_path / "out")
    first, dead = old_run(output), DEATHS["staged"](output)
    publish(first)
    for folder in (first.folder, first.dead_folder, dead.file(""), dead.staged, first.file("")):
        os.symlink(victim, Path(folder) / "mine")
        os.symlink(victim / "thesis.txt", Path(folder) / "mine.txt")
    ours = [
        Path(dead.staged) / f"scores-000000-{'0' * 32}.parquet",
        Path(first.folder) / f"part-{first.run_id}-00777.parquet",
        Path(dead.file(f"taken-{NOW - dt.timedelta(4):%Y%m%dT%H%M%SZ}-0123ab.json")),
    ]
    for link in ours:
        os.symlink(victim, link)
    publish(ready(output, started=NOW))
    clean(output, now=NOW + dt.timedelta(90), keep_from=DATE + dt.timedelta(1))
    assert tree(victim) == there
    assert not [link for link in ours if os.path.lexists(link)], "a link of our own name is unlinked itself"
    assert len([path for path in Path(output).rglob("mine*") if path.is_symlink()]) == 10


@pytest.mark.parametrize("place", ["staged", "folder"])
def test_a_run_whose_folder_is_a_link_loses_the_link_at_most(place: str, tmp_path: Path, victim: Path) -> None:
    output = str(tmp_path / "out")
    run = DEATHS["planned"](output)
    if place == "folder":
        moved = victim / "moved"
        Path(run.file("")).rename(moved)
        os.symlink(moved, run.file("").rstrip("/"))
    else:
        os.symlink(victim, run.staged)
    there = tree(victim)
    clean(output)
    assert tree(victim) == there
    assert os.path.lexists(run.staged if place == "staged" else run.file("").rstrip("/")) == (place == "folder")


@pytest.mark.parametrize("place", ["dt={date}", "_dead_letters", "_dead_letters/dt={date}", "_runs"])
def test_nothing_is_written_or_deleted_where_a_link_is_in_the_way(place: str, tmp_path: Path, victim: Path) -> None:
    output = str(tmp_path / "out")
    committed = killed_at("delete_parts")(output)
    link = tmp_path / "out" / place.format(date=DATE)
    moved = victim / "moved"
    link.rename(moved)
    os.symlink(moved, link)
    other = None if place == "_runs" else ready(output)
    there = tree(victim)
    assert finish_pending(output) == []
    kept = clean(output, keep_from=DATE + dt.timedelta(1), days=3_000)
    assert all(item.kept and "is a link" in item.why for item in kept)
    for run in (committed, other):
        if run is not None:
            with pytest.raises(PublishError, match=r"is a link.*Put a folder"):
                publish(run)
    assert tree(victim) == there
    assert link.is_symlink()


def test_an_output_that_is_a_link_itself_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "out")
    output = str(tmp_path / "out")
    publish(old_run(output))
    dead = DEATHS["committing"](output)
    run = ready(output, started=NOW)
    publish(run)
    clean(output)
    assert_holds(output, run)
    assert store_for(output).list(dead.staged) == []
