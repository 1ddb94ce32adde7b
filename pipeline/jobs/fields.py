"""What a field of a job says about its flag besides name, type and default: the panel of `--help`, and its form."""

from collections.abc import Callable
from typing import Any

import pydantic

INPUT, OUTPUT, NIGHTS, SCORING, WHERE = "Input", "Output", "Nights", "Scoring", "Where it runs"
MODEL, TOKENIZER, TRAINING, BUNDLE = "Model", "Tokenizer", "Training", "Bundle"
PANELS = ("Arguments", "Options", INPUT, OUTPUT, NIGHTS, MODEL, TOKENIZER, TRAINING, SCORING, BUNDLE, WHERE)
"""All panels in the order in which they are shown; `Options` has what is no field of a job."""


def in_panel(panel: str, **form: str) -> Callable[..., Any]:
    """`pydantic.Field` for a field whose flag stands in `panel`. A form says how the flag differs from the field.

    `pairs="="`: a mapping; each flag gives one pair. `separated=","`: a list in one flag. `argument`: not a flag but a
    positional argument, shown by that name.
    """

    def field(*default: Any, **said: Any) -> Any:
        return pydantic.Field(*default, json_schema_extra={"panel": panel, **form}, **said)

    return field
