"""The networks of Hugging Face that ours can be: BERT, and its kin with other names and heads (more_networks.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.network.config import HUGGING_FACE_NAMES, BertConfig, HeadActivation

_OF_BERT = {
    "_attention_layer/_query_dense": "attention.self.query",
    "_attention_layer/_key_dense": "attention.self.key",
    "_attention_layer/_value_dense": "attention.self.value",
    "_attention_layer/_output_dense": "attention.output.dense",
    "_attention_layer_norm": "attention.output.LayerNorm",
    "_intermediate_dense": "intermediate.dense",
    "_output_dense": "output.dense",
    "_output_layer_norm": "output.LayerNorm",
}
_OF_DISTILBERT = {
    "_attention_layer/_query_dense": "attention.q_lin",
    "_attention_layer/_key_dense": "attention.k_lin",
    "_attention_layer/_value_dense": "attention.v_lin",
    "_attention_layer/_output_dense": "attention.out_lin",
    "_attention_layer_norm": "sa_layer_norm",
    "_intermediate_dense": "ffn.lin1",
    "_output_dense": "ffn.lin2",
    "_output_layer_norm": "output_layer_norm",
}
_EMBEDDINGS = {
    "_embedding_layer": "embeddings.word_embeddings",
    "_position_embedding_layer": "embeddings.position_embeddings",
    "_embedding_norm_layer": "embeddings.LayerNorm",
}
_TYPES = {"_type_embedding_layer": "embeddings.token_type_embeddings"}


@dataclass(frozen=True, kw_only=True)
class Family:
    """How a kind of network names its parts. `parts` are canonical layers of the encoder -> theirs below `prefix`.

    `blocks` is where its transformer layers are numbered, `sublayers` their parts; `head` maps the layers of a
    classifier. What `absent` names, canonical layers of ours, it does not have: zeros stand there, and change nothing.
    `top` are names at the top of a bare encoder's file; `pretraining` those of heads that are of no use here.
    `of_texts` is a weight that a classifier must have, `of_tokens` one that a head with a label for each token has too.
    """

    name: str
    prefix: str
    architecture: str
    parts: Mapping[str, str]
    blocks: str
    sublayers: Mapping[str, str]
    head: Mapping[str, str]
    top: tuple[str, ...]
    pretraining: tuple[str, ...]
    of_texts: str
    of_tokens: str | None = None
    absent: tuple[str, ...] = ()
    head_activation: HeadActivation = "tanh"
    names: Mapping[str, str] = field(default_factory=lambda: HUGGING_FACE_NAMES)
    activation: str = "hidden_act"
    unsaid: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_pooler(self) -> bool:
        """Whether the encoder has one; else the head pools for itself."""
        return "_pooler_layer" not in self.absent

    @property
    def classifiers(self) -> tuple[str, ...]:
        """What `architectures` may name."""
        return tuple(f"{library}{self.architecture}" for library in ("", "TF", "Flax"))

    def config(self, described: Mapping[str, Any]) -> BertConfig:
        """The sizes that a config.json describes; raises ValueError for a formula that is not ours."""
        others = {theirs: self.names[ours] for ours, theirs in HUGGING_FACE_NAMES.items() if ours in self.names}
        if odd := next((key for key, own in others.items() if key != own and key in described), None):
            raise ValueError(f"{odd} is there, which a {self.name} calls {others[odd]}; say it by that name")
        given = dict(self.unsaid)
        if not self.has_pooler:
            given |= {"use_encoder_pooler": False, "head_activation": self.head_activation}
        config = BertConfig.from_hugging_face(described, names=self.names, activation=self.activation, **given)
        same = config.embedding_width == config.hidden_size
        return config.replace(embedding_width=None) if same else config

    def key(self, name: str) -> str | None:
        """The name of a weight in their files, by its canonical one; None for what they do not have."""
        layer, leaf = name.rsplit("/", 1)
        suffix = "bias" if leaf in ("bias", "beta") else "weight"
        if layer in self.head:
            return f"{self.head[layer]}.{suffix}"
        layer = layer.removeprefix("_network/")
        if layer in self.absent:
            return None
        if layer in self.parts:
            return f"{self.prefix}.{self.parts[layer]}.{suffix}"
        index, sublayer = layer.removeprefix("_transformer_layers/").split("/", 1)
        return f"{self.prefix}.{self.blocks}.{index}.{self.sublayers[sublayer]}.{suffix}"


BERT = Family(
    name="BERT",
    prefix="bert",
    architecture="BertForSequenceClassification",
    parts={**_EMBEDDINGS, **_TYPES, "_pooler_layer": "pooler.dense"},
    blocks="encoder.layer",
    sublayers=_OF_BERT,
    head={"classifier/out_proj": "classifier"},
    top=("embeddings.", "encoder.", "pooler."),
    pretraining=("cls.",),
    of_texts="classifier.weight",
)
DISTILBERT = Family(
    name="DistilBERT",
    prefix="distilbert",
    architecture="DistilBertForSequenceClassification",
    parts=_EMBEDDINGS,
    blocks="transformer.layer",
    sublayers=_OF_DISTILBERT,
    head={"classifier/dense": "pre_classifier", "classifier/out_proj": "classifier"},
    top=("embeddings.", "transformer."),
    pretraining=("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
    of_texts="pre_classifier.weight",
    of_tokens="classifier.weight",
    absent=("_type_embedding_layer", "_pooler_layer"),
    head_activation="relu",
    names={
        "vocab_size": "vocab_size",
        "hidden_size": "dim",
        "num_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "inner_dim": "hidden_dim",
        "max_sequence_length": "max_position_embeddings",
        "output_dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "initializer_range": "initializer_range",
    },
    activation="activation",
    # The second text of a pair is told by [SEP] alone: its type has a vector, of zeros.
    unsaid={"num_layers": 6, "type_vocab_size": 2},
)
ELECTRA = Family(
    name="ELECTRA",
    prefix="electra",
    architecture="ElectraForSequenceClassification",
    parts={**_EMBEDDINGS, **_TYPES, "_embedding_projection": "embeddings_project"},
    blocks="encoder.layer",
    sublayers=_OF_BERT,
    head={"classifier/dense": "classifier.dense", "classifier/out_proj": "classifier.out_proj"},
    top=("embeddings.", "embeddings_project.", "encoder."),
    pretraining=("discriminator_predictions.", "generator_predictions.", "generator_lm_head."),
    of_texts="classifier.dense.weight",
    of_tokens="classifier.weight",
    absent=("_pooler_layer",),
    # The exact gelu, whatever hidden_act says.
    head_activation="gelu_erf",
    names={**HUGGING_FACE_NAMES, "embedding_width": "embedding_size"},
    unsaid={"hidden_size": 256, "num_attention_heads": 4, "inner_dim": 1024, "embedding_width": 128},
)
FAMILIES = {"bert": BERT, "distilbert": DISTILBERT, "electra": ELECTRA}
"""`model_type` of config.json -> what it is."""


def family_of(described: Mapping[str, Any]) -> Family:
    """The family that a config.json names; raises ValueError for another."""
    found = described.get("model_type")
    if found not in FAMILIES:
        raise ValueError(
            f"model_type is {found!r}, but only {', '.join(map(repr, FAMILIES))} can be loaded: the model would score "
            "differently; bring another model"
        )
    return FAMILIES[found]
