"""Paths of both stores: parts, patterns, what lies below what."""

import posixpath
import re

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_GLOB_TOKEN = re.compile(r"(?:(?<=/)|^)\*\*/|\*\*|\*|\?|\[!?[^/\]]+\]|.", re.DOTALL)


def literal(path: str) -> str:
    """A pattern of `Store.match` that means `path` as it is written."""
    return re.sub(r"([*?[])", r"[\1]", path)


def join(folder: str, *parts: str) -> str:
    """A path below a folder: `join("gs://b/out", "dt=2026-11-21", "x")` is `gs://b/out/dt=2026-11-21/x`."""
    return posixpath.join(folder, *(part.lstrip("/") for part in parts))


def absolute(path: str) -> str:
    """A path that says the same in every working directory; links stay as they are."""
    return path if SCHEME.match(path) else posixpath.abspath(path)


def below(path: str, folder: str) -> str | None:
    """The path as it is below the folder, without links being looked at; None if it is not."""
    path, folder = absolute(path), absolute(folder).rstrip("/") + "/"
    return path.removeprefix(folder) if path.startswith(folder) and path != folder else None


_VISIBLE = "(?![.]|_(?![^/]*=))"
"""Names that begin with a dot or an underscore are hidden, as by Spark: not those that are keys (`_year=2026`)."""


def split_glob(pattern: str) -> tuple[str, re.Pattern[str]]:
    """A pattern's text before its first wildcard, and what whole paths must match (see `Store.match`)."""
    head = re.split(r"[*?[]", pattern, maxsplit=1)[0]
    if head == pattern:
        pattern = pattern.rstrip("/") + "/**"
        head = pattern[:-2]
    expression, previous = "", "/"
    for token in _GLOB_TOKEN.findall(pattern):
        visible = _VISIBLE if previous.endswith("/") else ""
        expression += _wildcard(token, visible)
        previous = token
    try:
        return head, re.compile(expression, re.DOTALL)
    except re.error as error:
        raise ValueError(f"{pattern!r}: a range in [ ] must rise, as in [0-9]") from error


def _wildcard(token: str, visible: str) -> str:
    match token:
        case "**/":
            return f"(?:{visible}[^/]+/)*"
        case "**":
            return visible + f"(?:[^/]|/{_VISIBLE})*"
        case "*":
            return visible + "[^/]*"
        case "?":
            return visible + "[^/]"
        case _ if len(token) == 1:
            return re.escape(token)
    negated = token.startswith("[!") and len(token) > len("[!]")
    members = (c if c == "-" else re.escape(c) for c in token[1 + negated : -1])
    return f"{visible}(?!/)[{'^' * negated}{''.join(members)}]"
