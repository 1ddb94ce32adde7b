"""Every command in any order, beside and among files of others: none of those changes, and nothing appears elsewhere.

A state machine of 50 steps in the suite; `BERT_BATCH_STEPS=500 pytest tests/test_other_peoples_files.py -s` does more.
It prints its seed; `BERT_BATCH_SEED=…` runs the same steps again.
"""

import datetime as dt
import json
import os
import random
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cleaning import DEATHS, LONG_AGO
from conftest import Built
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from publishing import ready
from test_cli import invoke
from test_publish import Killed, die
from test_publish import before as hook

from pipeline.children import Result
from transforms import names
from transforms.publish import STEPS, PublishError, publish
from transforms.records import RecordError

STEP_COUNT = int(os.environ.get("BERT_BATCH_STEPS", "50"))
DATES = ("2026-11-20", "2026-11-21", "2026-11-22")
OUTPUTS = ("a", "b", "a/nested", "in/c", "a/dt=2026-11-20/d")
"""Side by side, in another one's folder, in the folder of the input, among the rows of another one."""
OWN = ("dt=", "_runs", "_dead_letters")
ENDS = (0, 1, 2, 3, 4, 75, 99)
FOREIGN = (
    "dt={date}/part-00000-8a6e7d2c.snappy.parquet",
    "dt={date}/part-20261121T020003Z-abcdef-00000.parquet",
    "dt={date}/_SUCCESS",
    "dt={date}/.crc",
    "dt={date}/link",
    "_dead_letters/dt={date}/link",
    "dt={date}/sub/part-20261121T020003Z-abcdef-00000.parquet",
    "_dead_letters/dt={date}/notes.txt",
    "_runs/notes.txt",
    "_runs/20261121T020003Z-abcdef/staged/mine.parquet",
    "notes.txt",
)
some = st.sampled_from
Seen = dict[str, tuple[int, object]]


def look(folder: Path, *, times: bool = False) -> Seen:
    """Every file, folder and link below a folder: its mode, and content or target (and time of change)."""
    found: Seen = {}
    for below, folders, files in os.walk(folder):
        for path in (Path(below) / name for name in (*folders, *files)):
            status = path.lstat()
            kind: object = None
            if stat.S_ISLNK(status.st_mode):
                kind = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                kind = path.read_bytes()
            found[str(path.relative_to(folder))] = (status.st_mode, (kind, status.st_mtime_ns) if times else kind)
    return found


def is_ours(path: str, what: tuple[int, object]) -> bool:
    """Whether a file, by its path below the base, is one that a command may write or delete: so are its folders."""
    for output in OUTPUTS:
        below = path.removeprefix(output + "/")
        if below == path:
            continue
        name = below.rpartition("/")[2]
        own = names.owner(below) or names.is_manifest(below) or (name.startswith(".") and name.endswith(".lock"))
        if below.startswith(OWN) and not stat.S_ISLNK(what[0]) and (own or stat.S_ISDIR(what[0])):
            return True
    return any(stat.S_ISDIR(what[0]) and (output + "/").startswith(path + "/") for output in OUTPUTS)


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


