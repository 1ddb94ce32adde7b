"""Pages of HTML: filled, checked for their place, written."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.errors import ConfigError
from pipeline.jobs.outputs import absolute
from pipeline.terminal.escaping import escaped
from transforms.stores.choose import store_for

_FOLDER = Path(__file__).parent


def filled(template: str, **values: Any) -> str:
    """The page of a template in this folder, which builds on frame.html; every value in it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Names from outside could turn the direction of reading on a page, too.
    environment.filters["shown"] = escaped
    environment.filters["coded"] = _coded
    return environment.get_template(template).render(**values)


def _coded(text: str) -> Markup:
    """Text in which what stands between `backticks` is code."""
    parts = escaped(text).split("`")
    return Markup("").join(Markup("<code>{}</code>" if at % 2 else "{}").format(part) for at, part in enumerate(parts))


def write_page(path: str, content: str) -> None:
    """Writes a page to a file, local or gs://, replacing one of that name."""
    place = absolute(path)
    store_for(place).write(place, content.encode())


def check_page(flag: str, path: str, outputs: Sequence[str]) -> None:
    """Raises ConfigError if no page can be written there, or it would be a file of one of the outputs."""
    if not path.endswith((".html", ".htm")):
        # So that no other file is replaced by a slip.
        raise ConfigError(f"{flag} {path!r}: does not end in .html; give the name of a page")
    place = absolute(path)
    if "://" not in place:
        # A link may lead into an output.
        place = os.path.realpath(place)
        there = os.path.dirname(place)
        while not os.path.lexists(there):
            there = os.path.dirname(there)
        if os.path.isdir(place) or not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(f"{flag} {path!r}: no file can be written there; name another one")
    for output in outputs:
        folder = output if "://" in output else os.path.realpath(output)
        if place.startswith(folder + "/"):
            raise ConfigError(f"{flag} {path!r}: is in the output {output}, which holds scores only; name another file")
