"""What is drawn: coordinates against the numbers, scales with round ticks, nothing unescaped."""

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.terminal.pages.nights.drawing.plots import (
    BARS,
    BOUND,
    HEIGHT,
    LINE,
    STEP,
    Places,
    Plot,
    Scale,
    Series,
    plot,
    scale_of,
    ticks_along,
)

numbers = st.floats(-1e12, 1e12, allow_nan=False)


TO_TEN = Scale(0, 10, 2)


def drawn(values: list[float | None], kind: str = LINE, scale: Scale = TO_TEN, **places: object) -> Plot:
    told = [f"place {number}" for number in range(len(values))]
    return plot(
        Places(told=told, ticks=(), **places),  # type: ignore[arg-type]
        [Series(kind, values)],
        scale,
        ["0"] * (scale.steps + 1),
        "what it shows",
    )


def paths(found: Plot, kind: str) -> list[str]:
    root = ET.fromstring(str(found.svg))
    return [path.attrib["d"] for path in root.iter("path") if path.attrib["class"] == kind]


@given(st.lists(st.none() | numbers, max_size=20), st.booleans())
def test_a_scale_has_all_values_between_round_ticks(values: list[float | None], from_zero: bool) -> None:
    scale = scale_of(values, from_zero=from_zero)
    there = [value for value in values if value is not None]
    reach = (scale.high - scale.low) * 1e-6
    assert scale.low < scale.high
    assert all(scale.low - reach <= value <= scale.high + reach for value in there)
    assert not from_zero or scale.low <= 0 <= scale.high
    assert 1 <= scale.steps <= 12
    assert len(scale.ticks) == scale.steps + 1
    step = scale.ticks[1] - scale.ticks[0]
    digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
    if len({*there}) > 1:
        assert min(abs(digits - one) for one in (1, 2, 2.5, 5, 10)) < 1e-3


@pytest.mark.parametrize(("longest", "step"), [(2, 1), (40, 15), (85, 30), (200, 120), (9_000, 3_600)])
def test_times_have_ticks_as_clocks_have(longest: float, step: float) -> None:
    scale = scale_of([0, longest], from_zero=True, seconds=True)
    assert scale.ticks[1] - scale.ticks[0] == step
    assert scale.high >= longest


def test_a_line_goes_through_the_values_and_stops_at_a_gap() -> None:
    found = drawn([0, 5, None, 10, 2.5])
    assert paths(found, "line") == [f"M5 {HEIGHT}L15 50M35 0L45 75"]


def test_a_date_without_neighbours_is_a_dot() -> None:
    assert paths(drawn([None, 5, None]), "dot") == ["M15 50h0"]
    assert paths(drawn([None, 5, None], BOUND), "alone bound") == ["M15 50h0"]


def test_bars_stand_on_zero_and_the_chosen_one_is_lifted_out() -> None:
    found = drawn([10, None, 5], BARS, chosen=2)
    assert paths(found, "bars") == ["M0.6 100V0H9.4V100z"]
    assert paths(found, "bars now") == ["M20.6 100V50H29.4V100z"]
    below = drawn([-5.0], BARS, Scale(-10, 10, 4))
    assert paths(below, "bars") == ["M0.6 50V75H9.4V50z"]


def test_places_beyond_a_bound_have_a_mark_of_their_own() -> None:
    found = drawn([1, 9, 2], over=frozenset([1]))
    assert paths(found, "dot over") == ["M15 10h0"]


def test_steps_go_along_each_place() -> None:
    assert paths(drawn([0, 10], steps=True), "line") == ["M0 100V100H10V0H20V100"]


def test_each_place_has_its_words_below_the_pointer() -> None:
    root = ET.fromstring(str(drawn([1, 2, None]).svg))
    rects = list(root.iter("rect"))
    assert [rect.attrib["x"] for rect in rects] == ["0", str(STEP), str(2 * STEP)]
    assert [rect.findtext("title") for rect in rects] == ["place 0", "place 1", "place 2"]
    assert root.attrib["aria-label"] == "what it shows"


@pytest.mark.parametrize("hostile", ["</title></svg><script>alert(1)</script>", "\u202e\x1b[31m", "\"'<&>", ""])
def test_words_from_outside_are_no_svg(hostile: str) -> None:
    places = Places(told=[hostile], ticks=(), changes=[(0, hostile)])
    found = plot(places, [Series(LINE, [1.0])], Scale(0, 1, 1), ["", ""], hostile)
    root = ET.fromstring(str(found.svg))
    assert {child.tag for child in root.iter()} == {"svg", "path", "rect", "title"}
    assert all(hidden not in found.svg for hidden in ("\u202e", "\x1b"))


@given(st.integers(1, 500))
def test_some_ticks_stand_evenly_with_the_last_place(count: int) -> None:
    ticks = ticks_along([str(number) for number in range(count)])
    assert 1 <= len(ticks) <= 6
    assert ticks[-1].text == str(count - 1)
    assert all(tick.at == 100 * (int(tick.text) + 0.5) / count for tick in ticks)
    assert len({int(two.text) - int(one.text) for one, two in itertools.pairwise(ticks)}) <= 1


def test_few_marks_are_drawn_of_many_dates() -> None:
    found = drawn([float(number % 10) for number in range(400)], BARS, chosen=399)
    assert len(re.findall("<path", found.svg)) == 3
