"""A comparison as one page: no script, no network, nothing that is not escaped."""

import os
from collections.abc import Sequence
from pathlib import Path

import jinja2

from pipeline.terminal.comparison.sections import Section
from pipeline.terminal.escaping import escaped
from transforms.stores.choose import store_for

_TEMPLATE = Path(__file__).with_name("page.html")


def page(sections: Sequence[Section], title: str) -> str:
    """The page with these sections."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    # Names from outside could turn the direction of reading on a page, too.
    environment.filters["shown"] = escaped
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(sections=sections, title=title)


def write_page(path: str, sections: Sequence[Section], title: str = "Two models compared") -> None:
    """Writes the page to a file, local or gs://, replacing one of that name."""
    place = path if "://" in path else os.path.abspath(os.path.expanduser(path))
    store_for(place).write(place, page(sections, title).encode())
