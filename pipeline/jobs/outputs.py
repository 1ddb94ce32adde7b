"""Where a job publishes: one folder, one BigQuery table, or both, and where everything of it that is no row lives."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import pydantic


def absolute(path: str) -> str:
    """A folder without a slash at its end, and not relative: workers may have another working directory."""
    return path.rstrip("/") if "://" in path else os.path.abspath(os.path.expanduser(path))


FolderPath = Annotated[str, pydantic.AfterValidator(lambda path: absolute(path) if path.strip() else path)]
"""The field of a job that names a folder; an empty one is refused later, by its flag."""


def check_writable(folder: str) -> None:
    """Raises ValueError if nothing can be written below a folder of this machine; makes nothing."""
    if "://" in folder:
        return
    there = os.path.abspath(folder)
    while not os.path.lexists(there) and os.path.dirname(there) != there:
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise ValueError(f"--output {folder!r}: {there} is a file; the output is a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"--output {folder!r}: nothing can be written into {there}; name another folder")


def check_new_bundle(folder: str) -> None:
    """Raises ValueError if no bundle can be made there: something is there, or it is no folder of this machine."""
    if "://" in folder:
        raise ValueError(f"--output {folder!r}: a bundle is made on this machine; name a folder here and copy it")
    if os.path.lexists(folder):
        raise ValueError(f"output {folder!r} exists; a bundle is never overwritten: choose another folder")
    check_writable(folder)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """`folder` is local or gs://, `table` is `project.dataset.table`, `staging` a gs:// folder; each may be missing.

    Raises ValueError where they do not fit together.
    """

    folder: str | None = None
    table: str | None = None
    staging: str | None = None

    def __post_init__(self) -> None:
        from transforms.bigquery.names import SCHEME

        if self.table is None and self.staging:
            raise ValueError("--staging is for an output table; add --output bq://project.dataset.table")
        if self.table is not None and not (self.staging or self.folder or "").startswith("gs://"):
            raise ValueError(
                f"--output {SCHEME}{self.table} needs --staging gs://bucket/folder: BigQuery loads from Cloud Storage"
                + ("" if self.folder else ", and manifest and dead letters live there")
            )
        if self.table is not None and "*" in self.home:
            raise ValueError(f"--output {self.home!r}: BigQuery takes * for a wildcard; name another folder")

    @property
    def home(self) -> str:
        """The folder of manifests, parts and runs: the output, or the staging folder of a table alone."""
        return self.folder or str(self.staging)

    @property
    def uploads(self) -> str:
        """The gs:// folder that files are copied to for loading; empty if they are on Cloud Storage anyway."""
        return "" if self.staging is None or self.home.startswith("gs://") else self.staging


def outputs(values: Sequence[str], staging: str | None = None) -> Outputs:
    """What --output and --staging say; raises ValueError."""
    from transforms.bigquery.names import is_table, table_name

    tables = [value for value in values if is_table(value)]
    folders = [absolute(value) for value in values if value not in tables]
    if not values or len(tables) > 1 or len(folders) > 1:
        raise ValueError("name one folder, one bq:// table, or one of each, with --output")
    for folder in folders:
        if "{" in folder:
            raise ValueError(f"--output {folder!r}: the output is one folder for all dates; dt=<date> is made below it")
        if os.path.isfile(folder):
            raise ValueError(f"--output {folder!r}: is a file; the output is a folder")
    if staging is not None and not re.fullmatch("gs://[^/*{]+(/[^*{]*)?", staging):
        raise ValueError(f"--staging {staging!r}: is no folder on Cloud Storage; name one as gs://bucket/folder")
    return Outputs(
        folder=folders[0] if folders else None,
        table=table_name(tables[0], written=True) if tables else None,
        staging=staging and staging.rstrip("/"),
    )
