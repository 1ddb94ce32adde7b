"""The file system as a store: swaps, locks, links, and what is on the disk when."""

import errno
import fcntl
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from transforms.stores.local import LocalStore


def test_an_error_in_the_middle_of_a_swap_leaves_the_old_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, path = LocalStore(), str(tmp_path / "_manifest.json")
    store.write(path, b"old")

    def fail(source: str, target: str) -> None:
        raise OSError(errno.EIO, "planned")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(OSError, match="planned"):
            store.swap(path, b"old", b"new")
    assert store.read(path) == b"old"
    assert store.list(str(tmp_path)) == [path]
    assert store.swap(path, b"old", b"new")


def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(handle: int) -> None:
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def record_replace(source: str, target: str) -> None:
        done.append("replace")
        replace(source, target)

    monkeypatch.setattr("os.fsync", record_fsync)
    monkeypatch.setattr("os.replace", record_replace)
    assert LocalStore().swap(str(tmp_path / "dt=1" / "_manifest.json"), None, b"new")
    assert done[0] == tmp_path.name
    assert done[1].endswith(".tmp")
    assert done[2:] == ["replace", "dt=1"]


def die_in_the_middle_of_a_swap(path: str) -> None:
    os.replace = lambda source, target: os._exit(9)  # type: ignore[assignment,misc]
    LocalStore().swap(path, b"old", b"new")


def test_a_process_that_dies_in_a_swap_leaves_the_old_bytes_and_no_lock(tmp_path: Path) -> None:
    store, path = LocalStore(), str(tmp_path / "verdict.json")
    store.write(path, b"old")
    process = multiprocessing.get_context("spawn").Process(target=die_in_the_middle_of_a_swap, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert store.read(path) == b"old"
    assert [info.path for info in store.match(str(tmp_path))] == [path]
    # What it had written is hidden from readers and seen by those who tidy up.
    assert len(store.list(str(tmp_path))) == 2
    assert store.swap(path, b"old", b"new")


def test_a_copy_is_a_hard_link_and_without_links_a_real_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, source, target = LocalStore(), tmp_path / "source", tmp_path / "folder" / "target"
    store.write(str(source), b"bytes")
    store.copy(str(source), str(target))
    assert source.samefile(target)

    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, "other device")

    monkeypatch.setattr("os.link", refuse)
    store.copy(str(source), str(target))
    assert not source.samefile(target)
    assert target.read_bytes() == b"bytes"
    assert store.list(str(tmp_path)) == [str(target), str(source)]


def test_prune_removes_folders_only_when_no_file_is_left(tmp_path: Path) -> None:
    store, folder = LocalStore(), tmp_path / "folder"
    store.write(str(folder / "staged" / "file"), b"x")
    for own in ("load", "beats-20261122T020000Z-0123ab"):
        (folder / own).mkdir()
    store.prune(str(folder))
    assert (folder / "load").exists()
    store.delete(str(folder / "staged" / "file"))
    store.prune(str(folder))
    store.prune(str(folder))
    assert list(tmp_path.iterdir()) == []


def test_prune_takes_no_folder_and_no_lock_of_others(tmp_path: Path) -> None:
    store, folder = LocalStore(), tmp_path / "folder"
    for other in ("mine/deep", "staged/mine"):
        (folder / other).mkdir(parents=True)
    store.prune(str(folder))
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == {
        "mine",
        "mine/deep",
        "staged",
        "staged/mine",
    }
    for name, content in ((".thesis.lock", b""), (".verdict.json.lock", b"my only copy"), (".thesis.txt.lock", b"x")):
        other = tmp_path / name[1:]
        store.write(str(other / name), content)
        store.prune(str(other))
        assert (other / name).read_bytes() == content
        assert store.list(str(other)) == [str(other / name)], "what is not ours is seen"


def test_prune_takes_the_locks_of_files_that_are_gone(tmp_path: Path) -> None:
    store, path = LocalStore(), str(tmp_path / "folder" / "verdict.json")
    assert store.swap(path, None, b"x")
    store.prune(str(tmp_path / "folder"))
    assert store.read(path) == b"x"
    store.delete(path)
    lock = tmp_path / "folder" / ".verdict.json.lock"
    with lock.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        store.prune(str(tmp_path / "folder"))
        assert lock.exists()
    store.prune(str(tmp_path / "folder"))
    assert list(tmp_path.iterdir()) == []


def test_a_swap_that_waited_for_a_lock_file_that_was_deleted_waits_for_the_new_one(tmp_path: Path) -> None:
    store, path, lock, ends = LocalStore(), str(tmp_path / "_manifest.json"), tmp_path / "._manifest.json.lock", []
    waiting = threading.Thread(target=lambda: ends.append(store.swap(path, None, b"late")))
    with lock.open("wb") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        waiting.start()
        time.sleep(0.2)
        lock.unlink()
        with lock.open("wb") as second:
            fcntl.flock(second, fcntl.LOCK_EX)
            fcntl.flock(first, fcntl.LOCK_UN)
            time.sleep(0.2)
            assert ends == [], "it has the lock that nobody else sees"
            store.write(path, b"early")
    waiting.join(30)
    assert (ends, store.read(path)) == ([False], b"early")


def swap_and_prune(folder: str, count: int, wins: Any) -> None:
    store = LocalStore()
    for number in range(count):
        path = f"{folder}/{number}/verdict.json"
        wins.put((number, store.swap(path, None, str(os.getpid()).encode())))
        store.delete(f"{folder}/{number - 1}/verdict.json")
        store.prune(f"{folder}/{number - 1}")


@pytest.mark.slow
def test_swaps_and_prunes_at_once_never_fail(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    wins = context.Queue()
    processes = [context.Process(target=swap_and_prune, args=(str(tmp_path), 200, wins)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [wins.get(timeout=60) for _ in range(600)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert {number for number, won in found if won} == set(range(200))


def test_paths_of_the_file_system_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store, path = LocalStore(), str(tmp_path / "folder" / "file")
    store.write("folder/file", b"x")
    assert [info.path for info in store.match("folder/../folder/*")] == [path]
    assert store.list("folder/") == [path]


def test_a_glob_opens_no_folder_it_cannot_match_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("in/a.csv", "in/sub/b.csv", "in/sub/deep/c.csv"):
        LocalStore().write(str(tmp_path / name), b"x")
    opened, scandir = [], os.scandir

    def record(path: str) -> Any:
        opened.append(os.path.relpath(path, tmp_path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", record)
    LocalStore().match(str(tmp_path / "in" / "*.csv"))
    assert opened == ["in"]
    opened.clear()
    LocalStore().match(str(tmp_path / "in" / "*" / "*.csv"))
    assert opened == ["in", "in/sub"]
