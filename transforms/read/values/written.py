"""Typed values from text as people and programs write them: what `--schema` makes of a CSV field or a JSON string.

Nothing is rounded, wrapped or cut without a word: a text that is not a value of the type is null and marked. The one
exception is stated: digits of a time below a microsecond are cut.
"""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]
EXACT = float(1 << 53)
"""From here on not every whole number is a double."""
_WHOLE = r"^[+-]?[0-9]+(\.0*)?$"
_NUMBER = r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf|infinity|nan)$"
_SHORT_WHOLE = r"^(0|-?[1-9][0-9]*)$"
_SHORT_NUMBER = r"^-?(0|[1-9][0-9]*)(\.0|\.[0-9]*[1-9])?$"
# No Arrow arrays: the first one that is made of a list imports pandas, which takes a second.
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TIME = (
    r"^(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2})(?:(?P<seconds>:[0-9]{2})(?:[.,](?P<digits>[0-9]{1,9}))?)?)?"
    r" ?(?P<zone>Z|z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?$"
)
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_DAY_MICROS = 86_400_000_000


def parse(texts: pa.Array, kind: pa.DataType, *, exact: bool = False) -> tuple[pa.Array, Mask]:
    """Strings as `kind`, null where there is no such value, and a mask of those rows.

    Blanks around a value do not count, and nothing but blanks is null without being marked. `exact` takes only numbers
    that print as they are written: no leading zero, plus, exponent or superfluous zero.
    """
    trimmed = pc.ascii_trim(texts, " \t")
    present = pc.if_else(pc.equal(pc.binary_length(trimmed), 0), pa.scalar(None, pa.string()), trimmed)
    if pa.types.is_integer(kind):
        values = _parse_whole(present, kind, exact)
    elif pa.types.is_floating(kind):
        values = _parse_number(present, kind, exact)
    elif pa.types.is_boolean(kind):
        values = _parse_bool(present)
    elif pa.types.is_date32(kind):
        values = _parse_date(present)
    elif pa.types.is_timestamp(kind):
        values = _parse_time(present, kind)
    else:
        values = try_cast(present, kind)
    return values, _lost(present, values)


def prints_as_written(values: list[str]) -> pa.DataType:
    """int64 or float64 if every value that is not blank is such a number and prints as it is written, else string.

    Null if there is no value.
    """
    texts = pa.array(values, pa.string())
    # Of a column with nineteen digits nobody can tell whether the next value still is an int64.
    kinds = (pa.int64(), pa.float64()) if max(map(len, values), default=0) < 19 else (pa.float64(),)
    for kind in kinds:
        numbers, bad = parse(texts, kind, exact=True)
        if not bad.any():
            return kind if numbers.null_count < len(numbers) else pa.null()
    return pa.string()


def try_cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """`column` as `kind`, null where Arrow refuses: one cast checks everything, what it refuses is halved."""
    try:
        return column.cast(kind)
    except (pa.ArrowException, UnicodeDecodeError):
        if len(column) == 1:
            return pa.nulls(1, kind)
    half = len(column) // 2
    return pa.concat_arrays([try_cast(column.slice(0, half), kind), try_cast(column.slice(half), kind)])


