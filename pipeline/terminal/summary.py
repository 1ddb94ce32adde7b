"""What became of a run, in sentences: the same for people and machines."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from transforms.errors import shown
from transforms.outputs.drift.record import BASELINE, DATES, FEWEST_DATES, OF_THRESHOLDS, beyond, is_known
from transforms.outputs.names import MANIFEST
from transforms.runs.history import is_expired
from transforms.runs.row_counts import MARKED
from transforms.runs.run import accept_command, read_manifest
from transforms.runs.verdict_record import HELD, SUPERSEDED, Verdict
from transforms.stores.paths import join

if TYPE_CHECKING:
    # With it comes TensorFlow.
    from transforms.score.engines.choice import Choice


def notes(verdict: Verdict) -> Iterator[str]:
    """What a person should look at: one sentence for each of the notes of a run."""
    if marked := verdict.notes.get(MARKED):
        what = "field begins" if marked == 1 else "fields begin"
        yield (
            f"{marked:,} {what} with a quotation mark, read as part of the text; "
            "say what it means with --quote '\"' or --quote none"
        )


_SHOWN = 3


def drifted(verdict: Verdict) -> str | None:
    """What of a run is farther from earlier dates, or from the baseline, than it may be; None if nothing is."""
    found = beyond(verdict.drift)
    if not found:
        return None
    dates = verdict.drift["compared_dates"]
    names = {DATES: "the last date" if dates == 1 else f"the last {dates} dates", BASELINE: "the baseline"}
    listed = [
        f"{one.statistic} is {one.distance:.3f} from {names[one.reference]} (bound {one.bound:.3f})" for one in found
    ]
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    few = "" if any(one.can_hold for one in found) else f"; bounds of fewer than {FEWEST_DATES} dates hold nothing"
    return f"drift: {', '.join(listed[:_SHOWN])}{more}{few}"


def left_out(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What of drift a job could not have: one sentence each."""
    settings, drift = manifest["settings"], manifest.get("drift", {})
    if unheld := _cannot_hold(settings, drift):
        yield unheld
    there = drift[BASELINE] if is_known(drift) else {}
    if settings.get("threshold") is not None and there and not {*OF_THRESHOLDS} & there.keys():
        yield f"{', '.join(OF_THRESHOLDS)} are not compared with the baseline, which has the bundle's thresholds"


def _cannot_hold(settings: Mapping[str, Any], drift: Mapping[str, Any]) -> str | None:
    """Why the gate of a job could not hold a run, if it could not."""
    if not (settings.get("hold_if_drift") or settings.get("min_rows_ratio")) or not is_known(drift):
        return None
    dates = drift["compared_dates"] if settings.get("hold_if_drift") else drift["rows"]["dates"]
    if dates >= FEWEST_DATES:
        return None
    return f"nothing can be held: {dates} dates to compare with, and it takes {FEWEST_DATES}"


def table_of(manifest: dict[str, Any] | None) -> str | None:
    """The BigQuery table that a date was published into, if any."""
    table = (manifest or {}).get("table")
    return table and str(table["table"])


def compared(manifest: Mapping[str, Any]) -> str:
    """What --only-new took scores from, and why not from others."""
    found, other = manifest.get("compared_with"), manifest.get("not_compared_with")
    if found is None and other is None:
        return "with no date: none up to this one has this bundle, precision, engine and top_k; every row was scored"
    date = "no date" if found is None else f"dt={found['date']}"
    return f"with {date}" + ("" if other is None else f": {not_compared(other)}")


def not_compared(found: Mapping[str, Any]) -> str:
    """Why a date is not compared with."""
    return f"dt={found['date']} has {found['why']}; texts without one are scored once more"


def work_of(verdict: Verdict) -> str:
    """What a run computed and copied."""
    work = verdict.work
    copied = work.get("copied", 0) + work.get("remembered", 0)
    computed = (
        f"{work.get('scored', 0):,} rows computed in {work.get('precision') or 'no precision'}, {copied:,} copied"
    )
    if windows := work.get("windows", 0):
        computed += f", {work.get('windows_computed', 0):,} of {windows:,} windows"
    return f"{computed}, padding factor {verdict.padding_factor}"


def computed_in(choice: "Choice") -> str:
    """The precision and the engine of a job."""
    return f"in {choice.precision or 'the precision that suits the device of each worker'}, by {choice.engine}"


def misfits(verdict: Verdict) -> str:
    """Which kept columns have nulls because values did not fit, and how many."""
    counts = sorted(verdict.kept_misfits.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{shown(name)} ({count:,} rows)" for name, count in counts[:5])
    more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
    return (
        f"values that do not fit their kept column are null there: {listed}{more}; --schema gives a column another "
        "type, --strict-columns makes dead letters of such rows"
    )


def why(verdict: Verdict) -> str:
    """Why nothing was published."""
    if verdict.status == SUPERSEDED:
        manifest, _ = read_manifest(join(verdict.folder, MANIFEST))
        if manifest is not None and is_expired(manifest):
            return "the rows of the date were deleted for their age; score the date again to have them back"
        return "another run of the date was published; its rows stay"
    told = f"nothing was published: {'; '.join(verdict.problems[:5])}"
    if verdict.status == HELD:
        output = verdict.folder.rpartition("/dt=")[0]
        return f"{told}; to publish it: {accept_command(output, verdict.run_id)}"
    return told


def engine_lines(choice: "Choice", fastest: str) -> list[str]:
    """What a plan says of what will compute, and of what would be fastest, if that is not what was asked for."""
    return [f"computed   {computed_in(choice)}", *choice.notes, *([f"fastest    {fastest}"] if fastest else [])]


def engine_as_json(choice: "Choice", fastest: str) -> dict[str, Any]:
    """The same for machines."""
    named = {"engine": choice.engine, "precision": choice.precision or "auto"}
    return {**named, "notes": list(choice.notes), "fastest": fastest}
