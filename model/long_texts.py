"""What becomes of the tokens of a text that are more than a model takes. Knows no library: flags ask it too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CUT, TAIL, HEAD_TAIL, WINDOWS = "cut", "tail", "head-tail", "windows"
WAYS = (CUT, TAIL, HEAD_TAIL, WINDOWS)
MEAN, MAX = "mean", "max"
MAX_WINDOWS = 256
"""Windows of one text, unless more are asked for: at 128 tokens some 32,000 tokens, a short book."""
_OF_WINDOWS = ("stride", "by", "max_windows")


@dataclass(frozen=True, kw_only=True)
class LongTexts:
    """`how` a long text is made to fit: `cut` keeps its first tokens, `tail` its last, `head-tail` half of each (an odd
    token goes to the head), `windows` all of them, in windows that are scored one by one.

    Neighbouring windows have `stride` tokens in common. `by` says how their logits become those of the text: `mean`, or
    `max`, those of the window that is surest. A text with more than `max_windows` is not scored. Raises ValueError.
    """

    how: str = CUT
    stride: int = 0
    by: str = MEAN
    max_windows: int = MAX_WINDOWS

    def __post_init__(self) -> None:
        if self.how not in WAYS:
            raise ValueError(f"long texts are {self.how!r}; known are {', '.join(WAYS)}")
        if self.by not in (MEAN, MAX):
            raise ValueError(f"windows are folded by {self.by!r}; known are {MEAN} and {MAX}")
        for name, least in (("stride", 0), ("max_windows", 1)):
            if type(value := getattr(self, name)) is not int or value < least:
                raise ValueError(f"{name} of windows is {value!r}; it must be a number of at least {least}")

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> "LongTexts":
        """What the entry `long_texts` of a bundle says; raises ValueError for anything else."""
        known = {key: value for key, value in described.items() if key in ("how", *_OF_WINDOWS)}
        found = cls(**known)
        if found.described != dict(described):
            raise ValueError(f"long texts are described by {', '.join(map(repr, described))}, which is not known")
        return found

    @property
    def described(self) -> dict[str, Any]:
        """The entry `long_texts` of a bundle: empty where long texts are cut, as every bundle of format 1 to 4 does."""
        if self.how != WINDOWS:
            return {} if self.how == CUT else {"how": self.how}
        return {"how": self.how, **{key: getattr(self, key) for key in _OF_WINDOWS}}

    @property
    def windows(self) -> bool:
        """Whether a text may have several windows."""
        return self.how == WINDOWS

    def step(self, max_tokens: int) -> int:
        """How many tokens of the text lie between the beginnings of two windows of `max_tokens`."""
        return max_tokens - 2 - self.stride

    def check_fit(self, max_tokens: int, segments: int) -> None:
        """Raises ValueError if texts of this length cannot be made to fit so."""
        if self.how != CUT and segments != 1:
            raise ValueError(
                f"long texts are {self.how!r}, and a row is a pair of texts; which parts of two long texts belong "
                "together nobody knows: pairs are cut"
            )
        if self.windows and self.step(max_tokens) < 1:
            raise ValueError(
                f"windows of {max_tokens} tokens hold {max_tokens - 2} of the text, and {self.stride} of them would "
                "be those of the window before; give fewer"
            )
