"""Before a run is published: how far it is from the last dates of its output and from the baseline of its bundle.

The gate holds a run that is too far from them, if its job asks for that: it is complete, and published only by somebody
who accepts it, or once the same command judges it anew.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from model.bundle import TENSORFLOW
from transforms.outputs.drift.bounds import MOST_DATES
from transforms.outputs.drift.compared import Dated, drift_of
from transforms.outputs.drift.histograms import is_comparable
from transforms.outputs.drift.record import DATES, FEWEST_DATES, beyond, rows_ratio
from transforms.publish.commit import is_open, publish
from transforms.runs.history import Manifest, dates_before
from transforms.runs.plan import read_about
from transforms.runs.run import Run, read_manifest
from transforms.runs.verdict_record import HELD, PASSED, Verdict
from transforms.runs.verdicts import judge_anew, rows_published
from transforms.stores.choose import store_for

LOOKED_AT = 60
"""Dates whose manifests are read at most: there may be years of dates of other bundles."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What holds a run: `drift` beyond the bounds, fewer rows than `min_rows_ratio` times those of the last dates."""

    drift: bool = False
    min_rows_ratio: float | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """What the job asks for, by the names of its settings; empty if nothing can hold its run."""
        ratio = {} if self.min_rows_ratio is None else {"min_rows_ratio": self.min_rows_ratio}
        return {**({"hold_if_drift": True} if self.drift else {}), **ratio}

    def holds(self, drift: Mapping[str, Any]) -> Iterator[str]:
        """Why a run with this drift is held, one sentence for each reason; fewer than FEWEST_DATES hold nothing."""
        found = [one for one in beyond(drift) if one.can_hold] if self.drift else []
        if found:
            first, more = found[0], f", and {len(found) - 1} more" if len(found) > 1 else ""
            reference = "earlier dates" if first.reference == DATES else "the baseline"
            yield (
                f"{first.statistic} is {first.distance:.3f} from {reference}, and its bound is {first.bound:.3f}{more} "
                "(--hold-if-drift)"
            )
        ratio, enough = rows_ratio(drift), drift.get("rows", {}).get("dates", 0) >= FEWEST_DATES
        if self.min_rows_ratio is not None and enough and ratio is not None and ratio < self.min_rows_ratio:
            yield (
                f"{drift['rows']['number']:,} rows are {ratio:.3f} of the {drift['rows']['median']:,.0f} that the last "
                f"dates have, and --min-rows-ratio is {self.min_rows_ratio:g}"
            )


def gated(run: Run, verdict: Verdict, gate: Gate, baseline: Mapping[str, Any] | None) -> Verdict:
    """A verdict that is passed or held, with its drift as it is now, and held if the gate holds it.

    A run whose date another run has published meanwhile passes: publishing it says that it is superseded. An error of
    the comparison keeps no run from its verdict, unless the gate needs it.
    """
    drift: dict[str, Any] = {}
    try:
        drift = drift_against(run, verdict, baseline)
    except Exception as error:
        if gate.asked:
            raise
        logging.getLogger(__name__).warning("run %s: its drift is not known: %s", run.run_id, type(error).__name__)
    problems = tuple(gate.holds(drift)) if is_open(run, read_manifest(run.manifest)[0]) else ()
    return replace(verdict, status=HELD if problems else PASSED, problems=problems, drift=drift, gate=gate.asked)


def publish_judged(run: Run, gate: Gate, baseline: Mapping[str, Any] | None) -> Verdict:
    """Publishes a run that has a verdict, as `publish` does; one that is held is judged anew.

    So is one that passed, if the job has a gate, nobody has accepted it, and no publisher was about to publish it: it
    may have been judged without the gate.

    Raises PublishError as `publish` does, also if the run is held again.
    """
    judge_anew(run.verdict, lambda verdict: gated(run, verdict, gate, baseline), passed=bool(gate.asked))
    return publish(run)


def drift_against(run: Run, verdict: Verdict, baseline: Mapping[str, Any] | None) -> dict[str, Any]:
    """The drift of a run that was judged, against the dates before it that were scored alike.

    `baseline` is the summary of the validation rows of its bundle, if it has one.
    """
    about = read_about(store_for(run.output), run.plan)
    wanted = _alike(run.bundle, verdict.precision, about)
    rows: list[int] = []
    alike: list[Dated] = []
    usual: list[Dated] = []
    for looked_at, (date, manifest) in enumerate(dates_before(run.output, run.date)):
        if looked_at == LOOKED_AT or len(usual) == MOST_DATES:
            break
        if len(rows) < MOST_DATES:
            rows.append(rows_published(manifest["counts"]))
        if _alike(manifest["bundle"], manifest.get("precision", ""), manifest) == wanted:
            summary = manifest.get("summary")
            if summary is not None and is_comparable(summary):
                alike.append(Dated(date, summary))
                if not _is_odd(manifest):
                    usual.append(alike[-1])
        if len(alike) == MOST_DATES and len(usual) < MOST_DATES / 2:
            # What most of the last dates are is usual by now, odd or not.
            usual = alike
    own = Dated(run.date, verdict.summary)
    return drift_of(own, usual, baseline, rows_published(verdict.counts), rows)


def _is_odd(manifest: Manifest) -> bool:
    """Whether a date was published although it was beyond a bound of enough dates, and nobody has accepted it."""
    return not manifest.get("accepted") and any(one.can_hold for one in beyond(manifest.get("drift", {})))


def _alike(bundle: str, precision: str, about: Manifest) -> tuple[Any, ...]:
    """What two dates must have in common for their numbers to be compared. What becomes of long texts is in the
    fingerprint."""
    # In float32 every engine gives the same scores.
    engine = TENSORFLOW if precision == "float32" else about.get("engine", TENSORFLOW)
    return bundle.rpartition("@")[2], precision, engine, about.get("settings", {}).get("threshold")
