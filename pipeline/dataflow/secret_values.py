"""Finds secrets in options: everybody who may look at a job sees its options."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

HIDDEN = "(value not shown)"
_NAME = re.compile(
    r"(?:^|[^a-z0-9])(?:pass(?:word|wd|phrase)|pwd|secret|credentials?|token(?!s_per_second)"
    r"|(?:api|access|private|account|signing)[-_.]?key)s?(?:$|[^a-z0-9])",
    re.IGNORECASE,
)
_VALUES = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY",
    r"\bAIza[0-9A-Za-z_-]{30,}",
    r"\bya29\.[0-9A-Za-z_-]{10,}",
    r"\bGOCSPX-[0-9A-Za-z_-]{10,}",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bgh[opsur]_[0-9A-Za-z]{30,}",
    r"\bgithub_pat_\w{20,}",
    r"\bglpat-[0-9A-Za-z_-]{15,}",
    r"\bhf_[0-9A-Za-z]{30,}",
    r"\bxox[abeprs]-[0-9A-Za-z-]{10,}",
    r"\bsk-(?:[a-z]+-)*[0-9A-Za-z]{32,}",
    r"\beyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}",
    r"\bAccountKey=",
    r"://[^/\s:@]+:[^/\s@]+@",
    r'"private_key(?:_id)?"',
)
_VALUE = re.compile("|".join(_VALUES))
_REFERENCE = re.compile(r"(?:sm://|projects/[^/\s]+/secrets/)\S*")
# name=value, or "name": value. A bare colon also stands before the tag of an image.
_PART = re.compile(r"([\w.-]+)(?:\s*=|[\"']\s*[=:])\s*[\"']?([^\s\"',;}]+)")


def is_secret(name: str, value: str) -> bool:
    """Whether the value looks like a key, a token or a password, by its name or by itself."""
    if not value or _REFERENCE.fullmatch(value):
        return False
    if _NAME.search(name) or _VALUE.search(value):
        return True
    return any(_NAME.search(part) and not _REFERENCE.fullmatch(rest) for part, rest in _PART.findall(value))


def shown(value: Any, name: str = "") -> str:
    """The value for a message; a secret is not shown."""
    if isinstance(value, (int, float)):
        return repr(value)
    text = value if isinstance(value, str) else repr(value)
    return HIDDEN if is_secret(name, text) else repr(value)


def secrets_of(values: Mapping[str, Any]) -> list[str]:
    """Names of what holds a secret, at any depth, each once."""
    found = (name for name, holder, value in _leaves("", values) if is_secret(holder, value))
    return list(dict.fromkeys(found))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str, str]]:
    """Where it is, its own name, and the text."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _leaves(path, one)
    elif isinstance(value, str):
        yield path, path.rsplit(".", 1)[-1], value
