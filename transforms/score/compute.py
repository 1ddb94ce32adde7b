"""How scoring uses the machine. Plain values: a job is described without TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from model.bundle import TENSORFLOW


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How scoring uses the machine.

    `token_budget` and `precision` None: by device; `engine` is what computes, or ends the run where it cannot, and
    where the chips are of another class than `chip` (None: of any);
    `progress` is the file through which local workers tell how far they are; `heartbeats` the folder for their
    heartbeats, if a listener is there. `hints` are Beam's resource hints for the workers that score
    (`accelerator`, `min_ram`); with `needs_gpu` a worker without one does not score. `embeddings`: each row gets the
    embedding too, which the graph computes in any case.
    """

    token_budget: int | None = None
    precision: str | None = None
    engine: str = TENSORFLOW
    chip: str | None = None
    embeddings: bool = False
    progress: str | None = None
    heartbeats: str | None = None
    hints: Mapping[str, str] = field(default_factory=dict)
    needs_gpu: bool = False

    def __post_init__(self) -> None:
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"--token-budget is {self.token_budget}; it must be at least 1")
