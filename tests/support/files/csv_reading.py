"""The rows of a CSV or TSV by position, read without a plan."""

import io
from typing import Any

from transforms.batches.dialect import Dialect
from transforms.read.formats.delimited import read_blocks
from transforms.runs.plan import Piece


def read(
    content: bytes, wanted: tuple[str, ...] = ("id", "text", "n"), kind: str = "csv", **dialect: Any
) -> dict[int, Any]:
    """row -> its values or its code; asserts that each covered row has one of them, once."""
    piece = Piece(number=0, file="f", size=len(content), version="", format=kind)
    found: list[tuple[int, Any]] = []
    covered: list[int] = []
    for block in read_blocks(io.BytesIO(content), piece, wanted, Dialect(**dialect)):
        found += zip(block.positions.tolist(), (tuple(r.values()) for r in block.rows.to_pylist()), strict=True)
        found += [(int(at), damage.code) for damage in block.damage for at in damage.positions]
        covered += block.covered.tolist()
    assert sorted(covered) == sorted(at for at, _ in found) == list(range(len(covered)))
    return dict(found)
