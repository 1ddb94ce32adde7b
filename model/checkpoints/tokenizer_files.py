"""What the tokenizer files beside a checkpoint say, and whether our tokenizers do the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.errors import CheckpointError
from model.tokenizer.tokenization import SPECIAL_TOKENS

_ROLES = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}
_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "PreTrainedTokenizer", "TokenizersBackend")
_SINGLE = "[CLS]:0 A:0 [SEP]:0"
_TEMPLATES = {"single": _SINGLE, "pair": f"{_SINGLE} B:1 [SEP]:1"}


def read_tokenizer(folder: Path, embeddings: int) -> dict[str, Any]:
    """Reads vocab.txt and the tokenizer's JSON files in `folder`, as far as they are there.

    Returns `vocabulary` (tokens by id, or None), `lower_case` and `seq_length` (None if nothing says). `embeddings` is
    the number of rows of the embedding table. Raises CheckpointError for a tokenizer that ours cannot imitate.
    """
    vocabulary, cases, seq_length = None, {}, None
    _check_other_files(folder)
    if (folder / "vocab.txt").is_file():
        vocabulary = read_tokens(folder / "vocab.txt", embeddings)
    file = folder / "tokenizer.json"
    if file.is_file():
        content = read_json(file)
        _check_added(file, content.get("added_tokens"))
        tokens = _check_model(file, content.get("model") or {}, embeddings)
        if vocabulary is not None and vocabulary != tokens:
            raise CheckpointError(f"{file}: its vocabulary is not that of vocab.txt beside it; keep the right one only")
        vocabulary = tokens
        _check_template(file, content, tokens)
        cases[file] = _check_normalizer(file, content)
    file = folder / "tokenizer_config.json"
    if file.is_file():
        content = read_json(file)
        _check_settings(file, content)
        seq_length = _length(content.get("model_max_length"))
        if "do_lower_case" in content:
            cases[file] = content["do_lower_case"]
    if len(set(cases.values())) > 1:
        said = ", ".join(f"{file.name} says {case}" for file, case in cases.items())
        raise CheckpointError(f"{folder}: is the tokenizer lower case? {said}; make the two files agree")
    return {"vocabulary": vocabulary, "lower_case": next(iter(cases.values()), None), "seq_length": seq_length}


def read_tokens(file: Path, embeddings: int) -> tuple[str, ...]:
    """Reads a vocabulary file, one token a line; raises CheckpointError if the model cannot have been made with it."""
    try:
        tokens = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise CheckpointError(
            f"{file}: cannot be read as UTF-8 text ({type(error).__name__}); give the vocabulary the model was trained "
            "with, one token a line"
        ) from error
    return _checked(file, tuple(tokens[:-1] if not tokens[-1] else tokens), embeddings)


def _checked(file: Path, tokens: tuple[str, ...], embeddings: int) -> tuple[str, ...]:
    if missing := [token for token in SPECIAL_TOKENS if token not in tokens]:
        raise CheckpointError(
            f"{file}: the vocabulary has {len(tokens):,} tokens but not {', '.join(missing)}; give the vocabulary the "
            "model was trained with (--vocabulary)"
        )
    if len(tokens) > embeddings:
        raise CheckpointError(
            f"{file}: the vocabulary has {len(tokens):,} tokens, the model's embedding table {embeddings:,} rows; "
            "give the vocabulary the model was trained with (--vocabulary)"
        )
    numbers: dict[str, int] = {}
    for number, token in enumerate(tokens):
        if "\n" in token or "\r" in token or numbers.setdefault(token, number) != number:
            raise CheckpointError(
                f"{file}: token {number} is {token!r}, which stands there twice or holds the end of a line: its number "
                "would be another here. Give the vocabulary the model was trained with (--vocabulary)"
            )
    return tokens


def _check_other_files(folder: Path) -> None:
    """The files of older versions, whose word counts where the newer ones are silent."""
    for name in ("config.json", "special_tokens_map.json", "added_tokens.json"):
        if not (file := folder / name).is_file():
            continue
        content = read_json(file)
        if name == "config.json":
            _check_class(file, content)
        elif name == "added_tokens.json":
            _check_added(file, list(content))
        else:
            _check_roles(file, content)


def _check_class(file: Path, content: Mapping[str, Any]) -> None:
    name = content.get("tokenizer_class")
    if name is not None and str(name).removesuffix("Fast") not in _CLASSES:
        raise CheckpointError(
            f"{file}: tokenizer_class is {name!r}, which splits texts in a way of its own; only BertTokenizer can be "
            "imitated: use a model with a standard BERT tokenizer"
        )


def _check_roles(file: Path, content: Mapping[str, Any]) -> None:
    for role, token in _ROLES.items():
        found = content.get(role, token)
        found = found.get("content") if isinstance(found, dict) else found
        if found not in (token, None):
            raise CheckpointError(f"{file}: {role} is {found!r}; only {token!r} can be scored: use a BERT tokenizer")
    for role in ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"):
        _check_added(file, content.get(role))


def _check_added(file: Path, tokens: Any) -> None:
    tokens = list(tokens.values()) if isinstance(tokens, dict) else tokens or []
    added = [token.get("content") if isinstance(token, dict) else token for token in tokens]
    if odd := [token for token in added if token not in SPECIAL_TOKENS]:
        raise CheckpointError(
            f"{file}: has {len(odd)} added tokens, first {odd[0]!r}; only {', '.join(SPECIAL_TOKENS)} can be scored. "
            "Use a model without added tokens"
        )


def _check_model(file: Path, model: Mapping[str, Any], embeddings: int) -> tuple[str, ...]:
    wanted = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    _require(file, "model.", {"max_input_chars_per_word": 100, **model}, {**wanted, "max_input_chars_per_word": 100})
    by_id = {number: token for token, number in model.get("vocab", {}).items()}
    if sorted(by_id) != list(range(len(by_id))):
        raise CheckpointError(f"{file}: model.vocab does not number its tokens 0 to {len(by_id) - 1}; save it again")
    return _checked(file, tuple(by_id[i] for i in range(len(by_id))), embeddings)


def _check_normalizer(file: Path, content: Mapping[str, Any]) -> bool:
    normalizer, splitter = content.get("normalizer") or {}, content.get("pre_tokenizer") or {}
    wanted = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    _require(file, "normalizer.", normalizer, wanted)
    _require(file, "pre_tokenizer.", splitter, {"type": "BertPreTokenizer"})
    for key in ("truncation", "padding"):
        _require(file, f"{key}.", {"direction": "Right", **(content.get(key) or {})}, {"direction": "Right"})
    lower_case = bool(normalizer.get("lowercase", True))
    _check_accents(file, "normalizer.strip_accents", normalizer.get("strip_accents"), lower_case)
    return lower_case


def _check_template(file: Path, content: Mapping[str, Any], tokens: tuple[str, ...]) -> None:
    """Which special tokens are set around a text and around a pair, under which numbers and type ids."""
    found, key = content.get("post_processor") or {}, "post_processor."
    numbers = {token: tokens.index(token) for token in ("[CLS]", "[SEP]")}
    if found.get("type") == "BertProcessing":
        _require(file, key, found, {"cls": ["[CLS]", numbers["[CLS]"]], "sep": ["[SEP]", numbers["[SEP]"]]})
        return
    _require(file, key, found, {"type": "TemplateProcessing"})
    _require(file, key, {part: _template(found.get(part)) for part in _TEMPLATES}, _TEMPLATES)
    special = found.get("special_tokens") or {}
    ids = {token: (special.get(token) or {}).get("ids") for token in numbers}
    _require(file, f"{key}special_tokens.", ids, {token: [number] for token, number in numbers.items()})


def _template(pieces: Any) -> str:
    """`[CLS]:0 A:0 [SEP]:0`: token or text, and its type id."""
    parts = [part for piece in pieces or [] for part in piece.values()]
    return " ".join(f"{part['id']}:{part['type_id']}" for part in parts)


def _length(found: Any) -> int | None:
    """model_max_length, unless it is one of the numbers that mean none."""
    return found if isinstance(found, int) and found > 1 else None


def _check_settings(file: Path, content: Mapping[str, Any]) -> None:
    present = {key: content[key] for key in ("tokenize_chinese_chars", "do_basic_tokenize") if key in content}
    _require(file, "", present, dict.fromkeys(present, True))
    for key in ("truncation_side", "padding_side"):
        _require(file, "", {key: "right", **content}, {key: "right"})
    if not isinstance(content.get("do_lower_case", True), bool):
        raise CheckpointError(f"{file}: do_lower_case is {content['do_lower_case']!r}; it must be true or false")
    if never := content.get("never_split"):
        raise CheckpointError(f"{file}: never_split has {len(never)} words; they would be split here: remove them")
    _check_accents(file, "strip_accents", content.get("strip_accents"), bool(content.get("do_lower_case", True)))
    _check_class(file, content)
    _check_roles(file, content)


def _check_accents(file: Path, key: str, strips: bool | None, lower_case: bool) -> None:
    # Null means: as the case.
    if strips is not None and strips != lower_case:
        raise CheckpointError(
            f"{file}: {key} is {strips} and lower case {lower_case}; our tokenizers strip accents exactly when they "
            "fold case, so the tokens would differ. Use a model with strip_accents null"
        )


def _require(file: Path, prefix: str, content: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if content.get(key) != value:
            raise CheckpointError(
                f"{file}: {prefix}{key} is {content.get(key)!r}, but only {value!r} can be imitated: the tokens would "
                "differ. Use a model with a standard BERT tokenizer"
            )


def read_json(file: Path) -> dict[str, Any]:
    """A file that holds a JSON object; raises CheckpointError for any other."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file}: is not JSON; restore it from its source") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file}: is not a JSON object; restore it from its source")
    return content
