"""`make bench-drift`: trains two models, scores their pools once, judges thousands of nights and runs ten of them.

Reads the folder $SHARED (default ../shared) and fails when it is missing. Writes benchmarks/reports/DRIFT.md; exits 1
if a limit is missed. About twenty minutes on two cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.drift import report
from benchmarks.drift.measure import SEED, SHIFTED_NIGHTS, UNSHIFTED_NIGHTS, Counted, count, shifts
from benchmarks.drift.nights import UNSHIFTED, Pool
from benchmarks.drift.pools import CORPORA, FORMS, Corpus, Rows, other_texts, rows_of
from benchmarks.drift.real_runs import Run, Texts, runs
from benchmarks.drift.scored_rows import Scoring
from benchmarks.paths import REPORTS, ROOT, shared
from model.bundle import Bundle
from transforms.outputs.drift.histograms import baseline_of
from transforms.stores.bundles import open_bundle

REPORT = REPORTS / "DRIFT.md"


def train(corpus: Corpus, rows: Rows, folder: Path) -> Path:
    """The bundle that `bert-batch train` makes of these rows; one that is there is taken."""
    bundle, file = folder / corpus.name, folder / f"{corpus.name}.parquet"
    if not bundle.is_dir():
        ids = [str(row) for row in range(len(rows))]
        pq.write_table(pa.table({"id": ids, "text": rows.texts, "label": rows.labels}), file)
        command = ["train", "--name", corpus.name, "--input", str(file), "--id-column", "id", "--output", str(bundle)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, "-m", "pipeline", *command, *corpus.flags], env=environment, check=True)
    return bundle


def texts_of(corpus: Corpus, rows: Rows, others: dict[str, list[str]]) -> Texts:
    """The texts of a pool in every form, and those that are mixed in."""
    forms = {form: [change(text) for text in rows.texts] for form, change in FORMS.items()}
    return Texts(forms=forms, others={name: others[name] for name in corpus.mixed})


def pool_of(bundle: Bundle, rows: Rows, texts: Texts, folder: Path) -> Pool:
    """The pool: every row scored once in every form."""
    scoring, file = Scoring(bundle), folder / "pool.parquet"
    numbers = {label: number for number, label in enumerate(sorted(set(rows.labels)))}
    plain = scoring.scored(rows.texts, file)
    forms = {}
    for form, some in texts.forms.items():
        # A text that is no other in this form adds the same.
        changed = np.flatnonzero([text != own for text, own in zip(some, rows.texts, strict=True)])
        forms[form] = plain.replaced(changed, scoring.scored([some[row] for row in changed], file))
    return Pool(
        forms=forms,
        labels=np.array([numbers[label] for label in rows.labels]),
        lengths=np.array([len(text) for text in rows.texts]),
        others={name: scoring.scored(some, file) for name, some in texts.others.items()},
        baseline=baseline_of(bundle.baseline),
    )


def counted(pool: Pool, scale: float) -> list[Counted]:
    """All kinds of nights of a pool."""
    kinds = [(UNSHIFTED, UNSHIFTED_NIGHTS), *((shift, SHIFTED_NIGHTS) for shift in shifts(tuple(pool.others)))]
    found = []
    for number, (shift, of) in enumerate(kinds):
        of = max(10, round(of * scale))
        found.append(count(pool, shift, number, of, max(1, of // 10)))
        print(f"{report.said(shift)}: {found[-1].alarms} of {of} told, {found[-1].held} held", flush=True)
    return found


def measure(bundles: Path, folder: Path, scale: float) -> tuple[list[report.Of], list[Run]]:
    """What the report says, corpus by corpus, and the runs of the first one. `folder` is empty, for what is scored."""
    found: list[report.Of] = []
    real: list[Run] = []
    others = other_texts()
    for corpus in CORPORA:
        rows = rows_of(corpus)
        path = train(corpus, rows[: corpus.train], bundles)
        bundle = open_bundle(str(path))
        rest = rows[corpus.train :]
        texts = texts_of(corpus, rest, others)
        pool = pool_of(bundle, rest, texts, folder)
        if not real:
            for run in runs(folder, path, pool, texts, SEED):
                print(f"{run.date}, {report.said(run.shift)}: {run.command}", flush=True)
                real.append(run)
        found.append(
            report.Of(
                title=corpus.title,
                train=corpus.train,
                baseline=pool.baseline["rows"] if pool.baseline else 0,
                pool=len(pool),
                others=[(name, len(some)) for name, some in texts.others.items()],
                accuracy=bundle.quality["validation"]["accuracy"],
                counted=counted(pool, scale),
            )
        )
    return found, real


def main() -> None:
    """Writes the report; exits 1 if a limit is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=main.__doc__)
    parser.add_argument("--bundles", type=Path, help="keep the trained bundles here, and take those that are there")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the nights; below 1 no report is written")
    given = parser.parse_args()
    shared()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        bundles, folder = (given.bundles or Path(temporary, "bundles")), Path(temporary, "nights")
        there = any((bundles / corpus.name).is_dir() for corpus in CORPORA)
        for made in (bundles, folder):
            made.mkdir(parents=True, exist_ok=True)
        found, real = measure(bundles, folder, given.scale)
    took = f"{(time.perf_counter() - start) / 60:.0f} minutes"
    content = report.text(found, real, f"{took}, with trainings of an earlier run" if there else took)
    if given.scale < 1:
        print(content)
    else:
        REPORT.write_text(content, encoding="utf-8")
        print(f"written to {REPORT}")
    if lost := report.missed(found, real):
        sys.exit("limits missed: " + "; ".join(lost))


if __name__ == "__main__":
    main()
