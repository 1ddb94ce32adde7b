"""Level a: the model step."""

import statistics

from benchmarks.harness.agreement import logits_differ
from benchmarks.harness.contest import Contestant, contest, rotated, together
from benchmarks.harness.report import Bar, Section
from benchmarks.levels.scale import ENGINES, Scale
from benchmarks.workloads import models

DEFAULT = {"openvino_default": "OpenVINO as it comes"}
HALF = "this project, --precision bfloat16"


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
