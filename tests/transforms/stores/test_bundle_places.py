"""Bundles of others write nowhere but into the cache, and the cache is nobody else's."""

import fcntl
import functools
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cloud.fake_gcs import FakeGcs

from model.bundle import Bundle, BundleError, fingerprint, is_file_name, seal
from pipeline.errors import ConfigError
from pipeline.jobs.bundle import bundle_of
from pipeline.jobs.config import JobConfig
from transforms.errors import LockedError
from transforms.stores import bundles
from transforms.stores.bundles import BundleReference, open_bundle, open_pinned_bundle
from transforms.stores.locks import wait_for_lock

PLACE = "gs://bucket/a/bundle"
DESCRIPTION: dict[str, Any] = {
    "name": "b",
    "task": "regression",
    "labels": [],
    "max_tokens": 8,
    "segments": 1,
    "precisions": ["float32"],
    "created": "",
    **{key: {} for key in ("tokenizer", "model", "quality", "baseline", "origin", "versions")},
}


@pytest.fixture
def sealed(tmp_path: Path) -> Bundle:
    """A bundle of two small files."""
    folder = tmp_path / "sealed"
    (folder / "scoring").mkdir(parents=True)
    (folder / "scoring" / "saved_model.pb").write_bytes(b"graph")
    (folder / "vocabulary").write_bytes(b"[PAD]")
    return seal(folder, DESCRIPTION)


def upload(gcs: FakeGcs, bundle: Bundle) -> None:
    for name in (*bundle.files, "bundle.json"):
        gcs.put(f"a/bundle/{name}", (bundle.path / name).read_bytes())


def described(path: Path, **changes: Any) -> str:
    """Writes another description with a fingerprint that fits; gives the fingerprint."""
    content = json.loads((path / "bundle.json").read_text()) | changes
    content["fingerprint"] = fingerprint(content)
    (path / "bundle.json").write_text(json.dumps(content))
    return str(content["fingerprint"])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_only_what_the_description_names_is_fetched(gcs: FakeGcs, sealed: Bundle, tmp_path: Path) -> None:
    upload(gcs, sealed)
    for name in ("a/bundle/../../../x", "a/bundle//etc/x", "a/bundle/more", "a/bundle/scoring/../../y"):
        gcs.put(name, b"planted")
    before = tree(tmp_path)
    found = open_bundle(PLACE)
    assert tree(found.path) == tree(sealed.path)
    new = {name for name in tree(tmp_path).keys() - before.keys() if not name.endswith(".lock")}
    assert all(f"/{sealed.fingerprint}/" in name for name in new)
    assert not any("more" in request.path or "..%2F" in request.path for request in gcs.requests)


def test_of_a_bundle_that_is_not_the_pinned_one_nothing_but_its_description_is_fetched(
    gcs: FakeGcs, sealed: Bundle
) -> None:
    upload(gcs, sealed)
    with pytest.raises(BundleError, match="but the run pinned 000"):
        open_pinned_bundle(BundleReference(path=PLACE, fingerprint="0" * 64))
    job = JobConfig(bundle=PLACE, bundle_fingerprint="0123", input=("x",), output=("y",))
    with pytest.raises(ConfigError, match="not the 0123 of the job"):
        bundle_of(job)
    assert not any("saved_model" in request.path or "vocabulary" in request.path for request in gcs.requests)


BAD = ["../x", "a/../../x", "/etc/x", "a//b", "./a", "a/.", "", "a\\b", "C:x", "a\nb", "a\0b", "bundle.json", "a/"]


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_no_place_inside_is_refused_here_and_on_gs(
    name: str, gcs: FakeGcs, sealed: Bundle, tmp_path: Path
) -> None:
    described(sealed.path, files={**sealed.files, name: "0" * 64})
    with pytest.raises(BundleError, match="no place inside the bundle"):
        Bundle.load(sealed.path)
    gcs.put("a/bundle/bundle.json", (sealed.path / "bundle.json").read_bytes())
    before = tree(tmp_path)
    with pytest.raises(BundleError, match="no place inside the bundle"):
        open_bundle(PLACE)
    assert tree(tmp_path) == before


@given(st.lists(st.text(min_size=1).filter(lambda part: part not in (".", "..")), min_size=1), st.text())
def test_a_name_that_is_taken_stays_below_the_folder(parts: list[str], other: str) -> None:
    for name in ("/".join(parts), other):
        if is_file_name(name):
            assert os.path.normpath(os.path.join("/cache/b", name)) == f"/cache/b/{name}"


def test_names_that_bundles_have_are_taken() -> None:
    for name in ("scoring/variables/variables.data-00000-of-00001", "transform_fn/assets/vocab.txt", ".hidden"):
        assert is_file_name(name)


@pytest.mark.parametrize("changes", [{"labels": 5}, {"labels": [1]}, {"name": 7}, {"files": []}, {"max_tokens": "8"}])
def test_a_description_of_other_kinds_is_refused(changes: dict[str, Any], sealed: Bundle) -> None:
    described(sealed.path, **changes)
    with pytest.raises(BundleError, match="no description of a bundle"):
        Bundle.load(sealed.path)


