"""Checks that a job does not read what its own output may delete or replace, and does not write behind a link."""

import datetime as dt
import os
import posixpath
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.jobs.config import JobConfig
from pipeline.jobs.dates import fill
from pipeline.jobs.inputs import table_of
from transforms.batches.formats import COMPRESSIONS, FORMATS

if TYPE_CHECKING:
    from transforms.stores.store import FileInfo


def check_input_apart(job: JobConfig, date: dt.date) -> None:
    """Raises ConfigError if the input of `date` can be seen to lie among the files of the output, or links are there.

    Writes nothing and lists nothing.
    """
    check_links(job.home, date.isoformat())
    if job.input_query is None and table_of(job.input) is None:
        for pattern in job.input:
            _check_pattern(fill(pattern, date), job.home, f"dt={date.isoformat()}")


def _check_pattern(pattern: str, output: str, folder: str) -> None:
    from transforms.stores.paths import join

    fixed = re.split(r"[*?[]", pattern, maxsplit=1)[0]
    # Of a pattern `folder/part-*` the folder, of a path without wildcards all.
    head = fixed if fixed == pattern else posixpath.dirname(fixed)
    rest = pattern[len(head) :].lstrip("/")
    resolved = join(_real(head), rest) if rest else _real(head)
    taken = _takes_in(pattern, join(output, folder)) or _takes_in(resolved, join(_real(output), folder))
    if taken or is_own(head, output) or is_own(fixed, output):
        raise ConfigError(_refusal(f"--input {pattern} takes in the files", output))


def _takes_in(pattern: str, folder: str) -> bool:
    """Whether the pattern would name a file in the folder, whatever its format is."""
    from transforms.stores.paths import absolute, join, split_glob

    matches = split_glob(absolute(pattern))[1]
    endings = [kind + packed for kind in FORMATS for packed in ("", *COMPRESSIONS)]
    names = (f"part-0{ending}" for ending in (*endings, *map(str.upper, endings)))
    return any(matches.fullmatch(join(folder, name)) for name in names)


def check_file(output: str) -> "Callable[[FileInfo], None]":
    """What raises ConfigError for an input file that is among the files of the output, links resolved."""

    def check(info: "FileInfo") -> None:
        if is_own(info.path, output):
            raise ConfigError(_refusal(f"--input takes in {info.path!a}, which is among the files", output))

    return check


def is_own(path: str, output: str) -> bool:
    """Whether a path lies below `dt=…`, `_dead_letters` or `_runs` of the output, as written or links resolved."""
    from transforms.outputs.names import is_own_place
    from transforms.stores.paths import absolute, below

    pairs = {(absolute(path), absolute(output)), (_real(path), _real(output))}
    return any(is_own_place(found) for one, other in pairs if (found := below(one, other)))


def check_links(output: str, date: str) -> None:
    """Raises ConfigError if a link is where the output has its own folders for the date (ISO) and for runs."""
    from transforms.outputs.deletion import IS_A_LINK, in_the_way

    if link := in_the_way(output, date):
        raise ConfigError(f"{link}: {IS_A_LINK}")


def _real(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)


def _refusal(what: str, output: str) -> str:
    return (
        f"{what} of --output {output}: what is below its dt=…, _dead_letters and _runs is replaced and deleted by its "
        "runs. Keep them apart: another --output, or the input copied to another folder"
    )
