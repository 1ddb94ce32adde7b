"""A comparison on a terminal."""

from collections.abc import Sequence

from pipeline.terminal.console import out
from pipeline.terminal.pages.comparison.sections import Section
from pipeline.terminal.runs_table import print_table

MOST_ROWS = 20
"""Of a table; the page has all."""


def show(sections: Sequence[Section]) -> None:
    """Prints the sections, long tables to their twentieth row."""
    for number, section in enumerate(one for one in sections if not one.only_page):
        if number:
            out.print()
        out.print(section.title)
        for line in section.lines:
            out.print(f"  {line}")
        if (table := section.table) is not None:
            rows = [["", *cells] for cells in (table.columns, *table.rows[:MOST_ROWS])]
            print_table(rows, right=range(table.left + 1, len(table.columns) + 1))
            if (more := len(table.rows) - MOST_ROWS) > 0:
                out.print(f"  and {more:,} more: --html has them all")
