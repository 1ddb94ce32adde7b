"""What a signature takes and gives is read from the file, told by flags, or refused by name; nothing is executed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from support.checkpoints.exports import (
    CASES,
    USUAL,
    Tiny,
    by_xla,
    cases,
    counts_its_calls,
    edit,
    reads_a_file,
    runs_python,
    signatures_of,
    write_export,
)
from support.checkpoints.imports import EXPORT

from model.errors import CheckpointError
from model.serving.exported.signature import check_ids, check_keeps_nothing, read_signature, wire

PLAIN = {"ids": "input_1", "mask": "input_2", "types": "input_3"}
NAMED = ["input_mask", "input_type_ids", "input_word_ids"]


def probabilities_too(found: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"probabilities": tf.nn.softmax(found), "best": tf.argmax(found, axis=-1)}


@pytest.mark.parametrize("case", CASES)
def test_inputs_and_outputs_of_every_stored_case_are_those_its_maker_lists(case: str) -> None:
    found = read_signature(cases() / case / "saved_model")
    ((output, (kind, shape)),) = CASES[case]["outputs"].items()
    port = found.outputs[output]
    assert list(found.outputs) == [output]
    assert (port.dtype, list(port.shape or ())) == (kind, shape)
    assert list(found.inputs) == (["input_1", "input_2", "input_3"] if case == "bertv2_plain" else NAMED)
    assert {one.shape for one in found.inputs.values()} == {(None, 20 if case == "fixed_length" else None)}
    assert (found.keeps is not None) == (case == "trap_rows_batchnorm")


@pytest.mark.parametrize("case", [case for case in CASES if case != "bertv2_plain"])
def test_names_that_say_what_they_are_need_no_flag(case: str) -> None:
    found = wire(read_signature(cases() / case / "saved_model"), {}, None, "logits")
    assert {role: port.name for role, port in found.inputs.items()} == USUAL
    assert found.length == (20 if case == "fixed_length" else None)


def test_names_that_were_lost_are_asked_for_and_never_taken_in_an_order() -> None:
    found = read_signature(cases() / "bertv2_plain" / "saved_model")
    with pytest.raises(CheckpointError, match=r"takes input_1 \(int32, \[None, None\]\), input_2 .* --inputs ids="):
        wire(found, {}, None, "logits")
    told = wire(found, PLAIN, None, "logits")
    assert {role: port.name for role, port in told.inputs.items()} == PLAIN


def test_what_an_output_means_is_said_by_a_flag_or_by_its_name() -> None:
    for case, kind in (("softmax_garden", None), ("albert_list", None), ("fixed_length", "logits")):
        found = read_signature(cases() / case / "saved_model")
        if kind is None:
            with pytest.raises(CheckpointError, match="may be logits or probabilities, and nothing in the file says"):
                wire(found, {}, None, None)
        else:
            assert (wire(found, {}, None, None).kind, wire(found, {}, None, None).said) == (kind, False)
        assert wire(found, {}, None, "probabilities").kind == "probabilities"


def test_of_several_outputs_the_logits_are_taken_or_one_is_named(tmp_path: Path) -> None:
    both = read_signature(write_export(tmp_path / "both", output="logits", more=probabilities_too))
    assert (wire(both, {}, None, None).output, wire(both, {}, None, None).kind) == ("logits", "logits")
    assert wire(both, {}, "probabilities", "probabilities").output == "probabilities"
    with pytest.raises(CheckpointError, match="best is no batch of numbers"):
        wire(both, {}, "best", "logits")
    two = read_signature(write_export(tmp_path / "two", output="a", more=lambda found: {"b": -found}))
    with pytest.raises(CheckpointError, match="say which one has the scores, and what they are"):
        wire(two, {}, None, "logits")
    assert wire(two, {}, "b", "logits").output == "b"


REFUSED: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "a name that is not there": ({}, {"ids": "words"}, "has no input words; it takes input_mask"),
    "an input that nobody names": ({}, {"ids": "input_word_ids"}, "does not say what the input input_mask, input_type"),
    "a fixed number of rows": ({"batch": 4}, {}, r"input_word_ids \(int32, \[4, None\]\) is no batch of any number"),
    "ids that are no whole numbers": ({"types": {"ids": tf.float32}}, {}, "takes no ids as numbers"),
    "a mask of strings": ({"types": {"mask": tf.string}}, {}, "takes no mask as numbers"),
}


class Loose(Tiny):
    """Takes what it gets."""

    def __call__(self, ids: tf.Tensor, mask: tf.Tensor, types: tf.Tensor) -> tf.Tensor:
        mask = tf.strings.to_number(mask) if mask.dtype == tf.string else mask
        return super().__call__(tf.cast(ids, tf.int32), mask, types)


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_fed_is_refused_by_the_name_of_the_input(what: str, tmp_path: Path) -> None:
    settings, inputs, reason = REFUSED[what]
    found = read_signature(write_export(tmp_path / "export", Loose(), **settings))
    with pytest.raises(CheckpointError, match=reason):
        wire(found, inputs, None, "logits")


@pytest.mark.parametrize("kind", [tf.int64, tf.float32, tf.bool])
def test_other_types_of_numbers_are_fed(kind: tf.DType, tmp_path: Path) -> None:
    found = read_signature(write_export(tmp_path / "export", types={"mask": kind, "types": tf.int64, "ids": tf.int64}))
    assert wire(found, {}, None, "logits").inputs["mask"].dtype == kind.name


def test_a_signature_is_named_where_there_are_several(tmp_path: Path) -> None:
    only = write_export(tmp_path / "only", signature="score_it")
    assert read_signature(only).name == "score_it"
    with pytest.raises(CheckpointError, match="has no signature another; its signatures are score_it: name one"):
        read_signature(only, "another")
    assert (read_signature(EXPORT).name, read_signature(EXPORT).has_tokenizer) == ("serving_default", True)
    with pytest.raises(CheckpointError, match=r"its input examples \(string, .* is no batch|takes no ids as numbers"):
        wire(read_signature(EXPORT, "serving_text"), {"ids": "examples"}, None, "logits")


def test_what_is_no_saved_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no saved_model.pb; only one can be scored as exported"):
        read_signature(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff no")
    with pytest.raises(CheckpointError, match="is damaged, or no SavedModel"):
        read_signature(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(CheckpointError, match="has no graph to serve that TensorFlow 2 wrote"):
        read_signature(tmp_path)


@pytest.mark.parametrize(
    ("logits", "operation"), [(reads_a_file, "ReadFile"), (runs_python, "EagerPyFunc")], ids=["files", "Python"]
)
def test_a_graph_that_does_more_than_compute_is_refused_before_it_is_loaded(
    logits: Callable[..., tf.Tensor], operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_export(tmp_path / "export", Tiny(logits=logits))
    monkeypatch.setattr(tf.saved_model, "load", None)
    with pytest.raises(CheckpointError, match=f"has the operation {operation}, which does more than compute"):
        read_signature(path)


def test_what_reads_a_file_inside_of_a_branch_is_found_too(tmp_path: Path) -> None:
    def hidden(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        found = tiny.sound(rows, mask)
        return tf.cond(tf.shape(rows)[0] > 99, lambda: reads_a_file(tiny, rows, mask), lambda: found)

    with pytest.raises(CheckpointError, match="the operation ReadFile"):
        read_signature(write_export(tmp_path / "export", Tiny(logits=hidden)))


def test_what_changes_its_own_weights_is_told(tmp_path: Path) -> None:
    found = read_signature(write_export(tmp_path / "export", Tiny(logits=counts_its_calls)))
    with pytest.raises(CheckpointError, match="the operation AssignAddVariableOp, which changes its own weights"):
        check_keeps_nothing(found)
    check_keeps_nothing(read_signature(cases() / "albert_list" / "saved_model"))


def function_of(meta: Any, part: str) -> Any:
    """A function of the file, by a part of its name."""
    return next(one for one in meta.graph_def.library.function if part in one.signature.name)


def tanh(meta: Any) -> Any:
    """The node of a tiny network that computes tanh."""
    nodes = (node for one in meta.graph_def.library.function for node in one.node_def)
    return next(node for node in nodes if node.op == "Tanh")


def call_it(name: str) -> Callable[[Any], None]:
    def change(meta: Any) -> None:
        tanh(meta).op = name

    return change


def under_a_name_of_its_own(meta: Any) -> None:
    tanh(meta).op = "Harmless"
    function = meta.graph_def.library.function.add()
    function.signature.name = "Harmless"
    function.node_def.add(name="inner", op="ReadFile")


def as_the_other_signature(meta: Any) -> None:
    """What is listed is sound; what is called by its name is another function."""
    (child,) = signatures_of(meta).children
    name = meta.object_graph_def.nodes[child.node_id].bare_concrete_function.concrete_function_name
    other = meta.graph_def.library.function.add()
    other.CopyFrom(function_of(meta, name))
    other.signature.name = "Other"
    other.node_def.add(name="inner", op="ReadFile")
    meta.object_graph_def.nodes[child.node_id].bare_concrete_function.concrete_function_name = "Other"


FOREIGN = (
    "DebugIdentity DebugIdentityV2 DebugNumericSummaryV2 ImmutableConst GenerateVocabRemapping LoadAndRemapMatrix "
    "DecodeProtoV2 EncodeProto RemoteCall Abort"
)
HIDDEN: dict[str, tuple[Callable[[Any], None], str]] = {
    **{name: (call_it(name), name) for name in FOREIGN.split()},
    "in a function that is called like an operation": (under_a_name_of_its_own, "ReadFile"),
    "in the function that is called": (as_the_other_signature, "ReadFile"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export(tmp_path_factory.mktemp("sound") / "export")


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "export"))


@pytest.mark.parametrize("what", HIDDEN)
def test_no_operation_that_does_more_than_compute_is_hidden_from_the_look_at_the_graph(what: str, copy: Path) -> None:
    change, operation = HIDDEN[what]
    with pytest.raises(CheckpointError, match=f"has the operation {operation}, which does more than compute"):
        read_signature(edit(copy, change))


@pytest.mark.parametrize(
    "name",
    [
        "ResourceStridedSliceAssign",
        "ResourceSparseApplyAdagrad",
        "ResourceAccumulatorApplyGradient",
        "ResourceCountUpTo",
        "ResourceScatterAdd",
    ],
)
def test_every_operation_that_changes_a_variable_is_told(name: str, copy: Path) -> None:
    assert read_signature(copy).keeps is None, "ResourceGather only reads"
    assert read_signature(edit(copy, call_it(name))).keeps == name


def test_what_runs_when_weights_are_restored_or_a_resource_is_removed_is_looked_at(copy: Path, tmp_path: Path) -> None:
    def touches(meta: Any, run: Callable[[Any, int], None]) -> None:
        function = meta.graph_def.library.function.add()
        function.signature.name = "Touches"
        function.node_def.add(name="inner", op="WriteFile")
        objects = meta.object_graph_def.nodes
        objects.add().function.concrete_functions.append("Touches")
        run(objects, len(objects) - 1)

    def when_restored(objects: Any, function: int) -> None:
        variable = next(node for node in objects if node.WhichOneof("kind") == "variable")
        variable.saveable_objects["VALUE"].restore_function = function

    def when_removed(objects: Any, function: int) -> None:
        objects[0].children.add(node_id=function, local_name="_destroy_resource")

    other = Path(shutil.copytree(copy, tmp_path / "other"))
    for path, run in ((copy, when_restored), (other, when_removed)):
        with pytest.raises(CheckpointError, match="runs the operation WriteFile when it is loaded"):
            read_signature(edit(path, lambda meta, run=run: touches(meta, run)))


def test_a_signature_without_a_function_is_refused_and_not_looked_up_in_vain(copy: Path) -> None:
    with pytest.raises(CheckpointError, match="lists a signature serving_default that cannot be called"):
        read_signature(edit(copy, lambda meta: signatures_of(meta).ClearField("children")))


def test_what_xla_compiles_is_refused_wherever_it_stands(copy: Path, tmp_path: Path) -> None:
    """It takes an id beyond a table for another one, on the CPU too."""
    with pytest.raises(CheckpointError, match=r"is compiled by XLA \(_XlaMustCompile\)"):
        read_signature(write_export(tmp_path / "compiled", Tiny(logits=by_xla)))
    with pytest.raises(CheckpointError, match=r"is compiled by XLA \(XlaCallModule\)"):
        read_signature(edit(copy, call_it("XlaCallModule")))


@pytest.mark.parametrize(
    ("kind", "most"), [(tf.uint8, 255), (tf.int8, 127), (tf.int16, 32_767), (tf.uint16, 65_535), (tf.int32, 2**31 - 1)]
)
def test_ids_of_a_type_that_is_too_small_for_the_vocabulary_are_refused(
    kind: tf.DType, most: int, tmp_path: Path
) -> None:
    found = read_signature(write_export(tmp_path / "export", types={"ids": kind}))
    wiring = wire(found, {}, None, "logits")
    check_ids(found, wiring, most + 1)
    with pytest.raises(CheckpointError, match=f"holds ids up to {most:,}, and the vocabulary has {most + 2:,} tokens"):
        check_ids(found, wiring, most + 2)
