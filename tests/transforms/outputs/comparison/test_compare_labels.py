"""Two dates with labels differ in what a plain loop over dicts finds, however few rows are in memory at once."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.files.plain_comparison import STEPS, Row, bins, first, joined, side

from transforms.outputs.comparison.compare import compare
from transforms.outputs.comparison.found import CHANGED, MOVED, ONLY_A, ONLY_B, Labelled, OfLabel, Right

MOST = 3
LABELS = ["play", "book", "rate", "é\u202e"]
ids = st.sampled_from(["a", "b", "r1", "r2", "r10", "é", "𝕏", "x" * 100, "y" + "x" * 100, ""]) | st.text(max_size=3)
share = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1, width=32)
sides = st.lists(
    st.fixed_dictionaries({"id": ids, "label": st.sampled_from(LABELS), "probability": share}), max_size=12
)
given_labels = st.dictionaries(st.sampled_from(LABELS), share).map(
    lambda found: [{"label": label, "probability": probability} for label, probability in found.items()]
)
several_sides = st.lists(st.fixed_dictionaries({"id": ids, "labels": given_labels}), max_size=10)
LIKE = {"label": "", "probability": 0.0}


def compared(a: list[Row], b: list[Row], like: Row, rows_at_once: int, gold_of: str = "", **more: Any) -> Labelled:
    kinds: dict[str, Any] = {letter: {"gold": more.pop("kind")} if letter == gold_of else {} for letter in "ab"}
    with TemporaryDirectory() as folder:
        one = side(Path(folder) / "a", a, like, **kinds["a"])
        other = side(Path(folder) / "b", b, like, files=3, **kinds["b"])
        rows = max(len(a), len(b))
        found = compare(one, other, rows, examples=MOST, rows_at_once=rows_at_once, **more)
    assert isinstance(found, Labelled)
    return found


def shown(found: Labelled) -> dict[str, list[str]]:
    return {kind: [example.id for example in examples] for kind, examples in found.examples.items()}


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 20), st.sampled_from(["", "a", "b"]), st.data())
def test_one_label_a_text(a: list[Row], b: list[Row], rows_at_once: int, gold_of: str, data: st.DataObject) -> None:
    right = {row["id"]: data.draw(st.sampled_from([None, *LABELS[:3], "never given"])) for row in (*a, *b)}
    for row in {"a": a, "b": b}.get(gold_of, []):
        row["gold"] = right[row["id"]]
    more: dict[str, Any] = {"gold": "gold", "gold_of": gold_of, "kind": pa.string()} if gold_of else {}
    found = compared(a, b, LIKE, rows_at_once, **more)

    both, counts = joined(a, b)
    assert (found.ids.both, found.ids.only_a, found.ids.only_b, found.ids.repeated) == counts
    changed = {id_ for id_, (one, other) in both.items() if one["label"] != other["label"]}
    assert found.changed == len(changed)
    assert found.pairs == Counter((both[id_][0]["label"], both[id_][1]["label"]) for id_ in changed)
    moved = {id_: other["probability"] - one["probability"] for id_, (one, other) in both.items()}
    assert list(found.differences.bins) == bins(moved.values())
    assert found.differences.mean == pytest.approx(sum(moved.values()) / max(1, len(both)))
    assert found.differences.mean_absolute == pytest.approx(sum(map(abs, moved.values())) / max(1, len(both)))
    assert found.differences.largest == max(map(abs, moved.values()), default=0)

    sure = {id_: one["probability"] + other["probability"] for id_, (one, other) in both.items()}
    kept = {id_: abs(moved[id_]) for id_ in both if id_ not in changed and moved[id_]}
    examples = {CHANGED: first({id_: sure[id_] for id_ in changed}, MOST), MOVED: first(kept, MOST)}
    known = {id_: pair for id_, pair in both.items() if gold_of and right[id_] is not None}
    are = {id_: (one["label"] == right[id_], other["label"] == right[id_]) for id_, (one, other) in known.items()}
    if gold_of:
        only = {kind: [id_ for id_, found in are.items() if found == which] for kind, which in ALONE.items()}
        examples |= {kind: first({id_: sure[id_] for id_ in some}, MOST) for kind, some in only.items()}
        times = Counter(are.values())
        counts_right = {"both": times[True, True], "only_a": times[True, False], "only_b": times[False, True]}
        assert found.right == Right(rows=len(known), **counts_right)
    else:
        assert found.right is None
    assert shown(found) == examples

    def of(label: str) -> OfLabel:
        has = [(one["label"] == label, other["label"] == label) for one, other in both.values()]
        gold = [are[id_] for id_ in known if right[id_] == label]
        a_, b_ = (sum(pair[place] for pair in has) for place in (0, 1))
        right_a, right_b = (sum(pair[place] for pair in gold) for place in (0, 1))
        rows = {"a": a_, "b": b_, "both": sum(map(all, has))}
        return OfLabel(label=label, **rows, gold=len(gold), right_a=right_a, right_b=right_b)

    expected = [of(label) for label in (*LABELS, "never given")]
    assert {one.label: one for one in found.labels} == {
        one.label: one for one in expected if one.a or one.b or one.gold
    }


ALONE = {ONLY_A: (True, False), ONLY_B: (False, True)}


@settings(max_examples=60, deadline=None)
@given(several_sides, several_sides, st.integers(1, 20), st.booleans(), st.data())
def test_several_labels_a_text(
    a: list[Row], b: list[Row], rows_at_once: int, with_gold: bool, data: st.DataObject
) -> None:
    some = st.none() | st.lists(st.sampled_from(LABELS), unique=True, max_size=3)
    right = {row["id"]: data.draw(some) for row in b}
    more: dict[str, Any] = {}
    if with_gold:
        b = [{**row, "gold": right[row["id"]]} for row in b]
        more = {"gold": "gold", "gold_of": "b", "kind": pa.list_(pa.string())}
    found = compared(a, b, {"labels": []}, rows_at_once, **more)

    both, counts = joined(a, b)
    assert (found.ids.both, found.ids.only_a, found.ids.only_b, found.ids.repeated) == counts
    sets = {
        id_: tuple({e["label"]: e["probability"] for e in row["labels"]} for row in pair) for id_, pair in both.items()
    }
    changed = {id_ for id_, (one, other) in sets.items() if one.keys() != other.keys()}
    assert found.changed == len(changed)
    assert found.pairs == {}
    moved = {
        id_: [other[label] - one[label] for label in one.keys() & other.keys()] for id_, (one, other) in sets.items()
    }
    assert list(found.differences.bins) == bins(difference for some in moved.values() for difference in some)
    for label in found.labels:
        has = [(label.label in one, label.label in other) for one, other in sets.values()]
        assert (label.a, label.b, label.both) == (*map(sum, zip(*has, strict=True)), sum(map(all, has)))
    far = {id_: max(map(abs, some), default=0) for id_, some in moved.items()}
    kept = {id_: far[id_] for id_ in both if id_ not in changed and far[id_]}
    assert shown(found)[MOVED] == first(kept, MOST)
    assert set(shown(found)[CHANGED]) <= changed
    assert len(shown(found)[CHANGED]) == min(MOST, len(changed))
    if with_gold:
        known = {id_: sets[id_] for id_ in both if right[id_] is not None}
        are = Counter(
            (one.keys() == {*right[id_]}, other.keys() == {*right[id_]}) for id_, (one, other) in known.items()
        )
        counts_right = {"both": are[True, True], "only_a": are[True, False], "only_b": are[False, True]}
        assert found.right == Right(rows=len(known), **counts_right)
        for label in found.labels:
            gold = [
                (label.label in one, label.label in other)
                for id_, (one, other) in known.items()
                if label.label in right[id_]
            ]
            assert (label.gold, label.right_a, label.right_b) == (
                len(gold),
                sum(x for x, _ in gold),
                sum(y for _, y in gold),
            )


def test_what_changed_most_of_several_labels_comes_first() -> None:
    give = lambda id_, **labels: {  # noqa: E731
        "id": id_,
        "labels": [{"label": label, "probability": share} for label, share in labels.items()],
    }
    a = [give("x", play=0.9, book=0.5), give("y", play=0.25), give("z", rate=0.5)]
    b = [give("x", play=0.5), give("y", book=0.75), give("z", rate=0.5)]
    found = compared(a, b, {"labels": []}, 10)
    assert [(one.id, one.a, one.b) for one in found.examples[CHANGED]] == [
        ("y", "play 0.2500", "book 0.7500"),
        ("x", "book 0.5000, play 0.9000", "play 0.5000"),
    ]
    assert found.differences.rows == 2


def test_right_labels_may_be_strings_that_a_separator_parts() -> None:
    a = [{"id": "x", "labels": [{"label": "play", "probability": 1.0}, {"label": "book", "probability": 1.0}]}]
    a += [{"id": "y", "labels": []}, {"id": "z", "labels": [{"label": "play", "probability": 1.0}]}]
    b = [{**row, "gold": gold} for row, gold in zip(a, ["book| play |", None, "play|play"], strict=True)]
    asked: dict[str, Any] = {"gold": "gold", "gold_of": "b", "kind": pa.string()}
    assert compared(a, b, {"labels": []}, 10, separator="|", **asked).right == Right(rows=2, both=2, only_a=0, only_b=0)
    nothing = [{**row, "gold": ""} for row in a]
    assert compared(a, nothing, {"labels": []}, 10, separator="|", **asked).right == Right(
        rows=3, both=1, only_a=0, only_b=0
    )


def test_right_labels_may_be_numbers() -> None:
    a = [{"id": "x", "label": "3", "probability": 1.0, "gold": 3}]
    b = [{"id": "x", "label": "4", "probability": 1.0}]
    found = compared(a, b, LIKE, 10, gold="gold", gold_of="a", kind=pa.int32())
    assert found.right == Right(rows=1, both=0, only_a=1, only_b=0)


def test_differences_are_counted_on_the_side_of_the_step_that_is_nearer_to_zero() -> None:
    assert bins([0.01, 0.5, -0.25, 1]) == [0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 1]
    assert len(STEPS) == 5
