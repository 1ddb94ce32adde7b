"""A model of every layout that `bert-batch import` reads, each in a folder with a short name."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from safetensors.numpy import load_file, save_file
from support.checkpoints.containers import renamed, shards
from support.checkpoints.imports import EXPORT, hugging_face
from support.checkpoints.layouts import ORACLE, oracle_classifier, write_tf1
from support.checkpoints.tokenizer_files import settings_json, tokenizer_json

GELU = {"hidden_activation": "gelu", "norm_first": False}


def edit(file: str, **changes: Any) -> None:
    path = Path(file)
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def params(folder: str, sizes: dict[str, Any], data: dict[str, Any] | None = None, **model: Any) -> None:
    task = {"model": {"encoder": {"type": "bert", "bert": sizes}, **model}, "train_data": data or {}}
    Path(folder, "params.yaml").write_text(yaml.safe_dump({"task": task}))


def one_output(folder: str) -> None:
    """The Hugging Face case with the first output only."""
    shutil.copytree("hf", folder)
    weights = load_file(f"{folder}/model.safetensors")
    head = {name: weights[name][:1].copy() for name in ("classifier.weight", "classifier.bias")}
    save_file(weights | head, f"{folder}/model.safetensors")
    edit(f"{folder}/config.json", id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0}, problem_type=...)


def modern() -> None:
    """The Hugging Face case as transformers 5 writes it, from a training on several GPUs: bfloat16, in two files."""
    shutil.copytree("hf", "modern")
    renamed(Path("modern"), "module.")
    shards(Path("modern"), 2, "BF16")
    tokens = Path("modern/vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    content = tokenizer_json(model__vocab={token: i for i, token in enumerate(tokens)})
    Path("modern/tokenizer.json").write_text(json.dumps(content))
    Path("modern/tokenizer_config.json").write_text(json.dumps(settings_json()))
    Path("modern/vocab.txt").unlink()


def activation(name: str) -> dict[str, str]:
    return {"activation_fn": f"torch.nn.modules.activation.{name}", "version": "5.1.0"}


def build_models() -> None:
    """Every layout, in the working folder."""
    vocabulary = hugging_face(Path()) / "vocab.txt"
    places = {"mrpc": "headname_v1/ckpt_model", "run": "cls3_nopooler_v1/ckpt_trainer"}
    places |= {"encoder": "cls3_nopooler_v1/ckpt_encoder_only"}
    for folder, place in places.items():
        shutil.copytree(ORACLE / place, folder)
    shutil.copytree(EXPORT, "export")
    one_output("single")
    one_output("cross")
    edit("cross/config.json", sentence_transformers=activation("Sigmoid"))
    Path("uncased").mkdir()
    write_tf1(Path("uncased"))
    oracle_classifier("reg1_pooler_v1", 1).save_weights("weights/w")
    for folder in (*places, "uncased", "weights"):
        shutil.copy(vocabulary, Path(folder, "vocab.txt"))
    data = {"text_fields": ["sentence1", "sentence2"], "lower_case": True, "seq_length": 16}
    params("mrpc", GELU, data, use_encoder_pooler=True)
    for folder in ("weights", "encoder"):
        params(folder, GELU, {"lower_case": True})
    modern()
    cased = vocabulary.read_text().replace("\na\n", "\nA\n")
    Path("run/vocab.txt").write_text(cased)
