"""Level c: the host path."""

import statistics
from typing import Any

from benchmarks.harness.contest import Contestant, ratio, rotated
from benchmarks.harness.report import Bar, Section
from benchmarks.levels.scale import Scale
from benchmarks.paths import CACHE
from benchmarks.workloads import files, models
from benchmarks.workloads.corpora import texts


def host_path(scale: Scale) -> list[Section]:
    """Level c: everything but the model, from Parquet to Parquet, against tokenization alone; one core."""
    seven, many = str(models.bundle("host7")), str(models.bundle("host77"))
    rows: list[list[object]] = [
        ["texts", "job, s", "start-up, s", "model, s", "host, s", "host rows/s", "tokenization alone, rows/s", "share"]
    ]
    bars = []
    with Contestant("this project", "ours", cores="0") as ours:
        ours.ask("load", folder=seven)
        for corpus, limit_rows in scale.host:
            file, one = str(files.parquet(corpus, limit_rows)), str(files.parquet(corpus, 1))
            count = len(texts(corpus)[:limit_rows])
            rounds = range(scale.host_rounds + 1)
            turns = [_host_turn(ours, number, corpus, count, seven, file, one) for number in rounds][1:]
            alone, job, start, model, host = (statistics.median(column) for column in zip(*turns, strict=True))
            share = ratio([turn[0] for turn in turns], [turn[4] for turn in turns])
            rows.append([f"{corpus}, {count:,}", job, start, model, host, count / host, count / alone, str(share)])
            # No limit: a faster tokenizer lowers the share. What users wait for is in (g).
            if corpus != "banking77":  # Too small to be timed well.
                bars.append(Bar.faster(f"(c) {corpus}: host rows/s ÷ tokenization alone", share))
        bars.append(_top_k(scale, ours, seven, many))
    text = "One core, hidden size 128, one layer, ids checked for duplicates, all rows validated, rows counted. "
    text += "Host is the job less a job of one row and less the handler's own timer; "
    text += "banking77 itself is too small to be timed well."
    return [Section(title="(c) The host path", text=text, rows=rows, bars=bars)]


def _host_turn(
    ours: Contestant, number: int, corpus: str, count: int, bundle: str, file: str, one: str
) -> tuple[float, float, float, float, float]:
    output = str(CACHE / "scored")
    turns: list[tuple[str, dict[str, Any]]] = [
        ("tokenize", {"corpus": corpus, "rows": count}),
        ("job", {"bundle": bundle, "input": one, "output": output}),
        ("job", {"bundle": bundle, "input": file, "output": output}),
    ]
    replies = {at: ours.ask(turns[at][0], **turns[at][1]) for at in rotated(range(len(turns)), number)}
    alone, start, job = (replies[at] for at in range(len(turns)))
    model = job["model_seconds"] - start["model_seconds"]
    host = job["seconds"] - start["seconds"] - model
    return alone["seconds"], job["seconds"], start["seconds"], model, host


def _top_k(scale: Scale, ours: Contestant, seven: str, many: str) -> Bar:
    corpus, limit_rows = scale.host[0]
    file, one = str(files.parquet(corpus, limit_rows)), str(files.parquet(corpus, 1))
    output = str(CACHE / "scored")
    times: list[list[float]] = [[], []]
    for number in range(scale.host_rounds + 1):
        for at, bundle, top_k in rotated([(0, many, 5), (1, seven, None)], number):
            both = [ours.ask("job", bundle=bundle, input=f, output=output, top_k=top_k) for f in (one, file)]
            hosts = [reply["seconds"] - reply["model_seconds"] for reply in both]
            times[at].append(hosts[1] - hosts[0])
    found = ratio(times[0][1:], times[1][1:])
    return Bar(
        what="(c) host time of top_k=5 of 77 classes ÷ 7 classes",
        value=found.median,
        limit=1.15,
        at_least=False,
        spread=f"{found.low:.2f} to {found.high:.2f}",
    )
