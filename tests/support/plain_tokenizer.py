"""BERT's tokenization one character at a time, as two makers do it: what the graph is held against.

Written from the makers' descriptions (reference, data.md section 5, bert_classifier_semantics.md section 5).
`benchmarks/workloads/tokenizer_truth.py` checked both against their makers on every code point and on random
texts.
"""

import json
import sys
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path

# Not by support.commands: the peers' environment, in which the truth is made, has no Beam.
TRUTH = Path(__file__).resolve().parent.parent / "data" / "tokenizer" / "makers.json"
CJK = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
# What Unicode 15.0 and 15.1 assigned, that is Python 3.12 and 3.13; no other code point changed between 14 and 15.1.
SINCE_UNICODE_14 = (
    "CF3 ECE 2FFC-2FFF 31EF 10EFD-10EFF 1123F-11241 11B00-11B09 11F00-11F10 11F12-11F3A 11F3E-11F59 1342F 13439-13455 "
    "1B132 1B155 1D2C0-1D2D3 1DF25-1DF2A 1E030-1E06D 1E08F 1E4D0-1E4F9 1F6DC 1F774-1F776 1F77B-1F77F 1F7D9 1FA75-1FA77 "
    "1FA87-1FA88 1FAAD-1FAAF 1FABB-1FABD 1FABF 1FACE-1FACF 1FADA-1FADB 1FAE8 1FAF7-1FAF8 2B739 2EBF0-2EE5D 31350-323AF"
)
# Name -> whether case is folded and whether accents are stripped. The maker of Hugging Face has all four.
CASES = {
    "uncased": (True, True),
    "cased": (False, False),
    "uncased with accents": (True, False),
    "cased without accents": (False, True),
}
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
BLOCK = 4096


class GoogleResearch:
    """google-research/bert on Unicode 14, which is that of Python 3.11."""

    longest = 200

    def is_dropped(self, c: str) -> bool:
        return c == "\ufffd" or (category(c) in ("Cc", "Cf") and c not in "\t\n\r")

    def is_cjk(self, c: str) -> bool:
        return any(first <= ord(c) <= last for first, last in CJK)

    def is_punctuation(self, c: str) -> bool:
        ascii_ = c.isascii() and c.isprintable() and not c.isalnum() and c != " "
        return ascii_ or category(c).startswith("P")

    def folded(self, word: str, lower_case: bool, strips: bool) -> str:
        assert strips == lower_case, "its rules have no such option"
        if not lower_case:
            return word
        decomposed = unicodedata.normalize("NFD", word.lower())
        return "".join(c for c in decomposed if category(c) != "Mn")


class Fast:
    """The fast tokenizers of Hugging Face, which have a Unicode of their own: `tables` as in makers.json."""

    longest = 100

    def __init__(self, tables: Mapping[str, str]) -> None:
        self._dropped, self._cjk, self._marks, self._punctuation, self._ordered, self._whole = (
            members(tables[name]) for name in ("dropped", "cjk", "marks", "punctuation", "ordered", "undecomposed")
        )
        self._lowered = dict(pair.split(">") for pair in tables["lowered"].split())

    def is_dropped(self, c: str) -> bool:
        return c in self._dropped

    def is_cjk(self, c: str) -> bool:
        return c in self._cjk

    def is_punctuation(self, c: str) -> bool:
        return c in self._punctuation

    def folded(self, word: str, lower_case: bool, strips: bool) -> str:
        kept = self._stripped(word) if strips else word
        return "".join(self._lowered.get(c, c.lower()) for c in kept) if lower_case else kept

    def _stripped(self, word: str) -> str:
        decomposed: list[str] = []
        for c in word:
            for part in c if c in self._whole else unicodedata.normalize("NFD", c):
                place = len(decomposed)
                while place and 0 < self._order(part) < self._order(decomposed[place - 1]):
                    place -= 1
                decomposed.insert(place, part)
        return "".join(c for c in decomposed if c not in self._marks)

    def _order(self, c: str) -> int:
        return unicodedata.combining(c) if c in self._ordered else 0


