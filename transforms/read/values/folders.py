"""Folder columns: `country=de/part-0.parquet` has a column `country`, as Hive and Spark write it."""

import posixpath
from urllib.parse import unquote_to_bytes

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.schemas import Columns
from transforms.batches.texts import as_binary, as_text, is_text
from transforms.read.formats.blocks import Block, Damage
from transforms.read.values.convert import convert
from transforms.runs.plan import Folders, Piece
from transforms.stores.paths import SCHEME, absolute

NULL = "__HIVE_DEFAULT_PARTITION__"
"""What Hive and Spark write for a null."""


def folders_of(path: str, unnamed: str = "") -> Folders:
    """Keys and values of the folders in the path of a file, in order; those of the folder `unnamed` do not count.

    Both are percent-decoded as UTF-8; what cannot be decoded stays as it is.
    """
    inside = path.removeprefix(unnamed.rstrip("/") + "/") if unnamed else path
    pairs = [folder.split("=", 1) for folder in inside.split("/")[:-1] if folder.find("=") > 0]
    return tuple((_decoded(key), None if value == NULL else _decoded(value)) for key, value in pairs)


def unnamed_part(pattern: str) -> str:
    """The folder that a relative pattern starts from, which it does not name; empty for an absolute one."""
    if SCHEME.match(pattern) or pattern.startswith("/"):
        return ""
    levels = posixpath.normpath(pattern).split("/")
    return absolute("/".join([".", *(level for level in levels if level == "..")]))


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        return text


def attach(block: Block, piece: Piece, columns: Columns) -> Block:
    """A block with the wanted folder columns of its piece, as text.

    Where the file has a column of the same name, that one is taken, with the folder's value in place of nulls. A row in
    which it has another value becomes damage.
    """
    rows, bad, reasons = block.rows, np.zeros(len(block.positions), bool), list[Damage]()
    for key, value in piece.folders:
        if key not in columns.wanted:
            continue
        at = rows.schema.get_field_index(key)
        of_folder = pa.repeat(pa.scalar(value, pa.string()), len(block.positions))
        if at < 0:
            rows = rows.append_column(key, of_folder)
            continue
        column, other = _filled(rows.column(at), value)
        # As text: if it does not fit its column, it is counted there.
        column = of_folder if column.null_count == len(column) else column
        rows = rows.set_column(at, key, column)
        if (other & ~bad).any():
            reason = f"the value of {key!r} is another one than that of its folder"
            reasons.append(Damage(block.positions[other & ~bad], "wrong_folder", reason))
            bad |= other
    if not bad.any():
        return block._replace(rows=rows)
    return block._replace(
        rows=rows.filter(pa.array(~bad)), positions=block.positions[~bad], damage=[*block.damage, *reasons]
    )


def _filled(column: pa.Array, value: str | None) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """A column with the value of its folder in place of nulls, and which rows have another value."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    text = is_text(column.type)
    written = as_binary(column if text else as_text(column))
    # Hive writes rows with an empty text into the folder of nulls too.
    same = pc.equal(written, pa.scalar((value or "").encode(), pa.binary()))
    if text and value is not None:
        column = pc.fill_null(written, value.encode())
    elif value is not None and not pa.types.is_nested(column.type):
        parsed, unfit = convert(pa.array([value]), column.type)
        if not unfit[0] and parsed[0].is_valid:
            same = pc.or_(same, pc.equal(column, parsed[0]))
            column = pc.fill_null(column, parsed[0])
    return column, ~pc.fill_null(same, True).to_numpy(zero_copy_only=False)