def _lost(before: pa.Array, after: pa.Array) -> Mask:
    return pc.and_(before.is_valid(), after.is_null()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _only(texts: pa.Array, pattern: str) -> pa.Array:
    fits = pc.match_substring_regex(texts, pattern, ignore_case=True)
    return pc.if_else(fits, texts, pa.scalar(None, pa.string()))


def _parse_whole(texts: pa.Array, kind: pa.DataType, exact: bool) -> pa.Array:
    if exact:
        return try_cast(_only(texts, _SHORT_WHOLE), kind)
    # pandas writes whole numbers of a column with gaps as 5.0.
    digits = pc.replace_substring_regex(_only(texts, _WHOLE), r"^\+|\.0*$", "")
    return try_cast(digits, kind)


def _parse_number(texts: pa.Array, kind: pa.DataType, exact: bool) -> pa.Array:
    texts = _only(texts, _SHORT_NUMBER if exact else _NUMBER)
    numbers = pc.replace_substring_regex(texts, r"^\+", "").cast(pa.float64())
    doubtful = pc.greater_equal(pc.abs(numbers), EXACT)
    if exact:
        long = pc.greater(pc.binary_length(pc.replace_substring_regex(texts, r"^-?[0.]*|[.]", "")), 15)
        doubtful = pc.or_(pc.or_(doubtful, long), pc.equal(texts, "-0"))
    bad = _where(texts, doubtful, lambda text: not _is_double(text, exact))
    return pc.if_else(pa.array(bad), pa.scalar(None, kind), numbers.cast(kind))


def _where(texts: pa.Array, doubtful: pa.Array, test: Callable[[str], bool]) -> Mask:
    """Which texts pass `test`, which is asked of the doubtful ones only."""
    bad = np.zeros(len(texts), bool)
    for row in np.flatnonzero(pc.fill_null(doubtful, False).to_numpy(zero_copy_only=False)).tolist():
        bad[row] = test(texts[row].as_py())
    return bad


def is_whole_number_lost(text: str) -> bool:
    """Whether a number, as it is written, overflows a double, or is written in full and has digits no double holds."""
    lower = text.lower()
    if "inf" in lower or "nan" in lower:
        return False
    number = float(lower)
    if "e" in lower or number in (float("inf"), -float("inf")):
        return number in (float("inf"), -float("inf"))
    return abs(number) >= EXACT and Decimal(lower) != Decimal(number)


def _is_double(text: str, exact: bool) -> bool:
    if is_whole_number_lost(text):
        return False
    number = repr(float(text))
    return not exact or (text in (number, number.removesuffix(".0")) and text != "-0")


def _parse_bool(texts: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(texts)
    true, false = (pc.is_in(lower, pa.array(words)) for words in (_TRUE, _FALSE))
    return pc.if_else(pc.or_(true, false), true, pa.scalar(None, pa.bool_()))


def _parse_date(texts: pa.Array) -> pa.Array:
    days = try_cast(_only(texts, _DATE), pa.date32())
    return pc.if_else(pc.greater_equal(days.view(pa.int32()), _FIRST_DAY), days, pa.scalar(None, pa.date32()))


def _parse_time(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    found = pc.extract_regex(texts, _TIME)
    day, time, seconds, digits, zone = (
        pc.struct_field(found, name) for name in ("day", "time", "seconds", "digits", "zone")
    )
    time = pc.if_else(pc.equal(time, ""), "00:00", time)
    seconds = pc.if_else(pc.equal(seconds, ""), ":00", seconds)
    micros = pc.utf8_slice_codeunits(pc.utf8_rpad(digits, 6, "0"), 0, 6)
    # A time without a zone is UTC.
    zone = pc.if_else(pc.match_substring_regex(zone, r"^[+-]"), zone, "Z")
    spelled = pc.binary_join_element_wise(day, "T", time, seconds, ".", micros, zone, "")
    times = try_cast(spelled, pa.timestamp("us", "UTC"))
    return pc.if_else(pa.array(~out_of_years(times)), times, pa.scalar(None, times.type)).cast(kind)


def out_of_years(column: pa.Array) -> Mask:
    """Which dates or times (in UTC) lie outside the years 1 to 9999."""
    kind = column.type
    if pa.types.is_date32(kind):
        ticks, per_day = column.view(pa.int32()).cast(pa.int64()), 1
    else:
        unit = "ms" if pa.types.is_date64(kind) else kind.unit
        ticks, per_day = column.view(pa.int64()), _DAY_MICROS * 1_000 // _NANOS[unit]
    values = pc.fill_null(ticks, 0).to_numpy(zero_copy_only=False)
    first, after = _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day
    if kind == pa.timestamp("ns", getattr(kind, "tz", None)):
        return np.zeros(len(column), bool)  # 1677 to 2262.
    return (values < first) | (values >= after)  # type: ignore[no-any-return]


_NANOS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
