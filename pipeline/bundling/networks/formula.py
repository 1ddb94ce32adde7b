"""What flags say of a network, where its checkpoint does not: of an import, and of the encoder of a training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from model.checkpoints.checkpoint import Checkpoint


ASSUMED = ("activation:", "norm_first:")
"""How notes on what nobody said begin."""
HiddenActivation = Literal["gelu_tanh", "gelu_erf", "relu"]
OutputActivation = Literal["none", "sigmoid"]


def of_layers(value: Any) -> Any:
    """The value of --hidden-activation; raises ValueError for a name that means two functions."""
    if value == "gelu":
        raise ValueError(
            "gelu is gelu_tanh as Model Garden and google-research compute it, gelu_erf as Hugging Face does"
        )
    return value


def of_output(value: Any) -> Any:
    """The value of --activation; raises ValueError for what is said by another flag."""
    if isinstance(value, str) and value.startswith(("gelu", "relu")):
        raise ValueError(
            f"{value} is a function inside the encoder: --hidden-activation says it; this is of the one output"
        )
    return value


class Formula(Protocol):
    """A job that says what shows in no weight."""

    @property
    def hidden_activation(self) -> str | None: ...

    @property
    def norm_first(self) -> bool | None: ...


def with_formula(job: Formula, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with --hidden-activation and --norm-first in place of what would be assumed, and of its notes.

    Raises ConfigError where its files, or its makers, say otherwise.
    """
    asked = {"activation": job.hidden_activation, "norm_first": job.norm_first}
    changes: dict[str, Any] = {}
    for name, value in asked.items():
        found = getattr(checkpoint.config, name)
        if value is None:
            continue
        if name not in checkpoint.said_by:
            changes[name] = value
        elif value != found:
            flag = f"--hidden-activation {value}" if name == "activation" else f"--{'' if value else 'no-'}norm-first"
            raise ConfigError(
                f"{flag}: {name} of {checkpoint.origin} is {found} by {checkpoint.said_by[name]}; leave the flag out, "
                "or bring the file that belongs to the checkpoint"
            )
    notes = [note for note in checkpoint.notes if note.split(":")[0] not in changes]
    return dataclasses.replace(checkpoint, config=checkpoint.config.replace(**changes), notes=tuple(notes))
