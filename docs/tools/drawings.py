"""Draws docs/images: the flow of a job, and the speed of whole jobs as benchmarks/reports/RESULTS.md has it.

`python docs/tools/drawings.py` writes every picture for light and for dark pages. Standard library only.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
REPORTS = "benchmarks/reports"
IMAGES = ROOT / "docs" / "images"
FONT = "font-family='-apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


def reports() -> Path:
    """The folder of the reports that the benchmarks print."""
    there = ROOT / REPORTS
    return there if there.is_dir() else there.parent


class Palette(NamedTuple):
    """Colours of one theme."""

    text: str
    faint: str
    box: str
    edge: str
    strong: str
    weak: str
    bad: str


PALETTES = {
    "light": Palette("#1f2328", "#59636e", "#f6f8fa", "#8c959f", "#1f5f99", "#9db4c8", "#b35900"),
    "dark": Palette("#e6edf3", "#9198a1", "#1c2128", "#6e7681", "#4a9ade", "#3d5166", "#e0914a"),
}


def text(x: float, y: float, words: str, colour: str, size: int = 13, anchor: str = "middle", weight: int = 400) -> str:
    return (
        f"<text x='{x:g}' y='{y:g}' fill='{colour}' font-size='{size}' text-anchor='{anchor}' "
        f"font-weight='{weight}'>{words}</text>"
    )


def box(x: float, y: float, width: float, height: float, fill: str, edge: str) -> str:
    return f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='6' fill='{fill}' stroke='{edge}'/>"


def arrow(path: str, colour: str) -> str:
    return f"<path d='{path}' fill='none' stroke='{colour}' stroke-width='1.5' marker-end='url(#{colour[1:]})'/>"


def picture(width: int, height: int, title: str, palette: Palette, parts: list[str]) -> str:
    heads = "".join(
        f"<marker id='{colour[1:]}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        f"<path d='M0 0 8 4 0 8z' fill='{colour}'/></marker>"
        for colour in (palette.edge, palette.bad)
    )
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' {FONT}>",
            f"<title>{title}</title>",
            f"<defs>{heads}</defs>",
            *parts,
            "</svg>\n",
        ]
    )


# === The flow of a job ===

STEPS = [
    ("Read", "rows, row counts"),
    ("Validate", "ids and texts"),
    ("Featurize", "TF Transform"),
    ("Score", "RunInference"),
    ("Write", "staged files"),
    ("Publish", "one swap"),
]


def flow(palette: Palette) -> str:
    """Input, six steps, the published date; dead letters below."""
    ink, faint, edge = palette.text, palette.faint, palette.edge
    parts = [box(8, 42, 118, 76, "none", edge), text(67, 70, "Input", ink, weight=600)]
    parts += [text(67, 89, "Parquet, JSONL, CSV", faint, 11), text(67, 105, "text, BigQuery", faint, 11)]
    for number, (name, below) in enumerate(STEPS):
        x = 150 + number * 117
        parts += [
            arrow(f"M{x - 24 if number == 0 else x - 15} 80H{x - 2}", edge),
            box(x, 50, 102, 60, palette.box, edge),
        ]
        parts += [text(x + 51, 77, name, ink, 14, weight=600), text(x + 51, 96, below, faint, 11)]
    parts += [arrow("M837 80H862", edge), box(864, 42, 128, 76, "none", palette.strong)]
    parts += [text(928, 66, "dt=2026-11-21", ink, weight=600), text(928, 85, "Parquet + manifest", faint, 11)]
    parts += [text(928, 102, "then BigQuery", faint, 11)]
    # Rows that cannot be scored, and rows whose text has not changed.
    for number in range(4):
        parts.append(f"<path d='M{201 + number * 117} 110V152' stroke='{palette.bad}' stroke-width='1.5'/>")
    parts += [arrow("M201 152H862", palette.bad), box(864, 134, 128, 36, "none", palette.bad)]
    parts += [text(928, 157, "dead letters", ink, weight=600)]
    parts += [text(705, 146, "rows that cannot be scored, each with a code", faint, 11)]
    parts += [
        arrow("M318 50V22H669V48", edge),
        text(493, 16, "unchanged texts keep their scores (--only-new)", faint, 11),
    ]
    return picture(1000, 178, "Input to Read, Validate, Featurize, Score, Write, Publish", palette, parts)


# === Whole jobs ===

BAR, NAMES = 300, 456
OURS = "this project"
ROWS = "80 of the mixture, a sample"


def jobs(results: str) -> list[tuple[str, str, float]]:
    """Contestant, what it computes in and texts a second, of the table of level (d)."""
    rows = re.findall(rf"^\| {ROWS} \| (.+?) \| (\w+) \| [\d.]+ \| ([\d.]+) \|", results, re.MULTILINE)
    return sorted(((name, precision, float(speed)) for name, precision, speed in rows), key=lambda row: -row[2])


def speed(palette: Palette, results: str) -> str:
    """Texts a second of each contestant as bars."""
    rows = jobs(results)
    most = rows[0][2]
    parts = [text(8, 20, "Whole jobs, texts a second (more is better)", palette.text, 14, "start", 600)]
    for number, (name, precision, texts) in enumerate(rows):
        y = 36 + number * 26
        colour = palette.strong if name.startswith(OURS) else palette.weak
        length = BAR * texts / most
        said = f"{name.removesuffix(f', --precision {precision}')}, {precision}"
        parts += [
            text(NAMES - 8, y + 14, said, palette.text, 12, "end"),
            f"<rect x='{NAMES}' y='{y}' width='{length:.1f}' height='19' fill='{colour}'/>",
            text(NAMES + 6 + length, y + 14, f"{texts:g}", palette.text, 12, "start"),
        ]
    return picture(NAMES + BAR + 74, 44 + 26 * len(rows), "Texts a second of whole jobs", palette, parts)


def drawings(results: str) -> Iterator[tuple[str, str]]:
    """Name and content of every picture."""
    for theme, palette in PALETTES.items():
        yield f"flow-{theme}.svg", flow(palette)
        yield f"speed-{theme}.svg", speed(palette, results)


def main() -> None:
    """Writes the pictures anew."""
    for name, content in drawings((reports() / "RESULTS.md").read_text(encoding="utf-8")):
        (IMAGES / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
