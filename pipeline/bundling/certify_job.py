"""CertifyJob: one validated description of what a precision is certified with."""

from typing import TYPE_CHECKING, Literal

import pydantic

from pipeline.jobs.column_types import GUESS, SchemaTypes, arrow_types, check_schema, declared
from pipeline.jobs.fields import INPUT, SCORING, in_panel
from pipeline.jobs.outputs import FolderPath
from pipeline.jobs.text_files import TextFiles

if TYPE_CHECKING:
    # With it comes Arrow, which --help and a wrong flag are not to wait for.
    from transforms.read.columns import ColumnsRequest

GOLD = "gold"
"""What the column of right labels is called on its way."""
ROWS = 5_000
"""Rows that are compared unless more are asked for."""
_input, _scoring, _argument = in_panel(INPUT), in_panel(SCORING), in_panel(SCORING, argument="")


class CertifyJob(TextFiles):
    """What `bert-batch certify` measures. Every field is a flag, and `bundle` is its argument.

    `precision` None: bfloat16 on a CPU, float16 on a GPU. `rows` rows at most are taken, evenly from all over
    the input.
    """

    bundle: FolderPath = _argument(description="Folder of the bundle, local or gs://.")
    input: tuple[str, ...] = _input(description="File, folder or pattern with texts of your own. Repeatable.")
    text_column: str = _input("text", description="Column with the text.")
    text_pair_column: str | None = _input(None, description="Column with the second text, for bundles of pairs.")
    label_column: str | None = _input(None, description="Column with the right label or value, if it is known.")
    format: str | None = _input(None, description="parquet, jsonl, csv, tsv or text; by default from the names.")
    schema_: SchemaTypes = _input(
        default_factory=dict, alias="schema", description="Type of text or label: name:type. Repeatable."
    )
    rows: int = _input(ROWS, ge=1, description="Rows to compare at most, from all over the input.")
    precision: Literal["bfloat16", "float16"] | None = _scoring(
        None, description="bfloat16 or float16; by default bfloat16 on a CPU, float16 on a GPU."
    )
    max_changed_labels: float = _scoring(
        0.01, gt=0, lt=1, description="Share of labels that may change; of a regression, RMS of the spread."
    )

    @pydantic.model_validator(mode="after")
    def _check(self) -> "CertifyJob":
        check_schema(self.schema_)
        return self

    def columns(self, task: str) -> "ColumnsRequest":
        """The text, and the right label of the task, as a training takes it."""
        from transforms.read.columns import ColumnsRequest

        kind = arrow_types()["string" if task == "classification" else "float64"]
        label = () if self.label_column is None else (self.label_column,)
        return ColumnsRequest(
            text=self.text_column,
            text_pair=self.text_pair_column,
            id=None,
            keep=label,
            rename=dict.fromkeys(label, GOLD),
            guess=GUESS in self.schema_,
            types={**dict.fromkeys(label, kind), **declared(self.schema_)},
        )
