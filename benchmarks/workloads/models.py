"""Models and bundles of the benchmarks, made once below .cache/bench: random weights, real sizes."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from benchmarks.paths import CACHE, ROOT, encoder_folder

MAX_TOKENS = 512
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
SMALL = {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 2048}
LEAST = {"hidden_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 512}
MODELS = {"base": (BASE, 7), "small": (SMALL, 7), "host7": (LEAST, 7), "host77": (LEAST, 77)}


def model_folder(name: str) -> Path:
    """A Hugging Face folder with random weights, in the sizes of MODELS."""
    folder = CACHE / f"{name}-hf"
    if (folder / "vocab.txt").is_file():
        return folder
    sizes, classes = MODELS[name]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = (encoder_folder() / "vocab.txt").read_text(encoding="utf-8")
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": vocabulary.count("\n"),
        "max_position_embeddings": MAX_TOKENS,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        # The form of GELU of Google BERT and of the Model Garden.
        "hidden_act": "gelu_pytorch_tanh",
        "id2label": {str(i): f"class {i}" for i in range(classes)},
        "label2id": {f"class {i}": i for i in range(classes)},
        "problem_type": "single_label_classification",
        **sizes,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": MAX_TOKENS}))
    save_file(dict(_weights(config)), folder / "model.safetensors")
    (folder / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    return folder


def _weights(config: dict[str, object]) -> Iterator[tuple[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    hidden, inner = int(str(config["hidden_size"])), int(str(config["intermediate_size"]))

    def normal(*shape: int) -> np.ndarray:
        return (generator.standard_normal(shape) * 0.05).astype(np.float32)

    for name in ("vocab_size:word", "max_position_embeddings:position", "type_vocab_size:token_type"):
        size, table = name.split(":")
        yield f"bert.embeddings.{table}_embeddings.weight", normal(int(str(config[size])), hidden)
    shapes = {"attention.self.query": (hidden, hidden), "attention.self.key": (hidden, hidden)}
    shapes |= {"attention.self.value": (hidden, hidden), "attention.output.dense": (hidden, hidden)}
    shapes |= {"intermediate.dense": (inner, hidden), "output.dense": (hidden, inner)}
    layers = [f"bert.encoder.layer.{i}." for i in range(int(str(config["num_hidden_layers"])))]
    dense = {f"{layer}{part}": shape for layer in layers for part, shape in shapes.items()}
    dense |= {"bert.pooler.dense": (hidden, hidden), "classifier": (len(config["id2label"]), hidden)}  # type: ignore[arg-type]
    for name, shape in dense.items():
        yield f"{name}.weight", normal(*shape)
        yield f"{name}.bias", normal(shape[0])
    norms = [f"{layer}{part}.LayerNorm" for layer in layers for part in ("attention.output", "output")]
    for name in ("bert.embeddings.LayerNorm", *norms):
        yield f"{name}.weight", 1 + normal(hidden)
        yield f"{name}.bias", normal(hidden)


def bundle(name: str) -> Path:
    """The bundle of a model, made by `bert-batch import`; anew when the code of the graph has changed."""
    code = hashlib.sha256(b"".join(file.read_bytes() for file in sorted((ROOT / "model").rglob("*.py")))).hexdigest()
    folder = CACHE / f"{name}-bundle-{code[:12]}"
    if not folder.is_dir():
        command = ["import", str(model_folder(name)), "--name", name, "--output", str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, "-m", "pipeline", *command], env=environment, check=True, stdout=2)
    return folder


def prepare(model: str) -> None:
    """Makes the bundles of all levels, so that no level's time has their making in it."""
    for name in (model, "host7", "host77"):
        bundle(name)
