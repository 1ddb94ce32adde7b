"""A comparison as one page."""

from collections.abc import Sequence

from pipeline.terminal.pages.comparison.sections import Section
from pipeline.terminal.pages.writing import filled


def page(sections: Sequence[Section], title: str = "Two models compared") -> str:
    """The page with these sections."""
    return filled("comparison/page.html", sections=sections, title=title)
