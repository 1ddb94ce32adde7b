"""A JSON line that is too long to be held: the same values as json reads, or told as lost."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.read.values.json import long_object
from transforms.read.values.json.long_object import Line, LongObject, Wanted

SCALARS = (
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=30) | st.sampled_from(['"\\,', "}{][", "\\"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
KEYS = st.sampled_from(["id", "text", "k", "l", 'o"x', "o,}", "\\"])
WANTED = Wanted(most={"id": 40, "text": 10, "k": 40, "l": 40}, texts=frozenset({"text"}), in_all=60)


@pytest.fixture(autouse=True)
def looks_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decided behind 64 KiB is decided behind some bytes."""
    monkeypatch.setattr(long_object, "_HEAD", 8)


def written(value: Any, draw: random.Random) -> str:
    """JSON with blanks and escapes where there may be some."""
    blank = draw.choice(["", "", " ", "\t \r"])
    if isinstance(value, dict):
        inside = [f"{written(key, draw)}{blank}:{written(item, draw)}" for key, item in value.items()]
        return f"{blank}{{{','.join(inside) or blank}}}{blank}"
    if isinstance(value, list):
        return f"{blank}[{','.join(written(item, draw) for item in value)}]{blank}"
    if isinstance(value, str) and draw.random() < 0.3:
        units = value.encode("utf-16-be")
        return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + '"'
    return blank + json.dumps(value, ensure_ascii=draw.random() < 0.5) + blank


def taken(line: bytes, wanted: Wanted, draw: random.Random, longest: int = 40) -> Line:
    """What is found in a line that comes in parts of random sizes."""
    found, at = LongObject(wanted), 0
    while at < len(line):
        size = draw.randint(1, longest)
        found.add(line[at : at + size])
        at += size
    return found.line()


@settings(deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=7), st.randoms(use_true_random=False))
def test_wanted_values_are_those_that_json_reads_or_told_as_lost(row: dict[str, Any], draw: random.Random) -> None:
    line = written(row, draw).encode()
    found = taken(line, WANTED, draw)
    read = json.loads(found.content)
    assert read.keys() == row.keys() & WANTED.most.keys()
    for key, value in read.items():
        if key not in found.lost:
            assert value == row[key]
        elif key == "text":
            assert not isinstance(row[key], str) or len(row[key].encode()) > 10
            assert value == "x" * 11
        else:
            assert not value
    # Nothing is lost that fits: a blank more is what a value may have when its size is looked at.
    large = {key: len(written(value, random.Random(0))) for key, value in row.items()}
    if sum(6 * size + 20 for size in large.values()) <= 40:
        assert found.lost == ()


@settings(deadline=None)
@given(st.text(max_size=60), st.randoms(use_true_random=False))
def test_of_a_text_the_bytes_count_that_it_stands_for(text: str, draw: random.Random) -> None:
    size = len(text.encode())
    line = written({"text": text, "id": "a"}, draw).encode()
    for most in (size, size + 1, 2 * size + 5):
        wanted = Wanted(most={"text": most, "id": 9}, texts=frozenset({"text"}), in_all=100)
        assert json.loads(taken(line, wanted, draw).content) == {"text": text, "id": "a"}
    if size and "\\u" not in line.decode():
        wanted = Wanted(most={"text": max(0, size - 40), "id": 9}, texts=frozenset({"text"}), in_all=100)
        left = json.loads(taken(line, wanted, draw).content)["text"]
        assert left == text or len(left) == max(0, size - 40) + 1


def test_a_long_text_is_not_held_however_it_is_written() -> None:
    for content in (b"x" * 100_000, b"\\u0061" * 100_000, b"\\n" * 100_000):
        found = LongObject(Wanted(most={"text": 1_000}, texts=frozenset({"text"}), in_all=1_000))
        most = 0
        for part in [b'{"text": "', *(content[i : i + 600] for i in range(0, len(content), 600)), b'", "k": 1}']:
            found.add(part)
            most = max(most, len(found._member._held))
        assert found.line() == Line(b'{"text": "' + b"x" * 1_001 + b'"}', ("text",))
        assert most < 8_000


