"""What bfloat16 and int8 change on the held-out rows of `make quality`: certificates of its trained bundles.

`python -m benchmarks.nightly.precisions` writes benchmarks/reports/PRECISIONS.md from the certificates that are kept
beside it, one for each task, precision, engine and class of chips.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.nightly.quality_tasks import Task
from benchmarks.paths import REPORTS, ROOT
from transforms.score.certificates.certificate import Certificate
from transforms.score.certificates.statistics import mcnemar, wilson
from transforms.score.engines.chips import EIGHT_BIT, find_chip

KEPT, REPORT = REPORTS / "certificates", REPORTS / "PRECISIONS.md"
PRECISIONS = ("bfloat16", "int8")
CHANGED = {"bfloat16": 0.005, "int8": 0.015}
"""Share of labels that may change, all classifications together."""
LOST = 0.005
"""Share of the rows that may be right in float32 and no more, less those that are right only now."""
PEARSON = {"bfloat16": 0.002, "int8": 0.01}
"""What Pearson's correlation of a regression may lose."""
UNDECIDED = 3
"""Exit code of `certify` whose limit was not kept, or not decided: what was measured counts here."""


def certify(name: str, task: Task, bundle: Path, folder: Path) -> list[str]:
    """Certifies a trained bundle in every precision that this machine computes; one line each of what came out."""
    columns = ["--text-pair-column", "other"] if "--text-pair-column" in task.flags else []
    quantized = folder / f"{name}-int8"
    _command("quantize", bundle, "--input", folder / f"{name}-train.parquet", "--output", quantized, *columns)
    found = []
    for precision in PRECISIONS:
        if precision == "int8" and (kind := find_chip().kind) not in EIGHT_BIT:
            found.append(f"int8: not measured, chips of class {kind} are not taken for it")
            continue
        of = quantized if precision == "int8" else bundle
        rows = ("--input", folder / f"{name}-held-out.parquet", "--label-column", "gold", *columns)
        _command("certify", of, *rows, "--precision", precision)
        (path,) = Path(f"{of}.certificates").glob(f"*-{precision}-*.json")
        made = Certificate.model_validate_json(path.read_bytes())
        KEPT.mkdir(exist_ok=True)
        # The name of the bundle is that of the task; its fingerprint is in the file.
        shutil.copy(path, KEPT / f"{name}-{precision}-{made.engine}-{made.chip.kind}.json")
        found.append(f"{precision} by {made.engine}: {_said(made)}")
    return found


def _command(*command: object) -> None:
    """Ends the program where the command fails."""
    words = [sys.executable, "-m", "pipeline", *map(str, command)]
    code = subprocess.run(words, cwd=ROOT, check=False).returncode
    if code not in (0, UNDECIDED):
        sys.exit(f"{command[0]} failed with exit code {code}")


def _said(made: Certificate) -> str:
    gold = made.gold
    assert gold is not None
    right = f"{gold.plain:.4f} in float32, {gold.other:.4f}"
    if made.changed is None:
        assert made.values is not None
        return f"Pearson {right}; RMS difference {made.values.share or 0.0:.2%} of the spread, {made.rows:,} rows"
    return f"{made.changed.labels:,} of {made.rows:,} labels changed; accuracy {right}"


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """All classifications of one precision, engine and class of chips."""

    precision: str
    engine: str
    kind: str
    found: Sequence[tuple[str, Certificate]]

    @property
    def classified(self) -> list[Certificate]:
        """Those that count labels."""
        return [made for _, made in self.found if made.changed is not None]

    def lines(self) -> Iterator[str]:
        """Its section of the report."""
        yield f"## {self.precision} by {self.engine}, chips of class {self.kind}\n"
        yield "| task | rows | labels changed | 95 % interval | largest change | in float32 | here | p | speed |"
        yield "|---|---:|---:|---|---:|---:|---:|---:|---:|"
        for name, made in self.found:
            assert made.gold is not None
            right = f"{made.gold.plain:.4f} | {made.gold.other:.4f}"
            if made.changed is not None and made.probabilities is not None:
                changed, p = made.changed, "" if made.gold.p is None else f"{made.gold.p:.2g}"
                between = f"{changed.low:.2%} to {changed.high:.2%}"
                moved = f"{changed.labels} ({changed.share:.2%}) | {between} | {made.probabilities.largest:.4f}"
            else:
                assert made.values is not None
                p, share = "", made.values.share or 0.0
                moved = f"RMS {share:.2%} of the spread | | {made.values.largest:.4f}"
            yield f"| {name} | {made.rows:,} | {moved} | {right} | {p} | {made.times:.2f} |"
        yield ""
        yield from self._judged()

    def _judged(self) -> Iterator[str]:
        if self.classified:
            rows = sum(made.rows for made in self.classified)
            changed = sum(made.changed.labels for made in self.classified if made.changed)
            low, high = wilson(changed, rows)
            gold = [made.gold for made in self.classified if made.gold]
            lost, won = (sum(getattr(one, side) or 0 for one in gold) for side in ("only_plain", "only_other"))
            kept = changed / rows <= CHANGED[self.precision] and (lost - won) / rows <= LOST
            yield (
                f"All classifications: {changed} of {rows:,} labels changed, **{changed / rows:.2%}** ({low:.2%} to "
                f"{high:.2%}; limit {CHANGED[self.precision]:.1%}); {lost} right in float32 alone, {won} here alone, a "
                f"net loss of {(lost - won) / rows:.2%} (limit {LOST:.1%}), McNemar's p = {mcnemar(lost, won):.2g}: "
                f"{_told(kept)}.\n"
            )
        for name, made in self.found:
            if made.changed is None and made.gold and made.gold.plain is not None and made.gold.other is not None:
                loss = made.gold.plain - made.gold.other
                most = PEARSON[self.precision]
                yield f"{name}: Pearson loses {loss:.4f} (limit {most}): {_told(loss <= most)}.\n"


def _told(kept: bool) -> str:
    return "kept" if kept else "NOT kept"


def write_report() -> bool:
    """Writes PRECISIONS.md from the certificates that are kept; whether every limit is."""
    groups: dict[tuple[str, str, str], list[tuple[str, Certificate]]] = {}
    for path in sorted(KEPT.glob("*.json")):
        made = Certificate.model_validate(json.loads(path.read_bytes()))
        name = path.name.split(f"-{made.precision}-")[0]
        groups.setdefault((made.precision, made.engine, made.chip.kind), []).append((name, made))
    lines = [
        "# Precisions\n",
        "Printed by `python -m benchmarks.nightly.precisions` from the certificates that `make quality` left of its",
        "bundles, trained with defaults from all-MiniLM-L6-v2, on rows that they were never trained on. Columns:",
        "accuracy or Pearson's correlation in float32 and here, McNemar's p, and how many times as fast as float32 by",
        "TensorFlow the model alone was on the same machine.\n",
    ]
    for (precision, engine, kind), found in sorted(groups.items()):
        lines += Pooled(precision=precision, engine=engine, kind=kind, found=found).lines()
    REPORT.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return not any(_told(False) in line for line in lines)


if __name__ == "__main__":
    sys.exit(0 if write_report() else f"a limit is not kept, see {REPORT}")
