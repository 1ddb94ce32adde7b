"""The files that one pattern of an input names; refused where rows would be missing without a word."""

import os
from collections.abc import Iterable

from transforms.errors import NoInputError, PlanError
from transforms.stores.choose import store_for
from transforms.stores.paths import SCHEME
from transforms.stores.store import FileInfo


def match_input(pattern: str, suffixes: Iterable[str], *, allow_missing: bool) -> list[FileInfo]:
    """The files, sorted by path; none only with `allow_missing`, else NoInputError.

    Raises PlanError for a pipe, and where `*.parquet` matches folders too, as Spark names them: a pattern names files.
    `suffixes` are those of files that can be read.
    """
    store = store_for(pattern)
    found = store.match(pattern)
    ends = pattern.lower().endswith(tuple(suffixes))
    if not any(sign in pattern for sign in "*?[") or "**" in pattern or (found and not ends):
        inside = []
    else:
        inside = store.match(f"{pattern.rstrip('/')}/**")
    if inside and ends:
        raise PlanError(
            f"{pattern}: matches a folder, that of {inside[0].path}, and a pattern names files only; give "
            f"--input '{pattern}/**' for the files in such folders, and one more for files beside them"
        )
    if not found and SCHEME.match(pattern) is None and os.path.exists(pattern) and not os.path.isdir(pattern):
        raise PlanError(
            f"{pattern}: is a pipe, a device or the like; a run reads its input several times: write it to a file"
        )
    if not found and not allow_missing:
        folders = f"; it matches folders, whose files '{pattern.rstrip('/')}/**' names" if inside else ""
        raise NoInputError(f"no input file matches {pattern}{folders}; is it written yet?")
    return found