def test_blanks_between_tokens_are_no_part_of_a_text() -> None:
    wanted = Wanted(most={"text": 10}, texts=frozenset({"text"}), in_all=1_000)
    for parts in ([b'{"text": "abc"', *[b" " * 50] * 20, b"}"], [b'{"text":', *[b" " * 50] * 20, b'"abc"}']):
        found = LongObject(wanted)
        for part in parts:
            found.add(part)
        assert json.loads(found.line().content) == {"text": "abc"}


def test_of_values_that_are_too_many_together_the_largest_are_lost() -> None:
    wanted = Wanted(most=dict.fromkeys("abcd", 50), in_all=100)
    line = json.dumps({"a": "x" * 30, "b": "x" * 40, "c": "x" * 20, "d": "x" * 45}).encode()
    found = taken(line, wanted, random.Random(0))
    assert json.loads(found.content) == {"a": "x" * 30, "b": None, "c": "x" * 20, "d": None}
    assert sorted(found.lost) == ["b", "d"]


def test_a_text_that_is_no_string_is_too_long_too() -> None:
    """It may be declared as one (--schema text:string): then an array is a text, and an empty one is another text."""
    wanted = Wanted(most={"text": 10}, texts=frozenset({"text"}), in_all=30)
    for value in (["x" * 100], {"x": "x" * 100}, 10**99):
        found = taken(json.dumps({"text": value}).encode(), wanted, random.Random(0))
        assert (json.loads(found.content), found.lost) == ({"text": "x" * 11}, ("text",))


def test_keys_that_nobody_named_keep_the_kind_of_their_values() -> None:
    row = {"a": "x" * 100, "b": ["x" * 100], "c": {"x": "x" * 100}, "d": 1, "e": None, "f": "s"}
    found = taken(json.dumps(row).encode(), Wanted(others=20, in_all=1_000), random.Random(0))
    assert json.loads(found.content) == {"a": "", "b": [], "c": {}, "d": 1, "e": None, "f": "s"}


@pytest.mark.parametrize(
    "line",
    ["[1, 2]", "1", '"a"', "{", '{"id": "a"', '{"id": "a"}}', '{"id": "a"} {"id": "b"}', '{"id": "a"} x', '{"k" "a"}',
     '{"id": "a",}', '{"o": 1,}', '{,"id": "a"}', '{"id": "a" "k": 1}', '{"id": }', "{id: 1}", '{"id": "a"]', "]", "}",
     '{"id": "a", nonsense}', '\\{"id": "a"}'],
)  # fmt: skip
def test_what_is_no_object_is_not_made_one(line: str) -> None:
    contents = [taken(line.encode(), WANTED, random.Random(1), longest).content for longest in (1, 40)]
    assert [is_object(found) for found in (line, *contents)] == [False] * 3


def is_object(line: str | bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def test_a_blank_line_stays_blank_and_a_mark_stays_in_front() -> None:
    assert taken(b" \t \r ", WANTED, random.Random(0)) == Line(b"")
    assert taken(b'\xef\xbb\xbf{"id": 1}', WANTED, random.Random(0), 9).content == b'\xef\xbb\xbf{"id": 1}'


def test_a_line_of_very_many_keys_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_object, "MOST_MEMBERS", 3)
    row = {f"k{i}": i for i in range(4)}
    assert taken(json.dumps(row).encode(), WANTED, random.Random(0)).fault == "the line has more than 3 keys"
    del row["k0"]
    assert taken(json.dumps(row).encode(), WANTED, random.Random(0)) == Line(b"{}")


def test_very_many_values_that_are_too_many_together_take_no_time_of_their_square() -> None:
    row = {f"key {i}": "v" * 40 for i in range(40_000)}
    line = taken(json.dumps(row).encode(), Wanted(others=1_000, in_all=1_000_000), random.Random(0), 1 << 20)
    found = json.loads(line.content)
    assert found.keys() == row.keys()
    assert all(value in ("", "v" * 40) for value in found.values())
    assert len(line.content) < len(json.dumps(row))


@pytest.mark.parametrize("first", range(1, 30))
def test_a_part_may_end_anywhere_before_an_escaped_text(first: int) -> None:
    text = "\x1f" * 20
    line = b'{"text":\t "' + b"\\u001f" * 20 + b'"}'
    found = LongObject(Wanted(most={"text": 20}, texts=frozenset({"text"}), in_all=100))
    for part in (line[:first], line[first:]):
        found.add(part)
    assert (json.loads(found.line().content), found.line().lost) == ({"text": text}, ())
