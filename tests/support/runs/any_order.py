"""What a state machine may do next: every command and every act of somebody else, with their choices."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from support.commands import invoke
from support.files.foreign_files import DATES, MIXED, OUTPUTS, PLAIN
from support.runs.cleaning import DEATHS

from pipeline.runners.children import Result
from transforms.publish.commit import STEPS

some = st.sampled_from
any_output, mixed = some(OUTPUTS), some(MIXED)
# The simplest example takes the first of everything: it breaks a manifest, and not of the date that it scores.
any_date, last_date = some(DATES), some(DATES[::-1])
FILES, PUBLISHED = "in/{date}.jsonl", f"{PLAIN}/dt=*/*.parquet"
UNFIT = ("in", "a", "b/dt=*/*")
"""Input of several formats, and with files of others that only look like Parquet: refused."""
Strategies = Mapping[str, st.SearchStrategy[Any]]
ACTS: Mapping[str, Strategies] = {
    "scores": {
        "output": any_output,
        "date": any_date,
        "source": some([PUBLISHED, FILES, PUBLISHED, FILES, "in/*.jsonl", *UNFIT]),
    },
    "backfills": {"output": any_output, "source": some([PUBLISHED, FILES]), "skip": some(["skip", "replace"])},
    "publishes": {"output": any_output, "pick": st.integers(0, 20)},
    # Never the output that is the input of others: then they would find none.
    "cleans": {"output": mixed, "days": some(["0", "2"]), "keep": some(["1", "5000"])},
    "dies": {"output": mixed, "death": some([name for name in DEATHS if name != "superseded"])},
    "publishes_or_is_killed": {"output": mixed, "date": last_date, "step": some(["none", *STEPS])},
    "a_manifest_breaks": {
        "output": mixed,
        "date": last_date,
        "content": some(["{}", "[]", "null", '{"format": 2}', "{"]),
    },
    "runs": {"output": any_output, "form": some(["text", "json"])},
    "inspects": {"output": any_output, "date": any_date},
    "cleans_dry": {"output": any_output, "keep": some(["1", "5000"])},
    "checks": {"output": any_output, "date": any_date, "source": some([FILES, "a/dt={date}/*", "theirs", PUBLISHED])},
    "somebody_writes": {"output": mixed, "date": some(DATES[:2]), "mode": some([0o400, 0o644])},
    "somebody_links_below_a_run": {
        "output": any_output,
        "pick": st.integers(0, 20),
        "name": some(["mine", "staged/mine", "beats-1/x"]),
    },
    "somebody_links_a_date": {
        "output": mixed,
        "date": some(DATES[2:]),
        "place": some(["dt={date}", "_dead_letters/dt={date}"]),
    },
}


class InProcess:
    """In place of pipeline.backfill.Children: the same commands, in this process."""

    def __init__(self, _: Mapping[str, str]) -> None:
        self._ended: dict[str, Result] = {}

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *_: object) -> None: ...

    def __len__(self) -> int:
        return len(self._ended)

    def start(self, name: str, arguments: Sequence[str]) -> None:
        code, out, err = invoke(*arguments)
        self._ended[name] = Result(code=code, out=out, err=err)

    def wait(self) -> dict[str, Result]:
        ended, self._ended = self._ended, {}
        return ended
