"""Summarizer: Scores with positions, batch by batch, to the summary of the file that they are written into."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.measures import MEASURE, MEASURES, SAMPLED, Measured, millionths, sample, unpacked
from transforms.outputs.summary import statistics
from transforms.outputs.summary.record import FORMAT, MOST_LABELS, first_bin, one_label
from transforms.outputs.summary.statistics import STATISTICS, Integers, Statistic

_LARGEST = 1e6
"""A value counts in the sum as no more than this, on either side of 0."""
_OF_PROBABILITIES = (statistics.MARGIN, statistics.ENTROPY)
_OF_ALL, _OF_SAMPLE = (
    [one for one in STATISTICS if one.name in (MEASURE.names or ()) and (one.name in SAMPLED) == sampled]
    for sampled in (False, True)
)
_FEW = 4
"""Where fewer than one in so many rows have another number than 0, only these are counted one by one."""
_NOBODY = np.zeros(0, np.intp)


class _Column(NamedTuple):
    """A statistic of some rows: the number of each; the values that the bins are of where these are not the numbers."""

    statistic: Statistic
    numbers: npt.NDArray[np.integer]
    values: npt.NDArray[np.float32] | None = None

    def bins(self) -> Integers:
        """The bin of each row."""
        return self.statistic.bin_of(self.numbers if self.values is None else self.values)

    def take(self, rows: Integers) -> "_Column":
        return _Column(self.statistic, self.numbers[rows], None if self.values is None else self.values[rows])


class _Tallies:
    """Sums and counts in bins of some statistics, for each of some groups of rows."""

    def __init__(self, groups: int, counted: Sequence[Statistic]) -> None:
        self._groups, self._counted = groups, counted
        self.rows = np.zeros(groups, np.int64)
        self.sums = {one.name: np.zeros(groups, np.int64) for one in counted}
        *starts, width = np.cumsum([0, *(one.bins for one in counted)]).tolist()
        self._starts = dict(zip(self.sums, starts, strict=True))
        self._of_zero = {one.name: int(one.bin_of(np.zeros(1, np.int64))[0]) for one in counted}
        self._bins = np.zeros((groups, width), np.int64)

    def add(self, columns: Sequence[_Column], groups: Integers, sampled: Sequence[_Column], chosen: Integers) -> None:
        """Counts rows of which each is in one of the groups; `sampled` are columns of the `chosen` rows alone."""
        rows = np.bincount(groups, minlength=self._groups)
        self.rows += rows
        places = [*self._places(columns, groups, rows)]
        if sampled:
            of_sample = groups[chosen]
            places += self._places(sampled, of_sample, np.bincount(of_sample, minlength=self._groups))
        if places:
            # Counted together: each call for some rows costs more than the rows.
            self._bins += np.bincount(np.concatenate(places), minlength=self._bins.size).reshape(self._bins.shape)

    def _places(self, columns: Sequence[_Column], groups: Integers, rows: Integers) -> Iterator[Integers]:
        """Adds to the sums; gives the places of the bins to count, but for those that it counts itself.

        `rows` is how many each group has.
        """
        first = groups * self._bins.shape[1]
        for column in columns:
            name, counted, at, start = column.statistic.name, np.count_nonzero(column.numbers), groups, first
            if counted * _FEW < len(groups):
                # Few texts have a URL, or are truncated: all others have the bin of 0.
                zeros = self._bins[:, self._starts[name] + self._of_zero[name]]
                zeros += rows
                if counted:
                    some = np.flatnonzero(column.numbers)
                    column, at, start = column.take(some), groups[some], first[some]
                    zeros -= np.bincount(at, minlength=self._groups)
            if counted:
                yield start + self._starts[name] + column.bins()
                # Weighted counts are floats, exact up to 2**53: more than MAX_ROWS values of 10**12 each.
                sums = np.bincount(at, column.numbers, minlength=self._groups)
                self.sums[name] += sums.astype(np.int64)

    def together(self) -> "_Tallies":
        """All groups as one."""
        whole = _Tallies(1, self._counted)
        whole.rows, whole._bins = self.rows.sum(keepdims=True), self._bins.sum(axis=0, keepdims=True)
        whole.sums = {name: sums.sum(keepdims=True) for name, sums in self.sums.items()}
        return whole

    def described(self, groups: Sequence[int], *, pooled: bool) -> list[dict[str, Any]]:
        """Groups as JSON, without the statistics that no row has; `pooled`: in the bins of one label."""
        found: list[dict[str, Any]] = [{"rows": rows, "statistics": {}} for rows in self.rows[groups].tolist()]
        for statistic in self._counted:
            start, each = self._starts[statistic.name], statistic.pooled if pooled else 1
            bins = self._bins[groups, start : start + statistic.bins]
            bins = np.add.reduceat(bins, np.arange(0, statistic.bins, each), axis=1)
            first, behind = (bins > 0).argmax(axis=1), (bins[:, ::-1] > 0).argmax(axis=1)
            columns = (bins, bins.sum(axis=1), self.sums[statistic.name][groups], first, bins.shape[1] - behind)
            of_groups = zip(found, *(column.tolist() for column in columns), strict=True)
            for group, listed, rows, total, begin, end in of_groups:
                if rows:
                    told = {"rows": rows, "sum": total, **first_bin(begin), "bins": listed[begin:end]}
                    group["statistics"][statistic.name] = told
        return found


class Summarizer:
    """Counts rows for a summary. `labels` are those of the bundle, in its order; none for a regression."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels, self._names = labels, pa.array(labels, pa.string())
        of_labels = [one for one in STATISTICS if one != statistics.VALUE]
        self._by_label = _Tallies(min(len(labels), MOST_LABELS + 1), of_labels)
        # Rows that have not just one label; the others are those of all labels together.
        self._all = _Tallies(1, STATISTICS)

    def add(self, batch: pa.RecordBatch) -> None:
        """Counts rows of Scores with positions."""
        if not batch.num_rows:
            return
        measured, chosen, of_sample = _measured(batch), _NOBODY, list[_Column]()
        columns = [*_published(batch)]
        if measured is not None:
            chosen, scored = sample(batch.column("text_hash")), "value" not in batch.schema.names
            columns += _columns(measured, _OF_ALL, scored=scored)
            of_sample += _columns(measured.take(chosen), _OF_SAMPLE, scored=scored)
        if "label" in batch.schema.names:
            self._by_label.add(columns, self._places(batch.column("label")), of_sample, chosen)
            return
        self._all.add(columns, np.zeros(batch.num_rows, np.int64), of_sample, chosen)
        if "labels" in batch.schema.names:
            given, offsets = _entries(batch.column("labels"))
            parents = np.repeat(np.arange(batch.num_rows), np.diff(offsets))
            columns = [column.take(parents) for column in columns if column.statistic != statistics.PROBABILITY]
            columns.append(_Column(statistics.PROBABILITY, millionths(given.field("probability").to_numpy())))
            entries = np.flatnonzero(np.isin(parents, chosen))
            places = np.searchsorted(chosen, parents[entries])
            of_sample = [column.take(places) for column in of_sample]
            self._by_label.add(columns, self._places(given.field("label")), of_sample, entries)

    def _places(self, labels: pa.DictionaryArray) -> Integers:
        """The group of each label: its place in the bundle, and one for all from MOST_LABELS on."""
        places = labels.indices.to_numpy().astype(np.int64)
        if not labels.dictionary.equals(self._names):
            places = pc.index_in(labels.dictionary, self._names).to_numpy().astype(np.int64)[places]
        return np.minimum(places, MOST_LABELS)  # type: ignore[no-any-return]

    def described(self) -> dict[str, Any]:
        """The summary so far, as JSON."""
        whole = self._all if self._all.rows[0] else self._by_label.together()
        filled = np.flatnonzero(self._by_label.rows).tolist()
        groups = dict(zip(filled, self._by_label.described(filled, pooled=True), strict=True))
        others = groups.pop(MOST_LABELS, None)
        (everything,) = whole.described([0], pooled=False)
        return {
            "format": FORMAT,
            "rows": everything["rows"],
            "not_summarised": 0,
            "statistics": everything["statistics"],
            "labels": [one_label(self._labels[number], number, group) for number, group in groups.items()],
            "other_labels": None if others is None else {"from": MOST_LABELS, **others},
        }


