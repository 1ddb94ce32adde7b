"""tokenizer.json of Hugging Face's fast tokenizers: its vocabulary and options, if ours do the same with them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.checkpoints.json_files import read_json, require
from model.errors import CheckpointError
from model.tokenizer.tokenization import SPECIAL_TOKENS

_SINGLE = "[CLS]:0 A:0 [SEP]:0"
_TEMPLATES = {"single": _SINGLE, "pair": f"{_SINGLE} B:1 [SEP]:1"}
# The parts that decide about tokens -> what they must say, and what they may say besides.
_WANTED: dict[str, dict[str, Any]] = {
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    },
}
_ALSO = {"normalizer": {"lowercase", "strip_accents"}, "pre_tokenizer": set(), "model": {"vocab"}}
# What files from before an entry existed mean.
_UNSAID: dict[str, dict[str, Any]] = {"model": {"type": "WordPiece", "max_input_chars_per_word": 100}}


@dataclass(frozen=True, kw_only=True)
class TokenizerJson:
    """`tokens` by id, whether case is folded and accents stripped, and the `added` tokens with the ids they claim."""

    tokens: tuple[str, ...]
    lower_case: bool
    strips: bool
    added: tuple[tuple[str, Any], ...]


def read_tokenizer_json(file: Path, embeddings: int, beside: tuple[str, ...] | None = None) -> TokenizerJson:
    """Reads `file`; raises CheckpointError for everything in it that our tokenizers would compute otherwise.

    `beside` is the vocabulary of vocab.txt, which must be the same.
    """
    content = read_json(file)
    try:
        require(file, "", {"version": "1.0", **content}, {"version": "1.0"})
        for part, wanted in _WANTED.items():
            found = {**_UNSAID.get(part, {}), **(content.get(part) or {})}
            require(file, f"{part}.", found, wanted)
            _check_known(file, part, found)
        for part in ("truncation", "padding"):
            require(file, f"{part}.", {"direction": "Right", **(content.get(part) or {})}, {"direction": "Right"})
        tokens = _vocabulary(file, content["model"].get("vocab"), embeddings)
        if beside not in (None, tokens):
            raise CheckpointError(f"{file}: its vocabulary is not that of vocab.txt beside it; keep the right one only")
        _check_template(file, content.get("post_processor") or {}, tokens)
        lower_case, strips = _case_and_accents(file, content["normalizer"])
        added = check_added(file, content.get("added_tokens"))
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file}: is no tokenizer as Hugging Face writes it ({type(error).__name__}); restore it from its source"
        ) from error
    return TokenizerJson(tokens=tokens, lower_case=lower_case, strips=strips, added=added)


def check_tokens(file: Path, tokens: tuple[str, ...], embeddings: int) -> tuple[str, ...]:
    """A vocabulary by id, if a model of so many `embeddings` can have been made with it; raises CheckpointError."""
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


def check_added(file: Path, tokens: Any) -> tuple[tuple[str, Any], ...]:
    """The tokens that `file` adds to the vocabulary, with the ids it claims; raises CheckpointError for new ones."""
    added = tuple(_added(tokens))
    if odd := [token for token, _ in added if token not in SPECIAL_TOKENS]:
        raise CheckpointError(
            f"{file}: has {len(odd)} added tokens, first {odd[0]!r}; only {', '.join(SPECIAL_TOKENS)} can be scored. "
            "Use a model without added tokens"
        )
    return added


def _added(tokens: Any) -> Iterable[tuple[str, Any]]:
    """Content and id, None if unsaid: of a list, of `{"[CLS]": 2}`, of `{"2": {"content": "[CLS]"}}`."""
    if isinstance(tokens, dict):
        for key, value in tokens.items():
            if isinstance(value, dict):
                yield value.get("content", ""), int(key) if key.isdecimal() else None
            else:
                yield (key, value) if isinstance(value, int) else (value, None)
        return
    for token in tokens or []:
        yield (token.get("content", ""), token.get("id")) if isinstance(token, dict) else (token, None)


def _check_known(file: Path, part: str, found: Mapping[str, Any]) -> None:
    if odd := sorted(found.keys() - _WANTED[part].keys() - _ALSO[part]):
        raise CheckpointError(
            f"{file}: {part}.{odd[0]} is an option that no standard BERT tokenizer has: the tokens might differ. Use a "
            "model with a standard BERT tokenizer"
        )


def _vocabulary(file: Path, vocabulary: Any, embeddings: int) -> tuple[str, ...]:
    by_id = {number: token for token, number in (vocabulary or {}).items()}
    if len(by_id) != len(vocabulary or {}) or set(by_id) != set(range(len(by_id))):
        raise CheckpointError(
            f"{file}: model.vocab does not number its {len(vocabulary or {}):,} tokens from 0 on, each once; save it "
            "again"
        )
    return check_tokens(file, tuple(by_id[i] for i in range(len(by_id))), embeddings)


def _case_and_accents(file: Path, normalizer: Mapping[str, Any]) -> tuple[bool, bool]:
    lower_case = normalizer.get("lowercase")
    strips = lower_case if normalizer.get("strip_accents") is None else normalizer["strip_accents"]
    for key, value in (("lowercase", lower_case), ("strip_accents", strips)):
        if not isinstance(value, bool):
            raise CheckpointError(f"{file}: normalizer.{key} is {value!r}; it must be true or false")
    return bool(lower_case), bool(strips)


def _check_template(file: Path, found: Mapping[str, Any], tokens: tuple[str, ...]) -> None:
    """Which special tokens are set around a text and around a pair, under which numbers and type ids."""
    key = "post_processor."
    numbers = {token: tokens.index(token) for token in ("[CLS]", "[SEP]")}
    if found.get("type") == "BertProcessing":
        require(file, key, found, {"cls": ["[CLS]", numbers["[CLS]"]], "sep": ["[SEP]", numbers["[SEP]"]]})
        return
    require(file, key, found, {"type": "TemplateProcessing"})
    require(file, key, {part: _template(found.get(part)) for part in _TEMPLATES}, _TEMPLATES)
    special = found.get("special_tokens") or {}
    ids = {token: (special.get(token) or {}).get("ids") for token in numbers}
    require(file, f"{key}special_tokens.", ids, {token: [number] for token, number in numbers.items()})


def _template(pieces: Any) -> str:
    """`[CLS]:0 A:0 [SEP]:0`: token or text, and its type id."""
    parts = [part for piece in pieces or [] for part in piece.values()]
    return " ".join(f"{part['id']}:{part['type_id']}" for part in parts)
