"""JSON objects as parsed, in which a key may stand twice, and the values inside them."""

from typing import Any

from transforms.read.values.paths import Path


class Members(list[tuple[str, Any]]):
    """The members of a JSON object, a key that stands twice included."""


class NotInObjectError(Exception):
    """A value above a key is no object."""


class NotJsonError(Exception):
    """A value is not JSON: a key of it stands twice, or it is NaN or infinite."""


def value_at(members: Any, path: Path) -> Any:
    """The value at `path`, None where there is none.

    Raises NotInObjectError if a value above it is no object, and NotJsonError if a key of the path stands twice.
    """
    for key in path:
        if members is None:
            return None
        if not isinstance(members, Members):
            raise NotInObjectError(path[0])
        values = [value for name, value in members if name == key]
        if len(values) > 1:
            raise NotJsonError
        members = values[0] if values else None
    return members


def leave_out(raw: Any, path: Path) -> Any:
    """A value without its part at `path`, if it is an object."""
    if not isinstance(raw, Members):
        return raw
    if len(path) == 1:
        return Members(member for member in raw if member[0] != path[0])
    return Members((key, leave_out(value, path[1:]) if key == path[0] else value) for key, value in raw)
