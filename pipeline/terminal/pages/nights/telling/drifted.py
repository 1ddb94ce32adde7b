"""Statistics of a date that are far from those of the dates before: by the bounds of the run, else by what is usual."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.terminal.pages.nights.night import Night, figure_of
from pipeline.terminal.pages.nights.telling.finding import LOOK, Finding
from pipeline.terminal.pages.nights.telling.moved import Label, moved_labels
from pipeline.terminal.pages.nights.telling.usual import alike, is_far, noise_of, usual
from pipeline.terminal.pages.nights.telling.words import STATISTICS, Words, name_of, shown
from transforms.outputs.drift.record import BASELINE, DATES, FEWEST_DATES, is_known

_MOST = 6
"""Statistics with a finding of their own."""
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
SAME_MODEL = "Model, precision and settings are those of the dates before: what has changed is in the texts."
OTHER_TEXTS = "Texts in another language, or from another source, look like this."


def drifted(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    """Statistics beyond their bounds, farthest beyond first."""
    drift = night.drift
    if not is_known(drift):
        return
    beyond: dict[str, list[str]] = {}
    ratios: dict[str, float] = {}
    for reference in (DATES, BASELINE):
        for statistic, entry in drift[reference].items():
            if entry["distance"] > entry["bound"]:
                beyond.setdefault(statistic, []).append(_distance(drift, reference, entry))
                ratios[statistic] = max(ratios.get(statistic, 0.0), entry["distance"] / max(entry["bound"], 1e-9))
    ordered = sorted(beyond, key=lambda one: -ratios[one])
    references = alike(night, before)
    for statistic in ordered[:_MOST]:
        title, details = _moved(statistic, night, references)
        measured = _distances(beyond[statistic])
        yield Finding(
            level=LOOK, title=title, details=tuple(details), place="drift", about=statistic, measured=measured
        )
    if more := ordered[_MOST:]:
        listed = tuple(f"{name_of(one)[0].upper()}{name_of(one)[1:]}. {_distances(beyond[one])}" for one in more)
        about = " ".join(more)
        title = "Other statistics are beyond their bounds too"
        yield Finding(level=LOOK, title=title, details=listed, place="drift", about=about)


def _distance(drift: Any, reference: str, entry: Any) -> str:
    what = f"the last {drift['compared_dates']} dates" if reference == DATES else "the baseline of the bundle"
    rule = "" if entry["dates"] >= FEWEST_DATES else f", a rule of thumb with fewer than {FEWEST_DATES} dates"
    return f"{entry['distance']:.3f} from {what} (bound {entry['bound']:.3f}{rule})"


def _distances(told: Sequence[str]) -> str:
    return f"Drift: {', '.join(told)}."


def _moved(statistic: str, night: Night, references: Sequence[Night]) -> tuple[str, list[str]]:
    """A title, and the figure beside what is usual."""
    if statistic == "label":
        return "Labels have other shares than usual", [
            _told(label) for label in moved_labels(night, references)[:_LABELS]
        ]
    words = STATISTICS.get(statistic)
    known, value = usual(references, lambda one: one.figure(statistic)), night.figure(statistic)
    if words is None or known is None or value is None:
        return f"{name_of(statistic).capitalize()} is unlike usual", []
    return _direction(words, value, known.middle), [_beside(words, value, known.middle)]


def _direction(words: Words, value: float, middle: float) -> str:
    if shown(value, words.form) == shown(middle, words.form):
        return f"{words.name[0].upper()}{words.name[1:]}: the mean is as usual, and its spread is not"
    return words.higher if value > middle else words.lower


def _beside(words: Words, value: float, middle: float) -> str:
    figure = words.figure[0].upper() + words.figure[1:]
    return f"{figure}: {shown(value, words.form)}, usually {shown(middle, words.form)}."


def _told(label: Label) -> str:
    return f"{label.name}: {shown(label.share, 'share')} of the rows, usually {shown(label.usual, 'share')}."


def unjudged(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    """Figures that the run has not compared itself."""
    judged = set(night.drift[DATES]) if is_known(night.drift) else set()
    references = alike(night, before)
    if "label" not in judged:
        far = [label for label in moved_labels(night, references) if label.far]
        if far:
            details = tuple(_told(label) for label in far[:_LABELS])
            yield Finding(level=LOOK, title="Labels have other shares than usual", details=details, place="labels")
    for statistic, least in _LEAST.items():
        known, value = usual(references, figure_of(statistic)), night.figure(statistic)
        if statistic in judged or known is None or value is None:
            continue
        words = STATISTICS[statistic]
        least = least * abs(known.middle) if statistic in _RELATIVE else least
        noise = noise_of(known.middle, night.summarised) if words.form == "share" else 0.0
        if is_far(night, references, figure_of(statistic), least, noise):
            detail = _beside(words, value, known.middle)
            title = _direction(words, value, known.middle)
            yield Finding(level=LOOK, title=title, details=(detail,), place=statistic, about=statistic)


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
