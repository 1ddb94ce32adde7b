"""Finding: one thing of a date that is worth an eye, and how bad it is."""

from dataclasses import dataclass

WRONG, LOOK, NOTE = "wrong", "look", "note"
"""How bad a finding is: nothing is published; published, and odd; good to know."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence, more about it, and the part of the page that shows it."""

    level: str
    title: str
    details: tuple[str, ...] = ()
    place: str = ""
