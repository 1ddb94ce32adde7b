"""Models and bundles of the benchmarks, made once below .cache/bench: random weights, real sizes."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from benchmarks.paths import CACHE, ROOT, encoder_folder
from model.checkpoints.families import BERT, FAMILIES, Family

MAX_TOKENS = 512
BASE = {"hidden_size": 768, "num_layers": 12, "num_attention_heads": 12, "inner_dim": 3072}
MINILM = {"hidden_size": 384, "num_layers": 6, "num_attention_heads": 12, "inner_dim": 1536}
SMALL = {"hidden_size": 512, "num_layers": 4, "num_attention_heads": 8, "inner_dim": 2048}
TINY = {"hidden_size": 128, "num_layers": 2, "num_attention_heads": 2, "inner_dim": 512}
LEAST = {**TINY, "num_layers": 1}


@dataclass(frozen=True)
class Model:
    """Sizes, by the names of this project, and classes; `family` is the `model_type` of config.json."""

    sizes: dict[str, int]
    classes: int = 7
    family: str = "bert"


MODELS = {
    "base": Model(BASE),
    "minilm": Model(MINILM),
    "small": Model(SMALL),
    "tiny": Model(TINY),
    "host7": Model(LEAST),
    "host77": Model(LEAST, 77),
    "electra": Model({**BASE, "embedding_width": 768}, family="electra"),
    "distilbert": Model({**BASE, "num_layers": 6}, family="distilbert"),
}


def model_folder(name: str) -> Path:
    """A Hugging Face folder with random weights, in the sizes of MODELS."""
    folder = CACHE / f"{name}-hf"
    if (folder / "vocab.txt").is_file():
        return folder
    model = MODELS[name]
    family = FAMILIES[model.family]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = (encoder_folder() / "vocab.txt").read_text(encoding="utf-8")
    sizes = {**model.sizes, "vocab_size": vocabulary.count("\n"), "max_sequence_length": MAX_TOKENS}
    # The form of GELU of Google BERT and of the Model Garden; the others have the exact one.
    gelu = "gelu_pytorch_tanh" if family is BERT else "gelu"
    config = {
        "architectures": [family.architecture],
        "model_type": model.family,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        family.activation: gelu,
        "id2label": {str(i): f"class {i}" for i in range(model.classes)},
        "label2id": {f"class {i}": i for i in range(model.classes)},
        "problem_type": "single_label_classification",
        **{family.names[name]: size for name, size in sizes.items()},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    tokenizer = {"do_lower_case": True, "model_max_length": MAX_TOKENS, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    save_file(dict(_weights(family, sizes, model.classes)), folder / "model.safetensors")
    (folder / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    return folder


def _weights(family: Family, sizes: dict[str, int], classes: int) -> Iterator[tuple[str, np.ndarray]]:
    """Their name of each weight, and random numbers of its shape."""
    generator = np.random.default_rng(0)
    hidden, inner = sizes["hidden_size"], sizes["inner_dim"]
    tables = {"_embedding_layer": sizes["vocab_size"], "_position_embedding_layer": MAX_TOKENS}
    tables |= {"_type_embedding_layer": 2}
    products = {f"_attention_layer/_{part}_dense": (hidden, hidden) for part in ("query", "key", "value", "output")}
    products |= {"_intermediate_dense": (inner, hidden), "_output_dense": (hidden, inner)}
    blocks = [f"_transformer_layers/{block}/" for block in range(sizes["num_layers"])]
    shapes = {f"{block}{part}": shape for block in blocks for part, shape in products.items()}
    shapes |= {"_pooler_layer": (hidden, hidden)}
    shapes |= {layer: (classes if layer.endswith("out_proj") else hidden, hidden) for layer in family.head}
    norms = ["_embedding_norm_layer"]
    norms += [f"{block}{part}" for block in blocks for part in ("_attention_layer_norm", "_output_layer_norm")]
    made: dict[str, tuple[int, ...]] = {f"{layer}/embeddings": (rows, hidden) for layer, rows in tables.items()}
    made |= {f"{layer}/kernel": shape for layer, shape in shapes.items()}
    made |= {f"{layer}/bias": shape[:1] for layer, shape in shapes.items()}
    made |= {f"{norm}/{part}": (hidden,) for norm in norms for part in ("gamma", "beta")}
    for weight, shape in made.items():
        numbers = (generator.standard_normal(shape) * 0.05).astype(np.float32)
        if (name := family.key(weight)) is not None:
            yield name, 1 + numbers if weight.endswith("/gamma") else numbers


def bundle(name: str) -> Path:
    """The bundle of a model, made by `bert-batch import`; anew when the code of the graph has changed."""
    code = hashlib.sha256(b"".join(file.read_bytes() for file in sorted((ROOT / "model").rglob("*.py")))).hexdigest()
    folder = CACHE / f"{name}-bundle-{code[:12]}"
    if not folder.is_dir():
        command = ["import", str(model_folder(name)), "--name", name, "--output", str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, "-m", "pipeline", *command], env=environment, check=True, stdout=2)
    return folder


def prepare(*names: str) -> None:
    """Makes bundles, so that no level's time has their making in it."""
    for name in names:
        bundle(name)
