"""What the flags of an import say of a network, where its checkpoint does not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from model.checkpoints.checkpoint import Checkpoint
    from pipeline.bundling.import_job import ImportJob


def with_formula(job: ImportJob, checkpoint: Checkpoint) -> Checkpoint:
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
