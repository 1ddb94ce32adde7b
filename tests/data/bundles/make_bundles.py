"""Makes tests/data/bundles: see ORIGIN.md there. Run in the root of a checkout of the commit that it names."""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from safetensors.numpy import save_file

from model.checkpoints.checkpoint import build_from
from model.checkpoints.detect import load
from pipeline.bundling.import_job import ImportJob
from pipeline.bundling.importing import import_model
from pipeline.jobs.config import described
from transforms.featurize.step import TransformGraph

WORDS = (
    "play a song the quick brown fox book table for two hello world rain in 4 ? ! , . ' - ##s ##ing ##ed caf cafe ##e "
    "jazz"
)
LETTERS = [*"bcdefghijklmnoqrstuvwxyz0123456789", *("##" + c for c in "abcdfghijklmnopqrtuvwxyz0123456789")]
TOKENS = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split(), *LETTERS]))
TEXTS = [
    "play a song",
    "Book a table for two!",
    "hello world",
    "Café jazz",
    "the quick brown fox " * 8,
    "rain in 4 days?",
    "don't stop - playing",
    "don\u200bt \u4e2d\u6587 x",
    "\u00bd \ufb01 \u2122",
    "A",
]
LONG = [("hello " * 5, "world " * 30), ("hello " * 30, "world " * 30), ("fox " * 30, "song")]
PAIRS = [*itertools.pairwise(TEXTS), *LONG]


def weights(outputs: int, seed: int) -> dict[str, np.ndarray]:
    rng, h, inner = np.random.default_rng(seed), 16, 32
    shapes = {
        "embeddings.word_embeddings.weight": (len(TOKENS), h),
        "embeddings.position_embeddings.weight": (24, h),
        "embeddings.token_type_embeddings.weight": (2, h),
        "pooler.dense.weight": (h, h),
        "pooler.dense.bias": (h,),
    }
    layer = "encoder.layer.0."
    for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        shapes |= {f"{layer}{part}.weight": (h, h), f"{layer}{part}.bias": (h,)}
    shapes |= {f"{layer}intermediate.dense.weight": (inner, h), f"{layer}intermediate.dense.bias": (inner,)}
    shapes |= {f"{layer}output.dense.weight": (h, inner), f"{layer}output.dense.bias": (h,)}
    for norm in ("embeddings.", f"{layer}attention.output.", f"{layer}output."):
        shapes |= {f"{norm}LayerNorm.weight": (h,), f"{norm}LayerNorm.bias": (h,)}
    found = {f"bert.{name}": rng.normal(0, 0.4, shape) for name, shape in shapes.items()}
    found |= {"classifier.weight": rng.normal(0, 0.6, (outputs, h)), "classifier.bias": rng.normal(0, 0.6, outputs)}
    return {name: array.astype(np.float32) for name, array in found.items()}


def folder(path: Path, outputs: int, seed: int) -> Path:
    path.mkdir(parents=True)
    save_file(weights(outputs, seed), path / "model.safetensors")
    config = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "vocab_size": len(TOKENS),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 24,
        "num_labels": outputs,
    }
    if outputs == 1:
        config["problem_type"] = "regression"
    labels = {str(i): f"LABEL_{i}" for i in range(outputs)}
    (path / "config.json").write_text(json.dumps({**config, "id2label": labels}))
    (path / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return path


def model_garden(path: Path, seed: int) -> Path:
    """The same kind of model, saved as Model Garden saves it."""
    checkpoint = load(folder(path / "hf", 2, seed))
    tf.train.Checkpoint(model=build_from(checkpoint)).write(str(path / "ckpt"))
    (path / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    data = {"lower_case": True, "text_fields": ["a", "b"], "seq_length": 20}
    bert = {"hidden_activation": "gelu", "norm_first": False}
    (path / "params.yaml").write_text(
        json.dumps({"task": {"train_data": data, "model": {"encoder": {"type": "bert", "bert": bert}}}})
    )
    return path / "ckpt"


def make(name: str, model: Path, output: Path, **flags: object) -> None:
    job = described(ImportJob, {"path": str(model), "output": str(output / name), "name": name, **flags})
    bundle = import_model(job).bundle
    graph = TransformGraph(bundle.path.as_posix(), segments=bundle.segments)
    rows = PAIRS if bundle.segments == 2 else [(text,) for text in TEXTS]
    columns = [np.array([text.encode() for text in column], object) for column in zip(*rows, strict=False)]
    tokens = graph(*columns)
    splits = np.asarray(tokens.offsets)
    values, first = np.asarray(tokens.values, np.int32), np.asarray(tokens.first_segment, np.int32)
    loaded = tf.saved_model.load(bundle.scoring)
    given = {"tokens": values, "lengths": np.diff(splits).astype(np.int32), "first_segment": first}
    outputs = loaded.signatures["score"](**{key: tf.constant(array) for key, array in given.items()})
    found = {
        "rows": rows,
        "tokens": [values[a:b].tolist() for a, b in itertools.pairwise(splits)],
        "first_segment": first.tolist(),
        "fingerprint": bundle.fingerprint,
        **{key: array.numpy().astype(float).tolist() for key, array in outputs.items()},
    }
    (output / f"{name}.json").write_text(json.dumps(found, indent=0, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    output, work = Path(sys.argv[1]), Path(sys.argv[2])
    make("huggingface", folder(work / "a", 3, 1), output)
    make("huggingface_pairs", folder(work / "b", 2, 2), output, segments=2, max_tokens=20)
    make("model_garden_pairs", model_garden(work / "c", 3), output, labels="no,yes")
    make("regression", folder(work / "d", 1, 4), output)
