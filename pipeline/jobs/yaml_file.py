"""YAML files that people write: small, one mapping, every key once."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import YamlFileError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_NODES = 10_000
"""Of a file after its aliases are written out: a few lines of them can stand for billions of values."""


def read_mapping(file: str) -> dict[str, Any]:
    """The keys and values of a YAML file, {} if it is empty; raises YamlFileError that says what is wrong and where."""
    text = _text(file)
    try:
        _check_size(text)
        content = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise YamlFileError(f"is not YAML: {error.problem}{where}") from error
    except YamlFileError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise YamlFileError(f"cannot be read as YAML ({type(error).__name__})") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise YamlFileError("is not a mapping of keys to values")
    for key in content:
        if not isinstance(key, str):
            raise YamlFileError(f"key {key!r} is no name; in YAML yes, no, on and off are true and false")
    return content


def _text(file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except IsADirectoryError as error:
        raise YamlFileError("is a folder") from error
    except FileNotFoundError as error:
        raise YamlFileError("there is no such file") from error
    except (OSError, ValueError) as error:
        raise YamlFileError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(data) > MAX_BYTES:
        raise YamlFileError(f"has more than {MAX_BYTES:,} bytes")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or (len(data) > 3 and 0 in (data[0], data[1])):
        raise YamlFileError("is UTF-16, as Windows PowerShell writes it; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlFileError("is not UTF-8; save it as such") from error


def _check_size(text: str) -> None:
    """Refuses what would not fit into memory or onto the stack, before anything is made of it."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise YamlFileError(f"is nested more than {MAX_DEPTH} deep, line {_line(event.start_mark)}")
        if number > MAX_NODES:
            raise YamlFileError(f"has more than {MAX_NODES:,} values")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is not None:
        _count(node, {}, ())


def _count(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values a node stands for, aliases written out."""
    if id(node) in above or len(above) > MAX_DEPTH:
        raise YamlFileError(f"has an alias inside of what it stands for, line {_line(node.start_mark)}")
    if id(node) not in known:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        below = [part for pair in pairs for part in pair] if pairs else node.value
        parts = below if isinstance(node, yaml.CollectionNode) else ()
        known[id(node)] = 1 + sum(_count(part, known, (*above, id(node))) for part in parts)
    if known[id(node)] > MAX_NODES:
        raise YamlFileError(f"its aliases stand for more than {MAX_NODES:,} values, line {_line(node.start_mark)}")
    return known[id(node)]


def _line(mark: Any) -> int:
    return int(mark.line) + 1


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        # Before keys are merged in (`<<`), which those of the mapping itself override.
        for key, _ in node.value:
            line = _line(key.start_mark)
            if key.value == "<<" or not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise YamlFileError(f"key {key.value!r} stands twice, in lines {seen[key.value]} and {line}")
            seen[key.value] = line
        return super().construct_mapping(node, deep=deep)
