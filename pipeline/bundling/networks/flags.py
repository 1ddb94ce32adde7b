"""What flags say of a network that is scored as it was exported."""

from __future__ import annotations

from typing import Any

import pydantic

from pipeline.jobs.fields import MODEL, in_panel

ROLES = ("ids", "mask", "types")
KINDS = ("logits", "probabilities")
_model = in_panel(MODEL)


class ExportedFlags(pydantic.BaseModel):
    """The flags of `bert-batch import` that are about a SavedModel's own graph."""

    as_exported: bool = _model(
        False, description="Score a SavedModel's own graph, whatever its network; slower, in float32 only."
    )
    signature: str | None = _model(
        None, description="The signature that --as-exported scores; by default the one that serves."
    )
    inputs: tuple[str, ...] = in_panel(MODEL, separated=",")(
        (), description="ids=NAME,mask=NAME,types=NAME: what its inputs are, where their names do not say it."
    )
    outputs_are: str | None = _model(
        None, description="logits or probabilities, where no name says it; of several outputs NAME=logits."
    )

    @pydantic.field_validator("inputs", mode="before")
    @classmethod
    def _separated_inputs(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @pydantic.model_validator(mode="after")
    def _check_exported(self) -> Any:
        pairs = [part.partition("=") for part in self.inputs]
        odd = [f"{role}{is_}{name}" for role, is_, name in pairs if role not in ROLES or not name]
        roles, names = {role for role, _, _ in pairs}, {name for _, _, name in pairs}
        if odd or (pairs and ("ids" not in roles or not len(pairs) == len(roles) == len(names))):
            raise ValueError(
                f"--inputs {','.join(self.inputs)}: must be ids=NAME, and mask=NAME and types=NAME where the network "
                "has them, each once, separated by commas"
            )
        if self.outputs_are is not None and self.said_kind not in KINDS:
            raise ValueError(f"--outputs-are {self.outputs_are}: must be logits, probabilities, or NAME=one of the two")
        if not self.as_exported and (self.signature or self.inputs or self.outputs_are):
            raise ValueError("--signature, --inputs and --outputs-are are of --as-exported; give it too, or leave them")
        return self

    @property
    def wired(self) -> dict[str, str]:
        """`inputs` as a mapping of ids, mask and types to names."""
        return {role: name for role, _, name in (part.partition("=") for part in self.inputs)}

    @property
    def said_kind(self) -> str | None:
        """What `outputs_are` says: logits or probabilities."""
        return None if self.outputs_are is None else self.outputs_are.rpartition("=")[2]

    @property
    def said_output(self) -> str | None:
        """Of which output it says that."""
        return None if self.outputs_are is None else self.outputs_are.rpartition("=")[0] or None
