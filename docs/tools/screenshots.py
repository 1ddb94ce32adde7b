"""Thirty nights of the real command and three ways how the next one went; the pictures of docs/use/report.md.

`make screenshots` writes build/report/night-a.html, -b.html and -c.html, to try a reader with: one of them is wrong.
Which one, and in what, stands in NIGHTS. The pictures are of that night; with --pictures, of pages that are there.
"""

import datetime as dt
import itertools
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent))
from browser import Browser
from drawings import IMAGES, ROOT

FOLDER = ROOT / "build" / "report"
FIRST, COUNT = dt.date(2026, 10, 20), 30
LAST = FIRST + dt.timedelta(COUNT)
NIGHTS: Mapping[str, float] = {"a": 0.0, "b": 0.2, "c": 0.0}
"""Each night by its share of texts in another language."""
ROWS, WEEKEND, DEAD = 800, 520, (1, 4)
SWING = {"BookRestaurant": 1.5, "PlayMusic": 1.4, "SearchScreeningEvent": 1.6}
"""What is asked for more often on weekends."""
SLOTS = {
    "wo": ("Berlin", "Hamburg", "Köln", "Zürich", "Graz", "am Bodensee", "in den Alpen", "in der Innenstadt"),
    "wann": ("morgen früh", "heute Abend", "am Wochenende", "übermorgen", "gegen acht Uhr", "nächsten Freitag"),
    "was": ("Kammermusik", "etwas Ruhiges", "ein Hörspiel", "die neuen Lieder", "Volksmusik", "Tanzmusik"),
}
GERMAN = (
    "wie wird das Wetter {wann} {wo}",
    "brauche ich {wann} einen Regenschirm",
    "spiel bitte {was} im Wohnzimmer",
    "füge {was} zu meiner Liste hinzu",
    "reserviere {wann} einen Tisch für vier Personen {wo}",
    "welche Filme laufen {wann} {wo}",
    "gib diesem Buch vier von sechs Punkten",
    "suche mir {was} aus den achtziger Jahren",
    "wird es {wann} {wo} schneien oder regnen",
    "gibt es {wo} ein gutes Gasthaus mit Garten",
)


def german() -> list[str]:
    """Every sentence with every word in its places."""
    found = {
        sentence.format(**dict(zip(SLOTS, words, strict=True)))
        for sentence in GERMAN
        for words in itertools.product(*SLOTS.values())
    }
    return sorted(found)


def texts() -> dict[str, list[str]]:
    """The example's texts by label."""
    found: dict[str, list[str]] = {}
    for name in ("train", "validation"):
        for row in pq.read_table(ROOT / "examples" / "snips" / f"{name}.parquet").to_pylist():
            found.setdefault(row["label"], []).append(row["text"])
    return found


def night(date: dt.date, foreign: float, seed: int) -> Iterator[dict[str, Any]]:
    """The rows of a date, a few of them blank."""
    chance, own, others = random.Random(seed), texts(), german()
    weekend = date.weekday() >= 5
    count = round(chance.gauss(WEEKEND if weekend else ROWS, 25))
    weights = [(SWING.get(label, 1.0) if weekend else 1.0) * chance.uniform(0.94, 1.06) for label in own]
    blank = set(chance.sample(range(count), chance.randint(*DEAD)))
    for number in range(count):
        label = chance.choices([*own], weights)[0]
        text = chance.choice(others if chance.random() < foreign else own[label])
        yield {"id": f"{date.isoformat()}-{number:04}", "text": "" if number in blank else text}


def write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def run(folder: Path, *arguments: object) -> None:
    """A command of this project."""
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    subprocess.run(command, cwd=folder, env=environment, check=True)


def score_nights() -> None:
    """Thirty nights, unless they are there, and the next one in three ways."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    bundle, example = FOLDER / "bundle", ROOT / "examples" / "snips"
    if not bundle.exists():
        data = ("--input", example / "train.parquet", "--test-input", example / "validation.parquet")
        run(FOLDER, "train", "--name", "snips", *data, "--id-column", "id", "--output", bundle)
    job = ("--bundle", bundle, "--input", "texts/{date}.jsonl", "--output", "scored")
    for number in range(COUNT):
        date = FIRST + dt.timedelta(number)
        write(FOLDER / "texts" / f"{date}.jsonl", night(date, 0.0, number))
    run(FOLDER, "backfill", *job, "--from", FIRST, "--to", LAST - dt.timedelta(1))
    for number, (name, foreign) in enumerate(NIGHTS.items()):
        folder = FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(FOLDER / "scored", folder / "scored")
        write(folder / "texts" / f"{LAST}.jsonl", night(LAST, foreign, 1_000 + number))
        run(folder, "score", *job, "--date", LAST, "--report", FOLDER / f"night-{name}.html")


def pictures() -> None:
    """Parts of a page: its beginning on a light screen, more of it on a dark one, its beginning on a phone."""
    (wrong,) = (name for name, foreign in NIGHTS.items() if foreign)
    file = FOLDER / f"night-{wrong}.html"
    with Browser() as browser:
        for name, width, height, begin in (
            ("light", 960, 900, "html"),
            ("dark", 960, 980, "#labels"),
            ("narrow", 360, 900, "html"),
        ):
            page = browser.open(file, width, dark=name == "dark")
            # Where this was built is nobody's business.
            page.value(
                "document.body.innerHTML = document.body.innerHTML.replaceAll("
                "document.querySelector('.above').textContent.replace(/\\/scored$/, ''), '/data')"
            )
            page.screenshot(IMAGES / f"report-{name}.png", height, begin)


if __name__ == "__main__":
    if "--pictures" not in sys.argv[1:]:
        score_nights()
    pictures()
