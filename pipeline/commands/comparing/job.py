"""CompareJob: which two published dates are compared, and by what."""

from typing import Any

import pydantic

from pipeline.jobs.fields import INPUT, OUTPUT, in_panel

_argument, _input, _output = in_panel(INPUT, argument=""), in_panel(INPUT), in_panel(OUTPUT)


class CompareJob(pydantic.BaseModel):
    """What `bert-batch compare` compares. `a` and `b`: an output, or the folder `dt=YYYY-MM-DD` of one of its dates."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, defer_build=True)

    a: str = _argument(min_length=1, description="An output, or the folder dt=<date> in it; local or gs://.")
    b: str = _argument(min_length=1, description="What it is compared with, named in the same way.")
    date: str | None = _input(None, description="Date of an output; by default the newest that both have.")
    label_column: str | None = _input(None, description="Kept column with the right label or value, if it is known.")
    label_separator: str | None = _input(
        None, min_length=1, description="Of several labels in one string: stands between them."
    )
    examples: int = _output(10, ge=0, le=1_000, description="Ids to show of each kind of difference.")
    html: str | None = _output(None, description="File for the whole comparison as one page, ending in .html.")

    @pydantic.model_validator(mode="after")
    def _check_html(self) -> Any:
        # So that no file of an output is replaced by a slip.
        if self.html is not None and not self.html.endswith((".html", ".htm")):
            raise ValueError(f"--html {self.html!r}: does not end in .html; give the name of a page")
        return self
