"""What `train` reaches from a real encoder: `make quality`, or `python -m benchmarks.nightly.quality sst2 trec`.

Reads the folder $SHARED (default ../shared) and fails when it is missing. Trains and scores with the project's own
commands; every task named is trained anew and replaces its section of benchmarks/reports/QUALITY.md.
"""

import argparse
import datetime as dt
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.nightly.quality_tasks import TASKS, Task
from benchmarks.paths import REPORTS, ROOT, encoder_folder, shared
from model.training.metrics import macro_f1, pearson, spearman

REPORT = REPORTS / "QUALITY.md"
MAX_SECONDS = 40 * 60


def run(name: str, task: Task, folder: Path, rows: int | None) -> tuple[str, bool]:
    """Trains, scores the held-out rows and gives the section of the report, and whether bar and time are kept."""
    for part, table in zip(("train", "held-out"), task.read(shared() / "data"), strict=True):
        ids = pa.array([f"{part}-{i}" for i in range(table.num_rows)])
        pq.write_table(table.append_column("id", ids).slice(0, rows), folder / f"{name}-{part}.parquet")
    bundle, output = folder / name, folder / f"{name}-scored"
    train = ["train", "--name", name, "--input", str(folder / f"{name}-train.parquet"), "--output", str(bundle)]
    train += ["--encoder", str(encoder_folder()), "--label-column", "gold", "--id-column", "id", "--seed", "1"]
    score = ["score", "--bundle", str(bundle), "--input", str(folder / f"{name}-held-out.parquet")]
    score += ["--output", str(output), "--date", "2026-11-21", "--keep", "gold", "--log-format", "json"]
    if "--text-pair-column" in task.flags:
        score += ["--text-pair-column", "other"]
    commands = [[*train, *task.flags], score]
    seconds = [_command(command) for command in commands]
    files = json.loads((output / "dt=2026-11-21" / "_manifest.json").read_bytes())["files"]
    scored = pa.concat_tables([pq.ParquetFile(output / file["path"]).read() for file in files])
    expected = pq.read_metadata(folder / f"{name}-held-out.parquet").num_rows
    if scored.num_rows != expected:
        sys.exit(f"{name}: {scored.num_rows} of {expected} held-out rows were scored; dead letters are in {output}")
    measured = metrics(scored, task)
    reached, quick = measured[task.metric] >= task.bar, seconds[0] <= MAX_SECONDS
    figures = ", ".join(f"{metric} {value:.4f}" for metric, value in measured.items())
    text = f"""## {name}

{task.title}, {scored.num_rows:,} rows scored: **{task.metric} {measured[task.metric]:.4f}**, bar {task.bar:.2f}: \
{"reached" if reached else "NOT reached"}. All: {figures}. Trained in {seconds[0]:,.0f} s\
{"" if quick else f", ABOVE {MAX_SECONDS:,} s"}, scored in {seconds[1]:.0f} s; \
{dt.date.today().isoformat()}, {os.cpu_count()} cores, {platform.machine()}.{"" if reached else " " + task.tried}

```
{chr(10).join(_shown(command, folder) for command in commands)}
```
"""
    return text, reached and quick


def metrics(scored: pa.Table, task: Task) -> dict[str, float]:
    """The metrics of published rows against their column `gold`."""
    gold = scored.column("gold").to_numpy()
    if task.regression:
        values = scored.column("value").to_numpy().astype(np.float64)
        rmse = float(np.sqrt(np.mean((values - gold) ** 2)))
        return {"pearson": pearson(values, gold), "spearman": spearman(values, gold), "rmse": rmse}
    labels = scored.column("label").cast(pa.string()).to_numpy()
    return {"accuracy": float(np.mean(labels == gold)), "macro_f1": macro_f1(labels, gold)}


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

Printed by `make quality`: each task trained with the project's `train` from all-MiniLM-L6-v2 (`$MINILM`), seed 1, then
its held-out rows, which the training never sees, scored with `score`. `benchmarks/nightly/quality.py` makes the files.
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
    sys.exit(f"below the bar, or longer than {MAX_SECONDS} s: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
