"""What is measured, as files that say it without TensorFlow: programs, weights, rows, reference results.

The weights are not shipped: both sides draw the same numbers from the seed, and checksums prove it.
"""

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

CHECKED_ROWS = 16
"""So many rows of every result are compared with TensorFlow's; rows do not depend on each other."""
_FILE, _REFERENCES = "workload.json", "references.npz"

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The inputs of the exported function: int32 `[B, T]`, `[B]`, `[B]`."""

    tokens: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    first_segment: npt.NDArray[np.int32]

    def first(self, count: int) -> Self:
        return type(self)(**{name: array[:count] for name, array in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Program:
    """The function for one shape in one precision. Its rows have `shortest` to `width` tokens, as in production.

    `checksum` is the CRC-32 of its StableHLO.
    """

    precision: str
    rows: int
    width: int
    shortest: int
    checksum: int = 0

    @property
    def name(self) -> str:
        return f"{self.precision}-{self.rows}x{self.width}"

    @property
    def file(self) -> str:
        return f"{self.name}.stablehlo"

    def read(self, folder: Path) -> bytes:
        """Its StableHLO; raises ValueError if that is not what was exported with the workload."""
        serialized = (folder / self.file).read_bytes()
        if zlib.crc32(serialized) != self.checksum:
            raise ValueError(f"{folder / self.file} is not of the same export as {_FILE}; export again")
        return serialized


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One weight: uniform in `centre` ± `spread`. `checksum` is the CRC-32 of its float32 bytes."""

    name: str
    shape: tuple[int, ...]
    centre: float
    spread: float
    checksum: int = 0

    def values(self, seed: int) -> Array:
        # Exact up to two roundings of single operations: equal on every machine.
        unit = draw(seed, self.name, int(np.prod(self.shape))).astype(np.float32) * np.float32(2**-23) - np.float32(1)
        return (unit * np.float32(self.spread) + np.float32(self.centre)).reshape(self.shape)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """`config` is the model's BertConfig as a dict; `weights` come in the order in which the programs take them.

    `tensorflow` is the version that exported it. `token_budget` is production's; other budgets are tried in
    `curve_width`. `product` is the side of the square product that shows the device's matrix peak.
    """

    sizes: str
    seed: int
    tensorflow: str
    config: dict[str, Any]
    classes: int
    token_budget: int
    curve_width: int
    product: int
    programs: tuple[Program, ...]
    weights: tuple[Drawn, ...]

    @property
    def fingerprint(self) -> str:
        """Equal for the same programs, weights and rows."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def save(self, folder: Path, references: dict[int, Array]) -> None:
        """`references`: by width, the logits of the first CHECKED_ROWS rows of that width."""
        (folder / _FILE).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        np.savez(folder / _REFERENCES, **{str(width): logits for width, logits in references.items()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises ValueError for a folder that `export` did not write."""
        try:
            fields = json.loads((folder / _FILE).read_bytes())
        except FileNotFoundError:
            raise ValueError(
                f"{folder / _FILE} is not there; write it with `python -m benchmarks.gpu export {folder}`"
            ) from None
        fields["programs"] = tuple(Program(**program) for program in fields["programs"])
        fields["weights"] = tuple(Drawn(**{**weight, "shape": tuple(weight["shape"])}) for weight in fields["weights"])
        return cls(**fields)

    def draw_weights(self) -> dict[str, Array]:
        """Raises ValueError if a weight is not what it was where the workload was exported."""
        drawn = {}
        for weight in self.weights:
            drawn[weight.name] = values = weight.values(self.seed)
            if (found := checksum(values)) != weight.checksum:
                raise ValueError(
                    f"{weight.name}: drawn from seed {self.seed} its checksum is {found}, where it was exported "
                    f"{weight.checksum}; export and measure with the same version of benchmarks/gpu/workload.py"
                )
        return drawn

    def draw_rows(self, width: int, shortest: int, count: int) -> Rows:
        """`count` rows of `shortest` to `width` tokens, about half of them with two segments; more only adds rows."""
        tokens = draw(self.seed, f"tokens {width}", count * width) % np.uint32(self.config["vocab_size"])
        lengths = shortest + draw(self.seed, f"lengths {width}", count) % np.uint32(width - shortest + 1)
        first = 1 + draw(self.seed, f"first segment {width}", count) % (2 * lengths)
        return Rows(
            tokens=tokens.astype(np.int32).reshape(count, width),
            lengths=lengths.astype(np.int32),
            first_segment=np.minimum(first, lengths).astype(np.int32),
        )


def draw(seed: int, name: str, count: int) -> npt.NDArray[np.uint32]:
    """Whole numbers below 2**24. numpy promises the bits of a bit generator for ever, but no distribution's."""
    raw = np.random.PCG64([seed, zlib.crc32(name.encode())]).random_raw((count + 1) // 2)
    return raw.astype("<u8").view("<u4")[:count].astype(np.uint32) >> np.uint32(8)


def checksum(values: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(values, "<f4"))


def references(folder: Path) -> dict[int, Array]:
    """What `save` was given."""
    with np.load(folder / _REFERENCES) as stored:
        return {int(width): stored[width] for width in stored.files}


def difference(found: Array, expected: Array) -> float:
    """‖found - expected‖ by how much the expected rows differ from each other; NaN if anything is not finite."""
    checked = expected[: len(found)]
    spread = np.linalg.norm(expected - expected.mean(axis=0)) * np.sqrt(len(checked) / len(expected))
    return float(np.linalg.norm(found[: len(checked)].astype(np.float64) - checked) / spread + 0 * found.sum())


def flop(workload: Workload, rows: int, width: int, *, whole_last_layer: bool) -> float:
    """Operations in the products of the network; the exported function needs only [CLS] of the last layer."""
    config = workload.config
    hidden, inner, heads = config["hidden_size"], config["inner_dim"], config["num_attention_heads"]
    token = 2 * (4 * hidden**2 + 2 * hidden * inner) + 4 * width * hidden
    layer = rows * width * token
    # Query, key kernel, value kernel and output on one row; then heads x width x hidden twice.
    first_only = rows * (2 * (4 * hidden**2 + 2 * hidden * inner) + 4 * heads * width * hidden)
    head = rows * 2 * (hidden**2 + hidden * workload.classes)
    return float(layer * (config["num_layers"] - 1) + (layer if whole_last_layer else first_only) + head)
