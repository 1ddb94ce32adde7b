"""MkDocs hook: documents from outside docs/ become pages of the site, and links are right there as in the repository.

A page writes a link as it is right in the repository. Here it becomes a link inside the site; one to a file that is no
page keeps its text only, and one to nothing is a warning, which `mkdocs build --strict` takes for an error.
"""

import logging
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).resolve().parent))
from drawings import REPORTS, ROOT, reports

DOCS, OUTSIDE = "docs", "repository"
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md", "examples/snips/README.md")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|`[^`]*`)*)\]\(([^()\s]+)\)")
log = logging.getLogger("mkdocs.hooks.links")


def outside() -> dict[str, Path]:
    """Place in the repository -> file, of every page and picture that does not lie below docs/."""
    found = {page: ROOT / page for page in PAGES}
    for file in sorted(reports().glob("*")):
        if file.suffix in (".md", ".png"):
            found[f"{REPORTS}/{file.name}"] = file
    return found


def on_files(files: Any, config: Any) -> Any:
    """Adds the documents from outside."""
    for place, file in outside().items():
        files.append(File.generated(config, f"{OUTSIDE}/{place}", abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turns the links of a page into links of the site."""
    uri = page.file.src_uri
    place = uri.removeprefix(f"{OUTSIDE}/") if uri.startswith(f"{OUTSIDE}/") else f"{DOCS}/{uri}"
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _links(part, uri, place) for part in parts)


def _links(text: str, uri: str, place: str) -> str:
    def link(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        path, mark, anchor = target.partition("#")
        if not path or "://" in path:
            return found[0]
        goal = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
        if goal.startswith(f"{DOCS}/"):
            there = goal.removeprefix(f"{DOCS}/")
        elif goal in outside():
            there = f"{OUTSIDE}/{goal}"
        else:
            if not (ROOT / goal).exists():
                log.warning(f"{place}: link to {target}, which is not in the repository")
            return words
        return f"{picture}[{words}]({posixpath.relpath(there, posixpath.dirname(uri) or '.')}{mark}{anchor})"

    return LINK.sub(link, text)
