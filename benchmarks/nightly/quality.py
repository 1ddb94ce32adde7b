"""What `train` reaches from a real encoder: `make quality`, or `python -m benchmarks.nightly.quality trec-defaults`.

Reads the folder $SHARED (default ../shared) and fails when it is missing. Trains and scores with the project's own
commands; every task named is trained anew and replaces its section of benchmarks/reports/QUALITY.md. Bundles trained
with defaults are certified in other precisions, see precisions.py.
"""

import argparse
import datetime as dt
import json
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.nightly.precisions import certify
from benchmarks.nightly.precisions import write_report as write_precisions
from benchmarks.nightly.quality_long_texts import MAX_TOKENS, WORST, paired, read_long_imdb, right_rows
from benchmarks.nightly.quality_measures import CALIBRATED, WORSE, calibration, metrics, one_vs_rest
from benchmarks.nightly.quality_tasks import TASKS as SHORT_TASKS
from benchmarks.nightly.quality_tasks import Task
from benchmarks.paths import REPORTS, ROOT, encoder_folder, shared

REPORT = REPORTS / "QUALITY.md"
MAX_SECONDS = 40 * 60
_LONG = ("--max-tokens", str(MAX_TOKENS))
TASKS = {
    "imdb-long-windows": Task(
        title=f"IMDB, reviews of more than 256 tokens, {MAX_TOKENS} at once, in windows; 2,000 held out",
        read=read_long_imdb,
        metric="accuracy",
        bar=0.0,
        flags=(*_LONG, "--long-texts", "windows"),
        rivals=(("cut", _LONG), ("head-tail", (*_LONG, "--long-texts", "head-tail"))),
        most_behind=WORST,
    ),
    **SHORT_TASKS,
}


def run(name: str, task: Task, folder: Path, rows: int | None) -> tuple[str, bool]:
    """Trains, scores the held-out rows and gives the section of the report, and whether bar and time are kept."""
    held_out = 0
    split = tuple(table.slice(0, rows) for table in task.read(shared() / "data"))
    for part, table in zip(("train", "held-out"), split, strict=True):
        ids = pa.array([f"{part}-{i}" for i in range(table.num_rows)])
        pq.write_table(table.append_column("id", ids), folder / f"{name}-{part}.parquet")
        held_out = table.num_rows
    trainings = [_train_and_score(name, task, seed, folder, held_out) for seed in task.seeds]
    measured = {metric: [found.metrics[metric] for found in trainings] for metric in trainings[0].metrics}
    bar, of = task.bar, ""
    if bar is None:
        bar, c = one_vs_rest(*split)
        of = f", micro F1 of a logistic regression for each label on the encoder's vectors (C = {c:g})"
    reached = float(np.mean(measured[task.metric])) >= bar
    # Of rivals it is not asked.
    errors = [found.calibration for found in trainings if found.calibration is not None and not task.rivals]
    calibrated = all(after <= min(CALIBRATED, before + WORSE) for before, after in errors)
    quick = all(found.seconds <= MAX_SECONDS for found in trainings)
    figures = ", ".join(f"{metric} {_listed(values)}" for metric, values in measured.items())
    mean = f"{task.metric} {np.mean(measured[task.metric]):.4f}"
    of_seeds = f", mean of seeds {', '.join(map(str, task.seeds))}" if len(task.seeds) > 1 else ""
    certified = []
    if rows is None and name.endswith("-defaults") and not task.several:
        certified = certify(name, task, folder / f"{name}-{task.seeds[0]}", folder)
    if errors:
        before, after = (_listed(values) for values in zip(*errors, strict=True))
        kept = "kept" if calibrated else "NOT kept"
        certified.insert(0, f"calibration error {before} before the temperature, {after} after: limits {kept}")
    ahead, lines = _rivals(name, task, trainings[0], folder, held_out)
    told = "".join(f"\n- {line}" for line in (*certified, *lines))
    text = f"""## {name}

{task.title}, {held_out:,} rows scored: **{mean}**{of_seeds}, bar {bar:.4g}{of}: \
{"reached" if reached else "NOT reached"}. All: {figures}. Trained in {_listed([t.seconds for t in trainings], 0)} s\
{"" if quick else f", ABOVE {MAX_SECONDS:,} s"}, {_listed([t.cpu for t in trainings], 0)} s of user CPU, \
{_listed([t.epochs for t in trainings], 0)} epochs; {dt.date.today().isoformat()}, {os.cpu_count()} cores, \
{platform.machine()}.{"" if reached else " " + task.tried}
{told}

```
{chr(10).join(_shown(command, folder) for command in trainings[0].commands)}
```
"""
    return text, reached and quick and calibrated and ahead


