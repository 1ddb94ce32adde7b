"""What the graph of a signature does besides computing, found by the names of its operations."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from model.errors import CheckpointError

# Operations that read or write files, run Python or talk to somebody; and those that change a variable.
_FOREIGN = re.compile(r"File|PyFunc|Print|Summary|Checkpoint|Save|Restore|Dataset|Iterator|Queue|Reader|Rpc|Send|Recv")
_STATE = re.compile(r"^Assign|^Resource(Scatter|Apply)")
# A table of another signature, such as one of texts, is filled when the file is loaded.
_FILLS_A_TABLE = re.compile(r"Table")


def check_operations(path: Path, name: str, meta: Any, outputs: Iterable[Any]) -> str | None:
    """Raises CheckpointError if the signature, or what is run when the file is loaded, does more than compute.

    Returns an operation that changes a variable, if there is one.
    """
    keeps = None
    library = {function.signature.name: function for function in meta.graph_def.library.function}
    nodes = {node.name: node for node in meta.graph_def.node}
    begin = _upstream(nodes, [info.name.split(":")[0] for info in outputs])
    for op in _operations(begin, library):
        if _FOREIGN.search(op):
            raise CheckpointError(
                f"{path}: its signature {name} has the operation {op}, which does more than compute (files, Python, "
                "other machines); export a signature from token ids to scores alone"
            )
        if _STATE.search(op):
            keeps = op
    for op in _operations((node for node in _loaded(meta, library)), library):
        if _FOREIGN.search(op) and not _FILLS_A_TABLE.search(op):
            raise CheckpointError(
                f"{path}: runs the operation {op} when it is loaded, which reads or writes files or runs Python; "
                "export the network without it"
            )
    return keeps


def _upstream(nodes: Mapping[str, Any], names: list[str]) -> Iterator[Any]:
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in nodes and name not in seen:
            seen.add(name)
            yield nodes[name]
            names += [source.lstrip("^").split(":")[0] for source in nodes[name].input]


def _loaded(meta: Any, library: Mapping[str, Any]) -> Iterator[Any]:
    """The nodes of the functions that make and fill the resources of the file."""
    objects = meta.object_graph_def.nodes
    for node in objects:
        if node.WhichOneof("kind") in ("resource", "user_object"):
            for child in node.children:
                if child.local_name in ("_create_resource", "_initialize"):
                    for function in objects[child.node_id].function.concrete_functions:
                        yield from library[function].node_def if function in library else ()


def _operations(nodes: Iterable[Any], library: Mapping[str, Any]) -> Iterator[str]:
    """The operations of the nodes, and of every function that they call."""
    waiting, seen = [nodes], set()
    while waiting:
        for node in waiting.pop():
            yield node.op
            for value in node.attr.values():
                for function in (value.func, *value.list.func):
                    if function.name in library and function.name not in seen:
                        seen.add(function.name)
                        waiting.append(library[function.name].node_def)
