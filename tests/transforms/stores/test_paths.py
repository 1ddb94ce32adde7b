"""Paths: which store they belong to, how they are joined, and what a glob matches."""

import fnmatch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.stores.choose import store_for
from transforms.stores.gcs import GcsStore
from transforms.stores.local import LocalStore
from transforms.stores.paths import join, split_glob


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
