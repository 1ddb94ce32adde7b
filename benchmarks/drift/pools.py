"""The texts of `make bench-drift`: two corpora that a model is trained on, and what is mixed into their nights.

Reads $SHARED; imports nothing of what is measured.
"""

import csv
import json
import lzma
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.nightly.quality_tasks import read_banking77, read_sst2, read_trec
from benchmarks.paths import encoder_folder, shared

OUT_OF_SCOPE = "out of scope (CLINC150)"
"""Questions of the same corpus that are of none of its labels: no other corpus."""
LANGUAGES = {"German": "de", "French": "fr", "Russian": "ru", "Japanese": "ja"}
CUT_CHARACTERS = 24
"""What is left of a text that was cut."""
_OPENING = 200
"""Characters of a review that are taken, to the end of a word."""
_SEED = 18


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Rows whose nights are judged: `train` of them train the model, with these `flags`; all others are the pool."""

    name: str
    title: str
    read: Callable[[Path], list[tuple[str, str]]]
    train: int
    flags: tuple[str, ...]
    mixed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Texts and their labels, in an order that was drawn once."""

    texts: list[str]
    labels: list[str]

    def __getitem__(self, part: slice) -> "Rows":
        return Rows(texts=self.texts[part], labels=self.labels[part])

    def __len__(self) -> int:
        return len(self.texts)


def rows_of(corpus: Corpus) -> Rows:
    """All rows of a corpus, each text once."""
    found = sorted({text: label for text, label in corpus.read(shared() / "data") if text.strip()}.items())
    order = np.random.default_rng(_SEED).permutation(len(found)).tolist()
    return Rows(texts=[found[at][0] for at in order], labels=[found[at][1] for at in order])


def _read_clinc(data: Path) -> list[tuple[str, str]]:
    """Questions to an assistant and 150 intents; those that have none of the intents are left out."""
    parts = _clinc(data)
    return [(text, label) for part in ("train", "val", "test") for text, label in parts[part]]


def _clinc(data: Path) -> Mapping[str, list[tuple[str, str]]]:
    with lzma.open(data / "clinc150" / "data_full.json.xz", "rt", encoding="utf-8") as opened:
        found: Mapping[str, list[tuple[str, str]]] = json.load(opened)
    return found


def _read_openings(data: Path) -> list[tuple[str, str]]:
    """How reviews of films begin, and whether they are favourable."""
    with lzma.open(data / "imdb" / "train.jsonl.xz", "rt", encoding="utf-8") as opened:
        reviews = [json.loads(line) for line in opened]
    return [(_opening(review["text"]), str(review["label"])) for review in reviews]


def _opening(review: str) -> str:
    text = re.sub(r"\s+", " ", review.replace("<br />", " ")).strip()
    return text if len(text) <= _OPENING else text[:_OPENING].rpartition(" ")[0]


def other_texts() -> dict[str, list[str]]:
    """By name what is mixed into nights: other corpora, and other languages."""
    data = shared() / "data"
    with (data / "ag_news" / "description_only_10k.tsv").open(encoding="utf-8") as opened:
        news = [line.rstrip("\n").split("\t") for line in opened]
    found = {
        "bank customers (Banking77)": read_banking77(data)[0].column("text").to_pylist(),
        "news (AG)": [max(fields, key=len) for fields in news],
        "questions (TREC)": read_trec(data)[0].column("text").to_pylist(),
        "film phrases (SST-2)": read_sst2(data)[0].column("text").to_pylist(),
        "assistant (CLINC150)": [text for text, _ in _read_clinc(data)],
        OUT_OF_SCOPE: [text for part, rows in _clinc(data).items() if "oos" in part for text, _ in rows],
    }
    for language, code in LANGUAGES.items():
        with (data / "stsb_multi" / f"stsb-{code}-dev.csv").open(encoding="utf-8", newline="") as opened:
            found[language] = [text for row in csv.reader(opened) for text in row[:2]]
    return {name: _some(texts) for name, texts in found.items()}


def _some(texts: list[str]) -> list[str]:
    """2,500 at most of the texts, each once."""
    each = sorted({text for text in texts if text.strip()})
    order = np.random.default_rng(_SEED).permutation(len(each))[:2_500]
    return [each[at] for at in order.tolist()]


FORMS: Mapping[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "cut": lambda text: text[:CUT_CHARACTERS],
    "lower-cased": str.lower,
}
"""What can become of a text of the corpus itself."""

_OTHERS = ("bank customers (Banking77)", "news (AG)", "questions (TREC)", "film phrases (SST-2)")
CORPORA = (
    Corpus(
        name="clinc150",
        title="CLINC150, questions to an assistant, 150 intents; all-MiniLM-L6-v2 fine-tuned, texts in lower case",
        read=_read_clinc,
        train=5_000,
        flags=("--encoder", str(encoder_folder()), "--max-tokens", "48", "--epochs", "6", "--batch-size", "64"),
        mixed=(*_OTHERS, *LANGUAGES, OUT_OF_SCOPE),
    ),
    Corpus(
        name="imdb",
        title="IMDB, the first 200 characters of reviews, favourable or not; a cased model with two layers",
        read=_read_openings,
        train=5_000,
        flags=("--no-lower-case", "--max-tokens", "64"),
        mixed=("assistant (CLINC150)", *_OTHERS, *LANGUAGES),
    ),
)
