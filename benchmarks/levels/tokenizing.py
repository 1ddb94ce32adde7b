"""Level b: tokenization."""

from benchmarks.harness.agreement import tokens_differ
from benchmarks.harness.contest import Contestant, contest, together
from benchmarks.harness.report import Bar, Section
from benchmarks.levels.scale import Scale
from benchmarks.workloads import models
from benchmarks.workloads.corpora import texts


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
