"""Whether a column can be the labels of a training, by its type: before a row is read."""

import pyarrow as pa

from transforms.errors import PlanError, shown
from transforms.read.values.convert import convertible
from transforms.read.values.kinds import plain


def check_label(found: pa.Field, kind: pa.DataType | None, file: str, *, listed: bool) -> None:
    """Raises PlanError for a column whose values are no labels of a training that takes `kind`."""
    if _is_list(plain(found.type)):
        if listed:
            return
        what = "a label is one string, number or boolean; lists are for --task multilabel without --label-separator"
    elif pa.types.is_nested(plain(found.type)):
        what = f"a label is one string, number or boolean{', or a list of these' if listed else ''}"
    elif kind is not None and not convertible(plain(found.type), kind):
        what = f"of which no {kind} can be made; for classes leave --task regression out"
    else:
        return
    raise PlanError(f"{file}: label column {shown(found.name)} is {found.type}: {what}, or choose with --label-column")


def _is_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind)
    if not (lists or pa.types.is_large_list_view(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    # Bytes in lists are checked for UTF-8 by nobody, and would be labels with escapes in them.
    inside = plain(kind.value_type)
    return not (pa.types.is_nested(inside) or pa.types.is_binary(inside) or pa.types.is_fixed_size_binary(inside))
