"""Cloud Storage as a store: conditions, retries, lost answers, pages."""

from collections.abc import Callable

import numpy as np
import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from support.cloud.fake_gcs import FakeGcs

from transforms.errors import FileChangedError
from transforms.stores import gcs as gcs_module
from transforms.stores.gcs import GcsStore
from transforms.stores.store import Store


@pytest.fixture
def gcs(gcs_over_http: FakeGcs) -> FakeGcs:
    """What is between the client and the server is tested too."""
    return gcs_over_http


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
    with pytest.raises(PermissionError, match="403: these credentials may not use it; grant them") as raised:
        act(store, path)
    assert raised.value.filename in (path, "gs://bucket", "gs://bucket/*")
    assert len(gcs.requests) == 1


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (DefaultCredentialsError("secret"), PermissionError, "are not found or not readable; sign in with"),
        (RefreshError("secret"), PermissionError, "have run out or been taken back; sign in with"),
        (TransportError("secret"), TransportError, "secret"),
    ],
)
def test_what_is_wrong_with_the_credentials_is_said_of_the_path(
    error: Exception, kind: type[Exception], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(gcs_module, "_client", refuse)
    for operation, act in OPERATIONS.items():
        with pytest.raises(kind, match=sentence) as raised:
            act(GcsStore(), "gs://bucket/file")
        if kind is PermissionError:
            assert "secret" not in str(raised.value), operation
            assert raised.value.filename.startswith("gs://bucket"), operation  # type: ignore[attr-defined]


def test_an_upload_that_is_refused_names_its_file(gcs: FakeGcs) -> None:
    writer = GcsStore().create("gs://bucket/file")
    writer.write(b"x" * 1000)
    gcs.fail_next(status=403)
    with pytest.raises(PermissionError, match="403: ") as raised:
        writer.close()
    assert raised.value.filename == "gs://bucket/file"


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
        with pytest.raises(FileNotFoundError, match="there is no such bucket") as error:
            act()
        assert error.value.filename.startswith("gs://missing")


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
