"""BERT's tokenization as Hugging Face does it, one character at a time: what the graph is held against.

Written from the description in the reference (data.md section 5, bert_classifier_semantics.md section 5) and checked
against the stored ids of the vectors.
"""

import unicodedata
from collections.abc import Iterator, Mapping

CJK = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


def token_ids(text: str, vocabulary: Mapping[str, int], *, lower_case: bool) -> list[int]:
    """Ids without special tokens."""
    return [piece for word in words(text, lower_case) for piece in _pieces(word, vocabulary)]


def words(text: str, lower_case: bool) -> Iterator[str]:
    """The words and punctuation marks of a text."""
    spaced = "".join(map(_cleaned, text))
    for word in spaced.split():
        if lower_case:
            decomposed = unicodedata.normalize("NFD", word.lower())
            word = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
        yield from "".join(f" {c} " if _is_punctuation(c) else c for c in word).split()


def _cleaned(c: str) -> str:
    if c in "\t\n\r" or unicodedata.category(c) == "Zs":
        return " "
    if c == "\ufffd" or unicodedata.category(c).startswith("C"):
        return ""
    return f" {c} " if any(first <= ord(c) <= last for first, last in CJK) else c


def _is_punctuation(c: str) -> bool:
    return (c.isascii() and c.isprintable() and not c.isalnum() and c != " ") or unicodedata.category(c).startswith("P")


def _pieces(word: str, vocabulary: Mapping[str, int]) -> list[int]:
    found: list[int] = []
    start = 0
    while start < len(word) <= 100:
        prefix = "##" if start else ""
        end = next((e for e in range(len(word), start, -1) if prefix + word[start:e] in vocabulary), start)
        if end == start:
            break
        found.append(vocabulary[prefix + word[start:end]])
        start = end
    return found if start == len(word) else [vocabulary["[UNK]"]]
