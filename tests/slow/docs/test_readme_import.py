"""What README shows of `bert-batch import` is what the command prints: every layout, every refusal, word for word."""

import ast
import json
import os
import re
import shlex
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import yaml
from safetensors.numpy import load_file, save_file
from support.checkpoints.imports import EXPORT, hugging_face
from support.checkpoints.layouts import ORACLE, oracle_classifier, write_tf1
from support.checkpoints.tokenizer_files import template, tokenizer_json
from support.commands import ROOT, invoke

from model.checkpoints import checkpoint as checkpoints
from model.checkpoints import detect as layouts
from model.checkpoints import hugging_face as hf
from model.checkpoints import model_garden, run_configs, tf1, tokenizer_files
from model.checkpoints import stored_variables as stored
from pipeline.bundling import import_job
from pipeline.terminal import report

README = (ROOT / "README.md").read_text(encoding="utf-8")
GELU = {"hidden_activation": "gelu", "norm_first": False}
COMMON = "--name mine --output my-bundle"

# === The models, each in a folder with a short name ===


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
    params("mrpc", GELU, {"text_fields": ["sentence1", "sentence2"], "lower_case": True, "seq_length": 16})
    for folder in ("weights", "encoder"):
        params(folder, GELU, {"lower_case": True})
    cased = vocabulary.read_text().replace("\na\n", "\nA\n")
    Path("run/vocab.txt").write_text(cased)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        build_models()
    return folder


# === Layouts ===

LAYOUTS = [
    "mrpc --name mrpc --labels different,equivalent --output mrpc-bundle",
    "run --name mine --labels bad,good,best --output my-bundle",
    "weights/w --name similarity --output values",
    "encoder --name fresh --new-head 2 --labels no,yes --output fresh-bundle",
    "export --name exported --labels bad,good,best --output export-bundle",
    "hf --name theirs --output hf-bundle",
    "hf --name pairs --segments 2 --truncator waterfall --output pair-bundle",
    "cross --name relevance --segments 2 --output relevance-bundle",
    "single --name value --output value-bundle",
    "uncased --name google --labels bad,good,best --output google-bundle",
]


def shown_imports() -> dict[str, list[str]]:
    """Flags of an import in the README -> the lines below it."""
    parts = re.findall(r"^\$ bert-batch import (.+)\n((?:.+\n)*?)(?=\n|```)", README, re.MULTILINE)
    return {flags: below.splitlines() for flags, below in parts}


@pytest.mark.parametrize("flags", LAYOUTS)
def test_readme_shows_what_the_import_of_a_layout_prints(
    flags: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(models, tmp_path / "models"))
    code, out, err = invoke("import", *shlex.split(flags))
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.split(" ")[0] in ("read", "layout", "loaded", "ignored", "note")]
    assert shown_imports().get(flags) == lines


def test_readme_shows_no_other_import() -> None:
    assert list(shown_imports()) == LAYOUTS


# === What spoils a model ===


def edit(file: str, **changes: Any) -> None:
    path = Path(file)
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def config(**changes: Any) -> None:
    edit("hf/config.json", **changes)


def tensors(changes: dict[str, Any]) -> None:
    """Sets tensors of the Hugging Face model; None takes one out."""
    path = "hf/model.safetensors"
    kept = {key: value for key, value in (load_file(path) | changes).items() if value is not None}
    save_file(kept, path)


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


class Refusal(NamedTuple):
    spoil: Callable[[], object]
    flags: str


