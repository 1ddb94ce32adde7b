"""What is wrong with a job, in the words of its author: flags, or keys of a file."""

import difflib
from collections.abc import Collection
from typing import Any

import pydantic


def sentence_of(model: type[pydantic.BaseModel], problem: Any, file: str | None, in_file: Collection[str]) -> str:
    """What pydantic found wrong with one field, named by its flag, or by its key if the value is from the file."""
    key = ".".join(str(part) for part in problem["loc"])
    flag = "--" + key.replace("_", "-")
    if problem["type"] == "extra_forbidden":
        return f"{file or 'job'}: {unknown_key(key, model)}"
    if problem["type"] == "missing":
        return f"{flag} is missing (or the key {key!r} in --job)"
    message: str = problem["msg"].removeprefix("Value error, ")
    value = _short(problem["input"])
    if not key:
        return message
    if problem["loc"][0] not in in_file:
        return f"{flag} {value}: {message}"
    if problem["type"] in ("string_type", "tuple_type"):
        message = "it must be a text; put it into quotes"
    if problem["input"] is None:
        message = "it has no value; give one, or leave the key out"
    return f"{file}: key {key!r} is {value}: {message}"


def unknown_key(key: str, model: type[pydantic.BaseModel]) -> str:
    """What to say of a key that the model does not have: the most similar one, or all that there are."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(key.rpartition(".")[2], names, 1)
    return f"key {key!r} is unknown; " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 200 else shown[:200] + "…"
