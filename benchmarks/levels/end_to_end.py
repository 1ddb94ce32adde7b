"""Level d: whole jobs against hand-written ones, from Parquet to Parquet."""

import math
import statistics

import pyarrow.parquet as pq

from benchmarks.harness.contest import ratio, together
from benchmarks.harness.report import Bar, Section
from benchmarks.levels.scale import Scale, lacks_amx
from benchmarks.levels.whole_jobs import BEAM, ONNX, OURS, OURS_HALF, PUBLISHED, REQUESTS, Jobs
from benchmarks.workloads import files, models
from benchmarks.workloads.corpora import COPIES, MIXTURE

WARM_UP_ROWS = 8
TUNING_ROWS = 400


def end_to_end(scale: Scale) -> list[Section]:
    """Level d: texts per second from Parquet to Parquet."""
    mixture, copies = (files.parquet(name, scale.job_rows) for name in ("mixture", "duplicates"))
    part, first = (files.parquet("mixture", scale.job_rows, sampled=n) for n in (scale.part_rows, WARM_UP_ROWS))
    jobs = Jobs(scale)
    with together(*jobs.players):
        for name in jobs.turns:
            jobs.take(name, first)
        jobs.check()  # Before a quarter of an hour is spent on contestants that compute something else.
        jobs.model_share.clear()
        tuned = jobs.tune(files.parquet("mixture", scale.job_rows, sampled=TUNING_ROWS)) if jobs.half else ""
        pair = [name for name in (OURS, ONNX) if name in jobs.turns]
        seconds = jobs.rounds([(name, file) for file in (mixture, copies) for name in pair], scale.job_rounds)
        shares = jobs.model_share[:]
        if jobs.half:
            half = [(name, mixture) for name in (OURS_HALF, REQUESTS, BEAM)]
            half += [(name, copies) for name in (OURS_HALF, REQUESTS)]
            seconds |= jobs.rounds(half, scale.half_rounds)
        seconds |= jobs.rounds([(name, part) for name in jobs.turns], scale.part_rounds)
    changed = jobs.check()
    header = ["rows", "contestant", "computes in", "seconds", "texts/s"]
    rows: list[list[object]] = [
        [*header, "this project in float32 is faster by", "in bfloat16 is faster by", "other classes"]
    ]
    for file, what in ((mixture, "the mixture"), (copies, "the mixture with copies"), (part, "the mixture, a sample")):
        count = pq.read_metadata(file).num_rows
        for (name, of), found in seconds.items():
            if of != file:
                continue
            middle, precision = statistics.median(found), jobs.precisions[name]
            against = [(OURS, True), (OURS_HALF, precision != "float32" or name == OURS)]
            faster = [
                str(ratio(found, seconds[ours, file]))
                if shown and len(seconds.get((ours, file), [])) == len(found)
                else ""
                for ours, shown in against
            ]
            row = [f"{count:,} of {what}", name, precision, middle, count / middle, *faster]
            rows.append([*row, f"{changed[name]:.1%}"])
    rest = max(abs(1 - share) for share in shares)
    of = [
        (f"(d) texts/s ÷ {ONNX}", ONNX, OURS, mixture, 1.03),
        ("(d) the same with 30 % copies", ONNX, OURS, copies, 1.35),
        (f"(d) texts/s in bfloat16 ÷ {REQUESTS}", REQUESTS, OURS_HALF, mixture, 1.0),
        ("(d) the same in bfloat16 with 30 % copies", REQUESTS, OURS_HALF, copies, 1.35),
        (f"(d) texts/s in bfloat16 ÷ {BEAM}", BEAM, OURS_HALF, mixture, 1.1),
        (f"(d) texts/s ÷ {PUBLISHED}", PUBLISHED, OURS, part, 3),
    ]
    bars = []
    for said, name, ours, file, limit in of:
        if (name, file) in seconds and (ours, file) in seconds:
            bars.append(Bar.faster(said, ratio(seconds[name, file], seconds[ours, file]), limit))
        elif ours == OURS_HALF and scale.with_torch:
            bars.append(Bar.unmeasured(said, limit, lacks_amx() or ""))
    bars.append(
        Bar(
            what="(d) everything but the model ÷ wall time, in every round",
            value=rest,
            limit=0.05,
            at_least=False,
            spread=f"noise, {1 - max(shares):.1%} to {1 - min(shares):.1%}",
            said=f"below {math.floor(rest * 100) + 1}%",
        )
    )
    lengths = [jobs.tokens[file] / pq.read_metadata(file).num_rows for file in (mixture, part)]
    text = (
        f"Mixture of SST-2, AG News, IMDB and 20 Newsgroups, at most {models.MAX_TOKENS} tokens, all cores, "
        "start-up excluded on both sides (of this project and of Beam's patterns: less a job of one row). Copies: "
        f"{COPIES} of {sum(MIXTURE.values())} rows are copies of others. The sample for the slow contestants is taken "
        f"evenly from the shortest to the longest text: {lengths[1]:.0f} tokens a row; the mixture has "
        f"{lengths[0]:.0f}. The scripts sort by length and cut micro-batches of 1,024 tokens: ONNX Runtime is as fast "
        "there as at 4,096, and pads less. OpenVINO's script runs one request at a time, and again as its "
        "documentation advises for offline work (THROUGHPUT, asynchronous requests). Beam's pattern is the published "
        "example with PyTorch; Beam 2.77's best is SortAndBatchElements with weights before a minimal handler on "
        "OpenVINO as it comes, and beside it stands Beam's ONNX handler in batches of 16 rows as they come. Other "
        "classes: rows whose best class differs from this project's in float32; random weights are the worst case."
    )
    if tuned:
        text += f" Tuned for bfloat16 on {TUNING_ROWS} rows, the better of two runs each. {tuned}."
    return [Section(title="(d) From Parquet to Parquet", text=text, rows=rows, bars=bars)]
