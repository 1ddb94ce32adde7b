"""What a back-fill tells: a line for each date, and one for all."""

from collections import Counter
from dataclasses import asdict

from pipeline.backfill import FINE, Ended
from pipeline.errors import ConfigError
from pipeline.terminal.console import emit, err, out, quiet_libraries
from transforms.runs.verdicts import rows_published


class DateReporter:
    """Tells of each date in one line, and of all at the end: as text, or one JSON object a line."""

    def __init__(self, log_format: str) -> None:
        if log_format not in ("text", "json"):
            raise ConfigError(f"--log-format {log_format!r} is unknown; use text or json")
        quiet_libraries()
        self._json, self._outcomes = log_format == "json", Counter[str]()

    def tell(self, ended: Ended) -> None:
        """Says what became of a date."""
        self._outcomes[ended.outcome] += 1
        if self._json:
            emit("date", **asdict(ended))
            return
        line = f"{ended.date}  {ended.outcome.replace('_', ' ')}"
        if ended.counts:
            line += f", {rows_published(ended.counts):,} rows, {ended.counts['dead']:,} dead letters"
        out.print(line + ("" if ended.code in FINE else f" (exit code {ended.code})"))
        for problem in ended.message.splitlines():
            err.print(f"  {problem}")

    def sum_up(self) -> None:
        """Says how many dates ended in which way."""
        if self._json:
            emit("dates", **self._outcomes)
            return
        outcomes = (f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in self._outcomes.items())
        out.print(f"{self._outcomes.total():,} dates: {', '.join(outcomes)}")
