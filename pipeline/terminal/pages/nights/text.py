"""The report of one date on a terminal: what stands out, what to do, and the numbers."""

from pipeline.terminal.console import out
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.telling.drifted import conclusion
from pipeline.terminal.pages.nights.telling.facts import facts
from pipeline.terminal.pages.nights.telling.findings import findings
from pipeline.terminal.pages.nights.telling.meaning import headline, steps
from pipeline.terminal.pages.nights.telling.words import STATES, day
from pipeline.terminal.runs_table import print_table


def show(history: History) -> None:
    """Prints it."""
    night, found = history.chosen, findings(history)
    out.print(f"{day(night.date)}: {STATES.get(night.state, night.state)}")
    out.print(headline(history, found))
    if told := conclusion(night, history.before):
        out.print(told)
    for finding in found:
        out.print(f"  {finding.level:<6} {finding.title}")
        for detail in finding.details:
            out.print(f"         {detail}")
        for line in (line for evidence in finding.evidence for line in evidence):
            out.print(f"         {line}")
    for step in steps(history, found):
        out.print(f"  next   {step.replace('`', '')}")
    rows = [["", "", "this date", "usually", f"{night.date:%A}s", "lowest to highest"]]
    rows += [["", fact.name, fact.value, fact.usual, fact.weekday, fact.span] for fact in facts(history)]
    if len(rows) > 1:
        out.print()
    print_table(rows, right=(2, 3, 4, 5))
