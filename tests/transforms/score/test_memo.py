"""Memo: it gives back what it was given, or nothing."""

import threading
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.score.memo import Keys, Memo

ROWS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=40)


def keys(memo: Memo, rows: list[list[int]]) -> Keys:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return memo.keys(np.array([token for row in rows for token in row], np.int32), offsets)


@given(ROWS)
def test_keys_are_equal_exactly_for_equal_rows(rows: list[list[int]]) -> None:
    found = [tuple(key) for key in keys(Memo(1, 1024), rows)]
    assert [found.index(key) for key in found] == [rows.index(row) for row in rows]


@given(ROWS, ROWS, st.sampled_from([64, 1 << 16]))
def test_what_it_recalls_is_what_it_was_told_last(first: list[list[int]], second: list[list[int]], size: int) -> None:
    memo = Memo(2, size)
    told: dict[tuple[int, ...], list[float]] = {}
    for number, rows in enumerate((first, second)):
        outputs = np.array([[number, i] for i in range(len(rows))], np.float32)
        unique = [i for i, row in enumerate(rows) if row not in rows[:i]]
        memo.remember(keys(memo, [rows[i] for i in unique]), outputs[unique])
        told |= {tuple(rows[i]): outputs[i].tolist() for i in unique}
    known, outputs = memo.recall(keys(memo, [*first, *second]))
    for row, there, output in zip([*first, *second], known, outputs, strict=True):
        assert not there or output.tolist() == told[tuple(row)]
    if size > 64:
        assert known.mean() > 0.5


def test_an_empty_memo_knows_nothing_and_takes_no_rows() -> None:
    memo = Memo(3)
    nothing = memo.keys(np.empty(0, np.int32), np.zeros(1, np.int64))
    assert memo.recall(nothing)[0].tolist() == []
    memo.remember(nothing, np.empty((0, 3), np.float32))
    assert not memo.recall(keys(memo, [[0], [0, 0]]))[0].any()


def test_it_stays_within_its_memory() -> None:
    memo = Memo(7, 1 << 20)
    assert memo._keys.nbytes + memo._outputs.nbytes <= 1 << 20


def test_another_memo_has_other_keys() -> None:
    assert (keys(Memo(1, 1024), [[1, 2]]) != keys(Memo(1, 1024), [[1, 2]])).any()


def test_a_thread_that_recalls_while_another_remembers_waits_for_it() -> None:
    memo, recalled = Memo(2, 1024), []
    found = keys(memo, [[1, 2]])
    reader = threading.Thread(target=lambda: recalled.extend(memo.recall(found)[1].tolist()))

    class Halfway(np.ndarray):
        """Between the keys and the outputs of one `remember` the other thread has its turn."""

        def __setitem__(self, *given: Any) -> None:
            super().__setitem__(*given)
            reader.start()
            reader.join(0.2)

    memo._keys = memo._keys.view(Halfway)
    memo.remember(found, np.array([[3, 4]], np.float32))
    reader.join()
    assert recalled == [[3, 4]]
