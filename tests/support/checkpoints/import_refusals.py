"""Every refusal of `bert-batch import`, from the real command, and the page of the documents that shows them.

`make refusals` runs this file: it writes the lines between the two marks of the page anew.
"""

import shlex
import shutil
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest
from support.checkpoints.every_layout import build_models
from support.checkpoints.spoiled_models import REFUSALS, Refusal
from support.commands import ROOT, invoke

from pipeline.terminal import report

PAGE = ROOT / "docs" / "models" / "import-refusals.md"
BEGIN, END = "<!-- refusals: begin -->\n", "<!-- refusals: end -->\n"
COMMON = "--name mine --output my-bundle"


class Refused(NamedTuple):
    """The line that was printed, the statement that raised, and the heading of the page it belongs to."""

    line: str
    site: tuple[str, int]
    heading: str


def collect(models: Path, folder: Path, patch: pytest.MonkeyPatch) -> list[Refused]:
    """Spoils a copy of `models` in every way, below `folder`, and imports it."""
    found = []
    for heading, refusals in REFUSALS.items():
        for refusal in refusals:
            place = folder / str(len(found))
            found.append(refuse(refusal, heading, models, place, patch))
            patch.chdir(folder)
            shutil.rmtree(place)
    return found


def refuse(refusal: Refusal, heading: str, models: Path, folder: Path, patch: pytest.MonkeyPatch) -> Refused:
    """Spoils a copy of the models and imports one of them."""
    patch.chdir(shutil.copytree(models, folder / "models"))
    refusal.spoil()
    sites = []

    def explain(error: Exception, log_format: str) -> int:
        frame = list(traceback.walk_tb(error.__traceback__))[-1]
        sites.append((frame[0].f_code.co_filename, frame[1]))
        return plain(error, log_format)

    plain = report.explain
    with patch.context() as inner:
        inner.setattr(report, "explain", explain)
        code, out, err = invoke("import", *shlex.split(f"{refusal.flags} {COMMON}"))
    assert (code, out, err.count("\n")) == (2, "", 1), f"{refusal.flags}: {err}"
    assert not Path("my-bundle").exists()
    return Refused(err.rstrip("\n"), sites[0], heading)


def block(refused: list[Refused]) -> str:
    """What stands between the marks of the page."""
    parts = []
    for heading in REFUSALS:
        lines = "".join(f"{one.line}\n" for one in refused if one.heading == heading)
        parts.append(f"## {heading}\n\n```\n{lines}```\n")
    return "\n".join(parts)


def shown() -> str:
    """What stands there now."""
    return PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]


def main() -> None:
    """Writes the page anew."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        models = Path(folder, "models")
        models.mkdir()
        patch.chdir(models)
        build_models()
        refused = collect(models, Path(folder), patch)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(f"{page.split(BEGIN)[0]}{BEGIN}{block(refused)}{END}{page.split(END)[1]}", encoding="utf-8")
    print(f"{len(refused)} refusals in {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