def file_link(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes((path / "vocabulary").read_bytes())
    (path / "vocabulary").unlink()
    (path / "vocabulary").symlink_to(path.parent / "elsewhere")


def folder_link(path: Path) -> None:
    (path / "scoring").rename(path.parent / "elsewhere")
    (path / "scoring").symlink_to(path.parent / "elsewhere")


def more_link(path: Path) -> None:
    (path / "scoring" / "assets").symlink_to("/etc")


def pipe(path: Path) -> None:
    os.mkfifo(path / "pipe")


@pytest.mark.parametrize("spoil", [file_link, folder_link, more_link, pipe])
def test_a_bundle_holds_plain_files(spoil: Callable[[Path], None], sealed: Bundle) -> None:
    spoil(sealed.path)
    with pytest.raises(BundleError, match="a bundle holds plain files"):
        Bundle.load(sealed.path)


def test_the_folder_of_a_bundle_may_be_a_link(sealed: Bundle, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(sealed.path)
    assert Bundle.load(tmp_path / "current").fingerprint == sealed.fingerprint


def cache() -> Path:
    return Path(tempfile.gettempdir()) / f"bert-batch-bundles-{os.getuid()}"


def open_to_all(tmp_path: Path) -> None:
    cache().mkdir()
    cache().chmod(0o777)


def a_link(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir(mode=0o700)
    cache().symlink_to(tmp_path / "others")


def a_file(tmp_path: Path) -> None:
    cache().write_bytes(b"mine")


def of_another_user(tmp_path: Path) -> None:
    """Made in the test itself."""


@pytest.mark.parametrize("made", [open_to_all, a_link, a_file, of_another_user])
def test_a_cache_that_others_can_write_to_is_left_alone(
    made: Callable[[Path], None],
    gcs: FakeGcs,
    sealed: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upload(gcs, sealed)
    (tmp_path / "target").write_bytes(b"keep")
    if made is of_another_user:
        # Only root gives folders away: this is the folder as somebody else sees it.
        other = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: other)
        cache().mkdir(mode=0o700)
    made(tmp_path)
    if cache().is_dir():
        (cache() / f"{sealed.fingerprint}.lock").symlink_to(tmp_path / "target")
    bundles._own_cache.cache_clear()
    with caplog.at_level(logging.WARNING):
        found = open_bundle(PLACE)
    assert found.path.parent != cache()
    assert found.path.parent.stat().st_mode & 0o777 == 0o700
    assert Bundle.load(found.path).fingerprint == sealed.fingerprint
    assert (tmp_path / "target").read_bytes() == b"keep"
    assert "left alone" in caplog.text
    assert open_bundle(PLACE).path == found.path  # Once a process.


def test_a_lock_that_is_a_link_is_refused_and_its_target_stays(gcs: FakeGcs, sealed: Bundle, tmp_path: Path) -> None:
    upload(gcs, sealed)
    (tmp_path / "target").write_bytes(b"keep")
    cache().mkdir(mode=0o700)
    (cache() / f"{sealed.fingerprint}.lock").symlink_to(tmp_path / "target")
    with pytest.raises(BundleError, match=r"\.lock: cannot be locked"):
        open_bundle(PLACE)
    assert (tmp_path / "target").read_bytes() == b"keep"


@pytest.mark.parametrize("planted", ["other_content", "link_to_a_folder", "a_file"])
def test_a_planted_entry_is_replaced(planted: str, gcs: FakeGcs, sealed: Bundle, tmp_path: Path) -> None:
    upload(gcs, sealed)
    cache().mkdir(mode=0o700)
    entry, elsewhere = cache() / sealed.fingerprint, tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "keep").write_bytes(b"keep")
    if planted == "other_content":
        entry.mkdir()
        (entry / "bundle.json").write_bytes((sealed.path / "bundle.json").read_bytes())
        (entry / "vocabulary").write_bytes(b"evil")
    elif planted == "link_to_a_folder":
        entry.symlink_to(elsewhere)
    else:
        entry.write_bytes(b"evil")
    found = open_bundle(PLACE)
    assert tree(found.path) == tree(sealed.path)
    assert not found.path.is_symlink()
    assert tree(elsewhere) == {"keep": b"keep"}


def test_a_file_that_is_gone_is_named(gcs: FakeGcs, sealed: Bundle) -> None:
    gcs.put("a/bundle/bundle.json", (sealed.path / "bundle.json").read_bytes())
    with pytest.raises(BundleError, match=rf"{PLACE}/scoring/saved_model.pb: is missing"):
        open_bundle(PLACE)


def test_an_error_names_the_address_and_no_folder_of_this_machine(gcs: FakeGcs, sealed: Bundle) -> None:
    for content in (b"no json", b"[]", (sealed.path / "bundle.json").read_bytes().replace(b"regression", b"other")):
        gcs.put("a/bundle/bundle.json", content)
        with pytest.raises(BundleError) as caught:
            open_bundle(PLACE)
        assert str(caught.value).startswith(f"{PLACE}")
        assert tempfile.gettempdir() not in str(caught.value)


def test_a_lock_of_the_cache_is_given_up_unless_its_holder_copies(
    gcs: FakeGcs, sealed: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(gcs, sealed)
    monkeypatch.setattr(bundles, "wait_for_lock", functools.partial(wait_for_lock, seconds=0.3))
    cache().mkdir(mode=0o700)
    partial = cache() / f"{sealed.fingerprint}.partial" / "file"
    partial.parent.mkdir()
    with (cache() / f"{sealed.fingerprint}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        start = time.monotonic()
        with pytest.raises(LockedError, match=r"\.lock: another process has held this lock for 0\.3 s"):
            open_bundle(PLACE)
        assert time.monotonic() - start < 10

        def copy() -> None:
            for size in range(1, 30):
                partial.write_bytes(b"x" * size)
                time.sleep(0.05)
            held.close()

        with ThreadPoolExecutor(1) as pool:
            copying = pool.submit(copy)
            start = time.monotonic()
            assert tree(open_bundle(PLACE).path) == tree(sealed.path)
            assert time.monotonic() - start > 1
            copying.result()
