"""The file of a query."""

from pipeline.jobs.config import ConfigError


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
