"""What the graph of a signature does besides computing, found by the names of its operations."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorflow.core.framework.node_def_pb2 import NodeDef

from model.errors import CheckpointError

# Operations that read or write files, run Python or talk to somebody; and those that change a variable.
_FOREIGN = re.compile(
    r"File|PyFunc|Print|Summary|Checkpoint|Save|Restore|Dataset|Iterator|Queue|Reader|Rpc|Send|Recv|"
    r"Debug|ImmutableConst|Remap|Proto|Remote|Abort"
)
_STATE = re.compile(r"^Assign|^Resource(?!Gather)")
# What XLA compiles reads another row where an id lies beyond a table, instead of failing.
_MUST_COMPILE = "_XlaMustCompile"
_COMPILED = re.compile(r"^_?Xla")
# A table of another signature, such as one of texts, is filled when the file is loaded.
_FILLS_A_TABLE = re.compile(r"Table")


def check_operations(path: Path, name: str, meta: Any, outputs: Iterable[Any]) -> str | None:
    """Raises CheckpointError if the signature, or what is run when the file is loaded, does more than compute.

    Returns an operation that changes a variable, if there is one.
    """
    keeps = None
    library = {function.signature.name: function for function in meta.graph_def.library.function}
    nodes = {node.name: node for node in meta.graph_def.node}
    begin = [*_upstream(nodes, [info.name.split(":")[0] for info in outputs]), *_called(path, name, meta, library)]
    for op in _operations(begin, library):
        if _FOREIGN.search(op):
            raise CheckpointError(
                f"{path}: its signature {name} has the operation {op}, which does more than compute (files, Python, "
                "other machines); export a signature from token ids to scores alone"
            )
        if _COMPILED.search(op):
            raise CheckpointError(
                f"{path}: its signature {name} is compiled by XLA ({op}), which takes ids and positions beyond a table "
                "for others instead of failing; export it without jit_compile=True, from TensorFlow"
            )
        if _STATE.search(op):
            keeps = op
    for op in _operations(_loaded(meta, library), library):
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


def _called(path: Path, name: str, meta: Any, library: Mapping[str, Any]) -> list[Any]:
    """The nodes of the function that is called by the name of the signature: the signature itself is never run."""
    objects = meta.object_graph_def.nodes
    at = 0
    for part in ("signatures", name):
        children = objects[at].children if at < len(objects) else ()
        at = next((child.node_id for child in children if child.local_name == part), len(objects))
    functions = _functions(objects[at]) if at < len(objects) else []
    if not functions or any(function not in library for function in functions):
        raise CheckpointError(
            f"{path}: lists a signature {name} that cannot be called, as its functions have none of this name; write "
            "it anew with tf.saved_model.save"
        )
    return [node for function in functions for node in _body(library[function])]


def _functions(saved: Any) -> list[str]:
    """The names of the functions that an object of the file is."""
    bare = saved.bare_concrete_function.concrete_function_name
    return [*saved.function.concrete_functions, *([bare] if bare else [])]


def _loaded(meta: Any, library: Mapping[str, Any]) -> Iterator[Any]:
    """The nodes of the functions that make, fill, restore and remove the resources of the file."""
    objects = meta.object_graph_def.nodes
    for node in objects:
        run = [saveable.restore_function for saveable in node.saveable_objects.values()]
        if node.WhichOneof("kind") in ("resource", "user_object"):
            names = ("_create_resource", "_initialize", "_destroy_resource")
            run += [child.node_id for child in node.children if child.local_name in names]
        for number in run:
            for function in _functions(objects[number]) if number < len(objects) else ():
                yield from _body(library[function]) if function in library else ()


def _body(function: Any) -> list[Any]:
    """The nodes of a function, after one that stands for being compiled, if it is."""
    must = _MUST_COMPILE in function.attr and function.attr[_MUST_COMPILE].b
    return [*([NodeDef(op=_MUST_COMPILE)] if must else []), *function.node_def]


def _operations(nodes: Iterable[Any], library: Mapping[str, Any]) -> Iterator[str]:
    """The operations of the nodes, and of every function that they call."""
    waiting, seen = [nodes], set()
    while waiting:
        for node in waiting.pop():
            called = [function.name for value in node.attr.values() for function in (value.func, *value.list.func)]
            # A function may be called like an operation, by its own name, and goes before one.
            if node.op in library:
                called.append(node.op)
            else:
                yield node.op
            if _MUST_COMPILE in node.attr and node.attr[_MUST_COMPILE].b:
                yield _MUST_COMPILE
            for function in called:
                if function in library and function not in seen:
                    seen.add(function)
                    waiting.append(_body(library[function]))
