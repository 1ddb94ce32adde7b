"""Finding: one thing of a date that is worth an eye, and how bad it is."""

from dataclasses import dataclass

WRONG, LOOK, NOTE = "wrong", "look", "note"
"""How bad a finding is: nothing is published; published, and odd; good to know."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence, more about it, the part of the page that shows it, and which number it is about, if it is one.

    `about`: a statistic of a summary, or rows, dead, duplicates, speed. `measured`: what makes it a finding.
    """

    level: str
    title: str
    details: tuple[str, ...] = ()
    place: str = ""
    about: str = ""
    measured: str = ""
