"""Where the time of a job goes beside the model: `make profile`, figures to benchmarks/reports/PROFILE.md.

Reads the folder $SHARED (default ../shared) and fails when it is missing. One core, one process, under cProfile, which
makes small functions look dearer than they are.
"""

import cProfile
import datetime as dt
import os
import pstats
import shutil
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.paths import CACHE, REPORTS
from benchmarks.workloads import files, models
from pipeline.jobs.config import JobConfig
from pipeline.scoring import score
from pipeline.terminal.console import quiet_libraries

REPORT = REPORTS / "PROFILE.md"
OUTPUT = CACHE / "profiled"
STEPS = {
    "Read: rows": ("read/step.py", "process"),
    "Read: hashes of ids": ("read/duplicates.py", "entries"),
    "Read: repeated ids": ("read/duplicates.py", "find_repeats"),
    "Validate (text hash included)": ("validate.py", "validate"),
    "Featurize": ("featurize/step.py", "featurize"),
    "of this, the graph": ("featurize/step.py", "__call__"),
    "Score": ("score/step.py", "score_batch"),
    "of this, the model": ("score/engines/tensorflow_scorer.py", "__call__"),
    "of this, duplicates": ("score/micro_batches.py", "unique_rows"),
    "of this, keys of the memo": ("score/memo.py", "keys"),
    "of this, recalling": ("score/memo.py", "recall"),
    "of this, remembering": ("score/memo.py", "remember"),
    "Label": ("score/label.py", "label"),
    "Write": ("write.py", "add"),
    "Write: the rest at the end of a file": ("write.py", "close"),
    "Publish": ("publish/commit.py", "publish"),
}


def run(input: Path) -> float:
    """Seconds of one job."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    job = JobConfig(bundle=str(models.bundle("host7")), input=(str(input),), output=str(OUTPUT), date="2026-11-21")
    start = time.perf_counter()
    score(job, now=dt.datetime.now(dt.UTC))
    return time.perf_counter() - start


def profiled(corpus: str) -> list[str]:
    """Lines of the table for one corpus."""
    file = files.parquet(corpus)
    run(file)
    profile = cProfile.Profile()
    profile.enable()
    seconds = run(file)
    profile.disable()
    found: dict[tuple[str, str], float] = {}
    for (path, _, name), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if "/transforms/" in path:
            key = (path.rpartition("/transforms/")[2], name)
            found[key] = max(found.get(key, 0.0), cumulative)
    # A function that has another name or file by now would count as no time at all.
    if missing := [f"{name} of transforms/{file}" for file, name in STEPS.values() if (file, name) not in found]:
        sys.exit(f"the job never called {', '.join(missing)}; STEPS says where the time of a step is spent")
    lines = [f"| {corpus} | whole job | {seconds:.2f} | |"]
    for step, key in STEPS.items():
        spent = found[key]
        lines.append(f"| | {step} | {spent:.3f} | {spent / seconds:.1%} |")
    return [*lines, f"| | a job of one row | {run(files.parquet(corpus, 1)):.2f} | |"]


def main() -> None:
    """Profiles short and long texts and writes the report."""
    # Before TensorFlow starts its threads.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    quiet_libraries()
    lines = [line for corpus in ("banking77_200k", "imdb") for line in profiled(corpus)]
    content = f"""# Where the time goes

Printed by `make profile` on {dt.date.today().isoformat()}: Parquet to Parquet with one layer of hidden size 128, one
core, under cProfile. Seconds of a step include the steps it calls.

| texts | step | seconds | of the job |
|---|---|---|---|
"""
    REPORT.write_text(content + "\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
