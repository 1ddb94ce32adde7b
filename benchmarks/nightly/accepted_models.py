"""Models as their makers left them in $SHARED/oracle2: imported from every container, held to what they computed."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

LIMIT = 1e-5


def check_models(oracle: Path) -> tuple[list[str], list[str]]:
    """Lines of the report, and failures."""
    report, failures = [], []
    with tempfile.TemporaryDirectory() as temp:
        found = [*_hugging_face(oracle / "hf" / "bert_cls12", Path(temp)), _norm_first(oracle, Path(temp))]
    for name, off_by, ids in found:
        report.append(f"- {name}: {ids}; logits off by {off_by:.1e} (at most {LIMIT:.0e})")
        failures += [] if off_by <= LIMIT and "other" not in ids else [f"{name}: {ids}, logits off by {off_by:.1e}"]
    return report, failures


def _hugging_face(case: Path, temp: Path) -> Iterator[tuple[str, float, str]]:
    """A folder of transformers 5, as it is and in the containers that people have; texts and pairs."""
    for container in ("as written", "without vocab.txt", "in two shards"):
        folder = Path(shutil.copytree(case / "model", temp / container, copy_function=shutil.copyfile))
        if container == "without vocab.txt":
            (folder / "vocab.txt").unlink()
        elif container == "in two shards":
            _shard(folder)
        for part, segments in (("", 1), ("pairs_", 2)):
            name = f"Hugging Face folder, {container}, {'pairs' if segments == 2 else 'texts'}"
            yield (name, *_compared(case, folder, part, temp / f"{container} {segments}", segments=segments))


def _shard(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    places = {name: files[number % 2] for number, name in enumerate(sorted(weights))}
    for file in files:
        save_file({name: weights[name] for name, place in places.items() if place == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    (folder / "model.safetensors").unlink()


def _compared(case: Path, folder: Path, part: str, output: Path, **flags: Any) -> tuple[float, str]:
    """How far the logits are off, and how many rows have the same ids; from texts on, through the bundle's graphs."""
    from transforms.featurize.step import TransformGraph

    bundle, segments = _imported(folder, output, **flags), flags["segments"]
    rows = json.loads((case / ("texts.json" if segments == 1 else "pairs.json")).read_text(encoding="utf-8"))
    stored = json.loads((case / f"{part}ids.json").read_text(encoding="utf-8"))
    columns = [rows] if segments == 1 else [*zip(*rows, strict=True)]
    tokens = TransformGraph(str(bundle.path), segments)(
        *(np.array([t.encode() for t in column], object) for column in columns)
    )
    found = [row.tolist() for row in np.split(tokens.values, tokens.offsets[1:-1])]
    same = sum(a == b for a, b in zip(found, stored["input_ids"], strict=True))
    lengths = np.diff(tokens.offsets)
    logits = _scored(bundle, tokens.values, lengths, tokens.first_segment)
    off_by = float(np.abs(logits - np.load(case / f"{part}logits.npy")).max())
    return off_by, f"{same} of {len(rows)} rows have the maker's ids" + ("" if same == len(rows) else ", others other")


def _norm_first(oracle: Path, temp: Path) -> tuple[str, float, str]:
    """An export of Model Garden whose encoder has norm_first, which no file says and a flag does."""
    case = oracle / "savedmodel" / "bertv2_normfirst_garden"
    flags = {"norm_first": True, "labels": "a,b,c,d", "vocabulary": str(case / "vocab.txt")}
    bundle = _imported(case / "saved_model", temp / "norm_first", **flags)
    inputs, expected = np.load(case / "inputs.npz"), np.load(case / "outputs.npz")["batch/outputs"]
    mask = inputs["input_mask"] == 1
    first = (mask & (inputs["input_type_ids"] == 0)).sum(axis=1)
    logits = _scored(bundle, inputs["input_word_ids"][mask], mask.sum(axis=1), first)
    off_by = float(np.abs(logits - expected).max())
    return "Model Garden export with norm_first, by --norm-first", off_by, f"{len(expected)} rows of ids"


def _imported(path: Path, output: Path, **flags: Any) -> Any:
    from pipeline.bundling.import_job import ImportJob
    from pipeline.bundling.importing import import_model
    from pipeline.jobs.config import described

    given = {"path": str(path), "output": str(output), "name": "accepted", **flags}
    return import_model(described(ImportJob, given)).bundle


def _scored(bundle: Any, tokens: np.ndarray, lengths: np.ndarray, first: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    rows = {"tokens": tokens, "lengths": lengths, "first_segment": first}
    graph = tf.saved_model.load(bundle.scoring).signatures["score"]
    return graph(**{name: tf.constant(np.asarray(value, np.int32)) for name, value in rows.items()})["logits"].numpy()
