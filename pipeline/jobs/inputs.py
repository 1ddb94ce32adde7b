"""What a job may read: files, or one BigQuery table, or the result of one query; and what is a path."""

import datetime as dt
import functools
import re
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from pipeline.errors import ConfigError
from pipeline.jobs.dates import SAMPLE, fill, placeholder_in, unpadded
from transforms.errors import NoInputError


class Reads(Protocol):
    """A job with an input."""

    @property
    def input(self) -> Sequence[str]: ...


J = TypeVar("J", bound=Reads)
T = TypeVar("T")


def table_of(input: Sequence[str]) -> str | None:
    """The input if it is a table, `bq://…` with its `{date}`."""
    from transforms.bigquery.names import is_table

    return next(filter(is_table, input), None)


def check_input(
    input: Sequence[str], input_filter: str | None, input_query: str | None, *, files_only: Sequence[str]
) -> None:
    """Raises ValueError, with the way out, unless there is exactly one kind of input.

    `files_only` are the flags given that only files know.
    """
    from transforms.bigquery.names import SCHEME, table_name

    table = table_of(input)
    if input_query is not None and input:
        raise ValueError(f"--input-query {input_query} takes the place of --input {input[0]}; leave one of them out")
    if input_query is None and not input:
        raise ValueError("--input is missing (or the key 'input' in --job), or --input-query")
    if table is not None and len(input) > 1:
        raise ValueError(f"--input {table}: a table is the only input of a job; join tables with --input-query")
    if table is not None:
        table_name(fill(table, SAMPLE))
    elif input_filter is not None:
        where = "write it into the WHERE of" if input_query else "it goes with --input"
        what = f"--input-query {input_query}" if input_query else f"{SCHEME}project.dataset.table"
        raise ValueError(f"--input-filter chooses rows of a table: {where} {what}")
    if (table or input_query) and files_only:
        raise ValueError(
            f"{files_only[0]} is for files, and {table or input_query} is read from BigQuery, whose rows have neither "
            "format nor position: leave it out; ids are a column (--id-column), or made by GENERATE_UUID() in a query"
        )


def check_paths(bundle: str, input: Sequence[str], input_query: str | None, output: Sequence[str]) -> None:
    """Raises ValueError for what names nothing, and for a placeholder where none is replaced."""
    paths = [("--bundle", bundle), ("--input-query", input_query or "-")]
    paths += [("--input", path) for path in input] + [("--output", path) for path in output]
    for flag, path in paths:
        if not path.strip() or "\0" in path or re.fullmatch("gs:/*", path):
            raise ValueError(f"{flag} {path!r} is no path; name a file or a folder")
        if flag == "--input":
            fill(path, SAMPLE)
        elif flag != "--output" and (found := placeholder_in(path)):  # Of outputs `outputs` says it.
            raise ValueError(
                f"{flag} {path}: {found} is not replaced there, the path is the same for all dates; "
                "placeholders are for --input, --input-filter and the text of a query"
            )


def read_query(file: str) -> str:
    """The text of --input-query; raises ConfigError if there is no such file or it is no text."""
    from transforms.stores.choose import store_for

    try:
        content = store_for(file).read(file)
    except IsADirectoryError:
        content = None
    if content is None:
        raise ConfigError(f"--input-query {file}: there is no such file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"--input-query {file}: is not UTF-8; save it as such") from error


def with_ways_out(look: Callable[[J, dt.date], T]) -> Callable[[J, dt.date], T]:
    """The function, whose errors name what a job without input may do: a training could not."""

    @functools.wraps(look)
    def looked(job: J, date: dt.date) -> T:
        try:
            return look(job, date)
        except NoInputError as error:
            raise NoInputError(f"{error} (or --allow-missing){unpadded(job.input)}") from error

    return looked