def _published(batch: pa.RecordBatch) -> Iterator[_Column]:
    """The statistics of columns that are published: of every row, also of those with the scores of an earlier date."""
    names = batch.schema.names
    if "value" in names:
        values = batch.column("value").to_numpy()
        capped = millionths(np.clip(values, -_LARGEST, _LARGEST))
        yield _Column(statistics.VALUE, capped, values)
    elif "probability" in names:
        yield _Column(statistics.PROBABILITY, millionths(batch.column("probability").to_numpy()))
    else:
        listed, offsets = _entries(batch.column("probabilities"))
        first = listed.field("probability").to_numpy()[offsets[:-1]]
        yield _Column(statistics.PROBABILITY, millionths(first))
    if "labels" in names:
        given = np.diff(batch.column("labels").offsets.to_numpy()).astype(np.int64)
        yield _Column(statistics.LABELS_GIVEN, given)
    yield _Column(statistics.TOKEN_COUNT, batch.column("token_count").to_numpy())
    yield _Column(statistics.TRUNCATED, batch.column("truncated").to_numpy(zero_copy_only=False).view(np.int8))


def _measured(batch: pa.RecordBatch) -> Measured | None:
    """What was measured on the way; of rows with the scores of an earlier date nothing was."""
    column = batch.column(MEASURES)
    return None if column.null_count else unpacked(column)


def _columns(measured: Measured, counted: Sequence[Statistic], *, scored: bool) -> list[_Column]:
    """Some statistics of rows of what was measured; without `scored` no probabilities."""
    some = [one for one in counted if scored or one not in _OF_PROBABILITIES]
    return [_Column(one, np.ascontiguousarray(measured[one.name])) for one in some]


def _entries(column: pa.ListArray) -> tuple[pa.StructArray, npt.NDArray[np.int32]]:
    """All entries of a column of lists, and where those of each row begin and end among them (from the first on)."""
    offsets = column.offsets.to_numpy()
    return column.flatten(), offsets - offsets[0]
