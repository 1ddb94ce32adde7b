"""One set of checks for every store."""

import gc
import multiprocessing
import os
import pickle
import queue
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.errors import FileChangedError, NoInputError, PlanError
from transforms.stores.choose import store_for
from transforms.stores.local import LocalStore
from transforms.stores.matching import match_input
from transforms.stores.paths import join
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


def test_an_input_names_all_the_rows_that_one_would_think_it_names(store: Store, root: str) -> None:
    def found(pattern: str, *, allow_missing: bool = False) -> list[str]:
        infos = match_input(join(root, pattern), (".parquet",), allow_missing=allow_missing)
        return names(root, [info.path for info in infos])

    store.write(join(root, "a.parquet"), b"x")
    store.write(join(root, "b.PARQUET/part"), b"x")
    store.write(join(root, "deep/c.parquet"), b"x")
    store.write(join(root, "b.PARQUET/_SUCCESS"), b"")
    assert found("*.parquet") == found("a.parquet") == found("a.parque[t]") == found("*") == ["a.parquet"]
    assert found("b.PARQUET") == found("*.PARQUET/**") == ["b.PARQUET/part"]
    assert found("**/*.parquet") == ["a.parquet", "deep/c.parquet"]
    assert found("none", allow_missing=True) == found("de*", allow_missing=True) == []
    for missing in ("none", "none/*", "*.csv", "deep/*.PARQUET"):
        with pytest.raises(NoInputError, match=re.escape(f"{missing}; is it written yet?")):
            found(missing)
    with pytest.raises(NoInputError, match=r"de\*; it matches folders, whose files '.*/de\*/\*\*' names"):
        found("de*")
    with pytest.raises(PlanError, match=r"matches a folder, that of .*b.PARQUET/part, and a pattern names files only"):
        found("*.PARQUET", allow_missing=True)


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
