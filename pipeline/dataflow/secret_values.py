"""Finds secrets in options by their names: everybody who may see a job sees its options."""

import re
from typing import Any

HIDDEN = "(value not shown)"
_NAME = re.compile(
    r"(?:^|[^a-z0-9])(?:pass(?:word|wd|phrase)|pwd|secret|credentials?|token(?!s_per_second)"
    r"|(?:api|access|private|account|signing)[-_.]?key)s?(?:$|[^a-z0-9])",
    re.IGNORECASE,
)
# What is a secret under any name: a password in an address, a private key.
_VALUE = re.compile(r"://[^/\s:@]+:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY")
_REFERENCE = re.compile(r"(?:sm://|projects/[^/\s]+/secrets/)\S*")
# name=value, or "name": value. A bare colon also stands before the tag of an image.
_PART = re.compile(r"([\w.-]+)(?:\s*=|[\"']\s*[=:])\s*[\"']?([^\s\"',;}]+)")


def is_secret(name: str, value: Any) -> bool:
    """Whether the value is a key, a token or a password, by its name or that of a part of it."""
    text = value if isinstance(value, str) else repr(value)
    if not value or isinstance(value, (int, float)) or _REFERENCE.fullmatch(text):
        return False
    if _NAME.search(name) or _VALUE.search(text):
        return True
    return any(_NAME.search(part) and not _REFERENCE.fullmatch(rest) for part, rest in _PART.findall(text))


def shown(value: Any, name: str = "") -> str:
    """The value for a message; a secret is not shown."""
    return HIDDEN if is_secret(name, value) else repr(value)
