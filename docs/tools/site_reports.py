"""Where the reports are that the benchmarks print."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPORTS = "benchmarks/reports"


def reports() -> Path:
    """The folder of the printed reports."""
    there = ROOT / REPORTS
    return there if there.is_dir() else there.parent
