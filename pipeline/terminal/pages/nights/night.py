"""Night: what the report knows of one date, made of its manifest or of the verdict of its run.

Only what is shown is kept, so that 400 dates with summaries of 64 KB take little memory.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from transforms.batches.measures import MILLION
from transforms.outputs.drift.histograms import is_comparable
from transforms.outputs.drift.record import beyond
from transforms.outputs.summary.statistics import STATISTICS, VALUE_SIDE
from transforms.runs.verdict_record import PUBLISHED
from transforms.runs.verdicts import rows_published

MISSING, BROKEN, EXPIRED, NOT_BEGUN = "missing", "broken", "expired", "not_begun"
"""States of dates beside those of runs: no run of an expected date, a damaged manifest, rows deleted for their age, a
run that ended before it had a plan."""

_MOST = 1 << 63
_CLIPPED = (0, 1, 2 * VALUE_SIDE - 1, 2 * VALUE_SIDE)
"""Bins with values beyond a million on either side of 0, which a sum has as a million."""
_IN_MILLIONTHS = {"probability", "margin", "entropy", "value", "digits", "other_scripts"}
_SHARES_OF_ROWS = {"truncated", "unknown_tokens", "urls"}
_MEANS = {*_IN_MILLIONTHS, "labels_given", "token_count"}
assert {one.name for one in STATISTICS} == _MEANS | _SHARES_OF_ROWS


class Histogram(NamedTuple):
    """Rows in the bins of a statistic from bin `first` on, all others being empty; and their sum."""

    rows: int
    sum: int
    first: int
    bins: tuple[int, ...]

    def mean(self, statistic: str) -> float | None:
        """Of rows; None where the sum may have values as less than they are (see docs/use/report.md)."""
        last = self.first + len(self.bins) - 1
        filled = [number for number in _CLIPPED if self.first <= number <= last and self.bins[number - self.first]]
        if not self.rows or (statistic == "value" and filled):
            return None
        return self.sum / self.rows / (MILLION if statistic in _IN_MILLIONTHS else 1)


@dataclass(frozen=True, kw_only=True)
class Night:
    """One date. Numbers that are not known are None; statistics that no row has are missing.

    `state`: a status of a verdict, a state of a run without one, or one of those above. `codes`: code of dead letters
    -> how many, and the position of one, empty if it is not known. `labels`: rows by label, in the order of the bundle;
    `other_labels` are those of all labels from number `others_from` on. `later`: what became of a newer run of a date
    that is published, or of another one of a date whose manifest is damaged. `at_least`: the run ended early, so that
    there may be more of all that it counted.
    """

    date: dt.date
    state: str
    reason: str = ""
    run_id: str = ""
    bundle: str = ""
    precision: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    codes: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    misfits: Mapping[str, int] = field(default_factory=dict)
    work: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = None
    published_at: dt.datetime | None = None
    resumed: int = 0
    accepted: bool = False
    at_least: bool = False
    pending: str = ""
    table: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    drift: Mapping[str, Any] = field(default_factory=dict)
    summarised: int = 0
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    labels: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    other_labels: int = 0
    others_from: int | None = None
    later: tuple[str, str] | None = None

    @property
    def fingerprint(self) -> str:
        """What tells models apart."""
        return self.bundle.rpartition("@")[2]

    @property
    def short_bundle(self) -> str:
        """As it is named to people: the fingerprint cut to twelve digits."""
        return short(self.bundle)

    @property
    def is_of_several(self) -> bool:
        """Whether a text may have several labels."""
        return "labels_given" in self.histograms

    @property
    def beyond(self) -> tuple[str, ...]:
        """Statistics beyond a bound of the run, against the last dates or the baseline, farthest first."""
        return tuple(dict.fromkeys(one.statistic for one in beyond(self.drift)))

    @property
    def run_on(self) -> dt.date | None:
        """The day (UTC) on which the run began; None if its id does not say so."""
        with suppress(ValueError):
            return dt.datetime.strptime(self.run_id[:8], "%Y%m%d").date()
        return None

    @property
    def is_published(self) -> bool:
        return self.state == PUBLISHED

    @property
    def rows(self) -> int | None:
        """Rows with scores, published or staged."""
        return rows_published(self.counts) if self.counts else None

    @property
    def dead_share(self) -> float | None:
        """Dead letters by rows read; None of a run that ended early, which read but some of its rows."""
        return None if self.at_least else share(self.counts.get("dead"), self.counts.get("read"))

    @property
    def skipped_share(self) -> float | None:
        """Rows with the scores of an earlier date, by rows read; None like `dead_share`."""
        return None if self.at_least else share(self.counts.get("skipped"), self.counts.get("read"))

    @property
    def duplicates_share(self) -> float | None:
        """Rows with the tokens of another row, by those that this attempt scored."""
        copied = self.work.get("copied", 0) + self.work.get("remembered", 0)
        return share(copied, copied + self.work.get("scored", 0)) if self.work else None

    @property
    def rows_a_second(self) -> float | None:
        """Rows read by the seconds from the start of the run to its publication.

        Not of a run that was resumed, or accepted by a person: the time between is none of its work.
        """
        if not self.seconds or self.resumed or self.accepted or not self.counts:
            return None
        return self.counts["read"] / self.seconds

    def figure(self, statistic: str) -> float | None:
        """The number that stands for a statistic: its mean; of a flag or of rare counts the share of rows above 0."""
        found = self.histograms.get(statistic)
        if found is None or not found.rows:
            return None
        if statistic in _SHARES_OF_ROWS:
            of_zero = found.bins[0] if found.first == 0 and found.bins else 0
            return 1 - of_zero / found.rows
        return found.mean(statistic)

    def label_share(self, number: int) -> float | None:
        """Rows that have a label, by all rows."""
        if not self.summarised or (self.others_from is not None and number >= self.others_from):
            return None
        return self.labels.get(number, ("", 0))[1] / self.summarised


def figure_of(statistic: str) -> Callable[[Night], float | None]:
    """The figure of a statistic, as something that is measured of nights."""
    return lambda night: night.figure(statistic)


def short(bundle: str) -> str:
    """`name@fingerprint`, the fingerprint cut to twelve digits."""
    name, at, fingerprint = bundle.rpartition("@")
    return f"{name}{at}{fingerprint[:12]}"


def share(some: int | None, of: int | None) -> float | None:
    """Some by all; None where there are none, or it is not known."""
    return None if some is None or not of else some / of


def of_manifest(date: dt.date, manifest: Mapping[str, Any], pending: str) -> Night:
    """The night of a published date."""
    started, published = (_time(manifest.get(key)) for key in ("started", "published_at"))
    seconds = (published - started).total_seconds() if started and published else None
    table = manifest.get("table") or {}
    return Night(
        date=date,
        state=PUBLISHED,
        run_id=manifest["run_id"],
        bundle=manifest["bundle"],
        codes={code: (count, "") for code, count in manifest["dead_codes"].items()},
        misfits=manifest["kept_misfits"],
        seconds=None if seconds is None or seconds < 0 else seconds,
        published_at=published,
        resumed=manifest.get("splits_taken_over", 0),
        accepted=bool(manifest.get("accepted")),
        pending=pending,
        table=str(table.get("table", "")),
        settings=manifest["settings"],
        **_measured(manifest),
    )


def of_verdict(date: dt.date, state: str, reason: str, verdict: Any, about: Mapping[str, Any]) -> Night:
    """The night of a run that did not publish; `about` is what its plan says."""
    return Night(
        date=date,
        state=state,
        reason=reason,
        run_id=verdict.run_id,
        bundle=about["run"]["bundle"],
        codes=codes_of(verdict),
        misfits=verdict.kept_misfits,
        resumed=verdict.taken_over,
        at_least=verdict.at_least,
        settings=about.get("settings", {}),
        **_measured(
            {
                "counts": verdict.counts,
                "work": verdict.work,
                "precision": verdict.precision,
                "drift": verdict.drift,
                "summary": verdict.summary,
            }
        ),
    )


def codes_of(verdict: Any) -> dict[str, tuple[int, str]]:
    """Codes of dead letters, each with how many and the position of one."""
    return {code: (count, example) for code, (count, example) in verdict.dead_codes.items()}


def _measured(record: Mapping[str, Any]) -> dict[str, Any]:
    """What manifests and verdicts have in common."""
    found: dict[str, Any] = {
        "counts": {key: value for key, value in record["counts"].items() if type(value) is int},
        "work": {key: value for key, value in record["work"].items() if type(value) is int},
        "precision": record.get("precision", ""),
        "drift": record.get("drift") or {},
    }
    summary = record.get("summary")
    return {**found, **summarised(summary)} if is_comparable(summary) and _is_counted(summary) else found


def _is_counted(summary: Any) -> bool:
    """Whether all numbers are such as can be counted: a file that anybody wrote may have larger ones."""
    tallies = summary["statistics"].values()
    numbers = [summary["rows"], *(one["rows"] for one in (*tallies, *summary.get("labels", ())))]
    numbers += [(summary.get("other_labels") or {}).get("rows", 0)]
    numbers += [number for one in tallies for number in (abs(one["sum"]), *one["bins"])]
    return all(number <= _MOST for number in numbers)


def summarised(summary: Any) -> dict[str, Any]:
    """What a Night has of a summary that is comparable."""
    others = summary.get("other_labels") or {}
    return {
        "summarised": summary["rows"],
        "histograms": {
            name: Histogram(tally["rows"], tally["sum"], tally.get("first", 0), tuple(tally["bins"]))
            for name, tally in summary["statistics"].items()
            if name in _MEANS or name in _SHARES_OF_ROWS
        },
        "labels": {one["number"]: (one["label"], one["rows"]) for one in summary.get("labels", ())},
        "other_labels": others.get("rows", 0),
        "others_from": others.get("from"),
    }


def _time(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
