"""The flags that say how text files are written, of scoring and of training alike."""

from typing import TYPE_CHECKING, Any

import pydantic

from pipeline.jobs.fields import INPUT, in_panel
from transforms.batches.formats import MAX_RECORD_LINES

if TYPE_CHECKING:
    from transforms.batches.dialect import Dialect

_input = in_panel(INPUT)


class TextFiles(pydantic.BaseModel):
    """How the CSV and TSV files of a job are written; `encoding` is of JSONL and plain text too.

    `quote` None means `"`. Where the delimiter is a tab it is not known, and a file that does not show it is refused.
    """

    # Built with the first job: --help needs the fields and no validator.
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, defer_build=True)

    delimiter: str | None = _input(None, description="Between the fields of CSV and TSV: a character, or tab.")
    quote: str | None = _input(None, description='Around fields: a character, or none; by default ", of TSV unknown.')
    escape: str | None = _input(None, description="Before a character that is text; by default none.")
    encoding: str = _input("utf-8", description="Of text files: utf-8, utf-16, latin-1, cp1252, ...")
    max_record_lines: int = _input(
        MAX_RECORD_LINES, ge=1, description="Lines of a quoted field at most; more are a dead letter."
    )

    @pydantic.model_validator(mode="after")
    def _check_dialect(self) -> Any:
        _ = self.dialect
        return self

    @property
    def dialect(self) -> "Dialect":
        """What the job says of its text files."""
        from transforms.batches.dialect import Dialect

        return Dialect(**{name: getattr(self, name) for name in TextFiles.model_fields})
