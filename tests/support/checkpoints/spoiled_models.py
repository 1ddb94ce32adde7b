"""Every way to spoil a model that `bert-batch import` must refuse."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from safetensors.numpy import load_file, save_file
from support.checkpoints.containers import edit_shard, renamed, shards, write_index
from support.checkpoints.every_layout import GELU, activation, edit, params
from support.checkpoints.layouts import oracle_classifier, write_tf1
from support.checkpoints.spoiled_exports import EXPORTED, Refusal
from support.checkpoints.tokenizer_files import template, tokenizer_json

HF = "hf/model.safetensors"


def config(**changes: Any) -> None:
    edit("hf/config.json", **changes)


def tensors(changes: dict[str, Any]) -> None:
    """Sets tensors of the Hugging Face model; None takes one out."""
    save_file({key: value for key, value in (load_file(HF) | changes).items() if value is not None}, HF)


def inside_another() -> None:
    """The encoder as a part of a bigger model, with its head beside it."""
    weights = load_file(HF)
    save_file({f"model.{key}" if key.startswith("bert.") else key: array for key, array in weights.items()}, HF)


def sharded(change: Callable[[Path, dict[str, str]], object]) -> Callable[[], object]:
    """Writes the Hugging Face model as two files, and changes something of them."""
    return lambda: change(Path("hf"), shards(Path("hf"), 2))


def in_another(folder: Path, places: dict[str, str]) -> None:
    """A weight that stands in two shards."""
    (other,) = set(places.values()) - {places["classifier.bias"]}
    edit_shard(folder / other, {"classifier.bias": np.zeros(3, np.float32)})


def one_type() -> None:
    config(type_vocab_size=1)
    tensors({"bert.embeddings.token_type_embeddings.weight": np.zeros((1, 16), np.float32)})


def tokenizer(**changes: Any) -> None:
    """Gives the Hugging Face model a tokenizer.json."""
    tokens = Path("hf/vocab.txt").read_text().split("\n")[:-1]
    content = tokenizer_json(**({"model__vocab": {token: i for i, token in enumerate(tokens)}} | changes))
    Path("hf/tokenizer.json").write_text(json.dumps(content))


def google(**changes: Any) -> None:
    edit("uncased/bert_config.json", **changes)


def google_tensors(**changes: Any) -> None:
    shutil.rmtree("uncased")
    Path("uncased").mkdir()
    write_tf1(Path("uncased"), **changes)


def write(**parts: Any) -> None:
    """Puts other parts into the checkpoint of the trainer."""
    tf.train.Checkpoint(**parts).write("run/ckpt-1")


def without(*names: str, **instead: Any) -> Any:
    """A classifier whose encoder lacks some parts, or has others in their place."""
    classifier = oracle_classifier()
    children = tf.train.TrackableView(classifier.network).children(classifier.network)
    kept = {name: part for name, part in children.items() if not name.startswith(("layer", *names))} | instead
    return tf.train.Checkpoint(_network=tf.train.Checkpoint(**kept), classifier=classifier.classifier)


def dense(units: int) -> tf_keras.layers.Dense:
    layer = tf_keras.layers.Dense(units)
    layer.build((None, 16))
    return layer


def tokens(file: str, *taken: str) -> None:
    path = Path(file)
    path.write_text("".join(f"{token}\n" for token in path.read_text().split() if token not in taken))


def two_cases() -> None:
    params("run", {}, {"lower_case": True})
    file("run/tokenizer_config.json", '{"do_lower_case": false}')


def nothing() -> None:
    """The model is whole; only the flags do not fit it."""


def file(name: str, content: str = "") -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(content)


def cut(name: str, kept: int) -> None:
    path = Path(name)
    path.write_bytes(path.read_bytes()[:kept])


ONE = np.ones(1, np.float32)
FILES = [
    Refusal(nothing, "nowhere"),
    Refusal(lambda: file("torch/pytorch_model.bin"), "torch"),
    Refusal(lambda: file("torch/pytorch_model.bin.index.json"), "torch"),
    Refusal(lambda: file("keras/tf_model.h5"), "keras"),
    Refusal(lambda: file("model.h5"), "model.h5"),
    Refusal(lambda: os.remove("hf/config.json"), "hf"),
    Refusal(lambda: file("run/checkpoint", 'model_checkpoint_path: "ckpt-7"\n'), "run"),
    Refusal(lambda: (os.remove("run/checkpoint"), shutil.copy("run/ckpt-1.index", "run/ckpt-2.index")), "run"),
    Refusal(lambda: file("hf/adapter_config.json"), "hf"),
    Refusal(lambda: cut("hf/model.safetensors", 1_000), "hf"),
    Refusal(sharded(lambda folder, _: os.remove(folder / "model-00002-of-00002.safetensors")), "hf"),
    Refusal(sharded(lambda _, __: file("hf/model-00001-of-00003.safetensors")), "hf"),
    Refusal(sharded(in_another), "hf"),
    Refusal(sharded(lambda folder, places: edit_shard(folder / places["classifier.bias"], {"odd": ONE})), "hf"),
    Refusal(
        sharded(lambda folder, places: edit_shard(folder / places["classifier.bias"], {"classifier.bias": None})), "hf"
    ),
    Refusal(
        sharded(lambda folder, places: write_index(folder, places | {"classifier.bias": "../x.safetensors"})), "hf"
    ),
    Refusal(sharded(lambda folder, _: write_index(folder, {})), "hf"),
    Refusal(lambda: os.remove("run/ckpt-1.data-00000-of-00001"), "run"),
    Refusal(lambda: file("run/checkpoint", "]"), "run"),
    Refusal(lambda: os.rename("run", "run[1]"), "run[1]"),
    Refusal(lambda: file("hf/tokenizer.json", "{"), "hf"),
    Refusal(lambda: file("hf/tokenizer.json", "[]"), "hf"),
    Refusal(lambda: file("run/params.yaml", "task: ["), "run"),
    Refusal(lambda: file("run/params.yaml", "task"), "run"),
    Refusal(lambda: shutil.copy("hf/config.json", "run"), "run"),
    Refusal(lambda: os.remove("uncased/bert_config.json"), "uncased"),
    Refusal(lambda: os.remove("run/vocab.txt"), "run --labels a,b,c"),
    Refusal(nothing, "run --labels a,b,c --vocabulary nowhere.txt"),
    Refusal(lambda: Path("hf/vocab.txt").write_bytes("été".encode("latin-1")), "hf"),
]
NETWORK = [
    Refusal(lambda: config(model_type="roberta"), "hf"),
    Refusal(lambda: config(position_embedding_type="relative_key"), "hf"),
    Refusal(lambda: config(layer_norm_eps=1e-5), "hf"),
    Refusal(lambda: config(is_decoder=True), "hf"),
    Refusal(lambda: config(hidden_act="silu"), "hf"),
    Refusal(lambda: config(num_attention_heads=3), "hf"),
    Refusal(lambda: config(num_hidden_layers=3), "hf"),
    Refusal(lambda: config(num_hidden_layers=1), "hf"),
    Refusal(lambda: tensors({"bert.pooler.dense.weight": np.zeros((16, 8), np.float32)}), "hf"),
    Refusal(lambda: tensors({"bert.pooler.dense.bias": np.zeros(16, np.int8)}), "hf"),
    Refusal(lambda: tensors({"bert.embeddings.LayerNorm.gamma": np.zeros(16, np.float32)}), "hf"),
    Refusal(lambda: tensors({"bert.pooler.dense.bias": np.full(16, np.nan, np.float32)}), "hf"),
    Refusal(lambda: renamed(Path("hf"), "base_model.model."), "hf"),
    Refusal(lambda: tensors({"module.classifier.bias": ONE}), "hf"),
    Refusal(lambda: tensors({"bert.encoder.layer.0.output.adapters.a.adapter_up.bias": ONE}), "hf"),
    Refusal(inside_another, "hf"),
    Refusal(nothing, "hf --hidden-activation gelu_tanh"),
    Refusal(nothing, "weights/w --norm-first"),
    Refusal(lambda: params("run", {}, encoder={"type": "albert"}), "run"),
    Refusal(lambda: params("run", {"hidden_activation": "swish"}), "run"),
    Refusal(lambda: params("run", {"position_embedding_type": "relative"}), "run"),
    Refusal(lambda: params("run", {"hidden_size": 32}), "run"),
    Refusal(lambda: params("uncased", {"hidden_activation": "relu"}), "uncased"),
    Refusal(lambda: params("run", {}, use_encoder_pooler=True), "run"),
    Refusal(lambda: params("run", {"dropout_rate": 1.0}), "run"),
    Refusal(lambda: write(net=dense(2)), "run"),
    Refusal(lambda: write(encoder=dense(2)), "run"),
    Refusal(lambda: write(model=without("_position")), "run"),
    Refusal(lambda: write(model=without("_pooler")), "run --labels a,b,c"),
    Refusal(lambda: write(model=without("_pooler", _pooler_layer=dense(8))), "run --labels a,b,c"),
    Refusal(lambda: write(model=without(_adapter=dense(16))), "run --labels a,b,c"),
    Refusal(lambda: write(model=without(_att_input_pool_layers=dense(16))), "run --labels a,b,c"),
    Refusal(lambda: write(model=oracle_classifier(), adapter=dense(16)), "run"),
    Refusal(lambda: google(num_hidden_layers=3), "uncased"),
    Refusal(lambda: google(num_hidden_layers=1), "uncased"),
    Refusal(lambda: google_tensors(add={"bert/pooler/dense/kernel": np.zeros((16, 8), np.float32)}), "uncased"),
    Refusal(lambda: google_tensors(add={"bert/pooler/dense/bias": np.zeros(16, np.int8)}), "uncased"),
    Refusal(lambda: google_tensors(drop="bert/embeddings/word"), "uncased"),
]
HEAD = [
    Refusal(nothing, "encoder"),
    Refusal(lambda: tensors({"classifier.weight": None, "classifier.bias": None}), "hf"),
    Refusal(nothing, "run --labels a,b,c --new-head 2"),
    Refusal(lambda: config(problem_type="token_classification"), "hf"),
    Refusal(lambda: config(problem_type="regression"), "hf"),
    Refusal(nothing, "run --task regression"),
    Refusal(nothing, "weights/w --task classification"),
    Refusal(lambda: edit("cross/config.json", sentence_transformers=activation("Tanh")), "cross"),
    Refusal(lambda: config(sentence_transformers=activation("Sigmoid")), "hf"),
    Refusal(nothing, "hf --activation sigmoid"),
    Refusal(lambda: config(architectures=["BertForTokenClassification"]), "hf"),
    Refusal(lambda: config(model_type="electra"), "hf"),
    Refusal(lambda: config(id2label={"0": "bad", "1": "good"}), "hf"),
    Refusal(lambda: config(id2label=["bad", "good"]), "hf"),
    Refusal(lambda: config(label2id={"LABEL_0": 2, "LABEL_1": 1, "LABEL_2": 0}), "hf"),
    Refusal(lambda: params("run", {}, num_classes=2), "run"),
    Refusal(nothing, "export"),
    Refusal(nothing, "run --labels bad,good"),
    Refusal(nothing, "weights/w --labels bad,good"),
    Refusal(nothing, "run --labels-file nowhere.txt"),
]
PAIRS = [
    Refusal(lambda: params("mrpc", GELU, {"text_fields": ["text", "question", "answer"]}), "mrpc --labels no,yes"),
    Refusal(one_type, "hf --segments 2"),
    Refusal(nothing, "hf --truncator waterfall"),
    Refusal(nothing, "hf --segments 2 --max-tokens 2"),
    Refusal(nothing, "hf --segments 2 --max-tokens 128"),
]
TOKENIZER = [
    Refusal(lambda: tokenizer(normalizer__type="NFC"), "hf"),
    Refusal(lambda: tokenizer(normalizer__clean_text=False), "hf"),
    Refusal(lambda: tokenizer(normalizer__handle_chinese_chars=False), "hf"),
    Refusal(lambda: tokenizer(normalizer__strip_accents="no"), "hf"),
    Refusal(lambda: tokenizer(normalizer__replace={"a": "b"}), "hf"),
    Refusal(lambda: tokenizer(version="2.0"), "hf"),
    Refusal(lambda: tokenizer(added_tokens=[{"id": 63, "content": "<url>"}]), "hf"),
    Refusal(lambda: tokenizer(added_tokens=[{"id": 3, "content": "[CLS]"}]), "hf"),
    Refusal(lambda: tokenizer(pre_tokenizer__type="Whitespace"), "hf"),
    Refusal(lambda: tokenizer(model__type="BPE"), "hf"),
    Refusal(lambda: tokenizer(model__unk_token="<unk>"), "hf"),
    Refusal(lambda: tokenizer(model__continuing_subword_prefix="@@"), "hf"),
    Refusal(lambda: tokenizer(model__max_input_chars_per_word=200), "hf"),
    Refusal(lambda: tokenizer(post_processor=None), "hf"),
    Refusal(lambda: tokenizer(post_processor__single=template("A:0 [SEP]:0")), "hf"),
    Refusal(lambda: tokenizer(post_processor__special_tokens={"[CLS]": {"ids": [1]}}), "hf"),
    Refusal(lambda: tokenizer(truncation={"direction": "Left"}), "hf"),
    Refusal(lambda: tokenizer(padding={"direction": "Left"}), "hf"),
    Refusal(lambda: tokenizer(model__vocab={"[PAD]": 0, "a": 2}), "hf"),
    Refusal(lambda: tokenizer(model__vocab={"[PAD]": 0, "a": 1, "b": 1}), "hf"),
    Refusal(lambda: tokenizer(model__vocab=["[PAD]", "a"]), "hf"),
    Refusal(lambda: (tokenizer(), tokens("hf/vocab.txt", "z")), "hf"),
    Refusal(lambda: tokenizer(normalizer__lowercase=False), "hf"),
    Refusal(lambda: (tokenizer(normalizer__lowercase=False), file("hf/tokenizer_config.json", "{}")), "hf"),
    Refusal(lambda: tokenizer(normalizer__strip_accents=False), "hf"),
    Refusal(two_cases, "run"),
    Refusal(lambda: edit("hf/tokenizer_config.json", do_lower_case="false"), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", tokenizer_class="BertJapaneseTokenizer"), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", truncation_side="left"), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", padding_side="left"), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", strip_accents=False), "hf --tokenizer model_garden"),
    Refusal(lambda: edit("hf/tokenizer_config.json", tokenize_chinese_chars=False), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", do_basic_tokenize=False), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", never_split=["COVID-19"]), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", cls_token="<s>"), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", added_tokens_decoder={"64": {"content": "<url>"}}), "hf"),
    Refusal(lambda: file("hf/special_tokens_map.json", '{"cls_token": "<s>"}'), "hf"),
    Refusal(lambda: file("hf/added_tokens.json", '{"<url>": 63}'), "hf"),
    Refusal(lambda: tokens("run/vocab.txt", "[CLS]", "[SEP]"), "run"),
    Refusal(lambda: file("run/vocab.txt", Path("run/vocab.txt").read_text().replace("\nz\n", "\n[CLS]\n")), "run"),
    Refusal(lambda: shutil.copy("export/assets/vocab.txt", "run"), "run"),
]
# Headings of the page of refusals -> what stands below them.
REFUSALS = {
    "Files that are not there, not whole or not read": FILES,
    "Networks that would be computed differently, and weights that do not fit": NETWORK,
    "Heads, labels and tasks": HEAD,
    "Texts of a row": PAIRS,
    "Tokenizers whose tokens would differ": TOKENIZER,
    "Networks as exported": EXPORTED,
}
