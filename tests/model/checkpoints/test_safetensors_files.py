"""The same weights in other containers are read bit for bit, or refused by the name of file and weight."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.checkpoints.containers import (
    INDEX,
    SINGLE,
    edit_shard,
    renamed,
    rounded,
    shards,
    write_index,
    write_tensors,
)
from support.commands import DATA

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.detect import detect, load, load_encoder
from model.errors import CheckpointError

HUGGING_FACE = DATA / "oracle" / "hf" / "hf_cls3_gelu"
FIRST, SECOND = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"
HALF = "weights: 41 of 41 are stored in {} and were widened to float32, which loses nothing"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(HUGGING_FACE, tmp_path / "hf"))


def assert_same_weights(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.weights.keys() == expected.weights.keys()
    for name, array in expected.weights.items():
        assert found.weights[name].dtype == np.float32
        np.testing.assert_array_equal(found.weights[name], array)
    assert (found.config, found.labels) == (expected.config, expected.labels)


# === Half precision ===


@pytest.mark.parametrize("kind", ["BF16", "F16"])
def test_half_precision_is_widened_bit_for_bit(folder: Path, kind: str) -> None:
    halves = rounded(load_file(folder / SINGLE), kind)
    save_file({name: array.astype(np.float32) for name, array in halves.items()}, folder / SINGLE)
    expected = load(folder)
    assert expected.notes == ()
    # A scalar and whole numbers before them: nothing lies at a multiple of four.
    odd = {"bert.embeddings.position_ids": np.arange(16)[np.newaxis], "cls.odd": np.ones((), np.float16)}
    write_tensors(folder / SINGLE, {**odd, **halves})
    found = load(folder)
    assert_same_weights(found, expected)
    assert found.ignored.keys() == odd.keys()
    counts = {"BF16": ["1 of 43 are stored in F16", "41 of 43 are stored in BF16"], "F16": ["42 of 43"]}[kind]
    assert all(any(count in note for note in found.notes) for count in counts)
    assert len(found.notes) == len(counts)


def test_a_weight_in_bfloat16_that_is_not_finite_is_refused(folder: Path) -> None:
    halves = rounded(load_file(folder / SINGLE), "BF16")
    halves["classifier.bias"][1] = np.inf
    write_tensors(folder / SINGLE, halves)
    with pytest.raises(CheckpointError, match=r"classifier\.bias has 1 of 3 weights that are NaN or infinite"):
        load(folder)


# === Shards ===


@pytest.mark.parametrize(("count", "kind"), [(1, None), (3, None), (3, "BF16")])
def test_shards_are_read_as_one_file(folder: Path, count: int, kind: str | None) -> None:
    weights = load_file(folder / SINGLE)
    if kind:
        save_file({name: a.astype(np.float32) for name, a in rounded(weights, kind).items()}, folder / SINGLE)
    expected = load(folder)
    shards(folder, count, kind)
    found = load(folder)
    assert_same_weights(found, expected)
    assert found.origin == str(folder / INDEX)
    assert found.layout == ("Hugging Face folder, weights in 3 files" if count == 3 else "Hugging Face folder")
    assert [note.split(";")[0] for note in found.notes] == ([HALF.format(kind)] if kind else [])
    for path in (folder / INDEX, folder / f"model-00001-of-{count:05}.safetensors"):
        assert detect(path) == detect(folder)
    assert load_encoder(folder)[0] == expected.config


def test_one_file_beside_an_index_is_what_transformers_reads(folder: Path) -> None:
    expected = load(folder)
    write_index(folder, {"bert.pooler.dense.bias": "nowhere.safetensors"})
    found = load(folder)
    assert_same_weights(found, expected)
    assert found.notes == (
        f"weights: those of {SINGLE}, which transformers prefers; {INDEX} beside it was not looked at",
    )


def twice(folder: Path, places: dict[str, str]) -> None:
    other = SECOND if places["classifier.bias"] != SECOND else FIRST
    edit_shard(folder / other, {"classifier.bias": np.zeros(3, np.float32)})


def taken_out(folder: Path, places: dict[str, str]) -> None:
    edit_shard(folder / places["classifier.bias"], {"classifier.bias": None})


def added(folder: Path, places: dict[str, str]) -> None:
    edit_shard(folder / FIRST, {"bert.pooler.dense.scale": np.zeros(3, np.float32)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder, _: (folder / SECOND).unlink(), rf"{SECOND}: not there, although {INDEX} places weights in it"),
        (
            lambda folder, _: shutil.copy(folder / FIRST, folder / "model-00001-of-00002.safetensors"),
            rf"model-00001-of-00002\.safetensors: {INDEX} does not name it; keep the files of one save",
        ),
        (twice, rf"holds classifier\.bias, but {INDEX} places it in model-0000.-of-00003"),
        (added, rf"{FIRST}: holds bert\.pooler\.dense\.scale, but {INDEX} does not name it"),
        (taken_out, rf"safetensors: has no classifier\.bias, although {INDEX} places it there"),
        (lambda folder, _: (folder / FIRST).write_bytes(b"x" * 100), rf"{FIRST}: is damaged, or no safetensors file"),
        (lambda folder, _: (folder / INDEX).write_text("{"), rf"{INDEX}: is not JSON"),
        (lambda folder, _: (folder / INDEX).write_text("{}"), rf"{INDEX}: has no weight_map of weights to files"),
        (lambda folder, _: write_index(folder, {}), "has no weight_map"),
        (lambda folder, _: (folder / INDEX).write_text(json.dumps({"weight_map": ["a"]})), "has no weight_map"),
    ],
)
def test_shards_that_are_not_those_of_one_save_are_refused(
    folder: Path, change: Callable[[Path, dict[str, str]], object], message: str
) -> None:
    change(folder, shards(folder))
    with pytest.raises(CheckpointError, match=message):
        load(folder)


@pytest.mark.parametrize("place", ["../out.safetensors", "{}/out.safetensors", "in/out.safetensors", "..", "x.bin", 5])
def test_an_index_that_names_a_file_elsewhere_is_refused(folder: Path, place: object) -> None:
    places = shards(folder)
    outside = folder.parent / "out.safetensors"
    shutil.copy(folder / places["classifier.bias"], outside)
    shutil.copytree(folder.parent, folder / "in", ignore=shutil.ignore_patterns("hf"))
    place = place.format(folder.parent) if isinstance(place, str) else place
    write_index(folder, places | {"classifier.bias": place})
    with pytest.raises(CheckpointError, match=rf"{INDEX}: names the file '.*', which is no safetensors file of its"):
        load(folder)


def test_a_shard_may_be_a_link_as_in_the_cache_of_the_hub(folder: Path) -> None:
    expected = load(folder)
    shards(folder)
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    (folder / FIRST).rename(blobs / "abc")
    (folder / FIRST).symlink_to(blobs / "abc")
    assert_same_weights(load(folder), expected)


# === Names of wrappers and adapters ===


@pytest.mark.parametrize(
    ("prefix", "notes"),
    [
        ("module.", ["weights: module. was taken off every name; torch.nn.DataParallel or Distributed"]),
        ("_orig_mod.", ["weights: _orig_mod. was taken off every name; torch.compile puts it there"]),
        ("_orig_mod.module.", ["weights: _orig_mod. was", "weights: module. was"]),
        ("module._orig_mod.", ["weights: module. was", "weights: _orig_mod. was"]),
        (
            "_fsdp_wrapped_module.",
            ["weights: _fsdp_wrapped_module. was taken off every name; FullySharded"],
        ),
        ("_forward_module.module.", ["weights: _forward_module. was", "weights: module. was"]),
    ],
)
def test_the_prefix_of_a_wrapper_on_every_name_is_taken_off(folder: Path, prefix: str, notes: list[str]) -> None:
    expected = load(folder)
    renamed(folder, prefix)
    found = load(folder)
    assert_same_weights(found, expected)
    assert len(found.notes) == len(notes)
    assert all(note.startswith(start) for note, start in zip(found.notes, notes, strict=True))


def test_the_prefix_of_a_wrapper_on_some_names_is_refused(folder: Path) -> None:
    weights = load_file(folder / SINGLE)
    for prefix, inner in (("module", r"model\.module"), ("_orig_mod", r"model\._orig_mod")):
        for odd in (f"{prefix}.classifier.bias", f"bert.{prefix}.pooler.dense.bias"):
            key = odd.replace(f"{prefix}.", "")
            save_file({odd if name == key else name: array for name, array in weights.items()}, folder / SINGLE)
            with pytest.raises(CheckpointError, match=rf"{prefix} in .* is from torch.*{inner}\.save_pretrained"):
                load(folder)


@pytest.mark.parametrize("prefix", ["model.", "base_model.", "bert_model.", "net.encoder."])
def test_another_prefix_is_named_with_the_way_out(folder: Path, prefix: str) -> None:
    renamed(folder, prefix)
    with pytest.raises(CheckpointError, match=rf"stands there as {prefix}bert\..*save the inner model itself"):
        load(folder)


@pytest.mark.parametrize("part", ["adapters.sst.adapter_down.0.weight", "loras.sst.lora_a.weight"])
def test_adapters_that_are_computed_beside_the_model_are_refused(folder: Path, part: str) -> None:
    key = f"bert.encoder.layer.0.output.{part}"
    save_file(load_file(folder / SINGLE) | {key: np.zeros((4, 4), np.float32)}, folder / SINGLE)
    with pytest.raises(CheckpointError, match=r"weights of adapters \(AdapterHub\).*merge_adapter"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("bert.encoder.layer.0.output.ia3_l.default", "ia3_l"),
        (None, "base_model.model."),
        ("bert.encoder.layer.0.attention.self.query.lora_A.default.weight", "lora_A"),
        ("bert.encoder.layer.0.attention.self.query.base_layer.weight", "base_layer"),
        ("classifier.modules_to_save.default.weight", "modules_to_save"),
    ],
)
def test_the_names_of_an_adapted_model_are_refused_with_the_way_out(folder: Path, key: str | None, names: str) -> None:
    if key is None:
        renamed(folder, "base_model.model.")
    else:
        save_file(load_file(folder / SINGLE) | {key: np.zeros((16, 16), np.float32)}, folder / SINGLE)
    with pytest.raises(CheckpointError, match=rf"{names}.*PEFT adapts; merge .* model\.merge_and_unload\(\)\.save_pre"):
        load(folder)


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_is_refused_with_the_way_out(folder: Path, name: str, beside: bool) -> None:
    (folder / name).write_text("{}")
    if not beside:
        (folder / SINGLE).unlink()
    for path in (folder, folder / "adapter_model.safetensors"):
        if path.exists():
            with pytest.raises(CheckpointError, match=rf"{name}: is an adapter of PEFT.*merge_and_unload\(\)"):
                load(path)


def test_shards_of_pytorch_are_refused_with_the_way_out(folder: Path) -> None:
    (folder / SINGLE).rename(folder / "pytorch_model-00001-of-00001.bin")
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {}}')
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin\.index\.json: this form of weights is not read"):
        load(folder)
