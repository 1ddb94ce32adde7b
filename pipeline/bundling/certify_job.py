"""CertifyJob and QuantizeJob: what is done to a bundle with rows of one's own, each in one validated description."""

import os
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from pipeline.jobs.column_types import GUESS, SchemaTypes, arrow_types, check_schema, declared
from pipeline.jobs.fields import BUNDLE, INPUT, SCORING, in_panel
from pipeline.jobs.outputs import FolderPath, check_new_bundle
from pipeline.jobs.text_files import TextFiles

if TYPE_CHECKING:
    # With it comes Arrow, which --help and a wrong flag are not to wait for.
    from transforms.read.columns import ColumnsRequest

GOLD = "gold"
"""What the column of right labels is called on its way."""
ROWS = 5_000
"""Rows that are compared unless more are asked for."""
_input, _scoring, _argument = in_panel(INPUT), in_panel(SCORING), in_panel(SCORING, argument="")
_bundle = in_panel(BUNDLE)


class SampleJob(TextFiles):
    """A bundle, and rows with texts such as it scores. Every field is a flag, and `bundle` is the argument."""

    bundle: FolderPath = _argument(description="Folder of the bundle, local or gs://.")
    input: tuple[str, ...] = _input(description="File, folder or pattern with texts of your own. Repeatable.")
    text_column: str = _input("text", description="Column with the text.")
    text_pair_column: str | None = _input(None, description="Column with the second text, for bundles of pairs.")
    format: str | None = _input(None, description="parquet, jsonl, csv, tsv or text; by default from the names.")
    schema_: SchemaTypes = _input(
        default_factory=dict, alias="schema", description="Type of text or label: name:type. Repeatable."
    )

    @pydantic.model_validator(mode="after")
    def _check_types(self) -> Any:
        check_schema(self.schema_)
        return self

    @property
    def labelled_by(self) -> tuple[str, ...]:
        """The column with the right label, if there is one."""
        return ()

    def columns(self, task: str) -> "ColumnsRequest":
        """The text, and the right label of the task where there is one, as a training takes it."""
        from transforms.read.columns import ColumnsRequest

        kind = arrow_types()["string" if task == "classification" else "float64"]
        label = self.labelled_by
        return ColumnsRequest(
            text=self.text_column,
            text_pair=self.text_pair_column,
            id=None,
            keep=label,
            rename=dict.fromkeys(label, GOLD),
            guess=GUESS in self.schema_,
            types={**dict.fromkeys(label, kind), **declared(self.schema_)},
        )


class CertifyJob(SampleJob):
    """What `bert-batch certify` measures.

    `precision` None: bfloat16 on a CPU, float16 on a GPU. `rows` rows at most are taken, evenly from all over
    the input.
    """

    label_column: str | None = _input(None, description="Column with the right label or value, if it is known.")
    rows: int = _input(ROWS, ge=1, description="Rows to compare at most, from all over the input.")
    precision: Literal["bfloat16", "float16", "int8"] | None = _scoring(
        None, description="bfloat16, float16 or int8; by default bfloat16 on a CPU, float16 on a GPU."
    )
    max_changed_labels: float = _scoring(
        0.01, gt=0, lt=1, description="Share of labels that may change; of a regression, RMS of the spread."
    )

    @property
    def labelled_by(self) -> tuple[str, ...]:
        """The column with the right label, if the job names one."""
        return () if self.label_column is None else (self.label_column,)


class QuantizeJob(SampleJob):
    """What `bert-batch quantize` makes. `rows` rows at most are looked at, evenly from all over the input."""

    output: str = _bundle(description="Folder for the new bundle; it must not exist.")
    rows: int = _input(300, ge=1, description="Rows to look at, from all over the input.")

    @pydantic.model_validator(mode="after")
    def _check_output(self) -> Any:
        check_new_bundle(self.output)
        if f"{os.path.abspath(self.output)}/".startswith(f"{self.bundle}/"):
            raise ValueError(f"--output {self.output!r}: lies in the bundle {self.bundle}; choose a folder beside it")
        return self
