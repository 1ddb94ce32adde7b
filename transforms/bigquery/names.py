"""BigQuery: how a table is written in a job, `bq://project.dataset.table`, and how the services name it."""

import re

SCHEME = "bq://"
_READ = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]*\.\w+\.[\w -]+")
# Shorter than BigQuery allows: tables with `__published` and `__dead_letters` after the name are made beside it.
_WRITTEN = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]\.[A-Za-z0-9_]{1,1024}\.[A-Za-z0-9_]{1,900}")
_UNFIT = {
    "$": "the Storage Read API knows no partition decorators; choose rows with --input-filter \"day = '{date}'\"",
    "@": "the Storage Read API knows no decorators; select what you need with --input-query",
    "*": "a wildcard names several tables; read them with --input-query",
}


def is_table(path: str) -> bool:
    """Whether an input or an output is a BigQuery table and not a file."""
    return path.startswith(SCHEME)


def table_name(uri: str, *, written: bool = False) -> str:
    """`project.dataset.table` of `bq://project.dataset.table`; raises ValueError with the way out.

    With `written` it is the table of an output, which is named more plainly than one that is only read.
    """
    unfit = None if written else next((why for character, why in _UNFIT.items() if character in uri), None)
    if unfit is not None:
        raise ValueError(f"{uri}: {unfit}")
    name = uri.removeprefix(SCHEME)
    if not is_table(uri) or not (_WRITTEN if written else _READ).fullmatch(name):
        rule = ", with letters, digits and _ in the last two" if written else ""
        raise ValueError(f"{uri}: is not of the form {SCHEME}project.dataset.table{rule}")
    return name


def table_path(name: str) -> str:
    """The table `project.dataset.table` as the Storage API names it."""
    project, dataset, table = name.rsplit(".", 2)
    return f"projects/{project}/datasets/{dataset}/tables/{table}"
