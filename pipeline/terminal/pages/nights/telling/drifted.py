"""Statistics of a date that are far from those of the dates before: by the bounds of the run, else by what is usual."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.terminal.pages.nights.night import Night, figure_of
from pipeline.terminal.pages.nights.telling.finding import LOOK, Evidence, Finding
from pipeline.terminal.pages.nights.telling.moved import Label, moved_labels
from pipeline.terminal.pages.nights.telling.usual import Measure, alike, is_far, noise_of, noise_of_mean, usual
from pipeline.terminal.pages.nights.telling.words import STATISTICS, Words, lowered, name_of, raised, shown, words_of
from transforms.outputs.drift.bounds import FEWEST_ROWS
from transforms.outputs.drift.record import BASELINE, DATES, FEWEST_DATES, is_known

_GROUPS = (
    ("token_count", "unknown_tokens", "other_scripts", "truncated", "digits", "urls"),
    ("probability", "margin", "entropy"),
    ("value",),
    ("label", "labels_given"),
)
"""Statistics that tell the same: what the texts are like, how sure the model is, what it gives."""
_NAMED = 2
"""Statistics of a group that its title names."""
_LABELS = 3
_LEAST = {
    "token_count": 0.15,
    "probability": 0.03,
    "unknown_tokens": 0.02,
    "truncated": 0.02,
    "labels_given": 0.1,
    "value": 0.1,
}
"""What a figure must move to be told where the run has not compared it: absolute; of lengths, labels and values by what
is usual."""
_RELATIVE = ("token_count", "labels_given", "value")
_LABELS_MOVED = "Labels have other shares than usual"
SAME_MODEL = "Model, precision and settings are those of the dates before: what has changed is in the texts."
OTHER_TEXTS = "Texts in another language, or from another source, look like this."


def drifted(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    """Statistics beyond their bounds: those that tell the same are one finding."""
    beyond, references = night.beyond, alike(night, before)
    later = tuple(one for one in beyond if not any(one in group for group in _GROUPS))
    for group in (*_GROUPS, later):
        if there := [one for one in group if one in beyond]:
            titles = [_title(one, night, references) for one in there]
            title = _joined(titles[: 1 if group == _GROUPS[1] else _NAMED])
            yield Finding(
                level=LOOK,
                title=title,
                clause=lowered(title),
                place="drift",
                about=tuple(there),
                evidence=tuple(Evidence(_figure(one, night, references), _distances(one, night)) for one in there),
            )


def _joined(titles: Sequence[str]) -> str:
    first, *others = titles
    more = [lowered(one).removesuffix(" than usual") for one in others]
    return ", and ".join((first, *more))


def _distances(statistic: str, night: Night) -> str:
    drift = night.drift
    told = [
        _distance(drift, reference, drift[reference][statistic])
        for reference in (DATES, BASELINE)
        if statistic in drift[reference]
        and drift[reference][statistic]["distance"] > drift[reference][statistic]["bound"]
    ]
    return f"Distance {'; '.join(told)}."


def _distance(drift: Any, reference: str, entry: Any) -> str:
    what = f"the last {drift['compared_dates']} dates" if reference == DATES else "the baseline of the bundle"
    times = entry["distance"] / max(entry["bound"], 1e-9)
    beyond = "just beyond" if times < 1.05 else f"{times:.1f} times" if times < 2.95 else f"{times:.0f} times"
    rule = "" if entry["dates"] >= FEWEST_DATES else f", a rule of thumb with fewer than {FEWEST_DATES} dates"
    return f"{entry['distance']:.3f} from {what}, {beyond} its bound of {entry['bound']:.3f}{rule}"


def _title(statistic: str, night: Night, references: Sequence[Night]) -> str:
    if statistic == "label":
        return _LABELS_MOVED
    words = words_of(statistic, night)
    known, value = usual(references, figure_of(statistic)), night.figure(statistic)
    if words is None or known is None or value is None:
        return f"{raised(name_of(statistic, night))}: unlike usual"
    return _direction(words, value, known.middle)


def _figure(statistic: str, night: Night, references: Sequence[Night]) -> str:
    """The figure beside what is usual; of label shares those of the labels that are marked."""
    if statistic == "label":
        return _listed([label for label in moved_labels(night, references) if label.far]) or "Label shares."
    words = words_of(statistic, night)
    known, value = usual(references, figure_of(statistic)), night.figure(statistic)
    if words is None or known is None or value is None:
        return f"{raised(name_of(statistic, night))}."
    return _beside(words, value, known.middle)


def _direction(words: Words, value: float, middle: float) -> str:
    if shown(value, words.form) == shown(middle, words.form):
        return f"{raised(words.name)}: the mean is as usual, and its spread is not"
    return words.higher if value > middle else words.lower


def _beside(words: Words, value: float, middle: float) -> str:
    return f"{raised(words.figure)}: {shown(value, words.form)}, usually {shown(middle, words.form)}."


def _listed(labels: Sequence[Label]) -> str:
    told = [
        f"{one.name} {shown(one.share, 'share')} of the rows, usually {shown(one.usual, 'share')}" for one in labels
    ]
    more = [f"{len(told) - _LABELS} more labels, which are marked below"] if len(told) > _LABELS else []
    return "; ".join([*told[:_LABELS], *more]) + "." if told else ""


def unjudged(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    """Figures that the run has not compared itself."""
    judged = set(night.drift[DATES]) if is_known(night.drift) else set()
    references = alike(night, before)
    if "label" not in judged | {*night.beyond}:
        far = [label for label in moved_labels(night, references) if label.far]
        if far:
            clause = lowered(_LABELS_MOVED)
            yield Finding(level=LOOK, title=_LABELS_MOVED, clause=clause, details=(_listed(far),), place="labels")
    for statistic, least in _LEAST.items():
        measure = _of_enough_rows(statistic)
        known, value = usual(references, measure), measure(night)
        if statistic in judged or known is None or value is None:
            continue
        words = STATISTICS[statistic]
        least = least * abs(known.middle) if statistic in _RELATIVE else least
        noise = (noise_of_mean if statistic in _RELATIVE else noise_of)(known.middle, night.histograms[statistic].rows)
        if is_far(night, references, measure, least, noise):
            detail, title = _beside(words, value, known.middle), _direction(words, value, known.middle)
            clause = lowered(title)
            place, about = statistic, (statistic,)
            yield Finding(level=LOOK, title=title, clause=clause, details=(detail,), place=place, about=about)


def _of_enough_rows(statistic: str) -> Measure:
    """The figure of a statistic where as many rows have it as it takes to compare it; see transforms/outputs/drift.

    These may be few of a large night: a row whose scores are of an earlier date has not all statistics.
    """

    def measure(night: Night) -> float | None:
        found = night.histograms.get(statistic)
        return None if found is None or found.rows < FEWEST_ROWS else night.figure(statistic)

    return measure


def conclusion(night: Night, before: Sequence[Night]) -> str:
    """What several statistics beyond their bounds have in common, if that is known; else nothing."""
    if not is_known(night.drift):
        return ""
    beyond = [name for name, entry in night.drift[DATES].items() if entry["distance"] > entry["bound"]]
    references = alike(night, before)
    if len(beyond) < 2 or not references or references[-1] is not [one for one in before if one.is_published][-1]:
        return ""
    more = {
        name
        for name in beyond
        if (known := usual(references, figure_of(name))) and (night.figure(name) or 0) > known.middle
    }
    # A foreign word is many pieces or an unknown one, and says little to the model.
    foreign = more & {"unknown_tokens", "other_scripts"} or (
        "token_count" in more and "probability" in beyond and "probability" not in more
    )
    return f"{SAME_MODEL} {OTHER_TEXTS}" if foreign else SAME_MODEL
