"""Finding: one thing of a date that stands out, and how bad it is."""

from dataclasses import dataclass
from typing import NamedTuple

WRONG, LOOK, NOTE = "wrong", "look", "note"
"""How bad a finding is: nothing is published; published, and odd; good to know."""


class Evidence(NamedTuple):
    """A figure beside what is usual, and the distances that are beyond their bounds; each a sentence."""

    figure: str
    distance: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence, more about it, the part of the page that shows it, and which numbers it is about.

    `about`: statistics of a summary, or rows, dead, duplicates, speed. `evidence`: what makes it a finding, where the
    run has compared it. `clause`: the title as it is said inside a sentence, where that is another one.
    """

    level: str
    title: str
    clause: str = ""
    details: tuple[str, ...] = ()
    place: str = ""
    about: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
