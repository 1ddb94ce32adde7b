"""The tables of keys in the documents: every key that the code has, with its type, and no other."""

import dataclasses
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from support.commands import ROOT
from support.documents import page
from support.runs.publishing import ready

from pipeline.dataflow.profile import Gpu, Profile
from transforms.outputs import records
from transforms.publish.commit import publish
from transforms.read.earlier import PassedOver
from transforms.runs.row_counts import Work
from transforms.runs.run import read_manifest
from transforms.stores.store import FileInfo

WORDS = {int: "integer", str: "string", bool: "boolean", float: "number", list: "list", dict: "object"}
NESTED = {"work": Work, "not_compared_with": PassedOver, "inputs[]": FileInfo}
"""Keys of which a record only says that they are objects: what the code writes there."""


def table(name: str, heading: str) -> dict[str, list[str]]:
    """The first cell of each row of the table below a heading -> the other cells."""
    section = page(name).split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| \n").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    found = {key.strip("`"): cells for key, *cells in rows}
    assert len(found) == len(rows), "a key stands twice"
    return found


def word(kind: Any) -> str:
    """The type of a field as the documents say it."""
    if get_origin(kind) is Annotated:
        return word(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(word(part) for part in get_args(kind) if part is not NoneType) + " or null"
    if get_origin(kind) is Literal:
        return word(type(get_args(kind)[0]))
    if isinstance(kind, type) and (issubclass(kind, pydantic.BaseModel) or dataclasses.is_dataclass(kind)):
        return "object"
    return WORDS[get_origin(kind) or kind]


def parts_of(kind: Any) -> tuple[str, type[pydantic.BaseModel] | None]:
    """What stands between a key and those of its parts, and the record of the parts, if it is one."""
    for part in (kind, *get_args(kind)):
        if isinstance(part, type) and issubclass(part, pydantic.BaseModel):
            return ("[]." if get_origin(kind) is list else "."), part
    return "", None


def keys_of(record: type[pydantic.BaseModel], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in record.model_fields.items():
        kind = field.annotation
        found[above + name] = word(kind)
        between, part = parts_of(kind)
        # The entries of both lists are alike: the documents have them once.
        if part is not None and above + name != "dead_letters":
            found |= keys_of(part, above + name + between)
    return found


def test_every_key_of_a_manifest_is_in_the_documents_with_its_type(tmp_path: Path) -> None:
    documented = table("use/outputs.md", "The manifest")
    expected = keys_of(records._Manifest)
    for above, kind in NESTED.items():
        hints = Work.__annotations__ if kind is Work else {f.name: f.type for f in dataclasses.fields(kind)}
        expected |= {f"{above}.{name}": word(hint) for name, hint in hints.items()}
    run = ready(str(tmp_path / "out"))
    publish(run)
    manifest, _ = read_manifest(run.manifest)
    assert manifest is not None
    expected |= {key: word(type(value)) for key, value in manifest.items() if key not in expected and value is not None}
    expected.setdefault("not_compared_with", "object or null")
    assert {key: cells[0] for key, cells in documented.items()} == expected
    assert manifest.keys() <= expected.keys()


def test_every_key_of_a_manifest_says_since_when() -> None:
    versions = re.findall(r"^## ([0-9.]+) ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    for key, cells in table("use/outputs.md", "The manifest").items():
        assert cells[1].strip(), key
        assert cells[2] in versions, key


def _rule(field: pydantic.fields.FieldInfo) -> str:
    kinds = [part for part in get_args(field.annotation) if part is not NoneType] or [field.annotation]
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    kind = kinds[0] if NoneType in get_args(field.annotation) else field.annotation
    said = word(kind) if get_origin(kind) is None or kind is None else f"object of {word(get_args(kind)[1])}s"
    for limit in field.metadata:
        said += f", at least {limit.ge}" if getattr(limit, "ge", None) is not None else ""
        said += f", above {limit.gt}" if getattr(limit, "gt", None) is not None else ""
    return said


def _default(field: pydantic.fields.FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return "empty" if value == {} else str(value)


def test_every_key_of_a_profile_is_in_the_documents_with_type_and_default() -> None:
    fields = {**Profile.model_fields, **{f"gpu.{name}": field for name, field in Gpu.model_fields.items()}}
    documented = table("use/machines.md", "The keys of a profile")
    assert {key: tuple(cells[:2]) for key, cells in documented.items()} == {
        key: (_rule(field), _default(field)) for key, field in fields.items()
    }
    assert all(cells[2].strip() for cells in documented.values())


def test_the_versions_of_python_to_install_with_are_those_of_the_wheel() -> None:
    (least, below) = re.findall(r'python_requires=">=3\.(\d+),<3\.(\d+)"', (ROOT / "setup.py").read_text())[0]
    install = page("index.md").split("## Install\n", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"3\.(\d+)", install.splitlines()[1]) == [str(minor) for minor in range(int(least), int(below))]
