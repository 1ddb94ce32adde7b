"""The sizes of one BERT encoder, as plain data that every layer of the project may read."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self

Activation = Literal["gelu_tanh", "gelu_erf", "relu"]

ACTIVATIONS: tuple[str, ...] = ("gelu_tanh", "gelu_erf", "relu")
HeadActivation = Literal["tanh", "relu", "gelu_erf"]
HEAD_ACTIVATIONS: tuple[str, ...] = ("tanh", "relu", "gelu_erf")
"""Those of BERT, DistilBERT and ELECTRA, between the two layers of a head that pools for itself."""
_UNSAID = {"norm_first": False, "embedding_width": None, "head_activation": "tanh"}
"""What bundles before these fields mean."""

# Layers, hidden size and attention heads of the published sizes (google-research/bert README); inner = 4 hidden.
PRESETS: dict[str, tuple[int, int, int]] = {
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "medium": (8, 512, 8),
    "base": (12, 768, 12),
    "large": (24, 1024, 16),
}

# Hugging Face's "gelu" is the exact form; Google BERT's and Model Garden's default is the tanh form.
_HUGGING_FACE_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu_erf",
    "gelu_python": "gelu_erf",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}

LAYER_NORM_EPSILON = 1e-12

HUGGING_FACE_NAMES = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "inner_dim": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "output_dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "initializer_range": "initializer_range",
}
"""Our fields -> keys of a BERT's config.json."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig:
    """Sizes of an encoder and how the classifier reads it.

    `max_sequence_length` is the number of positions the model has, the longest row it can score.
    `use_encoder_pooler` says whether the classifier reads the encoder's pooled output or owns a
    pooling layer in its head, with `head_activation` behind it. `norm_first` and `embedding_width` (None:
    `hidden_size`) are the encoder's.
    Raises ValueError for values no BERT can have.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_layers: int = 12
    num_attention_heads: int = 12
    inner_dim: int = 3072
    max_sequence_length: int = 512
    type_vocab_size: int = 2
    activation: Activation = "gelu_tanh"
    output_dropout: float = 0.1
    attention_dropout: float = 0.1
    initializer_range: float = 0.02
    use_encoder_pooler: bool = True
    norm_first: bool = False
    embedding_width: int | None = None
    head_activation: HeadActivation = "tanh"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), field.type)
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation is {self.activation!r}; use one of {', '.join(ACTIVATIONS)}")
        if self.head_activation not in HEAD_ACTIVATIONS:
            raise ValueError(f"head_activation is {self.head_activation!r}; use one of {', '.join(HEAD_ACTIVATIONS)}")
        if self.head_activation != "tanh" and self.use_encoder_pooler:
            raise ValueError(f"head_activation is {self.head_activation}, but the encoder's own pooler is a tanh")
        for name in ("output_dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a dropout rate lies in [0, 1)")
        if self.initializer_range <= 0:
            raise ValueError(f"initializer_range is {self.initializer_range}; it must be above 0, usually 0.02")
        if self.embedding_width is not None:
            _check_type("embedding_width", self.embedding_width, int)
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}; every head needs the same whole number of units"
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Returns a published size, `tiny` to `large`, with `changes` to single fields."""
        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}; use one of {', '.join(PRESETS)}")
        layers, hidden, heads = PRESETS[name]
        sizes = {
            "num_layers": layers,
            "hidden_size": hidden,
            "num_attention_heads": heads,
            "inner_dim": 4 * hidden,
        }
        return cls(**{**sizes, **changes})

    @classmethod
    def from_hugging_face(
        cls,
        config: Mapping[str, Any],
        *,
        names: Mapping[str, str] = HUGGING_FACE_NAMES,
        activation: str = "hidden_act",
        **unsaid: Any,
    ) -> Self:
        """Reads the content of a Hugging Face `config.json` of a BERT, or of its kin that is described.

        `names` maps our fields to their keys, `activation` is the key of it; `unsaid` are fields that the file need not
        say, else they are BERT-base's. Raises ValueError for a model whose formula differs from ours.
        """
        _require(config, "position_embedding_type", "absolute", default="absolute")
        _require(config, "layer_norm_eps", LAYER_NORM_EPSILON, default=LAYER_NORM_EPSILON)
        _require(config, "is_decoder", False, default=False)
        named = config.get(activation, "gelu")
        if str(named) not in _HUGGING_FACE_ACTIVATIONS:
            known = ", ".join(_HUGGING_FACE_ACTIVATIONS)
            raise ValueError(f"{activation} is {named!r}; supported are {known}: bring a model with one of them")
        given = {ours: config[theirs] for ours, theirs in names.items() if theirs in config}
        return cls(**{**unsaid, **given, "activation": _HUGGING_FACE_ACTIVATIONS[named]})

    @property
    def width(self) -> int:
        """Units of an embedding before any projection to `hidden_size`."""
        return self.embedding_width or self.hidden_size

    def to_dict(self) -> dict[str, Any]:
        """Returns every field, ready for JSON; a head as all had at first is not named."""
        fields = dataclasses.asdict(self)
        if self.head_activation == _UNSAID["head_activation"]:
            del fields["head_activation"]
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` wrote; raises ValueError for unknown and for missing keys."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(fields.keys() - known):
            raise ValueError(f"BertConfig has no {', '.join(unknown)}; its keys are {', '.join(sorted(known))}")
        if missing := sorted(known - fields.keys() - _UNSAID.keys()):
            raise ValueError(f"BertConfig needs {', '.join(missing)}; write it with BertConfig.to_dict()")
        return cls(**fields)

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with `changes` to single fields."""
        return dataclasses.replace(self, **changes)


def _check_type(name: str, value: Any, kind: Any) -> None:
    if kind is int and (type(value) is not int or value < 1):
        raise ValueError(f"{name} is {value!r}; it must be a whole number above 0")
    if kind is float and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{name} is {value!r}; it must be a number")
    if kind is bool and not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; it must be true or false")


def _require(config: Mapping[str, Any], key: str, wanted: Any, *, default: Any) -> None:
    value = config.get(key, default)
    if value != wanted:
        raise ValueError(
            f"{key} is {value!r}, but only {wanted!r} can be loaded: the model would score differently; "
            "bring another model"
        )
