"""Summarizer: Scores with positions, batch by batch, to the summary of the file that they are written into."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.measures import MEASURES, millionths, unpacked
from transforms.outputs.summary import statistics
from transforms.outputs.summary.record import FORMAT, MOST_LABELS, first_bin, one_label
from transforms.outputs.summary.statistics import Integers, Statistic

_LARGEST = 1e6
"""A value counts in the sum as no more than this, on either side of 0."""
_OF_TEXTS = (statistics.UNKNOWN_TOKENS, statistics.DIGITS, statistics.URLS, statistics.OTHER_SCRIPTS)
_OF_PROBABILITIES = (statistics.MARGIN, statistics.ENTROPY)


class _Column(NamedTuple):
    """A statistic of some rows: the number of each, and its bin."""

    statistic: Statistic
    numbers: Integers
    bins: Integers

    def take(self, rows: Integers) -> "_Column":
        return _Column(self.statistic, self.numbers[rows], self.bins[rows])


class _Tally:
    """Sums and counts in bins of one statistic, for each of some groups of rows."""

    def __init__(self, bins: int, pooled: int, groups: int) -> None:
        self._pooled, self._width = pooled, -(-bins // pooled)
        self._sums, self._bins = np.zeros(groups, np.int64), np.zeros((groups, self._width), np.int64)

    def add(self, column: _Column, groups: Integers | None = None) -> None:
        bins = column.bins if self._pooled == 1 else column.bins // self._pooled
        if groups is None:
            self._sums[0] += column.numbers.sum()
            self._bins[0] += np.bincount(bins, minlength=self._width)
            return
        # Weighted counts are floats: exact up to 2**53, which no batch reaches.
        self._sums += np.bincount(groups, column.numbers, minlength=len(self._sums)).astype(np.int64)
        placed = np.bincount(groups * self._width + bins, minlength=self._bins.size)
        self._bins += placed.reshape(self._bins.shape)

    def described(self, group: int) -> dict[str, Any] | None:
        """The tally of a group as JSON, without empty bins at either end; None if it has no row."""
        filled = np.flatnonzero(self._bins[group])
        if not len(filled):
            return None
        listed = self._bins[group, filled[0] : filled[-1] + 1].tolist()
        found = {"rows": sum(listed), "sum": int(self._sums[group]), **first_bin(int(filled[0]))}
        return {**found, "bins": listed}


class Summarizer:
    """Counts rows for a summary. `labels` are those of the bundle, in its order; none for a regression."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels, self._names = labels, pa.array(labels, pa.string())
        self._rows, self._rows_of = 0, np.zeros(min(len(labels), MOST_LABELS + 1), np.int64)
        self._all: dict[str, _Tally] = {}
        self._by_label: dict[str, _Tally] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Counts rows of Scores with positions."""
        columns = [*_published(batch), *_measured(batch)]
        self._rows += batch.num_rows
        for column in columns:
            name, bins, *_ = column.statistic
            self._all.setdefault(name, _Tally(bins, 1, 1)).add(column)
        if "label" in batch.schema.names:
            self._add_by_label(columns, self._places(batch.column("label")))
        elif "labels" in batch.schema.names:
            given, offsets = _entries(batch.column("labels"))
            parents = np.repeat(np.arange(batch.num_rows), np.diff(offsets))
            columns = [column.take(parents) for column in columns if column.statistic != statistics.PROBABILITY]
            columns.append(_shares(statistics.PROBABILITY, millionths(given.field("probability").to_numpy())))
            self._add_by_label(columns, self._places(given.field("label")))

    def _places(self, labels: pa.DictionaryArray) -> Integers:
        """The group of each label: its place in the bundle, and one for all from MOST_LABELS on."""
        places = np.minimum(pc.index_in(labels.dictionary, self._names).to_numpy(), MOST_LABELS)
        return places.astype(np.int64)[labels.indices.to_numpy()]  # type: ignore[no-any-return]

    def _add_by_label(self, columns: Sequence[_Column], groups: Integers) -> None:
        self._rows_of += np.bincount(groups, minlength=len(self._rows_of))
        for column in columns:
            name, bins, pooled, _ = column.statistic
            self._by_label.setdefault(name, _Tally(bins, pooled, len(self._rows_of))).add(column, groups)

    def described(self) -> dict[str, Any]:
        """The summary so far, as JSON."""
        groups = {
            number: {"rows": int(self._rows_of[number]), "statistics": _group(self._by_label, number)}
            for number in np.flatnonzero(self._rows_of).tolist()
        }
        others = groups.pop(MOST_LABELS, None)
        return {
            "format": FORMAT,
            "rows": self._rows,
            "not_summarised": 0,
            "statistics": _group(self._all, 0),
            "labels": [one_label(self._labels[number], number, group) for number, group in groups.items()],
            "other_labels": None if others is None else {"from": MOST_LABELS, **others},
        }


def _group(tallies: Mapping[str, _Tally], group: int) -> dict[str, Any]:
    found = ((name, tally.described(group)) for name, tally in tallies.items())
    return {name: tally for name, tally in found if tally is not None}


def _published(batch: pa.RecordBatch) -> Iterator[_Column]:
    """The statistics of columns that are published: of every row, also of those with the scores of an earlier date."""
    names = batch.schema.names
    if "value" in names:
        values = batch.column("value").to_numpy()
        capped = millionths(np.clip(values, -_LARGEST, _LARGEST))
        yield _Column(statistics.VALUE, capped, statistics.value_bins(values))
    else:
        listed, offsets = _entries(batch.column("probabilities"))
        first = listed.field("probability").to_numpy()[offsets[:-1]]
        yield _shares(statistics.PROBABILITY, millionths(first))
    if "labels" in names:
        given = np.diff(batch.column("labels").offsets.to_numpy()).astype(np.int64)
        yield _Column(statistics.LABELS_GIVEN, given, statistics.doubling_bins(given))
    tokens = batch.column("token_count").to_numpy().astype(np.int64)
    yield _Column(statistics.TOKEN_COUNT, tokens, statistics.length_bins(tokens))
    truncated = batch.column("truncated").to_numpy(zero_copy_only=False).astype(np.int64)
    yield _Column(statistics.TRUNCATED, truncated, truncated)


def _measured(batch: pa.RecordBatch) -> Iterator[_Column]:
    """The statistics of what was measured on the way, which rows with the scores of an earlier date were not."""
    column = batch.column(MEASURES)
    if column.null_count:
        return
    measured = unpacked(column)
    scored = () if "value" in batch.schema.names else _OF_PROBABILITIES
    for statistic in (*scored, *_OF_TEXTS):
        numbers = measured[statistic.name].astype(np.int64)
        yield _Column(statistic, numbers, statistic.bin_of(numbers))


def _shares(statistic: Statistic, numbers: Integers) -> _Column:
    return _Column(statistic, numbers, statistic.bin_of(numbers))


def _entries(column: pa.ListArray) -> tuple[pa.StructArray, npt.NDArray[np.int32]]:
    """All entries of a column of lists, and where those of each row begin and end among them (from the first on)."""
    offsets = column.offsets.to_numpy()
    return column.flatten(), offsets - offsets[0]
