"""What the tokenizer files beside a checkpoint say, and whether our tokenizers do the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.checkpoints.json_files import read_json, require
from model.checkpoints.tokenizer_json import TokenizerJson, check_added, check_tokens, read_tokenizer_json
from model.errors import CheckpointError

_ROLES = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}
# transformers makes the first three anew from tokenizer_config.json, whatever the normalizer of tokenizer.json says.
_BERT = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer")
_CLASSES = (*_BERT, "PreTrainedTokenizer", "TokenizersBackend")

Claims = dict[Path, tuple[tuple[str, Any], ...]]
"""File -> the tokens that it adds, with the ids it claims for them."""


def read_tokenizer(folder: Path, embeddings: int) -> dict[str, Any]:
    """Reads vocab.txt and the tokenizer's JSON files in `folder`, as far as they are there.

    Returns `vocabulary` (tokens by id, or None), `lower_case` and `seq_length` (None if nothing says), `strip_accents`
    (None if accents go with the case). `embeddings` is the number of rows of the embedding table. Raises
    CheckpointError for a tokenizer that ours cannot imitate, and for files that contradict each other.
    """
    vocabulary, fast, settings = None, None, {}
    claims, kind = _check_other_files(folder)
    if (folder / "vocab.txt").is_file():
        vocabulary = read_tokens(folder / "vocab.txt", embeddings)
    file = folder / "tokenizer.json"
    if file.is_file():
        fast = read_tokenizer_json(file, embeddings, vocabulary)
        vocabulary, claims[file] = fast.tokens, fast.added
    file = folder / "tokenizer_config.json"
    if file.is_file():
        settings = read_json(file)
        claims[file] = _check_settings(file, settings)
        kind = settings.get("tokenizer_class") or kind
    _check_claims(claims, vocabulary)
    lower_case, strips = settings.get("do_lower_case"), settings.get("strip_accents")
    if fast is not None:
        _check_agreement(folder, fast, settings, kind)
        lower_case, strips = fast.lower_case, fast.strips
    return {
        "vocabulary": vocabulary,
        "lower_case": lower_case,
        "strip_accents": None if strips == lower_case else strips,
        "seq_length": _length(settings.get("model_max_length")),
    }


def read_tokens(file: Path, embeddings: int) -> tuple[str, ...]:
    """Reads a vocabulary file, one token a line; raises CheckpointError if the model cannot have been made with it."""
    try:
        tokens = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise CheckpointError(
            f"{file}: cannot be read as UTF-8 text ({type(error).__name__}); give the vocabulary the model was trained "
            "with, one token a line"
        ) from error
    return check_tokens(file, tuple(tokens[:-1] if not tokens[-1] else tokens), embeddings)


def _check_other_files(folder: Path) -> tuple[Claims, str | None]:
    """The files of older versions, whose word counts where the newer ones are silent."""
    claims: Claims = {}
    kind = None
    for name in ("config.json", "special_tokens_map.json", "added_tokens.json"):
        if not (file := folder / name).is_file():
            continue
        content = read_json(file)
        if name == "config.json":
            _check_class(file, content)
            kind = content.get("tokenizer_class")
        elif name == "added_tokens.json":
            claims[file] = check_added(file, content)
        else:
            _check_roles(file, content)
    return claims, kind


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
    for role in ("additional_special_tokens", "extra_special_tokens"):
        check_added(file, content.get(role))


def _length(found: Any) -> int | None:
    """model_max_length, unless it is one of the numbers that mean none."""
    return found if isinstance(found, int) and found > 1 else None


def _check_settings(file: Path, content: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The tokens that tokenizer_config.json adds, once all else in it is as ours."""
    present = {key: content[key] for key in ("tokenize_chinese_chars", "do_basic_tokenize") if key in content}
    require(file, "", present, dict.fromkeys(present, True))
    for key in ("truncation_side", "padding_side"):
        require(file, "", {key: "right", **content}, {key: "right"})
    for key, allowed in (("do_lower_case", (True, False)), ("strip_accents", (True, False, None))):
        if key in content and not any(content[key] is value for value in allowed):
            raise CheckpointError(f"{file}: {key} is {content[key]!r}; it must be true or false")
    if never := content.get("never_split"):
        raise CheckpointError(f"{file}: never_split has {len(never)} words; they would be split here: remove them")
    _check_class(file, content)
    _check_roles(file, content)
    return check_added(file, content.get("added_tokens_decoder"))


def _check_claims(claims: Claims, vocabulary: tuple[str, ...] | None) -> None:
    for file, added in claims.items():
        for token, number in added:
            if vocabulary is not None and number not in (None, vocabulary.index(token)):
                raise CheckpointError(
                    f"{file}: numbers {token} {number}, but the vocabulary {vocabulary.index(token)}; keep the files "
                    "that belong together"
                )


def _check_agreement(folder: Path, fast: TokenizerJson, settings: Mapping[str, Any], kind: str | None) -> None:
    """Whether tokenizer_config.json, with what transformers takes where it is silent, says as tokenizer.json does."""
    lower_case, strips = settings.get("do_lower_case"), settings.get("strip_accents")
    saying = "says"
    if (kind or _BERT[0]).removesuffix("Fast") in _BERT:
        if lower_case is None:
            lower_case, saying = True, "does not say, which BertTokenizer takes for"
        strips = lower_case if strips is None else strips
    for question, key, ours, theirs in (
        ("is the tokenizer lower case", "do_lower_case", fast.lower_case, lower_case),
        ("does the tokenizer strip accents", "strip_accents", fast.strips, strips),
    ):
        if theirs not in (None, ours):
            raise CheckpointError(
                f"{folder}: {question}? tokenizer.json says {ours}, tokenizer_config.json {saying} {theirs}; make the "
                f"two files agree ({key})"
            )
