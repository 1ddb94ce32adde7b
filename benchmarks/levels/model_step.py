"""Level a: the model step."""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.harness.agreement import logits_differ
from benchmarks.harness.contest import Contestant, contest, rotated, together
from benchmarks.harness.report import Bar, Section
from benchmarks.levels.scale import EIGHT, ENGINES, HALF_ENGINES, Scale, lacks_amx
from benchmarks.workloads import models

OURS, HALF, KERAS = "this project", "this project, --precision bfloat16", "Keras graph"
KIN_SHAPES = ((8, 128), (64, 16))
KIN_LIMITS = {"electra": 1.15, "distilbert": 1.2}


def model_step(scale: Scale) -> list[Section]:
    """Level a, what a token costs by the size of a micro-batch, and the kin of BERT."""
    kin = [_kin(scale, name) for name in scale.kin if scale.with_torch]
    return [*_step(scale), *([_kin_section(kin)] if kin else [])]


def _step(scale: Scale) -> list[Section]:
    folder, bundle = str(models.model_folder(scale.model)), str(models.bundle(scale.model))
    ours, half, keras = Contestant(OURS, "ours"), Contestant(HALF, "ours"), Contestant(KERAS, "keras_graph")
    engines = {**ENGINES, **HALF_ENGINES, **EIGHT} if scale.with_torch else {}
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
                faster = "" if precision == "float32" and name != ours.name else found.faster(half.name, name)
                row = [shape, name, precision, seconds * 1e3, count / seconds, str(found.faster(ours.name, name))]
                rows.append([*row, str(faster), f"to {off:.0e}"])
            plot[shape] = {player.name: count / found.median(player.name) for player in players}
            bars += [
                Bar.faster(f"(a) {shape}: rows/s ÷ {name}", found.faster(ours.name, name), limit)
                for name, limit in ((KERAS, 1.3), (ENGINES["onnx_runtime"], 1.0), (ENGINES["openvino"], 1.05))
                if name in precisions
            ]
            bars += _half_bars(shape, found, precisions)
        curve = _budgets(scale, ours)
    text = (
        "BERT-base sizes, random weights, all cores; the same tokens for all, logits compared with the Keras graph's. "
        "The last layer of this project's graph computes the [CLS] row only. Limits name their precision, float32 where"
        " they name none, which is this project's on a CPU. Where the chip has instructions for bfloat16, OpenVINO "
        "as it comes computes in it, and so does this project with `--precision bfloat16`: several times as fast as "
        "float32 and less exact. ONNX Runtime's int8 quantizes inputs while it runs; random weights are its worst case."
    )
    step = Section(title="(a) The model step", text=text, rows=rows, bars=bars, plot={"model_step": plot})
    return [step, curve]


def _half_bars(shape: str, found: Any, precisions: dict[str, str]) -> list[Bar]:
    """In bfloat16, against OpenVINO as it comes and against float32; on other chips both compute in something else."""
    against = [(HALF_ENGINES["openvino_default"], "OpenVINO as it comes", 0.98), (OURS, "in float32", 3.5)]
    named = [(f"(a) {shape}: rows/s in bfloat16 ÷ {said}", name, limit) for name, said, limit in against]
    if (lacks := lacks_amx()) is not None:
        return [Bar.unmeasured(what, limit, lacks) for what, _, limit in named]
    return [Bar.faster(what, found.faster(HALF, name), limit) for what, name, limit in named if name in precisions]


def _kin(scale: Scale, name: str) -> tuple[list[Sequence[object]], list[Bar]]:
    """The model step of a network that is not a BERT, in float32, against ONNX Runtime."""
    folder, bundle = str(models.model_folder(name)), str(models.bundle(name))
    ours, rival = Contestant(OURS, "ours"), Contestant(ENGINES["onnx_runtime"], "runtimes", peers=True)
    rows: list[Sequence[object]] = []
    bars = []
    with together(ours, rival):
        ours.ask("load", folder=bundle)
        rival.ask("load", folder=folder, engine="onnx_runtime")
        for count, width in KIN_SHAPES:
            found = contest(
                [ours, rival], rounds=scale.step_rounds, warm_up=2, do="step", rows=count, width=width, seed=width
            )
            off = logits_differ(ours.name, *(found.last[each.name]["logits"] for each in (ours, rival)), "float32")
            faster = found.faster(ours.name, rival.name)
            medians = [count / found.median(each.name) for each in (ours, rival)]
            rows.append([name, f"{count}×{width}", *medians, str(faster), f"to {off:.0e}"])
            bars.append(Bar.faster(f"(a) {name}, {count}×{width}: rows/s ÷ {rival.name}", faster, KIN_LIMITS[name]))
    return rows, bars


def _kin_section(kin: Sequence[tuple[list[Sequence[object]], list[Bar]]]) -> Section:
    header = ["network", "batch", "this project, rows/s", f"{ENGINES['onnx_runtime']}, rows/s", "faster by"]
    text = (
        "Base sizes (a DistilBERT has six layers), random weights, float32. ONNX Runtime computes what transformers "
        "exports, fused by its own optimizer."
    )
    return Section(
        title="(a) Kin of BERT",
        text=text,
        rows=[[*header, "same logits"], *(row for rows, _ in kin for row in rows)],
        bars=[bar for _, bars in kin for bar in bars],
    )


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
