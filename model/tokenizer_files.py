"""What the tokenizer files beside a checkpoint say, and whether our tokenizers do the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.checkpoints import CheckpointError
from model.tokenization import SPECIAL_TOKENS

_ROLES = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}


def read_tokenizer(folder: Path, embeddings: int) -> dict[str, Any]:
    """Reads vocab.txt, tokenizer.json and tokenizer_config.json of `folder`, as far as they are there.

    Returns `vocabulary` (tokens by id, or None) and `lower_case` (None if nothing says). `embeddings` is the number of
    rows of the embedding table. Raises CheckpointError for a tokenizer that ours cannot imitate.
    """
    vocabulary, cases = None, {}
    if (folder / "vocab.txt").is_file():
        vocabulary = read_tokens(folder / "vocab.txt", embeddings)
    file = folder / "tokenizer.json"
    if file.is_file():
        content = _json(file)
        _check_added(file, [token["content"] for token in content.get("added_tokens") or []])
        tokens = _check_model(file, content.get("model") or {}, embeddings)
        if vocabulary is not None and vocabulary != tokens:
            raise CheckpointError(f"{file}: its vocabulary is not that of vocab.txt beside it; keep the right one only")
        vocabulary = tokens
        cases[file] = _check_normalizer(file, content)
    file = folder / "tokenizer_config.json"
    if file.is_file():
        content = _json(file)
        added = content.get("added_tokens_decoder") or {}
        _check_added(file, [token["content"] for token in added.values()])
        _check_settings(file, content)
        if "do_lower_case" in content:
            cases[file] = bool(content["do_lower_case"])
    if len(set(cases.values())) > 1:
        said = ", ".join(f"{file.name} says {case}" for file, case in cases.items())
        raise CheckpointError(f"{folder}: is the tokenizer lower case? {said}; make the two files agree")
    return {"vocabulary": vocabulary, "lower_case": next(iter(cases.values()), None)}


def read_tokens(file: Path, embeddings: int) -> tuple[str, ...]:
    """Reads a vocabulary file, one token a line; raises CheckpointError if the model cannot have been made with it."""
    tokens = file.read_text(encoding="utf-8").split("\n")
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
    return tokens


def _check_added(file: Path, added: list[str]) -> None:
    if odd := [token for token in added if token not in SPECIAL_TOKENS]:
        raise CheckpointError(
            f"{file}: has {len(odd)} added tokens, first {odd[0]!r}; only {', '.join(SPECIAL_TOKENS)} can be scored. "
            "Use a model without added tokens"
        )


def _check_model(file: Path, model: Mapping[str, Any], embeddings: int) -> tuple[str, ...]:
    wanted = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    _require(file, "model.", model, wanted)
    by_id = {number: token for token, number in model.get("vocab", {}).items()}
    if sorted(by_id) != list(range(len(by_id))):
        raise CheckpointError(f"{file}: model.vocab does not number its tokens 0 to {len(by_id) - 1}; save it again")
    return _checked(file, tuple(by_id[i] for i in range(len(by_id))), embeddings)


def _check_normalizer(file: Path, content: Mapping[str, Any]) -> bool:
    normalizer, splitter = content.get("normalizer") or {}, content.get("pre_tokenizer") or {}
    wanted = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    _require(file, "normalizer.", normalizer, wanted)
    _require(file, "pre_tokenizer.", splitter, {"type": "BertPreTokenizer"})
    lower_case = bool(normalizer.get("lowercase", True))
    _check_accents(file, "normalizer.strip_accents", normalizer.get("strip_accents"), lower_case)
    return lower_case


def _check_settings(file: Path, content: Mapping[str, Any]) -> None:
    present = {key: content[key] for key in ("tokenize_chinese_chars", "do_basic_tokenize") if key in content}
    _require(file, "", present, dict.fromkeys(present, True))
    if never := content.get("never_split"):
        raise CheckpointError(f"{file}: never_split has {len(never)} words; they would be split here: remove them")
    _check_accents(file, "strip_accents", content.get("strip_accents"), bool(content.get("do_lower_case", True)))
    for role, token in _ROLES.items():
        found = content.get(role, token)
        found = found.get("content") if isinstance(found, dict) else found
        if found not in (token, None):
            raise CheckpointError(f"{file}: {role} is {found!r}; only {token!r} can be scored: use a BERT tokenizer")


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


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file}: is not JSON; restore it from its source") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file}: is not a JSON object; restore it from its source")
    return content
