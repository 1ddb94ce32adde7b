"""What is not a comparison is refused by name; ids are spread over files of about the same size."""

import errno
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.files.plain_comparison import side

from transforms.batches.schemas import LABEL
from transforms.batches.score_columns import PROBABILITIES, embedding_type, scores_schema
from transforms.errors import RecordError
from transforms.outputs.comparison import partitions
from transforms.outputs.comparison.compare import compare
from transforms.outputs.comparison.found import Ids, Labelled, Right
from transforms.outputs.comparison.names import SideError
from transforms.outputs.comparison.partitions import Joined, partition_of, partitions_for
from transforms.outputs.comparison.sides import Layout, Side, layout_of

LABELLED = [{"id": "x", "label": "play", "probability": 0.5}]
VALUED = [{"id": "x", "value": 0.5}]


def test_dates_of_other_kinds_of_models_are_not_compared(tmp_path: Path) -> None:
    a, b = side(tmp_path / "a", LABELLED, LABELLED[0]), side(tmp_path / "b", VALUED, VALUED[0])
    with pytest.raises(SideError, match=rf"^{a.name} has one label a text and {b.name} has a value a text: these"):
        compare(a, b, 1)


def test_a_date_without_scores_is_named(tmp_path: Path) -> None:
    a = side(tmp_path / "a", [{"id": "x"}], {})
    with pytest.raises(SideError, match=rf"^{a.name}: its files do not have the columns of scores"):
        compare(a, a, 1)


@pytest.mark.parametrize(
    ("rows", "kind", "what"),
    [
        (LABELLED, pa.list_(pa.string()), "labels are compared"),
        (VALUED, pa.string(), "numbers are compared"),
        ([{"id": "x", "labels": []}], pa.list_(pa.list_(pa.string())), "lists of labels are compared"),
    ],
)
def test_right_labels_of_a_wrong_type_are_refused(tmp_path: Path, rows: Any, kind: pa.DataType, what: str) -> None:
    wrong = {pa.string(): "no number"}.get(kind, [["x"]] if kind == pa.list_(pa.list_(pa.string())) else ["x"])
    a = side(tmp_path / "a", [{**rows[0], "gold": wrong}], rows[0], gold=kind)
    with pytest.raises(SideError, match=rf"^--label-column 'gold': has the type .*{what}"):
        compare(a, a, 1, gold="gold")


def test_a_column_that_neither_has_is_refused(tmp_path: Path) -> None:
    a = side(tmp_path / "a", LABELLED, LABELLED[0])
    with pytest.raises(SideError, match=r"^--label-column 'gold': neither .* has such a column"):
        compare(a, a, 1, gold="gold")
    with pytest.raises(SideError, match=r"^--label-separator is for"):
        compare(a, a, 1, separator="|")


