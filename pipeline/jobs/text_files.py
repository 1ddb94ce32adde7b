"""The flags that say how text files are written, of scoring and of training alike."""

from typing import Any

import pydantic

from transforms.batches.dialect import MAX_RECORD_LINES, Dialect


class TextFiles(pydantic.BaseModel):
    """How the CSV and TSV files of a job are written; `encoding` is of JSONL and plain text too.

    `quote` None: `"`, but where the delimiter is a tab nobody knows, and a file that leaves it open is refused.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str = "utf-8"
    max_record_lines: int = pydantic.Field(default=MAX_RECORD_LINES, ge=1)

    @pydantic.model_validator(mode="after")
    def _check_dialect(self) -> Any:
        _ = self.dialect
        return self

    @property
    def dialect(self) -> Dialect:
        """What the job says of its text files."""
        return Dialect(**{name: getattr(self, name) for name in TextFiles.model_fields})
