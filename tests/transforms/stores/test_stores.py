"""One set of checks for every store, and then what only one of them can get wrong."""

import errno
import fcntl
import fnmatch
import gc
import multiprocessing
import os
import pickle
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import Forbidden, NotFound
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cloud.fake_gcs import FakeGcs

from transforms.errors import FileChangedError
from transforms.stores import gcs as gcs_module
from transforms.stores.choose import store_for
from transforms.stores.gcs import GcsStore
from transforms.stores.local import LocalStore
from transforms.stores.paths import join, split_glob
from transforms.stores.store import Store

ROUNDS = 50


@pytest.fixture(params=["local", "gs"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of each store."""
    if request.param == "local":
        return str(tmp_path)
    request.getfixturevalue("gcs")
    return "gs://bucket/root"


@pytest.fixture
def store(root: str) -> Store:
    return store_for(root)


def names(root: str, paths: list[str]) -> list[str]:
    assert all(path.startswith(root + "/") for path in paths)
    return [path.removeprefix(root + "/") for path in paths]


# === Every store ===


def test_what_is_written_is_read_and_a_second_write_replaces_it(store: Store, root: str) -> None:
    path = join(root, "new", "folder", "a b#?%25é.bin")
    for data in (b"first, and longer", b"second", b""):
        store.write(path, data)
        assert store.read(path) == data
        info = store.stat(path)
        assert info
        assert (info.path, info.size) == (path, len(data))


def test_a_file_that_does_not_exist_is_none_or_named_in_an_error(store: Store, root: str) -> None:
    path = join(root, "absent")
    assert store.read(path) is None
    assert store.stat(path) is None
    assert store.checksum(path) is None
    assert store.match(path) == []
    assert store.match(path + "/*") == []
    assert store.list(path) == []
    store.delete(path)
    with pytest.raises(FileNotFoundError) as missing:
        store.open(path)
    assert path in str(missing.value)
    with pytest.raises(FileNotFoundError) as missing:
        store.copy(path, join(root, "target"))
    assert path in str(missing.value)
    assert store.list(root) == []


def test_a_folder_is_not_a_file(store: Store, root: str) -> None:
    store.write(join(root, "folder", "file"), b"x")
    assert store.stat(join(root, "folder")) is None
    assert store.list(join(root, "folder", "file")) == []


def test_a_created_file_is_there_when_it_is_closed_and_not_before(store: Store, root: str) -> None:
    path = join(root, "folder", "created")
    with store.create(path) as file:
        file.write(b"one, ")
        file.flush()
        assert store.read(path) is None
        assert store.match(join(root, "**")) == []
        file.write(b"two")
    assert store.read(path) == b"one, two"
    assert store.list(root) == [path]


def test_an_exception_while_writing_leaves_no_file(store: Store, root: str) -> None:
    def write_half() -> None:
        with store.create(join(root, "half")) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert store.list(root) == []


def test_a_writer_that_is_dropped_leaves_no_file(store: Store, root: str) -> None:
    file = store.create(join(root, "half"))
    file.write(b"half")
    del file
    gc.collect()
    assert store.list(root) == []


def test_swap_replaces_only_what_it_was_told_to_find(store: Store, root: str) -> None:
    path = join(root, "dt=2026-11-21", "_manifest.json")
    assert not store.swap(path, b"1", b"2")
    assert store.read(path) is None
    assert store.swap(path, None, b"1")
    assert not store.swap(path, None, b"2")
    assert not store.swap(path, b"", b"2")
    assert store.read(path) == b"1"
    assert store.swap(path, b"1", b"2")
    assert not store.swap(path, b"1", b"3")
    assert store.read(path) == b"2"
    assert store.list(root) == [path]


def swap_against_others(path: str, me: int, barrier: Any, wins: Any) -> None:
    """One of two contestants: both read the same bytes and try to replace them, ROUNDS times."""
    store = store_for(path)
    won = []
    for number in range(ROUNDS):
        old = store.read(path)
        barrier.wait(30)
        won.append(store.swap(path, old, f"{number} {me}".encode()))
        barrier.wait(30)
    wins.put(won)


@pytest.mark.parametrize("kind", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_of_two_that_swap_at_once_exactly_one_wins(kind: str, store: Store, root: str) -> None:
    path = join(root, "contested")
    spawn = multiprocessing.get_context("spawn")
    make: Any = threading.Thread if kind == "threads" else spawn.Process
    barrier: Any = threading.Barrier(2) if kind == "threads" else spawn.Barrier(2)
    wins: Any = queue.Queue() if kind == "threads" else spawn.Queue()
    contestants = [make(target=swap_against_others, args=(path, me, barrier, wins)) for me in (0, 1)]
    for contestant in contestants:
        contestant.start()
    results = [wins.get(timeout=60) for _ in contestants]
    for contestant in contestants:
        contestant.join()
    assert [sum(pair) for pair in zip(*results, strict=True)] == [1] * ROUNDS
    assert store.read(path) in (f"{ROUNDS - 1} 0".encode(), f"{ROUNDS - 1} 1".encode())


def test_checksum_is_crc32c_of_the_bytes(store: Store, root: str) -> None:
    path = join(root, "file")
    store.write(path, b"123456789")
    assert store.checksum(path) == "crc32c:e3069283"  # the check value of CRC-32C
    store.write(path, b"")
    assert store.checksum(path) == "crc32c:00000000"


def test_a_copy_replaces_its_target_and_outlives_its_source(store: Store, root: str) -> None:
    source, target = join(root, "staged", "a"), join(root, "dt=2026-11-21", "a")
    store.write(source, b"new")
    store.write(target, b"old")
    store.copy(source, target)
    store.copy(source, target)
    assert store.read(target) == b"new"
    assert store.list(root) == [target, source]
    store.write(source, b"changed")
    assert store.read(target) == b"new"
    store.delete(source)
    assert store.read(target) == b"new"


def test_list_has_every_file_below_and_nothing_beside(store: Store, root: str) -> None:
    below = ["_runs/r/plan", "a", "a.b/c", "dt=1/.hidden", "dt=1/part"]
    for name in [*below, "../root2/other"]:
        store.write(os.path.normpath(join(root, name)).replace("gs:/b", "gs://b"), b"x")
    assert names(root, store.list(root)) == below
    assert names(root, store.list(root + "/")) == below
    assert names(root, store.list(join(root, "dt=1"))) == ["dt=1/.hidden", "dt=1/part"]


def test_delete_takes_one_file(store: Store, root: str) -> None:
    for name in ("a", "ab"):
        store.write(join(root, name), b"x")
    store.delete(join(root, "a"))
    store.delete(join(root, "a"))
    assert names(root, store.list(root)) == ["ab"]


FILES = [
    ".hidden.csv",
    "_SUCCESS",
    "_runs/r1/plan.csv",
    "a.csv",
    "b1.csv",
    "b2.csv",
    "c.txt",
    "dt=1/_manifest.json",
    "dt=1/a.csv",
    "dt=1/deep/er/d.csv",
    "dt=2/.tmp/x.csv",
    "dt=2/a.csv",
    "odd[1].csv",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.csv", "a.csv"),
        ("odd[1].csv", "odd[1].csv"),
        ("_SUCCESS", "_SUCCESS"),
        ("dt=1", "dt=1/a.csv dt=1/deep/er/d.csv"),
        ("dt=1/", "dt=1/a.csv dt=1/deep/er/d.csv"),
        ("", "a.csv b1.csv b2.csv c.txt dt=1/a.csv dt=1/deep/er/d.csv dt=2/a.csv odd[1].csv"),
        ("*", "a.csv b1.csv b2.csv c.txt odd[1].csv"),
        ("*.csv", "a.csv b1.csv b2.csv odd[1].csv"),
        ("?.csv", "a.csv"),
        ("b?.csv", "b1.csv b2.csv"),
        ("[ab]*.csv", "a.csv b1.csv b2.csv"),
        ("[!ab]*", "c.txt odd[1].csv"),
        ("b[2-9].csv", "b2.csv"),
        ("dt=*/*.csv", "dt=1/a.csv dt=2/a.csv"),
        ("dt=*", ""),
        ("*/a.csv", "dt=1/a.csv dt=2/a.csv"),
        ("**/a.csv", "a.csv dt=1/a.csv dt=2/a.csv"),
        ("dt=1/**", "dt=1/a.csv dt=1/deep/er/d.csv"),
        ("**/d.csv", "dt=1/deep/er/d.csv"),
        ("dt=**.csv", "dt=1/a.csv dt=1/deep/er/d.csv dt=2/a.csv"),
        ("_runs/*/*", "_runs/r1/plan.csv"),
        ("_runs", "_runs/r1/plan.csv"),
        ("*/_manifest.json", "dt=1/_manifest.json"),
        ("_*", "_SUCCESS"),
        (".*", ".hidden.csv"),
        ("*/.tmp/*", "dt=2/.tmp/x.csv"),
        ("*_SUCCESS", ""),
        ("[_]SUCCESS", ""),
        ("a", ""),
        ("a.csv/*", ""),
    ],
)
def test_match(pattern: str, expected: str, store: Store, root: str) -> None:
    for name in FILES:
        store.write(join(root, name), name.encode())
    found = store.match(join(root, pattern))
    assert names(root, [info.path for info in found]) == expected.split()
    assert found == [store.stat(info.path) for info in found]


def test_a_version_is_pinned_and_a_change_is_named(store: Store, root: str) -> None:
    path = join(root, "input.csv")
    store.write(path, b"planned")
    planned = store.stat(path)
    assert planned
    with store.open(path, planned.version) as file:
        assert file.read() == b"planned"
    store.write(path, b"changed")
    if isinstance(store, LocalStore):  # two writes may fall into one tick of the file system's clock
        os.utime(path, ns=(1, int(planned.version) + 1))
    changed = store.stat(path)
    assert changed
    with pytest.raises(FileChangedError) as error:
        store.open(path, planned.version)
    for part in (path, planned.version, changed.version):
        assert part in str(error.value)
    store.delete(path)
    with pytest.raises(FileChangedError) as error:
        store.open(path, planned.version)
    assert path in str(error.value)


def test_readers_seek(store: Store, root: str) -> None:
    path = join(root, "file")
    store.write(path, bytes(range(100)))
    with store.open(path) as file:
        assert file.seekable()
        assert file.seek(-10, os.SEEK_END) == 90
        assert file.read(4) == bytes(range(90, 94))
        assert file.tell() == 94
        assert file.seek(5) == 5
        assert file.read(2) == bytes([5, 6])
        assert file.read() == bytes(range(7, 100))
        assert file.read(1) == b""


def test_parquet_of_five_megabytes_goes_through(store: Store, root: str) -> None:
    values = np.random.default_rng(0).random(700_000)
    table = pa.table({"id": pa.array(range(len(values))), "value": values})
    path = join(root, "part.parquet")
    with store.create(path) as file, pq.ParquetWriter(file, table.schema) as writer:
        for batch in table.to_batches(100_000):
            writer.write_batch(batch)
    info = store.stat(path)
    assert info
    assert info.size > 5_000_000
    with store.open(path, info.version) as file, pq.ParquetFile(file) as parquet:
        assert parquet.num_row_groups == 7
        assert parquet.read().equals(table)
        assert parquet.read_row_group(6, ["value"])["value"].to_pylist() == values[600_000:].tolist()


def test_stores_are_pickled(store: Store, root: str) -> None:
    store.write(join(root, "file"), b"x")
    assert pickle.loads(pickle.dumps(store)).read(join(root, "file")) == b"x"


# === Paths ===


def test_the_store_follows_from_the_path() -> None:
    assert isinstance(store_for("gs://bucket/x"), GcsStore)
    assert isinstance(store_for("some/folder"), LocalStore)
    assert store_for("/a") is store_for("b")
    for path in ("s3://bucket/x", "file:///x"):
        with pytest.raises(ValueError) as error:
            store_for(path)
        assert path in str(error.value)
        assert "gs://" in str(error.value)


def test_a_path_of_the_other_store_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        LocalStore().read("gs://bucket/x")
    assert "gs://bucket/x" in str(error.value)
    for path in ("/folder/x", "gs://", "gs://buc*/x"):
        with pytest.raises(ValueError) as error:
            GcsStore().read(path)
        assert path in str(error.value)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("gs://b", "x"), "gs://b/x"),
        (("gs://b/out/", "dt=1", "x"), "gs://b/out/dt=1/x"),
        (("/out", "/x"), "/out/x"),
        (("/", "x"), "/x"),
        (("", "x"), "x"),
        (("out",), "out"),
    ],
)
def test_join(parts: tuple[str, ...], expected: str) -> None:
    assert join(*parts) == expected


LEVELS = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3)
GLOBS = st.lists(st.sampled_from(["a", "b", "ab", "*", "?", "a*", "*b", "?b*", "b?", "*a*b"]), min_size=1, max_size=3)


@settings(deadline=None)
@given(levels=LEVELS, globs=GLOBS)
def test_a_glob_matches_level_by_level(levels: list[str], globs: list[str]) -> None:
    path, pattern = "/".join(levels), "/".join(globs)
    if not set(pattern) & set("*?"):
        pattern += "*"  # without a wildcard it would name a folder
    head, expression = split_glob(pattern)
    same_depth = len(levels) == len(pattern.split("/"))
    expected = same_depth and all(map(fnmatch.fnmatchcase, levels, pattern.split("/")))
    assert bool(expression.fullmatch(path)) == expected
    assert pattern.startswith(head)
    assert path.startswith(head) or not expected


def test_a_range_that_falls_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        split_glob("x/[9-0]")
    assert "x/[9-0]" in str(error.value)


# === The file system ===


def test_an_error_in_the_middle_of_a_swap_leaves_the_old_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, path = LocalStore(), str(tmp_path / "manifest")
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
    assert LocalStore().swap(str(tmp_path / "dt=1" / "manifest"), None, b"new")
    assert done[0] == tmp_path.name
    assert done[1].endswith(".tmp")
    assert done[2:] == ["replace", "dt=1"]


def die_in_the_middle_of_a_swap(path: str) -> None:
    os.replace = lambda source, target: os._exit(9)  # type: ignore[assignment,misc]
    LocalStore().swap(path, b"old", b"new")


def test_a_process_that_dies_in_a_swap_leaves_the_old_bytes_and_no_lock(tmp_path: Path) -> None:
    store, path = LocalStore(), str(tmp_path / "manifest")
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
    store.write(str(folder / "deep" / "er" / "file"), b"x")
    (folder / "empty").mkdir()
    store.prune(str(folder))
    assert (folder / "empty").exists()
    store.delete(str(folder / "deep" / "er" / "file"))
    store.prune(str(folder))
    store.prune(str(folder))
    assert list(tmp_path.iterdir()) == []


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
    store, path, lock, ends = LocalStore(), str(tmp_path / "manifest"), tmp_path / ".manifest.lock", []
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
        path = f"{folder}/{number}/verdict"
        wins.put((number, store.swap(path, None, str(os.getpid()).encode())))
        store.delete(f"{folder}/{number - 1}/verdict")
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


# === Google Cloud Storage ===


def uploads(gcs: FakeGcs) -> list[dict[str, str]]:
    return [request.query for request in gcs.requests if request.path.startswith("/upload/")]


def test_every_swap_is_one_conditional_upload(gcs: FakeGcs) -> None:
    store, path = GcsStore(), "gs://bucket/_manifest.json"
    old: bytes | None = None
    for new in (b"1", b"2", b"2", b"3"):
        found = store.stat(path)
        gcs.requests.clear()
        assert store.swap(path, old, new)
        condition = found.version if found else "0"
        assert uploads(gcs) == [{"uploadType": "multipart", "ifGenerationMatch": condition}]
        old = new
    gcs.requests.clear()
    assert not store.swap(path, b"other", b"4")
    assert uploads(gcs) == []


def test_a_swap_too_big_for_one_request_is_conditional_too(gcs: FakeGcs) -> None:
    store, path, new = GcsStore(), "gs://bucket/_manifest.json", bytes(9 << 20)
    assert store.swap(path, None, new)
    assert uploads(gcs)[0] == {"uploadType": "resumable", "ifGenerationMatch": "0"}
    assert gcs.objects() == {"_manifest.json": new}


def test_a_swap_whose_answer_was_lost_has_won(gcs: FakeGcs) -> None:
    gcs.lose_answer_next()
    assert GcsStore().swap("gs://bucket/_manifest.json", None, b"mine")
    assert len(uploads(gcs)) == 2
    assert gcs.objects() == {"_manifest.json": b"mine"}


def test_a_swap_overtaken_after_it_read_has_lost(gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    store, path = GcsStore(), "gs://bucket/_manifest.json"
    store.write(path, b"old")
    download = gcs_module._download

    def read_then_be_overtaken(path: str) -> tuple[bytes | None, int]:
        result = download(path)
        if result[0] == b"old":
            gcs.put("_manifest.json", b"theirs")
        return result

    monkeypatch.setattr(gcs_module, "_download", read_then_be_overtaken)
    assert not store.swap(path, b"old", b"mine")
    assert gcs.objects() == {"_manifest.json": b"theirs"}


OPERATIONS: dict[str, Callable[[Store, str], object]] = {
    "match": lambda store, path: store.match("gs://bucket/*"),
    "stat": lambda store, path: store.stat(path),
    "open": lambda store, path: store.open(path),
    "read": lambda store, path: store.read(path),
    "write": lambda store, path: store.write(path, b"new"),
    "swap": lambda store, path: store.swap(path, b"old", b"new"),
    "checksum": lambda store, path: store.checksum(path),
    "copy": lambda store, path: store.copy(path, path + "2"),
    "list": lambda store, path: store.list("gs://bucket"),
    "delete": lambda store, path: store.delete(path),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_transient_errors_are_retried_and_others_are_not(operation: str, gcs: FakeGcs) -> None:
    store, path, act = GcsStore(), "gs://bucket/file", OPERATIONS[operation]
    gcs.put("file", b"old")
    gcs.fail_next(3, status=503)
    act(store, path)
    assert len(gcs.requests) > 3
    gcs.put("file", b"old")
    gcs.requests.clear()
    gcs.fail_next(status=403)
    with pytest.raises(Forbidden):
        act(store, path)
    assert len(gcs.requests) == 1


@pytest.mark.parametrize("operation", ["write", "swap", "copy", "delete"])
def test_a_lost_answer_changes_no_outcome(operation: str, gcs: FakeGcs) -> None:
    store, path = GcsStore(), "gs://bucket/file"
    gcs.put("file", b"old")
    expected = {"write": b"new", "swap": b"new", "copy": b"old", "delete": None}[operation]
    gcs.lose_answer_next()
    result = OPERATIONS[operation](store, path)
    assert result in (None, True)
    assert store.read(path) == expected


def test_an_upload_in_chunks_survives_failures_and_lost_answers(gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs_module, "_CHUNK", 256 << 10)
    data = np.random.default_rng(0).bytes(1_500_000)
    with GcsStore().create("gs://bucket/file") as file:
        for start in range(0, len(data), 70_000):
            if start in (0, 700_000):
                gcs.fail_next(method="PUT")
                gcs.lose_answer_next(2)
            file.write(data[start : start + 70_000])
        gcs.lose_answer_next()
    assert gcs.objects() == {"file": data}


def test_listings_of_several_pages_and_rewrites_of_several_rounds(gcs: FakeGcs) -> None:
    store = GcsStore()
    gcs.page_size, gcs.rewrite_rounds = 2, 3
    for number in range(5):
        gcs.put(f"in/{number}", b"x")
    assert store.list("gs://bucket/in") == [f"gs://bucket/in/{number}" for number in range(5)]
    assert len(store.match("gs://bucket/in/[0-3]")) == 4
    store.copy("gs://bucket/in/0", "gs://bucket/out/0")
    assert len([request for request in gcs.requests if "/rewriteTo/" in request.path]) == 3
    assert gcs.objects()["out/0"] == b"x"


def test_an_object_replaced_while_it_is_read_is_named(gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs_module, "_CHUNK", 256 << 10)
    store, path = GcsStore(), "gs://bucket/input.csv"
    gcs.put("input.csv", bytes(1 << 20))
    with store.open(path) as file:
        file.read(10)
        gcs.put("input.csv", bytes(1 << 20))
        file.seek(900_000)
        with pytest.raises(FileChangedError) as error:
            file.read(10)
    assert path in str(error.value)


def test_marks_of_empty_folders_are_no_files(gcs: FakeGcs) -> None:
    store = GcsStore()
    for name in ("in/", "in/sub/", "in/file"):
        gcs.put(name, b"")
    for paths in (store.list("gs://bucket/in"), store.list("gs://bucket")):
        assert paths == ["gs://bucket/in/file"]
    for pattern in ("gs://bucket/in/", "gs://bucket/in/*", "gs://bucket", "gs://bucket/**"):
        assert [info.path for info in store.match(pattern)] == ["gs://bucket/in/file"]


def test_a_bucket_that_does_not_exist_is_an_error_and_not_an_empty_result(gcs: FakeGcs) -> None:
    store = GcsStore()
    gcs.put("file", b"x")
    for act in (
        lambda: store.match("gs://missing/*"),
        lambda: store.list("gs://missing"),
        lambda: store.write("gs://missing/x", b""),
        lambda: store.copy("gs://bucket/file", "gs://missing/x"),
    ):
        with pytest.raises(NotFound) as error:
            act()
        assert "missing" in str(error.value)


def test_beam_reads_and_writes_the_same_objects(gcs: FakeGcs) -> None:
    from apache_beam.io.filesystems import FileSystems

    GcsStore().write("gs://bucket/bundle/bundle.json", b"{}")
    with FileSystems.open("gs://bucket/bundle/bundle.json") as file:
        assert file.read() == b"{}"
    with FileSystems.create("gs://bucket/bundle/new") as file:
        file.write(b"new")
    (found,) = FileSystems.match(["gs://bucket/bundle/*"])
    assert {meta.path: meta.size_in_bytes for meta in found.metadata_list} == {
        "gs://bucket/bundle/bundle.json": 2,
        "gs://bucket/bundle/new": 3,
    }