def test_a_part_that_is_gone_and_one_that_is_damaged_are_named(tmp_path: Path) -> None:
    a = side(tmp_path / "a", LABELLED, LABELLED[0])
    gone = Side(name="out/dt=2026-11-21", parts=(*a.parts, str(tmp_path / "gone.parquet")), rows=(*a.rows, 1))
    with pytest.raises(SideError, match=r"^out/dt=2026-11-21: .*gone\.parquet is gone"):
        compare(a, gone, 1)
    (tmp_path / "gone.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(RecordError, match=r"gone\.parquet: is damaged"):
        compare(a, gone, 1)


def test_dates_without_rows_have_nothing_in_common(tmp_path: Path) -> None:
    nothing, a = Side(name="empty", parts=(), rows=()), side(tmp_path / "a", LABELLED, LABELLED[0])
    for one, other in ((nothing, a), (a, nothing), (nothing, nothing)):
        found = compare(one, other, 1)
        assert isinstance(found, Labelled)
        assert (found.ids.both, found.ids.only_a, found.ids.only_b) == (0, int(one is a), int(other is a))


def test_no_more_rows_are_joined_at_once_than_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": f"r{row}", "label": "play", "probability": 0.5} for row in range(5_000)]
    a, b = side(tmp_path / "a", rows, rows[0]), side(tmp_path / "b", rows[::-1], rows[0])
    sizes: list[int] = []
    joined = partitions._joined

    def noting(*sides: Any) -> Joined:
        found = joined(*sides)
        sizes.append(found.a.num_rows)
        return found

    monkeypatch.setattr(partitions, "_joined", noting)
    found = compare(a, b, 5_000, rows_at_once=200)
    assert (found.ids.both, len(sizes), sum(sizes)) == (5_000, 25, 5_000)
    assert max(sizes) < 300


@pytest.mark.parametrize("shape", ["{}", "customer-{:08}", "{:032x}", "{:064}" + "x" * 100])
def test_ids_are_spread_evenly(shape: str) -> None:
    ids = pa.array([shape.format(number) for number in range(64_000)], pa.large_string())
    counts = np.bincount(partition_of(ids, 64), minlength=64)
    assert (counts.min(), counts.max()) == (pytest.approx(1_000, rel=0.2), pytest.approx(1_000, rel=0.2))


@given(st.lists(st.text(max_size=70), max_size=20), st.integers(1, 9), st.integers(0, 20))
def test_the_part_of_an_id_does_not_depend_on_the_ids_beside_it(ids: list[str], parts: int, cut: int) -> None:
    column = pa.array(ids, pa.large_string())
    whole = partition_of(column, parts).tolist()
    assert [*partition_of(column.slice(0, cut), parts), *partition_of(column.slice(cut), parts)] == whole
    assert all(0 <= part < parts for part in whole)


def test_there_are_as_many_files_as_rows_need() -> None:
    assert [partitions_for(rows, 100) for rows in (0, 100, 101, 10**9)] == [1, 1, 2, 256]


KEPT = {"label": LABEL, "labels": PROBABILITIES, "probability": pa.float32(), "decision": LABEL, "value": pa.float32()}


@pytest.mark.parametrize(
    "like", [LABELLED[0], {"id": "x", "labels": [{"label": "play", "probability": 0.5}]}, VALUED[0]]
)
def test_kept_columns_with_names_of_other_tasks_are_no_scores(tmp_path: Path, like: Any) -> None:
    own = {*like, "probabilities"} if "value" not in like else {*like}
    kept = {name: kind for name, kind in KEPT.items() if name not in own}
    values = {"label": "kept", "labels": [], "probability": 0.1, "decision": "kept", "value": 9.0}
    rows = [{**{name: values[name] for name in kept}, **like}]
    a, b = side(tmp_path / "a", rows, like, kept=kept), side(tmp_path / "b", rows, like)
    layout = layout_of(a)
    assert layout is not None
    assert layout == Layout(
        kind=next(kind for kind in ("label", "labels", "value") if kind in like), **vars_of(like, kept)
    )
    found = compare(a, b, 1)
    assert found.ids.both == 1
    if isinstance(found, Labelled):
        assert [label.label for label in found.labels] == ["play"]
    else:
        assert found.mean == 0.0


def vars_of(like: Any, kept: Any) -> dict[str, frozenset[str]]:
    own = {*like, "token_count", *(() if "value" in like else ("probabilities",))}
    return {"own": frozenset(own), "kept": frozenset(kept)}


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_the_kind_of_every_schema_that_a_job_writes_is_known(tmp_path: Path, task: str) -> None:
    own = {"classification": "label", "multilabel": "labels", "regression": "value"}[task]
    for decision, embedding, windows in itertools.product(
        (False, True), (None, embedding_type("float16", 4)), (False, True)
    ):
        more: dict[str, Any] = {"decision": decision, "embedding": embedding, "windows": windows}
        names = {*scores_schema(pa.schema([]), task, **more).names}
        kept = pa.schema([pa.field(name, kind) for name, kind in KEPT.items() if name not in names])
        written = scores_schema(kept, task, **more)
        pq.write_table(written.empty_table(), tmp_path / "part.parquet")
        found = layout_of(Side(name="x", parts=(str(tmp_path / "part.parquet"),), rows=(0,)))
        assert found == Layout(kind=own, own=frozenset(names), kept=frozenset(kept.names))


@pytest.mark.parametrize("name", ["label", "probability", "probabilities", "token_count", "id"])
def test_a_column_of_the_job_is_not_what_is_right(tmp_path: Path, name: str) -> None:
    a = side(tmp_path / "a", LABELLED, LABELLED[0])
    with pytest.raises(SideError, match=rf"^--label-column '{name}': .*name a kept column"):
        compare(a, a, 1, gold=name)


def test_what_a_job_of_b_alone_writes_may_be_a_kept_column_of_a(tmp_path: Path) -> None:
    a = side(tmp_path / "a", [{**LABELLED[0], "decision": "play"}], LABELLED[0], kept={"decision": pa.string()})
    b = side(tmp_path / "b", LABELLED, LABELLED[0])
    found = compare(b, a, 1, gold="decision")
    assert isinstance(found, Labelled)
    assert found.right == Right(rows=1, both=1, only_a=0, only_b=0)


def test_ids_with_another_text_are_counted_apart(tmp_path: Path) -> None:
    rows = [{"id": str(row), "label": "play", "probability": 0.5, "text_hash": row // 2 - 5} for row in range(20)]
    others = [{**row, "label": "book", "text_hash": 77} if row["id"] in ("3", "4") else row for row in rows]
    a, b = side(tmp_path / "a", rows, rows[0]), side(tmp_path / "b", others[2:], rows[0])
    for rows_at_once in (3, 100):
        found = compare(a, b, 20, rows_at_once=rows_at_once)
        assert found.ids == Ids(both=16, only_a=2, only_b=0, repeated=0, other_text=2, texts=9)
        assert isinstance(found, Labelled)
        assert found.changed == 0


def test_dates_without_hashes_are_joined_by_id_alone(tmp_path: Path) -> None:
    a = side(tmp_path / "a", [{**LABELLED[0], "text_hash": 1}], {**LABELLED[0], "text_hash": 1})
    b = side(tmp_path / "b", LABELLED, LABELLED[0])
    assert compare(a, b, 1).ids == Ids(both=1, only_a=0, only_b=0, repeated=0, other_text=0, texts=None)


def test_a_part_with_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    a = side(tmp_path / "a", LABELLED, LABELLED[0], files=1)
    with pytest.raises(RecordError, match=r"has 1 rows and not the 2 of the manifest; score"):
        compare(a, replace(a, rows=(2,)), 1)


def test_a_part_that_ends_early_is_damaged(tmp_path: Path) -> None:
    rows = [{"id": f"r{row}", "label": "play", "probability": row / 5_000} for row in range(5_000)]
    a = side(tmp_path / "a", rows, rows[0], files=1)
    path = Path(a.parts[0])
    whole = path.read_bytes()
    # The footer is whole, the pages are not: Arrow says so with an OSError that has no number.
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    with pytest.raises(RecordError, match=r"is damaged"):
        compare(a, a, 5_000)


def test_what_the_system_refuses_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = side(tmp_path / "a", LABELLED, LABELLED[0], files=1)

    def refused(*_: object, **__: object) -> Any:
        raise PermissionError(errno.EACCES, "not yours")

    monkeypatch.setattr("transforms.stores.local.LocalStore.open", refused)
    with pytest.raises(PermissionError):
        compare(a, a, 1)