def _rivals(name: str, task: Task, ours: "Training", folder: Path, held_out: int) -> tuple[bool, list[str]]:
    """Whether the task is not too far behind its first rival, and what it is against each."""
    lines, ahead = [], True
    for number, (rival, flags) in enumerate(task.rivals):
        shutil.copyfile(folder / f"{name}-train.parquet", folder / f"{name}-{rival}-train.parquet")
        shutil.copyfile(folder / f"{name}-held-out.parquet", folder / f"{name}-{rival}-held-out.parquet")
        found = _train_and_score(f"{name}-{rival}", replace(task, flags=flags), task.seeds[0], folder, held_out)
        mean, low = paired(right_rows(ours.scored), right_rows(found.scored))
        line = (
            f"{rival}: {task.metric} {found.metrics[task.metric]:.4f}; ahead of it by {mean:+.4f}, at least {low:+.4f}"
        )
        if number == 0 and task.most_behind is not None:
            ahead = low > task.most_behind
            line += f" (95 %, paired), must be above {task.most_behind:+.4f}: {'kept' if ahead else 'NOT kept'}"
        lines.append(line)
    return ahead, lines


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training: its metrics on the held-out rows, wall and user CPU seconds of `train`, epochs, commands.

    `calibration` is the error on these rows before and after the temperature, where there is one.
    """

    metrics: dict[str, float]
    seconds: float
    cpu: float
    epochs: int
    commands: list[list[str]]
    calibration: tuple[float, float] | None
    scored: pa.Table


def _train_and_score(name: str, task: Task, seed: int, folder: Path, held_out: int) -> Training:
    bundle, output = folder / f"{name}-{seed}", folder / f"{name}-{seed}-scored"
    train = ["train", "--name", name, "--input", str(folder / f"{name}-train.parquet"), "--output", str(bundle)]
    train += ["--encoder", str(encoder_folder()), "--label-column", "gold", "--id-column", "id", "--seed", str(seed)]
    score = ["score", "--bundle", str(bundle), "--input", str(folder / f"{name}-held-out.parquet")]
    score += ["--output", str(output), "--date", "2026-11-21", "--keep", "gold", "--log-format", "json"]
    if "--text-pair-column" in task.flags:
        score += ["--text-pair-column", "other"]
    commands = [[*train, *task.flags], score]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    seconds = _command(commands[0])
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    _command(score)
    files = json.loads((output / "dt=2026-11-21" / "_manifest.json").read_bytes())["files"]
    scored = pa.concat_tables([pq.ParquetFile(output / file["path"]).read() for file in files])
    if scored.num_rows != held_out:
        sys.exit(f"{name}: {scored.num_rows} of {held_out} held-out rows were scored; dead letters are in {output}")
    epochs = json.loads((bundle / "bundle.json").read_bytes())["origin"]["epochs"]
    single = not task.several and not task.regression
    return Training(
        metrics=metrics(scored, task),
        seconds=seconds,
        cpu=cpu,
        epochs=epochs,
        commands=commands,
        calibration=calibration(scored, bundle) if single else None,
        scored=scored,
    )


def _listed(values: Sequence[float], digits: int = 4) -> str:
    return " / ".join(f"{value:,.{digits}f}" for value in values)


def _command(command: list[str]) -> float:
    start = time.monotonic()
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = subprocess.run([sys.executable, "-m", "pipeline", *command], env=environment, check=False).returncode
    if code:
        sys.exit(f"{command[0]} failed with exit code {code}")
    return time.monotonic() - start


def _shown(command: list[str], folder: Path) -> str:
    text = shlex.join(["bert-batch", *command]).replace(str(encoder_folder()), "$MINILM")
    return text.replace(f"{folder}/", "")


def write_report(sections: dict[str, str]) -> None:
    """Puts the new sections in the place of the old ones of the same tasks."""
    old = REPORT.read_text(encoding="utf-8").split("\n## ")[1:] if REPORT.is_file() else []
    kept = {section.split("\n", 1)[0]: f"## {section.rstrip()}\n" for section in old} | sections
    header = """# Quality

Printed by `make quality`: each task trained with the project's `train` from all-MiniLM-L6-v2 (`$MINILM`), then its
held-out rows, which the training never sees, scored with `score`. `benchmarks/nightly/quality.py` makes the files.
Names with `-defaults` have no flag that was chosen for the task.
"""
    REPORT.write_text("\n".join([header, *(kept[name] for name in TASKS if name in kept)]), encoding="utf-8")


def main() -> None:
    """Runs the tasks of the command line; exits 1 if one stays below its bar or above the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"{', '.join(TASKS)}; all by default")
    parser.add_argument("--rows", type=int, help="only so many rows: a try that writes no report and has no bar")
    given = parser.parse_args()
    if unknown := [name for name in given.tasks if name not in TASKS]:
        parser.error(f"no task {unknown[0]!r}; there are {', '.join(TASKS)}")
    failed = []
    for name in given.tasks or TASKS:
        with tempfile.TemporaryDirectory() as folder:
            section, good = run(name, TASKS[name], Path(folder), given.rows)
        print(section, flush=True)
        if given.rows is None:
            write_report({name: section})
            failed += [] if good else [name]
    if failed_limits := given.rows is None and not write_precisions():
        print("a limit of PRECISIONS.md is not kept", flush=True)
    sys.exit(f"below the bar, or longer than {MAX_SECONDS} s: {', '.join(failed)}" if failed else int(failed_limits))


if __name__ == "__main__":
    main()
