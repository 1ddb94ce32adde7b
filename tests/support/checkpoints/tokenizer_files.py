"""tokenizer.json as Hugging Face writes it."""

from typing import Any

from model.tokenizer.tokenization import SPECIAL_TOKENS

TOKENS = [*SPECIAL_TOKENS, "a", "##b"]


def template(text: str) -> list[dict[str, Any]]:
    """`[CLS]:0 A:0` as a post_processor has it."""
    pieces = [piece.split(":") for piece in text.split()]
    kinds = ("SpecialToken", "Sequence")
    return [{kinds[len(name) == 1]: {"id": name, "type_id": int(number)}} for name, number in pieces]


SINGLE, PAIR = template("[CLS]:0 A:0 [SEP]:0"), template("[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1")


def settings_json(**changes: Any) -> dict[str, Any]:
    """tokenizer_config.json as transformers 5 writes it."""
    roles = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS}
    others = {"backend": "tokenizers", "tokenizer_class": "BertTokenizer", "tokenize_chinese_chars": True}
    return {"do_lower_case": True, "strip_accents": None, **others, **roles, **changes}


def tokenizer_json(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "added_tokens": [{"id": i, "content": token} for i, token in enumerate(SPECIAL_TOKENS)],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": SINGLE,
            "pair": PAIR,
            "special_tokens": {"[CLS]": {"ids": [2]}, "[SEP]": {"ids": [3]}},
        },
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "vocab": {token: i for i, token in enumerate(TOKENS)},
        },
    }
    for path, value in changes.items():
        *way, last = path.split("__")
        part = content
        for key in way:
            part = part[key]
        part[last] = value
    return content
