"""Every command in any order, beside and among files of others: none of those changes, and nothing appears elsewhere.

A state machine of 50 steps in the suite; `BERT_BATCH_STEPS=500 pytest -s` with this file does more. It
prints its seed; `BERT_BATCH_SEED=…` runs the same steps again.
"""

import datetime as dt
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.bundles import Built
from support.commands import invoke
from support.files.foreign_files import DATES, FOREIGN, MIXED, PLAIN, STRANGER, is_ours, look, not_ours
from support.runs.any_order import ACTS, FILES, PUBLISHED, InProcess
from support.runs.cleaning import DEATHS, LONG_AGO
from support.runs.publishing import Killed, die, ready
from support.runs.publishing import before as hook

from transforms.errors import PublishError, RecordError
from transforms.publish.commit import STEPS, publish

STEP_COUNT = int(os.environ.get("BERT_BATCH_STEPS", "50"))
EACH = max(len(ACTS), min(STEP_COUNT // 2, 50))
"""Steps after one beginning."""
SHOWS = (0, 2, 3, 4, 75, 99)
"""How a command that changes nothing may end; never with 1, which is a fault of ours."""
ENDS = (*SHOWS, 1)


def machine(base: Path, bundle: Path, taken: Counter[str]) -> Any:
    """The state machine over outputs in `base`, and in `taken` how often each act was taken, and how it ended."""

    class Commands(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            if (locked := base / "theirs/deep/locked").exists():
                # Of the example before; it is taken away by who cannot write there, unless it is root.
                locked.chmod(0o700)
            for path in base.iterdir():
                shutil.rmtree(path)
            locked.mkdir(parents=True)
            for name in ("thesis.txt", f"deep/part-{STRANGER}-00000.parquet", "deep/locked/verdict.json"):
                (base / "theirs" / name).write_text(name)
            os.symlink("deep", base / "theirs/link")
            os.symlink("..", base / "theirs/deep/up")
            (locked / "verdict.json").chmod(0o400)
            locked.chmod(0o500)
            (base / "in").mkdir()
            for date in DATES:
                texts = ["play a song", "", "rate my book"]
                rows = [{"id": f"{i}", "text": text, "body": text} for i, text in enumerate(texts)]
                (base / f"in/{date}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            self.theirs, self.steps = not_ours(base), 0
            self.broken: dict[Path, str] = {}
            for output in MIXED:
                self.somebody_writes(output, DATES[1], mode=0o400)
            assert self.scores(PLAIN, DATES[0], FILES) == 0

        # One rule for all: of many, hypothesis leaves some out of each example. The simplest one takes them in turn.
        @rule(pick=st.integers(0, len(ACTS) - 1), data=st.data())
        def step(self, pick: int, data: st.DataObject) -> None:
            self.steps += 1
            name = list(ACTS)[(pick + self.steps) % len(ACTS)]
            self.take(name, **data.draw(st.fixed_dictionaries({**ACTS[name]}), label=name))

        def take(self, act: str, /, **arguments: Any) -> None:
            there, mine = look(base), (arguments["output"],)
            getattr(self, act)(**arguments)
            now = look(base)
            taken[act] += 1
            taken["changes"] += now != there
            if not act.startswith("somebody"):
                outside = [
                    {path: what for path, what in s.items() if not is_ours(path, what, mine)} for s in (there, now)
                ]
                assert outside[0] == outside[1], (act, arguments)

        @invariant()
        def nothing_of_others_changed(self) -> None:
            if hasattr(self, "theirs"):
                assert not_ours(base) == self.theirs
                assert {path: path.read_text() for path in self.broken} == self.broken

        def shows(self, *command: object) -> None:
            there = look(base, times=True)
            code, _, err = invoke(*command)
            assert code in SHOWS, (command, err)
            assert look(base, times=True) == there, command

        def ends(self, *command: object) -> int:
            code, _, err = invoke(*command)
            assert code in ENDS, (command, err)
            return code

        def runs(self, output: str, form: str) -> None:
            self.shows("runs", "--output", base / output, "--format", form)

        def inspects(self, output: str, date: str) -> None:
            self.shows("inspect", base / output / f"dt={date}")

        def cleans_dry(self, output: str, keep: str) -> None:
            self.shows("clean", "--output", base / output, "--dry-run", "--keep-days", keep, "--older-than-days", "0")

        def checks(self, output: str, date: str, source: str) -> None:
            self.shows("check", *self.job(output, source), "--date", date)

        def job(self, output: str, source: str) -> tuple[object, ...]:
            flags = ("--input", f"{base}/{source}", "--output", base / output, "--max-dead-fraction", "1")
            # Published rows have every column but the text, and columns of ours, which no row can have twice.
            published = ("--text-column", "body", "--keep", "none") if source == PUBLISHED else ()
            return ("--bundle", bundle, *flags, *published)

        def scores(self, output: str, date: str, source: str) -> int:
            code = self.ends("score", *self.job(output, source), "--date", date)
            taken[f"scores {source}: {code}"] += 1
            return code

        def backfills(self, output: str, source: str, skip: str) -> None:
            flags = ("--from", DATES[0], "--to", DATES[1], "--if-published", skip)
            taken[f"backfills {source}: {self.ends('backfill', *self.job(output, source), *flags)}"] += 1

        def publishes(self, output: str, pick: int) -> None:
            runs = sorted(path.name for path in (base / output / "_runs").glob("2*"))[::-1]
            run_id = runs[pick % len(runs)] if runs else STRANGER
            taken[f"publishes: {self.ends('publish', run_id, '--output', base / output)}"] += 1

        def cleans(self, output: str, days: str, keep: str) -> None:
            command = ("clean", "--output", base / output, "--older-than-days", days, "--keep-days", keep)
            taken[f"cleans: {self.ends(*command)}"] += 1

        def dies(self, output: str, death: str) -> None:
            self.unless_refused(output, DATES[1], lambda: DEATHS[death](str(base / output)))

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

        def a_manifest_breaks(self, output: str, date: str, content: str) -> None:
            path = base / output / f"dt={date}" / "_manifest.json"
            if path.exists() and not self.is_behind_a_link(path):
                path.write_text(content)
                self.broken[path] = content

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

        def somebody_links_below_a_run(self, output: str, pick: int, name: str) -> None:
            runs = sorted(path for path in (base / output / "_runs").glob("2*") if not path.is_symlink())
            if runs:
                self.links(runs[pick % len(runs)] / name)

        def somebody_links_a_date(self, output: str, date: str, place: str) -> None:
            self.links(base / output / place.format(date=date))

        def links(self, path: Path) -> None:
            if not self.is_behind_a_link(path) and not os.path.lexists(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                os.symlink(base / "theirs", path)
                self.add(path)

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


@pytest.fixture
def taken() -> Counter[str]:
    return Counter()


@pytest.fixture
def kind(classes: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: Counter[str]) -> Any:
    monkeypatch.setattr("pipeline.backfill.Children", InProcess)
    (tmp_path / "base").mkdir()
    return machine(tmp_path / "base", classes.path, taken)


def test_no_command_touches_what_is_somebody_elses(kind: Any, taken: Counter[str]) -> None:
    number = int(os.environ.get("BERT_BATCH_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"BERT_BATCH_SEED={number} runs the same steps again")
    checks: Any = list(HealthCheck)
    rounds = settings(
        max_examples=1 + -(-STEP_COUNT // EACH),
        stateful_step_count=1 + EACH,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=checks,
    )
    run_state_machine_as_test(seed(number)(kind), settings=rounds)
    print(dict(sorted(taken.items())))
    # More than the simplest example, in which every act has its turn.
    assert sum(taken[name] for name in ACTS) > EACH
    assert not ACTS.keys() - taken.keys()
    # What another output has published is input like any other.
    assert taken[f"scores {PUBLISHED}: 0"]


def test_it_sees_that_a_run_is_taken_for_one_that_the_output_knows(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = kind()
    state.begin()
    publishes = {"output": "a", "date": DATES[1], "step": "none"}
    state.take("publishes_or_is_killed", **publishes)
    state.nothing_of_others_changed()
    monkeypatch.setattr("transforms.outputs.deletion.known_by", lambda *_, **__: lambda _: True)
    with pytest.raises(AssertionError):
        state.take("publishes_or_is_killed", **publishes)
    with pytest.raises(AssertionError):
        state.nothing_of_others_changed()
    there = not_ours(tmp_path / "base")
    assert f"a/dt={DATES[1]}/part-{STRANGER}-00000.parquet" in state.theirs.keys() - there.keys()


def test_it_sees_that_a_command_deletes_rows_of_the_output_inside_its_own(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = kind()
    state.begin()
    state.take("publishes_or_is_killed", output="a/nested", date=DATES[2], step="none")
    part, *_ = (tmp_path / f"base/a/nested/dt={DATES[2]}").glob("part-*.parquet")
    monkeypatch.setattr(kind, "cleans", lambda *_, **__: part.unlink())
    with pytest.raises(AssertionError):
        state.take("cleans", output="a", days="0", keep="5000")
    # Each output may delete its own, so only the rule of the one that was cleaned tells.
    state.nothing_of_others_changed()
