"""Levels a to c: the model step, tokenization, and the host path."""

import statistics
from dataclasses import dataclass

import numpy as np
import workloads
from contest import Contestant, Rounds, contest, ratio, together
from corpora import texts
from report import Bar, Section

ENGINES = {"onnx_runtime": "ONNX Runtime", "openvino": "OpenVINO float32", "pytorch": "PyTorch + transformers"}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much a benchmark does. `model` is the name of the large model in workloads.MODELS."""

    model: str = "base"
    shapes: tuple[tuple[int, int], ...] = ((8, 128), (64, 16))
    step_rounds: int = 10
    token_rounds: int = 5
    token_rows: int = 10_000
    host: tuple[tuple[str, int | None], ...] = (("banking77_200k", None), ("imdb", None), ("banking77", None))
    host_rounds: int = 5
    budget_rows: int = 120
    job_rows: int | None = None
    job_rounds: int = 3
    part_rows: int = 120
    part_rounds: int = 2
    growth_rows: int = 12_500
    growth_rounds: int = 3
    start_rounds: int = 5


def model_step(scale: Scale) -> list[Section]:
    """Level a, and the curve of token budgets."""
    folder, bundle = str(workloads.model_folder(scale.model)), str(workloads.bundle(scale.model))
    ours, keras = Contestant("this project", "ours.py"), Contestant("Keras graph", "keras_graph.py")
    others = [Contestant(name, "runtimes.py", peers=True) for name in ENGINES.values()]
    players = [ours, keras, *others]
    rows: list[list[object]] = [
        ["batch", "contestant", "ms, median", "rows/s", "this project is faster by", "same logits"]
    ]
    bars, plot = [], {}
    with together(*players):
        ours.ask("load", folder=bundle)
        keras.ask("load", folder=folder)
        for other, engine in zip(others, ENGINES, strict=True):
            other.ask("load", folder=folder, engine=engine)
        for count, width in scale.shapes:
            found = contest(
                players, rounds=scale.step_rounds, warm_up=2, do="step", rows=count, width=width, seed=width
            )
            shape = f"{count}×{width}"
            for player in players:
                faster = found.faster(ours.name, player.name)
                off = _difference(found, player.name, keras.name)
                seconds = found.median(player.name)
                rows.append([shape, player.name, seconds * 1e3, count / seconds, str(faster), f"to {off:.0e}"])
            plot[shape] = {player.name: count / found.median(player.name) for player in players}
            bars += [
                Bar.faster(f"(a) {shape}: rows/s ÷ {name}", found.faster(ours.name, name), limit)
                for name, limit in ((keras.name, 1.35), (ENGINES["onnx_runtime"], 1.0), (ENGINES["openvino"], 1.0))
            ]
        curve = _budgets(scale, ours)
    text = "BERT-base sizes, random weights, float32, all cores; the same tokens for all. The last layer of this "
    text += "project's graph computes the [CLS] row only."
    step = Section(title="(a) The model step", text=text, rows=rows, bars=bars, plot={"model_step": plot})
    return [step, curve]


def _difference(found: Rounds, name: str, reference: str) -> float:
    """Largest difference of logits, up to what softmax does not see."""
    logits = [np.array(found.last[which]["logits"]) for which in (name, reference)]
    first, second = (each - each.mean(axis=1, keepdims=True) for each in logits)
    return float(np.abs(first - second).max())


def _budgets(scale: Scale, ours: Contestant) -> Section:
    budgets = [512, 1_024, 2_048, 4_096, 8_192, 16_384]
    speeds: dict[int, list[float]] = {budget: [] for budget in budgets}
    padding = {}
    for _ in range(3):
        for budget in budgets:
            reply = ours.ask("budget", corpus="mixture", rows=scale.budget_rows, token_budget=budget)
            speeds[budget].append(reply["tokens"] / reply["seconds"])
            padding[budget] = reply["padded"] / reply["tokens"]
    rows: list[list[object]] = [["token budget", "tokens/s, median", "padding factor"]]
    medians = {budget: statistics.median(found) for budget, found in speeds.items()}
    rows += [[budget, medians[budget], padding[budget]] for budget in budgets]
    text = f"{scale.budget_rows} rows of the mixture, the model alone; the constant in `transforms/micro_batches.py` "
    text += "comes from this curve."
    return Section(title="Token budget on a CPU", text=text, rows=rows, plot={"token_budget": medians})


def tokenization(scale: Scale) -> list[Section]:
    """Level b: one core each."""
    bundle, folder = str(workloads.bundle("host7")), str(workloads.model_folder("host7"))
    ours = Contestant("this project", "ours.py", cores="0")
    rust = [
        Contestant(f"Rust tokenizers, {method}", "rust_tokenizers.py", peers=True, cores="0")
        for method in ("encode_batch", "encode_batch_fast")
    ]
    rows: list[list[object]] = [["texts", "contestant", "rows/s", "tokens/s", "this project is faster by"]]
    bars = []
    with together(ours, *rust):
        ours.ask("load", folder=bundle)
        for player in rust:
            method = player.name.rpartition(" ")[2]
            player.ask("load", folder=folder, max_tokens=workloads.MAX_TOKENS, method=method)
        for corpus, share in (("banking77", 1), ("imdb", 5)):
            count = min(len(texts(corpus)), scale.token_rows // share)
            found = contest(
                [ours, *rust], rounds=scale.token_rounds, warm_up=1, do="tokenize", corpus=corpus, rows=count
            )
            for player in (ours, *rust):
                seconds, tokens = found.median(player.name), found.last[player.name]["tokens"]
                faster = found.faster(ours.name, player.name)
                rows.append([f"{corpus}, {count:,} rows", player.name, count / seconds, tokens / seconds, str(faster)])
            bars.append(Bar.faster(f"(b) {corpus}: rows/s ÷ Rust tokenizers", found.faster(ours.name, rust[0].name), 8))
    text = "One core each: the TF Transform graph of the bundle (flavour `huggingface`, at most 512 tokens) against "
    text += "Hugging Face's tokenizers on one thread, same texts, same vocabulary. The limit is for `encode_batch`, "
    text += "which its documentation shows; `encode_batch_fast` keeps no offsets."
    return [Section(title="(b) Tokenization", text=text, rows=rows, bars=bars)]


def host_path(scale: Scale) -> list[Section]:
    """Level c: everything but the model, from Parquet to Parquet, against tokenization alone; one core."""
    seven, many = str(workloads.bundle("host7")), str(workloads.bundle("host77"))
    rows: list[list[object]] = [
        ["texts", "job, s", "start-up, s", "model, s", "host, s", "host rows/s", "tokenization alone, rows/s", "share"]
    ]
    bars = []
    with Contestant("this project", "ours.py", cores="0") as ours:
        ours.ask("load", folder=seven)
        for corpus, limit_rows in scale.host:
            file, one = str(workloads.parquet(corpus, limit_rows)), str(workloads.parquet(corpus, 1))
            count = len(texts(corpus)[:limit_rows])
            turns = [_host_turn(ours, corpus, count, seven, file, one) for _ in range(scale.host_rounds + 1)][1:]
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
    ours: Contestant, corpus: str, count: int, bundle: str, file: str, one: str
) -> tuple[float, float, float, float, float]:
    alone = ours.ask("tokenize", corpus=corpus, rows=count)["seconds"]
    output = str(workloads.CACHE / "scored")
    start = ours.ask("job", bundle=bundle, input=one, output=output)
    job = ours.ask("job", bundle=bundle, input=file, output=output)
    model = job["model_seconds"] - start["model_seconds"]
    return alone, job["seconds"], start["seconds"], model, job["seconds"] - start["seconds"] - model


def _top_k(scale: Scale, ours: Contestant, seven: str, many: str) -> Bar:
    corpus, limit_rows = scale.host[0]
    file, one = str(workloads.parquet(corpus, limit_rows)), str(workloads.parquet(corpus, 1))
    output = str(workloads.CACHE / "scored")
    times: list[list[float]] = [[], []]
    for _ in range(scale.host_rounds + 1):
        for at, (bundle, top_k) in enumerate(((many, 5), (seven, None))):
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
