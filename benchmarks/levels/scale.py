"""How much a benchmark does, and what the engines of others are called."""

from dataclasses import dataclass

from transforms.score.engines.chips import find_chip

ENGINES = {"onnx_runtime": "ONNX Runtime", "openvino": "OpenVINO float32", "pytorch": "PyTorch + transformers"}
HALF_ENGINES = {"openvino_default": "OpenVINO as it comes"}
"""On chips with instructions for bfloat16 they compute in it."""
EIGHT = {"onnx_runtime_int8": "ONNX Runtime, dynamic int8"}


def lacks_amx() -> str | None:
    """What this machine lacks for the limits in bfloat16; None if they can be measured."""
    chip = find_chip()
    return None if chip.kind == "amx" else f"needs AMX; this chip is of class {chip.kind}"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much a benchmark does. `model` is the name of the large model in benchmarks.workloads.models.MODELS.

    Without `with_torch` the contestants whose model PyTorch exports are left out.
    """

    model: str = "base"
    shapes: tuple[tuple[int, int], ...] = ((8, 128), (64, 16), (32, 128), (8, 512))
    step_rounds: int = 7
    kin: tuple[str, ...] = ("electra", "distilbert")
    token_rounds: int = 5
    token_rows: int = 10_000
    host: tuple[tuple[str, int | None], ...] = (("banking77_200k", None), ("imdb", None), ("banking77", None))
    host_rounds: int = 5
    budgets: tuple[int, ...] = (512, 1_024, 2_048, 4_096, 8_192)
    budget_rounds: int = 3
    job_rows: int | None = None
    job_rounds: int = 2
    half_rounds: int = 5
    part_rows: int = 80
    part_rounds: int = 2
    growth_rows: int = 12_500
    growth_rounds: int = 3
    start_rounds: int = 5
    memory_rows: int = 200
    hour_rounds: int = 3
    hour_share: int = 1
    command_warm_up: bool = True
    with_torch: bool = True
