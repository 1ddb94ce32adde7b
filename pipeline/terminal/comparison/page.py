"""A comparison as one page: no script, no network, nothing that is not escaped."""

import os
from collections.abc import Sequence
from pathlib import Path

import jinja2

from pipeline.errors import ConfigError
from pipeline.jobs.outputs import absolute
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
    place = absolute(path)
    store_for(place).write(place, page(sections, title).encode())


def check_page(path: str, outputs: Sequence[str]) -> None:
    """Raises ConfigError if a page cannot be written there, or would be a file of one of the outputs."""
    place = absolute(path)
    if "://" not in place:
        # A link may lead into an output.
        place = os.path.realpath(place)
        there = os.path.dirname(place)
        while not os.path.lexists(there):
            there = os.path.dirname(there)
        if os.path.isdir(place) or not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(f"--html {path!r}: no file can be written there; name another one")
    for output in outputs:
        folder = output if "://" in output else os.path.realpath(output)
        if place.startswith(folder + "/"):
            raise ConfigError(f"--html {path!r}: is in the output {output}, which holds scores only; name another file")
