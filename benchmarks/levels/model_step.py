"""Levels a to c: the model step, tokenization, and the host path."""

import statistics
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.agreement import logits_differ, tokens_differ
from benchmarks.harness.contest import Contestant, contest, ratio, rotated, together
from benchmarks.harness.report import Bar, Section
from benchmarks.paths import CACHE
from benchmarks.workloads import models
from benchmarks.workloads.corpora import texts

ENGINES = {"onnx_runtime": "ONNX Runtime", "openvino": "OpenVINO float32", "pytorch": "PyTorch + transformers"}
DEFAULT = {"openvino_default": "OpenVINO as it comes"}
HALF = "this project, --precision bfloat16"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much a benchmark does. `model` is the name of the large model in workloads.MODELS.

    Without `with_torch` the contestants whose model PyTorch exports are left out.
    """

    model: str = "base"
    shapes: tuple[tuple[int, int], ...] = ((8, 128), (64, 16))
    step_rounds: int = 10
    token_rounds: int = 5
    token_rows: int = 10_000
    host: tuple[tuple[str, int | None], ...] = (("banking77_200k", None), ("imdb", None), ("banking77", None))
    host_rounds: int = 5
    budgets: tuple[int, ...] = (512, 1_024, 2_048, 4_096, 8_192)
    budget_rounds: int = 3
    job_rows: int | None = None
    job_rounds: int = 3
    part_rows: int = 80
    part_rounds: int = 2
    growth_rows: int = 12_500
    growth_rounds: int = 3
    start_rounds: int = 5
    command_warm_up: bool = True
    with_torch: bool = True


def model_step(scale: Scale) -> list[Section]:
    """Level a, and what a token costs by the size of a micro-batch."""
    folder, bundle = str(models.model_folder(scale.model)), str(models.bundle(scale.model))
    ours, half = Contestant("this project", "ours"), Contestant(HALF, "ours")
    keras = Contestant("Keras graph", "keras_graph")
    engines = {**ENGINES, **DEFAULT} if scale.with_torch else {}
    others = {engine: Contestant(name, "runtimes", peers=True) for engine, name in engines.items()}
    players = [ours, keras, *others.values(), half]
    columns = ["batch", "contestant", "computes in", "ms, median", "rows/s"]
    rows: list[list[object]] = [
        [*columns, "this project in float32 is faster by", "in bfloat16 is faster by", "same logits"]
    ]
    bars, plot = [], {}
    with together(*players):
        precisions = {keras.name: "float32", ours.name: ours.ask("load", folder=bundle)["precision"]}
        precisions[half.name] = half.ask("load", folder=bundle, precision="bfloat16")["precision"]
        keras.ask("load", folder=folder)
        for engine, other in others.items():
            precisions[other.name] = other.ask("load", folder=folder, engine=engine)["precision"]
        for count, width in scale.shapes:
            found = contest(
                players, rounds=scale.step_rounds, warm_up=2, do="step", rows=count, width=width, seed=width
            )
            shape = f"{count}×{width}"
            for player in players:
                name, precision, seconds = player.name, precisions[player.name], found.median(player.name)
                logits, right = (found.last[which]["logits"] for which in (name, keras.name))
                off = logits_differ(name, logits, right, precision)
                faster = found.faster(half.name, name) if precision == "bfloat16" else ""
                row = [shape, name, precision, seconds * 1e3, count / seconds, str(found.faster(ours.name, name))]
                rows.append([*row, str(faster), f"to {off:.0e}"])
            plot[shape] = {player.name: count / found.median(player.name) for player in players}
            bars += [
                Bar.faster(f"(a) {shape}: rows/s ÷ {name}", found.faster(ours.name, name), limit)
                for name, limit in ((keras.name, 1.35), (ENGINES["onnx_runtime"], 1.0), (ENGINES["openvino"], 1.0))
                if name in precisions
            ]
        curve = _budgets(scale, ours)
    text = (
        "BERT-base sizes, random weights, all cores; the same tokens for all, logits compared with the Keras graph's. "
        "The last layer of this project's graph computes the [CLS] row only. The limits are for float32, this project's"
        " precision on a CPU. Where the processor has instructions for bfloat16, OpenVINO as it comes computes in it: "
        "several times as fast as float32 and less exact. This project does so with `--precision bfloat16` only."
    )
    step = Section(title="(a) The model step", text=text, rows=rows, bars=bars, plot={"model_step": plot})
    return [step, curve]


def _budgets(scale: Scale, ours: Contestant) -> Section:
    """Without padding, and the padding by itself: measured together, the few rows there is time for would decide."""
    widths, corpora = (32, 128), ("short", "mixture")
    speeds: dict[tuple[int, int], list[float]] = {(width, size): [] for width in widths for size in scale.budgets}
    for number in range(scale.budget_rounds + 1):
        for width, size in rotated(list(speeds), number):
            seconds = ours.ask("step", rows=size // width, width=width, seed=width)["seconds"]
            if number:
                speeds[width, size].append(size / seconds)
    padding = [ours.ask("padding", corpus=corpus, budgets=list(scale.budgets)) for corpus in corpora]
    medians = {shape: statistics.median(found) for shape, found in speeds.items()}
    header: list[object] = ["tokens of a micro-batch", *(f"tokens/s, rows of {width}" for width in widths)]
    header += [f"padding factor, {texts['rows']:,} {of}" for texts, of in zip(padding, ("short", "mixed"), strict=True)]
    rows = [header]
    for at, size in enumerate(scale.budgets):
        rows.append([size, *(medians[width, size] for width in widths), *(f["factors"][at] for f in padding)])
    budget = padding[0]["budget"]
    text = (
        "The model alone at fixed shapes, no padding; beside it what a plan with that token budget pads on texts of "
        f"SST-2 and AG News (short) and on those of (d) (mixed). A CPU's budget is {budget:,} tokens"
    )
    if budget in scale.budgets:
        reached = min(medians[width, budget] / max(medians[width, size] for size in scale.budgets) for width in widths)
        text += f", at which the model reaches {reached:.0%} of its best speed or more"
    lines = {f"rows of {width}": {size: medians[width, size] for size in scale.budgets} for width in widths}
    return Section(title="Token budget on a CPU", text=text + ".", rows=rows, plot={"token_budget": lines})


def tokenization(scale: Scale) -> list[Section]:
    """Level b: one core each."""
    bundle, folder = str(models.bundle("host7")), str(models.model_folder("host7"))
    ours = Contestant("this project", "ours", cores="0")
    rust = [
        Contestant(f"Rust tokenizers, {method}", "rust_tokenizers", peers=True, cores="0")
        for method in ("encode_batch", "encode_batch_fast")
    ]
    rows: list[list[object]] = [["texts", "contestant", "rows/s", "tokens/s", "this project is faster by"]]
    bars = []
    with together(ours, *rust):
        ours.ask("load", folder=bundle)
        for player in rust:
            method = player.name.rpartition(" ")[2]
            player.ask("load", folder=folder, max_tokens=models.MAX_TOKENS, method=method)
        for corpus, share in (("banking77", 1), ("imdb", 5)):
            count = min(len(texts(corpus)), scale.token_rows // share)
            found = contest(
                [ours, *rust], rounds=scale.token_rounds, warm_up=1, do="tokenize", corpus=corpus, rows=count
            )
            for player in (ours, *rust):
                tokens_differ(player.name, found.last[player.name]["tokens"], found.last[ours.name]["tokens"])
                seconds, tokens = found.median(player.name), found.last[player.name]["tokens"]
                faster = found.faster(ours.name, player.name)
                rows.append([f"{corpus}, {count:,} rows", player.name, count / seconds, tokens / seconds, str(faster)])
            bars.append(
                Bar.faster(f"(b) {corpus}: rows/s ÷ {rust[-1].name}", found.faster(ours.name, rust[-1].name), 8)
            )
    text = "One core each: the TF Transform graph of the bundle (flavour `huggingface`, at most 512 tokens) against "
    text += "Hugging Face's tokenizers on one thread, same texts, same vocabulary. The limit is for "
    text += "`encode_batch_fast`, which keeps no offsets, as this project keeps none; `encode_batch` is what the "
    text += "documentation shows."
    return [Section(title="(b) Tokenization", text=text, rows=rows, bars=bars)]


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
            file, one = str(models.parquet(corpus, limit_rows)), str(models.parquet(corpus, 1))
            count = len(texts(corpus)[:limit_rows])
            rounds = range(scale.host_rounds + 1)
            turns = [_host_turn(ours, number, corpus, count, seven, file, one) for number in rounds][1:]
            alone, job, start, model, host = (statistics.median(column) for column in zip(*turns, strict=True))
            share = ratio([turn[0] for turn in turns], [turn[4] for turn in turns])
            rows.append([f"{corpus}, {count:,}", job, start, model, host, count / host, count / alone, str(share)])
            limit = {"banking77_200k": 0.45, "imdb": 0.5}.get(corpus)
            if limit is not None:
                bars.append(Bar.faster(f"(c) {corpus}: host rows/s ÷ tokenization alone", share, limit))
        bars.append(_top_k(scale, ours, seven, many))
    text = (
        "One core, hidden size 128, one layer, ids checked for duplicates, all rows validated, books kept. Host is the "
    )
    text += (
        "job less a job of one row and less the handler's own timer; banking77 itself is too small to be timed well."
    )
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
    file, one = str(models.parquet(corpus, limit_rows)), str(models.parquet(corpus, 1))
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
