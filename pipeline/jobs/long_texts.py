"""The flags that say what becomes of long texts, of import and of training alike."""

from typing import Any, Literal

import pydantic

from model.long_texts import CUT, MAX, MAX_WINDOWS, MEAN, WINDOWS, LongTexts
from pipeline.errors import ConfigError
from pipeline.jobs.fields import TOKENIZER, in_panel

_tokenizer = in_panel(TOKENIZER)


class LongTextFlags(pydantic.BaseModel):
    """How a text with more than `max_tokens` is scored by the bundle that a job makes.

    `stride`, `windows_by` and `max_windows` are for windows; None: none in common, the mean, MAX_WINDOWS.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, defer_build=True)

    long_texts: Literal["cut", "tail", "head-tail", "windows"] = _tokenizer(
        CUT, description="Of longer texts: cut (the first tokens stay), tail, head-tail or windows (all are scored)."
    )
    stride: int | None = _tokenizer(None, ge=0, description="Tokens that neighbouring windows have in common; 0.")
    windows_by: Literal["mean", "max"] | None = _tokenizer(
        None, description="Result of all windows: mean of their logits, or max, the surest window; mean."
    )
    max_windows: int | None = _tokenizer(
        None, ge=1, le=1 << 16, description=f"Windows of a text; more are a dead letter; {MAX_WINDOWS}."
    )

    @pydantic.model_validator(mode="after")
    def _check_windows(self) -> Any:
        given = {"stride": self.stride, "windows-by": self.windows_by, "max-windows": self.max_windows}
        if self.long_texts != WINDOWS and (odd := [flag for flag, value in given.items() if value is not None]):
            raise ValueError(f"--{odd[0]} is for --long-texts windows, and long texts are {self.long_texts} here")
        return self

    def choose_long_texts(self, task: str, max_tokens: int, segments: int) -> LongTexts:
        """What the flags say, for a bundle of this task and length; raises ConfigError if it cannot be."""
        if self.windows_by == MAX and task == "regression":
            raise ConfigError(
                "--windows-by max: this is a regression, and no value is surer than another; leave the flag out for "
                "the mean of the windows"
            )
        found = LongTexts(
            how=self.long_texts,
            stride=self.stride or 0,
            by=self.windows_by or MEAN,
            max_windows=self.max_windows or MAX_WINDOWS,
        )
        try:
            found.check_fit(max_tokens, segments)
        except ValueError as error:
            flag = f"--long-texts {self.long_texts}"
            if segments == 1:
                flag = f"--max-tokens {max_tokens}" if self.stride is None else f"--stride {self.stride}"
            raise ConfigError(f"{flag}: {error}") from error
        return found