FILES = [
    Refusal(nothing, "nowhere"),
    Refusal(lambda: file("torch/pytorch_model.bin"), "torch"),
    Refusal(lambda: file("sharded/model.safetensors.index.json"), "sharded"),
    Refusal(lambda: file("keras/tf_model.h5"), "keras"),
    Refusal(lambda: file("model.h5"), "model.h5"),
    Refusal(lambda: os.remove("hf/config.json"), "hf"),
    Refusal(lambda: file("run/checkpoint", 'model_checkpoint_path: "ckpt-7"\n'), "run"),
    Refusal(lambda: (os.remove("run/checkpoint"), shutil.copy("run/ckpt-1.index", "run/ckpt-2.index")), "run"),
    Refusal(lambda: cut("hf/model.safetensors", 1_000), "hf"),
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
    Refusal(lambda: config(problem_type="multi_label_classification"), "hf"),
    Refusal(lambda: config(problem_type="regression"), "hf"),
    Refusal(nothing, "run --task regression"),
    Refusal(nothing, "weights/w --task classification"),
    Refusal(lambda: edit("cross/config.json", sentence_transformers=activation("Tanh")), "cross"),
    Refusal(lambda: config(sentence_transformers=activation("Sigmoid")), "hf"),
    Refusal(nothing, "hf --activation sigmoid"),
    Refusal(lambda: config(architectures=["BertForTokenClassification"]), "hf"),
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
    Refusal(lambda: (tokenizer(), tokens("hf/vocab.txt", "z")), "hf"),
    Refusal(lambda: tokenizer(normalizer__lowercase=False), "hf"),
    Refusal(two_cases, "run"),
    Refusal(lambda: edit("hf/tokenizer_config.json", do_lower_case="false"), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", tokenizer_class="BertJapaneseTokenizer"), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", truncation_side="left"), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", padding_side="left"), "hf"),
    Refusal(lambda: edit("hf/tokenizer_config.json", strip_accents=False), "hf"),
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
REFUSALS = [*FILES, *NETWORK, *HEAD, *PAIRS, *TOKENIZER]

# === Refusals ===

MODULES = (checkpoints, hf, import_job, layouts, model_garden, run_configs, stored, tf1, tokenizer_files)
# What flags say before anything is read, what only a training or only a library can meet.
ELSEWHERE = {"ImportJob", "load_vocabulary", "build_from"}


class Refused(NamedTuple):
    """The line that was printed, and the statement that raised."""

    line: str
    site: tuple[str, int]


@pytest.fixture(scope="module")
def refused(models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Refused]:
    """Every refusal, from the real command."""
    with pytest.MonkeyPatch.context() as patch:
        return [refuse(refusal, models, tmp_path_factory.mktemp("refused"), patch) for refusal in REFUSALS]


def refuse(refusal: Refusal, models: Path, folder: Path, patch: pytest.MonkeyPatch) -> Refused:
    patch.chdir(shutil.copytree(models, folder / "models"))
    refusal.spoil()
    sites = []

    def explain(error: Exception, log_format: str) -> int:
        frame = list(traceback.walk_tb(error.__traceback__))[-1]
        sites.append((frame[0].f_code.co_filename, frame[1]))
        return plain(error, log_format)

    plain = report.explain
    with patch.context() as inner:
        inner.setattr(report, "explain", explain)
        code, out, err = invoke("import", *shlex.split(f"{refusal.flags} {COMMON}"))
    assert (code, out, err.count("\n")) == (2, "", 1), f"{refusal.flags}: {err}"
    assert not Path("my-bundle").exists()
    return Refused(err.rstrip("\n"), sites[0])


def raises(module: ModuleType) -> Iterator[tuple[str, int]]:
    """The statements that raise in a module, by file and line."""
    path = str(module.__file__)
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    elsewhere = [node for node in ast.walk(tree) if getattr(node, "name", None) in ELSEWHERE]
    skipped = {inner for node in elsewhere for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node not in skipped:
            yield path, node.lineno


def test_readme_shows_every_refusal_and_no_other(refused: list[Refused]) -> None:
    printed = [one.line for one in refused]
    shown = [line for line in README.splitlines() if line.startswith("error: ")]
    assert [line for line in printed if line not in shown] == []
    assert [line for line in shown if line not in printed] == []
    assert len(set(shown)) == len(shown)


def test_no_reason_to_refuse_is_forgotten(refused: list[Refused]) -> None:
    seen = {one.site for one in refused}
    assert [site for module in MODULES for site in raises(module) if site not in seen] == []
