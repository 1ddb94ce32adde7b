"""Two dates with values differ in what numpy finds of all of them at once."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.files.plain_comparison import Row, first, joined, side

from transforms.outputs.comparison import values as module
from transforms.outputs.comparison.compare import compare
from transforms.outputs.comparison.found import CHANGED, ONLY_A, ONLY_B, SHARES, Valued
from transforms.outputs.comparison.values import quantiles

MOST = 3
value = st.floats(-1e3, 1e3, width=32)
sides = st.lists(st.fixed_dictionaries({"id": st.text("ab1", max_size=3), "value": value}), max_size=25)


def compared(a: list[Row], b: list[Row], rows_at_once: int, gold: pa.DataType | None = None) -> Valued:
    with TemporaryDirectory() as folder:
        one = side(Path(folder) / "a", a, {"value": 0.0}, gold=gold)
        other = side(Path(folder) / "b", b, {"value": 0.0})
        more: dict[str, Any] = {} if gold is None else {"gold": "gold"}
        found = compare(one, other, max(len(a), len(b)), examples=MOST, rows_at_once=rows_at_once, **more)
    assert isinstance(found, Valued)
    return found


def correlation(one: Any, other: Any) -> float | None:
    return None if len(one) == 0 or np.ptp(one) == 0 or np.ptp(other) == 0 else float(np.corrcoef(one, other)[0, 1])


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 30), st.data())
def test_differences_of_value(a: list[Row], b: list[Row], rows_at_once: int, data: st.DataObject) -> None:
    right = {row["id"]: data.draw(st.none() | value) for row in a}
    a = [{**row, "gold": right[row["id"]]} for row in a]
    found = compared(a, b, rows_at_once, pa.float64())
    both, counts = joined(a, b)
    assert (found.ids.both, found.ids.only_a, found.ids.only_b, found.ids.repeated) == counts
    if not both:
        assert (found.quantiles, found.correlation) == ((), None)
        return
    one, other = (np.array([pair[place]["value"] for pair in both.values()]) for place in (0, 1))
    moved = dict(zip(both, (other - one).tolist(), strict=True))
    assert found.mean == pytest.approx(np.mean(other - one), abs=1e-9)
    assert found.rms == pytest.approx(np.sqrt(np.mean((other - one) ** 2)), abs=1e-9)
    ordered = np.sort((other - one).astype(np.float32))
    assert found.quantiles == tuple(ordered[max(1, int(np.ceil(share * len(ordered)))) - 1] for share in SHARES)
    if (expected := correlation(one, other)) is not None and min(np.ptp(one), np.ptp(other)) > 1e-3:
        assert found.correlation == pytest.approx(expected, abs=1e-6)
    assert [row.id for row in found.examples[CHANGED]] == first({i: abs(m) for i, m in moved.items() if m}, MOST)

    assert found.nearness is not None
    known = {id_: pair for id_, pair in both.items() if right[id_] is not None}
    errors = {id_: [abs(side["value"] - right[id_]) for side in pair] for id_, pair in known.items()}
    assert found.nearness.rows == len(known)
    if known:
        rms = [np.sqrt(np.mean([pair[place] ** 2 for pair in errors.values()])) for place in (0, 1)]
        assert [found.nearness.rms_a, found.nearness.rms_b] == pytest.approx(rms, abs=1e-9)
    nearer_a = {id_: pair[1] - pair[0] for id_, pair in errors.items() if pair[1] > pair[0]}
    nearer_b = {id_: pair[0] - pair[1] for id_, pair in errors.items() if pair[0] > pair[1]}
    assert (found.nearness.nearer_a, found.nearness.nearer_b) == (len(nearer_a), len(nearer_b))
    assert [row.id for row in found.examples[ONLY_A]] == first(nearer_a, MOST)
    assert [row.id for row in found.examples[ONLY_B]] == first(nearer_b, MOST)


def test_equal_values_have_no_correlation_and_no_differences() -> None:
    rows = [{"id": str(row), "value": 1.0} for row in range(5)]
    found = compared(rows, rows, 2)
    assert (found.mean, found.rms, found.correlation, found.examples[CHANGED]) == (0.0, 0.0, None, ())
    assert set(found.quantiles) == {0.0}


def test_sums_do_not_cancel_where_values_are_large() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(2, 4_000))
    one, other = 1e5 + noise[0], 1e5 + 0.5 * noise[0] + 0.5 * noise[1]
    a, b = ([{"id": str(row), "value": v} for row, v in enumerate(column)] for column in (one, other))
    expected = np.corrcoef(one.astype(np.float32).astype(float), other.astype(np.float32).astype(float))[0, 1]
    assert compared(a, b, 300).correlation == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50), st.integers(1, 7))
def test_quantiles_of_a_file_are_those_of_its_sorted_numbers(numbers: list[float], at_once: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", at_once)
        path = Path(folder) / "numbers"
        path.write_bytes(np.array(numbers, np.float32).tobytes())
        found = quantiles(str(path), (0.0, 0.25, 0.5, 1.0))
    ordered = sorted(numbers)
    assert found == tuple(ordered[max(1, int(np.ceil(share * len(ordered)))) - 1] for share in (0.0, 0.25, 0.5, 1.0))
