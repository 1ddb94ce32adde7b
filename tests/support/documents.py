"""The documents that people read, and the commands in them."""

import re
from pathlib import Path

from support.commands import ROOT

README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
GUIDES = [README, *PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]


def page(name: str) -> str:
    """The text of a page below docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def scripts(text: str) -> str:
    """The commands of a document that a test runs as they stand there: its blocks of `sh`."""
    return "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def links(file: Path) -> list[str]:
    """Where the links and pictures of a document go, those to other hosts apart."""
    text = file.read_text(encoding="utf-8")
    found = re.findall(r"\]\(([^()\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    return [one or other for one, other in found if "://" not in one + other]


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
