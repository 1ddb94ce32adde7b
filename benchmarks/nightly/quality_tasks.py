"""The trainings of `make quality`: their rows, flags, and the bar that each must reach."""

import csv
import lzma
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

Split = tuple[pa.Table, pa.Table]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One training: `read` gives its training and held-out rows, with columns text, (other,) gold.

    The mean of `metric` over `seeds` must reach `bar`; `flags` are those of `bert-batch train`. `tried` says what else
    was, where the bar is not reached. A bar of None is what a logistic regression for each label reaches. `rivals` are
    other trainings on the same rows, by name and flags; the lower bound of the paired difference to the first of them
    must be above `most_behind`.
    """

    title: str
    read: Callable[[Path], Split]
    metric: str
    bar: float | None
    flags: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1,)
    tried: str = ""
    rivals: tuple[tuple[str, tuple[str, ...]], ...] = ()
    most_behind: float | None = None

    @property
    def regression(self) -> bool:
        return self.metric == "pearson"

    @property
    def several(self) -> bool:
        return self.metric == "micro_f1"


def read_sst2(data: Path) -> Split:
    """Phrases; the development set of GLUE."""
    with lzma.open(data / "sst2" / "train.tsv.xz", "rt", encoding="utf-8") as opened:
        train = opened.read()
    return _sst2(train), _sst2((data / "sst2" / "dev.tsv").read_text(encoding="utf-8"))


def _sst2(content: str) -> pa.Table:
    lines = [line.rpartition("\t") for line in content.split("\n")[1:] if line]
    return pa.table({"text": [text for text, _, _ in lines], "gold": [label for _, _, label in lines]})


def read_trec(data: Path) -> Split:
    """Questions and their six coarse classes; a tenth held out."""
    pairs = _trec(data)
    return _tenth([text for _, text in pairs], [label.split(":")[0] for label, _ in pairs])


def _trec(data: Path) -> list[tuple[str, str]]:
    """Fine class (coarse:fine) and question."""
    lines = (data / "trec" / "TREC.train").read_text(encoding="latin-1").split("\n")
    return [(label, text) for label, _, text in (line.partition(" ") for line in lines if line)]


def read_banking77(data: Path) -> Split:
    """Customers' questions and 77 intents; a tenth held out."""
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    return _tenth([row["text"] for row in rows], [row["category"] for row in rows])


def _tenth(texts: list[str], labels: list[str] | list[list[str]]) -> Split:
    table = pa.table({"text": texts, "gold": labels})
    order = np.random.default_rng(0).permutation(len(texts))
    held_out = len(texts) // 10
    return table.take(order[held_out:]), table.take(order[:held_out])


def read_stsb(data: Path) -> Split:
    """Pairs of sentences and their similarity, 0 to 5."""
    return _stsb(data / "stsb" / "sts-train.csv"), _stsb(data / "stsb" / "sts-dev.csv")


def _stsb(file: Path) -> pa.Table:
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").split("\n") if line]
    columns = {"text": 5, "other": 6}
    table = {name: [row[at].strip() for row in rows] for name, at in columns.items()}
    return pa.table({**table, "gold": [float(row[4]) for row in rows]})


def read_emobank(data: Path) -> Split:
    """Sentences and their valence; train and dev as the file splits them."""
    parts = _emobank(data)
    train, dev = (
        pa.table({"text": [r["text"] for r in part], "gold": [float(r["V"]) for r in part]}) for part in parts
    )
    return train, dev


def _emobank(data: Path) -> tuple[list[dict[str, str]], ...]:
    """The rows of train and dev."""
    with (data / "emobank" / "emobank.csv").open(encoding="utf-8", newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if row["text"].strip()]
    return tuple([row for row in rows if row["split"] == name] for name in ("train", "dev"))