def machine(base: Path, bundle: Path) -> type[RuleBasedStateMachine]:
    """The state machine over outputs in `base`."""

    class Commands(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            for path in base.iterdir():
                shutil.rmtree(path)
            (base / "theirs/deep/locked").mkdir(parents=True)
            run_id = "20261121T020003Z-abcdef"
            for name in ("thesis.txt", f"deep/part-{run_id}-00000.parquet", "deep/locked/verdict.json"):
                (base / "theirs" / name).write_text(name)
            os.symlink("deep", base / "theirs/link")
            os.symlink("..", base / "theirs/deep/up")
            (base / "theirs/deep/locked/verdict.json").chmod(0o400)
            (base / "theirs/deep/locked").chmod(0o500)
            (base / "in").mkdir()
            for date in DATES:
                rows = [{"id": f"{i}", "text": text} for i, text in enumerate(["play a song", "", "rate my book"])]
                (base / f"in/{date}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            self.theirs = self.others()
            for output in OUTPUTS:
                self.somebody_writes(output, DATES[1], mode=0o400)

        def others(self) -> Seen:
            return {path: what for path, what in look(base).items() if not is_ours(path, what)}

        @invariant()
        def nothing_of_others_changed(self) -> None:
            if hasattr(self, "theirs"):
                assert self.others() == self.theirs

        def shows(self, *command: object) -> None:
            there = look(base, times=True)
            assert invoke(*command)[0] in ENDS
            assert look(base, times=True) == there, command

        # The first rule is taken again and again by the simplest example.
        @rule(output=some(OUTPUTS), form=some(["text", "json"]))
        def a_runs(self, output: str, form: str) -> None:
            self.shows("runs", "--output", base / output, "--format", form)

        @rule(output=some(OUTPUTS), date=some(DATES))
        def inspects(self, output: str, date: str) -> None:
            self.shows("inspect", base / output / f"dt={date}")

        @rule(output=some(OUTPUTS), keep=some(["1", "5000"]))
        def cleans_dry(self, output: str, keep: str) -> None:
            self.shows("clean", "--output", base / output, "--dry-run", "--keep-days", keep, "--older-than-days", "0")

        @rule(output=some(OUTPUTS), date=some(DATES), source=some(["in/{date}.jsonl", "a/dt={date}/*", "theirs"]))
        def checks(self, output: str, date: str, source: str) -> None:
            self.shows("check", *self.job(output, source), "--date", date)

        def job(self, output: str, source: str) -> tuple[object, ...]:
            flags = ("--input", f"{base}/{source}", "--output", base / output, "--max-dead-fraction", "1")
            return ("--bundle", bundle, *flags)

        @rule(
            output=some(OUTPUTS),
            date=some(DATES),
            source=some(["in/{date}.jsonl", "in/*.jsonl", "in", "a", "b/dt=*/*"]),
        )
        def scores(self, output: str, date: str, source: str) -> None:
            assert invoke("score", *self.job(output, source), "--date", date)[0] in ENDS

        @rule(output=some(OUTPUTS), skip=some(["skip", "replace"]))
        def backfills(self, output: str, skip: str) -> None:
            flags = ("--from", DATES[0], "--to", DATES[1], "--if-published", skip)
            assert invoke("backfill", *self.job(output, "in/{date}.jsonl"), *flags)[0] in ENDS

        @rule(output=some(OUTPUTS), death=some([name for name in DEATHS if name != "superseded"]))
        def dies(self, output: str, death: str) -> None:
            self.unless_refused(output, DATES[1], lambda: DEATHS[death](str(base / output)))

        @rule(output=some(OUTPUTS), date=some(DATES), step=some([*STEPS, "none"]))
        def publishes_or_is_killed(self, output: str, date: str, step: str) -> None:
            def run() -> None:
                day = dt.date.fromisoformat(date)
                at = hook(step, die) if step in STEPS else lambda _: None
                publish(ready(str(base / output), date=day, started=LONG_AGO), at)

            self.unless_refused(output, date, run)

        def unless_refused(self, output: str, date: str, act: Callable[[], object]) -> None:
            # `score` refuses a date that is a link before it plans; the helpers plan without looking.
            if not (base / output / f"dt={date}").is_symlink():
                with suppress(Killed, PublishError, RecordError):
                    act()

        @rule(output=some(OUTPUTS), pick=st.integers(0, 20))
        def publishes(self, output: str, pick: int) -> None:
            runs = sorted(path.name for path in (base / output / "_runs").glob("2*"))
            run_id = runs[pick % len(runs)] if runs else "20261121T020003Z-abcdef"
            assert invoke("publish", run_id, "--output", base / output)[0] in ENDS

        @rule(output=some(OUTPUTS), days=some(["0", "2"]), keep=some(["1", "5000"]))
        def cleans(self, output: str, days: str, keep: str) -> None:
            command = ("clean", "--output", base / output, "--older-than-days", days, "--keep-days", keep)
            assert invoke(*command)[0] in ENDS

        @rule(output=some(OUTPUTS), date=some(DATES), mode=some([0o400, 0o644]))
        def somebody_writes(self, output: str, date: str, mode: int) -> None:
            for name in FOREIGN:
                path = base / output / name.format(date=date)
                if self.is_behind_a_link(path) or os.path.lexists(path):
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                if name.endswith("link"):
                    os.symlink(base / "theirs" / "deep", path)
                else:
                    path.write_text(name)
                    path.chmod(mode)
                self.add(path)

        @rule(output=some(OUTPUTS), pick=st.integers(0, 20), name=some(["mine", "staged/mine", "beats-1/x"]))
        def somebody_links_below_a_run(self, output: str, pick: int, name: str) -> None:
            runs = sorted(path for path in (base / output / "_runs").glob("2*") if not path.is_symlink())
            path = runs[pick % len(runs)] / name if runs else base
            if runs and not self.is_behind_a_link(path) and not os.path.lexists(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                os.symlink(base / "theirs", path)
                self.add(path)

        @rule(output=some(OUTPUTS), date=some(DATES))
        def somebody_links_a_date(self, output: str, date: str) -> None:
            path = base / output / f"dt={date}"
            if not self.is_behind_a_link(path) and not os.path.lexists(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                os.symlink(base / "theirs", path)
                self.add(path)

        @rule(output=some(OUTPUTS), date=some(DATES), content=some(["{}", "[]", "null", '{"format": 2}', "{"]))
        def a_manifest_breaks(self, output: str, date: str, content: str) -> None:
            path = base / output / f"dt={date}" / "_manifest.json"
            if path.exists() and not self.is_behind_a_link(path):
                path.write_text(content)

        def is_behind_a_link(self, path: Path) -> bool:
            return any(above.is_symlink() for above in path.parents if base in above.parents)

        def add(self, path: Path) -> None:
            """Somebody else put this there, and the folders it needed."""
            for one in (path, *path.parents):
                if base in one.parents:
                    name = str(one.relative_to(base))
                    what = look(one.parent)[one.name]
                    if not is_ours(name, what):
                        self.theirs[name] = what

    return Commands


def test_no_command_touches_what_is_somebody_elses(
    classes: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.backfill.Children", InProcess)
    number = int(os.environ.get("BERT_BATCH_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"BERT_BATCH_SEED={number} runs the same steps again")
    (tmp_path / "base").mkdir()
    kind = machine(tmp_path / "base", classes.path)
    checks: Any = list(HealthCheck)
    # The first example is the simplest one, of one rule; of each other one hypothesis leaves some rules out.
    rounds = settings(
        max_examples=1 + max(2, STEP_COUNT // 50),
        stateful_step_count=min(STEP_COUNT, 50),
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=checks,
    )
    run_state_machine_as_test(seed(number)(kind), settings=rounds)
