"""The texts of the benchmarks. Reads $SHARED; imports nothing of what is measured."""

import csv
import json
import lzma
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.paths import shared

MIXTURE = {"sst2": 320, "ag": 200, "imdb": 160, "newsgroups": 120}
SHORT = {"sst2": 800, "ag": 1_248}
COPIES = 240


def texts(name: str) -> list[str]:
    """One corpus: banking77, banking77_200k, imdb, newsgroups, sst2, ag, mixture, duplicates or short.

    short_numbered and mixture_numbered are as long as anybody needs, with a number in front of every text.
    """
    return _CORPORA[name]()


def _banking77() -> list[str]:
    with (shared() / "data" / "banking77" / "train.csv").open(encoding="utf-8", newline="") as opened:
        return [row["text"] for row in csv.DictReader(opened)]


def _numbered() -> list[str]:
    short = _banking77()
    return [f"{short[i % len(short)]} {i}" for i in range(200_000)]


def _jsonl(folder: str) -> Callable[[], list[str]]:
    def read() -> list[str]:
        with lzma.open(shared() / "data" / folder / "train.jsonl.xz", "rt", encoding="utf-8") as opened:
            return [text for line in opened if (text := json.loads(line)["text"]).strip()]

    return read


def _sst2() -> list[str]:
    lines = (shared() / "data" / "sst2" / "dev.tsv").read_text(encoding="utf-8").split("\n")[1:]
    return [line.rpartition("\t")[0] for line in lines if line]


def _ag() -> list[str]:
    with (shared() / "data" / "ag_news" / "title_desc_5k.csv").open(encoding="utf-8", newline="") as opened:
        return [row[0] for row in csv.reader(opened)]


def _mixed(rows: Mapping[str, int]) -> Callable[[], list[str]]:
    def draw() -> list[str]:
        generator = np.random.default_rng(0)
        found: list[str] = []
        for name, count in rows.items():
            corpus = texts(name)
            found += [corpus[i] for i in generator.choice(len(corpus), count, replace=False)]
        return [found[i] for i in generator.permutation(len(found))]

    return draw


def sample(found: Sequence[str], rows: int) -> list[str]:
    """So many of the texts, evenly from the shortest to the longest: what is true of all is true of these."""
    by_length = sorted(range(len(found)), key=lambda i: (len(found[i]), i))
    chosen = sorted(by_length[(2 * place + 1) * len(found) // (2 * rows)] for place in range(rows))
    return [found[i] for i in chosen]


def _duplicates() -> list[str]:
    """The mixture with COPIES rows replaced by copies of the others."""
    found = texts("mixture")
    generator = np.random.default_rng(1)
    order = generator.permutation(len(found))
    replaced, kept = order[:COPIES], order[COPIES:]
    for at, source in zip(replaced, generator.choice(kept, COPIES), strict=True):
        found[at] = found[source]
    return found


def _in_front(corpus: str, rows: int) -> Callable[[], list[str]]:
    """A number in front: behind it, it would be cut off a long text, and copies of the text would be alike."""

    def draw() -> list[str]:
        found = texts(corpus)
        return [f"{i} {found[i % len(found)]}" for i in range(rows)]

    return draw


_CORPORA: dict[str, Callable[[], list[str]]] = {
    "banking77": _banking77,
    "banking77_200k": _numbered,
    "imdb": _jsonl("imdb"),
    "newsgroups": _jsonl("newsgroups20"),
    "sst2": _sst2,
    "ag": _ag,
    "mixture": _mixed(MIXTURE),
    "short": _mixed(SHORT),
    "duplicates": _duplicates,
    "short_numbered": _in_front("short", 60_000),
    "mixture_numbered": _in_front("mixture", 8_000),
}