def read_emobank_labels(data: Path) -> Split:
    """Sentences, and which of valence, arousal and dominance are in their upper third; as the file splits them."""
    parts = _emobank(data)
    # Of the training rows: what is upper is not learned from those that are held out.
    above = {axis: float(np.quantile([float(row[axis]) for row in parts[0]], 2 / 3)) for axis in "VAD"}
    train, dev = (
        pa.table({
            "text": [row["text"] for row in part],
            "gold": [[axis for axis, least in above.items() if float(row[axis]) > least] for row in part],
        })
        for part in parts
    )  # fmt: skip
    return train, dev


def read_trec_labels(data: Path) -> Split:
    """Questions, each with its coarse and its fine class as two labels; a tenth held out."""
    pairs = _trec(data)
    return _tenth([text for _, text in pairs], [[label.split(":")[0], label] for label, _ in pairs])


def _flags(max_tokens: int, epochs: int, learning_rate: str, batch_size: int, *more: str) -> tuple[str, ...]:
    size = ("--max-tokens", str(max_tokens), "--batch-size", str(batch_size))
    return (*size, "--epochs", str(epochs), "--learning-rate", learning_rate, *more)


REGRESSION = ("--task", "regression")
TUNED = {
    "sst2": Task(
        title="SST-2, dev",
        read=read_sst2,
        metric="accuracy",
        bar=0.90,
        flags=_flags(64, 2, "1e-4", 64, "--validation-share", "0.02"),
    ),
    "trec": Task(
        title="TREC, a tenth held out",
        read=read_trec,
        metric="accuracy",
        bar=0.95,
        flags=_flags(48, 12, "2e-4", 32, "--validation-share", "0.05", "--patience", "6"),
        tried="Tried before: 8 epochs at 1e-4 with a tenth for validation gave 0.9413.",
    ),
    "banking77": Task(
        title="Banking77, a tenth held out",
        read=read_banking77,
        metric="accuracy",
        bar=0.91,
        flags=_flags(64, 12, "2e-4", 64, "--validation-share", "0.05"),
    ),
    "stsb": Task(
        title="STS-B (pairs), dev",
        read=read_stsb,
        metric="pearson",
        bar=0.84,
        flags=_flags(96, 6, "1e-4", 32, *REGRESSION, "--text-pair-column", "other", "--validation-share", "0.05"),
    ),
    "emobank": Task(
        title="EmoBank valence, dev",
        read=read_emobank,
        metric="pearson",
        bar=0.65,
        flags=_flags(64, 5, "5e-5", 32, *REGRESSION),
    ),
}

# Of the tuned training of 0.2.0, less one standard error of its held-out rows; of Banking77 the bar of its issue.
_DEFAULT_BARS = {"banking77": 0.915, "trec": 0.937, "sst2": 0.890, "stsb": 0.854, "emobank": 0.723}
_DEFAULT_SEEDS = {"banking77": (1, 2, 3)}


def _with_defaults(name: str, task: Task) -> Task:
    """The same rows, with no flag but those that say what they are."""
    kept = [word for flag in ("--task", "--text-pair-column") if flag in task.flags for word in _pair(task.flags, flag)]
    seeds = _DEFAULT_SEEDS.get(name, (1,))
    return replace(task, bar=_DEFAULT_BARS[name], flags=tuple(kept), seeds=seeds, tried="")


def _pair(flags: tuple[str, ...], flag: str) -> tuple[str, str]:
    return flag, flags[flags.index(flag) + 1]


SEVERAL = {
    "emobank-labels-defaults": Task(
        title="EmoBank, valence, arousal and dominance in their upper third as three labels, dev",
        read=read_emobank_labels,
        metric="micro_f1",
        bar=None,
        flags=("--task", "multilabel"),
    ),
    "trec-labels-defaults": Task(
        title="TREC, coarse and fine class as two of 56 labels, a tenth held out",
        read=read_trec_labels,
        metric="micro_f1",
        bar=None,
        flags=("--task", "multilabel"),
    ),
}

TASKS = SEVERAL | {f"{name}-defaults": _with_defaults(name, TUNED[name]) for name in _DEFAULT_BARS} | TUNED
"""Those with defaults first, then those with flags chosen for the task."""