Maker = GoogleResearch | Fast


@cache
def makers() -> dict[str, Maker]:
    """The maker of each flavour."""
    return {"huggingface": Fast(json.loads(TRUTH.read_text(encoding="utf-8"))), "google_research": GoogleResearch()}


def token_ids(
    text: str, vocabulary: Mapping[str, int], maker: Maker, *, lower_case: bool, strip_accents: bool | None = None
) -> list[int]:
    """Ids without special tokens; accents go with the case unless said."""
    strips = lower_case if strip_accents is None else strip_accents
    found = words(text, maker, lower_case, strips)
    return [piece for word in found for piece in _pieces(word, vocabulary, maker.longest)]


def words(text: str, maker: Maker, lower_case: bool, strips: bool) -> Iterator[str]:
    """The words and punctuation marks of a text."""
    kept = (c for c in text if not maker.is_dropped(c))
    for word in "".join(f" {c} " if maker.is_cjk(c) else c for c in kept).split():
        folded = maker.folded(word, lower_case, strips)
        yield from "".join(f" {c} " if maker.is_punctuation(c) else c for c in folded).split()


def _pieces(word: str, vocabulary: Mapping[str, int], longest: int) -> list[int]:
    found: list[int] = []
    start = 0
    while start < len(word) <= longest:
        prefix = "##" if start else ""
        end = next((e for e in range(len(word), start, -1) if prefix + word[start:e] in vocabulary), start)
        if end == start:
            break
        found.append(vocabulary[prefix + word[start:end]])
        start = end
    return found if start == len(word) else [vocabulary["[UNK]"]]


def members(ranges: str) -> frozenset[str]:
    """The characters of ranges such as `300-36F 483`."""
    bounds = [part.split("-") for part in ranges.split()]
    return frozenset(chr(c) for ends in bounds for c in range(int(ends[0], 16), int(ends[-1], 16) + 1))


_UNASSIGNED = members(SINCE_UNICODE_14)


def category(c: str) -> str:
    """The category of a character in Unicode 14, on every Python."""
    return "Cn" if c in _UNASSIGNED else unicodedata.category(c)


def patterns(code_point: int) -> tuple[str, str, str]:
    """The texts in which a code point is tried."""
    c = chr(code_point)
    return f"a{c}b", c, f" {c} "


def letters_vocabulary() -> list[str]:
    """A vocabulary of single letters, at the start of a word and later: whatever case folding changes or gives.

    And some of those that the makers and the kernels take differently.
    """
    letters = set("ab\u061d\u1b4e\u2e43\u166d\u1abf\u0264\ua7cb\U000111c9\U00011938\U0001e944\U0001e94a\U0002b820")
    letters |= set("\u1c89\u1c8a\U00010d50\U00010d70\U00040000\U00040001\U0001fae9\ue000\uffff")
    for c in map(chr, (c for c in CODE_POINTS if c < 0x10500 and not 0xAC00 <= c < 0xD7A4)):
        folded = unicodedata.normalize("NFD", c.lower())
        letters |= {c, *folded} if folded != c else set()
    ordered = sorted(letters - set(" \t\n\r"))
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ordered, *(f"##{letter}" for letter in ordered)]


def digest(ids: Iterable[int]) -> str:
    """One of the numbers of a block of code points."""
    found = array("I", ids)
    if sys.byteorder == "big":
        found.byteswap()
    return blake2b(found.tobytes(), digest_size=8).hexdigest()


def blocks() -> Iterator[list[int]]:
    """The code points, 4,096 at a time."""
    for start in range(0, 0x110000, BLOCK):
        if found := [c for c in range(start, start + BLOCK) if not 0xD800 <= c < 0xE000]:
            yield found
